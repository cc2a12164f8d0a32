"""A real S3 server for tests: moto's, as a process of its own on a free port.

What it holds ends with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from typing import Self

SERVE = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
KEYS = {"s3_access_key": "atelier-access", "s3_secret_key": "atelier-secret"}
ADDRESS = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


class S3Server:
    """One server. `with_auth`: it knows no access key at all and refuses every one."""

    def __init__(self, *, with_auth: bool = False) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AWS_")
        }
        if with_auth:
            environment["INITIAL_NO_AUTH_ACTION_COUNT"] = "1"  # for the bucket that `bucket` makes
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stderr
        for line in self.process.stderr:
            if found := ADDRESS.search(line):
                self.url = found[1]
                break
        else:
            raise AssertionError("moto did not start")
        self.drain = subprocess.Popen(
            ["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL
        )
        self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def bucket(self, name: str) -> str:
        """A new bucket; its name."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")).close()  # noqa: S310
        return name

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.drain.wait()

"""Runs `atelier classify` and the stand-in of its service as processes, and reads the results."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import cv2

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "benchmarks" / "classify" / "standin.py"


@functools.cache
def photo() -> Path:
    """A JPEG of 64x48 pixels."""
    path = Path(tempfile.mkdtemp()) / "photo.jpg"
    cv2.imwrite(
        str(path),
        cv2.resize(cv2.imread(str(ROOT / "tests/photos/waterfall_640x480.jpg")), (64, 48)),
    )
    return path


def fill(folder: Path, count: int, per_seed: int = 50_000) -> None:
    """Fill a folder with hard links to one picture and to copies: an inode takes 65,000 links."""
    folder.mkdir(exist_ok=True)
    data = photo().read_bytes()
    for number in range(count):
        seed = folder.with_name(f"{folder.name}-seed-{number // per_seed}.jpg")
        if number % per_seed == 0:
            seed.write_bytes(data)
        os.link(seed, folder / f"{number:07}.jpg")


class Service:
    """A stand-in of the service, `benchmarks/classify/standin.py`."""

    def __init__(self, *options: str, port: int = 0) -> None:
        command = [sys.executable, str(STANDIN), "--port", str(port), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def counts(self) -> dict[str, int]:
        """How many pictures it was asked about, and how many statistics it got."""
        with urllib.request.urlopen(f"{self.url}/count") as response:  # noqa: S310 - our own stand-in
            counts: dict[str, int] = json.load(response)
        return counts

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


class Tool:
    """`atelier classify DIR URL --output FILE`, started any number of times."""

    def __init__(self, folder: Path | bytes, output: Path) -> None:
        self.folder = folder
        self.output = output
        self.process: subprocess.Popen[str] | None = None

    def start(self, url: str, *options: str) -> subprocess.Popen[str]:
        """Start it, with its own process group as from a shell."""
        base = [
            sys.executable,
            "-m",
            "atelier",
            "classify",
            self.folder,
            url,
            "--output",
            str(self.output),
        ]
        errors = self.output.with_suffix(".stderr").open("w")
        environment = os.environ | {"ATELIER_DECODE_SECONDS": "120"}  # a busy machine may be slow
        self.process = subprocess.Popen(
            [*base, *options], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        errors.close()
        return self.process

    def finish(self) -> tuple[int, str]:
        """Wait for it; returns the exit code and what it printed."""
        assert self.process
        said, _ = self.process.communicate(timeout=5 * PATIENCE_SECONDS)
        return self.process.returncode, said

    def run(self, url: str, *options: str) -> tuple[int, dict[str, Any]]:
        """Run it to its end; returns the exit code and its report."""
        self.start(url, "--json", "--workers", "1", *options)
        code, said = self.finish()
        return code, json.loads(said) if said else {"stderr": self.errors()}

    def kill(self) -> None:
        """Kill it with all that a kernel can do."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.communicate()

    def errors(self) -> str:
        """Its last standard error."""
        return self.output.with_suffix(".stderr").read_text()

    def results(self) -> list[dict[str, Any]]:
        """The result lines."""
        return read(self.output)

    def failures(self) -> list[dict[str, Any]]:
        """The lines of pictures that failed."""
        return read(self.output.with_name(self.output.stem + ".failed.jsonl"))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON Lines file; a half one at the end does not count."""
    return (
        [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []
    )

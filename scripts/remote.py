"""Asks a service on the network for a JSON document."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

SECONDS = 30


class Unreached(Exception):
    """The service gave no usable answer; the text says which and why."""


def ask(url: str, body: bytes | None = None) -> Any:
    """Return the document at `url`; with `body` it is posted. Raises Unreached."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - see callers
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - the same
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise Unreached(f"{url} answered {error.code}") from error
    except OSError as error:
        raise Unreached(f"{url} was not reached ({getattr(error, 'reason', error)})") from error
    except ValueError as error:
        raise Unreached(f"{url} answered no JSON") from error

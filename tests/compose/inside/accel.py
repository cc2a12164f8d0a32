"""Inside the API's container: what the API itself answers, before the proxy makes bytes of it."""

from __future__ import annotations

import sys
from urllib.request import Request, urlopen

path, token = sys.argv[1:]
request = Request(f"http://127.0.0.1:8000{path}", headers={"Authorization": token})
with urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
    print(answer.headers["X-Accel-Redirect"], len(answer.read()))

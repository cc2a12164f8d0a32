"""Ways to serve a synchronous Django application from an ASGI server: cost, threads, slow clients.

    python mounts.py [--peers OTHER_VENV/bin/python] [--rounds 5]

The application has three views without a database, so that the way to them is measured: one
answers 600 bytes, one hashes a raw body of 8 MiB, one sleeps for 0.1 s. `eight` is the time in
which eight requests of the last are answered at once, `slow` the time of a small answer while 40
clients have sent half of a body (none within 5 s: nan). `threads` is the number of threads that
answered 50 requests: each has its own connection to a database. `--peers`
names a Python that has a2wsgi, Django and uvicorn. `benchmarks/files.py` measures the real slice.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

ANSWER = b"x" * 600
BODY = bytes(8 << 20)
RECORDS, UPLOADS, AT_ONCE, SLOW, PATIENCE_SECONDS = 1500, 15, 8, 40, 5
# Our mount reads forms, and hands Django no raw body.
UNREAD = {"upload": float("nan"), "memory": float("nan")}
OURS = ("our mount", "Django's ASGIHandler", "asgiref's WsgiToAsgi")


def record(_: HttpRequest) -> HttpResponse:
    """A small answer."""
    return HttpResponse(ANSWER, headers={"X-Thread": threading.get_native_id()})


def upload(request: HttpRequest) -> HttpResponse:
    """Read a body as it comes."""
    digest = hashlib.sha256()
    while chunk := request.read(65536):
        digest.update(chunk)
    return HttpResponse(digest.hexdigest())


def wait(_: HttpRequest) -> HttpResponse:
    """Block the thread as a database's query does."""
    time.sleep(0.1)
    return HttpResponse(b"done")


urlpatterns = [path("record", record), path("upload", upload), path("wait", wait)]


def application(name: str) -> Any:
    """Django behind one of the ways."""
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="s", MIDDLEWARE=[])
    django.setup()
    if name == "Django's ASGIHandler":
        from django.core.asgi import get_asgi_application

        return get_asgi_application()
    from django.core.wsgi import get_wsgi_application

    wsgi = get_wsgi_application()
    if name == "our mount":
        from atelier.files.mount import Mount
        from atelier.http.admission import Uploads

        return Mount(wsgi, uploads=Uploads(256))
    if name == "a2wsgi":
        from a2wsgi import WSGIMiddleware

        return WSGIMiddleware(wsgi)
    from asgiref.wsgi import WsgiToAsgi

    return WsgiToAsgi(wsgi)


def serve(name: str) -> None:
    """Say the port, then serve."""
    import uvicorn

    bound = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(bound.getsockname()[1], flush=True)
    config = uvicorn.Config(application(name), lifespan="off", log_level="critical")
    uvicorn.Server(config).run(sockets=[bound])


def cpu(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def peak(pid: int) -> float:
    """The most MiB that a process has held since its mark was reset."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def ask(port: int, where: str, count: int = 1, body: bytes | None = None) -> int:
    """Requests on one connection; how many threads have answered them."""
    threads: set[str | None] = set()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    for _ in range(count):
        client.request("POST" if body else "GET", where, body)
        answer = client.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        threads.add(answer.headers["X-Thread"])
    client.close()
    return len(threads)


def eight_at_once(port: int) -> float:
    """Seconds until eight answers of 0.1 s are there."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda _: ask(port, "/wait"), range(AT_ONCE)))  # starts the threads
        began = time.perf_counter()
        list(threads.map(lambda _: ask(port, "/wait"), range(AT_ONCE)))
        return time.perf_counter() - began


def beside_slow_clients(port: int) -> float:
    """Seconds of a small answer while others send a body and do not go on."""
    head = b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(SLOW)]
    for client in clients:
        client.sendall(head + bytes(50_000))
    time.sleep(1)
    began = time.perf_counter()
    try:
        ask(port, "/record")
    except TimeoutError:
        return float("nan")
    finally:
        for client in clients:
            client.close()
    return time.perf_counter() - began


def raw_bodies(port: int, pid: int) -> dict[str, float]:
    """CPU milliseconds and MiB of memory that a body of 8 MiB takes."""
    ask(port, "/upload", 1, BODY[: 1 << 20])
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before, began = peak(pid), cpu(pid)
    ask(port, "/upload", UPLOADS, BODY)
    return {"upload": (cpu(pid) - began) / UPLOADS * 1e3, "memory": peak(pid) - before}


def contest(name: str, python: str) -> dict[str, float]:
    """Start a server and measure it from outside."""
    command = [python, __file__, "--contestant", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port, pid = int(server.stdout.readline()), server.pid
            time.sleep(2)
            found: dict[str, float] = {"threads": ask(port, "/record", 50)}
            began = cpu(pid)
            ask(port, "/record", RECORDS)
            found["record"] = (cpu(pid) - began) / RECORDS * 1e6
            found |= raw_bodies(port, pid) if name != "our mount" else UNREAD
            found["eight"] = eight_at_once(port)
            return found | {"slow": beside_slow_clients(port)}
        finally:
            server.kill()


def main() -> None:
    """Run as one server, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="a Python that has a2wsgi, Django and uvicorn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant")
    options = parser.parse_args()
    if options.contestant:
        serve(options.contestant)
        return
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name in (*OURS, *(["a2wsgi"] if options.peers else [])):
            python = options.peers if name == "a2wsgi" else sys.executable
            found.setdefault(name, []).append(contest(name, python))
    print("| | threads | record, CPU us | 8 MiB, CPU ms | 8 MiB, MiB | eight, s | slow, s |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in found.items():
        cells = (statistics.median(one[key] for one in rounds) for key in rounds[0])
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    main()

"""Servers for `/metrics` and `/healthz` in a role that is no web server: weight, cost, patience.

    python health_servers.py [--rounds 5]

Each is a process that has what every role has (asyncio, the registry of metrics). `weight` is the
CPU time of the imports and the memory that they and a first answer add. `silent` counts how many
of 100 connections that send nothing are still open after 8 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from atelier.observe import metrics
from atelier.observe.exposition import MEDIA_TYPE, REGISTRY, Exposition

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
REQUESTS, SILENT, PATIENCE_SECONDS = 1000, 100, 8


def listener() -> socket.socket:
    """A socket that listens on any free port of the loopback."""
    return socket.create_server(("127.0.0.1", 0), backlog=256)


async def ours() -> None:
    """The health server on asyncio's streams."""
    from atelier.observe.health import HEAD_BYTES, HealthServer

    health = HealthServer(Exposition(REGISTRY), {}, 60)
    await serve_on(await asyncio.start_server(health.serve, sock=listener(), limit=HEAD_BYTES))


async def serve_on(server: asyncio.Server) -> None:
    """Answer until the process ends."""
    tell(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def uvicorn() -> None:
    """The API's server with the smallest possible application, without logs."""
    import uvicorn as library

    exposition = Exposition(REGISTRY)

    async def application(scope: dict, receive: object, send: object) -> None:
        body = await asyncio.to_thread(exposition.text)
        headers = [(b"content-type", MEDIA_TYPE), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    options = {"lifespan": "off", "log_config": None, "access_log": False, "loop": "none"}
    bound = listener()
    tell(bound.getsockname()[1])
    await library.Server(library.Config(application, **options)).serve(sockets=[bound])


async def prometheus_client() -> None:
    """The library's own, which has `/metrics` only, with a thread for each connection."""
    from prometheus_client import start_http_server

    server, _ = start_http_server(0, "127.0.0.1", REGISTRY)
    tell(server.server_port)
    await asyncio.Event().wait()


CONTESTANTS = {"ours": ours, "uvicorn": uvicorn, "prometheus_client": prometheus_client}


def tell(port: int) -> None:
    """Say where this process listens, and the CPU that it has used to get there."""
    print(json.dumps({"port": port, "cpu_ms": (time.process_time() - BEGAN) * 1e3}), flush=True)


def memory(pid: int) -> float:
    """MiB that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def cpu(pid: int) -> float:
    """CPU seconds of a process, the ended threads of it included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def ask(port: int) -> bytes:
    """One answer."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(REQUEST)
        return b"".join(iter(lambda: client.recv(65536), b""))


def is_open(client: socket.socket) -> bool:
    """True if the other side has not closed."""
    client.settimeout(0)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def contest(name: str) -> dict[str, float]:
    """Start one of them and measure it from outside."""
    command = [sys.executable, __file__, "--contestant", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        before = json.loads(process.stdout.readline())["resident"]
        said = json.loads(process.stdout.readline())
        assert b" 200 " in ask(said["port"])
        found = {"import_ms": said["cpu_ms"], "mib": memory(process.pid) - before}
        began = cpu(process.pid)
        for _ in range(REQUESTS):
            ask(said["port"])
        found["request_us"] = (cpu(process.pid) - began) / REQUESTS * 1e6
        address = ("127.0.0.1", said["port"])
        clients = [socket.create_connection(address) for _ in range(SILENT)]
        time.sleep(PATIENCE_SECONDS)
        found["silent"] = sum(map(is_open, clients))
        found["threads"] = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        process.kill()
    return found


def main() -> None:
    """Run as one contestant, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.contestant:
        assert metrics.JOBS
        print(json.dumps({"resident": memory("self")}), flush=True)
        asyncio.run(CONTESTANTS[options.contestant]())
        return
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for name in CONTESTANTS:
            found.setdefault(name, []).append(contest(name))
    print("| server | import, CPU ms | MiB | /metrics, CPU us | silent left open | threads |")
    print("|---|---|---|---|---|---|")
    for name, rounds in found.items():
        cells = (statistics.median(one[key] for one in rounds) for key in rounds[0])
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


BEGAN = time.process_time()

if __name__ == "__main__":
    main()

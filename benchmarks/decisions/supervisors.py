"""Supervisors of a few roles: what is left after kill -9, what is started again, what they weigh.

    python supervisors.py --peers OTHER_VENV/bin/python [--rounds 3]

Three roles run under each, and each role has a child, as the image processor has its decoders.
`orphans` counts which of the six processes live two seconds after the supervisor was killed,
`children left` those of one killed role after two seconds (1 or 0), `restart` is the time until
that role runs again (none within 10 s: nan). `--peers` names a Python that has honcho, supervisor
and circus. The settings are those of a first try: none of the three has one for orphans.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

ROLES = ("one", "two", "three")
START_SECONDS, AFTER_SECONDS, RESTART_SECONDS = 30, 2, 10
CIRCUS = "[circus]\ncheck_delay = 1\n"
SUPERVISOR = "[supervisord]\nnodaemon=true\nlogfile={folder}/s.log\npidfile={folder}/s.pid\n"


def role(folder: Path, name: str) -> None:
    """One role: a child, a note of both process ids, then nothing."""
    quiet = subprocess.DEVNULL  # who inherits the role's output keeps honcho from noticing its end
    child = subprocess.Popen(["sleep", "600"], stdout=quiet, stderr=quiet)
    draft = folder / f".{name}"
    draft.write_text(f"{os.getpid()} {child.pid}")
    draft.replace(folder / name)
    child.wait()


async def ours(folder: Path) -> None:
    """The part of `atelier up` that keeps roles running."""
    from atelier.settings import Settings
    from atelier.up.children import Child
    from atelier.up.reaper import Reaper
    from atelier.up.screen import Console
    from atelier.up.table import Role

    console, guard = Console(Settings(data=folder)), Reaper()
    roles = [Role(name, tuple(command(folder, name)[1:])) for name in ROLES]
    children = [Child(each.name, each, os.environ, console, guard) for each in roles]
    await asyncio.gather(*(child.keep() for child in children))


def command(folder: Path, name: str) -> list[str]:
    """The command of a role."""
    return [sys.executable, __file__, "--role", str(folder), name]


def launch(name: str, folder: Path, binaries: Path) -> list[str]:
    """The command of a supervisor, whose configuration is written first."""
    lines = {each: " ".join(command(folder, each)) for each in ROLES}
    config = folder / "config"
    if name == "honcho":
        config.write_text("".join(f"{each}: {line}\n" for each, line in lines.items()))
        return [str(binaries / "honcho"), "-f", str(config), "start"]
    if name == "supervisord":
        parts = (f"[program:{each}]\ncommand={line}\n" for each, line in lines.items())
        config.write_text(SUPERVISOR.format(folder=folder) + "".join(parts))
        return [str(binaries / "supervisord"), "-c", str(config)]
    if name == "circus":
        parts = (f"[watcher:{each}]\ncmd = {line}\n" for each, line in lines.items())
        sockets = f"endpoint = ipc://{folder}/e\npubsub_endpoint = ipc://{folder}/p\n"
        config.write_text(CIRCUS + sockets + "".join(parts))
        return [str(binaries / "circusd"), str(config)]
    return [sys.executable, __file__, "--ours", str(folder)]


def pids(folder: Path, name: str) -> tuple[int, int]:
    """A role and its child."""
    own, child = map(int, (folder / name).read_text().split())
    return own, child


def lives(pid: int) -> bool:
    """True if a process has not ended."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def wait_for(done: object, seconds: float) -> float:
    """Seconds until something is true; nan when it is not in time."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        with suppress(OSError, ValueError):
            if done():  # type: ignore[operator] - a function
                return time.perf_counter() - began
        time.sleep(0.01)
    return float("nan")


def contest(name: str, binaries: Path) -> dict[str, float]:
    """One supervisor from its start to its violent end."""
    with tempfile.TemporaryDirectory() as made:
        folder, started = Path(made), set()
        supervisor = subprocess.Popen(
            launch(name, folder, binaries),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_for(lambda: all((folder / each).exists() for each in ROLES), START_SECONDS)
            time.sleep(2)  # supervisord believes a start after a second
            started |= {pid for each in ROLES for pid in pids(folder, each)}
            found = {"mib": psutil.Process(supervisor.pid).memory_info().rss / 2**20}
            own, child = pids(folder, "one")
            os.kill(own, signal.SIGKILL)
            killed = time.perf_counter()
            again = wait_for(lambda: pids(folder, "one")[0] != own, RESTART_SECONDS)
            time.sleep(max(0, AFTER_SECONDS - (time.perf_counter() - killed)))
            found |= {"restart": again, "left": lives(child)}
            now = {pid for each in ROLES for pid in pids(folder, each)}
            started |= now
            os.kill(supervisor.pid, signal.SIGKILL)
            supervisor.wait()
            time.sleep(AFTER_SECONDS)
            return found | {"orphans": sum(map(lives, now))}
        finally:
            for pid in (pid for pid in started if lives(pid)):
                os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Run as a role, as our supervisor, or run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="a Python that has honcho, supervisor, circus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", nargs=2, metavar=("FOLDER", "NAME"))
    parser.add_argument("--ours", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.role:
        role(Path(options.role[0]), options.role[1])
        return
    if options.ours:
        asyncio.run(ours(options.ours))
        return
    found: dict[str, list[dict[str, float]]] = {}
    peers = ("honcho", "supervisord", "circus") if options.peers else ()
    for _ in range(options.rounds):
        for name in ("ours", *peers):
            binaries = options.peers.absolute().parent if options.peers else Path()
            found.setdefault(name, []).append(contest(name, binaries))
    print("| | MiB | restart, s | children left | orphans of 6 |\n|---|---|---|---|---|")
    for name, rounds in found.items():
        cells = (statistics.median(one[key] for one in rounds) for key in rounds[0])
        print(f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")


if __name__ == "__main__":
    main()

"""`atelier doctor` in each image: with the packages, settings and volumes of that container."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from contextlib import closing
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest
import yaml

from atelier.commands import ownership
from atelier.observe import probe
from atelier.observe.health import bind
from atelier.settings import Settings
from tests.docker.test_requirements import REQUIREMENTS, ROOT, locked, normal
from tests.ports import free_port
from tests.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

SERVICES: dict[str, tuple[str, ...]] = runpy.run_path(str(ROOT / "docker" / "keys.py"))["SERVICES"]
SECRET = "s" * 32
# The command, in a process that can import no more than the image has.
COMMAND = """
import sys
absent = set(sys.argv.pop(1).split(","))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"the image has no {name}", name=name)
sys.meta_path.insert(0, Absent())
from atelier.cli import main
main()
"""


def absent(role: str) -> str:
    """The top-level modules that are installed here and not in a role's image."""
    has = locked(REQUIREMENTS / f"{role}.txt").keys() | {"atelier"}
    tops = packages_distributions().items()
    missing = [top for top, names in tops if not {normal(name) for name in names} & has]
    return ",".join(sorted(missing))


def image(role: str) -> dict[str, str]:
    """The environment that a role's image brings."""
    text = (ROOT / "docker" / f"{role}.Dockerfile").read_text()
    return dict(re.findall(r"^\s+(ATELIER_\w+)=(\S+)", text, re.MULTILINE))


class Container:
    """The environment of a container of `compose.yaml`, in folders of the test's own."""

    def __init__(self, folder: Path, servers: dict[str, str | None]) -> None:
        self.folder = folder
        self.servers = servers
        self.data, self.blobs = folder / "data", folder / "blobs"
        self.data.mkdir()

    def start(self, role: str, *words: str, **more: str) -> subprocess.Popen[str]:
        """Run `atelier WORDS` with the settings that `keys.py` gives to this service."""
        config = self.folder / f"{role}.yaml"
        config.write_text(yaml.safe_dump({name: self.servers[name] for name in SERVICES[role]}))
        places = {"ATELIER_DATA": str(self.data), "ATELIER_BLOBS": str(self.blobs)}
        ports = {"ATELIER_HOST": "127.0.0.1", "ATELIER_PORT": "0", "ATELIER_GRPC_PORT": "0"}
        environment = image(role) | places | ports | {"ATELIER_CONFIG": str(config)} | more
        return subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND, absent(role), *words],
            env={"PATH": os.environ["PATH"]} | environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def doctor(self, role: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The output of `atelier doctor` there."""
        process = self.start(role, "doctor", **more)
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        return subprocess.CompletedProcess((), process.returncode, output, errors)


@pytest.fixture
def container(fresh_database_url: str, redis_url: str, amqp_url: str, tmp_path: Path) -> Container:
    """Volumes that belong to a database that is migrated."""
    servers: dict[str, str | None] = {
        "migration_url": None,
        "database_url": fresh_database_url,
        "redis_url": redis_url,
        "amqp_url": amqp_url,
        "secret": SECRET,
    }
    made = Container(tmp_path, servers)
    ownership.adopt(Settings(data=made.data, blobs=str(made.blobs), **servers))
    return made


def verdicts(output: str) -> dict[str, tuple[str, str]]:
    """Verdict and detail of each check."""
    lines = output.partition("Checks\n")[2].splitlines()
    return {line[11:21].strip(): (line[:10].strip(), line[22:]) for line in lines}


@pytest.mark.rabbitmq
@pytest.mark.parametrize("role", SERVICES)
def test_a_sound_container_is_found_sound(container: Container, role: str) -> None:
    """All that the role works with is looked at, and nothing that it lacks is complained of."""
    kept = {path: path.stat().st_mtime_ns for path in container.blobs.rglob("*")}
    done = container.doctor(role)
    found = verdicts(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found.pop("user")  # that of the tests
    assert {verdict for verdict, _ in found.values()} == {"ok"}, done.stdout
    assert "instance" not in found
    assert ("database" in found) == ("database_url" in SERVICES[role])
    assert ("secret" in found) == (role in {"api", "grpc"})
    assert ("font" in found) == (role == "processor")
    if role == "processor":  # its volume is read-only
        assert {path: path.stat().st_mtime_ns for path in container.blobs.rglob("*")} == kept


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("role", "name", "url"),
    [
        ("api", "database", "postgresql://ada:hunter2@127.0.0.1:1/none"),  # by psycopg
        ("archiver", "database", "postgresql://ada:hunter2@127.0.0.1:1/none"),  # by asyncpg
        ("grpc", "database", "postgresql://ada@127.0.0.1:1/none?password=hunter2"),
        ("processor", "redis", "redis://:hunter2@127.0.0.1:1/0"),
        ("files", "bus", "amqp://ada:hunter2@127.0.0.1:1/"),
    ],
)
def test_a_server_that_a_role_needs_and_that_is_away_is_found(
    container: Container, role: str, name: str, url: str
) -> None:
    """In one sentence with its address, whatever driver the image has."""
    setting = {"database": "database_url", "redis": "redis_url", "bus": "amqp_url"}[name]
    container.servers[setting] = url
    done = container.doctor(role)
    verdict, detail = verdicts(done.stdout)[name]
    assert (done.returncode, verdict) == (1, "FAILED"), done.stdout
    assert "127.0.0.1:1 cannot be used: Connection refused." in detail
    assert "hunter2" not in done.stdout


@pytest.mark.rabbitmq
@pytest.mark.parametrize("role", ["processor", "files"])
def test_a_volume_that_is_not_mounted_is_found(container: Container, role: str) -> None:
    """An empty folder in its place has no mark."""
    done = container.doctor(role, ATELIER_BLOBS=str(container.folder))
    said = ("FAILED", "the blob store has no mark: is the volume mounted?")
    assert verdicts(done.stdout)["blobs"] == said


def test_a_role_that_signs_needs_a_secret(container: Container) -> None:
    """No `atelier up` makes one in a container."""
    container.servers["secret"] = None  # type: ignore[assignment] # as YAML has it
    verdict, detail = verdicts(container.doctor("api").stdout)["secret"]
    assert verdict == "FAILED"
    assert "ATELIER_SECRET" in detail


@pytest.mark.rabbitmq
@pytest.mark.parametrize(("role", "name"), [("api", "port"), ("grpc", "grpc port")])
def test_the_port_of_a_running_role_is_its_own(container: Container, role: str, name: str) -> None:
    """Beside the running role, as `docker compose exec` has it, the port is taken, and rightly."""
    port, metrics_port = free_port(), free_port()
    ports = {"ATELIER_PORT" if role == "api" else "ATELIER_GRPC_PORT": str(port)}
    ports |= {"ATELIER_METRICS_PORT": str(metrics_port)}
    asked = port if role == "api" else metrics_port
    running = container.start(role, role, **ports)
    try:
        until(
            lambda: (
                running.poll() is not None or probe.ask("127.0.0.1", asked, "/healthz")[0] == 200
            )
        )
        assert running.poll() is None, running.communicate()
        found = verdicts(container.doctor(role, **ports).stdout)[name]
    finally:
        running.terminate()
        running.communicate(timeout=PATIENCE_SECONDS)
    assert found[0] == "ok"
    assert "is free" not in found[1]


def test_a_port_that_another_program_has_is_found(container: Container) -> None:
    """The gRPC service itself would answer on its port of metrics."""
    with closing(bind("127.0.0.1", 0)) as listener:
        listener.listen()
        taken = str(listener.getsockname()[1])
        free = container.doctor("grpc", ATELIER_GRPC_PORT=taken, ATELIER_METRICS_PORT="1")
    assert verdicts(free.stdout)["grpc port"][0] == "FAILED"

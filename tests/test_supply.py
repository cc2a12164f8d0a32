"""What Atelier is made of: its bill of materials, known vulnerabilities, and images of others."""

from __future__ import annotations

import json
import re
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts import audit, images, lock, sbom
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
DIGESTS = ["sha256:" + letter * 64 for letter in "abc"]


@contextmanager
def service(answer: Callable[[str, Any], Any]) -> Iterator[str]:
    """Yield the address of a server that answers each path and body with JSON, or a 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(size)) if size else None
            found = answer(self.path, body)
            text = json.dumps(found).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815 - the server calls it

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_the_lock_is_read_whole() -> None:
    """Every pinned line is a distribution with digests, and somebody needs it."""
    found = lock.read()
    text = (ROOT / "requirements.txt").read_text()
    assert len(found) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE))
    assert sum(len(one.hashes) for one in found) == text.count("--hash=sha256:")
    assert all(one.hashes and one.via for one in found)


def test_the_bill_of_materials_is_complete_and_always_the_same() -> None:
    """It has what CycloneDX asks for, each locked digest, and edges between its components."""
    made = sbom.document(lock.read())
    assert made == sbom.document(lock.read())
    assert (made["bomFormat"], made["specVersion"], made["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", made["serialNumber"])
    references = [each["bom-ref"] for each in made["components"]]
    assert len(set(references)) == len(references) == len(lock.read())
    for each in made["components"]:
        assert each["type"] == "library"
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        (files,) = each["externalReferences"]
        assert files["hashes"]
        assert all(re.fullmatch("[0-9a-f]{64}", one["content"]) for one in files["hashes"])
    root = made["metadata"]["component"]["bom-ref"]
    edges = {each["ref"]: each["dependsOn"] for each in made["dependencies"]}
    assert edges.keys() == {*references, root}
    assert "pkg:pypi/fastapi@" in "".join(edges[root])
    assert set().union(*edges.values()) <= set(references)


def test_known_vulnerabilities_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its package, those on further pages too; without any the exit code is 0."""
    path = tmp_path / "requirements.txt"
    path.write_text("one==1.0 \\\n    --hash=sha256:" + "a" * 64 + "\ntwo==2.0\n")

    def osv(_: str, body: Any) -> Any:
        results = []
        for query in body["queries"]:
            first = query["package"]["purl"] == "pkg:pypi/one@1.0"
            name = "PYSEC-2" if "page_token" in query else "PYSEC-1"
            more = {} if "page_token" in query else {"next_page_token": "more"}
            results.append({"vulns": [{"id": name}]} | more if first else {})
        return {"results": results}

    with service(osv) as url:
        assert audit.main([str(path), "--source", url]) == audit.FOUND
        assert "one 1.0: PYSEC-1, PYSEC-2\n" in capsys.readouterr().out
        path.write_text("two==2.0\n")
        assert audit.main([str(path), "--source", url]) == 0
    assert "1 dependencies, 0 known vulnerabilities" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [None, [], {"results": []}], ids=["404", "list", "too few"])
def test_an_audit_that_learns_nothing_says_so(
    answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that is away, or is none, is neither "no vulnerabilities" nor "some"."""
    with service(lambda *_: answer) as url:
        assert audit.main(["--source", url]) == audit.UNREACHED
    away = f"http://127.0.0.1:{free_port()}"
    assert audit.main(["--source", away]) == audit.UNREACHED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("nothing is known about the dependencies") == 2
    assert "Connection refused" in said.err


TAGS = {
    "postgres": ["17.6", "17.9", "17", "18.1", "17.10", "17.10-alpine", "17rc1"],
    "valkey/valkey": ["8.1.3", "9.0.0", "8.2.0", "8.2.0-rc1"],
    "rabbitmq": ["4.1.3-management", "4.1.4", "3.13.7-management"],
    "python": ["3.11.13-slim-bookworm", "3.12.1-slim-bookworm", "3.11.14-slim-bookworm"],
    "debian": ["bookworm-20250811-slim", "bookworm-20261001-slim", "trixie-20261101-slim"],
    "prom/prometheus": ["v3.5.0"],
    "grafana/grafana": ["12.1.0"],
}
NEWEST = {
    "postgres": "17.10",
    "valkey/valkey": "8.2.0",
    "rabbitmq": "4.1.3-management",
    "python": "3.11.14-slim-bookworm",
    "debian": "bookworm-20261001-slim",
    "prom/prometheus": "v3.5.0",
    "grafana/grafana": "12.1.0",
}


def hub(path: str, _: Any) -> Any:
    """Docker Hub, with what it has of an image and the digest of each."""
    parts = urlsplit(path)
    name = parts.path.removeprefix("/v2/repositories/").removesuffix("/tags")
    found = [
        {"name": tag, "digest": DIGESTS[number % 3]}
        for number, tag in enumerate(TAGS[name.removeprefix("library/")])
        if parse_qs(parts.query)["name"][0] in tag
    ]
    return {"results": found, "next": None}


def test_images_are_renewed_within_their_series(tmp_path: Path) -> None:
    """Each becomes the newest release of the same kind, with its digest; again changes nothing."""
    (tmp_path / "docker").mkdir()
    for path in [ROOT / "compose.yaml", *(ROOT / "docker").glob("*.Dockerfile")]:
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    with service(hub) as url:
        arguments = ["--root", str(tmp_path), "--source", url]
        assert images.main([*arguments, "--check"]) == images.OLDER
        assert (tmp_path / "compose.yaml").read_text() == (ROOT / "compose.yaml").read_text()
        assert images.main(arguments) == 0
        assert images.main([*arguments, "--check"]) == 0
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    pins = {pin["name"]: pin for text in texts for pin in images.pinned(text)}
    assert {name: pin["tag"] for name, pin in pins.items()} == NEWEST
    assert all(pin["digest"] in DIGESTS for pin in pins.values())


def test_a_registry_that_is_away_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, with an exit code of its own."""
    (tmp_path / "docker").mkdir()
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    away = f"http://127.0.0.1:{free_port()}"
    assert images.main(["--root", str(tmp_path), "--source", away]) == images.UNREACHED
    assert "nothing was changed" in capsys.readouterr().err
    assert (tmp_path / "compose.yaml").read_text() == (ROOT / "compose.yaml").read_text()


def test_no_image_of_others_floats() -> None:
    """Each has a minor version or a date at least: the next build is of the same programs."""
    paths = [ROOT / "compose.yaml", *(ROOT / "docker").glob("*.Dockerfile")]
    pins = [pin for path in paths for pin in images.pinned(path.read_text())]
    assert {pin["name"] for pin in pins} == NEWEST.keys()
    assert all(re.search(r"\d+\.\d+|\d{8}", pin["tag"]) for pin in pins)

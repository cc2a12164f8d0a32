"""Schemathesis against a running instance: valid and invalid requests, singly and in chains.

What it may find is said in schemathesis.toml, with reasons, and nowhere else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.instance import Instance

FOLDER = Path(__file__).parent
# Examples of each operation; set by `make fuzz`, which also lets them differ every time
FUZZ = "ATELIER_TEST_FUZZ"
EXAMPLES = 4  # in chains; random ones are for `make fuzz`
PHASES = "examples,coverage,stateful"


def test_the_document_holds_whatever_is_sent(instance: Instance, tmp_path: Path) -> None:
    """Schemathesis finds nothing on any operation, and nothing unexpected is raised inside."""
    choice = (
        ["-n", os.environ[FUZZ]]
        if FUZZ in os.environ
        else ["-n", str(EXAMPLES), "--generation-deterministic", f"--phases={PHASES}"]
    )
    program = str(Path(sys.executable).with_name("schemathesis"))
    run = subprocess.run(
        [
            program,
            f"--config-file={FOLDER / 'schemathesis.toml'}",
            "run",
            f"{instance.url}/openapi.json",
            "--checks=all",
            *choice,
        ],
        env=os.environ
        | {"SCHEMATHESIS_HOOKS": str(FOLDER / "hooks.py"), "ATELIER_TEST_FUZZ_URL": instance.url},
        cwd=tmp_path,  # it keeps what it learns where it runs
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    logs = "".join(path.read_text() for path in (instance.data / "logs").glob("*.log"))
    assert "unhandled exception" not in logs
    assert "Traceback" not in logs

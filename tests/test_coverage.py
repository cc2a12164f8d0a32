"""`make coverage` counts what processes do that tests start, however these end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

from tests.waiting import finished

ROOT = Path(__file__).parents[1]
COVERAGE = [sys.executable, "-m", "coverage"]
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, cwd="/")
child.stdout.readline()
if "sleep" in sys.argv[1]:
    child.terminate()
child.wait()
"""
ENDS = {
    "by itself": "import atelier.retry; print()",
    "as a fork": (
        "import os; os.fork() or (__import__('atelier.retry'), os._exit(0)); os.wait(); print()"
    ),
    "as another program": "import os, sys; os.execv(sys.executable, [sys.executable, '-c', "
    "'import atelier.retry; print()'])",
    "by SIGTERM": "import atelier.retry, time; print(flush=True); time.sleep(3600)",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_child_is_counted(tmp_path: Path, end: str) -> None:
    """Started in another folder, and ended in any way but kill -9."""
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    where = [f"--rcfile={ROOT / 'pyproject.toml'}", f"--data-file={tmp_path / 'data'}"]
    (tmp_path / "parent.py").write_text(PARENT)
    script = [str(tmp_path / "parent.py"), ENDS[end]]
    run = finished([*COVERAGE, "run", *where, *script], env=environment)
    assert run.returncode == 0, run.stderr
    combined = finished([*COVERAGE, "combine", *where, str(tmp_path)], env=environment)
    assert combined.returncode == 0, combined.stdout
    data = CoverageData(str(tmp_path / "data"))
    data.read()
    assert "retry.py" in {Path(name).name for name in data.measured_files()}

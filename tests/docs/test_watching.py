"""Alerts, dashboard and runbooks speak of metrics that exist and of each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
METRICS = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
RUNBOOKS = (ROOT / "docs" / "howto" / "runbooks.md").read_text(encoding="utf-8")
NAME = re.compile(r"\b(?:atelier|process)_\w+")
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
DASHBOARD = json.loads((DEPLOY / "grafana" / "atelier.json").read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))[
        "groups"
    ]
    return [rule for group in groups for rule in group["rules"]]


def exist() -> set[str]:
    """Every series that the reference promises, those of histograms with their endings."""
    found = set(PROCESS)
    for name, kind in re.findall(r"^\| `(atelier_\w+)` \| (\w+)", METRICS, re.MULTILINE):
        found |= (
            {f"{name}_{end}" for end in ("bucket", "count", "sum")}
            if kind == "histogram"
            else {name}
        )
    return found


def expressions() -> list[str]:
    """Every expression of the dashboard's panels."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_alerts_and_dashboard_use_metrics_that_exist() -> None:
    """An alert on a metric that is not exposed would never fire."""
    used = {
        name
        for text in [*expressions(), *(rule["expr"] for rule in rules())]
        for name in NAME.findall(text)
    }
    assert used - exist() == set()


def test_every_metric_is_on_the_dashboard() -> None:
    """Each metric is shown; a histogram by one of its series."""
    shown = " ".join(expressions())
    names = re.findall(r"^\| `(atelier_\w+)`", METRICS, re.MULTILINE)
    assert [name for name in names if name not in shown] == []


def test_every_alert_can_be_acted_on() -> None:
    """Severity, summary, description, and a runbook's section of its name."""
    sections = set(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE))
    names = [rule["alert"] for rule in rules()]
    assert set(names) == sections
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert (
            rule["annotations"]["runbook_url"] == f"docs/howto/runbooks.md#{rule['alert'].lower()}"
        )


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_log_can_be_asked_as_the_runbooks_say() -> None:
    """Lines of engines, which are no JSON, do not stop it."""
    (program,) = re.findall(r"jq -cR '([^']+)'", RUNBOOKS)
    lines = 'LOG:  checkpoint\n7\n{"level": "INFO"}\n{"level":"ERROR"}\n'
    done = subprocess.run(
        ["jq", "-cR", program], input=lines, capture_output=True, text=True, check=True
    )
    assert done.stdout == '{"level":"ERROR"}\n'


def test_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    """The dashboard can be imported as it is."""
    panels = DASHBOARD["panels"]
    assert (
        len({panel["title"] for panel in panels})
        == len({panel["id"] for panel in panels})
        == len(panels)
    )
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))

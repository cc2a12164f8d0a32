"""The report of a run, or of many shards together: as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from atelier.classify.journal import Checkpoint, Files, peek
from atelier.classify.outcomes import OF_THE_FILE
from atelier.classify.stats import Totals

MILLISECOND_US = 1000
KIND_WORDS = {
    "vanished": "vanished before it was read",
    "unreadable": "unreadable",
    "not_an_image": "not an image",
    "damaged": "damaged",
    "too_large": "too large",
    "too_slow": "took too long to decode",
    "crashed": "crashed the decoder",
    "unreachable": "no answer from the service",
    "remote_4xx": "refused by the service (4xx)",
    "remote_5xx": "error of the service (5xx)",
    "bad_answer": "bad answer of the service",
}


def summary(totals: Totals, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """The report as JSON: times in milliseconds, sizes in bytes."""
    return {
        "classified": totals.classified,
        "failed": totals.failed,
        "retryable": sum(
            count for kind, count in totals.failures.items() if kind not in OF_THE_FILE
        ),
        "classes": dict(sorted(totals.classes.items(), key=lambda item: (-item[1], item[0]))),
        "request_ms": totals.elapsed_us.summary(MILLISECOND_US),
        "jpeg_bytes": totals.size.summary(1),
        "failures": dict(sorted(totals.failures.items())),
    } | (extra or {})


def merged(results: Iterable[Path]) -> dict[str, Any]:
    """The report of several runs together, such as shards, which may still be going on."""
    runs = [peek(Files(path)) for path in results]
    return summary(
        Totals().merge(totals for _, totals in runs),
        {"folders_not_entered": _not_entered(state for state, _ in runs)},
    )


def _not_entered(states: Iterable[Checkpoint]) -> int:
    """Folders left out of all runs together; shards of one directory leave out the same ones."""
    by_root: dict[bytes, int] = {}
    for state in states:
        by_root[state.subject.root] = max(
            by_root.get(state.subject.root, 0), state.folders_not_entered
        )
    return sum(by_root.values())


def text(report: dict[str, Any]) -> str:
    """The report as text."""
    lines = [f"classified {report['classified']:,}, failed {report['failed']:,}"]
    if "pending" in report:
        found = f"{report['found']:,} found" + (" so far" if report["walking"] else "")
        lines[0] += f", still to do {report['pending']:,} ({found})"
    lines += [
        f"  {label}: {count:,}" for label, count in list(report["classes"].items())[:SHOWN_CLASSES]
    ]
    if len(report["classes"]) > SHOWN_CLASSES:
        lines.append(f"  and {len(report['classes']) - SHOWN_CLASSES:,} classes more")
    lines.append("request time " + _measure(report["request_ms"], "ms", 1))
    lines.append("JPEG size " + _measure(report["jpeg_bytes"], "bytes", 0))
    lines += [
        f"failed, {KIND_WORDS[kind]}: {count:,}" for kind, count in report["failures"].items()
    ]
    if report.get("folders_unreadable"):
        lines.append(f"folders that cannot be read: {report['folders_unreadable']:,}")
    if count := report.get("folders_not_entered"):
        were, them = ("folder was", "it") if count == 1 else ("folders were", "them")
        lines.append(f"{count:,} {were} not entered; --recursive enters {them}")
    if stats := report.get("stats"):
        lines.append(
            f"statistics sent {stats['sent']:,}, lost {stats['lost']:,}"
            + (f" ({stats['error']})" if stats["error"] else "")
        )
    if report.get("given_up"):
        lines.append(f"given up, for the service answers wrongly: {report['given_up']}")
    if report["failed"] and "failures_file" in report:
        lines += _advice(report)
    if "results_file" in report:
        lines.append(_results(report))
    return "\n".join(lines)


def _results(report: dict[str, Any]) -> str:
    """Where the results are, and what running the same command again does with them."""
    where = f"results are in {report['results_file']}"
    if report["interrupted"]:
        return f"{where}; the same command goes on from here, --restart begins again"
    if report["pending"] or report["walking"]:
        return where
    return f"{where}; the same command again adds pictures that have come since"


def _advice(report: dict[str, Any]) -> list[str]:
    """Where the failures are, and which of them a retry may cure."""
    listed = f"failures are listed in {report['failures_file']}"
    retryable, lasting = report["retryable"], OF_THE_FILE & report["failures"].keys()
    if not lasting:
        return [f"{listed}; try them again with --retry-failed"]
    words = ", ".join(KIND_WORDS[kind] for kind in sorted(lasting))
    remedy = (
        "another file or a higher limit does" if "too_large" in lasting else "another file does"
    )
    return [
        f"{listed}; --retry-failed may mend {retryable:,} of them" if retryable else listed,
        (
            f"{report['failed'] - retryable:,} failed for what the file holds ({words}): no retry "
            f"mends that, {remedy}"
        ),
    ]


SHOWN_CLASSES = 20


def _measure(values: dict[str, float | None], unit: str, digits: int) -> str:
    if values["avg"] is None:
        return "min/avg/max: none"
    shown = {name: f"{value:,.{digits}f}" for name, value in values.items() if value is not None}
    return (
        f"min/avg/max {shown['min']}/{shown['avg']}/{shown['max']} {unit}, p50 "
        f"{shown['p50']}, p99 {shown['p99']}"
    )

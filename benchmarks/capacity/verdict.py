"""The limit that was reached, read from what was busy in the trial that broke, with advice."""

from __future__ import annotations

from benchmarks.capacity.arrivals import BACK_PRESSURE
from benchmarks.capacity.results import Measured, Trial, Usage

FULL = 0.9
"""Share of a core, of all cores or of a disk's time that counts as all of it."""

CLIENT_FULL = 0.8
"""The same of this tool, which has one core at most and is in its own way sooner."""

LATE_SHARE = 0.25
"""Above this share of the latency limit spent before sending, the client is the limit."""

NEAR = 1.07
"""A rate that broke is close above one that held when it is at most so many times as high."""

STRANGERS = 0.25
"""Cores used by other programs from which on a figure says little of the server."""

GROWS = {
    "api": "raise `api_workers`, or run more API processes",
    "processor": "raise `processor_workers`, or run more processors",
    "archiver": "run another archiver",
    "files": "raise `file_workers`, or run more files workers",
    "relay": "one relay is active by design",
    "postgres": "the database",
    "valkey": "the queue and cache",
    "redis": "the queue and cache",
}


def saturated(made: Trial, p95_limit: float) -> list[str]:
    """Sentences, the most certain cause first. `p95_limit` is in seconds."""
    usage = made.usage
    said = [*_client(made, usage, p95_limit), *_cores(usage), *_processes(usage)]
    if usage.disk is not None and usage.disk >= FULL:
        said.append(f"the disk had work {usage.disk:.0%} of the time")
    if made.ready and made.ready.waiting > made.achieved:
        said.append(
            f"the pipeline behind the queue: {made.ready.waiting} uploads were waiting when the "
            "last was sent"
        )
    said += [
        f"`{name}`: {count:.0f} outstanding"
        for name, count in usage.queues.items()
        if count > made.achieved
    ]
    if made.broken.startswith(BACK_PRESSURE):
        said.append(made.broken)
    return said or [
        "nothing that can be seen from here: waiting for locks, for disk syncs, or for a network"
    ]


def is_lower_bound(measured: Measured, p95_limit: float) -> bool:
    """True if the knee is only known to be at least so high.

    So it is when no rate close above it was seen to break, when the client was what was full
    there, or when other programs took cores meanwhile. `p95_limit` is in seconds.
    """
    knee, above = measured.knee, measured.above
    if knee is None:
        return False
    if above is None or not measured.certain:
        return True
    exact = above.rate / knee.rate <= NEAR
    return not exact or client_is_full(above, p95_limit) or is_disturbed(measured)


def is_disturbed(measured: Measured) -> bool:
    """True if other programs were so busy that a quiet machine may carry clearly more."""
    seen = (measured.knee, measured.above)
    return any(trial.usage.others > STRANGERS for trial in seen if trial)


def client_is_full(made: Trial, p95_limit: float) -> bool:
    """True if the client was the limit. On a full machine every process is late."""
    return made.usage.client >= CLIENT_FULL or (_late(made, p95_limit) and not _full(made.usage))


def _late(made: Trial, p95_limit: float) -> bool:
    return made.late > LATE_SHARE * p95_limit * 1000


def _client(made: Trial, usage: Usage, p95_limit: float) -> list[str]:
    if not client_is_full(made, p95_limit):
        return []
    delay = f", and sent {made.late:.0f} ms late (p95)" if _late(made, p95_limit) else ""
    return [
        (
            f"**the client itself** ({usage.client:.2f} of a core{delay}): the server may carry "
            "more than this"
        )
    ]


def _cores(usage: Usage) -> list[str]:
    used = sum(usage.cores.values())
    most = (
        ", ".join(f"{role} {share:.2f}" for role, share in _largest(usage.cores))
        or "the server's unseen"
    )
    if _full(usage):
        return [
            (
                f"all cores of the machine (cores used: {most}; client "
                f"{usage.client:.2f}{_strangers(usage)})"
            )
        ]
    if usage.allowed and used >= FULL * usage.allowed:
        return [f"the {usage.allowed} core(s) that the server may use (cores used: {most})"]
    return []


def _full(usage: Usage) -> bool:
    return usage.machine is not None and usage.machine >= FULL


def _strangers(usage: Usage) -> str:
    others = usage.others
    return (
        f"; **other programs {others:.2f}: do not trust this figure**"
        if others > STRANGERS
        else ""
    )


def _processes(usage: Usage) -> list[str]:
    return [
        f"`{role}`: one process used {share:.2f} of a core "
        f"({GROWS.get(role, 'it can use one at most')})"
        for role, share in _largest(usage.busiest)
        if share >= FULL
    ]


def _largest(values: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(
        ((name, share) for name, share in values.items() if share >= 0.05),
        key=lambda item: -item[1],
    )

"""The arithmetic of docs/discussions/scaling.md: costs and assumptions to what is full when.

Nothing here is measured. `python -m benchmarks.capacity pages` writes the tables; so does
`make capacity`, after it has measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.capacity.blocks import filled, table
from benchmarks.capacity.operations import SHARES
from benchmarks.capacity.pages import bound, cores_of, cost, costs_of
from benchmarks.capacity.sweep import ROOT, Figures, kept

PAGE = ROOT / "docs" / "discussions" / "scaling.md"
SECONDS_A_DAY, DAYS, HOURS = 86_400, 30, 730
MEGA, GIGA = 1e6, 1e9
TWO_CORES = 2

# What people do.
REQUESTS = 50
"""Of a daily user."""
PEAK = 3.0
"""The busiest hour over the average."""
COMFORT = 0.7
"""Share of what something carries at which it counts as full."""
VIEWS = 20
"""Of a picture, in its life."""
CDN_HITS = 0.8
"""Share of the views that a CDN answers; pictures are private, so others' views do not warm it."""
EVENTS = {"upload": 2, "books-write": 1, "take": 1, "files": 2}
"""Of one request of `mix`: created and processed, for what is made ready."""
WRITES = {"upload": 2, "books-write": 1, "take": 1, "files": 2}
"""Transactions that change something, of one request."""

# What was measured elsewhere: docs/reference/performance.md, decision 31, a table's size divided
# by its rows.
RELAY_RABBITMQ, RELAY_STREAMS = 6_090, 26_000
TAKES = 4_330
RENDER_A_MS, RENDER_B_MS = 5.3, 65.0
UPLOAD_MS_PER_MIB = 17.2 / 8
BYTES_A = {
    "original": 81_356,
    "100x100": 3_016,
    "500x500": 39_288,
    "gray": 63_283,
    "captioned": 88_594,
}
BYTES_B = {
    "original": 3_500_000,
    "100x100": 3_000,
    "500x500": 40_000,
    "gray": 2_700_000,
    "captioned": 3_900_000,
}
IMAGE_ROW, EVENT_ROW = 2_300, 914
"""Bytes of a row with its indexes."""
RETENTION_DAYS = 7
CONNECTIONS_EACH = 30
"""Of one API process at most: ten of the driver's, ten of SQLAlchemy's and ten for bursts."""
CONNECTIONS = 200
"""That the embedded PostgreSQL takes."""
NETWORK_BITS = 10e9

# What things cost, in dollars; list prices of large providers, rounded. Put in your own.
CORE_MONTH = 25.0
STORED_GB_MONTH = 0.023
BLOCK_GB_MONTH = 0.10
PUTS_MILLION, GETS_MILLION = 5.0, 0.40
CDN_GB = 0.03

USERS = (1e4, 1e5, 1e6, 1e7, 1e8)


@dataclass(frozen=True, slots=True)
class Demand:
    """The peak load of so many daily users."""

    users: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.users * REQUESTS * PEAK / SECONDS_A_DAY

    @property
    def uploads(self) -> float:
        """Uploads a second."""
        return self.rate * SHARES["upload"] / 100

    @property
    def pictures_a_month(self) -> float:
        """New pictures."""
        return self.users * REQUESTS * SHARES["upload"] / 100 * DAYS


def made() -> dict[str, str]:
    """Every table of the page."""
    runs = kept()
    figures = runs[min(runs)]
    spent = {name: costs_of(figures, name) for name in ("mix", "upload")}
    return {
        "inputs": inputs(spent["mix"], spent["upload"]),
        "demand": demand(spent["mix"]),
        "limits": limits(spent["mix"]),
        "measured": measured(runs, sum(spent["mix"].values())),
        "roles": roles(spent["mix"]),
        "million": million(sum(spent["upload"].values())),
        "bill": bill(spent["mix"]),
    }


def inputs(mix: Mapping[str, float], upload: Mapping[str, float]) -> str:
    """The assumptions from which everything below follows."""
    by_role = ", ".join(
        f"{role} {cost:.2f}"
        for role, cost in sorted(mix.items(), key=lambda item: -item[1])
        if cost >= FINE
    )
    rows = [
        [
            "CPU of one request of `mix`",
            f"{sum(mix.values()):.2f} ms: {by_role}",
            "[capacity](capacity.md)",
        ],
        [
            "CPU of one picture made ready",
            f"{sum(upload.values()):.1f} ms",
            "[capacity](capacity.md)",
        ],
        [
            "events of one request of `mix`",
            f"{_per_request(EVENTS):.2f}",
            "shares of `mix` x events of each",
        ],
        ["writing transactions of one request", f"{_per_request(WRITES):.2f}", "the same"],
        [
            "relay, to RabbitMQ / Redis Streams",
            f"{RELAY_RABBITMQ:,} / {RELAY_STREAMS:,} events/s",
            PERFORMANCE,
        ],
        ["hand-outs of one table", f"{TAKES:,} a second", PERFORMANCE],
        [
            "rendering A (640x480) / B (12 megapixels)",
            f"{RENDER_A_MS} / {RENDER_B_MS:.0f} ms",
            PERFORMANCE,
        ],
        [
            "stored per picture, A / B",
            f"{sum(BYTES_A.values()) / 1e3:.0f} KB / {sum(BYTES_B.values()) / MEGA:.1f} MB",
            "original and four renditions",
        ],
        [
            "rows: an image / an event",
            f"{IMAGE_ROW:,} / {EVENT_ROW} bytes",
            "tables and indexes, divided by rows",
        ],
        [
            "a daily user",
            f"{REQUESTS} requests, {REQUESTS * SHARES['upload'] / 100:.0f} of them uploads",
            "assumed",
        ],
        ["peak hour", f"{PEAK:.0f} x the average", "assumed"],
        [
            "full",
            f"{COMFORT:.0%} of what something carries",
            "see the curves in [capacity](capacity.md)",
        ],
    ]
    return table(["input", "value", "from"], rows)


def demand(mix: Mapping[str, float]) -> str:
    """The load of so many users."""
    rows = []
    for users in USERS:
        asked = Demand(users)
        stored = asked.pictures_a_month * sum(BYTES_A.values())
        cores = asked.rate * sum(mix.values()) / 1000 / COMFORT
        cells = [
            _big(users),
            _short(asked.rate),
            _short(asked.uploads),
            _short(asked.rate * _per_request(EVENTS)),
        ]
        rows.append(
            [
                *cells,
                _big(asked.pictures_a_month),
                f"{_short(stored / 1e12)} TB",
                _short(max(1.0, cores)),
            ]
        )
    head = [
        "users a day",
        "requests/s at peak",
        "uploads/s",
        "events/s",
        "pictures a month",
        "stored a month (A)",
        "cores",
    ]
    return table(head, rows)


def limits(mix: Mapping[str, float]) -> str:
    """The resources that are full at which rate, the first one first."""
    total, api = sum(mix.values()), mix.get("api", 0.0)
    served = SHARES["picture"] / 100 * BYTES_A["500x500"] * 8
    processes = CONNECTIONS / CONNECTIONS_EACH
    found = [
        (
            "a machine of 2 cores",
            2000 / total,
            "0: a larger machine, `api_workers`, `processor_workers`",
        ),
        (
            "a machine of 16 cores",
            16_000 / total,
            "1, 2: roles on machines of their own, blobs in S3",
        ),
        (
            "200 connections to PostgreSQL",
            processes * 1000 / api,
            "3: pgbouncer between the API and the database",
        ),
        (
            "one core of Valkey",
            1000 / mix.get("valkey", FINE),
            "7: an engine per use: queues, cache, keys; then a cluster",
        ),
        (
            "one relay to RabbitMQ",
            RELAY_RABBITMQ / _per_request(EVENTS),
            "6: a relay per partition of the outbox",
        ),
        ("one relay to Redis Streams", RELAY_STREAMS / _per_request(EVENTS), "6: the same"),
        ("10 Gbit/s of pictures", NETWORK_BITS / served, "4: a CDN in front, signed URLs"),
        ("PostgreSQL on 64 cores", 64_000 / mix.get("postgres", FINE), "8: shards by owner"),
        ("hand-outs of one table", TAKES / (SHARES["take"] / 100), "8: shards by owner"),
    ]
    rows = []
    for name, full, step in sorted(found, key=lambda item: item[1]):
        due = COMFORT * full
        rows.append(
            [name, _short(full), _short(due), _big(due * SECONDS_A_DAY / REQUESTS / PEAK), step]
        )
    return table(["what", "full at, requests/s", "due at", "users a day", "step"], rows)


def measured(runs: Mapping[int, Figures], half_load_ms: float) -> str:
    """How the first row, which is a division, stands to what was measured on such a machine."""
    cores = TWO_CORES if TWO_CORES in runs else max(runs)
    figures = runs[cores]
    knee = figures.measured("mix").knee
    promised = cores * 1000 / half_load_ms
    division = f"{cores_of(cores)} / {half_load_ms:.2f} ms = {_short(promised)}"
    if knee is None:
        return f"A machine is full by division: {division} requests a second.\n"
    found, each = bound(figures, "mix"), cost(figures, "mix")
    if knee.rate > promised:
        why = (
            f"because a request takes less CPU when many come together: {each:.2f} ms at that rate"
        )
        use = "The tables reckon with the cost at half load: what they call full comes early."
    else:
        why = "because something other than CPU was full first"
        use = "Plan with the lower of the two."
    return (
        f"A machine is full by division: {division} requests a second of `mix`.\n"
        f"[Measured](capacity.md) were {found} on {cores_of(cores)},\n{why}.\n{use}\n"
    )


def roles(mix: Mapping[str, float]) -> str:
    """Cores of each role at the peak."""
    names = [role for role, cost in sorted(mix.items(), key=lambda item: -item[1]) if cost >= FINE]
    rows = []
    for users in USERS:
        cores = [Demand(users).rate * mix[role] / 1000 / COMFORT for role in names]
        rows.append([_big(users), *(_cores(each) for each in cores)])
    return table(["users a day", *names], rows)


def million(upload_ms: float) -> str:
    """The cost of a million pictures, once and every month."""
    rows = []
    for name, sizes, extra in (
        ("A, 81 KB", BYTES_A, 0.0),
        ("B, 12 megapixels, 3.5 MB", BYTES_B, _extra_b()),
    ):
        core_hours = (upload_ms + extra) * MEGA / 1000 / 3600 / COMFORT
        stored = sum(sizes.values()) * MEGA / GIGA
        seen = VIEWS * sizes["500x500"] * MEGA / GIGA
        row_gb = (IMAGE_ROW + EVENTS["upload"] * EVENT_ROW) * MEGA / GIGA
        once = core_hours * CORE_MONTH / HOURS + len(sizes) * PUTS_MILLION
        views = seen * CDN_GB + VIEWS * (1 - CDN_HITS) * GETS_MILLION
        monthly = stored * STORED_GB_MONTH + IMAGE_ROW * MEGA / GIGA * BLOCK_GB_MONTH
        cells = [f"{core_hours:,.1f}", f"{stored:,.0f} GB", f"{row_gb:.1f} GB"]
        rows.append([name, *cells, f"${once:,.2f}", f"${monthly:,.2f}", f"${views:,.2f}"])
    head = [
        "a million of",
        "core hours",
        "blobs",
        "rows and events",
        "to take in, once",
        "to keep, a month",
        "to show 20 times each",
    ]
    return table(head, rows)


def bill(mix: Mapping[str, float]) -> str:
    """A month, with pictures A, after a year of growth."""
    rows = []
    for users in USERS:
        asked = Demand(users)
        cores = max(2.0, asked.rate * sum(mix.values()) / 1000 / COMFORT)
        kept = asked.pictures_a_month * 12
        stored = kept * sum(BYTES_A.values()) / GIGA * STORED_GB_MONTH
        database = (kept * IMAGE_ROW + _kept_events(asked) * EVENT_ROW) / GIGA * BLOCK_GB_MONTH
        puts = asked.pictures_a_month * len(BYTES_A) / MEGA * PUTS_MILLION
        seen = asked.rate / PEAK * SECONDS_A_DAY * DAYS * SHARES["picture"] / 100
        shown = (
            seen * BYTES_A["500x500"] / GIGA * CDN_GB + seen * (1 - CDN_HITS) / MEGA * GETS_MILLION
        )
        parts = [cores * CORE_MONTH, stored, database, puts, shown]
        cells = [
            *(_money(part) for part in parts),
            _money(sum(parts)),
            f"${sum(parts) / users:.4f}",
        ]
        rows.append([_big(users), *cells])
    head = [
        "users a day",
        "cores",
        "blobs of a year",
        "database disks",
        "PUTs",
        "CDN and GETs",
        "a month",
        "per user",
    ]
    return table(head, rows)


PERFORMANCE = "[performance](../reference/performance.md)"
FINE = 0.005
"""Milliseconds below which a role's cost is not listed."""


def _extra_b() -> float:
    """CPU milliseconds by which a picture B costs more than A: rendering and receiving it."""
    more = (BYTES_B["original"] - BYTES_A["original"]) / 2**20
    return RENDER_B_MS - RENDER_A_MS + more * UPLOAD_MS_PER_MIB


def _kept_events(asked: Demand) -> float:
    return asked.rate / PEAK * SECONDS_A_DAY * RETENTION_DAYS * _per_request(EVENTS)


def _per_request(of: Mapping[str, int]) -> float:
    return sum(count * SHARES[name] / 100 for name, count in of.items())


def _big(value: float) -> str:
    """Two digits: 12 million, 350 thousand."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if value >= size:
            return f"{_short(value / size)}{word}"
    return _short(value)


def _short(value: float) -> str:
    """Two digits that count, more for what is large anyway."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{float(f'{value:.2g}'):g}"


def _cores(value: float) -> str:
    return "< 1" if value < 1 else _short(value)


def _money(value: float) -> str:
    return f"${_short(value)}" if value >= 1 else "< $1"


def write() -> None:
    """Write the page's tables."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), made()), encoding="utf-8")

"""Every metric of Atelier's own code, in one list; those of HTTP are in its package.

Labels take values from small sets that the program knows; values from outside go through `Few`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from atelier.observe.exposition import REGISTRY

# Seconds.
JOB_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
VALUES = 40  # of one label

# Shown by relays only: metrics of all processes together, or of the active relay.
RELAY = CollectorRegistry()

# Queues and backlogs, measured by each relay on request
QUEUE_JOBS = Gauge(
    "atelier_queue_jobs",
    "Jobs outstanding: waiting, running or put off.",
    ("queue",),
    registry=RELAY,
)
QUEUE_PENDING = Gauge(
    "atelier_queue_pending_jobs",
    "Jobs that were taken and are not done yet.",
    ("queue",),
    registry=RELAY,
)
QUEUE_OLDEST = Gauge(
    "atelier_queue_oldest_job_age_seconds",
    "Age of the oldest outstanding job.",
    ("queue",),
    registry=RELAY,
)
QUEUE_DEAD = Gauge(
    "atelier_queue_dead_letters",
    "Jobs that were given up and are kept.",
    ("queue",),
    registry=RELAY,
)
UNFINISHED = Gauge(
    "atelier_unfinished",
    "Uploads that are neither ready nor failed yet.",
    ("kind",),
    registry=RELAY,
)
UNFINISHED_OLDEST = Gauge(
    "atelier_unfinished_oldest_age_seconds",
    "Time since the unfinished upload that waits longest was last offered.",
    ("kind",),
    registry=RELAY,
)
OUTBOX_UNSENT = Gauge(
    "atelier_outbox_unsent_events", "Events that wait to be sent.", registry=RELAY
)
OUTBOX_OLDEST = Gauge(
    "atelier_outbox_oldest_unsent_age_seconds", "Age of the oldest of these.", registry=RELAY
)
GARBAGE = Gauge(
    "atelier_garbage_blobs", "Blobs on the list of what is to be removed.", registry=RELAY
)
EVENTS_DEAD = Gauge(
    "atelier_event_dead_letters",
    "Events that subscribers of this instance gave up and the bus keeps.",
    registry=RELAY,
)
MEASURED = Gauge(
    "atelier_backlog_measured_time_seconds", "Unix time of the figures above.", registry=RELAY
)

# Jobs, where they run
JOBS = Counter(
    "atelier_jobs", "Jobs by what came of an attempt.", ("queue", "outcome"), registry=REGISTRY
)
JOB_SECONDS = Histogram(
    "atelier_job_seconds",
    "Time of one attempt at a job or batch.",
    ("queue",),
    buckets=JOB_BUCKETS,
    registry=REGISTRY,
)
DELIVERIES = Counter(
    "atelier_job_deliveries", "Jobs taken from a queue.", ("queue",), registry=REGISTRY
)
IMAGES = Counter(
    "atelier_images", "Images by how they ended.", ("outcome", "reason"), registry=REGISTRY
)
FILE_JOBS = Counter(
    "atelier_file_jobs",
    "Celery jobs by what came of them.",
    ("kind", "outcome"),
    registry=REGISTRY,
)
FILE_SECONDS = Histogram(
    "atelier_file_job_seconds",
    "Time of one Celery job.",
    ("kind",),
    buckets=JOB_BUCKETS,
    registry=REGISTRY,
)
SANDBOX_ENDS = Counter(
    "atelier_sandbox_ends",
    "Sandboxed decoders that ended and were replaced.",
    ("reason",),
    registry=REGISTRY,
)

# Events
SENT = Counter("atelier_relay_sent_events", "Events handed to the bus.", registry=RELAY)
CONFIRMED = Counter(
    "atelier_relay_confirmed_events", "Events that the bus has confirmed.", registry=RELAY
)
ACTIVE = Gauge("atelier_relay_active", "Whether this relay is the active one.", registry=RELAY)
OFFERS = Counter(
    "atelier_reconciler_offers", "Jobs sent again by the reconciler.", ("kind",), registry=RELAY
)
RECEIVED = Counter(
    "atelier_events_received", "Events handled.", ("service", "type"), registry=REGISTRY
)

# Servers
CACHE = Counter(
    "atelier_cache_lookups", "Look-ups in the cache.", ("kind", "result"), registry=REGISTRY
)
SIGN_INS = Counter(
    "atelier_sign_ins",
    "Attempts to sign in, by what came of them: ok, wrong, throttled (429) or busy (503).",
    ("outcome",),
    registry=REGISTRY,
)
CONNECTIONS = Gauge(
    "atelier_database_connections", "Connections in use.", ("pool",), registry=REGISTRY
)
CONNECTIONS_LIMIT = Gauge(
    "atelier_database_connections_limit",
    "Connections that there may be.",
    ("pool",),
    registry=REGISTRY,
)
DEPENDENCY = Gauge(
    "atelier_dependency_up",
    "Whether what this process depends on answered when last asked.",
    ("name",),
    registry=REGISTRY,
)
UPLOADED = Counter(
    "atelier_upload_bytes", "Bytes of uploads received whole.", ("kind",), registry=REGISTRY
)
UPLOADS = Gauge(
    "atelier_uploads_in_progress", "Uploads being received or stored.", registry=REGISTRY
)
UPLOADS_LIMIT = Gauge(
    "atelier_uploads_in_progress_limit", "Uploads that there may be at once.", registry=REGISTRY
)
UPLOADS_REFUSED = Counter(
    "atelier_uploads_refused", "Uploads answered 503 for being too many.", registry=REGISTRY
)
EVENT_STREAMS = Gauge(
    "atelier_event_streams", "Streams of events that are open.", registry=REGISTRY
)
EVENT_STREAMS_REFUSED = Counter(
    "atelier_event_streams_refused",
    "Streams of events answered 429 for being too many.",
    registry=REGISTRY,
)
EVENT_STREAMS_ENDED = Counter(
    "atelier_event_streams_ended",
    "Streams of events by why they ended: left by the client, slow to take what was sent, no "
    "longer allowed, stopped with the process, or failed with the database.",
    ("reason",),
    registry=REGISTRY,
)
REFRESH_REUSE = Counter(
    "atelier_refresh_reuse",
    "Sessions that ended because a refresh token was used a second time.",
    registry=REGISTRY,
)
CALLS = Counter(
    "atelier_grpc_requests", "gRPC calls answered.", ("method", "code"), registry=REGISTRY
)
CALL_SECONDS = Histogram(
    "atelier_grpc_request_seconds",
    "Time of one gRPC call that is no stream.",
    ("method",),
    buckets=CALL_BUCKETS,
    registry=REGISTRY,
)
CALLS_REFUSED = Counter(
    "atelier_grpc_refused",
    "gRPC calls refused because their client or user has too many open.",
    ("budget",),
    registry=REGISTRY,
)
STREAMS = Gauge(
    "atelier_grpc_open_streams", "Streams that are open.", ("method",), registry=REGISTRY
)


class Few:
    """Limits the values of a label; the others become `other`."""

    def __init__(self, limit: int = VALUES) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return the value, or `other`."""
        if value in self._known:
            return value
        if len(self._known) >= self._limit:
            return "other"
        self._known.add(value)
        return value


reasons = Few()

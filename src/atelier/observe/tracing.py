"""OpenTelemetry spans, sent by OTLP when `otlp_url` is set.

Otherwise each call here only tests one variable. A span's context travels as W3C `traceparent`: in
requests, jobs, outbox rows and events. Knows none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from atelier.observe.logs import trace_id
from atelier.settings import Settings

PATH = "/v1/traces"  # of an OTLP/HTTP endpoint
DELAY_MS = 1000  # a finished span is sent after this time at the latest
QUEUED = 8192  # spans that wait to be sent; more are dropped
EXPORT_SECONDS = 5.0  # for one request to the collector


class _State:
    """The objects that `start` has made; the SDK has no types worth an import."""

    tracer: Any = None
    provider: Any = None


def start(role: str, settings: Settings) -> None:
    """Send spans from now on, if the settings say where.

    A process that forks calls this in each child.
    """
    if settings.otlp_url is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    names = {
        "service.name": f"atelier-{role}",
        "service.namespace": "atelier",
        "service.version": version("atelier"),
    }
    url = settings.otlp_url.get_secret_value().rstrip("/")
    exporter = OTLPSpanExporter(
        endpoint=url if url.endswith(PATH) else url + PATH, timeout=EXPORT_SECONDS
    )
    _State.provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
    _State.provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=QUEUED, schedule_delay_millis=DELAY_MS)
    )
    _State.tracer = _State.provider.get_tracer("atelier")


def stop() -> None:
    """Send the spans that wait."""
    provider, _State.provider, _State.tracer = _State.provider, None, None
    if provider is not None:
        provider.shutdown()


def on() -> bool:
    """Return whether tracing is on."""
    return _State.tracer is not None


@contextmanager
def span(
    name: str,
    kind: str = "INTERNAL",
    *,
    parent: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """Open a span around a block of code; yield None when tracing is off.

    Its parent is `parent` (a traceparent), by default the current span.
    """
    if _State.tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind, StatusCode, use_span

    made = _State.tracer.start_span(name, _context(parent), SpanKind[kind], attributes)
    token = trace_id.set(f"{made.get_span_context().trace_id:032x}")
    try:
        # Only an error's type is recorded: messages may hold people's data and passwords, which
        # the log masks.
        with use_span(
            made, end_on_exit=True, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield made
            except Exception as error:
                made.set_attribute("error.type", type(error).__name__)
                made.set_status(StatusCode.ERROR)
                raise
    finally:
        trace_id.reset(token)


def begin(name: str, kind: str, parent: str | None) -> tuple[Any, str | None]:
    """Start a span without making it current, such as one of many at once; `end` ends it.

    Also returns its traceparent.
    """
    if _State.tracer is None:
        return None, parent
    from opentelemetry.trace import SpanKind

    made = _State.tracer.start_span(name, _context(parent), SpanKind[kind])
    return made, _traceparent(made)


def end(*spans: Any) -> None:
    """End spans that `begin` has started."""
    for made in spans:
        if made is not None:
            made.end()


def traceparent() -> str | None:
    """Return the current span's context, to be sent along; None without a span."""
    if _State.tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    return _traceparent(get_current_span())


def _traceparent(made: Any) -> str | None:
    at = made.get_span_context()
    return (
        f"00-{at.trace_id:032x}-{at.span_id:016x}-{int(at.trace_flags):02x}"
        if at.is_valid
        else None
    )


def _context(parent: str | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())

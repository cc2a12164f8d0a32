"""Spans tell a collector, which may belong to another party, no secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from atelier.observe import tracing

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Takes the spans of this process."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing._State, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def test_a_failure_is_named_and_not_quoted(exporter: InMemorySpanExporter) -> None:
    """Only an error's type is exported: its message may hold a password or an address."""
    with pytest.raises(ConnectionError), tracing.span("publish", "PRODUCER"):
        raise ConnectionError("amqp://atelier:hunter2@rabbitmq refused ada@example.org")
    (span,) = exporter.get_finished_spans()
    assert "hunter2" not in span.to_json()
    assert "ada@" not in span.to_json()
    assert (span.status.status_code.name, span.attributes) == (
        "ERROR",
        {"error.type": "ConnectionError"},
    )


def test_what_goes_well_has_no_status(exporter: InMemorySpanExporter) -> None:
    """Neither an error nor its attribute."""
    with tracing.span("store"):
        pass
    (span,) = exporter.get_finished_spans()
    assert (span.status.status_code.name, dict(span.attributes or {})) == ("UNSET", {})

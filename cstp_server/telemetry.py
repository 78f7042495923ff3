"""Traces by OpenTelemetry, for those who have asked for them; this file is only imported then, and takes the extra `otel`.

What the service has no setting of its own for is in OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_HEADERS`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cstp_server import __version__
from cstp_server.redaction import redacted

_PATH = "/v1/traces"
_SANE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_EXPORT_SECONDS = 3.0
"""How long a collector may take; also how long the service waits at its end for the last spans to be sent."""


class Telemetry:
    """Sends spans of calls to a collector, in the background (`tracing.Tracer`)."""

    def __init__(self, exporter: SpanExporter, service: str, ratio: float) -> None:
        """`ratio` of the traces that begin here are recorded; of others, those that their caller records."""
        resource = Resource.create({"service.name": service, "service.version": __version__})
        sampler = ParentBased(TraceIdRatioBased(ratio))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("cstp_server", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @staticmethod
    def to(endpoint: str, service: str, ratio: float) -> "Telemetry":
        """Telemetry that is sent to a collector by OTLP over HTTP."""
        url = endpoint if urlsplit(endpoint).path.strip("/") else endpoint.rstrip("/") + _PATH
        return Telemetry(OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS), service, ratio)

    def stop(self) -> None:
        """Send what is there, and no more."""
        self._provider.shutdown()

    @contextmanager
    def call(self, method: str, correlation_id: str, propagated: Mapping[str, str]) -> Iterator["CallSpan"]:
        """A call of a method."""
        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(propagated),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "jsonrpc", "rpc.service": "cstp", "rpc.method": method, "cstp.request_id": correlation_id},
        )
        try:
            yield CallSpan(span)
        finally:
            span.end()


class CallSpan:
    """The span of one call (`tracing.Span`)."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def concerns(self, decision_id: str, intervention: str | None = None) -> None:
        """The decision that the call is about, and what was answered."""
        if _SANE.fullmatch(decision_id):
            self._span.set_attribute("cstp.decision_id", redacted(decision_id))
        if intervention is not None:
            self._span.set_attribute("cstp.intervention", intervention)

    def failed(self, code: int, *, is_fault: bool) -> None:
        """The call was answered with an error's code."""
        self._span.set_attribute("rpc.jsonrpc.error_code", code)
        if is_fault:
            self._span.set_status(Status(StatusCode.ERROR))

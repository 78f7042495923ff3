"""Counts that are kept apart until somebody asks for the metrics."""

from prometheus_client import CollectorRegistry, Counter, generate_latest

from cstp_server.counting import Bulk, Counts, Durations
from cstp_server.domain.findings import CLEAN
from cstp_server.metrics import Metrics

_BOUNDS = (0.5, 1.0, 2.5)
_SECONDS = (0.0, 0.25, 0.5, 0.625, 1.0, 2.0, 2.5, 2.75, 900.0)


def _read(*, at_once: bool) -> list[list[bytes]]:
    """The lines that are read of a counter and a histogram, in the middle of what they count and at its end."""
    registry = CollectorRegistry()
    counts = Counts(Counter("calls", "Calls.", ("method", "code"), registry=registry), at_once=at_once)
    durations = Durations(Bulk("took", "Seconds.", ("method",), registry=registry, buckets=_BOUNDS), _BOUNDS, at_once=at_once)
    read = []
    for method in ("a", "b"):
        for seconds in _SECONDS:
            counts.add(method, "0")
            counts.add("a", "-32602")
            durations.add(method, seconds)
            durations.add("a", seconds)
        counts.settle()
        durations.settle()
        read.append(sorted(generate_latest(registry).splitlines()))
    return read


def test_what_is_entered_later_reads_as_if_it_had_been_entered_at_once() -> None:
    """Every count, bucket and sum is the same, also of what lies on a bound or beyond the last one, whenever it is read."""
    assert _read(at_once=False) == _read(at_once=True)


def test_metrics_are_complete_each_time_they_are_read() -> None:
    """Every call so far is in them, and none twice."""
    metrics = Metrics()
    for calls in (1, 2):
        metrics.called("cstp.checkGuardrails", 0, 0.004)
        metrics.answered(CLEAN)
        read = metrics.render()[0].decode()
        assert f'cstp_calls_total{{code="0",method="cstp.checkGuardrails"}} {calls}.0' in read
        assert f'cstp_call_duration_seconds_bucket{{le="0.005",method="cstp.checkGuardrails"}} {calls}.0' in read
        assert f'cstp_verdicts_total{{intervention="allow"}} {calls}.0' in read

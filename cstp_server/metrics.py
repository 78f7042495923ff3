"""What Prometheus sees. Labels are bounded: methods, codes, interventions, causes and states, never scopes, agents or ids."""

from collections.abc import Collection, Iterable
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from cstp_server import __version__
from cstp_server.settings import metrics_folder

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_BUCKETS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_EVALUATION_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
_OTHER = "other"


class Metrics:
    """The metrics of one server process.

    `folder` is where several processes keep what they count (`PROMETHEUS_MULTIPROC_DIR`); then any of them answers for all.
    `dimensions` are the names that failures of constraints are counted by; any other one is `other`.
    """

    def __init__(self, folder: Path | None = None, dimensions: Collection[str] = ()) -> None:
        self._folder = folder
        self._dimensions = frozenset(dimensions)
        self._registry = CollectorRegistry()
        registry = self._registry
        self._calls = Counter("cstp_calls", "Calls by method and code; code 0 is success.", ("method", "code"), registry=registry)
        self._seconds = Histogram(
            "cstp_call_duration_seconds", "How long calls take.", ("method",), registry=registry, buckets=_LATENCY_BUCKETS
        )
        self._verdicts = Counter("cstp_verdicts", "Answered checks by intervention.", ("intervention",), registry=registry)
        self._queue = Gauge("cstp_queue_depth", "Calls that wait for the store.", registry=registry, multiprocess_mode="livesum")
        self._batches = Histogram("cstp_batch_size", "Calls that shared a transaction.", registry=registry, buckets=_BATCH_BUCKETS)
        self._moves = Counter("cstp_circuit_transitions", "Moves of circuits.", ("cause", "state"), registry=registry)
        self._reloads = Counter("cstp_policy_reloads", "Attempts to read the policy anew.", ("result",), registry=registry)
        self._policy = Gauge("cstp_policy_loaded_timestamp_seconds", "When this policy came into force.", registry=registry,
                             multiprocess_mode="livemostrecent")  # fmt: skip
        self._evaluations = Counter("cstp_constraint_evaluations", "Evaluations of constraints, at checks and on demand.", ("result",),
                                    registry=registry)  # fmt: skip
        self._failures = Counter("cstp_constraint_failures", "Dimensions that were not satisfied.", ("dimension",), registry=registry)
        self._flags = Counter("cstp_constraint_gaming_flags", "What the habits of agents showed, by kind.", ("kind",), registry=registry)
        self._evaluation = Histogram("cstp_constraint_evaluation_duration_seconds", "How long evaluations on demand take.",
                                     registry=registry, buckets=_EVALUATION_BUCKETS)  # fmt: skip
        self._alerts = Counter("cstp_notifications", "Alerts by channel and result.", ("channel", "result"), registry=registry)
        self._lag = Histogram(
            "cstp_notification_lag_seconds", "How long after what they tell of alerts arrive.", registry=registry, buckets=_LAG_BUCKETS
        )
        info = Gauge("cstp_build_info", "The version that runs.", ("version",), registry=registry, multiprocess_mode="livemax")
        info.labels(__version__).set(1)
        self._calls_of: dict[tuple[str, int], Counter] = {}
        self._seconds_of: dict[str, Histogram] = {}
        self._verdicts_of: dict[str, Counter] = {}

    def called(self, method: str, code: int, seconds: float) -> None:
        """A call was answered, with code 0 or an error's. `method` must be one that exists, or a fixed word."""
        calls = self._calls_of.get((method, code))
        if calls is None:
            calls = self._calls_of[method, code] = self._calls.labels(method, str(code))
        latency = self._seconds_of.get(method)
        if latency is None:
            latency = self._seconds_of[method] = self._seconds.labels(method)
        calls.inc()
        latency.observe(seconds)

    def answered(self, intervention: str) -> None:
        """A check was answered with this intervention."""
        verdicts = self._verdicts_of.get(intervention)
        if verdicts is None:
            verdicts = self._verdicts_of[intervention] = self._verdicts.labels(intervention)
        verdicts.inc()

    def queued(self, depth: int) -> None:
        """So many calls wait for the store now."""
        self._queue.set(depth)

    def committed(self, calls: int) -> None:
        """So many calls shared a transaction."""
        self._batches.observe(calls)

    def moved(self, cause: str, state: str) -> None:
        """A circuit went into `state` because of `cause`."""
        self._moves.labels(cause, state).inc()

    def evaluated(self, *, satisfied: bool, failed: Iterable[str], flags: Iterable[str]) -> None:
        """Constraints were evaluated; some dimensions failed, and the agent's habits showed something: `kind:dimension (…)`."""
        self._evaluations.labels("passed" if satisfied else "failed").inc()
        for name in failed:
            self._failures.labels(name if name in self._dimensions else _OTHER).inc()
        for flag in flags:
            self._flags.labels(flag.partition(":")[0]).inc()

    def evaluation_took(self, seconds: float) -> None:
        """Constraints were evaluated on demand."""
        self._evaluation.observe(seconds)

    def notified(self, channel: str, result: str, alerts: int) -> None:
        """So many alerts were `sent`, `failed` to arrive this time, or were `given_up`, on a channel of the policy."""
        if alerts:
            self._alerts.labels(channel, result).inc(alerts)

    def notified_after(self, seconds: float) -> None:
        """An alert arrived so long after what it tells of."""
        self._lag.observe(seconds)

    def reloaded(self, *, accepted: bool, at: int) -> None:
        """The policy was read anew, `at` in ms since the epoch."""
        self._reloads.labels("accepted" if accepted else "rejected").inc()
        if accepted:
            self._policy.set(at / 1000)

    def render(self) -> tuple[bytes, str]:
        """The metrics as Prometheus reads them, and their content type."""
        registry = self._registry
        if self._folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


def forget_process(pid: int) -> None:
    """A process that shared its metrics has ended: what it counted stays, its gauges are gone."""
    folder = metrics_folder()
    if folder is not None:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]

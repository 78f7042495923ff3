"""What Prometheus sees. Labels are bounded: methods, codes, interventions, guards, causes, kinds and states, never scopes, agents or ids.

What a process counts by itself is added up over the processes of one server. What is in the store is the same for all of them, and counted
now and then (`census.py`): whichever process is asked tells it once.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from cstp_server import __version__
from cstp_server.counting import Bulk, Counts, Durations
from cstp_server.domain.circuit_state import State
from cstp_server.domain.findings import CLEAN, Finding, Verdict
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.domain.scopes import ScopeKind
from cstp_server.domain.trust import TRUST_STATES
from cstp_server.services.ports import StoreCounts
from cstp_server.settings import metrics_folder

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
_COMMIT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_BUCKETS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3_600, 14_400, 86_400)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_EVALUATION_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)
_OTHER = "other"
_KINDS = frozenset(ScopeKind)
_SIDES = ("reading", "writing")
_RESULTS = ("done", "waited", "faulted")
_SIGN_INS = ("succeeded", "failed", "refused", "limited")
disable_created_metrics()  # type: ignore[no-untyped-call]  # when each counter began: half as much again to scrape, and nobody asks


class Metrics:
    """The metrics of one server process.

    `folder` is where several processes keep what they count (`PROMETHEUS_MULTIPROC_DIR`); then any of them answers for all.
    `dimensions` are the names that failures of constraints are counted by; any other one is `other`.
    """

    def __init__(self, folder: Path | None = None, dimensions: Collection[str] = ()) -> None:
        self._folder = folder
        self._dimensions = frozenset(dimensions)
        self._registry = CollectorRegistry()
        self._snapshot = Snapshot()
        self._registry.register(self._snapshot)
        registry = self._registry
        at_once = folder is not None
        calls = Counter("cstp_calls", "Calls by method and code; code 0 is success.", ("method", "code"), registry=registry)
        self._calls = Counts(calls, at_once=at_once)
        seconds = Bulk("cstp_call_duration_seconds", "How long calls take.", ("method",), registry=registry, buckets=_LATENCY_BUCKETS)
        self._seconds = Durations(seconds, _LATENCY_BUCKETS, at_once=at_once)
        self._refused = Counter("cstp_refused", "Requests and calls that were answered before any method was, by code.", ("code",),
                                registry=registry)  # fmt: skip
        verdicts = Counter("cstp_verdicts", "Answered checks by intervention.", ("intervention",), registry=registry)
        self._verdicts = Counts(verdicts, at_once=at_once)
        findings = Counter("cstp_findings", "What guards had to say in answered checks, by type of guard, intervention and mode.",
                           ("guard", "intervention", "mode"), registry=registry)  # fmt: skip
        self._findings = Counts(findings, at_once=at_once)
        self._reviews = Counter("cstp_reviews", "Reviewed decisions by outcome.", ("outcome",), registry=registry)
        self._bypasses = Counter("cstp_enforcement_bypassed", "Reviewed decisions that nobody had allowed: somebody went on all the same.",
                                 registry=registry)  # fmt: skip
        self._postures = Counter("cstp_posture_transitions", "Attempts to move agents, by type and whether they were moved or refused.",
                                 ("type", "result"), registry=registry)  # fmt: skip
        for kind in TransitionType:
            for result in ("moved", "refused"):
                self._postures.labels(kind.value, result)
        self._queue = Gauge("cstp_queue_depth", "Calls that wait for the store.", registry=registry, multiprocess_mode="livesum")
        self._batches = Histogram("cstp_batch_size", "Calls that shared a transaction.", registry=registry, buckets=_BATCH_BUCKETS)
        self._commits = Histogram("cstp_commit_duration_seconds", "How long the store takes to make a transaction durable.",
                                  registry=registry, buckets=_COMMIT_BUCKETS)  # fmt: skip
        self._store = Gauge("cstp_store_up", "Whether the store did what was last asked of it: 1 or 0, by side.", ("side",),
                            registry=registry, multiprocess_mode="livemin")  # fmt: skip
        for side in _SIDES:
            self._store.labels(side).set(1)
        self._moves = Counter("cstp_circuit_transitions", "Moves of circuits, by kind of scope, cause and the state that they led to.",
                              ("kind", "cause", "state"), registry=registry)  # fmt: skip
        self._rounds = Counter("cstp_worker_rounds", "Rounds of the background work, by task and how they went.", ("task", "result"),
                               registry=registry)  # fmt: skip
        self._reloads = Counter("cstp_policy_reloads", "Attempts to read the policy anew.", ("result",), registry=registry)
        for result in ("accepted", "rejected"):
            self._reloads.labels(result)
        self._policy = Gauge("cstp_policy_loaded_timestamp_seconds", "When this policy came into force.", registry=registry,
                             multiprocess_mode="livemostrecent")  # fmt: skip
        self._evaluations = Counter("cstp_constraint_evaluations", "Evaluations of constraints, at checks and on demand.", ("result",),
                                    registry=registry)  # fmt: skip
        self._failures = Counter("cstp_constraint_failures", "Dimensions that were not satisfied.", ("dimension",), registry=registry)
        self._flags = Counter("cstp_constraint_gaming_flags", "What the habits of agents showed, by kind.", ("kind",), registry=registry)
        self._evaluation = Histogram("cstp_constraint_evaluation_duration_seconds", "How long evaluations on demand take.",
                                     registry=registry, buckets=_EVALUATION_BUCKETS)  # fmt: skip
        self._sign_ins = Counter(
            "cstp_sign_ins", "Attempts to sign in to the dashboard, by how they ended.", ("result",), registry=registry
        )
        for result in _SIGN_INS:
            self._sign_ins.labels(result)
        self._alerts = Counter("cstp_notifications", "Alerts by channel and result.", ("channel", "result"), registry=registry)
        self._lag = Histogram(
            "cstp_notification_lag_seconds",
            "How long the first of the alerts in a message waited until it arrived.",
            registry=registry,
            buckets=_LAG_BUCKETS,
        )
        info = Gauge("cstp_build_info", "The version that runs.", ("version",), registry=registry, multiprocess_mode="livemax")
        info.labels(__version__).set(1)

    def called(self, method: str, code: int, seconds: float) -> None:
        """A call was answered, with code 0 or an error's. `method` must be one that exists, or a fixed word.

        For the event loop's thread.
        """
        self._calls.add(method, str(code))
        self._seconds.add(method, seconds)

    def refused(self, code: int) -> None:
        """A request, or a call of one, was answered with an error's code before any method was found for it."""
        self._refused.labels(str(code)).inc()

    def answered(self, verdict: Verdict) -> None:
        """A check was answered with this verdict. For the event loop's thread."""
        self._verdicts.add(verdict.intervention.label)
        if verdict is CLEAN:
            return
        for findings in (verdict.violations, verdict.warnings, verdict.shadow):
            for finding in findings:
                self._found(finding)

    def _found(self, finding: Finding) -> None:
        self._findings.add(finding.type.value, finding.intervention.label, finding.mode.value)

    def reviewed(self, outcome: str) -> None:
        """A decision was reviewed for the first time."""
        self._reviews.labels(outcome).inc()

    def queued(self, depth: int) -> None:
        """So many calls wait for the store now."""
        self._queue.set(depth)

    def committed(self, calls: int) -> None:
        """So many calls shared a transaction."""
        self._batches.observe(calls)

    def commit_took(self, seconds: float) -> None:
        """A transaction was made durable."""
        self._commits.observe(seconds)

    def store_works(self, side: str, works: bool) -> None:
        """The store has begun, or ceased, to do what is asked of it: `reading` or `writing`."""
        self._store.labels(side).set(int(works))

    def moved(self, scope: str, cause: str, state: str) -> None:
        """The circuit of a scope went into `state` because of `cause`."""
        kind = scope.partition(":")[0]
        self._moves.labels(kind if kind in _KINDS else _OTHER, cause, state).inc()

    def bypassed(self) -> None:
        """A decision was reviewed that had not been allowed."""
        self._bypasses.inc()

    def posture_moved(self, kind: str, *, refused: bool) -> None:
        """An agent was moved from one posture to another, or somebody was refused to."""
        self._postures.labels(kind, "refused" if refused else "moved").inc()

    def round_ended(self, task: str, result: str) -> None:
        """A round of the background work was `done`, `waited` for a store that did not answer, or `faulted`."""
        for other in _RESULTS:  # so that the first fault is seen as one more, and not as a count that has just begun
            self._rounds.labels(task, other)
        self._rounds.labels(task, result).inc()

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
        """A message arrived so long after the first of what it tells of."""
        self._lag.observe(seconds)

    def signed_in(self, result: str) -> None:
        """Somebody tried to sign in: it `succeeded`, `failed` for want of a good token, was `refused` since the token may not look, or
        `limited` after too many failures.
        """
        self._sign_ins.labels(result).inc()

    def reloaded(self, *, accepted: bool, at: int, version: str) -> None:
        """The policy was read anew, `at` in ms since the epoch; `version` is in force."""
        self._reloads.labels("accepted" if accepted else "rejected").inc()
        self._snapshot.policy_version = version
        if accepted:
            self._policy.set(at / 1000)

    def families(self) -> Iterable[Metric]:
        """What this process counts, family by family."""
        self._settle()
        return self._registry.collect()

    def render(self, counts: StoreCounts | None = None) -> tuple[bytes, str]:
        """The metrics as Prometheus reads them, with what is in the store where that is known, and their content type.

        For the event loop's thread.
        """
        self._settle()
        self._snapshot.counts = counts
        registry = self._registry
        if self._folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
            registry.register(self._snapshot)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def _settle(self) -> None:
        for counted in (self._calls, self._seconds, self._verdicts, self._findings):
            counted.settle()


class Snapshot(Collector):
    """What one process tells for all: the policy in force, and what is in the store, as far as it is known."""

    def __init__(self) -> None:
        self.policy_version: str | None = None
        self.counts: StoreCounts | None = None

    def collect(self) -> Iterator[Metric]:
        """The metrics, as Prometheus's client asks for them."""
        policy = GaugeMetricFamily("cstp_policy_info", "The version of the policy in force.", labels=("version",))
        if self.policy_version is not None:
            policy.add_metric((self.policy_version,), 1)
        yield policy
        yield from _of_store(self.counts)


def _of_store(counts: StoreCounts | None) -> Iterator[Metric]:
    circuits = GaugeMetricFamily("cstp_circuits", "Circuits in use, by kind of scope and state.", labels=("kind", "state"))
    users = GaugeMetricFamily("cstp_users", "Users and domains that anything was ever told of, by the state of trust.", labels=("trust",))
    agents = GaugeMetricFamily("cstp_agents", "Agents that were ever moved, by posture.", labels=("posture",))
    waiting = GaugeMetricFamily("cstp_decisions_waiting", "Decisions that wait for somebody, or for a cancel window to be over.")
    since = GaugeMetricFamily("cstp_decisions_waiting_since_timestamp_seconds", "When the first of the decisions that wait was asked for.")
    if counts is not None:
        for kind in ScopeKind:
            for state in State:
                circuits.add_metric((kind.value, state.value), counts.circuits.get((kind.value, state.value), 0))
        for state, trust in TRUST_STATES.items():
            users.add_metric((trust.value,), counts.circuits.get((ScopeKind.USER.value, state.value), 0))
        for posture in Posture:
            agents.add_metric((posture.label,), counts.postures.get(posture.label, 0))
        waiting.add_metric((), counts.waiting)
        if counts.waiting_since is not None:
            since.add_metric((), counts.waiting_since / 1000)
    return iter((circuits, users, agents, waiting, since, *_of_outbox(counts)))


def _of_outbox(counts: StoreCounts | None) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("cstp_notifications_waiting", "Alerts that have not arrived yet, by channel.", labels=("channel",))
    since = GaugeMetricFamily(
        "cstp_notifications_waiting_since_timestamp_seconds",
        "Since when the first of the alerts that have not arrived yet waits, by channel.",
        labels=("channel",),
    )
    dead = GaugeMetricFamily(
        "cstp_notifications_dead", "Alerts that were given up and are kept for a while, by channel.", labels=("channel",)
    )
    for channel, alerts in sorted(counts.alerts.items() if counts is not None else ()):
        waiting.add_metric((channel,), alerts.waiting)
        dead.add_metric((channel,), alerts.dead)
        if alerts.waiting_since is not None:
            since.add_metric((channel,), alerts.waiting_since / 1000)
    return iter((waiting, since, dead))


class MetricInfo(NamedTuple):
    """One metric, for documentation."""

    name: str
    type: str
    description: str


def describe() -> Iterator[MetricInfo]:
    """Every metric, as Prometheus names it."""
    for family in Metrics().families():
        yield MetricInfo(f"{family.name}_total" if family.type == "counter" else family.name, family.type, family.documentation)


def forget_process(pid: int) -> None:
    """A process that shared its metrics has ended: what it counted stays, its gauges are gone."""
    folder = metrics_folder()
    if folder is not None:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]

"""The circuit once more, the slow way: all inputs in a plain list, gone through from the first one whenever somebody asks (SPEC 5).

It shares nothing with the breaker but the names of its states, its settings and its severities, so that a fault in one is not in the other.
"""

from collections import Counter
from dataclasses import dataclass, field

from cstp_server.domain.circuit_settings import CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Outcome, Severity


@dataclass(slots=True)
class Input:
    """Something that was done to a circuit. `kind` is `outcome`, `claim`, `reset`, `probe_first` or `trip`."""

    at: int
    kind: str
    settings: CircuitSettings
    decision: str = ""
    agent: str = ""
    outcome: Outcome = Outcome.SUCCESS
    severity: Severity = Severity.MEDIUM


@dataclass(slots=True)
class Happened:
    """A reviewed decision in the window; `held` says whether its failure is still held against the circuit."""

    at: int
    decision: str
    agent: str
    failed: bool
    succeeded: bool
    weight: int
    held: bool


@dataclass(slots=True)
class NaiveCircuit:
    """What the inputs amount to."""

    state: State = State.CLOSED
    opened_at: int | None = None
    reset_at: int | None = None
    openings: int = 0
    forced: bool = False
    leases: dict[str, int] = field(default_factory=dict)
    successes: int = 0
    damage: int = 0
    last_failure: int | None = None
    window: list[Happened] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return sum(one.held for one in self.window)

    @property
    def weighted(self) -> int:
        return sum(one.weight for one in self.window if one.held)

    @property
    def failed(self) -> int:
        return sum(one.failed for one in self.window)

    @property
    def succeeded(self) -> int:
        return sum(one.succeeded for one in self.window)

    @property
    def failed_by(self) -> dict[str, int]:
        return dict(Counter(one.agent for one in self.window if one.failed))

    def admits(self, settings: CircuitSettings) -> bool:
        """Whether one more decision would go through now."""
        return self.state is State.CLOSED or (self.state is State.HALF_OPEN and len(self.leases) < settings.half_open_probes)

    def pass_time(self, settings: CircuitSettings, now: int) -> None:
        self.window = [one for one in self.window if now - one.at < settings.window_ms]
        if self.state is State.OPEN and self.reset_at is not None and now >= self.reset_at:
            self._half_open()
        self.leases = {decision: until for decision, until in self.leases.items() if now < until}

    def apply(self, given: Input) -> None:
        self.pass_time(given.settings, given.at)
        if given.kind == "outcome":
            self._outcome(given)
        elif given.kind == "claim":
            if self.state is State.HALF_OPEN and self.admits(given.settings):
                self.leases[given.decision] = given.at + given.settings.probe_timeout_ms
        elif given.kind == "trip":
            self._trip(given)
        elif given.kind == "probe_first" and self.state is not State.CLOSED:
            self._half_open()
        else:
            self._close()

    def _outcome(self, given: Input) -> None:
        failed = given.outcome in given.settings.failure_outcomes
        succeeded = given.outcome is Outcome.SUCCESS
        weight = given.settings.severity_weights[given.severity] if failed else 0
        is_probe = self.state is State.HALF_OPEN and given.decision in self.leases
        self.window.append(Happened(given.at, given.decision, given.agent, failed, succeeded, weight, failed))
        if failed:
            self.last_failure = given.at
        if succeeded:
            self._forgive(given.settings.on_success)
        if is_probe:
            self._judge(given, failed, succeeded, weight)
        elif self.state is State.CLOSED and self._is_too_much(given.settings, failed):
            self._open(given)

    def _forgive(self, on_success: OnSuccess) -> None:
        held = [one for one in self.window if one.held]
        for one in held[:1] if on_success is OnSuccess.DECREMENT else held if on_success is OnSuccess.RESET else []:
            one.held = False

    def _judge(self, given: Input, failed: bool, succeeded: bool, weight: int) -> None:
        del self.leases[given.decision]
        if failed:
            self.damage += weight
            if self.damage > given.settings.half_open_tolerance:
                self._open(given)
        elif succeeded:
            self.successes += 1
            if self.successes >= given.settings.half_open_successes:
                self._close()

    def _is_too_much(self, settings: CircuitSettings, failed: bool) -> bool:
        if len(self.failed_by) < settings.min_distinct_agents:
            return False
        if failed and self.weighted >= settings.failure_threshold:
            return True
        rate = settings.failure_rate_threshold
        return rate is not None and len(self.window) >= settings.minimum_decisions and self.failed / len(self.window) >= rate

    def _open(self, given: Input) -> None:
        settings = given.settings
        cooldown = settings.cooldown_ms * settings.cooldown_multiplier**self.openings
        if settings.cooldown_max_ms is not None:
            cooldown = min(cooldown, settings.cooldown_max_ms)
        self.state, self.opened_at, self.reset_at = State.OPEN, given.at, given.at + int(cooldown)
        self.openings += 1
        self._forget_probes()

    def _half_open(self) -> None:
        self.state, self.reset_at, self.forced = State.HALF_OPEN, None, False
        self._forget_probes()

    def _trip(self, given: Input) -> None:
        if self.state is not State.OPEN:
            self.opened_at = given.at
        self.state, self.reset_at, self.forced = State.OPEN, None, True
        self._forget_probes()

    def _close(self) -> None:
        self.state, self.opened_at, self.reset_at, self.openings, self.forced = State.CLOSED, None, None, 0, False
        self.window = []
        self._forget_probes()

    def _forget_probes(self) -> None:
        self.leases, self.successes, self.damage = {}, 0, 0


def replay(inputs: list[Input], settings: CircuitSettings, now: int) -> NaiveCircuit:
    """The circuit that the inputs give, looked at at `now` under `settings`."""
    circuit = NaiveCircuit()
    for given in inputs:
        circuit.apply(given)
    circuit.pass_time(settings, now)
    return circuit

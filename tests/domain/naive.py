"""The circuit once more, the slow way: all inputs in a plain list, gone through from the first one whenever somebody asks (SPEC 5).

It shares nothing with the breaker but the names of its states, its settings and its severities, so that a fault in one is not in the other.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from cstp_server.domain.circuit_settings import CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import State
from cstp_server.domain.damage import UNSAID, Damage
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
    asked_at: int | None = None
    damage: Damage = UNSAID


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
    half_open_since: int = 0
    broken_at: int = 0
    recoveries: int = 0
    recovery_ms: int = 0
    relapses: int = 0
    last_failure: int | None = None
    window: list[Happened] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return sum(one.held for one in self.window)

    @property
    def weighted(self) -> int:
        return sum(one.weight for one in self.window if one.held)

    def score(self, settings: CircuitSettings, now: int) -> Fraction:
        """What the damage in the window counts for: whole for half the window, then less and less until its end (SPEC 10)."""
        window = settings.window_ms
        held = (one for one in self.window if one.held)
        return sum((one.weight * min(Fraction(1), Fraction(2 * (window - (now - one.at)), window)) for one in held), Fraction(0))

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
            self._half_open(self.reset_at)
        self.leases = {decision: until for decision, until in self.leases.items() if now < until}

    def apply(self, given: Input) -> None:
        self.pass_time(given.settings, given.at)
        if given.kind == "outcome":
            self._outcome(given)
        elif given.kind == "claim":
            if self.state is State.HALF_OPEN and self.admits(given.settings) and given.settings.trust is None:
                self.leases[given.decision] = given.at + given.settings.probe_timeout_ms
        elif given.kind == "trip":
            self._trip(given)
        elif given.kind == "probe_first" and self.state is not State.CLOSED:
            self._half_open(given.at)
        else:
            self._close()

    def _outcome(self, given: Input) -> None:
        failed = given.outcome in given.settings.failure_outcomes
        succeeded = given.outcome is Outcome.SUCCESS
        weight = _weight(given) if failed else 0
        is_probe = self.state is State.HALF_OPEN and self._speaks_of_it(given)
        self.window.append(Happened(given.at, given.decision, given.agent, failed, succeeded, weight, failed))
        if failed:
            self.last_failure = given.at
        if succeeded:
            self._forgive(given.settings.on_success)
        if is_probe:
            self._judge(given, failed, succeeded, weight)
        elif self.state is State.CLOSED and self._is_too_much(given.settings, failed):
            self._open(given)

    def _speaks_of_it(self, given: Input) -> bool:
        """Whether the outcome is a probe's; under trust, whether what it is of was not asked for before it was under test."""
        if given.settings.trust is None:
            return given.decision in self.leases
        return given.asked_at is None or given.asked_at >= self.half_open_since

    def _forgive(self, on_success: OnSuccess) -> None:
        held = [one for one in self.window if one.held]
        for one in held[:1] if on_success is OnSuccess.DECREMENT else held if on_success is OnSuccess.RESET else []:
            one.held = False

    def _judge(self, given: Input, failed: bool, succeeded: bool, weight: int) -> None:
        self.leases.pop(given.decision, None)
        if failed:
            self.damage += weight
            if self.damage > given.settings.half_open_tolerance:
                self.relapses += 1
                self._open(given)
            elif given.settings.trust is not None:
                self.successes = max(0, self.successes - given.settings.trust.setback)
        elif succeeded:
            self.successes += 1
            if self.successes >= given.settings.half_open_successes:
                self.recoveries += 1
                self.recovery_ms += given.at - self.broken_at
                self._close()

    def _is_too_much(self, settings: CircuitSettings, failed: bool) -> bool:
        if len(self.failed_by) < settings.min_distinct_agents:
            return False
        held = self.weighted if settings.trust is None else self.score(settings, self.window[-1].at)
        if failed and held >= settings.failure_threshold:
            return True
        rate = settings.failure_rate_threshold
        return rate is not None and len(self.window) >= settings.minimum_decisions and self.failed / len(self.window) >= rate

    def _open(self, given: Input) -> None:
        settings = given.settings
        cooldown = settings.cooldown_ms * settings.cooldown_multiplier**self.openings
        if settings.cooldown_max_ms is not None:
            cooldown = min(cooldown, settings.cooldown_max_ms)
        self.broken_at = given.at if self.state is State.CLOSED else self.broken_at
        self.state, self.opened_at, self.reset_at = State.OPEN, given.at, given.at + int(cooldown)
        self.openings += 1
        self._forget_probes()

    def _half_open(self, at: int) -> None:
        self.half_open_since = at
        self.state, self.reset_at, self.forced = State.HALF_OPEN, None, False
        self._forget_probes()

    def _trip(self, given: Input) -> None:
        if self.state is not State.OPEN:
            self.opened_at = given.at
        self.broken_at = given.at if self.state is State.CLOSED else self.broken_at
        self.state, self.reset_at, self.forced = State.OPEN, None, True
        self._forget_probes()

    def _close(self) -> None:
        self.state, self.opened_at, self.reset_at, self.openings, self.forced = State.CLOSED, None, None, 0, False
        self.window = []
        self._forget_probes()

    def _forget_probes(self) -> None:
        self.leases, self.successes, self.damage = {}, 0, 0


def _weight(given: Input) -> int:
    """What a failure weighs: by what it damaged and how badly, half as much again where the user said so; to a breaker, by its severity."""
    trust, severity = given.settings.trust, given.settings.severity_weights[given.severity]
    if trust is None:
        return severity
    badly = Fraction(given.damage.scale if given.damage.scale is not None else severity, 1_000_000)
    weight = trust.damage_weights[given.damage.type] * badly * (Fraction(3, 2) if given.damage.explicit else 1)
    return max(int(weight), 1) if weight else 0


def replay(inputs: list[Input], settings: CircuitSettings, now: int) -> NaiveCircuit:
    """The circuit that the inputs give, looked at at `now` under `settings`."""
    circuit = NaiveCircuit()
    for given in inputs:
        circuit.apply(given)
    circuit.pass_time(settings, now)
    return circuit

"""A circuit in memory, for tests of what it does."""

from dataclasses import replace

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, Effect, OnSuccess, TrustTerms
from cstp_server.domain.circuit_state import Circuit, Entry, State, Step, Transition
from cstp_server.domain.damage import UNSAID, Damage
from cstp_server.domain.decisions import Outcome, Severity

SETTINGS = CircuitSettings(
    key="test",
    id="test-breaker",
    failure_threshold=3 * MICRO,
    window_ms=1_000,
    cooldown_ms=500,
    probe_timeout_ms=200,
    half_open_successes=1,
)


def settings(**changes: object) -> CircuitSettings:
    """Three failures within a second open it; half a second of cooldown; one probe of 200 ms. And what is changed of that."""
    return replace(SETTINGS, **changes)  # type: ignore[arg-type]  # settings by name


def trust_settings(**changes: object) -> CircuitSettings:
    """Trust in the large, with a second for every day: threshold 3, a window and a recovery of a second, five successes, tolerance 1."""
    terms = TrustTerms(high_impact=frozenset({"file_write", "git_push"}))
    trust = {"cooldown_ms": 1_000, "half_open_successes": 5, "half_open_tolerance": MICRO, "on_success": OnSuccess.NONE}
    return settings(**{**trust, "effect": Effect.CONFIRM, "trust": terms, "id": "trust-*", **changes})


class Machine:
    """One circuit that outcomes, claims, looks and operators move, with its log and its time."""

    def __init__(self, policy: CircuitSettings = SETTINGS, scope: str = "category:tooling") -> None:
        self.policy = policy
        self.circuit = Circuit(scope)
        self.past = Past()
        self.log: list[Entry] = []
        self.now = 10_000
        self.moves: list[Transition] = []
        self._count = 0

    @property
    def state(self) -> State:
        return self.circuit.state

    def wait(self, ms: int) -> "Machine":
        """Let time go by, without looking."""
        self.now += ms
        return self

    def look(self) -> State:
        """See what time has done."""
        self._take(breaker.advance(self.circuit, self.policy, self.past, self.now))
        return self.state

    def review(
        self,
        outcome: Outcome,
        decision: str | None = None,
        *,
        agent: str = "agent",
        severity: Severity = Severity.MEDIUM,
        asked_at: int | None = None,
        damage: Damage = UNSAID,
    ) -> Step:
        """Record an outcome, of a decision that never was a probe unless it is named."""
        self._count += 1
        decision = decision if decision is not None else f"dec_{self._count}"
        entry = breaker.outcome_entry(
            self.circuit, self.policy, decision, agent, outcome, severity, self.now, asked_at=asked_at, damage=damage
        )
        return self._take(breaker.record(self.circuit, self.policy, self.past, entry))

    def fail(self, times: int = 1, **details: object) -> "Machine":
        for _ in range(times):
            self.review(Outcome.FAILURE, **details)  # type: ignore[arg-type]  # details by name
        return self

    def succeed(self, times: int = 1, **details: object) -> "Machine":
        for _ in range(times):
            self.review(Outcome.SUCCESS, **details)  # type: ignore[arg-type]  # details by name
        return self

    def claim(self, decision: str) -> bool:
        """Ask for a probe, after a look; whether it was given."""
        self.look()
        self._take(breaker.claim(self.circuit, self.policy, decision, "agent", self.now))
        return self.circuit.lease_of(decision) is not None

    def reset(self, *, probe_first: bool = False) -> Step:
        return self._take(breaker.reset(self.circuit, self.policy, self.past, self.now, by="ops", probe_first=probe_first))

    def trip(self) -> Step:
        return self._take(breaker.trip(self.circuit, self.policy, self.past, self.now, by="ops", reason="incident"))

    def opened(self) -> "Machine":
        """Have three failures open it."""
        return self.fail(3)

    def half_opened(self) -> "Machine":
        """Open it, and let it cool down."""
        self.opened().wait(self.policy.cooldown_ms).look()
        return self

    def _take(self, step: Step) -> Step:
        self.circuit = step.circuit
        self.moves.extend(step.transitions)
        if step.entry is not None:
            self.log.append(step.entry)
        return step

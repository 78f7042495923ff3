"""The state of a circuit is the fold of its log, however often somebody looked in between, and what a naive count says."""

from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import Circuit, Entry, State, Step
from cstp_server.domain.decisions import Outcome, Severity
from tests.domain.comparing import assert_same, comparable, folded
from tests.domain.naive import Input, replay

NAMES = [f"d{number}" for number in range(6)]
TIMES = st.integers(0, 40) | st.sampled_from([0, 49, 50, 51, 99, 100, 101, 400])


@st.composite
def policies(draw: st.DrawFn, key: str = "one") -> CircuitSettings:
    probes = draw(st.integers(1, 3))
    return CircuitSettings(
        key=key,
        id="any",
        failure_threshold=draw(st.sampled_from([MICRO // 2, MICRO, 3 * MICRO, 5 * MICRO // 2, 50 * MICRO])),
        failure_rate_threshold=draw(st.none() | st.sampled_from([0.25, 0.5, 1.0])),
        minimum_decisions=draw(st.integers(1, 5)),
        window_ms=draw(st.sampled_from([1, 50, 100, 300])),
        cooldown_ms=draw(st.sampled_from([1, 50, 100])),
        cooldown_multiplier=draw(st.sampled_from([1.0, 1.5, 2.0])),
        cooldown_max_ms=draw(st.none() | st.sampled_from([120, 200])),
        half_open_probes=probes,
        half_open_successes=draw(st.integers(1, 3)),
        half_open_tolerance=draw(st.sampled_from([0, MICRO, 2 * MICRO])),
        probe_timeout_ms=draw(st.sampled_from([1, 50, 100])),
        failure_outcomes=draw(st.sampled_from([frozenset({Outcome.FAILURE}), frozenset({Outcome.FAILURE, Outcome.PARTIAL})])),
        on_success=draw(st.sampled_from(OnSuccess)),
        min_distinct_agents=draw(st.integers(1, 2)),
    )


OUTCOMES = st.tuples(st.just("outcome"), st.sampled_from(NAMES), st.sampled_from("ab"), st.sampled_from(Outcome), st.sampled_from(Severity))
FAILURES = st.tuples(st.just("outcome"), st.sampled_from(NAMES), st.sampled_from("ab"), st.just(Outcome.FAILURE), st.just(Severity.MEDIUM))
INPUTS = st.one_of(
    FAILURES,
    OUTCOMES,
    st.tuples(st.just("claim"), st.sampled_from(NAMES)),
    st.tuples(st.just("look")),
    st.tuples(st.sampled_from(["reset", "probe_first", "trip"])),
)
HISTORIES = st.lists(st.tuples(TIMES, INPUTS), max_size=60)


class Walk:
    """A circuit that is moved step by step, with the plain list of what was done to it beside it."""

    def __init__(self, policy: CircuitSettings) -> None:
        self.policy = policy
        self.circuit = Circuit("global")
        self.past = Past()
        self.now = 1_000
        self.log: list[Entry] = []
        self.inputs: list[Input] = []

    def step(self, wait: int, what: tuple[Any, ...]) -> None:
        self.now += wait
        kind = what[0]
        if kind == "look":
            self.looked_at()
            return
        step = self._steps(kind, what)
        self.circuit = step.circuit
        assert step.entry is not None
        self.log.append(step.entry)

    def _steps(self, kind: str, what: tuple[Any, ...]) -> Step:
        circuit, policy, past, now = self.circuit, self.policy, self.past, self.now
        if kind == "outcome":
            _, decision, agent, outcome, severity = what
            self.inputs.append(Input(now, kind, policy, decision, agent, outcome, severity))
            return breaker.record(circuit, policy, past, breaker.outcome_entry(circuit, policy, decision, agent, outcome, severity, now))
        if kind == "claim":
            circuit = breaker.advance(circuit, policy, past, now).circuit
            if circuit.lease_of(what[1]) is None:
                self.inputs.append(Input(now, kind, policy, what[1]))
                return breaker.claim(circuit, policy, what[1], "a", now)
            kind = "reset"
        self.inputs.append(Input(now, kind, policy))
        if kind == "trip":
            return breaker.trip(circuit, policy, past, now, by="ops", reason="because")
        return breaker.reset(circuit, policy, past, now, by="ops", probe_first=kind == "probe_first")

    def looked_at(self) -> Circuit:
        self.circuit = breaker.advance(self.circuit, self.policy, self.past, self.now).circuit
        return self.circuit


@given(policies(), HISTORIES)
@hypothesis_settings(max_examples=400, deadline=None)
def test_the_steps_and_the_fold_and_a_naive_count_agree(policy: CircuitSettings, history: list[tuple[int, tuple[Any, ...]]]) -> None:
    """Whatever was done and looked at: step by step, all at once from the log, and counted from scratch give the same circuit."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
        assert len(walk.circuit.leases) <= policy.half_open_probes
        assert_same(walk.circuit, replay(walk.inputs, policy, walk.now))
    assert comparable(walk.looked_at()) == comparable(folded(walk.log, {policy.key: policy}, policy, walk.now))


@given(policies("one"), policies("two"), HISTORIES, HISTORIES)
@hypothesis_settings(max_examples=200, deadline=None)
def test_a_reload_changes_what_comes_and_not_what_was(
    before: CircuitSettings, after: CircuitSettings, first: list[tuple[int, tuple[Any, ...]]], second: list[tuple[int, tuple[Any, ...]]]
) -> None:
    """Each line of the log is folded under the settings that it met, and an open circuit stays open as it was.

    Looks are left out: what a look under a narrow window has dropped does not come back with a wider one, as no log tells of a look.
    """
    walk = Walk(before)
    for wait, what in first:
        if what[0] != "look":
            walk.step(wait, what)
    state, opened_at, reset_at = walk.circuit.state, walk.circuit.opened_at, walk.circuit.reset_at
    walk.policy = after
    seen = breaker.cool(walk.circuit, walk.now).circuit
    if state is State.OPEN and (reset_at is None or reset_at > walk.now):
        assert (seen.state, seen.opened_at, seen.reset_at) == (state, opened_at, reset_at)
    for wait, what in second:
        if what[0] != "look":
            walk.step(wait, what)
    both = {before.key: before, after.key: after}
    assert comparable(walk.looked_at()) == comparable(folded(walk.log, both, after, walk.now))
    assert_same(walk.looked_at(), replay(walk.inputs, after, walk.now))


@given(policies(), HISTORIES, st.data())
@hypothesis_settings(max_examples=200, deadline=None)
def test_folding_on_from_any_line_gives_the_same(
    policy: CircuitSettings, history: list[tuple[int, tuple[Any, ...]]], data: st.DataObject
) -> None:
    """A snapshot anywhere in the log is as good as the log before it."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
    cut = data.draw(st.integers(0, len(walk.log)))
    past = Past()
    snapshot = breaker.fold(Circuit("global"), walk.log[:cut], lambda _key: policy, past)
    on = breaker.fold(snapshot, walk.log[cut:], lambda _key: policy, past)
    on = breaker.advance(on, policy, past, walk.now).circuit
    assert comparable(on) == comparable(walk.looked_at())

"""Trust is the same machine: its state is the fold of its log, and what a plain sum over all damage says (SPEC 5 and 10)."""

from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, OnSuccess, TrustTerms
from cstp_server.domain.circuit_state import Circuit, Entry, State, Step
from cstp_server.domain.damage import DEFAULT_DAMAGE_WEIGHTS, Damage, DamageType
from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.trust import autonomy_of
from tests.domain.comparing import assert_same, comparable, folded
from tests.domain.naive import Input, NaiveCircuit, replay

SCOPE = "user:anna/general"
TIMES = st.integers(0, 40) | st.sampled_from([0, 24, 25, 26, 49, 50, 51, 99, 100, 101, 400])
DAMAGES = st.builds(Damage, st.sampled_from(DamageType), st.none() | st.integers(1, MICRO) | st.just(MICRO), st.booleans())
AGES = st.none() | st.sampled_from([0, 1, 30, 100, 500])
FAILED = st.tuples(st.just("outcome"), st.just(Outcome.FAILURE), st.sampled_from(Severity), DAMAGES, AGES)
SUCCEEDED = st.tuples(st.just("outcome"), st.just(Outcome.SUCCESS), st.just(Severity.MEDIUM), st.just(Damage()), AGES)
OTHER = st.tuples(st.just("outcome"), st.sampled_from([Outcome.PARTIAL, Outcome.ABANDONED]), st.just(Severity.LOW), DAMAGES, AGES)
MOVED = st.tuples(st.sampled_from(["reset", "probe_first", "trip", "claim"]))
LOOKED = st.tuples(st.just("look"))
Steps = list[tuple[int, tuple[Any, ...]]]
HISTORIES = st.lists(st.tuples(TIMES, st.one_of(FAILED, FAILED, SUCCEEDED, SUCCEEDED, OTHER, MOVED, LOOKED)), max_size=60)


@st.composite
def trusts(draw: st.DrawFn, key: str = "one") -> CircuitSettings:
    """Trust on any terms: windows of odd lengths and of next to nothing, kinds of damage that weigh nothing or nearly so."""
    weights = draw(
        st.just(DEFAULT_DAMAGE_WEIGHTS) | st.fixed_dictionaries({kind: st.sampled_from([0, 1, 7, MICRO]) for kind in DamageType})
    )
    return CircuitSettings(
        key=key,
        id="any",
        failure_threshold=draw(st.sampled_from([MICRO // 2, MICRO, 3 * MICRO, 5 * MICRO // 2, 50 * MICRO])),
        window_ms=draw(st.sampled_from([1, 2, 3, 50, 51, 99, 100, 301])),
        cooldown_ms=draw(st.sampled_from([1, 50, 100])),
        half_open_successes=draw(st.integers(1, 4)),
        half_open_tolerance=draw(st.sampled_from([0, MICRO // 2, MICRO, 3 * MICRO])),
        on_success=OnSuccess.NONE,
        trust=TrustTerms(weights, setback=draw(st.sampled_from([2, 2, 1]))),
    )


@st.composite
def plain(draw: st.DrawFn, key: str) -> CircuitSettings:
    """A breaker that a policy puts in the place of trust."""
    changes = {"on_success": draw(st.sampled_from(OnSuccess)), "key": key, "trust": None}
    return replace(draw(trusts()), **changes)


class Walk:
    """A user's circuit that is moved step by step, with the plain list of what was done to it beside it."""

    def __init__(self, policy: CircuitSettings) -> None:
        self.policy = policy
        self.circuit = Circuit(SCOPE)
        self.past = Past()
        self.now = 1_000
        self.log: list[Entry] = []
        self.inputs: list[Input] = []

    def step(self, wait: int, what: tuple[Any, ...]) -> None:
        self.now += wait
        if what[0] == "look":
            self.looked_at()
            return
        step = self._outcome(*what[1:]) if what[0] == "outcome" else self._moved(what[0])
        self.circuit = step.circuit
        assert step.entry is not None
        self.log.append(step.entry)

    def _outcome(self, outcome: Outcome, severity: Severity, damage: Damage, age: int | None) -> Step:
        circuit, policy, now, id = self.circuit, self.policy, self.now, f"d{len(self.log)}"
        asked_at = now - age if age is not None else None
        self.inputs.append(Input(now, "outcome", policy, id, "a", outcome, severity, asked_at, damage))
        entry = breaker.outcome_entry(circuit, policy, id, "a", outcome, severity, now, asked_at=asked_at, damage=damage)
        return breaker.record(circuit, policy, self.past, entry)

    def _moved(self, kind: str) -> Step:
        circuit, policy, past, now = self.circuit, self.policy, self.past, self.now
        self.inputs.append(Input(now, kind, policy, f"d{len(self.log)}"))
        if kind == "claim":
            return breaker.claim(breaker.advance(circuit, policy, past, now).circuit, policy, f"d{len(self.log)}", "a", now)
        if kind == "trip":
            return breaker.trip(circuit, policy, past, now, by="ops", reason="because")
        return breaker.reset(circuit, policy, past, now, by="ops", probe_first=kind == "probe_first")

    def looked_at(self) -> Circuit:
        self.circuit = breaker.advance(self.circuit, self.policy, self.past, self.now).circuit
        return self.circuit

    def naive(self) -> NaiveCircuit:
        return replay(self.inputs, self.policy, self.now)


def assert_same_score(walk: Walk) -> None:
    """To the millionth, with not the least part lost on the way, the circuit being as of now."""
    naive = walk.naive()
    exact = naive.score(walk.policy, walk.now) if walk.policy.trust is not None else naive.weighted
    assert breaker.held(walk.circuit, walk.policy, walk.now) == int(exact)


@given(trusts(), HISTORIES)
@hypothesis_settings(max_examples=600, deadline=None)
def test_the_steps_and_the_fold_and_a_plain_sum_agree(policy: CircuitSettings, history: Steps) -> None:
    """Damage, successes, time, resets and trips in any order: step by step, from the log, and counted from scratch give the same."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
        assert_same(walk.circuit, walk.naive())
        assert_same_score(walk)
        assert walk.circuit.leases == ()
    assert comparable(walk.looked_at()) == comparable(folded_here(walk, {policy.key: policy}))


@given(trusts(), HISTORIES, st.lists(TIMES, max_size=8))
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_score_is_right_at_every_later_moment(policy: CircuitSettings, history: Steps, waits: list[int]) -> None:
    """Long after the last event, whoever looked when: until nothing is left and nothing is due."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
    for wait in waits:
        walk.now += wait
        walk.looked_at()
        assert_same_score(walk)
    walk.now += policy.window_ms
    assert breaker.held(walk.looked_at(), policy, walk.now) == 0
    assert (walk.circuit.window.fading, walk.circuit.window.fading_at, walk.circuit.ages_at) == (0, 0, None)


@given(st.lists(trusts("one") | plain("one"), min_size=2, max_size=4), st.lists(HISTORIES, min_size=4, max_size=4))
@hypothesis_settings(max_examples=300, deadline=None)
def test_a_reload_that_changes_what_fades_leaves_the_sums_right(policies: list[CircuitSettings], histories: list[Steps]) -> None:
    """Longer and shorter windows, trust put in the place of a breaker and a breaker in that of trust: never more than the damage itself.

    Looks are left out: what a look under a narrow window has dropped does not come back with a wider one, as no log tells of a look.
    """
    keyed = [replace(policy, key=f"policy {number}") for number, policy in enumerate(policies)]
    walk = Walk(keyed[0])
    for policy, history in zip(keyed, histories, strict=False):
        walk.policy = policy
        for wait, what in history:
            if what[0] != "look":
                walk.step(wait, what)
                assert_same(walk.circuit, walk.naive())
                assert_same_score(walk)
    assert comparable(walk.looked_at()) == comparable(folded_here(walk, {policy.key: policy for policy in keyed}))
    assert_same(walk.looked_at(), walk.naive())
    assert_same_score(walk)


@given(trusts(), HISTORIES, st.data())
@hypothesis_settings(max_examples=200, deadline=None)
def test_folding_on_from_any_line_gives_the_same(policy: CircuitSettings, history: Steps, data: st.DataObject) -> None:
    """A snapshot anywhere in the log is as good as the log before it, with a past that holds what the snapshot's window still counts."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
    cut = data.draw(st.integers(0, len(walk.log)))
    snapshot = breaker.fold(Circuit(SCOPE), walk.log[:cut], lambda _key: policy)
    before = [entry for entry in walk.log[:cut] if entry.outcome is not None]
    failures = [entry for entry in before if entry.failed and entry.seq > snapshot.window.head]
    past = Past([entry for entry in before if entry.seq > snapshot.window.tail], failures, fresh=failures)
    on = breaker.fold(snapshot, walk.log[cut:], lambda _key: policy, past)
    assert comparable(breaker.advance(on, policy, past, walk.now).circuit) == comparable(walk.looked_at())


@given(trusts(), HISTORIES, st.lists(st.tuples(TIMES, st.one_of(SUCCEEDED, OTHER, LOOKED)), max_size=40))
@hypothesis_settings(max_examples=400, deadline=None)
def test_progress_never_falls_while_no_damage_comes(policy: CircuitSettings, history: Steps, recovery: Steps) -> None:
    """Whatever had happened: from then on, successes and time only bring trust back, through all its states."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
    progress = autonomy_of(walk.looked_at(), policy, walk.now).recovery.progress
    assert 0 <= progress <= 1
    for wait, what in recovery:
        walk.step(wait, what)
        later = autonomy_of(walk.looked_at(), policy, walk.now).recovery.progress
        assert progress <= later <= 1
        progress = later
    assert (progress == 1) is (walk.circuit.state is State.CLOSED)


@given(trusts(), HISTORIES)
@hypothesis_settings(max_examples=200, deadline=None)
def test_the_past_that_a_store_reads_is_enough(policy: CircuitSettings, history: Steps) -> None:
    """Only what begins to fade and what leaves by the time of the step, and nothing that is younger."""
    whole, sparing = Walk(policy), Walk(policy)
    for wait, what in history:
        whole.step(wait, what)
        sparing.past = read_past(sparing, sparing.now + wait)
        sparing.step(wait, what)
        assert comparable(sparing.circuit) == comparable(whole.circuit)
        bound = sparing.circuit.window.fresh_at
        fresh = [entry.at for entry in sparing.log if entry.failed and entry.seq > sparing.circuit.window.mid]
        assert (bound is None) == (not fresh)
        assert bound is None or bound == fresh[0]


@given(trusts(), HISTORIES)
@hypothesis_settings(max_examples=200, deadline=None)
def test_what_is_due_moves_something_when_it_is_swept(policy: CircuitSettings, history: Steps) -> None:
    """A circuit that is due by time alone is another one after a look then, and due later, until it is due no more."""
    walk = Walk(policy)
    for wait, what in history:
        walk.step(wait, what)
    sweeps = 0
    while (due := walk.circuit.next_due()) is not None:
        assume(due < 10**9)
        before, walk.now = walk.circuit, max(walk.now, due)
        after = walk.looked_at()
        assert after is not before
        following = after.next_due()
        assert following is None or following > walk.now
        sweeps += 1
        assert sweeps <= 2 * len(walk.log) + 2
    if walk.circuit.state is State.CLOSED:
        assert walk.circuit.window.reviewed == 0


def read_past(walk: Walk, now: int) -> Past:
    """What the store reads for a look at `now`: everything up to then and the next line, and word of how far that is."""
    window, policy = breaker.fading_under(walk.circuit, walk.policy).window, walk.policy
    outcomes = [entry for entry in walk.log if entry.outcome is not None]
    failures = [entry for entry in outcomes if entry.failed and entry.seq > window.head]
    leaving, horizon = until([entry for entry in outcomes if entry.seq > window.tail], now - policy.window_ms)
    fading, fresh_horizon = until([entry for entry in failures if entry.seq > window.mid], now - policy.fades_after_ms)
    return Past(leaving, failures, horizon=horizon, fresh=fading, fresh_horizon=fresh_horizon)


def until(entries: list[Entry], cutoff: int) -> tuple[list[Entry], int | None]:
    """The entries until `cutoff` and one more, and until when they are all of them; none when there are no others."""
    wanted = sum(entry.at <= cutoff for entry in entries) + 1
    return (entries, None) if wanted > len(entries) else (entries[:wanted], entries[wanted - 1].at - 1)


def folded_here(walk: Walk, settings_of: dict[str, CircuitSettings]) -> Circuit:
    return replace(folded(walk.log, settings_of, walk.policy, walk.now), scope=SCOPE)

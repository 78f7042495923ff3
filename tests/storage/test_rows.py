"""What was stored is what is read, on both databases."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cstp_server.domain.circuit_state import Circuit, Entry, EntryKind, Lease, State, Window
from cstp_server.domain.decisions import (
    Answer,
    CircuitMove,
    Decision,
    Outcome,
    Pending,
    Probe,
    Review,
    ReviewAnswer,
    Reviewed,
    Severity,
    Source,
    Status,
)
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.findings import CircuitDetail, Finding, GuardType, Intervention, Mode, Remedy, Verdict
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Changed, Decided, Needs, View
from tests.domain.machine import settings
from tests.services.world import circuits_policy
from tests.storage.conftest import MakeWorld

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TIMES = st.integers(0, 2**53)
COUNTS = st.integers(0, 2**62)
SUMS = st.integers(0, 2**200) | st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
PROBES = st.builds(Probe, TEXTS, TIMES)
FACTS = st.builds(
    Facts,
    description=TEXTS,
    agent_id=TEXTS,
    type=st.none() | TEXTS,
    category=st.none() | TEXTS,
    stakes=st.sampled_from(Stakes),
    confidence=st.none() | st.floats(0, 1),
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    parameters=OBJECTS,
    context=OBJECTS,
    user_id=st.none() | TEXTS,
    user_domain=TEXTS,
    details=OBJECTS,
)
DETAILS = st.builds(CircuitDetail, TEXTS, TEXTS, st.floats(0, 1), st.lists(TEXTS, max_size=3).map(tuple), st.none() | TIMES)
FINDINGS = st.builds(
    Finding,
    TEXTS,
    st.sampled_from(GuardType),
    st.sampled_from(Intervention),
    TEXTS,
    st.sampled_from(Mode),
    st.none() | TEXTS,
    st.lists(TEXTS, max_size=2).map(tuple),
    st.none() | DETAILS,
)
SOME_FINDINGS = st.lists(FINDINGS, max_size=2).map(tuple)
ANSWERS = st.builds(
    Answer,
    decision_id=TEXTS,
    verdict=st.builds(Verdict, st.sampled_from(Intervention), SOME_FINDINGS, SOME_FINDINGS, SOME_FINDINGS),
    posture=TEXTS,
    evaluated=COUNTS,
    evaluated_at=TIMES,
    policy_version=TEXTS,
    probes=st.lists(PROBES, max_size=2).map(tuple),
    remedies=st.lists(st.builds(Remedy, TEXTS, st.none() | TEXTS, JSON, st.none() | TIMES), max_size=2).map(tuple),
    pending=st.none() | st.builds(Pending, TEXTS, TIMES),
)
MOVES = st.builds(CircuitMove, TEXTS, TEXTS, TEXTS, COUNTS)
REVIEWED = st.builds(
    Reviewed,
    review=st.builds(Review, st.sampled_from(Outcome), st.sampled_from(Severity), OBJECTS),
    by=TEXTS,
    answer=st.builds(
        ReviewAnswer, TEXTS, st.sampled_from(Outcome), TIMES, st.lists(MOVES, max_size=2).map(tuple), st.booleans(), st.booleans()
    ),
    entries=st.lists(st.tuples(TEXTS, COUNTS), max_size=3).map(tuple),
)
DECISIONS = st.builds(
    Decision,
    tenant=st.just("default"),
    id=st.just("to be numbered"),
    at=TIMES,
    status=st.sampled_from(Status),
    source=st.sampled_from(Source),
    facts=FACTS,
    intervention=st.sampled_from(Intervention),
    policy_version=TEXTS,
    principal=TEXTS,
    digest=st.none() | TEXTS,
    answer=st.none() | ANSWERS,
    reviewed=st.none() | REVIEWED,
)
CIRCUITS = st.builds(
    Circuit,
    scope=st.just("to be numbered"),
    state=st.sampled_from(State),
    generation=COUNTS,
    since=TIMES,
    opened_at=st.none() | TIMES,
    reset_at=st.none() | TIMES,
    openings=COUNTS,
    forced=st.booleans(),
    forced_by=st.none() | TEXTS,
    forced_reason=st.none() | TEXTS,
    probe_successes=COUNTS,
    probe_damage=COUNTS,
    leases=st.lists(st.builds(Lease, TEXTS, TIMES), max_size=3).map(tuple),
    seq=st.just(1),
    logged_at=TIMES,
    last_failure=st.none() | TIMES,
    recent=st.lists(st.tuples(TEXTS, TIMES), max_size=3).map(tuple),
    window=st.builds(
        Window,
        *[COUNTS] * 7,
        TIMES,
        st.dictionaries(TEXTS, COUNTS, max_size=3),
        *[COUNTS] * 2,
        fading_at=SUMS,
        fresh_at=st.none() | TIMES,
        fades_ms=st.none() | COUNTS,
    ),
    archived_at=st.none() | TIMES,
    blamed=st.lists(TEXTS, max_size=3).map(tuple),
    told=st.lists(st.tuples(TEXTS, st.sampled_from(Outcome)), max_size=3).map(tuple),
    broken_at=st.none() | TIMES,
    recoveries=COUNTS,
    recovery_ms=COUNTS,
    relapses=COUNTS,
    ages_at=st.none() | TIMES,
)
ENTRIES = st.builds(
    Entry,
    seq=st.just(1),
    at=TIMES,
    kind=st.sampled_from(EntryKind),
    settings=st.just("test"),
    decision_id=st.none() | TEXTS,
    agent_id=st.none() | TEXTS,
    outcome=st.none() | st.sampled_from(Outcome),
    failed=st.booleans(),
    weight=COUNTS,
    actor=st.none() | TEXTS,
    reason=st.none() | TEXTS,
    asked_at=st.none() | TIMES,
)
EVENTS = st.builds(Event, st.sampled_from(EventType), st.just("default"), TEXTS, TEXTS, TIMES, TEXTS, OBJECTS)


class Writing:
    """A call that writes what it is given."""

    tenant = "default"
    caller = None

    def __init__(self, decided: Decided[str]) -> None:
        self._decided = decided

    def needs(self, _policy: Policy, _view: View) -> Needs:
        return Needs()

    def decide(self, _policy: Policy, _view: View, _now: int) -> Decided[str]:
        return self._decided


def test_every_kind_of_row_comes_back_as_it_went_in(make_world: MakeWorld) -> None:
    """Decisions with their answers and reviews, circuits, lines of their logs and events: any text, any number, any JSON."""
    world = make_world(circuits_policy())
    numbers = iter(range(1_000_000))

    @given(DECISIONS, CIRCUITS, ENTRIES, EVENTS)
    @hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def write_and_read(decision: Decision, circuit: Circuit, entry: Entry, event: Event) -> None:
        number = next(numbers)
        decision, circuit = replace(decision, id=f"d{number}"), replace(circuit, scope=f"agent:{number}")
        event = replace(event, data={**event.data, "number": number})
        changed = Changed(circuit, settings(), entry)
        assert world.run(Writing(Decided("done", new_decision=decision, circuits=(changed,), events=(event,)))) == "done"
        assert world.decision(decision.id) == decision
        assert world.stored(circuit.scope) == circuit
        assert world.log(circuit.scope) == [entry]
        assert world.events()[-1] == event

    write_and_read()


def test_settings_come_back_as_they_went_in(make_world: MakeWorld) -> None:
    """Every value of a circuit's policy, under its key."""
    policy = circuits_policy(
        {
            "scope": "category:tooling",
            "failure_threshold": 2.5,
            "failure_rate_threshold": 1 / 3,
            "cooldown_multiplier": 1.1,
            "half_open_probes": 3,
            "half_open_tolerance": 0.1,
            "failure_outcomes": ["failure", "partial"],
            "on_success": "reset",
            "severity_weights": {"low": 0.1},
        }
    )
    world = make_world(policy)
    world.fail("a")
    expected = policy.circuits.exact["category:tooling"]
    assert world.settings_on_record() == {expected.key: expected}


def test_circuits_of_agents_of_any_name_are_found_again(make_world: MakeWorld) -> None:
    """Quotes, backslashes, separators, letters beyond the first plane: the second failure meets the first, after a restart too."""
    world = make_world(circuits_policy({"scope": "agent:*", "failure_threshold": 1_000_000}))
    names = iter(range(1_000_000))
    seen: set[str] = set()

    @given(TEXTS.filter(str.strip))
    @hypothesis_settings(max_examples=60, deadline=None)
    def fails_twice(agent: str) -> None:
        agent = f"{agent} {len(seen)}"
        seen.add(agent)
        world.fail(f"d{next(names)}", f"d{next(names)}", agent=agent)
        if len(seen) % 20 == 0:
            world.restart()
        world.fail(f"d{next(names)}", agent=agent)
        assert world.stored(f"agent:{agent}").window.failures == 3

    fails_twice()

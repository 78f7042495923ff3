"""Many calls in one transaction: each sees the effects of those before it, and none undoes another's."""

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Answer, Decision, Source, Status
from cstp_server.domain.findings import Intervention
from cstp_server.domain.refusals import Conflict, DecisionNotFound, StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Decided, Needs, View
from tests.domain.comparing import comparable, folded
from tests.services.world import World, checking, circuits_policy, facts_of, moving, reviewing, tripping
from tests.storage.conftest import MakeWorld

TOOLING = "category:tooling"
POLICY = circuits_policy({"scope": TOOLING, "failure_threshold": 3}, {"scope": "agent:*", "failure_threshold": 1000})


def assert_folded(world: World, *scopes: str) -> None:
    """Every circuit is what its log gives."""
    for scope in scopes:
        stored, log = world.stored(scope), world.log(scope)
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
        now = max(stored.logged_at, stored.since)
        again = replace(folded(log, world.settings_on_record(), world.settings(scope), now), scope=scope)
        assert comparable(stored) == comparable(again)


def test_a_whole_life_in_one_transaction(make_world: MakeWorld) -> None:
    """Check, review of that very check, its duplicate, two more failures that open, a blocked check, a reset, a free one, a trip."""
    world = make_world(POLICY)
    answers = world.batch(
        checking("a"),
        reviewing("a", "failure"),
        reviewing("a", "failure"),
        reviewing("a", "success"),
        checking("b"),
        checking("c"),
        reviewing("b", "failure"),
        reviewing("c", "failure"),
        checking("d"),
        moving(TOOLING),
        checking("e"),
        tripping(TOOLING),
        checking("f"),
        reviewing("nobody", "failure"),
        checking("a"),
    )
    allowed = [answer.verdict.allowed for answer in answers if isinstance(answer, Answer)]
    assert allowed == [True, True, True, False, True, False, True]
    first, duplicate, contradiction = answers[1:4]
    assert (first.duplicate, duplicate.duplicate) == (False, True)
    assert first.circuits == duplicate.circuits
    assert isinstance(contradiction, Conflict)
    assert [(move.scope, move.previous_state, move.state) for move in answers[7].circuits] == [
        (TOOLING, "closed", "open"),
        ("agent:bot", "closed", "closed"),
    ]
    assert isinstance(answers[13], DecisionNotFound)
    assert answers[14] == answers[0]
    assert world.stored(TOOLING).forced
    assert_folded(world, TOOLING, "agent:bot")


def test_the_same_decision_twice_in_one_transaction_is_one(make_world: MakeWorld) -> None:
    """The second gets the recorded answer, other content is a conflict."""
    world = make_world(POLICY)
    first, second, other = world.batch(checking("a"), checking("a"), checking("a", content="other"))
    assert first == second
    assert isinstance(other, Conflict)
    assert len(world.events("decision.checked")) == 1


def test_more_calls_than_a_transaction_takes_are_all_carried_out(make_world: MakeWorld) -> None:
    """Six hundred reviews of one circuit, in three transactions, count six hundred."""
    world = make_world(circuits_policy({"scope": "agent:*", "failure_threshold": 1000}))
    world.batch(*(checking(f"d{number}") for number in range(600)))
    answers = world.batch(*(reviewing(f"d{number}", "failure") for number in range(600)))
    assert not any(answer.duplicate for answer in answers)
    assert world.stored("agent:bot").window.failures == 600
    assert_folded(world, "agent:bot")


def test_wide_calls_fit_into_one_transaction(make_world: MakeWorld) -> None:
    """256 checks with a hundred tags each, every tag a circuit: 25,600 circuits in one select."""
    world = make_world(circuits_policy({"scope": "tag:*"}, {"scope": "agent:*"}))
    answers = world.batch(*(checking(f"d{n}", agent=f"a{n}", tags=tuple(f"t{n}-{tag}" for tag in range(100))) for n in range(256)))
    assert all(isinstance(answer, Answer) for answer in answers)


@dataclass(slots=True)
class Storing:
    """A call that stores a decision with whatever is in it."""

    id: str
    agent: str = "bot"
    context: dict[str, Any] = field(default_factory=dict)
    raises: Exception | None = None
    tenant: str = "default"
    caller: Caller | None = None

    def needs(self, _policy: Policy, _view: View) -> Needs:
        return Needs()

    def decide(self, policy: Policy, _view: View, now: int) -> Decided[str]:
        if self.raises is not None:
            raise self.raises
        facts = facts_of(self.agent, context=self.context)
        decision = Decision(
            self.tenant, self.id, now, Status.ALLOWED, Source.CHECKED, facts, Intervention.ALLOW, policy.version, "anonymous"
        )
        return Decided(self.id, new_decision=decision)


def test_a_call_that_raises_undoes_none_of_its_neighbours(make_world: MakeWorld) -> None:
    """Its caller gets the exception, the others their answers, and what they did is there."""
    world = make_world(POLICY)
    answers = world.batch(checking("a"), Storing("x", raises=ZeroDivisionError()), reviewing("a", "failure"))
    assert isinstance(answers[1], ZeroDivisionError)
    assert answers[2].circuits[0].failure_count == 1
    assert world.stored(TOOLING).window.failures == 1


def test_any_number_of_calls_that_raise_undo_none_of_their_neighbours(make_world: MakeWorld) -> None:
    """Five of six raise, or all but one of twenty: the one that does not is carried out once."""
    world = make_world(POLICY)
    for number in (5, 19):
        bad = [Storing(f"x{n}", raises=ZeroDivisionError()) for n in range(number)]
        *faults, good = world.batch(*bad, Storing(f"good{number}"))
        assert all(isinstance(fault, ZeroDivisionError) for fault in faults)
        assert good == f"good{number}"
        assert world.decision(f"good{number}") is not None


@pytest.mark.parametrize("context", [{"n": 2**70}, {"s": "\ud800"}], ids=["too large a number", "half a character"])
def test_a_row_that_cannot_be_written_fails_its_own_call_alone(make_world: MakeWorld, context: dict[str, Any]) -> None:
    """Whatever got past the edge: the neighbours are carried out once each."""
    world = make_world(POLICY)
    answers = world.batch(Storing("a"), Storing("bad", context=context), Storing("b"), reviewing("a", "failure"))
    assert isinstance(answers[1], Exception)
    assert (answers[0], answers[2]) == ("a", "b")
    assert not answers[3].duplicate
    assert world.decision("bad") is None
    assert world.stored(TOOLING).window.failures == 1


def test_data_that_the_database_refuses_fails_its_own_call_alone(make_world: MakeWorld) -> None:
    """PostgreSQL takes no NUL in a text; SQLite does. Nobody else notices."""
    world = make_world(POLICY)
    answers = world.batch(Storing("a"), Storing("bad", agent="nul\0"), Storing("b"))
    assert (answers[0], answers[2]) == ("a", "b")
    refused = world.url.get_backend_name() != "sqlite"
    assert isinstance(answers[1], StoreUnavailable) is refused
    assert (world.decision("bad") is None) is refused


def test_a_call_to_a_database_without_a_schema_is_refused_and_the_store_lives_on(make_world: MakeWorld) -> None:
    """Refusals while the tables are gone, answers once they are back."""
    world = make_world(POLICY)
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE decisions RENAME TO hidden")
    assert all(isinstance(answer, StoreUnavailable) for answer in world.batch(checking("a"), checking("b")))
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("ALTER TABLE hidden RENAME TO decisions")
    assert world.check("a").verdict.allowed


def test_an_amendment_amid_other_calls_sees_them_and_is_seen(make_world: MakeWorld) -> None:
    """Failures before and after it in the same transaction count, each once."""
    world = make_world(POLICY)
    world.fail("a", "b")
    answers = world.batch(
        checking("c"),
        reviewing("c", "failure"),
        checking("d"),
        reviewing("a", "success", amend=True),
        reviewing("d", "failure"),
        checking("e"),
        reviewing("e", "failure"),
        checking("f"),
    )
    assert answers[2].verdict.allowed is False
    moves = {move.scope: move for move in answers[3].circuits}
    assert (moves[TOOLING].previous_state, moves[TOOLING].state, moves[TOOLING].failure_count) == ("open", "closed", 2)
    assert answers[4].circuits[0].state == "open"
    assert answers[7].verdict.allowed is False
    assert_folded(world, TOOLING, "agent:bot")


def test_an_amendment_that_changes_nothing_does_not_make_the_next_one_forget(make_world: MakeWorld) -> None:
    """A repeated amendment, another review, then a real amendment, all in one transaction: the review in between still counts."""
    world = make_world(POLICY)
    world.fail("a", "b")
    world.check("c")
    answers = world.batch(
        reviewing("a", "failure", amend=True),
        reviewing("c", "failure"),
        reviewing("a", "success", amend=True),
        reviewing("nobody", "success"),
    )
    assert answers[0].duplicate
    assert {move.scope: move.failure_count for move in answers[2].circuits} == {TOOLING: 2, "agent:bot": 2}
    assert_folded(world, TOOLING, "agent:bot")
    world.fail("d")
    assert world.stored(TOOLING).state is State.OPEN


def test_two_amendments_of_one_circuit_in_one_transaction(make_world: MakeWorld) -> None:
    """The later line first, then an earlier one."""
    world = make_world(POLICY)
    world.fail("a", "b", "c")
    world.batch(reviewing("c", "failure", amend=True), reviewing("b", "partial", amend=True), reviewing("a", "success", amend=True))
    assert world.stored(TOOLING).window.failures == 1
    assert_folded(world, TOOLING, "agent:bot")


def test_two_processes_on_one_database_count_every_review(make_world: MakeWorld) -> None:
    """Both with batches that look at a circuit and change it: nothing is lost, nothing counted twice."""
    policy = circuits_policy({"scope": TOOLING, "failure_threshold": 100_000}, {"scope": "agent:*", "failure_threshold": 100_000})
    one, two = make_world(policy), make_world(policy)
    one.batch(*(checking(f"{name}{n}") for name in "ab" for n in range(80)))

    def mixed(name: str) -> list[Any]:
        return [call for n in range(80) for call in (checking(), reviewing(f"{name}{n}", "failure"), checking())]

    results: dict[str, list[Any]] = {}
    threads = [
        threading.Thread(target=lambda world=world, name=name: results.update({name: world.batch(*mixed(name))}))
        for world, name in ((one, "a"), (two, "b"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [*results["a"], *results["b"]]
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert one.stored(TOOLING).window.failures == 160
    assert_folded(one, TOOLING, "agent:bot")


def test_a_transaction_never_looks_at_a_time_before_the_last_line(sqlite_world: MakeWorld) -> None:
    """The clock went back, the service started anew under a shorter window: reviews still count, in the order in which they came."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 100, "window_ms": 100_000}))
    for number in range(10):
        world.fail(f"d{number}")
        world.hand.advance(2_000)
    world.hand.advance(-30_000)
    world.policy = circuits_policy({"scope": TOOLING, "failure_threshold": 100, "window_ms": 10_000})
    world.restart()
    assert world.check("late").verdict.allowed
    assert world.review("late", "failure").circuits[0].failure_count == 6
    assert_folded(world, TOOLING)


def test_roles_and_callers_stay_with_their_calls(make_world: MakeWorld) -> None:
    """Calls of several callers in one transaction are recorded under their own names."""
    world = make_world(POLICY)
    ada, bob = (Caller(name, frozenset({Role.AGENT})) for name in ("ada", "bob"))
    world.batch(checking("a", caller=ada), checking("b", caller=bob))
    assert [(found.principal if found is not None else None) for found in map(world.decision, "ab")] == ["ada", "bob"]

"""No tenant sees or moves another's (SPEC 2), and what is not there is not there."""

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_state import State
from cstp_server.domain.refusals import CircuitNotFound, DecisionNotFound, InvalidInput
from cstp_server.services import decisions as reading
from cstp_server.services.ports import DecisionQuery
from cstp_server.services.sweeping import Sweep
from tests.services.world import checking, circuits_policy, moving, reviewing
from tests.storage.conftest import MakeWorld

TOOLING = "category:tooling"
POLICY = circuits_policy({"scope": TOOLING, "failure_threshold": 2})
ADA = Caller("ada", frozenset(Role), "north")
BOB = Caller("bob", frozenset(Role), "south")


def test_tenants_have_circuits_of_their_own_in_one_transaction(make_world: MakeWorld) -> None:
    """The north's failures open the north's circuit, with the same ids on both sides."""
    world = make_world(POLICY)
    answers = world.batch(
        *(checking(id, caller=caller) for id in "ab" for caller in (ADA, BOB)),
        *(reviewing(id, "failure", caller=ADA) for id in "ab"),
        reviewing("a", "success", caller=BOB),
        checking("c", caller=ADA),
        checking("c", caller=BOB),
    )
    assert (answers[-2].verdict.allowed, answers[-1].verdict.allowed) == (False, True)
    assert not answers[-3].duplicate
    assert world.stored(TOOLING, "north").state is State.OPEN
    assert (world.stored(TOOLING, "south").state, world.stored(TOOLING, "default").seq) == (State.CLOSED, 0)
    world.run(moving(TOOLING, caller=BOB))
    assert world.stored(TOOLING, "north").state is State.OPEN
    north = [event for event in world.events() if event.tenant == "north"]
    assert {event.actor for event in north} == {"ada"}


def test_another_tenants_decision_is_as_if_it_were_not_there(make_world: MakeWorld) -> None:
    """Reviewing and reading it finds nothing, listing shows nothing, and the id is free."""
    world = make_world(POLICY)
    world.run(checking("a", caller=ADA))
    assert isinstance(world.run(reviewing("a", "failure", caller=BOB)), DecisionNotFound)
    assert isinstance(world.do(reading.get(world.store.transactor, world.store.reader, BOB, "a")), DecisionNotFound)
    assert world.do(reading.list_decisions(world.store.reader, BOB, DecisionQuery())) == []
    assert len(world.do(reading.list_decisions(world.store.reader, ADA, DecisionQuery()))) == 1
    answer = world.run(checking("a", caller=BOB, content="something else"))
    assert answer.verdict.allowed


def test_a_sweep_moves_its_own_tenants_circuits(sqlite_world: MakeWorld) -> None:
    """Time passes for each tenant by a sweep of its own."""
    world = sqlite_world(POLICY)
    for caller in (ADA, BOB):
        world.batch(*(checking(id, caller=caller) for id in "ab"), *(reviewing(id, "failure", caller=caller) for id in "ab"))
    world.hand.advance(1_800_000)
    assert sorted(world.do(world.store.due_circuits())) == [("north", TOOLING), ("south", TOOLING)]
    assert world.run(Sweep("north", [TOOLING])) == 1
    assert world.stored(TOOLING, "north").state is State.HALF_OPEN
    assert world.stored(TOOLING, "south").state is State.OPEN


def test_what_is_not_there_is_refused(make_world: MakeWorld) -> None:
    """An unknown decision, an uncovered scope, a template, and what is no scope."""
    world = make_world(circuits_policy({"scope": "agent:*"}))
    assert isinstance(world.run(reviewing("nobody", "failure")), DecisionNotFound)
    assert isinstance(world.run(moving("category:tooling")), CircuitNotFound)
    assert isinstance(world.run(moving("agent:*")), InvalidInput)
    assert isinstance(world.run(moving("nonsense")), InvalidInput)
    assert world.events() == []

"""Blocking an agent denies what it waits for: at once for whoever looks, and soon without anybody looking (SPEC 8)."""

from collections.abc import Callable
from typing import Any

import pytest

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Status
from cstp_server.domain.refusals import Conflict, Refusal
from cstp_server.policy.compiled import Policy
from cstp_server.services import decisions
from cstp_server.services.awaiting import await_decision
from cstp_server.services.requests import AwaitRequest
from cstp_server.services.stopping import Stop
from cstp_server.waiting import Waiters
from tests.services.conftest import MakeWorld
from tests.services.governing import appraise, block, move
from tests.services.test_earning import ASSISTED, earning, proposals, work
from tests.services.waiting_policy import waiting_policy, wanting
from tests.services.world import OPS, World, checking

OLGA = Caller("olga", frozenset({Role.OPS, Role.VIEWER}))
STOPPED = "the agent was blocked while the decision waited"
SEVERE = {"name": "severe", "severity": "severe", "when": "action.context.evil == true"}
BUDGET = {"name": "budget", "quota": {"sum": "action.parameters.amount", "per": "agent", "window": "total", "max": 100}}
KINDS = ["cancel_window", "confirmation", "approval"]


def waiting(**sections: Any) -> Policy:
    """A policy with a budget, under which actions wait for what they say they want."""
    return waiting_policy(tripwires=[SEVERE, BUDGET], **sections)


def wait(world: World, id: str, kind: str = "approval", agent: str = "bot") -> None:
    """A decision that waits, with a share of the budget."""
    answer = world.check(id, agent=agent, context=wanting(kind), parameters={"amount": 10})
    assert answer.pending is not None


def stop(world: World, way: str, agent: str = "bot") -> None:
    """Block the agent in one of the ways there are."""
    if way == "emergency":
        block(world, agent, "incident", OLGA)
    elif way == "move":
        move(world, agent, "blocked", reason="incident", caller=OLGA)
    else:
        world.check(f"evil-{agent}", agent=agent, context={"evil": True})


def stopped(world: World) -> None:
    """What the worker does when somebody was blocked."""
    while found := world.do(world.store.stopped_decisions(7)):
        world.batch(*(Stop(tenant, id) for tenant, id in found))


def got(world: World, id: str) -> tuple[str, str | None]:
    """What getting the decision tells of it."""
    found = world.do(decisions.get(world.store.transactor, world.store.reader, OPS, id))
    assert not isinstance(found, Refusal)
    return found.status.value, found.resolved.reason if found.resolved is not None else None


@pytest.mark.parametrize("way", ["emergency", "move", "halt"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_an_agent_waits_for_is_denied_when_it_is_blocked(each_world: Callable[[Policy], World], kind: str, way: str) -> None:
    """With the reason, by whoever blocked it, and what it had reserved is there again; another agent's goes on waiting."""
    world = each_world(waiting())
    wait(world, "a", kind)
    wait(world, "b", kind, agent="other")
    stop(world, way)
    stopped(world)
    decision = world.decision("a")
    assert decision is not None
    assert decision.resolved is not None
    assert (decision.status, decision.claims) == (Status.DENIED, ())
    assert (decision.resolved.by, str(decision.resolved.reason).startswith(STOPPED)) == ("olga" if way != "halt" else "anonymous", True)
    if way != "halt":
        assert decision.resolved.reason == f"{STOPPED}: incident"
    assert (world.used("budget"), world.used("budget", "agent:other")) == (0, 10)
    assert world.status("b") == "pending"
    assert [event.subject for event in world.events("decision.denied")] == ["a"]


def test_thousands_are_denied_in_batches(make_world: MakeWorld) -> None:
    """All of them, each once."""
    world = make_world(waiting_policy())
    ids = [f"d{number}" for number in range(40)]
    world.batch(*(checking(id, context=wanting("approval")) for id in ids))
    block(world, "bot")
    stopped(world)
    assert {world.status(id) for id in ids} == {"denied"}
    assert sorted(event.subject for event in world.events("decision.denied")) == sorted(ids)
    assert not world.run(Stop("default", ids[0]))


@pytest.mark.parametrize("way", ["emergency", "move", "halt"])
def test_the_first_look_of_anybody_is_right(each_world: Callable[[Policy], World], way: str) -> None:
    """Before anything else has come by: who gets it, who awaits it, who settles it."""
    world = each_world(waiting())
    for id in ("got", "awaited", "approved", "confirmed", "denied", "cancelled"):
        wait(world, id, "confirmation" if id == "confirmed" else "approval")
    stop(world, way)
    status, reason = got(world, "got")
    assert (status, str(reason).startswith(STOPPED)) == ("denied", True)
    store, waiters = world.store, Waiters(world.store)
    awaited = world.do(await_decision(waiters, store.transactor, store.reader, world.clock, OPS, AwaitRequest("awaited", 60_000)))
    assert not isinstance(awaited, Refusal)
    assert (awaited.status, awaited.allowed, str(awaited.reason).startswith(STOPPED)) == (Status.DENIED, False, True)
    for id, resolution in (("approved", "approve"), ("confirmed", "confirm"), ("denied", "deny")):
        assert world.resolve(id, resolution).status is Status.DENIED
    assert world.resolve("cancelled", "cancel").status is Status.CANCELLED
    assert isinstance(world.settle("got"), Conflict)
    assert world.used("budget") == 0


def test_a_block_stops_what_it_met_and_nothing_else(make_world: MakeWorld) -> None:
    """Also when the agent may act again before anybody looks; what it asks for then waits as ever."""
    world = make_world(waiting_policy())
    wait(world, "a")
    world.hand.advance(1)
    block(world, "bot")
    world.hand.advance(1)
    move(world, "bot", "full_autonomy")
    wait(world, "b")
    assert got(world, "a") == ("denied", STOPPED)
    assert got(world, "b") == ("pending", None)
    stopped(world)
    assert world.status("b") == "pending"


def test_a_circuit_that_lowers_to_blocked_settles_nothing(make_world: MakeWorld) -> None:
    """It may close before anybody approves; as long as it has not, nothing gets through."""
    circuit = {"scope": "agent:*", "failure_threshold": 1, "on_open": {"downgrade_to": "blocked"}}
    world = make_world(waiting_policy(circuit_breakers=[circuit]))
    wait(world, "a")
    wait(world, "b")
    world.trip("agent:bot")
    stopped(world)
    assert got(world, "a") == ("pending", None)
    assert world.resolve("b").status is Status.DENIED
    world.reset("agent:bot")
    assert world.resolve("a").status is Status.APPROVED


def test_a_proposal_for_an_agent_that_is_blocked_is_denied(make_world: MakeWorld) -> None:
    """Nobody need turn it down."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    block(world, "bot", "incident")
    stopped(world)
    assert got(world, proposed.id) == ("denied", f"{STOPPED}: incident")


def test_in_another_tenant_an_agent_of_that_name_goes_on_waiting(make_world: MakeWorld) -> None:
    """It is another agent."""
    world = make_world(waiting_policy())
    elsewhere = Caller("olga", frozenset(Role), tenant="elsewhere")
    world.run(checking("theirs", caller=elsewhere, context=wanting("approval")))
    wait(world, "ours")
    block(world, "bot")
    stopped(world)
    assert (world.status("theirs", "elsewhere"), world.status("ours")) == ("pending", "denied")

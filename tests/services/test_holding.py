"""Circuits that hold agents down while they are open, and let them go: who, when, and what nobody ever raises (SPEC 8)."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Answer, ReviewAnswer
from cstp_server.domain.postures import AgentPosture, Posture
from cstp_server.policy.compiled import Policy
from cstp_server.services.circuits import get_state
from cstp_server.services.policies import Align
from cstp_server.services.ports import UseCase
from cstp_server.services.requests import CircuitView, ScopeAnswer, TransitionAnswer
from tests.services.conftest import MakeWorld
from tests.services.governing import block, history, known, move, posture_move
from tests.services.world import OPS, World, checking, circuits_policy, moving, policy_of, reviewing, tripping

ASSISTED, SUPERVISED, HUMAN, BLOCKED = Posture.ASSISTED, Posture.SUPERVISED, Posture.HUMAN_DECIDES, Posture.BLOCKED
COOLDOWN = 10_000
BOT, TOOLING = "agent:bot", "category:tooling"


def circuit(scope: str, to: str = "human_decides", **changes: Any) -> dict[str, Any]:
    """Two failures open it; it blocks nobody while it is open, so that what the posture does can be seen."""
    return {
        "scope": scope,
        "failure_threshold": 2,
        "cooldown_ms": COOLDOWN,
        "probe_timeout_ms": 1_000,
        "on_open": {"downgrade_to": to},
        **changes,
    }


def named(world: World, agent: str) -> str:
    current = world.posture(agent)
    return current.posture.label if current is not None else "as the policy says"


def fail(world: World, *ids: str, agent: str = "bot", **details: Any) -> None:
    """Have decisions of these ids fail, allowed or not."""
    world.fail(*ids, agent=agent, **details)


def probe(world: World, id: str, outcome: str, agent: str = "bot", **details: Any) -> None:
    """A decision of a half-open circuit, approved where it has to be."""
    if world.check(id, agent=agent, **details).pending is not None:
        world.resolve(id)
    world.review(id, outcome)


def close(world: World, scope: str = BOT) -> None:
    answer = world.reset(scope)
    assert isinstance(answer, ScopeAnswer), answer


def moves(world: World, agent: str = "bot") -> list[tuple[str, str, str, str]]:
    """What moved the agent, oldest first: from, to, type, by whom."""
    return [(entry.before, entry.after, entry.type, entry.by) for entry in reversed(history(world, agent))]


@pytest.mark.parametrize("to", ["assisted", "human_decides", "blocked"])
@pytest.mark.parametrize("first", ["full_autonomy", "assisted", "supervised", "human_decides", "blocked"])
def test_an_opening_lowers_its_agent_and_never_raises_it(make_world: MakeWorld, first: str, to: str) -> None:
    """What it was is kept, and comes back with the close; who is no higher stays where it is, and is moved by nothing."""
    world = make_world(circuits_policy(circuit("agent:*", to), agents={"bot": {"posture": first}}))
    before, lower = Posture[first.upper()], Posture[to.upper()]
    fail(world, "a", "b")
    if before is BLOCKED:
        assert world.posture() is None
    if lower >= before:
        assert (known(world).posture.posture, moves(world)) == (before, [])
    else:
        now = world.hand.now()
        held = world.posture()
        assert held is not None
        assert (held.posture, held.original, held.set_by, held.since) == (lower, before, BOT, now)
        assert held.reason == "circuit `agent:bot` opened"
        assert moves(world) == [(first, to, "downgrade", BOT)]
        assert history(world)[0].original == first
    close(world)
    assert known(world).posture.holds == ()
    if lower < before:
        assert world.posture() == AgentPosture("bot", before, world.hand.now(), BOT, "circuit `agent:bot` closed")
        assert moves(world)[-1] == (to, first, "upgrade", BOT)


def test_other_agents_are_left_alone(make_world: MakeWorld) -> None:
    """A template has one circuit an agent."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a", agent="other")
    fail(world, "b", "c")
    assert (named(world, "bot"), world.posture("other")) == ("human_decides", None)


def test_a_circuit_of_another_scope_lowers_those_whose_failures_opened_it(make_world: MakeWorld) -> None:
    """Both who failed, nobody who succeeded or came too late; and all of them come back."""
    world = make_world(circuits_policy(circuit(TOOLING, failure_threshold=3)))
    world.check("good", agent="good")
    world.review("good", "success")
    fail(world, "a", "b", agent="one")
    world.check("late", agent="late")
    fail(world, "c", agent="two")
    world.review("late", "failure")
    assert [named(world, agent) for agent in ("one", "two", "good", "late")] == [
        "human_decides",
        "human_decides",
        *["as the policy says"] * 2,
    ]
    close(world, TOOLING)
    assert [named(world, agent) for agent in ("one", "two")] == ["supervised"] * 2
    assert moves(world, "two") == [
        ("supervised", "human_decides", "downgrade", TOOLING),
        ("human_decides", "supervised", "upgrade", TOOLING),
    ]


def test_the_lowering_names_the_decision_that_did_it(make_world: MakeWorld) -> None:
    """The failure that opened the circuit is on record with the move."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a", "b")
    assert history(world)[0].decision_id == "b"


def test_a_probe_that_succeeds_restores_and_one_that_fails_does_not(make_world: MakeWorld) -> None:
    """Half-open, the agent stays where it is; only the close lets it go."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a", "b")
    world.hand.advance(COOLDOWN)
    world.sweep()
    assert (world.stored(BOT).state, named(world, "bot")) == (State.HALF_OPEN, "human_decides")
    probe(world, "c", "failure")
    assert (world.stored(BOT).state, named(world, "bot")) == (State.OPEN, "human_decides")
    world.hand.advance(COOLDOWN)
    probe(world, "d", "success")
    assert (world.stored(BOT).state, named(world, "bot")) == (State.CLOSED, "supervised")
    assert [after for _, after, _, _ in moves(world)] == ["human_decides", "supervised"]


def test_a_reopening_blames_the_agent_of_the_probe(make_world: MakeWorld) -> None:
    """It is lowered like those who opened the circuit first, and comes back with them."""
    world = make_world(circuits_policy(circuit(TOOLING)))
    fail(world, "a", "b", agent="first")
    world.hand.advance(COOLDOWN)
    probe(world, "c", "failure", agent="prober")
    assert (named(world, "first"), named(world, "prober")) == ("human_decides", "human_decides")
    world.hand.advance(COOLDOWN)
    probe(world, "d", "success", agent="third")
    assert (named(world, "first"), named(world, "prober"), world.posture("third")) == ("supervised", "supervised", None)


def test_a_reopening_lowers_again_whoever_was_raised_meanwhile(make_world: MakeWorld) -> None:
    """And restores to what the agent had been raised to."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a", "b")
    move(world, "bot", "assisted")
    world.hand.advance(COOLDOWN)
    probe(world, "c", "failure")
    assert named(world, "bot") == "human_decides"
    close(world)
    assert named(world, "bot") == "assisted"


def test_the_move_by_hand_stands_whatever_the_circuit_does_then(make_world: MakeWorld) -> None:
    """Raised or lowered, it is not restored to what it was before."""
    for to in ("assisted", "supervised", "blocked"):
        agent = f"bot-{to}"
        world = make_world(circuits_policy(circuit("agent:*")))
        fail(world, f"a-{to}", f"b-{to}", agent=agent)
        move(world, agent, to)
        moved = world.posture(agent)
        close(world, f"agent:{agent}")
        assert world.posture(agent) == moved
        assert named(world, agent) == to


def test_to_stay_where_one_is_is_no_move(make_world: MakeWorld) -> None:
    """Recorded, and yet the circuit restores the agent when it closes."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a", "b")
    held = world.posture()
    world.hand.advance(5)
    answer = move(world, "bot", "human_decides")
    assert answer.type.value == "maintain"
    assert world.posture() == held
    close(world)
    assert named(world, "bot") == "supervised"


@pytest.mark.parametrize("way", ["emergency", "halt"])
def test_nothing_but_a_hand_raises_an_agent_that_was_blocked(make_world: MakeWorld, way: str) -> None:
    """Neither probes that succeed, nor a reset, nor a review."""
    severe = {"name": "severe", "severity": "severe", "when": "action.context.evil == true"}
    world = make_world(circuits_policy(circuit("agent:*"), circuit(TOOLING), tripwires=[severe]))
    fail(world, "a", "b")
    if way == "halt":
        world.check("evil", context={"evil": True})
    else:
        block(world, "bot")
    blocked = world.posture()
    assert blocked is not None
    assert (blocked.posture, blocked.original, blocked.holds) == (BLOCKED, None, ())
    close(world)
    close(world, TOOLING)
    fail(world, "c", "d")
    world.hand.advance(COOLDOWN)
    for scope in (BOT, TOOLING):
        world.reset(scope)
    for id in ("e", "f"):
        world.check(id)
        world.review(id, "success")
    assert world.posture() == blocked


def test_an_agent_that_circuits_have_blocked_is_blocked_for_good_by_an_emergency(make_world: MakeWorld) -> None:
    """The circuit that closes then restores nothing."""
    world = make_world(circuits_policy(circuit("agent:*", "blocked")))
    fail(world, "a", "b")
    block(world, "bot")
    close(world)
    assert named(world, "bot") == "blocked"


@pytest.mark.parametrize("closing", ["keep", "restore"])
def test_on_close(make_world: MakeWorld, closing: str) -> None:
    """`keep` leaves the agent where it is, and nothing restores it later on."""
    world = make_world(circuits_policy(circuit("agent:*", on_close=closing)))
    fail(world, "a", "b")
    close(world)
    after = world.posture()
    assert after is not None
    assert (after.posture, after.original, after.holds) == (HUMAN if closing == "keep" else SUPERVISED, None, ())
    fail(world, "c", "d")
    close(world)
    assert named(world, "bot") == ("human_decides" if closing == "keep" else "supervised")


@pytest.mark.parametrize("scope", ["agent:bot", "category:tooling", "global"])
def test_a_trip_lowers_and_a_reset_restores(make_world: MakeWorld, scope: str) -> None:
    """The agent of the scope, or those whose failures it has counted so far; with `probe_first` it stays low until a probe succeeds."""
    world = make_world(circuits_policy(circuit(scope, failure_threshold=5)))
    fail(world, "a")
    world.trip(scope)
    assert named(world, "bot") == "human_decides"
    world.run(moving(scope, probe_first=True))
    assert named(world, "bot") == "human_decides"
    probe(world, "b", "success")
    assert named(world, "bot") == "supervised"


def test_a_trip_lowers_an_agent_that_never_did_anything(make_world: MakeWorld) -> None:
    """The circuit is its own."""
    world = make_world(circuits_policy(circuit("agent:*")))
    world.trip(BOT)
    assert named(world, "bot") == "human_decides"
    world.trip(BOT)
    assert len(moves(world)) == 1
    close(world)
    assert named(world, "bot") == "supervised"


def test_a_trip_of_an_open_circuit_lowers_those_who_failed_since(make_world: MakeWorld) -> None:
    """And those again who were raised meanwhile."""
    world = make_world(circuits_policy(circuit(TOOLING)))
    fail(world, "a", "b", agent="one")
    fail(world, "c", agent="two")
    move(world, "one", "assisted")
    assert world.posture("two") is None
    world.trip(TOOLING)
    assert (named(world, "one"), named(world, "two")) == ("human_decides", "human_decides")
    close(world, TOOLING)
    assert (named(world, "one"), named(world, "two")) == ("assisted", "supervised")


@pytest.mark.parametrize("scope", [BOT, TOOLING])
@pytest.mark.parametrize("fails", [False, True])
def test_a_circuit_that_lowers_nobody_trips_and_closes(make_world: MakeWorld, scope: str, fails: bool) -> None:
    """With and without failures in its window; nobody is moved."""
    world = make_world(circuits_policy(circuit(scope, "none", failure_threshold=5)))
    if fails:
        fail(world, "a")
    world.trip(scope)
    close(world, scope)
    assert isinstance(world.batch(tripping(scope), moving(scope))[1], ScopeAnswer)
    assert world.posture() is None


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_a_circuit_in_the_shadow_lowers_nobody(make_world: MakeWorld, mode: str) -> None:
    """Neither when it opens nor when it is tripped."""
    world = make_world(circuits_policy(circuit("agent:*", mode=mode)))
    fail(world, "a", "b")
    world.trip(BOT)
    assert world.posture() is None
    close(world)
    assert world.posture() is None


def test_a_circuit_that_is_put_in_the_shadow_still_lets_go(make_world: MakeWorld) -> None:
    """Whoever it holds down comes back when it closes, under whatever policy."""
    newer: list[dict[str, Any]] = [{"mode": "shadow"}, {"on_open": {"downgrade_to": "none"}}, {"on_open": {"downgrade_to": "assisted"}}]
    for number, changes in enumerate(newer):
        agent = f"bot{number}"
        world = make_world(circuits_policy(circuit("agent:*")))
        fail(world, f"a{number}", f"b{number}", agent=agent)
        world.policy = circuits_policy(circuit("agent:*", **changes))
        close(world, f"agent:{agent}")
        assert named(world, agent) == "supervised"


def test_a_reopening_under_a_milder_policy_raises_nobody(make_world: MakeWorld) -> None:
    """The circuit holds its agent at least as low as before until it closes."""
    world = make_world(circuits_policy(circuit("agent:*", "blocked")))
    fail(world, "a", "b")
    world.policy = circuits_policy(circuit("agent:*", "human_decides"))
    world.trip(BOT)
    assert named(world, "bot") == "blocked"
    close(world)
    assert named(world, "bot") == "supervised"


@pytest.mark.parametrize("order", list(permutations(["bot", "tooling", "all"])))
@pytest.mark.parametrize("closing", list(permutations(["bot", "tooling", "all"])))
def test_circuits_on_one_agent_open_and_close_in_any_order(make_world: MakeWorld, order: tuple[str, ...], closing: tuple[str, ...]) -> None:
    """At every moment the agent is as low as the lowest that is open asks for, and in the end what it was."""
    scopes = {"bot": (BOT, ASSISTED), "tooling": (TOOLING, HUMAN), "all": ("global", BLOCKED)}
    circuits = [circuit(scope, to.label, failure_threshold=100) for scope, to in scopes.values()]
    world = make_world(circuits_policy(*circuits, agents={"bot": {"posture": "full_autonomy"}}))
    fail(world, "a")
    asked = []
    for name in order:
        scope, to = scopes[name]
        world.trip(scope)
        asked.append(to)
        assert named(world, "bot") == min(asked).label
    for name in closing:
        scope, to = scopes[name]
        close(world, scope)
        asked.remove(to)
        assert named(world, "bot") == (min(asked).label if asked else "full_autonomy")
    last = world.posture()
    assert last is not None
    assert (last.original, last.holds) == (None, ())


def test_one_outcome_that_opens_two_circuits_moves_the_agent_once_to_each(make_world: MakeWorld) -> None:
    """Both hold it; what it was is what it was before both."""
    world = make_world(circuits_policy(circuit("agent:*", "assisted"), circuit(TOOLING), agents={"*": {"posture": "full_autonomy"}}))
    fail(world, "a", "b")
    held = world.posture()
    assert held is not None
    assert (held.posture, held.original, {hold.scope for hold in held.holds}) == (HUMAN, Posture.FULL_AUTONOMY, {BOT, TOOLING})
    close(world, TOOLING)
    assert named(world, "bot") == "assisted"
    close(world)
    assert named(world, "bot") == "full_autonomy"


def test_a_circuit_without_a_policy_lets_go(make_world: MakeWorld) -> None:
    """Whoever it holds down is restored when it is archived; one that held nobody is archived all the same."""
    world = make_world(circuits_policy(circuit("agent:*"), circuit("category:*")))
    fail(world, "a", "b")
    world.check("c", agent="other", category="billing")
    world.review("c", "success")
    world.trip("agent:tripped")
    world.policy = circuits_policy({"scope": "agent:*", "mode": "shadow"}, circuit("category:*"))
    scopes = [BOT, TOOLING, "agent:other", "agent:tripped", "category:billing"]
    world.policy = circuits_policy(circuit("global"))
    assert world.run(Align("default", scopes)) == len(scopes)
    assert (named(world, "bot"), named(world, "tripped"), world.posture("other")) == ("supervised", "supervised", None)
    assert moves(world)[-1] == ("human_decides", "supervised", "upgrade", TOOLING)


@pytest.mark.parametrize("on_close", ["restore", "keep"])
def test_a_circuit_without_a_policy_lets_go_as_it_had_said(make_world: MakeWorld, on_close: str) -> None:
    """What was to be kept when it closes is kept, although no policy says so any more."""
    world = make_world(circuits_policy(circuit("agent:*", on_close=on_close)))
    fail(world, "a", "b")
    world.policy = policy_of()
    assert world.run(Align("default", [BOT])) == 1
    assert named(world, "bot") == ("supervised" if on_close == "restore" else "human_decides")
    assert known(world).posture.holds == ()


def test_an_archived_circuit_that_is_covered_again_lowers_again(make_world: MakeWorld) -> None:
    """It is as open as it was, and holds whom it held, once; closing it restores them."""
    policy = circuits_policy(circuit("agent:*"), circuit("category:*"))
    world = make_world(policy)
    fail(world, "a", "b")
    for _ in range(2):
        world.policy = policy_of()
        assert world.run(Align("default", [BOT, TOOLING])) == 2
        assert named(world, "bot") == "supervised"
        world.policy = policy
        assert world.run(Align("default", [BOT, TOOLING])) == 2
        assert named(world, "bot") == "human_decides"
    before = len(moves(world))
    assert world.run(Align("default", [BOT, TOOLING])) == 0
    assert len(moves(world)) == before
    close(world)
    close(world, TOOLING)
    assert named(world, "bot") == "supervised"


@pytest.mark.parametrize("change", [{"mode": "off"}, {"mode": "shadow"}, {"on_open": {"downgrade_to": "none"}}])
def test_an_open_circuit_that_lowers_nobody_any_more_lets_go_until_it_does_again(each_world: MakeWorld, change: dict[str, Any]) -> None:
    """Switched off, on trial, or without a posture to lower to; the agent whom somebody has moved since it opened is left alone."""
    policy = circuits_policy(circuit("agent:*"), circuit("category:*", "assisted"))
    world = each_world(policy)
    for agent in ("bot", "moved"):
        fail(world, f"{agent}-a", f"{agent}-b", agent=agent, category="none")
    scopes = [BOT, "agent:moved"]
    world.policy = circuits_policy(circuit("agent:*", **change), circuit("category:*", "assisted"))
    assert world.run(Align("default", scopes)) == 0
    assert (named(world, "bot"), named(world, "moved")) == ("supervised", "supervised")
    assert moves(world)[-1] == ("human_decides", "supervised", "upgrade", BOT)
    assert history(world)[0].reason == "circuit `agent:bot` lowers nobody any more"
    move(world, "moved", "assisted")
    world.policy = policy
    assert world.run(Align("default", scopes)) == 0
    assert (named(world, "bot"), named(world, "moved")) == ("human_decides", "assisted")
    close(world)
    assert named(world, "bot") == "supervised"


def test_an_agent_that_a_circuit_has_blocked_and_somebody_blocks_stays_blocked(each_world: MakeWorld) -> None:
    """It is `maintain` on record, and the block is theirs from then on: the circuit that closes restores nothing."""
    world = each_world(circuits_policy(circuit("agent:*", "blocked")))
    fail(world, "a", "b")
    assert move(world, "bot", "blocked", reason="by me").type.value == "maintain"
    close(world)
    current = known(world).posture
    assert (current.posture, current.reason, current.original, current.holds) == (BLOCKED, "by me", None, ())


# the seed's posture breaker

SEEDS = {
    "scope": "agent:*",
    "failure_threshold": 5,
    "cooldown_ms": 60_000,
    "half_open_probes": 3,
    "window_ms": 300_000,
    "severity_weights": {"low": 0.5, "medium": 1.0, "high": 2.0, "critical": 5.0},
    "on_open": {"downgrade_to": "human_decides"},
}


def metrics(world: World) -> CircuitView:
    """What the seed calls the breaker's metrics."""
    view = world.do(get_state(world.store.reader, world.policy, OPS, BOT))
    assert isinstance(view, CircuitView)
    return view


def test_the_life_of_the_seeds_breaker(make_world: MakeWorld) -> None:
    """Weighted failures open it and lower the agent, which proves itself in three approved probes, fails one, and at last is restored."""
    world = make_world(circuits_policy(SEEDS, agents={"*": {"posture": "full_autonomy"}}))
    for number, (severity, weighted) in enumerate([("low", 0.5), ("low", 1), ("medium", 2), ("high", 4), ("low", 4.5)]):
        world.check(f"f{number}")
        world.review(f"f{number}", "failure", severity)
        assert (metrics(world).state, metrics(world).weighted_failures, metrics(world).failure_count) == ("closed", weighted, number + 1)
    assert known(world).posture.posture is Posture.FULL_AUTONOMY
    world.check("f5")
    world.review("f5", "failure")
    assert (metrics(world).state, metrics(world).weighted_failures, metrics(world).cooldown_remaining_ms) == ("open", 5.5, 60_000)
    view = known(world).posture
    assert (view.posture, view.original) == (HUMAN, Posture.FULL_AUTONOMY)
    refused = world.check("while open")
    assert {(finding.type.value, finding.intervention.label) for finding in refused.verdict.violations} == {
        ("posture", "escalate"),
        ("circuit_breaker", "block"),
    }
    assert refused.pending is None
    world.hand.advance(60_000)
    for id in "abcd":
        assert world.check(id).pending is not None
    assert [world.resolve(id).status.value for id in "abcd"] == ["approved", "approved", "approved", "denied"]
    assert len(world.seen(BOT).leases) == 3
    world.review("a", "success")
    world.review("b", "success")
    assert (metrics(world).state, metrics(world).probe_successes) == ("half_open", 2)
    world.review("c", "failure", "low")
    assert (metrics(world).state, known(world).posture.posture) == ("open", HUMAN)
    world.hand.advance(60_000)
    for id in "efg":
        assert known(world).posture.original is Posture.FULL_AUTONOMY
        probe(world, id, "success")
    assert (metrics(world).state, metrics(world).failure_count) == ("closed", 0)
    restored = known(world).posture
    assert (restored.posture, restored.original, restored.set_by) == (Posture.FULL_AUTONOMY, None, BOT)
    assert [(before, after) for before, after, _, _ in moves(world)] == [
        ("full_autonomy", "human_decides"),
        ("human_decides", "full_autonomy"),
    ]


def test_one_critical_failure_opens_the_seeds_breaker(make_world: MakeWorld) -> None:
    """And failures that have left the window do not count any more."""
    world = make_world(circuits_policy(SEEDS))
    world.check("a")
    world.review("a", "failure", "high")
    world.hand.advance(300_000)
    for id in "bc":
        world.check(id)
        world.review(id, "failure", "high")
    assert (metrics(world).state, named(world, "bot")) == ("closed", "as the policy says")
    world.check("d", agent="other")
    world.review("d", "failure", "critical")
    assert (named(world, "other"), world.posture()) == ("human_decides", None)


# amendments


def test_an_amendment_that_closes_a_circuit_restores(make_world: MakeWorld) -> None:
    """Only the amended failure had tripped it."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a", "b")
    world.review("a", "success", amend=True)
    assert named(world, "bot") == "supervised"
    assert moves(world)[-1] == ("human_decides", "supervised", "upgrade", BOT)


def test_an_amendment_that_opens_a_circuit_lowers(make_world: MakeWorld) -> None:
    """All whose failures have now opened it."""
    world = make_world(circuits_policy(circuit(TOOLING)))
    fail(world, "a", agent="one")
    world.check("b", agent="two")
    world.review("b", "partial")
    world.review("b", "failure", amend=True)
    assert (named(world, "one"), named(world, "two")) == ("human_decides", "human_decides")


def test_an_amendment_that_has_a_circuit_half_open_by_now_lowers_too(make_world: MakeWorld) -> None:
    """As if it had been opened then: it would hold the agent down until a probe succeeds."""
    world = make_world(circuits_policy(circuit("agent:*")))
    fail(world, "a")
    world.check("b")
    world.review("b", "partial")
    world.hand.advance(COOLDOWN)
    world.review("b", "failure", amend=True)
    assert (world.seen(BOT).state, named(world, "bot")) == (State.HALF_OPEN, "human_decides")
    probe(world, "c", "success")
    assert named(world, "bot") == "supervised"


def test_an_amendment_after_which_others_have_opened_the_circuit_lets_the_first_go(make_world: MakeWorld) -> None:
    """The circuit is open all the while; it holds down those who are to blame now."""
    world = make_world(circuits_policy(circuit(TOOLING)))
    for id, agent in (("a", "one"), ("b", "two"), ("c", "three")):
        world.check(id, agent=agent)
    for id in "abc":
        world.review(id, "failure")
    assert (named(world, "one"), named(world, "two"), world.posture("three")) == ("human_decides", "human_decides", None)
    world.review("a", "success", amend=True)
    assert world.seen(TOOLING).state is State.OPEN
    assert [named(world, agent) for agent in ("one", "two", "three")] == ["supervised", "human_decides", "human_decides"]
    close(world, TOOLING)
    assert [named(world, agent) for agent in ("one", "two", "three")] == ["supervised"] * 3


def test_an_amended_probe_reopens_the_circuit_for_those_who_had_opened_it(make_world: MakeWorld) -> None:
    """They are long gone from the window of the closed circuit, and are found in its past."""
    world = make_world(circuits_policy(circuit(TOOLING)))
    fail(world, "a", agent="one")
    fail(world, "b", agent="two")
    world.hand.advance(COOLDOWN)
    probe(world, "c", "success", agent="three")
    assert (named(world, "one"), named(world, "two")) == ("supervised", "supervised")
    world.review("c", "failure", amend=True)
    assert world.seen(TOOLING).state is State.OPEN
    assert [named(world, agent) for agent in ("one", "two", "three")] == ["human_decides"] * 3


def test_an_amendment_moves_nobody_whom_somebody_has_moved_since(make_world: MakeWorld) -> None:
    """Neither down again while the circuit stays open, nor up when it closes."""
    world = make_world(circuits_policy(circuit("agent:*")))
    for id in "abc":
        world.check(id)
    for id in "abc":
        world.review(id, "failure")
    move(world, "bot", "assisted")
    world.review("a", "failure", "high", amend=True)
    assert named(world, "bot") == "assisted"
    world.review("a", "success", amend=True)
    world.review("b", "success", amend=True)
    assert (world.seen(BOT).state, named(world, "bot")) == (State.CLOSED, "assisted")


# several calls in one transaction


def test_reviews_of_one_transaction_lower_all_who_failed_in_it(each_world: Callable[[Policy], World]) -> None:
    """The last one opens the circuit, and the agents of the first ones are to blame as well."""
    world = each_world(circuits_policy(circuit(TOOLING, failure_threshold=4)))
    agents = ["one", "two", "three", "four", "five"]
    for agent in agents:
        world.check(agent, agent=agent)
    answers = world.batch(*(reviewing(agent, "failure") for agent in agents))
    assert all(isinstance(answer, ReviewAnswer) for answer in answers), answers
    assert [named(world, agent) for agent in agents] == ["human_decides"] * 4 + ["as the policy says"]
    close(world, TOOLING)
    assert [named(world, agent) for agent in agents[:4]] == ["supervised"] * 4


def test_a_circuit_that_opens_closes_and_is_amended_within_one_transaction(each_world: Callable[[Policy], World]) -> None:
    """Every call sees what the ones before it did to circuit and agents."""
    world = each_world(circuits_policy(circuit(TOOLING)))
    for id, agent in (("a", "one"), ("b", "two"), ("c", "three")):
        world.check(id, agent=agent)
    answers = world.batch(
        reviewing("a", "failure"),
        reviewing("b", "failure"),
        moving(TOOLING),
        reviewing("c", "failure"),
        tripping(TOOLING),
        reviewing("b", "success", amend=True),
        moving(TOOLING),
        reviewing("b", "failure", amend=True),
    )
    assert not any(isinstance(answer, Exception) for answer in answers), answers
    assert [named(world, agent) for agent in ("one", "two", "three")] == ["supervised"] * 3
    assert [after for _, after, _, _ in moves(world, "three")] == ["human_decides", "supervised"]


def test_a_halt_and_an_opening_in_one_transaction_leave_the_agent_blocked(each_world: Callable[[Policy], World]) -> None:
    """In whichever order they come."""
    severe = {"name": "severe", "severity": "severe", "when": "action.context.evil == true"}
    for order in (0, 1):
        agent = f"bot{order}"
        world = each_world(circuits_policy(circuit(TOOLING), tripwires=[severe]))
        world.check(f"a{order}", agent=agent)
        world.check(f"b{order}", agent="other")
        halting: UseCase[Any] = checking(f"evil{order}", agent=agent, context={"evil": True})
        failing: list[UseCase[Any]] = [reviewing(f"a{order}", "failure"), reviewing(f"b{order}", "failure")]
        answers = world.batch(*([halting, *failing] if order == 0 else [*failing, halting]))
        assert not any(isinstance(answer, Exception) for answer in answers), answers
        assert named(world, agent) == "blocked"
        close(world, TOOLING)
        assert named(world, agent) == "blocked"
        world.close()


def test_an_amendment_behind_a_halt_in_one_transaction_leaves_the_agent_blocked(each_world: Callable[[Policy], World]) -> None:
    """What the halt left is not forgotten when more of the circuit's past is read."""
    severe = {"name": "severe", "severity": "severe", "when": 'posture == "assisted" && action.context.evil == true'}
    world = each_world(circuits_policy(circuit(TOOLING), tripwires=[severe]))
    for id, agent in (("a", "one"), ("b", "two"), ("c", "three")):
        world.check(id, agent=agent)
    for id, outcome in (("a", "failure"), ("b", "partial"), ("c", "partial")):
        world.review(id, outcome)
    evil = checking("evil", agent="one", context={"evil": True})
    answers = world.batch(
        posture_move("one", "assisted"), evil, reviewing("b", "failure", amend=True), reviewing("c", "failure", amend=True)
    )
    assert isinstance(answers[0], TransitionAnswer)
    assert isinstance(answers[1], Answer)
    assert answers[1].posture == "assisted"
    assert [named(world, agent) for agent in ("one", "two")] == ["blocked", "human_decides"]
    close(world, TOOLING)
    assert named(world, "one") == "blocked"


def test_a_check_in_one_transaction_with_the_opening_meets_the_posture_that_it_leaves(each_world: Callable[[Policy], World]) -> None:
    """The agent is supervised when the transaction begins, and a human decides when its check is reached."""
    world = each_world(circuits_policy(circuit("agent:*", on_open={"effect": "confirm", "downgrade_to": "human_decides"})))
    fail(world, "a")
    world.check("b")
    _, answer = world.batch(reviewing("b", "failure"), checking("c"))
    assert isinstance(answer, Answer)
    assert (answer.posture, answer.verdict.intervention.label) == ("human_decides", "escalate")

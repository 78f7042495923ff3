"""Everybody moves the same agent through two processes: one wins, the rest are told, and nobody gets past a halt."""

from random import Random
from typing import Any

from cstp_server.domain.events import Event
from tests.concurrency.conftest import Pair
from tests.concurrency.crowd import Call, Told, at_once, check

CLIENTS = 64
ROUNDS = 3
POSTURES = ["blocked", "human_decides", "supervised", "assisted", "full_autonomy"]
CONFLICT = -32011


def move(agent: str, to: str, reason: str, seen: str | None = None) -> Call:
    params = {"agentId": agent, "toPosture": to, "reason": reason}
    return "cstp.transitionPosture", params if seen is None else {**params, "fromPosture": seen}


def emergency(agent: str, reason: str) -> Call:
    return "cstp.emergencyDowngrade", {"agentId": agent, "reason": reason}


def halting(id: str, agent: str) -> Call:
    """An action that a built-in tripwire halts."""
    return check(id, agent=agent, context={"data_exfiltration": True})


def current(pair: Pair, agent: str) -> str:
    told = at_once(pair.urls, [("cstp.getPosture", {"agentId": agent})])[0].result
    assert told is not None
    posture: str = told["posture"]
    return posture


def attempts(pair: Pair, agent: str) -> list[Event]:
    """Every attempt to move the agent, oldest first."""
    return [event for event in pair.world.events("posture.") if event.subject == agent]


def succeeded(events: list[Event]) -> list[tuple[str, str]]:
    steps = [(event.data["from_posture"], event.data["to_posture"]) for event in events if event.data["success"]]
    return [(before, after) for before, after in steps if before != after]


def follow(steps: list[tuple[str, str]], first: str) -> str:
    """Where the moves lead when each begins where the one before it ended; no posture is left twice in what is followed here."""
    ahead = dict(steps)
    assert len(ahead) == len(steps), steps
    while first in ahead:
        first = ahead.pop(first)
    assert not ahead, steps
    return first


def answers(told: list[Told]) -> list[dict[str, Any]]:
    """What those were told who were not told of a conflict."""
    assert {one.code for one in told} <= {None, CONFLICT}
    assert all(one.code is not None or one.result is not None for one in told)
    return [one.result for one in told if one.result is not None]


def test_of_many_transitions_at_once_exactly_one_wins(pair: Pair) -> None:
    """All know what the posture is and want another one; the rest get a conflict, and the history has every single attempt."""
    agent, random = "contended", Random(7)
    posture, tried = "supervised", 0
    for turn in range(ROUNDS):
        targets = [random.choice([to for to in POSTURES if to != posture]) for _ in range(CLIENTS)]
        told = at_once(pair.urls, [move(agent, to, f"{turn}-{number}", posture) for number, to in enumerate(targets)])
        (won,) = answers(told)
        assert (won["success"], won["fromPosture"]) == (True, posture)
        before, posture, tried = posture, won["toPosture"], tried + CLIENTS
        assert current(pair, agent) == posture
        events = attempts(pair, agent)
        assert len(events) == tried
        latest = [event for event in events if event.data["reason"].startswith(f"{turn}-")]
        assert {event.data["reason"] for event in latest} == {f"{turn}-{number}" for number in range(CLIENTS)}
        assert succeeded(latest) == [(before, posture)]
        assert {event.data.get("blocked_by") for event in latest if not event.data["success"]} == {"stale_from_posture"}
    history = at_once(pair.urls, [("cstp.getPostureHistory", {"agentId": agent, "limit": 5})])[0].result
    assert history is not None
    assert len(history["transitions"]) == 5


def test_without_a_posture_to_begin_from_nobody_undoes_what_they_have_not_seen(pair: Pair) -> None:
    """Each is either made from what its caller's guards were asked about, or refused as a conflict; the moves are one chain."""
    agent, tos = "blind", ["assisted", "full_autonomy"]
    told = at_once(pair.urls, [move(agent, tos[number % 2], f"{number}") for number in range(CLIENTS)])
    won = answers(told)
    assert won
    assert len(attempts(pair, agent)) == CLIENTS
    steps = succeeded(attempts(pair, agent))
    assert len(steps) == sum(one["fromPosture"] != one["toPosture"] for one in won)
    for turn in range(1, len(steps)):
        assert steps[turn][0] in {after for _, after in steps} | {"supervised"}
    assert current(pair, agent) in tos


def test_upgrades_never_get_past_a_halt(pair: Pair) -> None:
    """Halting checks, emergencies and upgrades from what the agent was, all at once: it ends blocked, and the history leads there."""
    for turn in range(ROUNDS):
        agent, random = f"halted-{turn}", Random(turn)
        calls: list[Call] = [move(agent, "assisted", f"up-{number}", "supervised") for number in range(20)]
        calls += [move(agent, "full_autonomy", f"more-{number}", "assisted") for number in range(20)]
        calls += [halting(f"{agent}-{number}", agent) for number in range(20)]
        calls += [emergency(agent, "incident")] * (turn % 2)
        random.shuffle(calls)
        told = at_once(pair.urls, calls)
        assert all(
            one.result is not None and not one.result["allowed"] for one, call in zip(told, calls, strict=True) if "check" in call[0]
        )
        answers(told)
        assert current(pair, agent) == "blocked"
        steps = succeeded(attempts(pair, agent))
        assert follow(steps, "supervised") == "blocked"
        assert steps.count(("blocked", "blocked")) == 0


def test_raised_again_and_halted_again(pair: Pair) -> None:
    """Whoever raises a blocked agent races with its halting checks: once all are answered, one more halt leaves it blocked for sure."""
    agent = "yoyo"
    for turn in range(ROUNDS):
        calls: list[Call] = [move(agent, "supervised", f"{turn}-{number}", "blocked") for number in range(10)]
        calls += [halting(f"{agent}-{turn}-{number}", agent) for number in range(30)]
        at_once(pair.urls, [halting(f"{agent}-{turn}-first", agent)])
        answers(at_once(pair.urls, calls))
        changes = dict.fromkeys(POSTURES, 0)
        for before, after in succeeded(attempts(pair, agent)):
            changes[before], changes[after] = changes[before] - 1, changes[after] + 1
        changes["supervised"] += 1
        assert {posture for posture, count in changes.items() if count} == {current(pair, agent)}
        at_once(pair.urls, [halting(f"{agent}-{turn}-last", agent)])
        assert current(pair, agent) == "blocked"


def test_an_agent_that_is_blocked_gets_none_of_its_waiting_decisions_through(pair: Pair) -> None:
    """Approvals race with the emergency; whichever is approved was so before the agent was blocked."""
    for turn in range(3):
        agent = f"waiting-{turn}"
        ids = [f"{agent}-{number}" for number in range(30)]
        at_once(pair.urls, [check(id, agent=agent, context={"ask": True}) for id in ids])
        approvals: list[Call] = [("cstp.resolveDecision", {"id": id, "resolution": "approve"}) for id in ids]
        told = at_once(pair.urls, [*approvals[:15], emergency(agent, "incident"), *approvals[15:]])
        assert {one.code for one in told} <= {None, -32011}
        (blocked,) = attempts(pair, agent)
        for id in ids:
            (event,) = [
                event for event in pair.world.events("decision.") if event.subject == id and event.type.value != "decision.checked"
            ][1:]
            assert event.type.value in {"decision.approved", "decision.denied"}
            if event.at > blocked.at:
                assert event.type.value == "decision.denied"

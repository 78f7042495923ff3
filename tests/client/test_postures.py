"""Postures through the clients: what they send and read, how they repeat, and how governed steps fare under each."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cstp_server.client import (
    AsyncClient,
    Client,
    Conflict,
    DecisionBlocked,
    DecisionStillPending,
    Forbidden,
    Pending,
    Unreachable,
    governed,
)
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import Drop, Message, ScriptedServer
from tests.conftest import StartServer
from tests.server import RunningServer

AT = datetime(2026, 2, 11, 13, 5, tzinfo=UTC)
MOVED: Message = {
    "success": True,
    "agentId": "bot",
    "fromPosture": "supervised",
    "toPosture": "assisted",
    "transitionType": "upgrade",
    "reason": "reliable",
    "timestamp": "2026-02-11T13:05:00Z",
}
POLICY = """
agents:
  eager: {posture: assisted}
  careful: {posture: human_decides}
  gone: {posture: blocked}
postures:
  assisted_delay_ms: 300
  guards:
    - {name: security_team_approval, when: "request.to_level <= 3 || metadata.security_approved == true", reason: ask the security team}
"""


@pytest.fixture
def postures(server: ScriptedServer) -> ScriptedServer:
    """A server that takes every move."""
    known = {
        "agentId": "bot",
        "posture": "human_decides",
        "level": 2,
        "since": "2026-02-11T13:05:00Z",
        "setBy": "agent:bot",
        "reason": "circuit `agent:bot` opened",
        "originalPosture": "assisted",
        "trustScore": 0.4902,
        "reviewCoverage": 1,
        "reviewed": 10,
        "earned": {"toPosture": "supervised", "successesNeeded": None},
        "mood": "grim",
    }
    entry = {name: MOVED[name] for name in MOVED if name != "agentId"}
    server.usual |= {
        "cstp.getPosture": lambda params: known,
        "cstp.transitionPosture": lambda params: MOVED,
        "cstp.emergencyDowngrade": lambda params: MOVED | {"toPosture": "blocked", "transitionType": "emergency_downgrade"},
        "cstp.getPostureHistory": lambda params: {
            "agentId": "bot",
            "transitions": [entry | {"actor": "olivia"}, entry | {"success": False, "blockedBy": "g", "refusal": "no"}],
        },
    }
    return server


def test_postures_are_looked_at_and_moved(postures: ScriptedServer, client: Client) -> None:
    """Everything that was given arrives under its name on the wire, and answers are typed and keep what they do not know."""
    found = client.get_posture("bot")
    assert (found.posture, found.level, found.since, found.original_posture) == ("human_decides", 2, AT, "assisted")
    assert (found.trust_score, found.review_coverage, found.reviewed, found.raw["mood"]) == (0.4902, 1.0, 10, "grim")
    assert found.earned is not None
    assert (found.earned.to_posture, found.earned.successes_needed) == ("supervised", None)
    moved = client.transition_posture("bot", "assisted", reason="reliable", from_posture="supervised", metadata={"n": 1})
    assert (moved.success, moved.transition_type, moved.blocked_by, moved.timestamp) == (True, "upgrade", None, AT)
    client.transition_posture("bot", "assisted", reason="reliable")
    assert client.emergency_downgrade("bot", reason="odd").to_posture == "blocked"
    (first, second) = client.posture_history("bot", limit=2).transitions
    assert (first.actor, first.success, second.success, second.blocked_by, second.refusal) == ("olivia", True, False, "g", "no")
    assert [call["params"] for call in postures.calls] == [
        {"agentId": "bot"},
        {"agentId": "bot", "toPosture": "assisted", "fromPosture": "supervised", "reason": "reliable", "metadata": {"n": 1}},
        {"agentId": "bot", "toPosture": "assisted", "reason": "reliable"},
        {"agentId": "bot", "reason": "odd"},
        {"agentId": "bot", "limit": 2},
    ]


def test_the_async_client_does_the_same(postures: ScriptedServer, sleeper: Sleeper) -> None:
    """All four, awaited."""

    async def story(client: AsyncClient) -> None:
        async with client:
            assert (await client.get_posture("bot")).level == 2
            assert (await client.transition_posture("bot", "assisted", reason="reliable")).success
            assert (await client.emergency_downgrade("bot", reason="odd")).transition_type == "emergency_downgrade"
            assert len((await client.posture_history("bot")).transitions) == 2

    asyncio.run(story(async_client(postures, sleeper)))
    assert postures.methods == ["cstp.getPosture", "cstp.transitionPosture", "cstp.emergencyDowngrade", "cstp.getPostureHistory"]


def test_an_emergency_is_repeated_until_it_is_answered_and_a_transition_is_not(postures: ScriptedServer, client: Client) -> None:
    """A second emergency can only block; a second transition could undo one that came in between."""
    postures.script.extend([Drop(), Drop()])
    assert client.emergency_downgrade("bot", reason="odd").success
    assert len(postures.calls) == 3
    postures.script.append(Drop())
    with pytest.raises(Unreachable):
        client.transition_posture("bot", "assisted", reason="reliable")
    assert postures.methods[3:] == ["cstp.transitionPosture"]


@pytest.fixture
def service(start_server: StartServer, tmp_path: Path) -> RunningServer:
    """The service with a guard, and an agent in each posture that is not the usual one."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    return start_server(config=policy)


def test_a_service_understands_the_client(service: RunningServer) -> None:
    """Refused, granted, stale, blocked, not allowed: each as what it is."""
    with Client(service.url, service.token("olivia", "ops")) as ops, Client(service.url, service.token("bot", "agent")) as bot:
        refused = ops.transition_posture("bot", "assisted", reason="reliable")
        assert (refused.success, refused.blocked_by, refused.reason) == (False, "security_team_approval", "ask the security team")
        assert (refused.from_posture, refused.to_posture) == ("supervised", "assisted")
        assert ops.transition_posture("bot", "assisted", reason="reliable", metadata={"security_approved": True}).success
        with pytest.raises(Conflict, match="is `assisted`, not `supervised`"):
            ops.transition_posture("bot", "blocked", reason="r", from_posture="supervised")
        blocked = ops.emergency_downgrade("bot", reason="odd")
        assert (blocked.success, blocked.from_posture, blocked.transition_type) == (True, "assisted", "emergency_downgrade")
        assert bot.get_posture("bot").since == blocked.timestamp
        assert [entry.success for entry in bot.posture_history("bot").transitions] == [True, False, True, False]
        for call in (lambda: bot.get_posture("other"), lambda: bot.emergency_downgrade("bot", reason="r")):
            with pytest.raises(Forbidden) as forbidden:
                call()
            assert forbidden.value.required


def test_who_speaks_for_another_agent_is_forbidden_and_no_role_would_help(service: RunningServer) -> None:
    """The client tells that from a missing token, although the answer names no roles."""
    with Client(service.url, service.token("bound", "agent", agent="refund-bot")) as client:
        with pytest.raises(Forbidden, match="speaks for agent `refund-bot` alone") as forbidden:
            client.check("Look around", agent="other")
        assert forbidden.value.required == ()


def test_a_governed_step_waits_out_its_cancel_window(service: RunningServer) -> None:
    """An assisted agent's step runs when nobody has cancelled it, and not when somebody has blocked the agent meanwhile."""
    told: list[Pending] = []
    with Client(service.url) as client:
        with governed(client, "Look around", agent="eager", on_wait=told.append) as step:
            assert step.settled is not None
            assert step.settled.status == "allowed"
        assert [pending.kind for pending in told] == ["cancel_window"]

        def stop(_pending: Pending) -> None:
            client.emergency_downgrade("eager", reason="odd")

        with (
            pytest.raises(DecisionBlocked, match=r"is denied: the agent was blocked while the decision waited: odd"),
            governed(client, "Look around", agent="eager", on_wait=stop),
        ):
            pytest.fail("the body ran")


def test_a_governed_step_of_whom_a_human_decides_waits_for_one(service: RunningServer) -> None:
    """It runs once approved; with no time to wait it does not."""

    def approve(pending: Pending) -> None:
        assert pending.decision_id is not None
        client.approve(pending.decision_id)

    with Client(service.url) as client:
        with governed(client, "Look around", agent="careful", on_wait=approve) as step:
            assert step.settled is not None
            assert step.settled.status == "approved"
        with pytest.raises(DecisionStillPending, match="an approval"), governed(client, "Look around", agent="careful", wait=0):
            pytest.fail("the body ran")


def test_a_governed_step_of_a_blocked_agent_does_not_run(service: RunningServer) -> None:
    """At once, with the posture as the reason."""
    with (
        Client(service.url) as client,
        pytest.raises(DecisionBlocked, match="its posture is `blocked`"),
        governed(client, "Look around", agent="gone"),
    ):
        pytest.fail("the body ran")

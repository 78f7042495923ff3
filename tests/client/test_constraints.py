"""Constraints through the clients: what they send and read, and what they repeat."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cstp_server.client import (
    AsyncClient,
    BadAnswer,
    Client,
    DecisionBlocked,
    DimensionCheck,
    Forbidden,
    InvalidParams,
    Unreachable,
    Unsendable,
    governed,
)
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import Drop, Message, Result, ScriptedServer
from tests.conftest import StartServer

EVALUATION: Message = {
    "satisfied": False,
    "failedDimensions": ["rate_limit"],
    "results": {
        "cost_limit": {"satisfied": True, "reason": "within budget", "remaining": 40, "used": 960, "limit": 1000, "mood": "grim"},
        "rate_limit": {"satisfied": False, "reason": "m", "remaining": None, "used": None, "limit": 5, "missing": "requests_in_period"},
    },
    "antiGamingFlags": ["boundary_pushing:cost_limit (usage_ratio=0.96)"],
    "mode": "conjunctive",
    "durationMs": 1.25,
    "mood": "grim",
}
DIMENSION: Message = {"name": "token_limit", "version": "1.0.0", "description": "tokens", "status": "pending"}
REVIEWED = DIMENSION | {"status": "approved", "reviewedBy": "olivia", "reviewedAt": "2026-02-11T13:25:00Z", "note": "seen"}


@pytest.fixture
def constraints(server: ScriptedServer) -> ScriptedServer:
    """A server that knows one dimension, and takes every review of it."""
    server.usual |= {
        "cstp.evaluateConstraints": lambda params: EVALUATION,
        "cstp.validateTightening": lambda params: {"valid": False, "violations": ["looser"]},
        "cstp.listDimensions": lambda params: {"dimensions": [DIMENSION], "count": 1},
        "cstp.approveDimension": lambda params: REVIEWED,
        "cstp.rejectDimension": lambda params: REVIEWED | {"status": "rejected"},
    }
    return server


def test_everything_that_was_given_arrives_under_its_name(constraints: ScriptedServer, client: Client) -> None:
    """Constraints and context as they are, the rest in the wire's casing; what was not given is left out."""
    client.evaluate_constraints({"cost_limit": 1000}, {"costUsed": 960, "resource_requested": None}, mode="hierarchical", agent="bot")
    client.evaluate_constraints({"cost_limit": 1000})
    client.validate_tightening({"cost_limit": 100}, {"cost_limit": 200})
    client.list_dimensions()
    client.approve_dimension("token_limit", version="1.0.0", note="seen")
    client.reject_dimension("token_limit")
    assert [call["params"] for call in constraints.calls] == [
        {
            "constraints": {"cost_limit": 1000},
            "context": {"costUsed": 960, "resource_requested": None},
            "mode": "hierarchical",
            "agentId": "bot",
        },
        {"constraints": {"cost_limit": 1000}},
        {"parent": {"cost_limit": 100}, "child": {"cost_limit": 200}},
        {},
        {"name": "token_limit", "version": "1.0.0", "note": "seen"},
        {"name": "token_limit"},
    ]


def test_answers_are_typed_and_keep_what_they_do_not_know(constraints: ScriptedServer, client: Client) -> None:
    """Each dimension's result is a value of its own; numbers that there are not are none."""
    found = client.evaluate_constraints({"cost_limit": 1000, "rate_limit": 5})
    assert (found.satisfied, found.failed_dimensions, found.mode, found.duration_ms) == (False, ("rate_limit",), "conjunctive", 1.25)
    assert found.anti_gaming_flags == ("boundary_pushing:cost_limit (usage_ratio=0.96)",)
    assert dict(found.results) == {
        "cost_limit": DimensionCheck(satisfied=True, reason="within budget", remaining=40, used=960, limit=1000),
        "rate_limit": DimensionCheck(satisfied=False, reason="m", limit=5, missing="requests_in_period"),
    }
    assert found.raw["mood"] == "grim"
    tightening = client.validate_tightening({"cost_limit": 100}, {"cost_limit": 200})
    assert (tightening.valid, tightening.violations) == (False, ("looser",))
    (dimension,) = client.list_dimensions().dimensions
    assert (dimension.name, dimension.version, dimension.status, dimension.reviewed_by) == ("token_limit", "1.0.0", "pending", None)
    approved = client.approve_dimension("token_limit")
    assert (approved.status, approved.reviewed_by, approved.note) == ("approved", "olivia", "seen")
    assert approved.reviewed_at == datetime(2026, 2, 11, 13, 25, tzinfo=UTC)
    assert client.reject_dimension("token_limit").status == "rejected"


def test_the_async_client_does_the_same(constraints: ScriptedServer, sleeper: Sleeper) -> None:
    """All five, awaited."""

    async def story(client: AsyncClient) -> None:
        async with client:
            assert not (await client.evaluate_constraints({"cost_limit": 1}, {"cost_used": 2})).satisfied
            assert not (await client.validate_tightening({}, {})).valid
            assert (await client.list_dimensions()).count == 1
            assert (await client.approve_dimension("token_limit")).status == "approved"
            assert (await client.reject_dimension("token_limit")).status == "rejected"

    asyncio.run(story(async_client(constraints, sleeper)))
    assert constraints.methods == [
        "cstp.evaluateConstraints",
        "cstp.validateTightening",
        "cstp.listDimensions",
        "cstp.approveDimension",
        "cstp.rejectDimension",
    ]


@pytest.mark.parametrize("results", [[], {"cost_limit": True}, {"cost_limit": {"satisfied": 1}}, {"cost_limit": {"reason": "x"}}])
def test_results_that_are_none_are_refused(constraints: ScriptedServer, client: Client, results: object) -> None:
    """An error that names the field, never a pass."""
    constraints.script.append(Result(EVALUATION | {"results": results}))
    with pytest.raises(BadAnswer, match=r"result\.results"):
        client.evaluate_constraints({"cost_limit": 1})


def test_what_is_no_json_is_not_sent(constraints: ScriptedServer, client: Client) -> None:
    """A time goes out as a text."""
    with pytest.raises(Unsendable, match=r"cstp\.evaluateConstraints"):
        client.evaluate_constraints({"time_window": "09:00-17:00"}, {"current_time": datetime.now(UTC)})
    assert constraints.calls == []


def test_readings_and_rejections_are_repeated_and_evaluations_and_approvals_are_not(constraints: ScriptedServer, client: Client) -> None:
    """An evaluation counts each time; a second approval could undo a rejection that came in between."""
    constraints.script.extend([Drop(), Drop()])
    assert client.list_dimensions().count == 1
    constraints.script.append(Drop())
    assert client.reject_dimension("token_limit").status == "rejected"
    constraints.script.append(Drop())
    assert not client.validate_tightening({}, {}).valid
    for call in (lambda: client.approve_dimension("token_limit"), lambda: client.evaluate_constraints({"cost_limit": 1})):
        constraints.script.append(Drop())
        with pytest.raises(Unreachable):
            call()
    assert constraints.methods == [
        *["cstp.listDimensions"] * 3,
        *["cstp.rejectDimension"] * 2,
        *["cstp.validateTightening"] * 2,
        "cstp.approveDimension",
        "cstp.evaluateConstraints",
    ]


def test_a_service_understands_the_client(start_server: StartServer, tmp_path: Path) -> None:
    """Satisfied, failed, looser, listed, refused: each as what it is; a check that a constraint blocks says how far off it is."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("agents: {bot: {constraints: {cost_limit: 1000}}}\n")
    server = start_server(config=policy)
    with Client(server.url, server.token("bot", "agent", agent="bot")) as bot, Client(server.url, server.token("ada", "admin")) as ada:
        found = bot.evaluate_constraints({"cost_limit": 1000, "data_access": "no_pii"}, {"cost_used": 960, "contains_pii": False})
        assert found.satisfied
        assert found.results["cost_limit"].remaining == 40
        assert found.results["data_access"].limit is None
        assert not bot.evaluate_constraints({"cost_limit": 1000}, {"cost_used": 1001}, agent="bot").satisfied
        with pytest.raises(Forbidden, match="`bot`"):
            bot.evaluate_constraints({"cost_limit": 1000}, {"cost_used": 1}, agent="other")
        with pytest.raises(InvalidParams, match="at least one dimension"):
            bot.evaluate_constraints({})
        assert bot.validate_tightening({"cost_limit": 100}, {"cost_limit": 50}).valid
        assert len(bot.validate_tightening({"cost_limit": 100}, {"cost_limit": 200}).violations) == 1
        assert {dimension.status for dimension in bot.list_dimensions().dimensions} == {"built_in"}
        with pytest.raises(Forbidden):
            bot.approve_dimension("token_limit")
        with pytest.raises(InvalidParams, match="`token_limit`"):
            ada.reject_dimension("token_limit")
        (finding,) = bot.check("Buy it", context={"cost_used": 1200}).violations
        assert (finding.type, finding.dimension) == ("constraint", "cost_limit")
        assert (finding.used, finding.limit, finding.remaining) == (1200, 1000, 0)
        with pytest.raises(DecisionBlocked, match="1000"), governed(bot, "Buy it", context={"cost_used": 1200}):
            pytest.fail("the body ran")

"""Decisions that wait: how the clients wait for them and settle them, whatever becomes of the calls."""

import asyncio
import logging
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cstp_server.client import (
    AsyncClient,
    BadAnswer,
    Client,
    Conflict,
    DecisionBlocked,
    DecisionNotFound,
    DecisionStillPending,
    Forbidden,
    Pending,
    Retry,
    Unreachable,
    governed,
)
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import (
    TRIPPED,
    Drop,
    Error,
    Message,
    Plain,
    Reply,
    Result,
    ScriptedServer,
    Stall,
    awaited,
    decision,
    resolved,
    waits,
)

NO_STORE = Error(-32012, "the store does not answer", status=503)
BUSY = Error(-32013, "too many calls are waiting", {"retryAfterMs": 300}, 503)
LIMITED = Error(-32002, "too many calls", {"retryAfterMs": 700}, 429)
SETTLED = Error(-32011, "decision `dec_1` does not wait: it is `approved`", {"id": "dec_1"})
UNTIL = datetime(2026, 2, 11, 14, tzinfo=UTC)

Told = list[Pending]
Form = Callable[[ScriptedServer, Sleeper, Told], str]


def _with(server: ScriptedServer, sleeper: Sleeper, told: Told) -> str:
    with (
        Client(server.url, sleep=sleeper.sleep, clock=sleeper) as client,
        governed(client, "Refund", on_wait=told.append) as step,
    ):
        assert step.settled is not None
        return step.settled.status


def _decorated(server: ScriptedServer, sleeper: Sleeper, told: Told) -> str:
    with Client(server.url, sleep=sleeper.sleep, clock=sleeper) as client:
        return governed(client, "Refund", on_wait=told.append)(lambda: "ran")()


def _async_with(server: ScriptedServer, sleeper: Sleeper, told: Told) -> str:
    async def tell(pending: Pending) -> None:
        told.append(pending)

    async def story() -> str:
        async with async_client(server, sleeper) as client, governed(client, "Refund", on_wait=tell) as step:
            assert step.settled is not None
            return step.settled.status

    return asyncio.run(story())


def _async_decorated(server: ScriptedServer, sleeper: Sleeper, told: Told) -> str:
    async def story() -> str:
        async with async_client(server, sleeper) as client:

            @governed(client, "Refund", on_wait=told.append)
            async def run() -> str:
                return "ran"

            return await run()

    return asyncio.run(story())


every_form = pytest.mark.parametrize("form", [_with, _decorated, _async_with, _async_decorated])


@pytest.fixture
def waiting(server: ScriptedServer, sleeper: Sleeper) -> ScriptedServer:
    """A server that asks for an approval, which nobody gives; waiting for it takes the time that was asked for."""

    def wait(params: Message) -> Message:
        sleeper.at += params["timeoutMs"]
        return awaited(params["id"])

    server.usual |= {"cstp.checkGuardrails": waits, "cstp.awaitDecision": wait, "cstp.resolveDecision": resolved}
    return server


def _then(server: ScriptedServer, *answers: Reply) -> None:
    """What comes after the check."""
    server.script.extend([Result(waits({"decisionId": "dec_1"})), *answers])


@every_form
@pytest.mark.parametrize("status", ["approved", "allowed"])
def test_a_step_waits_until_it_is_let_through(
    waiting: ScriptedServer, sleeper: Sleeper, form: Form, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It asks again as long as it is pending, says once what it waits for, runs when it is allowed, and reports."""
    caplog.set_level(logging.INFO, "cstp_server.client")
    _then(waiting, Result(awaited("dec_1")), Result(awaited("dec_1")), Result(awaited("dec_1", status)))
    told: Told = []
    assert form(waiting, sleeper, told) in (status, "ran")
    assert told == [Pending("approval", UNTIL, "dec_1")]
    waits_line, runs_line = caplog.messages
    assert "waits for an approval until 2026-02-11T14:00:00Z" in waits_line
    assert TRIPPED["message"] in waits_line
    assert status in runs_line
    assert waiting.methods == ["cstp.checkGuardrails", *["cstp.awaitDecision"] * 3, "cstp.reviewDecision"]


@every_form
@pytest.mark.parametrize("status", ["denied", "cancelled", "expired", "reviewed", "blocked"])
def test_a_step_that_is_turned_down_does_not_run(waiting: ScriptedServer, sleeper: Sleeper, form: Form, status: str) -> None:
    """The exception has the findings and the reason; nothing is reported."""
    _then(waiting, Result(awaited("dec_1", status, reason="not this week")))
    with pytest.raises(DecisionBlocked, match=f"decision `dec_1` is {status}: not this week") as stopped:
        form(waiting, sleeper, [])
    assert not isinstance(stopped.value, DecisionStillPending)
    assert [finding.tripwire_severity for finding in stopped.value.findings] == ["standard"]
    assert stopped.value.settled is not None
    assert "cstp.reviewDecision" not in waiting.methods
    again = pickle.loads(pickle.dumps(stopped.value))  # noqa: S301 - what was just pickled
    assert str(again) == str(stopped.value)


@every_form
def test_a_step_waits_no_longer_than_its_limit(waiting: ScriptedServer, sleeper: Sleeper, form: Form) -> None:
    """A minute by default, in calls that each wait for less than that; then it says that it still waits, and for what."""
    started = sleeper.at
    with pytest.raises(DecisionStillPending, match="still waits for an approval until 2026-02-11T14:00:00Z: Tripwire") as stopped:
        form(waiting, sleeper, [])
    assert stopped.value.pending is not None
    assert stopped.value.pending.decision_id == stopped.value.check.decision_id
    steps = [call["timeoutMs"] for call in waiting.params("cstp.awaitDecision")]
    assert (sum(steps), sleeper.at - started) == (60_000, 60_000)
    assert max(steps) < 60_000


@pytest.mark.parametrize("wait", [0, 0.0, None])
def test_a_step_that_is_not_to_wait_stops_at_once(waiting: ScriptedServer, client: Client, wait: float | None) -> None:
    """Nobody is told that it waits, because it does not."""
    told: Told = []
    with pytest.raises(DecisionStillPending), governed(client, "Refund", wait=wait, on_wait=told.append):
        pytest.fail("the body ran")
    assert (told, waiting.methods) == ([], ["cstp.checkGuardrails"])


@pytest.mark.parametrize("wait", [-1, float("nan")])
def test_a_limit_that_is_none_is_refused_where_it_is_said(client: Client, wait: float) -> None:
    """Before anything is asked."""
    with pytest.raises(ValueError, match="seconds"):
        governed(client, "Refund", wait=wait)
    with pytest.raises(ValueError, match="seconds"):
        client.await_decision("dec_1", wait)


@every_form
@pytest.mark.parametrize("trouble", [Drop(), NO_STORE, BUSY, LIMITED, Plain(502, "bad gateway"), Plain(503)])
def test_a_step_waits_through_what_passes(waiting: ScriptedServer, sleeper: Sleeper, form: Form, trouble: Reply) -> None:
    """A server that restarts, is overloaded or has lost its database for a while costs nothing but time."""
    _then(waiting, *[trouble] * 12, Result(awaited("dec_1")), trouble, Result(awaited("dec_1", "approved")))
    assert form(waiting, sleeper, []) in ("approved", "ran")


@every_form
def test_a_service_that_stays_away_lets_nothing_through(waiting: ScriptedServer, sleeper: Sleeper, form: Form) -> None:
    """The limit passes, the decision is as it was heard last, and the cause is told."""
    _then(waiting, *[NO_STORE] * 1000)
    started = sleeper.at
    with pytest.raises(DecisionStillPending) as stopped:
        form(waiting, sleeper, [])
    assert "the store does not answer" in str(stopped.value.__cause__)
    assert 50_000 <= sleeper.at - started <= 60_000


def test_open_is_no_way_around_a_decision_that_waits(waiting: ScriptedServer, client: Client) -> None:
    """A service that asked for an approval has answered: when it is gone then, the body does not run."""
    _then(waiting, *[Drop()] * 1000)
    with pytest.raises(DecisionStillPending) as stopped, governed(client, "Refund", unreachable="open"):
        pytest.fail("the body ran")
    assert isinstance(stopped.value.__cause__, Unreachable)


@every_form
@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Error(-32001, "no", {"required": ["agent"]}, 403), Forbidden),
        (Error(-32007, "no decision `dec_1`", {"id": "dec_1"}), DecisionNotFound),
        (Result(awaited("dec_1", "approved", allowed="true")), BadAnswer),
        (Result(awaited("dec_1", "approved", allowed=None)), BadAnswer),
        (Result({"id": "dec_1", "status": "approved"}), BadAnswer),
    ],
)
def test_what_does_not_pass_ends_the_wait(
    waiting: ScriptedServer, sleeper: Sleeper, form: Form, answer: Reply, raised: type[Exception]
) -> None:
    """The body does not run, and the error comes out as it is."""
    _then(waiting, answer)
    with pytest.raises(raised):
        form(waiting, sleeper, [])
    assert waiting.methods == ["cstp.checkGuardrails", "cstp.awaitDecision"]


def test_only_allowed_lets_a_step_through(waiting: ScriptedServer, client: Client) -> None:
    """A status that sounds like a yes is none without it."""
    _then(waiting, Result(awaited("dec_1", "approved", allowed=False)))
    with pytest.raises(DecisionBlocked), governed(client, "Refund"):
        pytest.fail("the body ran")


def test_who_cannot_be_told_does_not_run(waiting: ScriptedServer, client: Client) -> None:
    """What `on_wait` raises comes out, and nothing is waited for."""

    def refuse(pending: Pending) -> None:
        raise LookupError(pending.kind)

    with pytest.raises(LookupError, match="approval"), governed(client, "Refund", on_wait=refuse):
        pytest.fail("the body ran")
    assert waiting.methods == ["cstp.checkGuardrails"]


def test_a_step_that_is_cancelled_while_it_waits_does_not_run(waiting: ScriptedServer, sleeper: Sleeper) -> None:
    """The task ends cancelled; nothing is reported for a body that never began."""
    _then(waiting, Stall())

    async def story() -> bool:
        async with async_client(waiting, sleeper) as client:
            asked = asyncio.Event()

            async def work() -> None:
                async with governed(client, "Refund", on_wait=lambda pending: asked.set()):
                    pytest.fail("the body ran")

            task = asyncio.create_task(work())
            await asked.wait()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    assert asyncio.run(story())
    assert "cstp.reviewDecision" not in waiting.methods


def test_waiting_goes_on_for_as_long_as_was_asked(waiting: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """However long that is, and however often it takes a call."""
    started = sleeper.at
    answer = client.await_decision("dec_1", timeout=300)
    assert (answer.status, answer.allowed, answer.pending) == ("pending", False, Pending("approval", UNTIL, "dec_1"))
    assert sleeper.at - started == 300_000
    assert all(call["timeoutMs"] <= 60_000 for call in waiting.params("cstp.awaitDecision"))


def test_a_look_without_waiting_is_one_call(waiting: ScriptedServer, client: Client) -> None:
    """With no time to wait, how the decision stands is asked once."""
    assert client.await_decision("dec_1", timeout=0).status == "pending"
    assert waiting.params("cstp.awaitDecision") == [{"id": "dec_1", "timeoutMs": 0}]


def test_a_look_is_tried_as_often_as_any_call(waiting: ScriptedServer, client: Client) -> None:
    """What passes is borne even where there is no time to wait; not by a client that does not retry."""
    waiting.script.extend([Drop(), NO_STORE])
    assert client.await_decision("dec_1", timeout=0).status == "pending"
    waiting.script.append(Drop())
    with Client(waiting.url, retry=Retry(attempts=1)) as hasty, pytest.raises(Unreachable):
        hasty.await_decision("dec_1", timeout=0)


def test_a_server_that_answers_too_soon_is_not_flooded(server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """One that is about to end lets nobody wait: between two looks there is a pause."""
    server.usual["cstp.awaitDecision"] = lambda params: awaited(params["id"])
    assert client.await_decision("dec_1", timeout=10).status == "pending"
    assert len(server.calls) <= 102
    assert sum(sleeper.slept) == pytest.approx(10, abs=0.2)


def test_calls_that_wait_keep_no_other_call_waiting(waiting: ScriptedServer) -> None:
    """More of them than a client has connections for other calls, and a check is answered all the same."""
    waiting.script.extend([Stall()] * 130)
    waiting.usual["cstp.checkGuardrails"] = lambda params: waits(params) | {"allowed": True}

    async def story() -> bool:
        async with AsyncClient(waiting.url, timeout=20) as client:
            tasks = [asyncio.create_task(client.await_decision("dec_1", timeout=60)) for _ in range(130)]
            await asyncio.to_thread(waiting.await_calls, 130)
            check = await client.check("Refund")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return check.allowed

    assert asyncio.run(story())


@pytest.mark.parametrize("resolution", ["approve", "deny", "confirm", "cancel"])
def test_a_decision_is_settled_by_name(waiting: ScriptedServer, client: Client, sleeper: Sleeper, resolution: str) -> None:
    """Sync and async alike, with and without a note; the answer is typed."""
    answer = getattr(client, resolution)("dec_1", note="so be it")

    async def story() -> Any:
        async with async_client(waiting, sleeper) as other:
            return await getattr(other, resolution)("dec_1")

    assert asyncio.run(story()) == answer
    assert answer.resolved_at == datetime(2026, 2, 11, 13, 5, tzinfo=UTC)
    assert (answer.allowed, answer.resolved_by) == (resolution in ("approve", "confirm"), "olivia")
    assert waiting.params("cstp.resolveDecision") == [
        {"id": "dec_1", "resolution": resolution, "note": "so be it"},
        {"id": "dec_1", "resolution": resolution},
    ]


def test_a_second_look_that_refuses_is_told(waiting: ScriptedServer, client: Client) -> None:
    """An approval that came to nothing is an answer, with what stands against it."""
    waiting.usual["cstp.resolveDecision"] = lambda params: (
        resolved(params) | {"status": "denied", "allowed": False, "violations": [TRIPPED]}
    )
    answer = client.approve("dec_1")
    assert (answer.status, answer.allowed, answer.violations[0].guardrail) == ("denied", False, "max_refund")


@pytest.mark.parametrize("trouble", [Drop(), NO_STORE, Plain(502)])
def test_a_resolution_whose_answer_was_lost_is_found_on_record(waiting: ScriptedServer, client: Client, trouble: Reply) -> None:
    """The second delivery meets what the first one did: if that is what was asked for, it is the answer."""
    resolution = {"status": "approved", "by": "olivia", "at": "2026-02-11T13:05:00Z", "note": "so be it"}
    found = {"found": True, "decision": decision("dec_1", "approved", resolution=resolution)}
    waiting.script.extend([trouble, SETTLED, Result(found)])
    answer = client.approve("dec_1", note="so be it")
    assert (answer.status, answer.allowed, answer.resolved_by) == ("approved", True, "olivia")
    assert waiting.methods == ["cstp.resolveDecision", "cstp.resolveDecision", "cstp.getDecision"]


@pytest.mark.parametrize("resolution", ["deny", "cancel"])
def test_a_decision_that_was_settled_otherwise_is_a_conflict(waiting: ScriptedServer, client: Client, resolution: Any) -> None:
    """Somebody else was faster, and said something else."""
    found = {"found": True, "decision": decision("dec_1", "approved", resolution={"status": "approved", "by": "olivia"})}
    waiting.script.extend([Drop(), SETTLED, Result(found)])
    with pytest.raises(Conflict, match="does not wait"):
        client.resolve_decision("dec_1", resolution)


@pytest.mark.parametrize("before", [[], [BUSY], [LIMITED]])
def test_a_conflict_at_first_is_a_conflict(waiting: ScriptedServer, client: Client, before: list[Reply]) -> None:
    """Where no earlier delivery can have done it, nothing is looked up."""
    waiting.script.extend([*before, SETTLED])
    with pytest.raises(Conflict):
        client.approve("dec_1")
    assert "cstp.getDecision" not in waiting.methods


def test_hits_of_tripwires_are_typed(server: ScriptedServer, client: Client) -> None:
    """With the time of the last one, and who it was how often."""
    wire = {"name": "max_refund", "severity": "standard", "hits": 3, "shadowHits": 1, "lastHit": None, "agents": {"bot": 3}}
    server.usual["cstp.getTripwireStats"] = lambda params: {"total": 3, "tripwires": [wire]}
    stats = client.tripwire_stats(since="2026-02-11T00:00:00Z", agent="bot")
    (hits,) = stats.tripwires
    assert (stats.total, hits.name, hits.shadow_hits, hits.last_hit, hits.agents) == (3, "max_refund", 1, None, {"bot": 3})
    assert server.params("cstp.getTripwireStats") == [{"since": "2026-02-11T00:00:00Z", "agent": "bot"}]


def test_the_quality_of_the_reasoning_is_sent_along(server: ScriptedServer, client: Client) -> None:
    """By a check and by a governed step."""
    client.check("Refund", ctq=0.4)
    with governed(client, "Refund", ctq=0.4):
        pass
    assert [params["action"] for params in server.params("cstp.checkGuardrails")] == [{"description": "Refund", "ctq": 0.4}] * 2


def test_a_decision_tells_what_it_waits_for_and_how_it_was_settled(server: ScriptedServer, client: Client) -> None:
    """The one while it waits, the other afterwards."""
    resolution = {"status": "denied", "by": "olivia", "at": "2026-02-11T13:05:00Z", "reason": "no", "note": "no"}
    server.script.append(Result({"found": True, "decision": decision("dec_1", "pending", pending={"kind": "approval", "until": None})}))
    server.script.append(Result({"found": True, "decision": decision("dec_1", "denied", resolution=resolution)}))
    waiting, settled = client.get_decision("dec_1"), client.get_decision("dec_1")
    assert (waiting.pending, waiting.resolution) == (Pending("approval"), None)
    assert settled.pending is None
    assert settled.resolution is not None
    assert (settled.resolution.status, settled.resolution.by) == ("denied", "olivia")

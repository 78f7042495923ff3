"""`governed`: the check before, the body, and the report after, in all its forms."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cstp_server.client import Client, DecisionBlocked, StoreUnavailable, Unreachable, current_decision, governed
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import Drop, Error, Result, ScriptedServer, blocked, reviewed

FORBIDDEN = Error(-32001, "this takes the role `ci`", {"required": ["ci"]}, 403)


class Broken(Exception):
    """What goes wrong in a body."""


Body = Callable[[], Any]
Form = Callable[[ScriptedServer, Sleeper, Body], Any]


def _with(server: ScriptedServer, sleeper: Sleeper, body: Body) -> Any:
    with Client(server.url, sleep=sleeper.sleep, clock=sleeper) as client, governed(client, "Deploy"):
        return body()


def _decorated(server: ScriptedServer, sleeper: Sleeper, body: Body) -> Any:
    with Client(server.url, sleep=sleeper.sleep, clock=sleeper) as client:
        return governed(client, "Deploy")(body)()


def _async_with(server: ScriptedServer, sleeper: Sleeper, body: Body) -> Any:
    async def story() -> Any:
        async with async_client(server, sleeper) as client, governed(client, "Deploy"):
            return body()

    return asyncio.run(story())


def _async_decorated(server: ScriptedServer, sleeper: Sleeper, body: Body) -> Any:
    async def story() -> Any:
        async with async_client(server, sleeper) as client:

            @governed(client, "Deploy")
            async def run() -> Any:
                return body()

            return await run()

    return asyncio.run(story())


every_form = pytest.mark.parametrize("form", [_with, _decorated, _async_with, _async_decorated])


def _raise(error: BaseException) -> Any:
    raise error


@every_form
def test_a_body_that_ends_is_reported_as_success(server: ScriptedServer, sleeper: Sleeper, form: Form) -> None:
    """The result comes out, and the outcome is reported for the decision that was checked."""
    assert form(server, sleeper, lambda: "done") == "done"
    (check,) = server.params("cstp.checkGuardrails")
    assert server.params("cstp.reviewDecision") == [{"id": check["decisionId"], "outcome": "success"}]


@every_form
def test_a_body_that_raises_is_reported_as_failure(server: ScriptedServer, sleeper: Sleeper, form: Form) -> None:
    """The very exception comes out, and the report names its class."""
    error = Broken("no")
    with pytest.raises(Broken) as raised:
        form(server, sleeper, lambda: _raise(error))
    assert raised.value is error
    (review,) = server.params("cstp.reviewDecision")
    assert (review["outcome"], review["severity"], review["errorType"]) == ("failure", "medium", "Broken")


@every_form
def test_a_blocked_decision_does_not_run(server: ScriptedServer, sleeper: Sleeper, form: Form) -> None:
    """The body is not entered, nothing is reported, and the exception says why and what would help."""
    server.usual["cstp.checkGuardrails"] = blocked
    ran: list[bool] = []
    with pytest.raises(DecisionBlocked, match=r"5/5 recent tooling decisions failed.*wait until 2026-02-11T13:30:00") as stopped:
        form(server, sleeper, lambda: ran.append(True))
    assert ran == []
    assert stopped.value.findings[0].scope == "category:tooling"
    assert stopped.value.check.intervention == "block"
    assert server.methods == ["cstp.checkGuardrails"]


@every_form
@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(1)])
def test_a_body_that_is_cut_short_is_abandoned(server: ScriptedServer, sleeper: Sleeper, form: Form, error: BaseException) -> None:
    """Interruption and cancellation are no failures; they go on as they were."""
    with pytest.raises(type(error)):
        form(server, sleeper, lambda: _raise(error))
    (review,) = server.params("cstp.reviewDecision")
    assert review == {"id": review["id"], "outcome": "abandoned", "errorType": type(error).__name__}


@every_form
def test_a_report_that_fails_hides_neither_result_nor_exception(
    server: ScriptedServer, sleeper: Sleeper, form: Form, caplog: pytest.LogCaptureFixture
) -> None:
    """The server refuses the reviews: the result and the exception come out all the same, and the log says what was lost."""
    server.usual["cstp.reviewDecision"] = lambda params: {"unreadable": True}
    assert form(server, sleeper, lambda: "done") == "done"
    with pytest.raises(Broken):
        form(server, sleeper, lambda: _raise(Broken()))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "could not be reported" in caplog.text


@every_form
def test_an_unreachable_service_fails_closed(idle_server: ScriptedServer, sleeper: Sleeper, form: Form) -> None:
    """Nobody answers the check: the body does not run."""
    ran: list[bool] = []
    with pytest.raises(Unreachable):
        form(idle_server, sleeper, lambda: ran.append(True))
    assert ran == []


def test_the_body_may_say_how_it_went(server: ScriptedServer, client: Client) -> None:
    """`outcome` replaces the success of a body that ends; its last word counts."""
    with governed(client, "Migrate") as decision:
        decision.outcome("failure")
        decision.outcome("partial", notes="11 of 12", severity="low")
    assert decision.review is not None
    assert server.params("cstp.reviewDecision") == [{"id": decision.id, "outcome": "partial", "notes": "11 of 12", "severity": "low"}]


@pytest.mark.parametrize(("said", "reported"), [("success", "failure"), ("partial", "partial"), ("abandoned", "abandoned")])
def test_an_exception_overrules_success_and_nothing_else(server: ScriptedServer, client: Client, said: Any, reported: str) -> None:
    """What the body said stands when it then raises, unless it said success."""

    @governed(client, "Migrate")
    def migrate() -> None:
        current_decision().outcome(said)
        raise Broken

    with pytest.raises(Broken):
        migrate()
    assert server.params("cstp.reviewDecision")[0]["outcome"] == reported


def test_an_outcome_that_is_none_is_refused_where_it_is_said(server: ScriptedServer, client: Client) -> None:
    """The mistake shows in the body, and names the outcomes there are."""
    misspelt: Any = "sucess"
    with pytest.raises(ValueError, match="`success`, `partial`"), governed(client, "Migrate") as decision:
        decision.outcome(misspelt)


def test_a_decorated_function_reaches_its_own_decision(server: ScriptedServer, client: Client) -> None:
    """`current_decision` is the innermost running function's, and there is none outside."""

    @governed(client, "Inner")
    def inner() -> str:
        current_decision().outcome("partial")
        return current_decision().id

    @governed(client, "Outer")
    def outer() -> tuple[str, str]:
        return current_decision().id, inner()

    ids = outer()
    assert [(review["id"], review["outcome"]) for review in server.params("cstp.reviewDecision")] == [
        (ids[1], "partial"),
        (ids[0], "success"),
    ]
    with pytest.raises(LookupError):
        current_decision()


def test_concurrent_calls_of_one_async_function_are_decisions_of_their_own(server: ScriptedServer, sleeper: Sleeper) -> None:
    """Each call has its own id, its own parameters and its own outcome."""

    async def story() -> None:
        async with async_client(server, sleeper) as client:

            @governed(client, "Refund", parameters=lambda args, kwargs: {"amount": args[0], **kwargs})
            async def refund(amount: int, *, order: int) -> None:
                if amount == 2:
                    current_decision().outcome("partial")

            await asyncio.gather(*(refund(amount, order=amount * 10) for amount in range(4)))

    asyncio.run(story())
    checks = {check["decisionId"]: check["action"]["parameters"] for check in server.params("cstp.checkGuardrails")}
    outcomes = {checks[review["id"]]["amount"]: review["outcome"] for review in server.params("cstp.reviewDecision")}
    assert outcomes == {0: "success", 1: "success", 2: "partial", 3: "success"}
    assert sorted(parameters["order"] for parameters in checks.values()) == [0, 10, 20, 30]


def test_a_refused_step_inside_abandons_the_step_around_it(server: ScriptedServer, client: Client) -> None:
    """A denial is no failure of the agent's, so it does not count as one in the outer decision."""
    server.script.append(Result({"allowed": True, "intervention": "allow"}))
    server.usual["cstp.checkGuardrails"] = blocked
    with pytest.raises(DecisionBlocked), governed(client, "Outer"), governed(client, "Inner"):
        pytest.fail("the inner body ran")
    (review,) = server.params("cstp.reviewDecision")
    assert (review["outcome"], review["errorType"]) == ("abandoned", "DecisionBlocked")


def test_a_cancelled_task_reports_and_stays_cancelled(server: ScriptedServer, sleeper: Sleeper) -> None:
    """Cancelled in the middle of its body, a task reports `abandoned` and ends cancelled."""

    async def story() -> bool:
        async with async_client(server, sleeper) as client:
            inside = asyncio.Event()

            async def work() -> None:
                async with governed(client, "Deploy"):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(work())
            await inside.wait()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    assert asyncio.run(story())
    assert [review["outcome"] for review in server.params("cstp.reviewDecision")] == ["abandoned"]


def test_who_is_being_stopped_is_not_kept_waiting_by_retries(server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """After an interruption the report is tried once."""
    server.script.extend([Result({"allowed": True, "intervention": "allow"}), Drop()])
    with pytest.raises(KeyboardInterrupt), governed(client, "Deploy") as decision:
        raise KeyboardInterrupt
    assert isinstance(decision.report_error, Unreachable)
    assert sleeper.slept == []


@pytest.mark.parametrize("severity", ["low", "critical"])
def test_the_severity_of_a_failure_is_a_choice(server: ScriptedServer, client: Client, severity: Any) -> None:
    """`failure_severity` is what an exception is reported with."""
    with pytest.raises(Broken), governed(client, "Deploy", failure_severity=severity):
        raise Broken
    assert server.params("cstp.reviewDecision")[0]["severity"] == severity


def test_a_token_that_may_not_review_is_said_once(server: ScriptedServer, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The body's result stands, one warning says what to do, and every handle has the reason."""
    server.script.extend([Result({"allowed": True, "intervention": "allow"}), FORBIDDEN] * 2)
    errors = []
    for _ in range(2):
        with governed(client, "Deploy") as decision:
            pass
        errors.append(type(decision.report_error).__name__)
    assert errors == ["Forbidden", "Forbidden"]
    (warning,) = caplog.messages
    assert "`reviewer=`" in warning
    assert "`ci`" in warning


def test_a_reviewer_with_another_token_reports(server: ScriptedServer, client: Client) -> None:
    """The check goes out with one token and the report with the other."""
    with Client(server.url, "cstp_ci") as reviewer, governed(client, "Deploy", reviewer=reviewer):
        pass
    assert [headers["authorization"] for headers in server.headers] == ["Bearer cstp_secret", "Bearer cstp_ci"]


def test_the_outcome_may_be_left_to_somebody_else(server: ScriptedServer, client: Client) -> None:
    """With `report=False` nothing is reported, and the handle has the id to pass on."""
    with governed(client, "Deploy", report=False) as decision:
        pass
    assert server.methods == ["cstp.checkGuardrails"]
    assert decision.id == server.params("cstp.checkGuardrails")[0]["decisionId"]


def test_open_runs_ungoverned_and_reports_the_action_when_the_service_is_back(
    idle_server: ScriptedServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The body runs, the handle and the log say so, and the report describes the decision that was never checked."""
    with governed(client, "Deploy", category="deployment", agent="deployer", unreachable="open") as decision:
        idle_server.start()
    assert decision.ungoverned
    assert decision.check is None
    assert "UNGOVERNED" in caplog.text
    assert idle_server.params("cstp.reviewDecision") == [
        {
            "id": decision.id,
            "outcome": "success",
            "decision": {"action": {"description": "Deploy", "category": "deployment"}, "agent": {"id": "deployer"}},
        }
    ]


def test_open_is_no_way_around_a_service_that_cannot_decide(server: ScriptedServer, client: Client) -> None:
    """A service whose database is down has answered: the body does not run, whatever the choice."""
    server.script.extend([Error(-32012, "the store does not answer", status=503)] * 20)
    with pytest.raises(StoreUnavailable), governed(client, "Deploy", unreachable="open"):
        pytest.fail("the body ran")


def test_open_async_runs_ungoverned_too(idle_server: ScriptedServer, sleeper: Sleeper, caplog: pytest.LogCaptureFixture) -> None:
    """The async form makes the same choice, and is not held up by a report that reaches nobody."""

    async def story() -> bool:
        async with async_client(idle_server, sleeper) as client, governed(client, "Deploy", unreachable="open") as decision:
            slept = len(sleeper.slept)
        return decision.ungoverned and decision.report_error is not None and len(sleeper.slept) == slept

    assert asyncio.run(story())


def test_the_wrong_client_or_function_is_refused_before_anything_runs(client: Client, sleeper: Sleeper, server: ScriptedServer) -> None:
    """Sync goes with sync and async with async; generators and shared ids are refused where they are decorated."""

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    def function() -> None: ...

    other = async_client(server, sleeper)
    mixed: Any = other
    awaitable: Any = function
    with pytest.raises(TypeError, match="AsyncClient"):
        governed(client, "Deploy")(coroutine)
    with pytest.raises(TypeError, match="not an `async def`"):
        governed(other, "Deploy")(awaitable)
    with pytest.raises(TypeError, match="generator"):
        governed(client, "Deploy")(generator)
    with pytest.raises(TypeError, match="decision_id"):
        governed(client, "Deploy", decision_id="dec_1")(function)
    with pytest.raises(TypeError, match="both"):
        governed(client, "Deploy", reviewer=mixed)
    with pytest.raises(TypeError, match="mapping"), governed(client, "Deploy", parameters=lambda args, kwargs: {}):
        pytest.fail("the body ran")
    assert server.calls == []
    asyncio.run(other.aclose())


def test_one_governed_step_is_not_entered_twice_at_once(server: ScriptedServer, client: Client) -> None:
    """Entered again while it runs it refuses; afterwards it may be used again, as a new decision."""
    step = governed(client, "Deploy")
    with step as first, pytest.raises(RuntimeError, match="one for each decision"), step:
        pytest.fail("the body ran")
    with step as second:
        pass
    assert first.id != second.id
    assert len(server.params("cstp.reviewDecision")) == 2


def test_a_blocked_step_may_be_tried_again(server: ScriptedServer, client: Client) -> None:
    """A step that was refused is not stuck."""
    server.script.append(Result(blocked({})))
    step = governed(client, "Deploy")
    with pytest.raises(DecisionBlocked), step:
        pytest.fail("the body ran")
    with step as decision:
        pass
    assert decision.check is not None


def test_a_decorated_function_keeps_its_name_and_arguments(server: ScriptedServer, client: Client) -> None:
    """What is decorated is called, named and documented as before."""

    @governed(client, "Add")
    def add(left: int, right: int = 2) -> int:
        """Add two numbers."""
        return left + right

    assert add(1, right=4) == 5
    assert (add.__name__, add.__doc__) == ("add", "Add two numbers.")


def test_a_report_outlives_a_second_cancellation(server: ScriptedServer, sleeper: Sleeper) -> None:
    """A task that is cancelled while it reports ends at once; the report still arrives."""

    async def story() -> None:
        async with async_client(server, sleeper) as client:
            tasks: list[asyncio.Task[None]] = []
            arrived = asyncio.Event()
            loop = asyncio.get_running_loop()

            def take(params: dict[str, Any]) -> dict[str, Any]:
                loop.call_soon_threadsafe(tasks[0].cancel)
                loop.call_soon_threadsafe(arrived.set)
                return reviewed(params)

            server.usual["cstp.reviewDecision"] = take

            async def work() -> None:
                async with governed(client, "Deploy"):
                    pass

            tasks.append(asyncio.create_task(work()))
            await asyncio.wait(tasks)
            await arrived.wait()

    asyncio.run(story())
    assert [review["outcome"] for review in server.params("cstp.reviewDecision")] == ["success"]

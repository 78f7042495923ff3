"""Governed steps that wait, with a running service and people who answer, or do not."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cstp_server.client import AsyncClient, Client, DecisionBlocked, DecisionStillPending, Pending, governed
from cstp_server.domain.findings import Intervention
from cstp_server.domain.guardrails import Guardrail
from tests.conftest import StartServer
from tests.rpc.edge import Edge
from tests.rpc.memory import POLICY as EDGE_POLICY
from tests.rpc.memory import START
from tests.server import RunningServer

POLICY = """
circuit_breakers:
  - {scope: "category:mail", on_open: {effect: confirm}}
  - {scope: "agent:*", failure_threshold: 3}
tripwires: {max_refund: 500}
"""
REASON = "Tripwire triggered: amount exceeds max_refund of 500"
Answering = Callable[[Client, Pending], object]


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> RunningServer:
    """The service with a tripwire, and a circuit that wants confirmation."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    return start_server(config=policy)


@contextmanager
def _meanwhile(server: RunningServer, token: str, answer: Answering) -> Iterator[Callable[[Pending], None]]:
    """Somebody else, who answers as soon as they are told."""
    threads: list[threading.Thread] = []

    def tell(pending: Pending) -> None:
        def work() -> None:
            with Client(server.url, token) as person:
                answer(person, pending)

        threads.append(threading.Thread(target=work))
        threads[0].start()

    yield tell
    for thread in threads:
        thread.join(30)


def _id(pending: Pending) -> str:
    assert pending.decision_id is not None
    return pending.decision_id


def _approve(person: Client, pending: Pending) -> None:
    assert person.approve(_id(pending)).allowed


def _deny(person: Client, pending: Pending) -> None:
    person.deny(_id(pending), note="not this customer")


def _stop_then_approve(person: Client, pending: Pending) -> None:
    person.trip_circuit("agent:refund-bot", reason="it repeats itself")
    assert not person.approve(_id(pending)).allowed


def test_a_step_runs_when_it_is_approved(server: RunningServer) -> None:
    """It waits, runs once, and its outcome is on record; the next one asks again."""
    bot, olivia = server.token("bot", "agent", "ci", agent="refund-bot"), server.token("olivia", "ops")
    ran: list[int] = []
    with Client(server.url, bot) as client, _meanwhile(server, olivia, _approve) as tell:

        @governed(client, "Refund an order", type="issue_refund", parameters=lambda args, _: {"amount": args[0]}, on_wait=tell)
        def refund(amount: int) -> None:
            ran.append(amount)

        refund(1000)
        refund(400)
        (second, first) = client.list_decisions()
        assert ran == [1000, 400]
        assert (first.outcome, first.resolution.status if first.resolution else None) == ("success", "approved")
        assert (second.outcome, second.resolution) == ("success", None)
        again = governed(client, "Refund", type="issue_refund", parameters={"amount": 1000}, wait=None)
        with pytest.raises(DecisionStillPending), again:
            pytest.fail("the body ran")


@pytest.mark.parametrize(
    ("answer", "said"), [(_deny, "is denied: not this customer"), (_stop_then_approve, "is denied: looked at again: .*it repeats itself")]
)
def test_a_step_that_people_turn_down_does_not_run(server: RunningServer, answer: Answering, said: str) -> None:
    """Be it that they say no, or that something else does when they say yes."""
    with (
        _meanwhile(server, server.token("olivia", "ops"), answer) as tell,
        Client(server.url, server.token("bot", "agent", agent="refund-bot")) as client,
        pytest.raises(DecisionBlocked, match=said) as stopped,
        governed(client, "Refund", type="issue_refund", parameters={"amount": 1000}, on_wait=tell),
    ):
        pytest.fail("the body ran")
    assert [finding.message for finding in stopped.value.findings] == [REASON]


def test_a_step_outlasts_a_restart_of_the_service(server: RunningServer) -> None:
    """Killed while it waits, the service is asked again when it is back, and the approval it then gets lets the step run."""
    bot, olivia = server.token("bot", "agent", agent="refund-bot"), server.token("olivia", "ops")

    def restart_then_approve(person: Client, pending: Pending) -> None:
        server.restart()
        _approve(person, pending)

    with (
        _meanwhile(server, olivia, restart_then_approve) as tell,
        Client(server.url, bot) as client,
        governed(client, "Refund", type="issue_refund", parameters={"amount": 1000}, on_wait=tell, report=False) as step,
    ):
        assert step.settled is not None
        assert step.settled.status == "approved"


def test_a_step_outlasts_a_service_that_ends_in_order(server: RunningServer) -> None:
    """Told to end, the service lets nobody wait any longer, and ends; the step takes up its waiting when it is back."""
    bot, olivia = server.token("bot", "agent", agent="refund-bot"), server.token("olivia", "ops")

    def end_then_approve(person: Client, pending: Pending) -> None:
        server.terminate()
        server.start()
        _approve(person, pending)

    with (
        _meanwhile(server, olivia, end_then_approve) as tell,
        Client(server.url, bot) as client,
        governed(client, "Refund", type="issue_refund", parameters={"amount": 1000}, on_wait=tell, report=False) as step,
    ):
        assert step.settled is not None


def test_nobody_answers_and_the_step_does_not_run(start_server: StartServer, tmp_path: Path) -> None:
    """The approval's time is over before the step's own limit."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY + "postures: {approval_ttl_ms: 400}\n")
    server = start_server(config=policy)
    with (
        Client(server.url) as client,
        pytest.raises(DecisionBlocked, match="is expired: the time for an approval has run out"),
        governed(client, "Refund", type="issue_refund", parameters={"amount": 1000}),
    ):
        pytest.fail("the body ran")


def test_waiting_is_taken_up_again_under_the_same_id(server: RunningServer) -> None:
    """A step that gave up goes on waiting in the service; asked again under its id, it runs when it has been approved."""
    with Client(server.url) as client:

        def step(wait: float) -> str:
            with governed(client, "Refund", type="issue_refund", parameters={"amount": 1000}, decision_id="order-7", wait=wait) as decision:
                assert decision.settled is not None
                return decision.settled.status

        with pytest.raises(DecisionStillPending):
            step(0.2)
        client.approve("order-7")
        assert step(10) == "approved"


def test_an_agent_confirms_for_its_user(server: RunningServer) -> None:
    """Many async steps wait at once, and each runs when its own user has said yes; the one whose user did not is not run."""
    with Client(server.url) as operator:
        operator.trip_circuit("category:mail", reason="an odd letter")
    ran: list[int] = []

    async def story() -> list[BaseException | None]:
        async with AsyncClient(server.url) as client:

            async def ask_the_user(pending: Pending) -> None:
                number = numbers[_id(pending)]
                await (client.cancel(_id(pending), note="no, thanks") if number == 3 else client.confirm(_id(pending)))

            async def write(number: int) -> None:
                step = governed(client, "Write", category="mail", decision_id=f"letter-{number}", on_wait=ask_the_user)
                async with step:
                    ran.append(number)

            numbers = {f"letter-{number}": number for number in range(8)}
            return await asyncio.gather(*map(write, range(8)), return_exceptions=True)

    outcomes = asyncio.run(story())
    assert sorted(ran) == [0, 1, 2, 4, 5, 6, 7]
    assert [type(outcome).__name__ for outcome in outcomes if outcome is not None] == ["DecisionBlocked"]
    assert "is cancelled: no, thanks" in str(outcomes[3])


def test_a_delayed_step_runs_when_its_cancel_window_is_over() -> None:
    """Nobody cancels it, so it goes on by itself, and not before its time."""
    edge = Edge()
    rule = Guardrail("slowly", "", Intervention.DELAY, "not so fast")
    edge.store.policy = replace(EDGE_POLICY, guardrails=(rule,), rule_groups=())

    async def story() -> str:
        transport = httpx.ASGITransport(edge.app, client=("127.0.0.1", 4711))
        async with AsyncClient("http://127.0.0.1:8787", transport=transport) as client, governed(client, "Deploy") as step:
            assert edge.clock.at == START + 5_000
            assert step.settled is not None
            return step.settled.status

    assert asyncio.run(story()) == "allowed"

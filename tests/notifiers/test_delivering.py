"""From the outbox to real receivers: nothing is lost, nothing is delayed elsewhere, whatever a receiver does (SPEC 11)."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select

from cstp_server.clock import Clock, SystemClock
from cstp_server.domain.alerts import AlertChannel
from cstp_server.notifiers.channel import Channel, Message
from cstp_server.notifiers.channels import open_channel
from cstp_server.notifiers.delivering import Deliverer
from cstp_server.policy.compiled import Policy
from cstp_server.services.notifying import LONGEST_MS, QUIET_MS
from cstp_server.storage import tables
from cstp_server.storage.outbox import letters, retry
from tests.notifiers.conftest import MakeReceiver
from tests.notifiers.receiver import Answer, Receiver, huge, redirect, reset, rubbish, status
from tests.services.world import World, checking, moving, policy_of, reviewing, tripping
from tests.storage.conftest import MakeWorld

TOOLING = "category:tooling"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SCOPES = [f"category:c{number}" for number in range(5)]


@dataclass(slots=True)
class Counted:
    """What became of alerts, as it was counted."""

    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    lags: list[float] = field(default_factory=list)

    def notified(self, channel: str, result: str, alerts: int) -> None:
        self.results[channel, result] += alerts

    def notified_after(self, seconds: float) -> None:
        self.lags.append(seconds)


def policy(*receivers: tuple[str, Receiver], **setup: Any) -> Policy:
    channels = [
        {"name": name, "type": "webhook", "url": receiver.url, "secret_env": "SECRET", "allow_private": True, "timeout_ms": 500, **setup}
        for name, receiver in receivers
    ]
    scopes = [TOOLING, *SCOPES]
    circuits = [{"scope": scope, "failure_threshold": 1} for scope in scopes]
    return policy_of(circuit_breakers=circuits, notifications={"channels": channels})


def opened(channel: AlertChannel) -> Channel:
    return open_channel(channel, {"SECRET": SECRET}.get)


@contextlib.asynccontextmanager
async def delivering(
    world: World, counted: Counted | None = None, clock: Clock | None = None, open: Callable[[AlertChannel], Channel] = opened
) -> AsyncIterator[Deliverer]:
    """A process that sends what is in the world's outbox."""
    store = world.store
    deliverer = Deliverer(
        store.outbox,
        store.transactor,
        lambda: world.policy,
        open,
        clock if clock is not None else world.clock,
        counted if counted is not None else Counted(),
        "https://cstp.example.org",
    )
    store.transactor.on_committed = deliverer.note
    deliverer.start()
    try:
        yield deliverer
    finally:
        await deliverer.stop()


async def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the receiver is a thread of its own
                await asyncio.sleep(0.02)
    assert condition(), f"waited in vain for {what}"


def waiting(world: World, *, dead: bool = False) -> list[tuple[str, str]]:
    with world.connected() as connection:
        return [(letter.channel, letter.type) for letter in letters(connection, dead=dead, limit=1_000)]


async def open_all(world: World, *scopes: str) -> None:
    for scope in scopes or SCOPES:
        await world.store.transactor.run(tripping(scope))


def test_an_alert_arrives_at_every_channel_and_leaves_the_outbox(make_world: MakeWorld, make_receiver: MakeReceiver) -> None:
    """Once each, signed, within moments, and it is on record and counted that it did."""
    one, two = make_receiver(), make_receiver()
    world = make_world(policy(("one", one), ("two", two)), SystemClock())
    counted = Counted()

    async def run() -> None:
        async with delivering(world, counted):
            await world.store.transactor.run(checking("a"))
            await world.store.transactor.run(reviewing("a", "failure"))
            await until(lambda: not waiting(world) and len(counted.lags) == 2, "the outbox to be empty")

    world.do(run())
    assert (one.types, two.types) == (["circuit.opened"], ["circuit.opened"])
    assert one.received[0].headers["webhook-signature"].startswith("v1,")
    assert one.received[0].json["data"]["link"] == "https://cstp.example.org"
    assert sorted(event.subject for event in world.events("notification.sent")) == ["one", "two"]
    assert counted.results == {("one", "sent"): 1, ("two", "sent"): 1}
    assert max(counted.lags) < 5


@pytest.mark.parametrize("way", ["hang", "drip", "fail", "redirect", "rubbish", "reset", "leave alone"])
def test_a_bad_receiver_loses_nothing_and_delays_nothing_elsewhere(make_world: MakeWorld, make_receiver: MakeReceiver, way: str) -> None:
    """The good one has all of its alerts while the bad one has taken none; once that is better, it gets every one of them."""
    good, bad, elsewhere = make_receiver(), make_receiver(), make_receiver()
    answers: dict[str, Answer] = {
        "hang": bad.hang,
        "drip": bad.drip,
        "fail": status(500),
        "redirect": redirect(elsewhere.url),
        "rubbish": rubbish,
        "reset": reset,
        "leave alone": status(429, "Retry-After: 1"),
    }
    bad.answer = answers[way]
    world = make_world(policy(("good", good), ("bad", bad)), SystemClock())

    async def run() -> None:
        async with delivering(world):
            await open_all(world)
            await until(lambda: len(good.received) == len(SCOPES), "the good receiver", 10)
            await until(lambda: len(bad.received) >= 1, "an attempt at the bad one", 10)
            await until(lambda: waiting(world) == [("bad", "circuit.forced")] * len(SCOPES), "only the bad one's to be left", 10)
            bad.answer = status(204)
            before = len(bad.received)
            with world.connected() as connection, connection.begin():
                for letter in letters(connection, dead=False, limit=100):
                    retry(connection, letter.id, world.clock)
            await until(lambda: not waiting(world), "the outbox to be empty", 30)
            assert {received.json["data"]["subject"] for received in bad.received[before:]} == set(SCOPES)

    world.do(run())
    assert elsewhere.received == []
    assert waiting(world, dead=True) == []


def test_an_answer_that_is_huge_is_an_answer(make_world: MakeWorld, make_receiver: MakeReceiver) -> None:
    """Each alert arrives once."""
    receiver = make_receiver(answer=huge)
    world = make_world(policy(("ops", receiver)), SystemClock())

    async def run() -> None:
        async with delivering(world):
            await open_all(world)
            await until(lambda: not waiting(world), "the outbox to be empty")

    world.do(run())
    assert len(receiver.received) == len(SCOPES)


def test_what_a_subject_does_within_a_minute_is_one_message_more(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """The first at once; then nothing; then all the rest in one, with its latest state and how much was held back."""
    world = sqlite_world(policy(("ops", receiver)))

    async def run() -> None:
        async with delivering(world, clock=SystemClock()):
            await open_all(world, TOOLING)
            await until(lambda: len(receiver.received) == 1, "the first")
            for _ in range(3):
                await world.store.transactor.run(moving(TOOLING))
                await open_all(world, TOOLING)
            await open_all(world, SCOPES[0])
            await until(lambda: len(receiver.received) == 2, "another subject's")
            await asyncio.sleep(1.5)
            assert len(receiver.received) == 2
            world.hand.advance(QUIET_MS)
            await until(lambda: len(receiver.received) == 3, "the rest")

    world.do(run())
    last = receiver.received[2].json
    assert (last["type"], last["data"]["subject"], last["data"]["heldBack"]["count"]) == ("circuit.forced", TOOLING, 5)
    assert [event["type"] for event in last["data"]["heldBack"]["newest"]] == ["circuit.closed", "circuit.forced"] * 2 + ["circuit.closed"]
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 3


def test_the_same_message_keeps_its_id_until_it_has_arrived(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """A receiver that took it and could not say so knows it again; each attempt is signed anew."""
    receiver.answer = status(500)
    world = sqlite_world(policy(("ops", receiver)))

    async def run() -> None:
        async with delivering(world, clock=SystemClock()):
            await open_all(world, TOOLING)
            await until(lambda: len(receiver.received) == 1, "the first attempt")
            await until(lambda: len(world.events("notification")) == 0 and _attempts(world) == [1], "its failure to be written down")
            world.hand.advance(10_000)
            await until(lambda: len(receiver.received) == 2, "the second attempt")

    world.do(run())
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1


def _attempts(world: World) -> list[int]:
    with world.connected() as connection:
        return [letter.attempts for letter in letters(connection, dead=False, limit=100)]


def test_attempts_become_rarer(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """Twice as long each time, give or take a fifth, and never longer than an hour; after a day it is given up."""
    receiver.answer = status(500)
    world = sqlite_world(policy(("ops", receiver)))
    waits: list[int] = []

    async def run() -> None:
        async with delivering(world, clock=SystemClock()):
            await open_all(world, TOOLING)
            for attempt in range(1, 5):
                await until(lambda expected=attempt: _attempts(world) == [expected], f"attempt {attempt}")  # type: ignore[misc]  # bound per round
                waits.append(_gate(world) - world.hand.time)
                world.hand.advance(waits[-1])

    world.do(run())
    for wait, expected in zip(waits, (5_000, 10_000, 20_000, 40_000), strict=True):
        assert 0.8 * expected <= wait <= 1.2 * expected


def _gate(world: World) -> int:
    with world.connected() as connection:
        found: int = connection.execute(select(tables.outbox_gates.c.not_before)).scalar_one()
        return found


def test_a_receiver_that_is_gone_for_good_gets_no_second_message(make_world: MakeWorld, receiver: Receiver) -> None:
    """410: in the list of the dead at once, on record, counted; asked for again, it is sent again."""
    receiver.answer = status(410)
    world = make_world(policy(("ops", receiver)), SystemClock())
    counted = Counted()

    async def run() -> None:
        async with delivering(world, counted):
            await open_all(world, TOOLING)
            await until(lambda: waiting(world, dead=True) == [("ops", "circuit.forced")], "it to be given up")
            await until(lambda: counted.results["ops", "given_up"] == 1, "it to be counted")
            receiver.answer = status(204)
            with world.connected() as connection, connection.begin():
                assert retry(connection, None, world.clock) == 1
            await until(lambda: not waiting(world), "the outbox to be empty")

    world.do(run())
    assert len(receiver.received) == 2
    assert len(world.events("notification.given_up")) == 1


def test_what_a_day_of_attempts_has_not_delivered_is_given_up(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """With the last reason, in the list of the dead."""
    receiver.answer = status(500)
    world = sqlite_world(policy(("ops", receiver)))

    async def run() -> None:
        async with delivering(world, clock=SystemClock()):
            await open_all(world, TOOLING)
            await until(lambda: _attempts(world) == [1], "an attempt")
            world.hand.advance(LONGEST_MS)
            await until(lambda: waiting(world, dead=True) == [("ops", "circuit.forced")], "it to be given up")

    world.do(run())


def test_a_channel_that_is_changed_goes_on_as_it_is_now(make_world: MakeWorld, make_receiver: MakeReceiver) -> None:
    """A reload leads it elsewhere without a restart; what waited goes there, and a channel that is new is served."""
    before, after, new = make_receiver(answer=status(500)), make_receiver(), make_receiver()
    world = make_world(policy(("ops", before)), SystemClock())

    async def run() -> None:
        async with delivering(world):
            await open_all(world, TOOLING)
            await until(lambda: len(before.received) == 1, "the first attempt")
            world.policy = policy(("ops", after), ("new", new))
            await until(lambda: len(after.received) == 1, "what waited", 30)
            await open_all(world, SCOPES[0])
            await until(lambda: len(new.received) == 1 and len(after.received) == 2, "the next")

    world.do(run())


def test_a_channel_that_cannot_be_opened_keeps_what_waits_for_it(make_world: MakeWorld, receiver: Receiver) -> None:
    """Its secret is missing: the others are served, and its alerts wait with the reason."""
    good = policy(("ops", receiver))
    broken = replace(good.alerts.channels[0], name="broken", secret_env="MISSING")
    alerts = type(good.alerts)((*good.alerts.channels, broken))
    world = make_world(replace(good, alerts=alerts), SystemClock())

    async def run() -> None:
        async with delivering(world):
            await open_all(world, TOOLING)
            await until(lambda: len(receiver.received) == 1 and _attempts(world) == [1], "both to be tried")

    world.do(run())
    assert waiting(world) == [("broken", "circuit.forced")]


class Faulty:
    """A channel that cannot handle some messages."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, message: Message) -> None:
        if message.payload["data"]["subject"] == SCOPES[0]:
            raise KeyError("hidden")
        await self._channel.send(message)


def test_a_message_that_a_channel_chokes_on_stands_in_nobodys_way(make_world: MakeWorld, receiver: Receiver) -> None:
    """It is put off like one that did not arrive, with the kind of fault and no more; the other subjects of the channel are served."""
    world = make_world(policy(("ops", receiver)), SystemClock())

    async def run() -> None:
        async with delivering(world, open=lambda setup: Faulty(opened(setup))):
            await open_all(world)
            await until(lambda: len(receiver.received) == len(SCOPES) - 1 and _attempts(world) == [1], "all others")

    world.do(run())
    with world.connected() as connection:
        (left,) = letters(connection, dead=False, limit=10)
    assert (left.subject, left.error) == (SCOPES[0], "a fault of the service: KeyError")


def test_two_processes_send_each_alert_once(make_world: MakeWorld, receiver: Receiver) -> None:
    """Only one of them sends; when that one ends in order, the other goes on at once."""
    world = make_world(policy(("ops", receiver)), SystemClock())
    second = world.started()

    async def run() -> None:
        other = Deliverer(second.outbox, second.transactor, lambda: world.policy, opened, SystemClock(), Counted(), None)
        async with delivering(world):
            await open_all(world, SCOPES[0])
            await until(lambda: len(receiver.received) == 1, "the first alert")
            other.start()
            await open_all(world, *SCOPES[1:])
            await until(lambda: len(receiver.received) == len(SCOPES), "every alert")
        await open_all(world, TOOLING)
        await until(lambda: not waiting(world), "the other process to go on", 10)
        await other.stop()

    try:
        world.do(run())
    finally:
        second.stop()
    assert sorted(received.json["data"]["subject"] for received in receiver.received) == sorted([*SCOPES, TOOLING])

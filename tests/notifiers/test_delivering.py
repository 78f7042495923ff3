"""From the outbox to real receivers: nothing is lost, nothing is delayed elsewhere, whatever a receiver does (SPEC 11)."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select, update

from cstp_server.clock import Clock, SystemClock
from cstp_server.domain.alerts import AlertChannel
from cstp_server.notifiers.channel import Channel, Message, Undelivered
from cstp_server.notifiers.channels import open_channel
from cstp_server.notifiers.delivering import Deliverer
from cstp_server.notifiers.strays import LEASE_MS, STRAY_SECONDS, Strays
from cstp_server.policy.compiled import Policy
from cstp_server.services.notifying import LONGEST_MS, QUIET_MS, UNREADABLE, NotDelivered
from cstp_server.storage import tables
from cstp_server.storage.journal import Journal
from cstp_server.storage.outbox import letters, retry
from tests.notifiers.conftest import MakeReceiver
from tests.notifiers.receiver import Answer, Receiver, huge, redirect, reset, rubbish, status
from tests.services.world import HandClock, World, checking, moving, policy_of, reviewing, tripping
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
                    retry(connection, Journal(world.keys), id=letter.id, clock=world.clock)
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
        return [letter.attempts for letter in letters(connection, dead=False, limit=1_000)]


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
                assert len(retry(connection, Journal(world.keys), id=None, clock=world.clock)) == 1
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


def test_what_failed_goes_out_as_soon_as_the_channel_works_again(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """After an outage nobody waits for the end of a pause that has become long: one success opens the way for all."""
    receiver.answer = status(500)
    world = sqlite_world(policy(("ops", receiver)))
    hand = world.hand

    async def run() -> None:
        async with delivering(world):
            await open_all(world, *SCOPES[:3])
            await until(lambda: _attempts(world) == [1, 1, 1], "all to fail")
            await _put_off(world, SCOPES[:3])
            hand.advance(60_000)
            receiver.answer = status(204)
            before = len(receiver.received)
            await open_all(world, TOOLING)
            await until(lambda: not waiting(world), "all of them")
            assert [received.json["data"]["subject"] for received in receiver.received[before:]] == [TOOLING, *SCOPES[:3]]

    world.do(run())


class Picky:
    """A channel whose receiver never takes what is told of some subjects."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, message: Message) -> None:
        if message.payload["data"]["subject"] in SCOPES:
            raise Undelivered("the receiver answered 400")
        await self._channel.send(message)


def test_a_receiver_that_takes_only_some_subjects_does_not_use_up_the_attempts_of_others(
    sqlite_world: MakeWorld, receiver: Receiver
) -> None:
    """It looks as if it worked again each time, which opens the way for all once in ten minutes, and then less often."""
    world = sqlite_world(policy(("ops", receiver)))
    scopes = SCOPES[:3]

    async def tell_of_another_subject(number: int) -> None:
        await _put_off(world, scopes)
        world.hand.advance(120_000)
        await world.store.transactor.run(tripping(TOOLING) if number % 2 else moving(TOOLING))
        await until(lambda: len(receiver.received) == number, "another subject's")

    async def run() -> None:
        async with delivering(world, open=lambda setup: Picky(opened(setup))):
            await open_all(world, *scopes)
            await until(lambda: _attempts(world) == [1, 1, 1], "all to fail")
            await tell_of_another_subject(1)
            await until(lambda: _attempts(world) == [3, 3, 3], "them to be tried again")
            await tell_of_another_subject(2)
            await asyncio.sleep(1.5)
            assert _attempts(world) == [4, 4, 4]
            world.hand.advance(600_000)
            await until(lambda: _attempts(world) == [5, 5, 5], "them to be tried again after all")

    world.do(run())


async def _put_off(world: World, scopes: list[str]) -> None:
    """For an hour, as after many attempts."""
    for scope in scopes:
        parcel = await world.store.outbox.parcel("default", "ops", f"circuit/{scope}")
        assert parcel is not None
        await world.store.transactor.run(NotDelivered(parcel, "no", 3_600_000))


def test_a_message_that_nobody_takes_is_not_tried_more_often_because_others_arrive(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """The channel works all the while."""
    world = sqlite_world(policy(("ops", receiver)))

    async def run() -> None:
        async with delivering(world, open=lambda setup: Faulty(opened(setup))):
            for number, scope in enumerate(SCOPES):
                await open_all(world, scope)
                await until(lambda expected=number: len(receiver.received) == expected and _attempts(world) == [1], "the others")  # type: ignore[misc]  # bound per round
            await asyncio.sleep(1.5)
            assert _attempts(world) == [1]

    world.do(run())


def test_a_receiver_that_wants_to_be_left_alone_is(sqlite_world: MakeWorld, make_receiver: MakeReceiver) -> None:
    """Whatever there is to tell of other subjects; others are told meanwhile, and it is told when its time is up."""
    busy, other = make_receiver(answer=status(429, "Retry-After: 600")), make_receiver()
    world = sqlite_world(policy(("busy", busy), ("other", other)))

    async def run() -> None:
        async with delivering(world):
            await open_all(world, TOOLING)
            await until(lambda: len(busy.received) == 1 and len(other.received) == 1, "the first")
            await open_all(world)
            await until(lambda: len(other.received) == 1 + len(SCOPES), "the rest elsewhere")
            await asyncio.sleep(1.5)
            assert len(busy.received) == 1

    world.do(run())
    assert sorted(_attempts(world)) == [0, 0, 0, 0, 0, 1]


def test_another_process_takes_over_what_a_receiver_wants(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """What it does not want to hear for an hour it does not hear because another process begins to send; news it may be told."""
    receiver.answer = status(429, "Retry-After: 3600")
    world = sqlite_world(policy(("ops", receiver)))

    async def run() -> None:
        async with delivering(world):
            await open_all(world, TOOLING)
            await until(lambda: _attempts(world) == [1], "the first attempt")
        world.hand.advance(1)
        async with delivering(world):
            await open_all(world, SCOPES[0])
            await until(lambda: len(receiver.received) == 2, "the next attempt")

    world.do(run())
    assert [received.json["data"]["subject"] for received in receiver.received] == [TOOLING, SCOPES[0]]


def test_a_process_that_begins_to_send_again_remembers_what_a_receiver_wants(sqlite_world: MakeWorld, make_receiver: MakeReceiver) -> None:
    """As after a moment without the store: it tells that receiver nothing of any subject until its time is up."""
    busy, other = make_receiver(answer=status(429, "Retry-After: 600")), make_receiver()
    world = sqlite_world(policy(("busy", busy), ("other", other)))

    async def run() -> None:
        async with delivering(world) as deliverer:
            await open_all(world, TOOLING)
            await until(lambda: len(busy.received) == 1 and len(other.received) == 1, "the first")
            await deliverer.stop()
            deliverer.start()
            await open_all(world)
            await until(lambda: len(other.received) == 1 + len(SCOPES), "the rest elsewhere")
            await asyncio.sleep(1.5)
            assert len(busy.received) == 1

    world.do(run())


def test_a_channel_that_is_set_right_gets_at_once_what_failed_before(make_world: MakeWorld, make_receiver: MakeReceiver) -> None:
    """However long the pause had become."""
    before, after = make_receiver(answer=status(500)), make_receiver()
    world = make_world(policy(("ops", before)), SystemClock())

    async def run() -> None:
        async with delivering(world):
            await open_all(world, TOOLING)
            await until(lambda: _attempts(world) == [1], "the first attempt")
            await _put_off(world, [TOOLING])
            world.policy = policy(("ops", after))
            await until(lambda: not waiting(world), "what waited", 15)

    world.do(run())
    assert len(after.received) == 1


def test_how_late_a_message_is_tells_what_waited_longest_in_it(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """Not the newest of what it tells, which may be of just now."""
    world, counted = sqlite_world(policy(("ops", receiver))), Counted()

    async def run() -> None:
        await open_all(world, TOOLING)
        world.hand.advance(3_600_000)
        await world.store.transactor.run(moving(TOOLING))
        async with delivering(world, counted):
            await until(lambda: len(counted.lags) == 1, "it")

    world.do(run())
    assert counted.lags == [3_600]


def _spoil(world: World) -> None:
    """As a newer version of the service would have written it."""
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.outbox).values(event='{"type": "circuit.exploded"}'))


def test_what_cannot_be_read_keeps_no_other_subject_waiting(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """However many there are: each is put off, counted and, after a day, given up; the channel's other alerts go out."""
    world = sqlite_world(policy_of(circuit_breakers=[{"scope": "tag:*"}], notifications=_ops(receiver)))
    scopes, counted = [f"tag:t{number}" for number in range(120)], Counted()

    async def run() -> None:
        await open_all(world, *scopes)
        _spoil(world)
        world.hand.advance(1)
        await open_all(world, "tag:last")
        async with delivering(world, counted):
            await until(lambda: len(receiver.received) == 1, "the one that can be read")
            await until(lambda: _attempts(world) == [1] * 120, "the others to be put off")
            await until(lambda: counted.results == Counter({("ops", "failed"): 120, ("ops", "sent"): 1}), "each to be counted")
            world.hand.advance(LONGEST_MS)
            await until(lambda: counted.results["ops", "given_up"] == 120, "the others to be given up", 40)

    world.do(run())
    assert len(world.events("notification.given_up")) == 120
    with world.connected() as connection:
        assert {letter.error for letter in letters(connection, dead=True, limit=1_000)} == {UNREADABLE}


def _ops(receiver: Receiver) -> dict[str, Any]:
    return {"channels": [{"name": "ops", "type": "webhook", "url": receiver.url, "secret_env": "SECRET", "allow_private": True}]}


def strays_of(world: World, counted: Counted, used: Policy) -> Strays:
    """What a process with that policy does about alerts for channels that it does not know."""
    store = world.store
    return Strays(store.outbox, store.transactor, lambda: used, world.hand, counted)


def test_alerts_for_a_channel_that_is_gone_are_given_up_on_record(make_world: MakeWorld, receiver: Receiver) -> None:
    """By the process that sends, once it has not known the channel for an hour: with an event, counted, in the list of the dead."""
    world, counted = make_world(policy(("ops", receiver), ("gone", receiver))), Counted()
    used = policy(("ops", receiver))
    strays = strays_of(world, counted, used)
    world.do(open_all(world, TOOLING, SCOPES[0]))
    world.do(strays.put_away(sends=True))
    world.hand.advance(int(STRAY_SECONDS) * 1_000 - 1)
    world.do(strays.put_away(sends=True))
    assert len(waiting(world)) == 4
    world.hand.advance(1)
    world.do(strays.put_away(sends=True))
    assert waiting(world, dead=True) == [("gone", "circuit.forced")] * 2
    assert counted.results["gone", "given_up"] == 2
    told = [(event.subject, event.data["about"], event.data["error"]) for event in world.events("notification.given_up")]
    assert sorted(told) == [("gone", scope, "the policy has no channel of this name") for scope in sorted([TOOLING, SCOPES[0]])]


def test_who_does_not_send_gives_up_nothing(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """Nor who has sent for less than an hour, nor who has known the channel meanwhile."""
    world, counted = sqlite_world(policy(("ops", receiver), ("gone", receiver))), Counted()
    strays = strays_of(world, counted, policy(("ops", receiver)))
    world.do(open_all(world, TOOLING))
    for sends in (True, False, True):
        world.do(strays.put_away(sends=sends))
        world.hand.advance(int(STRAY_SECONDS) * 1_000 - 1)
    world.do(strays.put_away(sends=True))
    assert len(waiting(world)) == 2
    assert world.events("notification.given_up") == []


def test_a_process_without_channels_gives_up_nothing_that_others_send(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """As long as another one holds the lease now and then; where nobody does for an hour, nobody has channels. It keeps the lease free."""
    world, counted = sqlite_world(policy(("ops", receiver))), Counted()
    strays, outbox = strays_of(world, counted, policy_of()), world.store.outbox
    world.do(open_all(world, TOOLING))

    def an_hour() -> None:
        for _ in range(61):
            world.do(strays.put_away(sends=False))
            world.hand.advance(60_000)

    for _ in range(3):
        assert world.do(outbox.hold("another", LEASE_MS))
        world.do(strays.put_away(sends=False))
        world.hand.advance(int(STRAY_SECONDS) * 1_000)
    assert len(waiting(world)) == 1
    an_hour()
    assert waiting(world, dead=True) == [("ops", "circuit.forced")]
    assert world.do(outbox.hold("another", LEASE_MS))


def test_the_process_that_sends_looks_for_strays(sqlite_world: MakeWorld, receiver: Receiver) -> None:
    """As soon as it has begun, and then every minute, also where it has no channels: what is unknown for an hour is found the next time."""
    world = sqlite_world(policy(("gone", receiver)))
    world.do(open_all(world, TOOLING))
    world.policy = policy_of()
    clock = HandClock()

    def has_looked() -> bool:
        with world.connected() as connection:
            return connection.execute(select(tables.duties.c.until)).scalar_one_or_none() == 0

    async def run() -> None:
        async with delivering(world, clock=clock) as deliverer:
            await until(has_looked, "it to look")
            await deliverer.stop()
            clock.advance(int(STRAY_SECONDS) * 1_000)
            deliverer.start()
            await until(lambda: waiting(world, dead=True) == [("gone", "circuit.forced")], "it to be given up")

    world.do(run())

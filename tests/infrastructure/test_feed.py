"""Those who watch are told of what happens here and elsewhere: soon, together, and not too often."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cstp_server.clock import SystemClock
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.feed import LiveFeed
from cstp_server.services.feeds import EVERYTHING, Topic

PATIENCE = 5.0


class Row(NamedTuple):
    """An event as the store tells of it."""

    id: str
    tenant: str
    type: EventType
    subject: str
    at: int


@dataclass
class Record:
    """The store's latest events, newest first, as a test has them."""

    rows: list[Row] = field(default_factory=list)
    looks: int = 0
    fault: Exception | None = None

    async def latest_events(self, limit: int) -> Sequence[Row]:
        """The latest events of all tenants."""
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return self.rows[:limit]


def event(event_type: EventType, subject: str = "x", *, tenant: str = "default", at: int = 1) -> Event:
    """An event of this process."""
    return Event(event_type, tenant, subject, "somebody", at, "")


def row(id: str, event_type: EventType, subject: str = "x", *, tenant: str = "default", at: int = 1) -> Row:
    """An event in the store."""
    return Row(id, tenant, event_type, subject, at)


def with_feed(record: Record, work: Any) -> None:
    """Carry out a test with a feed at work."""

    async def run() -> None:
        feed = LiveFeed(record, SystemClock())
        feed.start()
        try:
            await work(feed)
        finally:
            await feed.stop()

    asyncio.run(run())


async def until(condition: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.01)


def test_what_happens_here_is_told_to_all_who_watch_the_tenant() -> None:
    """And to nobody who watches another one."""

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as one, feed.listen("default") as other, feed.listen("elsewhere") as stranger:
            feed.note([event(EventType.CIRCUIT_OPENED, "category:tooling")])
            assert await one.next(PATIENCE) == {Topic.CIRCUITS, Topic.EVENTS}
            assert await other.next(PATIENCE) == {Topic.CIRCUITS, Topic.EVENTS}
            assert await stranger.next(0.05) == frozenset()

    with_feed(Record(), work)


def test_a_storm_is_told_in_a_few_messages() -> None:
    """However much happens, those who watch are told now and then, and of everything."""

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as listener:
            for number in range(500):
                feed.note([event(EventType.CIRCUIT_OPENED, f"agent:{number}", at=number), event(EventType.TRIPWIRE_HIT, at=number)])
            assert await listener.next(PATIENCE) >= {Topic.CIRCUITS, Topic.TRIPWIRES}
            assert await listener.next(0.2) == frozenset()

    with_feed(Record(), work)


def test_the_daily_business_is_told_less_often_than_what_matters() -> None:
    """A check waits for its turn, a circuit that opens does not wait with it."""

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as listener:
            feed.note([event(EventType.DECISION_CHECKED)])
            assert await listener.next(PATIENCE) == {Topic.DECISIONS}
            feed.note([event(EventType.DECISION_CHECKED, at=2)])
            assert await listener.next(1.0) == frozenset()
            feed.note([event(EventType.CIRCUIT_OPENED, at=3)])
            assert await listener.next(1.5) == {Topic.DECISIONS, Topic.CIRCUITS, Topic.EVENTS}

    with_feed(Record(), work)


def test_what_other_processes_do_is_found_even_out_of_order() -> None:
    """An id that sorts before the latest one is new all the same; what was there before anybody watched is not told."""
    record = Record([row("evt_5", EventType.POSTURE_UPGRADED)])

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as listener:
            await until(lambda: record.looks >= 2)
            assert await listener.next(0.05) == frozenset()
            record.rows.append(row("evt_3", EventType.POLICY_LOADED))
            assert await listener.next(PATIENCE) == {Topic.POLICY, Topic.EVENTS}

    with_feed(record, work)


def test_what_this_process_has_told_is_not_told_again_when_it_is_found() -> None:
    """One change, one message."""
    record = Record()

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as listener:
            await until(lambda: record.looks >= 1)
            feed.note([event(EventType.CIRCUIT_OPENED, "category:tooling", at=7)])
            record.rows.insert(0, row("evt_1", EventType.CIRCUIT_OPENED, "category:tooling", at=7))
            assert await listener.next(PATIENCE)
            assert await listener.next(1.6) == frozenset()

    with_feed(record, work)


def test_nobody_asks_the_store_while_nobody_watches() -> None:
    """And noting costs nothing."""
    record = Record()

    async def work(feed: LiveFeed) -> None:
        feed.note([event(EventType.CIRCUIT_OPENED)])
        await asyncio.sleep(0.6)
        assert record.looks == 0
        assert feed.edition("default") is None
        with feed.listen("default"):
            await until(lambda: record.looks >= 1)

    with_feed(record, work)


def test_an_edition_is_another_one_after_each_message_and_never_comes_back() -> None:
    """Not even when all have left meanwhile and others come."""

    async def work(feed: LiveFeed) -> None:
        seen = set()
        for number in range(3):
            with feed.listen("default") as listener:
                seen.add(feed.edition("default"))
                feed.note([event(EventType.CIRCUIT_OPENED, at=number)])
                await listener.next(PATIENCE)
                seen.add(feed.edition("default"))
        assert len(seen) == 6

    with_feed(Record(), work)


def test_a_store_that_does_not_answer_keeps_nobody_from_being_told_later() -> None:
    """Looking goes on."""
    record = Record(fault=StoreUnavailable())

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as listener:
            await until(lambda: record.looks >= 2)
            record.fault = None
            looks = record.looks
            await until(lambda: record.looks > looks)
            record.rows.append(row("evt_1", EventType.TOKEN_REVOKED))
            assert await listener.next(PATIENCE) == {Topic.EVENTS}

    with_feed(record, work)


def test_the_end_of_the_service_wakes_everybody() -> None:
    """So that nobody holds it up."""

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as listener:
            waiting: Coroutine[Any, Any, frozenset[Topic]] = listener.next(PATIENCE)
            task = asyncio.create_task(waiting)
            await asyncio.sleep(0)
            feed.request_close()
            assert await task == EVERYTHING
            assert listener.is_over

    with_feed(Record(), work)


def test_more_than_one_look_takes_in_is_told_as_everything() -> None:
    """Whatever was between two looks and seen by neither, nobody who watches misses it."""
    record = Record([row(f"evt_a{number:03}", EventType.DECISION_CHECKED, at=number) for number in range(300)])

    async def work(feed: LiveFeed) -> None:
        with feed.listen("default") as one, feed.listen("elsewhere") as other:
            await until(lambda: record.looks >= 1)
            record.rows = [row(f"evt_b{number:03}", EventType.DECISION_CHECKED, at=number) for number in range(300)]
            assert await one.next(PATIENCE) == EVERYTHING
            assert await other.next(PATIENCE) == EVERYTHING

    with_feed(record, work)

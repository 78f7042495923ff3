"""What became of the policy is on record, whatever the store was doing at that moment (SPEC 11, 12)."""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.refusals import Refusal, StoreUnavailable
from cstp_server.policy_record import PolicyRecord
from cstp_server.services.policies import POLICY_VERSION, NotePolicy
from cstp_server.services.ports import Transactor, UseCase
from tests.services.conftest import MakeWorld
from tests.services.world import World, policy_of

T = TypeVar("T")
PATIENCE = 10.0


class Line:
    """The way to the store, which may be down."""

    def __init__(self, transactor: Transactor) -> None:
        self._transactor = transactor
        self.is_down = False

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        """Carry it out, unless the line is down."""
        if self.is_down:
            raise StoreUnavailable
        return await self._transactor.run(use_case)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A store without anything."""
    return make_world(policy_of())


def record_of(world: World, line: Any = None) -> PolicyRecord:
    """The record of one process."""
    store = world.store
    return PolicyRecord(line if line is not None else store.transactor, store.reader, store.duties, world.clock)


def told(world: World) -> list[Event]:
    """What is on record of policies, oldest first."""
    return [event for event in world.events() if event.type in (EventType.POLICY_LOADED, EventType.POLICY_REJECTED)]


async def keeping(world: World, records: list[PolicyRecord], version: str, number: int) -> None:
    """Let processes with that policy keep their records until there are so many events."""
    tasks = [asyncio.create_task(record.keep(lambda: version)) for record in records]
    async with asyncio.timeout(PATIENCE):
        while len(told(world)) < number:  # noqa: ASYNC110 - what is waited for is no event of asyncio
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def test_what_the_store_did_not_take_is_entered_when_it_answers_again(world: World) -> None:
    """In the order in which it happened, with the time when it did."""
    line = Line(world.store.transactor)
    record = record_of(world, line)

    async def work() -> None:
        line.is_down = True
        await record.enter(NotePolicy("sha256:2", ("policy.yaml:1: unknown key",)), is_news=True)
        world.hand.advance(5_000)
        await record.enter(NotePolicy("sha256:3"), is_news=True)
        assert told(world) == []
        world.hand.advance(60_000)
        line.is_down = False
        await keeping(world, [record], "sha256:3", 2)

    began = world.clock.now()
    world.do(work())
    assert [(event.type, event.policy_version, event.data["happened_at"], event.at) for event in told(world)] == [
        (EventType.POLICY_REJECTED, "sha256:2", began, began + 65_000),
        (EventType.POLICY_LOADED, "sha256:3", began + 5_000, began + 65_000),
    ]


def test_a_reload_that_was_told_to_have_failed_has_no_process_follow_later(world: World) -> None:
    """What changed here is on record all the same; a reload that changed nothing is not."""
    line = Line(world.store.transactor)
    record = record_of(world, line)
    world.run(NotePolicy("sha256:2"))

    async def work() -> None:
        line.is_down = True
        for is_news in (True, False):
            with pytest.raises(StoreUnavailable):
                await record.enter(NotePolicy("sha256:2", spreads=True), is_news=is_news)
        line.is_down = False
        await keeping(world, [record], "sha256:2", 2)

    before = world.do(world.store.versions())[POLICY_VERSION]
    world.do(work())
    assert len(told(world)) == 2
    assert world.do(world.store.versions())[POLICY_VERSION] == before


def test_processes_that_begin_at_once_enter_the_policy_once(world: World) -> None:
    """As loaded at a start; who begins later with the same one enters nothing, with another one does."""
    world.do(keeping(world, [record_of(world) for _ in range(4)], "sha256:1", 1))
    assert [(event.policy_version, dict(event.data)) for event in told(world)] == [("sha256:1", {"cause": "started"})]
    world.do(keeping(world, [record_of(world)], "sha256:1", 1))
    assert len(told(world)) == 1
    world.do(keeping(world, [record_of(world)], "sha256:2", 2))
    world.do(keeping(world, [record_of(world)], "sha256:1", 3))
    assert [event.policy_version for event in told(world)] == ["sha256:1", "sha256:2", "sha256:1"]


def test_a_reload_by_a_token_that_was_revoked_since_is_on_record(world: World) -> None:
    """As the service's own, since the policy is in force."""
    gone = Caller("olivia", frozenset({Role.ADMIN}), "default", None, token_digest=b"unknown", token_version=-1)
    world.do(record_of(world).enter(NotePolicy("sha256:2", spreads=True, caller=gone), is_news=True))
    (event,) = told(world)
    assert (event.policy_version, event.actor) == ("sha256:2", "system")

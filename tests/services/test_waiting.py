"""Waiting for decisions: a thousand at once cost next to nothing, and all are woken, by this process, another one, time, or the end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, delete, event

from cstp_server.clock import SystemClock
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Decision, Status
from cstp_server.domain.refusals import DecisionNotFound, Refusal, StoreUnavailable
from cstp_server.domain.resolutions import Waits
from cstp_server.services.awaiting import await_decision
from cstp_server.services.ports import UseCase
from cstp_server.services.recording import RecordDecision
from cstp_server.services.requests import AwaitAnswer, AwaitRequest, RecordRequest
from cstp_server.storage import tables
from cstp_server.storage.store import Store
from cstp_server.waiting import Key, Waiters
from tests.services.conftest import MakeWorld
from tests.services.waiting_policy import waiting_policy, wanting
from tests.services.world import OPS, World, checking, facts_of, resolving, reviewing

T = TypeVar("T")
MANY = 1_000
CLOCK = SystemClock()
BOT = Caller("bot-token", frozenset({Role.AGENT}), agent_id="bot")


class Watched:
    """The store and the transactor as waiting sees them, with a count of what is asked of each.

    `deaf`: never tells what others have settled, so that only this process's own word can wake anybody. `fails`: does not answer so often.
    """

    def __init__(self, world: World, *, deaf: bool = False, fails: int = 0) -> None:
        self._world = world
        self._deaf = deaf
        self.fails = fails
        self.polls = 0
        self.looks = 0
        self.runs = 0

    async def decisions_by_key(self, keys: Sequence[Key]) -> Mapping[Key, Decision]:
        self.looks += 1
        return await self._world.store.decisions_by_key(keys)

    async def settled_among(self, keys: Sequence[Key]) -> set[Key]:
        self.polls += 1
        if self.fails:
            self.fails -= 1
            raise StoreUnavailable
        return set() if self._deaf else await self._world.store.settled_among(keys)

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        self.runs += 1
        return await self._world.store.transactor.run(use_case)


async def everything(store: Store, *use_cases: UseCase[Any]) -> list[Any]:
    """Have a store carry all of these out; their answers."""
    return list(await asyncio.gather(*[store.transactor.run(use_case) for use_case in use_cases]))


class Room:
    """Waiters of one process, in the running loop."""

    def __init__(self, world: World, watched: Watched) -> None:
        self.world = world
        self.watched = watched
        self.waiters = Waiters(watched)

    def ask(self, id: str, *, timeout_ms: int = 60_000, caller: Caller = OPS) -> "asyncio.Task[AwaitAnswer | Refusal]":
        return asyncio.create_task(
            await_decision(self.waiters, self.watched, self.world.store.reader, CLOCK, caller, AwaitRequest(id, timeout_ms))
        )

    async def settle(self, *use_cases: UseCase[Any]) -> list[Any]:
        return await everything(self.world.store, *use_cases)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is waited for is any number of other tasks
                await asyncio.sleep(0.005)


@asynccontextmanager
async def room(world: World, **watched: Any) -> AsyncIterator[Room]:
    """A process's waiters at work."""
    made = Room(world, Watched(world, **watched))
    made.waiters.start()
    world.store.transactor.on_committed = made.waiters.note
    try:
        yield made
    finally:
        await made.waiters.stop()


def waiting_world(make: MakeWorld, *ids: str, waits: Waits | None = None, kind: str = "approval") -> World:
    """A world in which these decisions wait, by the machine's clock."""
    world = make(waiting_policy(**({"waits": waits} if waits is not None else {})))
    if world.url.get_backend_name() == "sqlite":
        world.hand.time = CLOCK.now()
    for start in range(0, len(ids), 250):
        world.batch(*(checking(id, context=wanting(kind)) for id in ids[start : start + 250]))
    return world


def answers(found: Sequence[AwaitAnswer | Refusal]) -> list[AwaitAnswer]:
    assert all(isinstance(answer, AwaitAnswer) for answer in found)
    return [answer for answer in found if isinstance(answer, AwaitAnswer)]


IDS = tuple(f"d{number}" for number in range(MANY))


def in_a_room(world: World, scene: Callable[[Room], Awaitable[None]], **watched: Any) -> None:
    async def play() -> None:
        async with room(world, **watched) as made, asyncio.timeout(60):
            await scene(made)

    world.do(play())


def test_a_thousand_are_woken_by_their_own_process(each_world: MakeWorld) -> None:
    """Each learns what became of its own decision, though nobody asks the store what others have settled."""
    world = waiting_world(each_world, *IDS)
    said = ["approve" if number % 2 else "deny" for number in range(MANY)]

    async def scene(room: Room) -> None:
        tasks = [room.ask(id) for id in IDS]
        await room.until(lambda: room.watched.polls >= 2)
        await room.settle(*(resolving(id, resolution) for id, resolution in zip(IDS, said, strict=True)))
        found = answers(await asyncio.gather(*tasks))
        assert [answer.id for answer in found] == list(IDS)
        assert [answer.allowed for answer in found] == [resolution == "approve" for resolution in said]
        assert {answer.status for answer in found} == {Status.APPROVED, Status.DENIED}
        assert room.watched.runs == 0

    in_a_room(world, scene, deaf=True)


def test_a_thousand_are_woken_by_another_process(each_world: MakeWorld) -> None:
    """Whoever settles it, on whatever connection, those who wait here learn of it by themselves."""
    world = waiting_world(each_world, *IDS)
    other = world.started()
    try:

        async def scene(room: Room) -> None:
            tasks = [room.ask(id) for id in IDS]
            await room.until(lambda: room.watched.polls >= 1)
            await everything(other, *(resolving(id) for id in IDS))
            found = answers(await asyncio.gather(*tasks))
            assert all(answer.allowed and answer.status is Status.APPROVED for answer in found)
            assert room.watched.runs == 0

        in_a_room(world, scene)
    finally:
        other.stop()


def test_waiting_asks_nothing_of_the_transactor_and_little_of_the_store(each_world: MakeWorld) -> None:
    """A thousand waits: one look each at first, all together; from then on a question for each five hundred now and then."""
    world = waiting_world(each_world, *IDS)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    async def scene(room: Room) -> None:
        event.listen(Engine, "before_cursor_execute", note)
        try:
            tasks = [room.ask(id) for id in IDS]
            await room.until(lambda: room.watched.looks == 2)
            await room.until(lambda: room.watched.polls >= 2)
            before, polls = len(statements), room.watched.polls
            await room.until(lambda: room.watched.polls >= polls + 4)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        asked = [statement for statement in statements[before:] if "decisions" in statement]
        assert len(asked) <= room.watched.polls - polls + 2
        assert not any(statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) for statement in statements)
        assert (room.watched.runs, room.watched.looks) == (0, 2)
        room.waiters.close()
        assert all(answer.status is Status.PENDING for answer in answers(await asyncio.gather(*tasks)))
        settled = room.watched.polls
        await asyncio.sleep(1.1)  # two turns of the poll, with nobody there to ask for
        assert room.watched.polls == settled

    in_a_room(world, scene)


def test_the_end_of_the_service_wakes_all(each_world: MakeWorld) -> None:
    """They are told how their decision stands; whoever comes then is told so at once."""
    world = waiting_world(each_world, *IDS)

    async def scene(room: Room) -> None:
        tasks = [room.ask(id) for id in IDS]
        await room.until(lambda: room.watched.polls >= 1)
        room.waiters.request_close()
        found = answers([*await asyncio.gather(*tasks), await room.ask("d0")])
        assert all(answer.status is Status.PENDING and not answer.allowed and answer.pending is not None for answer in found)

    in_a_room(world, scene, deaf=True)


def test_those_who_go_away_do_not_keep_the_others_from_being_woken(each_world: MakeWorld) -> None:
    """Half of those who wait for the same decision hang up, at once or later."""
    world = waiting_world(each_world, "one")

    async def scene(room: Room) -> None:
        tasks = [room.ask("one") for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks[:25]:
            task.cancel()
        await room.until(lambda: room.watched.polls >= 1)
        for task in tasks[25:50]:
            task.cancel()
        await room.settle(resolving("one"))
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in found[:50])
        assert all(isinstance(answer, AwaitAnswer) and answer.allowed for answer in found[50:])

    in_a_room(world, scene, deaf=True)


def test_a_store_that_does_not_answer_for_a_while_delays_and_loses_nobody(each_world: MakeWorld) -> None:
    """The next question finds what was settled meanwhile."""
    world = waiting_world(each_world, "one")
    other = world.started()
    try:

        async def scene(room: Room) -> None:
            task = room.ask("one")
            await room.until(lambda: room.watched.polls >= 1)
            await everything(other, resolving("one", "deny"))
            assert answers([await task])[0].status is Status.DENIED
            assert room.watched.fails == 0

        in_a_room(world, scene, fails=2)
    finally:
        other.stop()


ENDS = {"cancel_window": Status.ALLOWED, "confirmation": Status.EXPIRED, "approval": Status.EXPIRED}


@pytest.mark.parametrize(("kind", "status"), ENDS.items())
def test_whoever_waits_until_time_is_up_settles_it(each_world: MakeWorld, kind: str, status: Status) -> None:
    """Without anybody's sweep, once, however many wait for it."""
    world = each_world(waiting_policy(waits=Waits(300, 300)))
    if world.url.get_backend_name() == "sqlite":
        world.clock = CLOCK
        world.restart()

    async def scene(room: Room) -> None:
        await room.settle(checking("one", context=wanting(kind)))
        found = answers(await asyncio.gather(*(room.ask("one") for _ in range(20))))
        assert {(answer.status, answer.allowed) for answer in found} == {(status, status is Status.ALLOWED)}

    in_a_room(world, scene)
    assert len([event for event in world.events("decision.") if event.type.value == f"decision.{status.value}"]) == 1


@pytest.mark.parametrize("timeout_ms", [0, 50])
def test_whoever_runs_out_of_patience_is_told_what_it_still_waits_for(each_world: MakeWorld, timeout_ms: int) -> None:
    """`pending`, with the kind, the time and the reason."""
    world = waiting_world(each_world, "one")

    async def scene(room: Room) -> None:
        answer = answers([await room.ask("one", timeout_ms=timeout_ms)])[0]
        assert (answer.status, answer.allowed, answer.reason) == (Status.PENDING, False, "escalate")
        assert answer.pending is not None
        assert answer.pending.kind == "approval"

    in_a_room(world, scene)


def test_what_does_not_wait_is_answered_at_once(each_world: MakeWorld) -> None:
    """How it stands, and whether it may go on: after a review too, and never for what was only told of."""
    world = waiting_world(each_world, "denied", "approved", "bypassed")
    recorded = RecordRequest(facts_of(context={"wants": "block"}), "bot", "digest", "recorded")
    world.batch(
        checking("allowed"),
        checking("blocked", context={"wants": "block"}),
        checking("reviewed"),
        RecordDecision(OPS, recorded, recorded.facts, "recorded"),
        resolving("denied", "deny", note="not today"),
        resolving("approved"),
        reviewing("reviewed", "failure"),
        reviewing("bypassed", "success"),
    )

    async def scene(room: Room) -> None:
        found = answers(
            await asyncio.gather(*(room.ask(id) for id in ("allowed", "blocked", "reviewed", "recorded", "denied", "approved", "bypassed")))
        )
        assert {answer.id: (answer.status.value, answer.allowed, answer.reason) for answer in found} == {
            "allowed": ("allowed", True, None),
            "blocked": ("blocked", False, "block"),
            "reviewed": ("reviewed", True, None),
            "recorded": ("blocked", False, None),
            "denied": ("denied", False, "not today"),
            "approved": ("approved", True, None),
            "bypassed": ("reviewed", False, "escalate"),
        }

    in_a_room(world, scene)


def test_nobody_waits_for_what_is_not_there_or_not_theirs(each_world: MakeWorld) -> None:
    """Unknown, another agent's, another tenant's, deleted meanwhile: as if it were not there."""
    world = waiting_world(each_world, "one", "gone")
    world.run(checking("others", agent="other", context=wanting("approval")))

    async def scene(room: Room) -> None:
        stranger = Caller("stranger", frozenset(Role), "elsewhere")
        gone = room.ask("gone")
        asked = [room.ask("nobody"), room.ask("others", caller=BOT), room.ask("one", caller=stranger)]
        assert all(isinstance(answer, DecisionNotFound) for answer in await asyncio.gather(*asked))
        with world.connected() as connection, connection.begin():
            connection.execute(delete(tables.decisions).where(tables.decisions.c.id == "gone"))
        assert isinstance(await gone, DecisionNotFound)

    in_a_room(world, scene)


def test_an_agent_waits_for_its_own(each_world: MakeWorld) -> None:
    """With its own token, until it is settled."""
    world = waiting_world(each_world, "one")

    async def scene(room: Room) -> None:
        task = room.ask("one", caller=BOT)
        await room.until(lambda: room.watched.polls >= 1)
        await room.settle(resolving("one"))
        assert answers([await task])[0].allowed

    in_a_room(world, scene, deaf=True)

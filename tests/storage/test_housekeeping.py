"""What is tidied away now and then: by one process at a time, task by task, on record (SPEC 11 and 12)."""

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import insert, update

from cstp_server.clock import SystemClock
from cstp_server.domain.anchors import AuditKeys
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.findings import Mode
from cstp_server.domain.tripwires import Hit
from cstp_server.housekeeping import DUTY, EVERY_MS, LEASE_MS, NOTE_EVERY_SECONDS, Housekeeping, Upkeep
from cstp_server.policy.compiled import Policy
from cstp_server.storage import tables
from cstp_server.storage.hits import hit_row
from cstp_server.storage.store import Store
from cstp_server.storage.tallies import add_tallies
from tests.services.world import AUDIT_KEY, World, checking, policy_of
from tests.storage.conftest import MakeWorld

ADA = Caller("ada", frozenset(Role), "north")
MINUTE_MS = 60_000
DAY_MS = 86_400_000
TASKS = [
    "tidy_usage",
    "tidy_habits",
    "merge_tallies",
    "end_chains",
    "prune_events",
    "tidy_outbox",
    "prune_decisions",
    "prune_hits",
    "prune_tallies",
    "prune_log",
]


def keeping(world: World, told: list[tuple[str, str]], store: Store | None = None, upkeep: Upkeep | None = None) -> Housekeeping:
    """One process's housekeeping; `told` is what became of its tasks."""
    store = store if store is not None else world.store
    return Housekeeping(
        upkeep if upkeep is not None else store,
        store.duties,
        store.transactor,
        lambda: world.policy,
        world.clock,
        lambda *task: told.append(task),
    )


def budgeted() -> Policy:
    return policy_of(tripwires={"daily_action_limit": 100})


def usage(world: World, data: str) -> None:
    """What the row of an agent's usage holds: a JSON object, or what somebody's hand has made of it."""
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.usage).values(data=data))


def test_every_task_is_done_once_an_hour(sqlite_world: MakeWorld) -> None:
    """However often anybody looks, and whichever process does."""
    world, told = sqlite_world(budgeted()), list[tuple[str, str]]()
    first, other = keeping(world, told), world.started()
    second = keeping(world, told, other)
    try:
        world.do(first.round())
        assert told == [(task, "done") for task in TASKS]
        world.do(first.round())
        world.do(second.round())
        world.do(first.stop())
        world.do(second.round())
        assert len(told) == len(TASKS)
        world.hand.advance(EVERY_MS)
        world.do(second.round())
        assert told[len(TASKS) :] == [(task, "done") for task in TASKS]
    finally:
        other.stop()


def test_a_task_that_fails_keeps_no_other_from_being_done(make_world: MakeWorld) -> None:
    """It alone is tried again the next time, a minute later, until it can be done."""
    world, told = make_world(budgeted()), list[tuple[str, str]]()
    world.check()
    usage(world, "{")
    house = keeping(world, told)
    world.do(house.round())
    assert told == [("tidy_usage", "waited"), *[(task, "done") for task in TASKS[1:]]]
    world.do(house.round())
    assert told[len(TASKS) :] == [("tidy_usage", "waited")]
    usage(world, "{}")
    world.do(house.round())
    world.do(house.round())
    assert told[len(TASKS) :] == [("tidy_usage", "waited"), ("tidy_usage", "done")]


def test_one_process_at_a_time_tidies(make_world: MakeWorld) -> None:
    """Another one goes on with what the first one has not done, once that has left, or is gone."""
    world, one, two = make_world(budgeted()), list[tuple[str, str]](), list[tuple[str, str]]()
    world.check()
    usage(world, "{")
    other = world.started()
    first, second = keeping(world, one), keeping(world, two, other)
    try:
        world.do(first.round())
        world.do(second.round())
        assert (len(one), two) == (len(TASKS), [])
        world.do(first.stop())
        world.do(second.round())
        assert two == [("tidy_usage", "waited")]
        world.do(first.round())
        assert len(one) == len(TASKS)
    finally:
        other.stop()


def test_a_clock_that_is_put_back_stops_no_task(sqlite_world: MakeWorld) -> None:
    """What would have been done in the future is done again."""
    world, told = sqlite_world(budgeted()), list[tuple[str, str]]()
    house = keeping(world, told)
    world.do(house.round())
    world.hand.advance(-10 * LEASE_MS)
    world.do(house.round())
    assert len(told) == 2 * len(TASKS)


def aged(world: World) -> None:
    """Everything that was retained is two days older."""
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.decisions).values(at=tables.decisions.c.at - 2 * DAY_MS))
        connection.execute(update(tables.tallies).values(hour=tables.tallies.c.hour - 2 * DAY_MS))
        connection.execute(update(tables.tripwire_hits).values(at=tables.tripwire_hits.c.at - 2 * DAY_MS))


def idle(world: World) -> None:
    """A tenant of which something was counted and that has no decisions."""
    hit = Hit("no_export", "severe", "bot", "dec_1", world.time(), Mode.ENFORCE, trust_impact=False)
    with world.connected() as connection, connection.begin():
        add_tallies(connection, {("idle", "evaluations"): 3}, world.time(), "process")
        connection.execute(insert(tables.tripwire_hits).values(hit_row("idle", hit)))


def test_events_that_may_not_be_pruned_are_told_every_round(make_world: MakeWorld) -> None:
    """A former key that is no longer among the keys proves nothing: its chain stays, the others are pruned, and the task is not done."""
    world, told = make_world(policy_of(retention={"events_days": 1})), list[tuple[str, str]]()
    former, another = AUDIT_KEY, b"another key, which is 32 bytes long"
    world.hand.time = world.time()
    world.check("former")
    world.keys = AuditKeys((another,))
    world.restart()
    world.check("current")
    world.restart()
    world.hand.advance(2 * DAY_MS)
    house = keeping(world, told)
    world.do(house.round())
    assert told == [(task, "faulted" if task == "prune_events" else "done") for task in TASKS]
    assert {event.subject for event in world.events("decision.checked")} == {"former"}
    world.do(house.round())
    assert told[len(TASKS) :] == [("prune_events", "faulted")]
    world.do(house.stop())
    world.keys = AuditKeys((another, former))
    world.restart()
    house = keeping(world, told)
    world.do(house.round())
    assert told[-1] == ("prune_events", "done")
    assert world.events("decision.checked") == []


def pruned(world: World) -> list[tuple[str, str, int]]:
    events = world.events("retention.pruned")
    assert all(event.actor == "system" and event.data["before"] <= event.at - DAY_MS for event in events)
    return sorted((event.tenant, event.subject, event.data["count"]) for event in events)


def retaining(**sections: Any) -> Policy:
    return policy_of(retention={"decisions_days": 1}, **sections)


def test_what_is_pruned_is_on_record_once(make_world: MakeWorld) -> None:
    """By tenant and table, with the number, also of a tenant that has no decisions; nothing where nothing was deleted."""
    world, told = make_world(retaining(), SystemClock()), list[tuple[str, str]]()
    for id in ("a", "b"):
        world.check(id)
    world.run(checking("c", caller=ADA))
    idle(world)
    aged(world)
    world.check("young")
    house = keeping(world, told)
    world.do(house.round())
    assert [task for task, _ in told if task != "note_pruned"] == TASKS
    assert [task for (task, _), (after, _) in pairwise(told) if after == "note_pruned"] == [
        "prune_decisions",
        "prune_hits",
        "prune_tallies",
    ]
    assert {result for _, result in told} == {"done"}
    expected = [("default", "decisions", 2), ("idle", "tallies", 1), ("idle", "tripwire_hits", 1), ("north", "decisions", 1)]
    assert pruned(world) == expected
    assert (world.decision("a"), world.decision("young") is not None) == (None, True)
    world.do(house.round())
    world.do(house.stop())
    assert pruned(world) == expected
    world.restart()
    assert world.audit().is_whole


def test_what_was_pruned_before_a_failure_is_on_record_as_well(sqlite_world: MakeWorld) -> None:
    """With what was pruned after it, in one event; also when the process ends."""
    world, told = sqlite_world(retaining()), list[tuple[str, str]]()
    world.check("a")
    idle(world)
    aged(world)
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END")
    house = keeping(world, told)
    world.do(house.round())
    assert told[-1] == ("note_pruned", "waited")
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("DROP TRIGGER broken")
    world.do(house.stop())
    assert pruned(world) == [("default", "decisions", 1), ("idle", "tallies", 1), ("idle", "tripwire_hits", 1)]


class Killed(BaseException):
    """The process is gone."""


class Meeting:
    """The store, and what happens each time after decisions of a tenant were deleted."""

    def __init__(self, store: Store, happens: Callable[[str], Awaitable[None]]) -> None:
        self._store = store
        self._happens = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def prune_decisions(self, tenant: str, before: int) -> int:
        count = await self._store.prune_decisions(tenant, before)
        if count:
            await self._happens(tenant)
        return count


def of_three_tenants(world: World) -> None:
    """One old decision of each."""
    for number, tenant in enumerate(("a", "b", "c")):
        world.run(checking(str(number), caller=Caller("ada", frozenset(Role), tenant)))
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.decisions).values(at=tables.decisions.c.at - 2 * DAY_MS))


def test_what_a_process_that_dies_has_pruned_is_on_record(sqlite_world: MakeWorld) -> None:
    """All but what it has deleted within the last half minute."""
    world = sqlite_world(retaining())
    of_three_tenants(world)

    async def happens(tenant: str) -> None:
        world.hand.advance(int(NOTE_EVERY_SECONDS * 1_000) + 1)
        if tenant == "c":
            raise Killed

    with pytest.raises(Killed):
        world.do(keeping(world, [], upkeep=Meeting(world.store, happens)).round())
    assert pruned(world) == [("a", "decisions", 1), ("b", "decisions", 1)]


def test_where_it_cannot_be_written_down_nothing_more_is_deleted(sqlite_world: MakeWorld) -> None:
    """After half a minute of it."""
    world, told = sqlite_world(retaining()), list[tuple[str, str]]()
    of_three_tenants(world)
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END")

    async def happens(_tenant: str) -> None:
        world.hand.advance(int(NOTE_EVERY_SECONDS * 1_000) + 1)

    house = keeping(world, told, upkeep=Meeting(world.store, happens))
    world.do(house.round())
    assert ("prune_decisions", "waited") in told
    assert world.do(world.store.tenants_in("decisions")) == ["c"]
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("DROP TRIGGER broken")
    world.do(house.round())
    assert pruned(world) == [(tenant, "decisions", 1) for tenant in ("a", "b", "c")]


def test_what_was_pruned_until_another_process_took_over_is_on_record(sqlite_world: MakeWorld) -> None:
    """By the one that has pruned it, which then leaves the rest to the other."""
    world = sqlite_world(retaining())
    of_three_tenants(world)

    async def happens(_tenant: str) -> None:
        world.hand.advance(int(NOTE_EVERY_SECONDS * 700))
        with world.connected() as connection, connection.begin():
            connection.execute(update(tables.duties).where(tables.duties.c.name == DUTY).values(holder="another"))

    world.do(keeping(world, [], upkeep=Meeting(world.store, happens)).round())
    assert pruned(world) == [(tenant, "decisions", 1) for tenant in ("a", "b")]
    assert world.do(world.store.tenants_in("decisions")) == ["c"]


def test_what_could_not_be_written_down_is_as_soon_as_it_can_be(sqlite_world: MakeWorld) -> None:
    """Also by a process that has the duty no more."""
    world, told = sqlite_world(retaining()), list[tuple[str, str]]()
    of_three_tenants(world)
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END")
    house = keeping(world, told)
    world.do(house.round())
    with world.connected() as connection, connection.begin():
        connection.exec_driver_sql("DROP TRIGGER broken")
    world.hand.advance(LEASE_MS)
    assert world.do(world.store.duties.take(DUTY, "another", LEASE_MS)) is not None
    world.do(house.round())
    assert pruned(world) == [(tenant, "decisions", 1) for tenant in ("a", "b", "c")]


def test_without_retention_nothing_is_pruned(sqlite_world: MakeWorld) -> None:
    """However old it is."""
    world, told = sqlite_world(policy_of()), list[tuple[str, str]]()
    world.check("a")
    aged(world)
    world.hand.advance(400 * DAY_MS)
    world.do(keeping(world, told).round())
    assert world.decision("a") is not None
    assert pruned(world) == []

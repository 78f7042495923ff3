"""What is in the store, seen by somebody who is no part of the service."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from cstp_server.clock import SystemClock
from cstp_server.domain.decisions import Decision
from cstp_server.policy.loading import load_policy
from cstp_server.storage import tables
from cstp_server.storage.decisions import decision_of
from tests.concurrency.crowd import COUNTING, Load
from tests.domain.comparing import comparable, folded
from tests.services.world import World


@contextmanager
def watching(url: str, policy: Path) -> Iterator[World]:
    """Reads of the database of a service."""
    world = World(url, load_policy(policy), SystemClock())
    try:
        yield world
    finally:
        world.close()


def decisions(world: World) -> dict[str, Decision]:
    """Every decision on record."""
    with world.connected() as connection:
        return {row.id: decision_of(row) for row in connection.execute(select(tables.decisions))}


def assert_folded(world: World, scope: str) -> None:
    """The circuit is what its log gives, and the log has no gap."""
    stored, log = world.stored(scope), world.log(scope)
    assert [line.seq for line in log] == list(range(1, len(log) + 1))
    now = max(stored.logged_at, stored.since)
    again = folded(log, world.settings_on_record(), world.settings(scope), now)
    assert comparable(stored) == comparable(replace(again, scope=scope))


def assert_nothing_lost(world: World, loads: Iterable[Load]) -> None:
    """Whatever was acknowledged is on record as it was told; what is on record is whole, and counted once."""
    stored = decisions(world)
    for load in loads:
        for id, told in load.checks.items():
            assert id in stored, f"the check of `{id}` was acknowledged, and is not on record"
            answer = stored[id].answer
            assert answer is not None
            assert told.result is not None
            assert answer.verdict.allowed is told.result["allowed"]
        for id, told in load.reviews.items():
            reviewed = stored[id].reviewed
            assert reviewed is not None, f"the review of `{id}` was acknowledged, and is not on record"
            assert told.result is not None
            assert reviewed.review.outcome.value == told.result["outcome"]
            assert [move.failure_count for move in reviewed.answer.circuits] == [move["failureCount"] for move in told.result["circuits"]]
    counted = [line.decision_id for line in world.log(COUNTING)]
    assert sorted(str(id) for id in counted) == sorted(decision.id for decision in stored.values() if decision.reviewed is not None)
    assert_folded(world, COUNTING)

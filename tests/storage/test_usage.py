"""Rolling windows in the store: what leaves them leaves once, on either database, and what a check costs does not grow with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.usage import Claim, Span, Tally, Usage
from cstp_server.policy.compiled import Policy
from cstp_server.storage import tables
from cstp_server.storage.usage import claim_row, claims_of, claims_text, usage_of, usage_row
from tests.services.world import World, checking, policy_of, resolving, reviewing
from tests.storage.conftest import MakeWorld

MINUTE, HOUR = 60_000, 3_600_000
AMOUNT = "action.parameters.amount"
ASK = {"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}


def quotas(*named: tuple[str, str, float], per: str = "agent") -> Policy:
    """Counts by name, window and limit."""
    rules = [{"name": name, "quota": {"count": True, "window": window, "max": max, "per": per}} for name, window, max in named]
    return policy_of(tripwires={"rules": rules}, guardrails=[ASK])


def age(world: World, ms: int) -> None:
    """Make everything that rolling windows hold so much older, as if that much time had gone by."""
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.claims).values(at=tables.claims.c.at - ms))
        for row in connection.execute(select(tables.usage)).all():
            aged = Usage(row.subject, {name: _aged(tally, ms) for name, tally in usage_of(row.subject, row.data).tallies.items()})
            key = (tables.usage.c.tenant == row.tenant, tables.usage.c.subject == row.subject)
            connection.execute(update(tables.usage).where(*key).values(data=usage_row(row.tenant, aged)["data"]))
        for row in connection.execute(select(tables.decisions).where(tables.decisions.c.claims.is_not(None))).all():
            held = [claim._replace(at=claim.at - ms) for claim in claims_of(row.claims)]
            key = (tables.decisions.c.tenant == row.tenant, tables.decisions.c.id == row.id)
            connection.execute(update(tables.decisions).where(*key).values(claims=claims_text(held)))


def _aged(tally: Tally, ms: int) -> Tally:
    oldest_at, newest_at = (time - ms if time is not None else None for time in (tally.oldest_at, tally.newest_at))
    return tally._replace(oldest_at=oldest_at, newest_at=newest_at)


def claims(world: World) -> list[Any]:
    with world.connected() as connection:
        return list(connection.execute(select(tables.claims).order_by(tables.claims.c.at, tables.claims.c.seq)))


def assert_balanced(world: World) -> None:
    """Every rolling tally is the sum of its claims, and knows the time of the oldest; of the oldest of a sum, one that is no later."""
    held: dict[tuple[str, str, str], list[Any]] = {}
    for row in claims(world):
        held.setdefault((row.tenant, row.subject, row.meter), []).append(row)
    with world.connected() as connection:
        rows = connection.execute(select(tables.usage)).all()
    for row in rows:
        for meter, tally in usage_of(row.subject, row.data).tallies.items():
            if tally.span.rolling_ms is not None:
                mine = held.pop((row.tenant, row.subject, meter), [])
                assert tally.used == sum(int(claim.amount) for claim in mine)
                counting = [claim.at for claim in mine if claim.amount != "0"]
                if counting:
                    assert tally.oldest_at is not None
                    assert tally.newest_at is not None
                    assert tally.oldest_at <= min(counting) <= max(counting) <= tally.newest_at
                    assert tally.oldest_gone or "|count|" not in meter or tally.oldest_at == min(counting)
    assert held == {}


def test_claims_leave_their_window_one_after_the_other(make_world: MakeWorld) -> None:
    """Each frees its own place and its row goes; the others stay."""
    world = make_world(quotas(("few", "minute", 3)))
    for _ in range(3):
        assert world.check().verdict.allowed
        age(world, 18_000)
    assert not world.check().verdict.allowed
    assert_balanced(world)
    age(world, 6_000)
    assert [world.check().verdict.allowed for _ in range(2)] == [True, False]
    assert len(claims(world)) == 3
    age(world, 18_000)
    assert [world.check().verdict.allowed for _ in range(2)] == [True, False]
    assert len(claims(world)) == 3
    assert_balanced(world)
    age(world, MINUTE)
    assert [world.check().verdict.allowed for _ in range(4)] == [True, True, True, False]
    assert len(claims(world)) == 3
    assert_balanced(world)


def test_a_refused_check_and_a_dry_run_let_go_of_what_has_left_too(make_world: MakeWorld) -> None:
    """The row is right afterwards, and nothing is claimed."""
    world = make_world(quotas(("few", "minute", 2), ("never", "hour", 0)))
    world.policy = quotas(("few", "minute", 2))
    world.check()
    age(world, 30_000)
    world.check()
    age(world, 30_000)
    world.policy = quotas(("few", "minute", 2), ("never", "hour", 0))
    assert not world.check().verdict.allowed
    assert world.used("few") == 1
    age(world, 30_000)
    assert not world.run(checking(dry_run=True)).verdict.allowed
    assert world.used("few") == 0
    assert claims(world) == []
    assert_balanced(world)


def test_many_windows_of_many_subjects_move_in_one_transaction(make_world: MakeWorld) -> None:
    """Minutes and hours, agents whose claims all leave, some, or none, tenants: each loses its own and nobody else's."""
    world = make_world(quotas(("minutes", "minute", 4), ("hours", "hour", 7)))
    agents = [f"a{number}" for number in range(6)]
    for number, _ in enumerate(agents):
        world.batch(*(checking(agent=agent) for agent in agents[: number + 1]))
        age(world, 15_000)
    assert_balanced(world)
    age(world, 4_000)
    world.batch(*(checking(agent=agent) for agent in agents))
    assert_balanced(world)
    assert [world.used("minutes", f"agent:{agent}") for agent in agents] == [4, 4, 4, 4, 3, 2]
    assert [world.used("hours", f"agent:{agent}") for agent in agents] == [7, 6, 5, 4, 3, 2]
    age(world, HOUR)
    said = world.batch(*(checking(agent=agent) for agent in agents for _ in range(5)))
    assert [answer.verdict.allowed for answer in said] == [True, True, True, True, False] * 6
    assert len(claims(world)) == 2 * 4 * 6
    assert_balanced(world)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_tally_is_the_sum_of_its_claims(make_world: MakeWorld, seed: int) -> None:
    """Random batches of checks, approvals, refusals, reviews and amendments while time goes by."""
    random = Random(seed)
    rules = [
        {"name": "few", "quota": {"count": True, "window": "minute", "max": 6}},
        {"name": "money", "quota": {"sum": AMOUNT, "window": "minute", "max": 50, "per": "category"}},
        {"name": "all", "quota": {"sum": AMOUNT, "window": "hour", "max": 500, "per": "global"}},
    ]
    world = make_world(policy_of(tripwires={"rules": rules}, guardrails=[ASK]))
    ids: list[str] = []
    for turn in range(25):
        calls: list[Any] = []
        for number in range(random.randint(1, 6)):
            kind = random.choice(["check", "check", "wait", "resolve", "review", "amend"])
            if kind in {"check", "wait"} or not ids:
                ids.append(f"d{turn}.{number}")
                details: dict[str, Any] = {"parameters": {"amount": random.choice([0, 0.1, 7, 12])}, "agent": random.choice("ab")}
                calls.append(checking(ids[-1], context={"ask": kind == "wait"}, **details))
            elif kind == "resolve":
                calls.append(resolving(random.choice(ids), random.choice(["approve", "deny", "cancel"])))
            else:
                cost: dict[str, Any] = {"actual_cost": random.choice([0, 0.3, 20])} if random.random() < 0.5 else {}
                outcome = random.choice(["success", "failure", "abandoned"])
                calls.append(reviewing(random.choice(ids), outcome, amend=kind == "amend", **cost))
        assert not any(isinstance(answer, Exception) for answer in world.batch(*calls))
        assert_balanced(world)
        age(world, random.choice([0, 1_000, 9_000, 25_000, MINUTE]))
    assert len(ids) > 20


@dataclass(slots=True)
class Cost:
    """What the database was asked to do."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0
    """Hundreds of steps of SQLite's machine."""


@contextmanager
def measured() -> Iterator[Cost]:
    """What is carried out meanwhile, on connections that are opened meanwhile."""
    cost = Cost()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        cost.statements.append(statement)

    def count(connection: DBAPIConnection, _record: object) -> None:
        if hasattr(connection, "set_progress_handler"):
            connection.set_progress_handler(step, 100)

    def step() -> int:
        cost.steps += 1
        return 0

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "connect", count)
    try:
        yield cost
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "connect", count)


def fill(world: World, ages: list[int], now: int) -> None:
    """Have the agent `bot` hold claims of these ages, one each."""
    meter = "many|count|hour"
    held = [Claim("agent:bot", meter, Span.HOUR, UNIT, UNIT, now - old, seq) for seq, old in enumerate(ages, 1)]
    tally = Tally(Span.HOUR, len(held) * UNIT, len(held), now - max(ages), now - min(ages))
    with world.connected() as connection, connection.begin():
        connection.execute(delete(tables.claims))
        connection.execute(delete(tables.usage))
        connection.execute(insert(tables.claims), [claim_row("default", claim) for claim in held])
        connection.execute(insert(tables.usage), [usage_row("default", Usage("agent:bot", {meter: tally}))])


@pytest.mark.parametrize("leaving", [0, 1])
def test_a_check_costs_the_same_whatever_is_in_the_window(make_world: MakeWorld, leaving: int) -> None:
    """Ten or ten thousand claims in it, some of which leave: the same statements; and on SQLite the same work, within a quarter."""
    costs: list[Cost] = []
    for size in (10, 10_000):
        world = make_world(quotas(("many", "hour", 100_000)))
        world.store.stop()
        now = world.time()
        fill(world, [HOUR + 1] * leaving + [HOUR - 10 * MINUTE] * (size - leaving), now)
        with measured() as cost:
            world.store = world.started()
            for _ in range(3):
                assert world.check().verdict.allowed
        assert world.used("many") == size - leaving + 3
        assert len(claims(world)) == size - leaving + 3
        costs.append(cost)
    few, many = costs
    assert few.statements
    assert many.statements == few.statements
    assert many.steps <= few.steps * 1.25


def test_of_ten_thousand_claims_that_have_left_none_is_left(make_world: MakeWorld) -> None:
    """The next check deletes them all, whether some stay or not."""
    world = make_world(quotas(("many", "hour", 100_000)))
    now = world.time()
    fill(world, [HOUR + 1] * 10_000, now)
    assert world.check().verdict.allowed
    assert (world.used("many"), len(claims(world))) == (1, 1)
    fill(world, [HOUR + 1] * 9_999 + [10 * MINUTE], now)
    assert world.check().verdict.allowed
    assert (world.used("many"), len(claims(world))) == (2, 2)
    assert_balanced(world)

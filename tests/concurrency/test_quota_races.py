"""Sixty-four clients and two processes against a limit of a hundred: exactly a hundred, however they run into each other."""

import asyncio
import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.decisions import Decision, Status
from cstp_server.domain.usage import Span, Tally
from cstp_server.storage import tables
from tests.concurrency.conftest import Pair
from tests.concurrency.crowd import NOTHING, Call, Told, ask, at_once, check, client, review
from tests.concurrency.store import decisions, watching
from tests.concurrency.test_crashes import wait_for
from tests.conftest import StartServer
from tests.services.world import World

CLIENTS = 64
LIMIT = 100


def counted(id: str, agent: str) -> Call:
    """An action of which an agent may take a hundred."""
    return check(id, "counted", agent)


def paid(id: str, agent: str, amount: float = 1, **action: Any) -> Call:
    """An action for which an agent has a purse of a hundred."""
    return check(id, "paid", agent, parameters={"amount": amount}, **action)


def rated(id: str, agent: str) -> Call:
    """An action of which a rate limit lets an agent take a hundred, who says nothing of how many it took."""
    return check(id, "rated", agent)


def resolve(id: str, resolution: str) -> Call:
    return "cstp.resolveDecision", {"id": id, "resolution": resolution}


def of_agent(world: World, agent: str) -> list[Decision]:
    return [decision for decision in decisions(world).values() if decision.facts.agent_id == agent]


def assert_balanced(world: World, agent: str, tripwire: str) -> int:
    """The tally is what the decisions on record have of it, and what its claims say; how much that is, in ones."""
    held = [claim for decision in of_agent(world, agent) for claim in decision.claims if claim.meter.startswith(f"{tripwire}|")]
    tally = world.tallies(f"agent:{agent}").get(tripwire, Tally(Span.TOTAL))
    assert tally.used == sum(claim.amount for claim in held)
    if tally.span.rolling_ms is not None:
        query = select(tables.claims.c.amount).where(tables.claims.c.subject == f"agent:{agent}")
        with world.connected() as connection:
            assert tally.used == sum(int(row.amount) for row in connection.execute(query))
    return tally.used // UNIT


def rounds(urls: Sequence[str], calls: Iterable[Call]) -> list[Told]:
    """The calls, by sixty-four clients at a time who wait for nobody but themselves."""
    waiting = iter(calls)

    async def one(crowd: Any, url: str) -> list[Told]:
        return [await ask(crowd, url, call) for call in waiting]

    async def everybody() -> list[Told]:
        async with client() as crowd:
            told = await asyncio.gather(*(one(crowd, url) for url, _ in zip(itertools.cycle(urls), range(CLIENTS), strict=False)))
        return list(itertools.chain.from_iterable(told))

    return asyncio.run(everybody())


TALLIES = {counted: "hundred", paid: "purse", rated: "rate_limit"}


@pytest.mark.parametrize("kind", TALLIES)
@pytest.mark.parametrize("all_at_once", [True, False])
def test_exactly_a_hundred_are_let_through(pair: Pair, kind: Any, all_at_once: bool) -> None:
    """Of three hundred, all at the same moment or as fast as sixty-four clients can; tally, claims and decisions agree."""
    agent = f"{kind.__name__}-{all_at_once}"
    calls = [kind(f"{agent}-{number}", agent) for number in range(300)]
    told = at_once(pair.urls, calls) if all_at_once else rounds(pair.urls, calls)
    results = [one.result for one in told]
    assert all(result is not None for result in results)
    assert sum(result["allowed"] for result in results if result is not None) == LIMIT
    assert sum(decision.status is Status.ALLOWED for decision in of_agent(pair.world, agent)) == LIMIT
    assert assert_balanced(pair.world, agent, TALLIES[kind]) == LIMIT


def test_the_same_decision_from_everybody_is_counted_once(pair: Pair) -> None:
    """Asked by all at the same moment, through both processes."""
    told = at_once(pair.urls, [counted("counted-by-all", "echo")] * CLIENTS)
    assert all(one.result == told[0].result and one.acknowledged for one in told)
    assert assert_balanced(pair.world, "echo", "hundred") == 1


def test_a_purse_is_never_overspent_by_whatever_order_things_happen_in(pair: Pair) -> None:
    """Checks, waits, approvals, denials, cancellations, reviews and abandonments of the same decisions by everybody at once."""
    agent, random = "spender", Random(3)
    ids = [f"spend-{number}" for number in range(80)]
    asks: list[Call] = [paid(id, agent, 4, context={"ask": number % 2 == 0}) for number, id in enumerate(ids)]
    ends: list[Call] = [resolve(id, random.choice(["approve", "deny", "cancel"])) for id in ids * 2]
    ends += [review(id, random.choice(["success", "abandoned"])) for id in ids[::3] * 2]
    random.shuffle(ends)
    told = at_once(pair.urls, asks) + at_once(pair.urls, ends + [paid(f"more-{number}", agent, 4) for number in range(40)])
    assert {one.code for one in told} <= {None, -32011}
    used = assert_balanced(pair.world, agent, "purse")
    assert used <= LIMIT
    rest = at_once(pair.urls, [paid(f"rest-{number}", agent, 1) for number in range(LIMIT + 10)])
    assert sum(one.result["allowed"] for one in rest if one.result is not None) == LIMIT - used
    assert assert_balanced(pair.world, agent, "purse") == LIMIT
    for decision in of_agent(pair.world, agent):
        goes_on = decision.status in {Status.ALLOWED, Status.APPROVED, Status.PENDING}
        assert decision.status is Status.REVIEWED or bool(decision.claims) is goes_on


def test_one_resolution_of_many_at_once_counts(pair: Pair) -> None:
    """Everybody resolves the same decision differently through both processes: one is told so, the others get a conflict."""
    for number in range(5):
        id = f"contested-{number}"
        at_once(pair.urls, [paid(id, "contested", 10, context={"ask": True})])
        told = at_once(pair.urls, [resolve(id, said) for said in ("approve", "deny", "cancel") * 10])
        won = [one.result for one in told if one.result is not None]
        assert len(won) == 1
        assert {one.code for one in told if one.result is None} == {-32011}
        assert decisions(pair.world)[id].status.value == won[0]["status"]
    approved = [decision for decision in of_agent(pair.world, "contested") if decision.status is Status.APPROVED]
    assert assert_balanced(pair.world, "contested", "purse") == 10 * len(approved)


def test_quotas_of_many_subjects_taken_in_every_order_block_nobody_for_good(pair: Pair) -> None:
    """Agents, users, categories and all together, checked, resolved and reviewed crosswise: everybody is answered, and it adds up."""
    random, names = Random(5), [f"n{number}" for number in range(6)]
    for turn in range(4):
        ids = [f"cross-{turn}-{number}" for number in range(120)]
        calls: list[Call] = []
        for number, id in enumerate(ids):
            method, params = paid(id, f"cross-{random.choice(names)}", 0.1, tags=["crossing"], context={"ask": number % 3 == 0})
            calls.append((method, {**params, "user": {"id": random.choice(names)}}))
        told = at_once(pair.urls, calls)
        ends: list[Call] = [resolve(id, random.choice(["approve", "deny"])) for id in ids[::3]]
        ends += [review(id, random.choice(["success", "abandoned"])) for id in ids[1::3]]
        random.shuffle(ends)
        told += at_once(pair.urls, [*ends, *(counted(f"between-{turn}-{number}", f"between-{number % 3}") for number in range(30))])
        assert {one.code for one in told} == {None}
    made = [decision for decision in decisions(pair.world).values() if "crossing" in decision.facts.tags]
    held = [claim for decision in made for claim in decision.claims]
    for subject in {claim.subject for claim in held}:
        for tripwire, tally in pair.world.tallies(subject).items():
            if tripwire.startswith("crossing-"):
                mine = [claim.amount for claim in held if claim.subject == subject and claim.meter.startswith(f"{tripwire}|")]
                assert tally.used == sum(mine)


@dataclass(slots=True)
class Spending:
    """Clients that check until the service is gone."""

    agent: str
    allowed: list[str] = field(default_factory=list)
    told: int = 0

    def run(self, url: str, name: str) -> None:
        asyncio.run(self._run(url, name))

    async def _run(self, url: str, name: str) -> None:
        async with client() as crowd:
            await asyncio.gather(*(self._one(crowd, url, f"{name}-{number}") for number in range(CLIENTS)))

    async def _one(self, crowd: Any, url: str, name: str) -> None:
        for turn, kind in zip(itertools.count(), itertools.cycle((counted, paid)), strict=False):
            told = await ask(crowd, url, kind(f"{name}-{turn}", self.agent))
            if told is NOTHING:
                return
            self.told += 1
            if told.result is not None and told.result["allowed"]:
                self.allowed.append(f"{name}-{turn}")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_kill_in_the_middle_lets_nobody_past_the_limit(
    start_server: StartServer, request: pytest.FixtureRequest, policy_file: Path, kind: str
) -> None:
    """Killed again and again before and after the quota is used up: never more than a hundred of each, and what was told is on record."""
    url: str = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "ready_postgres_url")
    server = start_server(database_url=url, config=policy_file, workers=2)
    spending = Spending("killed")
    with watching(url, policy_file) as world:
        for number in range(4):
            until = spending.told + (10, 90, 200, 100)[number]
            thread = threading.Thread(target=spending.run, args=(server.url, f"kill{number}"))
            thread.start()
            try:
                wait_for(lambda until=until: spending.told >= until, "the service to get to work")  # type: ignore[misc]  # a default binds it
            finally:
                server.kill()
                thread.join(60)
            stored = of_agent(world, "killed")
            allowed = {decision.id for decision in stored if decision.status is Status.ALLOWED}
            assert set(spending.allowed) <= allowed
            for tripwire, category in (("hundred", "counted"), ("purse", "paid")):
                of_kind = sum(decision.facts.category == category for decision in stored if decision.id in allowed)
                assert assert_balanced(world, "killed", tripwire) == of_kind <= LIMIT
            server.start()
        rounds([server.url], (kind(f"last-{number}-{kind.__name__}", "killed") for number in range(150) for kind in (counted, paid)))
        assert assert_balanced(world, "killed", "hundred") == assert_balanced(world, "killed", "purse") == LIMIT

"""Two processes whose transactions take the same rows in other orders."""

import asyncio
import threading
from typing import Any

import pytest

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.decisions import Answer, Decision
from cstp_server.services.ports import UseCase
from cstp_server.services.requests import ResolveAnswer
from cstp_server.storage.store import Store
from tests.services.world import World, checking, policy_of, resolving
from tests.storage.conftest import MakeWorld

ROUNDS = 15
ASK = {"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}
RULES = [
    {"name": "mine", "quota": {"count": True, "window": "hour", "max": 100_000}},
    {"name": "users", "quota": {"count": True, "per": "user", "window": "day", "max": 100_000}},
    {"name": "categories", "quota": {"count": True, "per": "category", "window": "minute", "max": 100_000}},
]
SUBJECTS = ["a", "b", "c", "d"]


def asking(id: str, subject: str, *, asks: bool) -> Any:
    return checking(id, agent=subject, user_id=subject, category=subject, context={"ask": asks})


@pytest.mark.parametrize("rounds", [ROUNDS])
def test_transactions_that_cross_are_all_carried_out(make_world: MakeWorld, rounds: int) -> None:
    """Each first takes what its checks need, then what its resolutions do, the one in the order of the other's end: nobody is refused."""
    world = make_world(policy_of(tripwires={"rules": RULES}, guardrails=[ASK]))
    first, second = SUBJECTS[:2], SUBJECTS[2:]
    world.batch(*(asking(f"{number}-{name}", name, asks=True) for number in range(rounds) for name in SUBJECTS))
    told: list[Any] = []

    def work(store: Store, checked: list[str], resolved: list[str], name: str) -> None:
        async def batch(number: int) -> list[Any]:
            calls: list[UseCase[Any]] = [asking(f"{name}-{number}-{subject}", subject, asks=False) for subject in checked]
            calls += [resolving(f"{number}-{subject}", "approve") for subject in resolved]
            return list(await asyncio.gather(*[store.transactor.run(call) for call in calls], return_exceptions=True))

        async def everything() -> None:
            for number in range(rounds):
                told.extend(await batch(number))

        asyncio.run(everything())

    stores = [world.started(), world.started()]
    threads = [
        threading.Thread(target=work, args=(stores[0], first, second, "one")),
        threading.Thread(target=work, args=(stores[1], second, first, "two")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for store in stores:
        store.stop()
    assert len(told) == 2 * 4 * rounds
    assert all(isinstance(answer, Answer | ResolveAnswer) for answer in told)
    assert_counted(world, rounds)


def assert_counted(world: World, rounds: int) -> None:
    """Each subject has one claim for each check and one for each approval."""
    for subject in SUBJECTS:
        for tripwire, owner in (("mine", "agent"), ("users", "user"), ("categories", "category")):
            assert world.tallies(f"{owner}:{subject}")[tripwire].used == 2 * rounds * UNIT
    approved = [world.decision(f"{number}-{name}") for number in range(rounds) for name in SUBJECTS]
    assert all(isinstance(decision, Decision) and decision.status.value == "approved" for decision in approved)

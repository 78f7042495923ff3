"""Rounds among agents: by one process at a time, to whoever has news, to everybody now and then; no guard delays others (SPEC 8)."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from cstp_server.appraising import AT_ONCE, DUTY, EVERYBODY_EVERY_MS, LEASE_MS, Appraising, Progress
from cstp_server.domain.posture_guards import TransitionGuard, TransitionRequest
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.guardians import InstalledGuardians
from cstp_server.policy.compiled import Policy
from cstp_server.services.earning import Appraisal
from tests.services.conftest import MakeWorld
from tests.services.governing import history, known, move
from tests.services.test_earning import ASSISTED, DUE_MS, WINDOW_MS, earning, work
from tests.services.test_postures import Installed
from tests.services.world import World

GRANTED = {**ASSISTED, "auto": True}
MOMENT_MS = 2_000


@dataclass
class Looking:
    """An appraisal that remembers whom it has looked at."""

    appraisal: Appraisal
    seen: list[str] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)

    async def look_at(self, policy: Policy, tenant: str, agent_id: str) -> None:
        self.seen.append(agent_id)
        if agent_id in self.fails:
            self.fails.remove(agent_id)
            raise StoreUnavailable if agent_id.startswith("store") else ValueError(agent_id)
        await self.appraisal.look_at(policy, tenant, agent_id)


class Process:
    """One process's rounds."""

    def __init__(self, world: World, holder: str = "one", guards: Sequence[TransitionGuard] = (), seconds: float = 5) -> None:
        self.world = world
        store = world.store
        self.looking = Looking(Appraisal(store.transactor, store.reader, InstalledGuardians(guards, seconds=seconds), world.clock))
        self.rounds = Appraising(store, store.duties, store.reader, self.looking, lambda: world.policy, world.clock, holder)

    def round(self) -> list[str]:
        """A round, a moment later; whom it looked at."""
        self.world.hand.advance(MOMENT_MS)
        self.looking.seen.clear()
        self.world.do(self.rounds.round())
        return sorted(self.looking.seen)

    def progress(self) -> Progress:
        """What is on record of the rounds, seen by the process itself."""
        duty = self.world.do(self.world.store.duties.take(DUTY, self.rounds.holder, LEASE_MS))
        assert duty is not None
        return Progress.of(duty.progress)


def posture(world: World, agent: str) -> str:
    return known(world, agent).posture.posture.label


def test_rounds_raise_whoever_has_earned_it(each_world: Callable[[Policy], World]) -> None:
    """At the first round everybody is looked at, later those of whom something was reviewed; those whose record is too short are not."""
    world = each_world(earning(GRANTED))
    process = Process(world)
    work(world, 5, agent="early")
    work(world, 4, agent="short")
    assert process.round() == ["early"]
    assert posture(world, "early") == "assisted"
    work(world, 5, agent="late")
    work(world, 1, agent="short")
    assert {"late", "short"} <= set(process.round())
    assert [posture(world, agent) for agent in ("late", "short")] == ["assisted", "assisted"]


def test_nobody_is_looked_at_again_without_news(make_world: MakeWorld) -> None:
    """Not in the next round, nor in those after it, whatever there is on record."""
    world = make_world(earning(ASSISTED))
    process = Process(world)
    work(world, 5)
    assert process.round() == ["bot"]
    for _ in range(5):
        world.hand.advance(10_000)
        assert process.round() == []
    work(world, 1, "failure")
    world.hand.advance(10_000)
    assert process.round() == ["bot"]


def test_a_review_that_appears_late_is_news(make_world: MakeWorld) -> None:
    """It was on its way when the round before looked, and has an earlier time than that."""
    world = make_world(earning(GRANTED))
    process = Process(world)
    process.round()
    work(world, 4, name="first")
    world.hand.advance(20_000)
    process.round()
    world.hand.advance(-10_000)
    work(world, 1, name="late")
    world.hand.advance(10_000)
    assert process.round() == ["bot"]
    assert posture(world, "bot") == "assisted"


def test_now_and_then_everybody_is_looked_at(make_world: MakeWorld) -> None:
    """Failures leave the window without any news; and another policy may ask for less."""
    world = make_world(earning({**GRANTED, "min_score": 0.9}))
    process = Process(world)
    work(world, 5)
    assert process.round() == []
    world.policy = earning({**GRANTED, "min_score": 0.95})
    assert process.round() == []
    world.policy = earning(GRANTED)
    assert process.round() == ["bot"]

    world.policy = earning({**GRANTED, "min_score": 0.56})
    work(world, 1, "failure", agent="other", name="bad")
    world.hand.advance(WINDOW_MS - EVERYBODY_EVERY_MS)
    work(world, 5, agent="other", name="good")
    world.hand.advance(EVERYBODY_EVERY_MS - 10_000)
    process.round()
    assert posture(world, "other") == "supervised"
    world.hand.advance(EVERYBODY_EVERY_MS)
    assert process.round() == ["other"]
    assert posture(world, "other") == "assisted"


def test_a_debt_that_comes_due_is_seen_at_the_next_round(make_world: MakeWorld) -> None:
    """Nobody has reviewed anything: it is time that makes it one, and only for those who have something to lose."""
    world = make_world(earning(GRANTED, postures={"min_review_coverage": 0.5}))
    process = Process(world)
    work(world, 5)
    process.round()
    world.hand.advance(10_000)
    process.round()
    for agent in ("bot", "other"):
        world.check(f"open-{agent}", agent=agent)
    world.hand.advance(5_000)
    world.sweep()
    world.hand.advance(DUE_MS - 5_000 - MOMENT_MS)
    process.round()
    assert posture(world, "bot") == "assisted"
    assert process.round() == ["bot"]
    assert posture(world, "bot") == "supervised"


@pytest.mark.parametrize("sections", [{}, {"min_review_coverage": 0.5}])
def test_where_nothing_is_earned_nobody_takes_the_duty(make_world: MakeWorld, sections: dict[str, Any]) -> None:
    """Unless there is something to lose."""
    world = make_world(earning(postures=sections))
    work(world, 5)
    assert Process(world).round() == []
    other = world.do(world.store.duties.take(DUTY, "two", LEASE_MS))
    assert (other is None) is bool(sections)


def test_one_process_at_a_time_goes_round_and_another_takes_over(make_world: MakeWorld) -> None:
    """When the first has left, at once; when it has died, as soon as its time is up, and it goes on where that one stopped."""
    world = make_world(earning(ASSISTED))
    one, two, three = Process(world, "one"), Process(world, "two"), Process(world, "three")
    work(world, 5)
    assert (one.round(), two.round()) == (["bot"], [])
    world.do(one.rounds.stop())
    work(world, 1, name="more")
    assert (two.round(), one.round()) == (["bot"], [])
    work(world, 1, name="yet more")
    world.hand.advance(LEASE_MS - MOMENT_MS - MOMENT_MS - 1)
    assert three.round() == []
    world.hand.advance(1)
    assert three.round() == ["bot"]
    assert three.progress().place is None
    assert two.round() == []


def test_a_walk_that_was_broken_off_is_resumed_where_it_was(make_world: MakeWorld) -> None:
    """By another process, which does not begin anew; what a round met when the store did not answer is looked at again."""
    world = make_world(earning(ASSISTED))
    for agent in ("a", "b", "store-c"):
        work(world, 5, agent=agent)
    one, two = Process(world, "one"), Process(world, "two")
    world.do(world.store.duties.take(DUTY, "one", LEASE_MS))
    now = world.hand.now() + 60_000
    broken_off = Progress(world.policy.version, reviewed_until=now, due_until=now, everybody_at=now, place=("default", "a"))
    world.do(world.store.duties.keep(DUTY, "one", 1, broken_off.text()))
    world.hand.advance(60_000)
    two.looking.fails = {"store-c"}
    with pytest.raises(StoreUnavailable):
        two.round()
    assert sorted(two.looking.seen) == ["b", "store-c"]
    assert two.round()[-1:] == ["store-c"]
    assert two.progress().place is None
    assert one.round() == []


def test_what_one_agent_meets_does_not_keep_the_others(make_world: MakeWorld) -> None:
    """A fault of its own is in the log, and the round goes on."""
    world = make_world(earning(GRANTED))
    for agent in ("a", "b", "c"):
        work(world, 5, agent=agent)
    process = Process(world)
    process.looking.fails = {"a"}
    assert process.round() == ["a", "b", "c"]
    assert [posture(world, agent) for agent in ("a", "b", "c")] == ["supervised", "assisted", "assisted"]


def test_a_progress_that_cannot_be_read_begins_anew(make_world: MakeWorld) -> None:
    """What a newer version has left there is no reason to stop."""
    assert Progress.of("") == Progress.of('{"other": 1}') == Progress.of("[]") == Progress()
    there = Progress("sha256:x", 1, 2, 3, ("default", "bot"))
    assert Progress.of(there.text()) == there


def test_a_guard_that_hangs_delays_only_its_own_agent(make_world: MakeWorld) -> None:
    """All others have what they have earned while it still hangs; no more are asked about at once than there is room for."""
    world = make_world(earning(GRANTED))
    agents = [f"agent-{number:02}" for number in range(2 * AT_ONCE)]
    for agent in agents:
        work(world, 5, agent=agent)
    others, asked, most = agents[1:], set[str](), [0]
    hangs = threading.Event()

    def look(request: TransitionRequest) -> str | None:
        asked.add(request.agent_id)
        most[0] = max(most[0], len(asked))
        if request.agent_id == agents[0]:
            hangs.wait(60)
        asked.discard(request.agent_id)
        return None

    process = Process(world, guards=[Installed(look)], seconds=30)

    async def raised() -> set[str]:
        found = await world.store.reader.postures("default", agents)
        return {agent for agent, held in found.items() if held.posture.label == "assisted"}

    async def go() -> None:
        round = asyncio.create_task(process.rounds.round())
        async with asyncio.timeout(20):
            while await raised() != set(others):  # noqa: ASYNC110  the store tells nobody
                await asyncio.sleep(0.01)
        assert not round.done()
        hangs.set()
        await round

    world.do(go())
    assert 1 < most[0] <= AT_ONCE
    assert posture(world, agents[0]) == "assisted"


def test_a_guards_refusal_is_on_record_once(make_world: MakeWorld) -> None:
    """Not every round; again when the agent has been moved since, or another guard refuses."""
    world = make_world(earning(ASSISTED))
    refusing = Process(world, guards=[Installed(lambda _: "not now")])
    for number in range(3):
        work(world, 5, name=f"round-{number}")
        world.hand.advance(10_000)
        assert refusing.round() == ["bot"]
    (entry,) = history(world)
    assert (entry.success, entry.by, entry.blocked_by, entry.refusal) == (False, "earned autonomy", "installed", "not now")
    assert (entry.before, entry.after, entry.type) == ("supervised", "assisted", "upgrade")
    assert "reviewed decisions succeeded" in entry.reason
    other = Process(world, guards=[Installed(lambda _: "no", name="another")])
    work(world, 1, name="more")
    world.hand.advance(10_000)
    assert other.round() == ["bot"]
    assert [entry.blocked_by for entry in history(world)] == ["another", "installed"]
    move(world, "bot", "human_decides")
    world.hand.advance(10_000)
    work(world, 5, name="anew")
    other.round()
    assert [(entry.blocked_by, entry.before) for entry in history(world)[:2]] == [("another", "human_decides"), (None, "supervised")]

"""What `cstp.getMetrics` tells: from the store, so that it holds for all processes and outlives them (SPEC 11)."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cstp_server.domain.callers import LOOPBACK, Caller, Role
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.domain.refusals import Refusal, StoreUnavailable
from cstp_server.guardians import InstalledGuardians
from cstp_server.policy.compiled import Policy
from cstp_server.services import metrics, postures
from cstp_server.services.requests import EvaluationAnswer, GovernanceMetrics, PostureRequest
from cstp_server.storage.store import Store
from tests.services.conftest import MakeWorld
from tests.services.dimensional import bounded, evaluated
from tests.services.world import OPS, World, checking, policy_of

ELSEWHERE = replace(LOOPBACK, tenant="elsewhere")
VIEWER = Caller("victor", frozenset({Role.VIEWER}))
HOUR = 3_600_000


def told(world: World, caller: Caller = OPS, since: int | None = None) -> GovernanceMetrics:
    return world.do(metrics.metrics(world.store.reader, world.policy, caller, since=since))


def ask(world: World, request: PostureRequest, caller: Caller = OPS) -> Any:
    store = world.store
    return world.do(postures.transition(store.transactor, store.reader, InstalledGuardians(()), world.policy, world.clock, caller, request))


def move(world: World, agent: str, to: Posture) -> None:
    answer = ask(world, PostureRequest(agent, to, reason="because"))
    assert not isinstance(answer, Refusal), answer


def block(world: World, agent: str) -> None:
    assert not isinstance(world.do(postures.emergency_downgrade(world.store.transactor, OPS, agent, "odd refunds")), Refusal)


def ruled(**more: Any) -> Policy:
    return policy_of(circuit_breakers=[{"scope": "category:*", "failure_threshold": 2}], **more)


def test_the_example_of_the_guide(each_world: MakeWorld) -> None:
    """Agents of levels 5, 3 and 1 stand at 3.0 on average; one upgrade, one opening of a circuit, one emergency."""
    world = each_world(ruled())
    move(world, "agent-001", Posture.FULL_AUTONOMY)
    world.check(agent="agent-002")
    block(world, "agent-003")
    world.fail("d-1", "d-2", agent="agent-002")
    found = told(world)
    assert {posture.label: count for posture, count in found.agents.items()} == {
        "full_autonomy": 1,
        "assisted": 0,
        "supervised": 1,
        "human_decides": 0,
        "blocked": 1,
    }
    assert found.average_level == 3.0
    assert found.moves == {
        TransitionType.UPGRADE: 1,
        TransitionType.DOWNGRADE: 0,
        TransitionType.MAINTAIN: 0,
        TransitionType.EMERGENCY_DOWNGRADE: 1,
    }
    assert (found.openings, found.emergencies) == (1, 1)
    world.restart()
    assert told(world) == found


def test_nothing_is_measured_of_a_tenant_that_nobody_has_used(each_world: MakeWorld) -> None:
    """No agent, no average; what happened to another tenant is not told."""
    world = each_world(ruled())
    block(world, "bot")
    world.trip("category:tooling")
    found = told(world, ELSEWHERE)
    assert (sum(found.agents.values()), found.average_level, sum(found.moves.values()), found.openings) == (0, None, 0, 0)
    assert (found.evaluations.total, found.evaluations.average_ms) == (0, None)


def test_an_opening_is_one_whatever_opens_a_circuit(each_world: MakeWorld) -> None:
    """By failures, by force, by a failing probe: each counts; what is open already does not open."""
    world = each_world(ruled())
    world.fail("d-1", "d-2")
    assert told(world).openings == 1
    world.trip("category:tooling")
    assert told(world).openings == 1, "it was open"
    world.reset("category:tooling")
    world.trip("category:tooling")
    assert told(world).openings == 2
    world.reset("category:tooling", probe_first=True)
    world.fail("d-3")
    assert told(world).openings == 3


def test_since_leaves_out_what_happened_before(make_world: MakeWorld) -> None:
    """Moves and openings to the millisecond, evaluations by the hour; agents are counted as they are now."""
    world = make_world(bounded(everybody={"cost_limit": 10}))
    world.check(context={"cost_used": 1})
    move(world, "bot", Posture.ASSISTED)
    later = world.hand.now() + 2 * HOUR
    world.hand.advance(2 * HOUR)
    move(world, "bot", Posture.HUMAN_DECIDES)
    world.check(context={"cost_used": 11})
    found = told(world, since=later)
    assert {kind.value: count for kind, count in found.moves.items() if count} == {"downgrade": 1}
    assert (found.evaluations.total, found.evaluations.passed, found.evaluations.failures) == (1, 0, {"cost_limit": 1})
    assert {posture.label for posture, count in found.agents.items() if count} == {"human_decides"}
    assert told(world, since=later + 1).moves[TransitionType.DOWNGRADE] == 0
    assert told(world, since=later + 1).evaluations.total == 1, "of the whole hour"
    assert told(world).evaluations.total == 2


def test_refused_moves_are_not_moves(make_world: MakeWorld) -> None:
    """What a caller without the role asked for is on record, and moved nobody."""
    world = make_world(ruled())
    assert isinstance(ask(world, PostureRequest("bot", Posture.FULL_AUTONOMY, reason="because"), VIEWER), Refusal)
    assert sum(told(world).moves.values()) == 0


def test_what_a_reason_says_is_not_counted(each_world: MakeWorld) -> None:
    """The type of a move is what it was, whatever its metadata pretends."""
    world = each_world(ruled())
    request = PostureRequest("bot", Posture.ASSISTED, reason="because", metadata={"transition_type": "emergency_downgrade"})
    world.do(
        postures.transition(world.store.transactor, world.store.reader, InstalledGuardians(()), world.policy, world.clock, OPS, request)
    )
    assert told(world).emergencies == 0


def evaluate(world: World, cost: int, caller: Caller = OPS, agent: str | None = "bot", **constraints: Any) -> EvaluationAnswer:
    return evaluated(world, {"cost_limit": 100, **constraints}, {"cost_used": cost}, agent=agent, caller=caller)


def test_evaluations_are_counted_exactly_over_processes_and_restarts(each_world: MakeWorld) -> None:
    """Checks and calls, of two processes, before and after a restart; what habits showed, and what failed."""
    world = each_world(bounded(everybody={"cost_limit": 100}))
    other = world.started()
    try:
        for store in (world.store, other):
            for number, cost in enumerate((1, 97, 101)):
                world.run(checking(f"{id(store)}-{number}", context={"cost_used": cost}), store)
    finally:
        other.stop()
    world.restart()
    evaluate(world, 99)
    evaluate(world, 5, VIEWER)
    evaluate(world, 5, agent=None, no_such_thing=1)
    found = told(world).evaluations
    assert (found.total, found.passed) == (8, 5)
    assert found.failures == {"cost_limit": 2, "other": 1}
    assert found.flags["boundary_pushing"] == 5
    assert found.average_ms is not None
    assert 0 < found.average_ms < 1000


def test_a_dry_run_and_a_repeated_check_count_nothing(make_world: MakeWorld) -> None:
    """Nothing of a dry run is stored, and an answer that was given before is not evaluated again."""
    world = make_world(bounded(everybody={"cost_limit": 100}))
    world.check("once", context={"cost_used": 1})
    world.check("once", context={"cost_used": 1})
    world.check(dry_run=True, context={"cost_used": 1})
    assert told(world).evaluations.total == 1


def merged(store: Store, world: World, before: int) -> int:
    merged = 0
    while moved := world.do(store.merge_tallies(before)):
        merged += moved
    return merged


def test_tallies_of_hours_that_are_over_become_one(each_world: MakeWorld) -> None:
    """Whatever processes had counted apart, the sum stays; on SQLite there is nothing to merge."""
    world = each_world(bounded(everybody={"cost_limit": 100}))
    other = world.started()
    try:
        for store in (world.store, other):
            world.run(checking(f"{id(store)}", context={"cost_used": 101}), store)
        before = told(world)
        later = world.time() + HOUR
        assert merged(other, world, world.time() - HOUR) == 0, "the hour is not over"
        assert merged(other, world, later) == (0 if world.url.get_backend_name() == "sqlite" else 10)
        assert merged(world.store, world, later) == 0
        assert told(world) == before
        world.run(checking("more", context={"cost_used": 1}), other)
        assert told(world).evaluations.total == 3
        assert merged(world.store, world, later) in (0, 3)
        assert told(world).evaluations.total == 3
    finally:
        other.stop()


def test_tallies_past_their_retention_are_pruned(make_world: MakeWorld) -> None:
    """By whole hours, and of the tenant that was asked for only."""
    world = make_world(bounded(everybody={"cost_limit": 100}))
    world.check(context={"cost_used": 1})
    world.check(caller=ELSEWHERE, context={"cost_used": 1})
    world.hand.advance(HOUR)
    world.check(context={"cost_used": 1})
    while world.do(world.store.prune_tallies(OPS.tenant, world.hand.now())):
        pass
    assert (told(world).evaluations.total, told(world, ELSEWHERE).evaluations.total) == (1, 1)


def test_what_is_in_the_store_is_counted(each_world: MakeWorld) -> None:
    """Circuits by kind and state, agents that were moved by posture, and what waits since when, over all tenants."""
    world = each_world(ruled(guardrails=[{"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}]))
    empty = world.do(world.store.counts())
    assert (empty.circuits, empty.postures, empty.waiting, empty.waiting_since) == ({}, {}, 0, None)
    world.fail("d-1", "d-2")
    world.check(caller=ELSEWHERE, category="billing")
    world.fail("d-3", category="billing")
    block(world, "eve")
    move(world, "bot", Posture.ASSISTED)
    first = world.check("w-1", context={"ask": True}, agent="adam", category=None)
    world.check("w-2", context={"ask": True}, agent="adam", category=None)
    found = world.do(world.store.counts())
    assert found.circuits == {("category", "open"): 1, ("category", "closed"): 1}
    assert found.postures == {"blocked": 1, "assisted": 1}
    assert (found.waiting, found.waiting_since) == (2, first.evaluated_at)


@dataclass
class Noted:
    """Gauges that remember what they were told."""

    commits: list[float] = field(default_factory=list)
    sides: list[tuple[str, bool]] = field(default_factory=list)

    def committed(self, calls: int) -> None: ...

    def queued(self, depth: int) -> None: ...

    def commit_took(self, seconds: float) -> None:
        self.commits.append(seconds)

    def store_works(self, side: str, works: bool) -> None:
        self.sides.append((side, works))


def test_a_store_tells_when_it_ceases_to_work_and_when_it_works_again(make_world: MakeWorld) -> None:
    """Each side by itself, once, and only after it has been quiet for a while; a commit that was made took its time."""
    world, noted = make_world(policy_of()), Noted()
    store = Store(world.url, lambda: world.policy, world.clock, noted, world.limits)
    store.start()
    try:
        world.run(checking("before"), store)
        assert (noted.commits, noted.sides) == ([0.0], [])
        file = Path(str(world.url.database))
        away = file.rename(file.with_name("away.db"))
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                world.run(checking("during"), store)
            with pytest.raises(StoreUnavailable):
                world.do(store.counts())
        assert noted.sides == [("writing", False), ("reading", False)]
        away.rename(file)
        world.do(store.counts())
        assert len(noted.sides) == 2, "it has only just failed"
        world.hand.advance(6_000)
        world.do(store.counts())
        assert noted.sides[2:] == [("reading", True)]
        world.run(checking("after"), store)
        assert noted.sides[3:] == [("writing", True)]
    finally:
        store.stop()

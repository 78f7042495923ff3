"""Trust in the store: what it reads, what it is swept for, what restarts, reloads and amendments make of it (SPEC 10)."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, event, select, update

from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.damage import MICRO, Damage
from cstp_server.domain.decisions import Outcome
from cstp_server.domain.refusals import CircuitNotFound
from cstp_server.policy.compiled import Policy
from cstp_server.policy.settings_codec import circuit_settings_from_json, circuit_settings_to_json
from cstp_server.services.policies import Align
from cstp_server.services.ports import Changed, Decided
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_of, circuit_text
from tests.domain.comparing import comparable, folded
from tests.domain.machine import Machine
from tests.services.world import START, World, circuits_policy, damaging, policy_of, reviewing, succeeding
from tests.storage.conftest import MakeWorld
from tests.storage.test_rows import Writing

ANNA = "user:anna/general"
HOUR = 3_600_000
DAY = 24 * HOUR
DUE = select(tables.circuits.c.due_at).where(tables.circuits.c.scope == ANNA)


def trust_policy(**trust: Any) -> Policy:
    """The policy that has trust, and nothing else."""
    return policy_of(trust=trust)


def hours(**domain: float) -> Policy:
    """The policy whose users' trust is in all domains as it is said."""
    return trust_policy(domains={"*": domain})


def assert_folded(world: World, scope: str = ANNA) -> None:
    """What is seen now is what the whole log gives."""
    now, seen = world.hand.now(), world.seen(scope)
    again = folded(world.log(scope), world.settings_on_record(), world.settings(scope), now)
    assert comparable(seen) == comparable(replace(again, scope=scope))


def due(world: World) -> int | None:
    with world.connected() as connection:
        return connection.execute(DUE).scalar_one_or_none()


def sweeps_until_nothing_is_due(world: World, most: int) -> int:
    """How often the circuit is swept from now on if nothing else happens; each time it is due, it is not due again at once."""
    for count in range(most + 1):
        at = due(world)
        if at is None:
            return count
        world.hand.time = max(world.hand.time, at)
        world.sweep()
        assert world.do(world.store.due_circuits()) == []
    raise AssertionError(f"due again after {most} sweeps")


def align(world: World) -> int:
    return int(world.run(Align("default", [ANNA])))


def long_ago(world: World, times: int, ms: int, age: int) -> Machine:
    """Small damages to anna's trust, the first one `age` ms ago and the last `ms` later, put into the store as they were logged."""
    machine = Machine(world.settings(ANNA), ANNA)
    began = world.time() - age
    for number in range(times):
        machine.now = began + ms * number // times
        machine.review(Outcome.FAILURE, f"told {number}", damage=Damage(scale=1))
    for first in range(0, times, 5_000):
        changes = tuple(Changed(machine.circuit, machine.policy, entry) for entry in machine.log[first : first + 5_000])
        assert world.run(Writing(Decided("done", circuits=changes))) == "done"
    return machine


@pytest.mark.parametrize("times", [3, 700])
def test_what_fades_is_read_from_either_database(make_world: MakeWorld, times: int) -> None:
    """Damage of 30 hours, most of which fades and some of which has gone: the reader, and the next damage, add up what the log has."""
    world = make_world(hours(damage_threshold=1_000_000))
    machine = long_ago(world, times, 29 * HOUR, 30 * HOUR)
    settings = world.settings(ANNA)
    seen = world.seen(ANNA)
    again = folded(machine.log, {settings.key: settings}, settings, world.time())
    assert 0 < again.window.fading < again.window.weighted < times
    assert seen.window.failures == again.window.failures
    world.damage()
    stored = world.stored(ANNA)
    again = folded(world.log(ANNA), world.settings_on_record(), settings, stored.logged_at)
    assert comparable(stored) == comparable(replace(again, scope=ANNA))
    assert stored.window.fading_at > 2**40


def test_trust_survives_restarts_on_either_database(make_world: MakeWorld) -> None:
    """Damaged, reduced, under test and half recovered, the process ending in between: nothing is lost and nothing counts twice."""
    world = make_world(trust_policy())
    world.damage(id="one")
    world.damage()
    world.restart()
    assert world.damage(id="one").duplicate
    assert world.damage().after.state.value == "reduced_autonomy"
    world.restart()
    assert world.seen(ANNA).state is State.OPEN
    world.reset(ANNA, probe_first=True)
    for _ in range(3):
        world.succeed()
    world.restart()
    assert world.succeed().after.recovery.successes == 4
    world.restart()
    assert world.succeed().after.state.value == "full_autonomy"
    assert world.seen(ANNA).recoveries == 1


def busy(world: World, size: int, chance: random.Random) -> None:
    """So many damages, successes and reviews of what was asked for anna, in one transaction each kind."""
    told = [
        damaging(severity=chance.choice([0.000001, 0.1, 1.0]), explicit=chance.random() < 0.2) if chance.random() < 0.5 else succeeding()
        for _ in range(size)
    ]
    world.batch(*told)
    ids = [f"d{chance.getrandbits(60)}" for _ in range(max(1, size // 4))]
    for id in ids:
        world.check(id, user_id="anna", type="read_docs")
    details: list[dict[str, Any]] = [{}, {"damage_type": "slow_response"}, {"damage_type": "repetitive_error", "user_explicit": True}]
    outcomes = ["failure", "success", "partial"]
    world.batch(*(reviewing(id, chance.choice(outcomes), chance.choice(["low", "medium"]), **chance.choice(details)) for id in ids))


@pytest.mark.parametrize(("window_hours", "threshold"), [(24, 3), (0.0001, 1_000_000), (1.00001, 3), (24, 1_000_000)])
def test_thousands_of_damages_that_come_and_fade(sqlite_world: MakeWorld, window_hours: float, threshold: float) -> None:
    """Batches and pauses of every size, with sweeps, resets and restarts in between: after each, the store has what the log gives."""
    world = sqlite_world(hours(damage_threshold=threshold, damage_window_hours=window_hours, recovery_period_hours=window_hours))
    chance = random.Random(f"{window_hours} {threshold}")
    for round_number in range(30):
        busy(world, chance.choice([1, 1, 2, 7, 40, 60]), chance)
        assert_folded(world)
        world.hand.advance(int(window_hours * HOUR * chance.choice([0, 0.001, 1 / 64, 0.3, 0.499, 0.5, 0.501, 0.999, 1, 3])))
        if chance.random() < 0.3:
            world.sweep()
            assert_folded(world)
        if chance.random() < 0.05:
            world.reset(ANNA)
        if round_number % 10 == 9:
            world.restart()
    assert len(world.log(ANNA)) > 300
    world.hand.advance(int(3 * window_hours * HOUR))
    sweeps_until_nothing_is_due(world, 3)


def test_a_circuit_is_swept_once_for_all_that_begins_to_fade_and_once_for_all_that_leaves(sqlite_world: MakeWorld) -> None:
    """Two damages ten hours apart are four sweeps, however long it takes; then it is never due again."""
    world = sqlite_world(trust_policy())
    world.damage()
    world.hand.advance(10 * HOUR)
    world.damage()
    began = world.hand.now()
    assert sweeps_until_nothing_is_due(world, 4) == 4
    assert world.hand.now() < began + DAY + HOUR
    assert world.stored(ANNA).window.reviewed == 0


def test_many_damages_at_once_are_swept_together(sqlite_world: MakeWorld) -> None:
    """However many they are: what began within a few seconds is added up in one go."""
    world = sqlite_world(hours(damage_threshold=1_000_000))
    for _ in range(4):
        world.batch(*(damaging() for _ in range(50)))
        world.hand.advance(1_000)
    assert sweeps_until_nothing_is_due(world, 2) == 2


@pytest.mark.parametrize(
    "after",
    [
        hours(damage_window_hours=96),
        hours(damage_window_hours=1),
        circuits_policy({"scope": "user:*"}),
        circuits_policy({"scope": ANNA, "window_ms": DAY}),
        trust_policy(mode="off"),
    ],
    ids=["longer", "shorter", "template", "exact", "off"],
)
def test_a_sweep_after_a_reload_neither_fails_nor_spins(sqlite_world: MakeWorld, after: Policy) -> None:
    """The circuit is due under the old policy's terms; under the new one it is put right, and others that are due are swept with it."""
    world = sqlite_world(trust_policy())
    world.damage(user="bob")
    world.damage()
    world.hand.advance(HOUR)
    world.damage()
    world.policy = after
    if after.circuits.covering_text(ANNA) is None:
        assert align(world) == 1
        world.run(Align("default", ["user:bob/general"]))
    world.hand.advance(14 * HOUR)
    world.sweep()
    assert world.do(world.store.due_circuits()) == []
    world.hand.advance(5 * DAY)
    for _ in range(2):
        world.sweep()
    assert world.do(world.store.due_circuits()) == []
    if after.circuits.covering_text(ANNA) is not None:
        assert_folded(world)


def test_a_longer_window_has_damage_count_whole_that_had_begun_to_fade(sqlite_world: MakeWorld) -> None:
    """Three quarters of the old window are but three eighths of the new one: never more than whole, and exact."""
    world = sqlite_world(hours(damage_threshold=100))
    world.damage()
    world.hand.advance(18 * HOUR)
    assert world.succeed().after.damage_score == 0.5
    world.policy = hours(damage_threshold=100, damage_window_hours=48)
    assert world.succeed().after.damage_score == 1.0
    world.hand.advance(18 * HOUR)
    assert world.succeed().after.damage_score == 0.5
    assert_folded(world)


def test_a_lower_threshold_does_not_judge_the_past_again(sqlite_world: MakeWorld) -> None:
    """Trust stays whole until the next damage, and a success is none; what is reduced stays so until its own time."""
    world = sqlite_world(trust_policy())
    world.damage()
    world.damage(user="bob")
    world.damage(user="bob")
    reset_at = world.damage(user="bob").at + DAY
    world.policy = trust_policy(domains={"*": {"damage_threshold": 1, "recovery_period_hours": 1}})
    assert world.seen(ANNA).state is State.CLOSED
    assert world.succeed().after.state.value == "full_autonomy"
    assert world.seen("user:bob/general").reset_at == reset_at
    assert world.damage(severity=0.1).after.state.value == "reduced_autonomy"


def test_trust_that_is_switched_off_and_on_again(sqlite_world: MakeWorld) -> None:
    """Off, nothing is recorded and nobody is asked; on again, it is as it was, time having passed."""
    world = sqlite_world(trust_policy())
    for _ in range(3):
        world.damage()
    world.policy = trust_policy(mode="off")
    assert align(world) == 1
    assert isinstance(world.run(damaging()), CircuitNotFound)
    assert world.check(user_id="anna", type="file_write").verdict.allowed
    world.check("unmeasured", user_id="anna")
    assert world.review("unmeasured", "failure").circuits == ()
    assert [kind.type.value for kind in world.events("circuit.archived")] == ["circuit.archived"]
    world.hand.advance(HOUR)
    world.policy = trust_policy()
    assert align(world) == 1
    seen = world.seen(ANNA)
    assert (seen.state, seen.window.failures, seen.archived_at) == (State.OPEN, 3, None)
    assert not world.check(user_id="anna", type="read_docs").verdict.allowed
    assert_folded(world)


@pytest.mark.parametrize("mode", ["enforce", "shadow", "off"])
@pytest.mark.parametrize("scope", ["user:*", ANNA])
def test_a_breaker_of_users_stands_in_the_place_of_trust(sqlite_world: MakeWorld, scope: str, mode: str) -> None:
    """Nothing can be told to it, whatever its mode: it counts what was reviewed, as every other breaker does."""
    world = sqlite_world(circuits_policy({"scope": scope, "failure_threshold": 2, "window_ms": DAY, "mode": mode}))
    refused = world.run(damaging())
    assert isinstance(refused, CircuitNotFound)
    assert "circuit breaker of its own" in refused.message
    assert world.log(ANNA) == []


def test_reviews_of_what_a_user_asked_for_feed_their_trust(sqlite_world: MakeWorld) -> None:
    """By the kind of damage that the review names, else a wrong answer; scaled by its severity, and by the user's own word."""
    world = sqlite_world(trust_policy())
    for id, severity, details, weight in (
        ("a", "low", {}, 0.5),
        ("b", "medium", {"damage_type": "slow_response"}, 0.3),
        ("c", "high", {"damage_type": "slow_response", "user_explicit": True}, 0.9),
    ):
        world.check(id, user_id="anna")
        world.review(id, "failure", severity, **details)
        assert world.log(ANNA)[-1].weight == weight * MICRO
    assert world.seen(ANNA).window.weighted == 1_700_000
    assert world.seen("user:anna/other").window.failures == 0


def test_an_amended_review_gives_trust_back(sqlite_world: MakeWorld) -> None:
    """The third failure never was one: trust is whole as if it had not been reduced, and the successes since count for nothing."""
    world = sqlite_world(trust_policy())
    for id in "abc":
        world.check(id, user_id="anna", type="read_docs")
    for id in "abc":
        world.review(id, "failure")
    assert world.seen(ANNA).state is State.OPEN
    world.hand.advance(HOUR)
    answer = world.review("c", "success", amend=True)
    assert [(move.scope, move.previous_state, move.state) for move in answer.circuits] == [(ANNA, "open", "closed")]
    assert_folded(world)


def test_what_a_review_says_was_damaged_can_be_put_right(sqlite_world: MakeWorld) -> None:
    """Nothing but the kind of damage is amended: it weighs what that kind weighs, at its own time."""
    world = sqlite_world(trust_policy())
    world.check("a", user_id="anna")
    world.review("a", "failure", damage_type="repetitive_error", user_explicit=True)
    assert world.log(ANNA)[0].weight == 3_000_000
    assert world.seen(ANNA).state is State.OPEN
    assert world.review("a", "failure", damage_type="slow_response").duplicate
    assert not world.review("a", "failure", damage_type="slow_response", amend=True).duplicate
    assert world.log(ANNA)[0].weight == 450_000
    assert world.seen(ANNA).state is State.CLOSED
    assert world.review("a", "failure", damage_type="slow_response", amend=True).duplicate
    assert_folded(world)


@pytest.mark.parametrize("amended", [100, 255, 299])
def test_an_amendment_anywhere_among_damage_that_fades_is_folded_again(sqlite_world: MakeWorld, amended: int) -> None:
    """Before, on and after a snapshot, with reloads to other windows in the log, and with damage that has left since."""
    world = sqlite_world(hours(damage_threshold=1_000_000))
    for number in range(300):
        if number % 4 == 0:
            world.check(f"d{number}", user_id="anna", type="read_docs")
            world.review(f"d{number}", "failure", "high" if number % 3 else "low")
        else:
            world.damage(severity=0.3)
        world.hand.advance(6 * 60_000)
        if number in (100, 200):
            world.policy = hours(damage_threshold=1_000_000, damage_window_hours=number / 10)
    id = f"d{amended - amended % 4}"
    assert world.review(id, "partial", amend=True).circuits[0].state == "closed"
    assert_folded(world)
    world.hand.advance(9 * HOUR)
    assert_folded(world)
    world.damage()
    assert_folded(world)


def test_what_was_asked_for_before_the_test_began_says_nothing_when_it_is_reviewed_during_it(sqlite_world: MakeWorld) -> None:
    """The time that a decision was asked for is on record with its outcome, and an amendment finds it there."""
    world = sqlite_world(trust_policy())
    for id in ("before", "early"):
        world.check(id, user_id="anna", type="read_docs")
    for _ in range(3):
        world.damage()
    world.hand.advance(DAY)
    world.check("during", user_id="anna", type="read_docs")
    world.review("before", "success")
    assert world.seen(ANNA).probe_successes == 0
    world.review("during", "success")
    assert world.seen(ANNA).probe_successes == 1
    world.review("early", "failure", "critical")
    assert world.seen(ANNA).state is State.HALF_OPEN
    asked = {entry.decision_id: entry.asked_at for entry in world.log(ANNA) if entry.asked_at is not None}
    assert asked == {"before": START, "during": START + DAY, "early": START}
    world.review("before", "failure", amend=True)
    assert_folded(world)
    assert world.seen(ANNA).state is State.HALF_OPEN


def test_what_a_batch_tells_of_one_user_is_counted_in_order_and_once(make_world: MakeWorld) -> None:
    """Two of the same id in one transaction are one damage, on either database."""
    world = make_world(trust_policy())
    answers = world.batch(*(damaging(id=id, severity=0.5) for id in ("one", "two", "one", "three", "two")))
    assert [answer.duplicate for answer in answers] == [False, False, True, False, True]
    assert [answer.after.damage_score for answer in answers] == [0.5, 1.0, 1.0, 1.5, 1.5]
    assert len(world.log(ANNA)) == 3


def test_settings_of_trust_come_back_as_they_went_in(sqlite_world: MakeWorld) -> None:
    """Weights, actions of high impact and the setback, under the key that the damage is logged with."""
    policy = trust_policy(
        severity_weights={"slow_response": 0.1}, high_impact_actions=["Deploy", "pay"], domains={"*": {"preset": "strict"}}
    )
    world = sqlite_world(policy)
    world.damage()
    expected = world.settings(ANNA)
    assert world.settings_on_record() == {expected.key: expected}
    assert expected.trust is not None
    assert expected.trust.high_impact == {"deploy", "pay"}


def test_settings_that_were_stored_before_there_was_trust_are_read_as_they_were(sqlite_world: MakeWorld) -> None:
    """They have no word of it, and keep the key that they were logged under."""
    policy = circuits_policy({"scope": "user:*"})
    settings = policy.circuits.templates["user:*"]
    text = circuit_settings_to_json(settings)
    assert "trust" not in orjson.loads(text)
    assert circuit_settings_from_json(text) == settings


def test_a_circuit_that_was_stored_before_there_was_trust_goes_on_under_it(sqlite_world: MakeWorld) -> None:
    """Its row has none of the sums: what it held of a user counts, whole and then fading, as if it had always been trust."""
    world = sqlite_world(circuits_policy({"scope": "user:*", "window_ms": DAY}))
    world.fail("a", user_id="anna")
    world.hand.advance(13 * HOUR)
    world.fail("b", user_id="anna")
    old = orjson.loads(circuit_text(world.stored(ANNA)))
    for name in ("told", "broken_at", "recoveries", "recovery_ms", "relapses", "ages_at"):
        del old[name]
    for name in ("mid", "fading", "fading_at", "fresh_at", "fades_ms"):
        del old["window"][name]
    text = orjson.dumps(old).decode()
    assert isinstance(circuit_of(text), Circuit)
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.circuits).values(data=text))
    world.restart()
    world.policy = trust_policy()
    world.hand.advance(5 * HOUR)
    assert world.succeed().after.damage_score == 1.5
    assert_folded(world)


class Counted:
    """What was asked of the database: the statements, with the rows and the steps of the engine that each takes when asked again."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, Any]] = []

    def note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            self.statements.append((statement, parameters))

    def cost(self, world: World) -> tuple[int, int, int]:
        """How many statements, rows, and steps of the engine's machine."""
        rows = steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        with world.connected() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            for statement, parameters in self.statements:
                driver.set_progress_handler(step, 1)
                rows += len(driver.execute(statement, parameters).fetchall())
                driver.set_progress_handler(None, 1)
        return len(self.statements), rows, steps


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()
    event.listen(Engine, "after_cursor_execute", counted.note)
    try:
        yield counted
    finally:
        event.remove(Engine, "after_cursor_execute", counted.note)


def read_costs(world: World) -> list[tuple[int, int, int]]:
    """What one look costs, and then what one damage costs."""
    with counting() as looking:
        world.seen(ANNA)
    with counting() as telling:
        world.damage(severity=0.000001)
    return [looking.cost(world), telling.cost(world)]


@pytest.mark.parametrize("age", [2 * HOUR, 14 * HOUR, 20 * HOUR, 30 * HOUR], ids=["fresh", "fading", "mostly fading", "leaving"])
def test_the_score_costs_the_same_with_ten_and_with_a_hundred_thousand_past_events(sqlite_world: MakeWorld, age: int) -> None:
    """The same statements and hardly more rows and steps, whatever of it is whole, fading or gone, once it was swept."""
    costs = []
    for times in (10, 100_000):
        world = sqlite_world(hours(damage_threshold=1_000_000))
        with world.connected() as connection, connection.begin():
            for table in (tables.circuits, tables.circuit_log):
                connection.execute(table.delete())
        long_ago(world, times, min(age, 23 * HOUR) - HOUR, age)
        for wait in (0, 20 * 60_000, 500):
            world.hand.advance(wait)
            world.sweep()
        costs.append(read_costs(world))
        world.close()
    for (statements, rows, steps), (statements_later, rows_later, steps_later) in zip(*costs, strict=True):
        assert statements_later <= statements + 1
        assert rows_later <= rows + 64
        assert steps_later <= steps + 5_000


def test_many_damages_at_one_moment_cost_a_look_nothing_once_they_were_swept(sqlite_world: MakeWorld) -> None:
    """Not while they are whole, nor while they fade, nor when they have gone: the sweep has them within seconds."""
    world = sqlite_world(hours(damage_threshold=1_000_000))
    long_ago(world, 20_000, 1, HOUR)
    for wait in (0, 12 * HOUR, 6 * HOUR, 7 * HOUR):
        world.hand.advance(wait)
        world.sweep()
        with counting() as looking:
            world.seen(ANNA)
        assert looking.cost(world)[1] <= 40

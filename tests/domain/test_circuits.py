"""The breaker's rules, one by one (SPEC 5)."""

import pytest

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import TRANSITIONS, Cause, Circuit, Entry, EntryKind, IllegalTransition, State
from cstp_server.domain.decisions import Outcome, Severity
from tests.domain.machine import Machine, settings


def in_state(state: State) -> Machine:
    """A machine that came to a state in the usual way."""
    machine = Machine()
    if state is State.OPEN:
        machine.opened()
    elif state is State.HALF_OPEN:
        machine.half_opened()
        assert machine.claim("probe")
    assert machine.state is state
    machine.moves.clear()
    return machine


CAUSED_BY = {
    Cause.THRESHOLD_REACHED: lambda machine: machine.fail(3),
    Cause.COOLDOWN_ELAPSED: lambda machine: machine.wait(500).look(),
    Cause.PROBES_SUCCEEDED: lambda machine: machine.succeed(decision="probe"),
    Cause.PROBE_FAILED: lambda machine: machine.fail(decision="probe"),
    Cause.RESET: lambda machine: machine.reset(),
    Cause.PROBE_FIRST: lambda machine: machine.reset(probe_first=True),
    Cause.TRIPPED: lambda machine: machine.trip(),
}


@pytest.mark.parametrize(("state", "cause"), TRANSITIONS, ids=lambda part: part.value)
def test_every_row_of_the_table_is_a_move_that_its_cause_makes(state: State, cause: Cause) -> None:
    """What causes the row makes exactly that move."""
    machine = in_state(state)
    CAUSED_BY[cause](machine)
    assert [(move.previous, move.cause, move.state) for move in machine.moves] == [(state, cause, TRANSITIONS[state, cause])]


def test_the_table_has_the_moves_of_the_contract_and_no_other() -> None:
    """Nothing leads from closed to half-open, and only operators move a circuit from a state to itself."""
    moves = {(state, cause.value, after) for (state, cause), after in TRANSITIONS.items()}
    by_themselves = {move for move in moves if move[1] not in {"reset", "tripped", "probe_first"}}
    assert by_themselves == {
        (State.CLOSED, "threshold_reached", State.OPEN),
        (State.OPEN, "cooldown_elapsed", State.HALF_OPEN),
        (State.HALF_OPEN, "probes_succeeded", State.CLOSED),
        (State.HALF_OPEN, "probe_failed", State.OPEN),
    }
    assert (State.CLOSED, Cause.PROBE_FIRST) not in TRANSITIONS


def test_a_cause_without_a_meaning_in_a_state_raises_and_changes_nothing() -> None:
    """A circuit that is open cannot be opened by a threshold."""
    circuit = in_state(State.OPEN).circuit
    with pytest.raises(IllegalTransition):
        breaker._move(circuit, Cause.THRESHOLD_REACHED)


@pytest.mark.parametrize(
    ("threshold", "severities", "opens"),
    [
        (3 * MICRO, [Severity.MEDIUM] * 3, True),
        (3 * MICRO, [Severity.MEDIUM] * 2, False),
        (MICRO // 2, [Severity.LOW], True),
        (3 * MICRO, [Severity.LOW] * 5, False),
        (3 * MICRO, [Severity.LOW] * 6, True),
        (3 * MICRO, [Severity.HIGH], False),
        (3 * MICRO, [Severity.HIGH, Severity.MEDIUM], True),
        (5 * MICRO, [Severity.CRITICAL], True),
        (2_500_000, [Severity.HIGH, Severity.LOW], True),
        (2_500_001, [Severity.HIGH, Severity.LOW], False),
    ],
)
def test_weighted_failures_open_the_circuit_at_the_threshold(threshold: int, severities: list[Severity], opens: bool) -> None:
    """It opens when the sum of the weights reaches the threshold, fractions included, and not before."""
    machine = Machine(settings(failure_threshold=threshold))
    for severity in severities:
        assert machine.state is State.CLOSED
        machine.fail(severity=severity)
    assert (machine.state is State.OPEN) is opens


def test_tenths_add_up_without_drift() -> None:
    """Ten failures of a tenth each reach a threshold of one: sums of floats would not."""
    machine = Machine(settings(failure_threshold=MICRO, severity_weights=dict.fromkeys(Severity, MICRO // 10)))
    machine.fail(9)
    assert machine.state is State.CLOSED
    machine.fail()
    assert machine.look() is State.OPEN


@pytest.mark.parametrize(("outcomes", "opens"), [("ffss", True), ("fsss", False), ("fff", False), ("sssf", False), ("ssff", True)])
def test_a_rate_opens_the_circuit_over_enough_decisions(outcomes: str, opens: bool) -> None:
    """Half of at least four decisions: fewer decisions say nothing, and successes count into the rate whatever `on_success` is."""
    policy = settings(failure_threshold=100 * MICRO, failure_rate_threshold=0.5, minimum_decisions=4)
    machine = Machine(policy)
    for letter in outcomes:
        machine.review(Outcome.FAILURE if letter == "f" else Outcome.SUCCESS)
    assert (machine.state is State.OPEN) is opens


def test_the_failure_rate_ignores_what_a_success_takes_off() -> None:
    """After a failure and a success nothing is held against the circuit, and the rate is a half."""
    machine = Machine().fail().succeed()
    assert machine.circuit.window.failures == 0
    assert machine.circuit.failure_rate == 0.5


def test_failures_of_one_agent_alone_do_not_open_a_circuit_that_wants_two() -> None:
    """`min_distinct_agents` counts the agents whose failures are in the window."""
    machine = Machine(settings(min_distinct_agents=2)).fail(20, agent="a")
    assert machine.state is State.CLOSED
    machine.fail(agent="b")
    assert machine.look() is State.OPEN


def test_an_agent_whose_failures_left_the_window_does_not_count_as_distinct() -> None:
    """The window is what makes agents distinct."""
    machine = Machine(settings(min_distinct_agents=2)).fail(agent="b").wait(1_000).fail(5, agent="a")
    assert machine.state is State.CLOSED


@pytest.mark.parametrize(
    ("on_success", "left", "weighted"),
    [(OnSuccess.DECREMENT, 1, MICRO // 2), (OnSuccess.RESET, 0, 0), (OnSuccess.NONE, 2, 5 * MICRO // 2)],
)
def test_a_success_does_to_the_failures_what_the_policy_says(on_success: OnSuccess, left: int, weighted: int) -> None:
    """`decrement` takes off the oldest with its own weight, `reset` all, `none` none."""
    machine = Machine(settings(on_success=on_success)).fail(severity=Severity.HIGH).fail(severity=Severity.LOW).succeed()
    assert (machine.circuit.window.failures, machine.circuit.window.weighted) == (left, weighted)


def test_successes_never_take_the_count_below_zero() -> None:
    """Successes that come first are not credit for failures to come."""
    machine = Machine().succeed(10).fail(2)
    assert (machine.circuit.window.failures, machine.circuit.window.weighted) == (2, 2 * MICRO)
    machine.succeed(7)
    assert (machine.circuit.window.failures, machine.circuit.window.weighted) == (0, 0)


def test_a_failure_counts_until_just_before_the_window_has_passed() -> None:
    """A failure at t counts while now - t < window."""
    machine = Machine().fail().wait(999)
    machine.look()
    assert machine.circuit.window.failures == 1
    machine.wait(1).look()
    assert (machine.circuit.window.failures, machine.circuit.window.reviewed) == (0, 0)


def test_three_failures_that_never_share_a_window_do_not_open() -> None:
    """The first has left when the third arrives, to the millisecond."""
    machine = Machine().fail().wait(500).fail().wait(500).fail()
    assert machine.state is State.CLOSED
    assert Machine().fail().wait(500).fail().wait(499).fail().state is State.OPEN


def test_a_failure_that_a_success_took_off_is_not_taken_off_again_by_time() -> None:
    """Two failures, one taken off; when the first leaves the window the second is still held."""
    machine = Machine().fail().wait(100).fail().succeed().wait(900)
    machine.look()
    assert (machine.circuit.window.failures, machine.circuit.window.failed) == (1, 1)


@pytest.mark.parametrize("outcome", [Outcome.PARTIAL, Outcome.ABANDONED])
def test_what_is_neither_success_nor_failure_only_counts_as_reviewed(outcome: Outcome) -> None:
    """It neither adds to the failures nor takes one off."""
    machine = Machine().fail()
    machine.review(outcome)
    assert (machine.circuit.window.failures, machine.circuit.window.reviewed, machine.circuit.window.succeeded) == (1, 2, 0)


def test_the_policy_says_which_outcomes_are_failures() -> None:
    """With `partial` among them, three partial outcomes open the circuit."""
    machine = Machine(settings(failure_outcomes=frozenset({Outcome.FAILURE, Outcome.PARTIAL})))
    for _ in range(3):
        machine.review(Outcome.PARTIAL)
    assert machine.look() is State.OPEN


def test_an_open_circuit_cools_down_to_the_millisecond() -> None:
    """Half-open from `resetAt` on, and since that moment, whenever somebody looks."""
    machine = Machine().opened()
    machine.wait(499)
    assert machine.look() is State.OPEN
    reset_at = machine.circuit.reset_at
    machine.wait(5_001)
    assert machine.look() is State.HALF_OPEN
    assert machine.circuit.since == reset_at
    assert machine.circuit.reset_at is None


def test_failures_while_open_move_neither_opened_at_nor_reset_at() -> None:
    """The cooldown that began goes on; the failures only count in the window."""
    machine = Machine().opened()
    before = (machine.circuit.opened_at, machine.circuit.reset_at, machine.circuit.openings)
    machine.wait(200).fail(10)
    assert (machine.circuit.opened_at, machine.circuit.reset_at, machine.circuit.openings) == before
    assert machine.circuit.window.failed == 13


def test_the_cooldown_multiplies_with_each_reopening_up_to_its_cap() -> None:
    """500, 1000, 1800 (the cap), 1800 ms, and 500 again after a close."""
    machine = Machine(settings(cooldown_multiplier=2.0, cooldown_max_ms=1_800, window_ms=60_000, probe_timeout_ms=10_000)).opened()
    cooldowns = []
    for attempt in range(4):
        cooldowns.append((machine.circuit.reset_at or 0) - (machine.circuit.opened_at or 0))
        machine.wait(cooldowns[-1])
        assert machine.claim(f"probe-{attempt}")
        machine.fail(decision=f"probe-{attempt}")
    assert cooldowns == [500, 1_000, 1_800, 1_800]
    machine.wait(1_800)
    assert machine.claim("good")
    machine.succeed(decision="good").opened()
    assert (machine.circuit.reset_at or 0) - machine.now == 500


def test_a_cooldown_multiplied_a_thousand_times_is_still_a_time() -> None:
    """It neither overflows nor falls below the cooldown itself."""
    policy = settings(cooldown_multiplier=100.0)
    assert 500 <= policy.cooldown_for(1_000) <= 365 * 86_400_000
    assert settings(cooldown_multiplier=100.0, cooldown_max_ms=700).cooldown_for(1_000) == 700


def test_a_half_open_circuit_leases_no_more_probes_than_the_policy_has() -> None:
    """The third of three claims on two probes gets nothing, and changes nothing but the log."""
    machine = Machine(settings(half_open_probes=2, half_open_successes=2)).half_opened()
    assert machine.claim("one")
    assert machine.claim("two")
    assert not machine.claim("three")
    assert len(machine.circuit.leases) == 2


def test_a_closed_or_open_circuit_leases_nothing() -> None:
    """A claim there is only written down."""
    assert not Machine().claim("one")
    machine = Machine().opened()
    assert not machine.claim("one")


def test_an_unreported_probe_does_not_block_for_ever() -> None:
    """Its lease runs out as inconclusive, to the millisecond, and the slot is free for the next one."""
    machine = Machine().half_opened()
    assert machine.claim("lost")
    machine.wait(199)
    assert not machine.claim("next")
    machine.wait(1)
    assert machine.claim("next")
    assert machine.state is State.HALF_OPEN


@pytest.mark.parametrize("outcome", [Outcome.PARTIAL, Outcome.ABANDONED])
def test_an_inconclusive_probe_returns_its_slot(outcome: Outcome) -> None:
    """`partial` and `abandoned` neither close nor open, and let another probe through."""
    machine = Machine().half_opened()
    assert machine.claim("one")
    machine.review(outcome, "one")
    assert (machine.state, machine.circuit.probe_successes) == (State.HALF_OPEN, 0)
    assert machine.claim("two")


def test_a_partial_probe_that_the_policy_calls_a_failure_opens_again() -> None:
    """`failure_outcomes` holds for probes too."""
    machine = Machine(settings(failure_outcomes=frozenset({Outcome.FAILURE, Outcome.PARTIAL}))).half_opened()
    assert machine.claim("one")
    machine.review(Outcome.PARTIAL, "one")
    assert machine.look() is State.OPEN


def test_as_many_probes_must_succeed_as_the_policy_says() -> None:
    """With one probe at a time and two successes wanted, the second closes it, and the window is cleared."""
    machine = Machine(settings(half_open_successes=2, window_ms=60_000)).half_opened()
    for name, state in (("one", State.HALF_OPEN), ("two", State.CLOSED)):
        assert machine.claim(name)
        machine.succeed(decision=name)
        assert machine.state is state
    assert machine.circuit.window.reviewed == machine.circuit.window.failures == 0
    assert machine.circuit.recent == ()


def test_damage_up_to_the_tolerance_is_borne() -> None:
    """Two failures of a half are borne by a tolerance of one, the third opens the circuit with a new cooldown."""
    policy = settings(half_open_probes=3, half_open_successes=3, half_open_tolerance=MICRO)
    machine = Machine(policy).half_opened()
    for name in ("one", "two", "three"):
        assert machine.claim(name)
    machine.fail(decision="one", severity=Severity.LOW).fail(decision="two", severity=Severity.LOW)
    assert machine.state is State.HALF_OPEN
    machine.fail(decision="three", severity=Severity.LOW)
    assert machine.look() is State.OPEN
    assert machine.circuit.reset_at == machine.now + 500
    assert machine.circuit.openings == 2


def test_a_stragglers_success_does_not_close_a_half_open_circuit() -> None:
    """The late success of a decision from before counts in the window and nowhere else."""
    machine = Machine(settings(window_ms=60_000)).half_opened().succeed(decision="straggler")
    assert (machine.state, machine.circuit.probe_successes) == (State.HALF_OPEN, 0)
    assert machine.circuit.window.succeeded == 1


def test_a_stragglers_failure_does_not_reopen_a_half_open_circuit() -> None:
    """Nor does a late failure of one that holds no lease."""
    machine = Machine(settings(window_ms=60_000)).half_opened().fail(20, decision="straggler")
    assert machine.state is State.HALF_OPEN


def test_an_expired_probes_outcome_only_counts_in_the_window() -> None:
    """It came too late to close or open anything."""
    machine = Machine(settings(window_ms=60_000)).half_opened()
    assert machine.claim("late")
    machine.wait(200).succeed(decision="late")
    assert (machine.state, machine.circuit.probe_successes) == (State.HALF_OPEN, 0)
    machine.fail(decision="late")
    assert machine.state is State.HALF_OPEN


def test_a_probe_of_an_earlier_generation_moves_nothing() -> None:
    """Another probe's failure re-opened the circuit; the success of the first, in the next generation, does not close it."""
    machine = Machine(settings(half_open_probes=2, half_open_successes=1, probe_timeout_ms=60_000, window_ms=60_000)).half_opened()
    assert machine.claim("one")
    assert machine.claim("two")
    machine.fail(decision="two").wait(500)
    assert machine.look() is State.HALF_OPEN
    machine.succeed(decision="one")
    assert (machine.state, machine.circuit.probe_successes) == (State.HALF_OPEN, 0)


def test_a_probe_from_before_the_circuit_closed_does_not_open_it() -> None:
    """Its failure is one failure in the new window."""
    machine = Machine(settings(half_open_probes=2, half_open_successes=1, probe_timeout_ms=60_000)).half_opened()
    assert machine.claim("one")
    assert machine.claim("two")
    machine.succeed(decision="one").fail(decision="two")
    assert (machine.state, machine.circuit.window.failures) == (State.CLOSED, 1)


def test_a_forced_circuit_stays_open_for_ever() -> None:
    """It has no cooldown, whatever happens in it."""
    machine = Machine()
    machine.trip()
    machine.wait(10**12).succeed(10)
    assert machine.look() is State.OPEN
    assert (machine.circuit.forced, machine.circuit.reset_at, machine.circuit.next_due()) == (True, None, None)
    assert (machine.circuit.forced_by, machine.circuit.forced_reason) == ("ops", "incident")


def test_tripping_an_open_circuit_takes_its_cooldown_away() -> None:
    """`openedAt` stays."""
    machine = Machine().opened()
    opened_at = machine.circuit.opened_at
    machine.wait(100).trip()
    machine.wait(10_000)
    assert machine.look() is State.OPEN
    assert machine.circuit.opened_at == opened_at


def test_tripping_a_half_open_circuit_takes_its_probes_away() -> None:
    """Their success closes nothing any more."""
    machine = Machine().half_opened()
    assert machine.claim("one")
    machine.trip()
    machine.succeed(decision="one")
    assert (machine.state, machine.circuit.forced, machine.circuit.leases) == (State.OPEN, True, ())


def test_probe_first_makes_a_forced_circuit_half_open_and_no_longer_forced() -> None:
    """It then proves itself with probes, as after a cooldown."""
    machine = Machine()
    machine.trip()
    machine.reset(probe_first=True)
    assert (machine.state, machine.circuit.forced, machine.circuit.forced_reason) == (State.HALF_OPEN, False, None)
    assert machine.claim("one")
    machine.succeed(decision="one")
    assert machine.state is State.CLOSED


def test_probe_first_on_a_closed_circuit_only_clears_it() -> None:
    """There is nothing to prove."""
    machine = Machine().fail(2)
    machine.reset(probe_first=True)
    assert (machine.state, machine.circuit.window.failures) == (State.CLOSED, 0)


def test_probe_first_takes_the_probes_of_before_away() -> None:
    """A new generation begins: the old probe's success does not close it."""
    machine = Machine().half_opened()
    assert machine.claim("old")
    machine.reset(probe_first=True)
    assert machine.claim("new")
    machine.succeed(decision="old")
    assert machine.state is State.HALF_OPEN


def test_a_reset_of_a_closed_circuit_clears_its_counters_and_keeps_its_since() -> None:
    """It has been closed all the time."""
    machine = Machine().opened()
    machine.wait(10).reset()
    since = machine.circuit.since
    machine.fail(2).wait(10).reset()
    assert (machine.circuit.window.failures, machine.circuit.window.reviewed, machine.circuit.since) == (0, 0, since)


def test_the_newest_ten_failures_are_remembered() -> None:
    """Newest first, and no longer than they are in the window."""
    machine = Machine(settings(failure_threshold=100 * MICRO)).fail(12)
    assert [decision for decision, _ in machine.circuit.recent] == [f"dec_{number}" for number in range(12, 2, -1)]
    machine.wait(1_000).look()
    assert machine.circuit.recent == ()


def test_what_time_will_do_next_is_known() -> None:
    """The end of the cooldown, then the end of the first lease, else nothing."""
    machine = Machine(settings(half_open_probes=2))
    assert machine.circuit.next_due() is None
    machine.opened()
    assert machine.circuit.next_due() == machine.now + 500
    machine.wait(500).look()
    assert machine.circuit.next_due() is None
    machine.claim("one")
    first = machine.now + 200
    machine.wait(50).claim("two")
    assert machine.circuit.next_due() == first


def test_a_clock_that_runs_backwards_does_not_make_the_log_do_so() -> None:
    """A later line is never older than the one before it."""
    machine = Machine().fail()
    machine.wait(-5_000).fail()
    assert [entry.at for entry in machine.log] == [10_000, 10_000]
    assert machine.circuit.window.failures == 2


def test_another_outcome_under_the_settings_of_its_time() -> None:
    """An amended line has the weight that its own settings give."""
    entry = Entry(1, 0, EntryKind.OUTCOME, "test", "dec", "agent", Outcome.SUCCESS)
    failed = breaker.amended(entry, settings(), Outcome.FAILURE, Severity.HIGH)
    assert (failed.failed, failed.weight) == (True, 2 * MICRO)
    back = breaker.amended(failed, settings(), Outcome.SUCCESS, Severity.HIGH)
    assert back == entry


def past_of(*entries: Entry, horizon: int | None = None, more_until: int = 0) -> Past:
    return Past(entries, [entry for entry in entries if entry.failed], horizon=horizon, more_until=more_until)


def line(seq: int, at: int, *, failed: bool = True) -> Entry:
    outcome = Outcome.FAILURE if failed else Outcome.SUCCESS
    return Entry(seq, at, EntryKind.OUTCOME, "test", f"dec_{seq}", "agent", outcome, failed, MICRO if failed else 0)


def test_a_past_that_is_asked_for_more_than_it_holds_says_so() -> None:
    """A window that moved further than was read would count wrongly: that is a fault, not an empty answer."""
    with pytest.raises(LookupError):
        past_of(line(1, 10), horizon=50).expired(0, 51)
    with pytest.raises(LookupError):
        past_of(line(1, 10), more_until=9).oldest_failure(1)


def test_a_past_that_lies_behind_the_head_does_not_matter() -> None:
    """Once a reset has put the head behind everything that was not read, the next failure is the oldest."""
    past = past_of(line(1, 10), more_until=9)
    past.append(line(11, 70))
    assert past.oldest_failure(10).seq == 11


def test_a_past_knows_how_old_its_oldest_outcome_may_be() -> None:
    """The oldest that was read, else just after what was read, else the oldest appended, else none."""
    assert past_of(line(1, 10), horizon=50).oldest_at() == 10
    assert past_of(horizon=50).oldest_at() == 51
    appended = Past()
    assert appended.oldest_at() is None
    appended.append(line(1, 70))
    assert appended.oldest_at() == 70


def test_a_weight_of_nothing_never_opens() -> None:
    """A severity that weighs nothing is counted and reaches no threshold."""
    weights: CircuitSettings = settings(failure_threshold=1, severity_weights={**settings().severity_weights, Severity.LOW: 0})
    machine = Machine(weights).fail(50, severity=Severity.LOW)
    assert (machine.state, machine.circuit.window.failures) == (State.CLOSED, 50)


def test_a_fresh_circuit_is_closed_and_empty() -> None:
    """Nothing is held against what was never used."""
    circuit = Circuit("global")
    assert (circuit.state, circuit.failure_rate, circuit.next_due(), circuit.lease_of("any")) == (State.CLOSED, 0.0, None, None)

"""Trust between a user and the AI, rule by rule (SPEC 10)."""

from fractions import Fraction

import pytest

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import State, Step
from cstp_server.domain.damage import DEFAULT_DAMAGE_WEIGHTS, Damage, DamageType, damage_told_by
from cstp_server.domain.decisions import Outcome, Review, Severity
from cstp_server.domain.findings import GuardType, Intervention, Mode
from cstp_server.domain.trust import RecoveryStatus, TrustState, autonomy_of, needs_confirmation, reason_of, trust_finding
from tests.domain.machine import Machine, settings, trust_settings

SCOPE = "user:anna/general"
WRONG = Damage(DamageType.WRONG_ANSWER, MICRO)
IN_THE_SEED = {
    DamageType.WRONG_ANSWER: 1.0,
    DamageType.IGNORED_PREFERENCE: 1.5,
    DamageType.UNEXPECTED_ACTION: 1.2,
    DamageType.SLOW_RESPONSE: 0.3,
    DamageType.MISUNDERSTOOD_INTENT: 0.8,
    DamageType.REPETITIVE_ERROR: 2.0,
}


class Trust(Machine):
    """One user's trust in one domain, that is told of damage and successes."""

    def __init__(self, policy: CircuitSettings | None = None, scope: str = SCOPE) -> None:
        super().__init__(policy if policy is not None else trust_settings(), scope)

    def damage(self, times: int = 1, damage: Damage = WRONG, **details: object) -> "Trust":
        for _ in range(times):
            self.review(Outcome.FAILURE, damage=damage, **details)  # type: ignore[arg-type]  # details by name
        return self

    def later(self, ms: int) -> "Trust":
        """Some time later, and looked at."""
        self.now += ms
        self.look()
        return self

    def reduced(self) -> "Trust":
        """Damaged three times, at once."""
        return self.damage(3)

    def supervised(self) -> "Trust":
        """Damaged, and under test since the recovery period is over."""
        return self.reduced().later(1_000)

    @property
    def score(self) -> float:
        self.look()
        return breaker.held(self.circuit, self.policy, self.now) / MICRO

    def weight_of(self, damage: Damage, severity: Severity = Severity.MEDIUM) -> float:
        """What one damage adds."""
        step: Step = self.review(Outcome.FAILURE, damage=damage, severity=severity)
        assert step.entry is not None
        return step.entry.weight / MICRO


@pytest.mark.parametrize("kind", DamageType)
@pytest.mark.parametrize("severity", [1.0, 0.5, 0.1, 0.000001])
@pytest.mark.parametrize("explicit", [False, True])
def test_damage_weighs_its_kind_times_its_severity_and_half_more_when_the_user_said_so(
    kind: DamageType, severity: float, explicit: bool
) -> None:
    """The weights are those of the guide; what is left of the smallest is a millionth, never nothing."""
    weight = Trust().weight_of(Damage(kind, round(severity * MICRO), explicit))
    exact = Fraction(round(IN_THE_SEED[kind] * MICRO), MICRO) * round(severity * MICRO) * (Fraction(3, 2) if explicit else 1)
    assert weight * MICRO == max(int(exact), 1)


@pytest.mark.parametrize(
    ("severity", "scale"), [(Severity.LOW, 0.5), (Severity.MEDIUM, 1.0), (Severity.HIGH, 2.0), (Severity.CRITICAL, 5.0)]
)
def test_the_severity_of_a_review_scales_the_damage_that_it_tells_of(severity: Severity, scale: float) -> None:
    """By the breaker's severity weights; a wrong answer, unless the review says what else it was."""
    plain = damage_told_by(Review(Outcome.FAILURE, severity))
    told = damage_told_by(Review(Outcome.FAILURE, severity, {"damage_type": "repetitive_error", "user_explicit": True}))
    assert Trust().weight_of(plain, severity) == scale
    assert Trust().weight_of(told, severity) == scale * 2 * 1.5


@pytest.mark.parametrize("details", [{"damage_type": "no such type"}, {"damage_type": 7}, {"user_explicit": "yes"}, {}])
def test_a_review_that_does_not_say_what_was_damaged_tells_of_a_wrong_answer(details: dict[str, object]) -> None:
    """What reviews carry beside the outcome is free; only what is known is taken from it."""
    assert damage_told_by(Review(Outcome.FAILURE, details=details)) == Damage(DamageType.WRONG_ANSWER, None, explicit=False)


def test_a_kind_that_weighs_nothing_by_policy_adds_nothing() -> None:
    """A weight of 0 is what somebody asked for; everything else that rounds to nothing is a millionth."""
    weights = {**DEFAULT_DAMAGE_WEIGHTS, DamageType.SLOW_RESPONSE: 0, DamageType.WRONG_ANSWER: 1}
    assert Damage(DamageType.SLOW_RESPONSE, MICRO).weight(weights, {}, Severity.MEDIUM) == 0
    assert Damage(DamageType.WRONG_ANSWER, 1).weight(weights, {}, Severity.MEDIUM) == 1


@pytest.mark.parametrize(
    ("damages", "state"),
    [
        ([(DamageType.WRONG_ANSWER, 1.0)] * 2, TrustState.FULL_AUTONOMY),
        ([(DamageType.WRONG_ANSWER, 1.0)] * 3, TrustState.REDUCED_AUTONOMY),
        ([(DamageType.IGNORED_PREFERENCE, 1.0)] * 2, TrustState.REDUCED_AUTONOMY),
        ([(DamageType.REPETITIVE_ERROR, 1.0), (DamageType.WRONG_ANSWER, 0.999999)], TrustState.FULL_AUTONOMY),
        ([(DamageType.REPETITIVE_ERROR, 1.0), (DamageType.WRONG_ANSWER, 1.0)], TrustState.REDUCED_AUTONOMY),
        ([(DamageType.SLOW_RESPONSE, 1.0)] * 9, TrustState.FULL_AUTONOMY),
        ([(DamageType.SLOW_RESPONSE, 1.0)] * 10, TrustState.REDUCED_AUTONOMY),
    ],
)
def test_trust_is_reduced_when_the_damage_adds_up_to_the_threshold(damages: list[tuple[DamageType, float]], state: TrustState) -> None:
    """Three wrong answers, two ignored preferences, ten slow responses: tenths add up without drift."""
    trust = Trust()
    for kind, severity in damages:
        trust.damage(damage=Damage(kind, round(severity * MICRO)))
    assert autonomy_of(trust.circuit, trust.policy, trust.now).state is state


@pytest.mark.parametrize("window", [1_000, 1_001, 999, 3, 2])
def test_damage_counts_whole_for_half_the_window_and_then_less_and_less(window: int) -> None:
    """At every millisecond of a short window, and around the corners of a longer one, whether or not its half is a whole number."""
    ages = range(window + 2) if window < 10 else [0, 1, 499, 500, 501, 502, 749, 750, 751, window - 1, window, window + 1]
    for age in ages:
        trust = Trust(trust_settings(window_ms=window, failure_threshold=100 * MICRO)).damage(damage=Damage(scale=MICRO))
        trust.wait(age)
        expected = MICRO if 2 * age <= window else max(0, MICRO * 2 * (window - age) // window)
        assert round(trust.score * MICRO) == expected, age


def test_the_whole_of_the_damage_is_gone_at_the_end_of_the_window_and_so_is_its_count() -> None:
    """Until just before it, the damage is counted as recent."""
    trust = Trust().damage().later(999)
    assert (trust.circuit.window.failures, trust.circuit.window.fading) == (1, MICRO)
    trust.later(1)
    assert (trust.circuit.window.failures, trust.circuit.window.fading, trust.circuit.window.fading_at) == (0, 0, 0)


def test_damage_that_has_half_faded_adds_up_to_half() -> None:
    """Two wrong answers that count for a half each, and one and a half new ones: not a third whole one, but together not enough."""
    trust = Trust().damage(2).later(750).damage(damage=Damage(scale=MICRO)).damage(damage=Damage(scale=MICRO - 1))
    assert trust.score == 2.999999
    assert trust.state is State.CLOSED
    trust.damage(damage=Damage(scale=1))
    assert trust.look() is State.OPEN


def test_what_a_breaker_had_forgiven_does_not_come_back_as_damage() -> None:
    """A policy that puts trust in the place of a breaker counts what that still held, fading by its age; and the other way round, whole."""
    trust = Trust(settings(failure_threshold=100 * MICRO, on_success=OnSuccess.DECREMENT)).damage(2)
    trust.succeed()
    trust.policy = trust_settings()
    assert trust.later(750).score == 0.5
    trust.policy = settings(failure_threshold=100 * MICRO)
    assert trust.score == 1.0
    assert trust.later(250).score == 0.0


def test_a_success_takes_nothing_off() -> None:
    """Trust fades back with time; successes are what supervised trust is proven by."""
    trust = Trust().damage(2)
    trust.succeed(20)
    assert trust.score == 2.0


TABLE = [
    ("full_autonomy", "file_write", False),
    ("full_autonomy", "read_docs", False),
    ("full_autonomy", None, False),
    ("supervised", "file_write", True),
    ("supervised", " File_Write ", True),
    ("supervised", "read_docs", False),
    ("supervised", "", True),
    ("supervised", None, True),
    ("reduced_autonomy", "file_write", True),
    ("reduced_autonomy", "read_docs", True),
    ("reduced_autonomy", None, True),
]


def trust_in(state: str) -> Trust:
    if state == "full_autonomy":
        return Trust()
    return Trust().supervised() if state == "supervised" else Trust().reduced()


@pytest.mark.parametrize(("state", "action", "required"), TABLE)
def test_what_wants_the_users_confirmation(state: str, action: str | None, required: bool) -> None:
    """Nothing, then everything, then what is of high impact; what does not say what it is may be."""
    trust = trust_in(state)
    assert autonomy_of(trust.circuit, trust.policy, trust.now).state.value == state
    assert needs_confirmation(trust.circuit, trust.policy, action) is required
    finding = trust_finding(trust.circuit, trust.policy, action, trust.now)
    assert (finding is not None) is required
    if finding is not None:
        assert (finding.type, finding.intervention) == (GuardType.TRUST, Intervention.CONFIRM)
        assert finding.circuit is not None
        assert finding.circuit.state == state
        assert finding.message == reason_of(trust.circuit, trust.policy, action, trust.now)


def test_an_hour_of_waiting_would_help_only_where_time_brings_trust_back() -> None:
    """Reduced trust is under test at the end of its recovery; under test, only successes help; forced, nothing but an operator."""
    reduced = Trust().reduced()
    finding = trust_finding(reduced.circuit, reduced.policy, "read_docs", reduced.now)
    assert finding is not None
    assert [(change.change, change.until) for change in finding.changes] == [("wait", reduced.now + 1_000)]
    supervised = Trust().supervised()
    finding = trust_finding(supervised.circuit, supervised.policy, "file_write", supervised.now)
    assert finding is not None
    assert finding.changes == ()
    supervised.trip()
    finding = trust_finding(supervised.circuit, supervised.policy, "read_docs", supervised.now)
    assert finding is not None
    assert (finding.changes, "incident" in finding.message) == ((), True)


def test_trust_that_is_only_shadowed_says_so_in_its_finding() -> None:
    """The verdict takes it for what would have been said."""
    trust = Trust(trust_settings(mode=Mode.SHADOW)).reduced()
    finding = trust_finding(trust.circuit, trust.policy, "file_write", trust.now)
    assert finding is not None
    assert finding.mode is Mode.SHADOW


def test_five_supervised_successes_bring_trust_back_whole() -> None:
    """And clear what had damaged it, so that the next damage is the first one."""
    trust = Trust().supervised()
    trust.succeed(4)
    assert trust.look() is State.HALF_OPEN
    trust.succeed()
    assert (trust.state, trust.score, trust.circuit.window.failures) == (State.CLOSED, 0.0, 0)
    trust.damage(2)
    assert trust.look() is State.CLOSED


@pytest.mark.parametrize(
    ("successes", "damages", "left"),
    [(3, [0.5], 1), (3, [0.5, 0.5], 0), (1, [0.1], 0), (4, [1.0], 2), (4, [0.000001] * 2, 0), (0, [1.0], 0)],
)
def test_borne_damage_sets_progress_back_by_two_each_time(successes: int, damages: list[float], left: int) -> None:
    """Never below nothing, however little the damage weighs."""
    trust = Trust().supervised()
    trust.succeed(successes)
    for severity in damages:
        trust.damage(damage=Damage(scale=round(severity * MICRO)))
    assert (trust.state, trust.circuit.probe_successes) == (State.HALF_OPEN, left)


@pytest.mark.parametrize(("damages", "relapses"), [([1.0], False), ([0.5, 0.5], False), ([0.6, 0.4, 0.000001], True), ([1.0, 0.1], True)])
def test_more_damage_than_the_tolerance_reduces_trust_again(damages: list[float], relapses: bool) -> None:
    """It is the sum since trust is under test that counts, successes in between or not, and the recovery period begins anew."""
    trust = Trust().supervised()
    for severity in damages:
        trust.succeed()
        trust.damage(damage=Damage(scale=round(severity * MICRO)))
    assert (trust.state is State.OPEN) is relapses
    assert trust.circuit.relapses == relapses
    if relapses:
        assert trust.circuit.reset_at == trust.now + 1_000
        assert trust.circuit.probe_successes == 0


def test_the_tolerance_is_whole_again_in_the_next_test() -> None:
    """What was borne in one does not count in another."""
    trust = Trust().supervised().damage().damage(damage=Damage(scale=1))
    assert trust.state is State.OPEN
    trust.later(1_000)
    trust.damage()
    assert trust.look() is State.HALF_OPEN


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE])
def test_what_was_asked_for_before_trust_was_under_test_says_nothing_about_it(outcome: Outcome) -> None:
    """A straggler only counts in the window: it neither proves trust nor damages it anew; one asked for at that very moment does."""
    trust = Trust().supervised()
    since = trust.circuit.since
    trust.succeed(3)
    reviewed = trust.circuit.window.reviewed
    for _ in range(3):
        trust.review(outcome, asked_at=since - 1)
    assert (trust.state, trust.circuit.probe_successes, trust.circuit.probe_damage) == (State.HALF_OPEN, 3, 0)
    assert trust.circuit.window.reviewed == reviewed + 3
    trust.review(outcome, asked_at=since)
    assert trust.circuit.probe_successes == (4 if outcome is Outcome.SUCCESS else 1)


@pytest.mark.parametrize("outcome", [Outcome.PARTIAL, Outcome.ABANDONED])
def test_what_is_neither_success_nor_failure_moves_nothing(outcome: Outcome) -> None:
    """Neither progress nor a setback."""
    trust = Trust().supervised()
    trust.succeed(3)
    trust.review(outcome)
    assert (trust.circuit.probe_successes, trust.circuit.probe_damage) == (3, 0)


def test_trust_gives_no_leases() -> None:
    """However many actions are asked for while it is under test, none waits for another's review."""
    trust = Trust().supervised()
    assert not any(trust.claim(f"d{number}") for number in range(5))
    assert trust.circuit.leases == ()


def test_what_is_told_of_no_decision_under_one_id_is_known_again() -> None:
    """As long as it is among the latest ones, through a reset too; what a decision's review says is no part of this."""
    trust = Trust()
    trust.review(Outcome.FAILURE, "told", damage=WRONG)
    trust.review(Outcome.FAILURE, "reviewed", damage=WRONG, asked_at=trust.now)
    trust.reset()
    assert breaker.told_under(trust.circuit, "told") is Outcome.FAILURE
    assert breaker.told_under(trust.circuit, "reviewed") is None
    for number in range(31):
        trust.review(Outcome.SUCCESS, f"other {number}")
    assert breaker.told_under(trust.circuit, "told") is Outcome.FAILURE
    trust.review(Outcome.SUCCESS, "one more")
    assert breaker.told_under(trust.circuit, "told") is None


def test_recoveries_and_relapses_are_counted_and_how_long_they_took() -> None:
    """From the loss of trust to its return, through whatever relapses; a reset is neither."""
    trust = Trust().supervised()
    trust.damage(2)
    trust.later(1_000)
    trust.wait(7)
    trust.succeed(5)
    assert (trust.circuit.recoveries, trust.circuit.recovery_ms, trust.circuit.relapses) == (1, 2_007, 1)
    trust.supervised().reset()
    assert (trust.circuit.recoveries, trust.circuit.recovery_ms, trust.circuit.relapses) == (1, 2_007, 1)
    trust.supervised().wait(3)
    trust.succeed(5)
    assert (trust.circuit.recoveries, trust.circuit.recovery_ms, trust.circuit.relapses) == (2, 3_010, 1)


def test_progress_goes_from_nothing_through_a_quarter_to_the_whole() -> None:
    """A quarter for the recovery period and the rest for the successes: three of five are 0.7, as in the guide."""
    trust = Trust().reduced()
    seen = []
    for wait in (0, 500, 499):
        trust.later(wait)
        seen.append(autonomy_of(trust.circuit, trust.policy, trust.now).recovery)
    assert [recovery.status for recovery in seen] == [RecoveryStatus.RECOVERY_PERIOD] * 3
    assert [recovery.progress for recovery in seen] == pytest.approx([0.0, 0.125, 0.24975])
    assert [recovery.remaining_ms for recovery in seen] == [1_000, 500, 1]
    trust.later(1)
    trust.succeed(3)
    tested = autonomy_of(trust.circuit, trust.policy, trust.now).recovery
    assert tested.progress == pytest.approx(0.7)
    assert (tested.status, tested.successes, tested.required) == (RecoveryStatus.SUPERVISED_TESTING, 3, 5)
    trust.succeed(2)
    assert autonomy_of(trust.circuit, trust.policy, trust.now).recovery.progress == 1.0


def test_what_autonomy_tells_beside_the_state() -> None:
    """The score now, the threshold, how long it has been so, and how many damages are in the window."""
    trust = Trust()
    fresh = autonomy_of(trust.circuit, trust.policy, trust.now)
    assert (fresh.state, fresh.in_state_ms, fresh.damage_score, fresh.recent_damage) == (TrustState.FULL_AUTONOMY, 0, 0.0, 0)
    trust.damage(3).later(750)
    told = autonomy_of(trust.circuit, trust.policy, trust.now)
    assert (told.damage_score, told.damage_threshold, told.in_state_ms, told.recent_damage, told.forced) == (1.5, 3.0, 750, 3, False)
    trust.trip()
    assert autonomy_of(trust.circuit, trust.policy, trust.now).forced


def test_domains_of_one_user_are_circuits_of_their_own() -> None:
    """Nothing that happens to one is seen in the other."""
    code, documents = Trust(scope="user:anna/code_review"), Trust(scope="user:anna/documentation")
    code.reduced()
    assert (code.state, documents.state, documents.score) == (State.OPEN, State.CLOSED, 0.0)


def test_a_clock_that_goes_back_neither_revives_damage_nor_loses_what_is_told() -> None:
    """What is told then happens when the last line happened; a success told of no decision is one, whatever the clock says."""
    trust = Trust().supervised()
    trust.damage()
    faded = trust.later(100).score
    trust.now -= 90
    trust.damage(damage=Damage(scale=1))
    assert trust.log[-1].at >= trust.log[-2].at
    assert trust.score >= faded
    again = Trust().reduced()
    again.later(1_000)
    again.now -= 500
    again.succeed(5)
    assert again.state is State.CLOSED

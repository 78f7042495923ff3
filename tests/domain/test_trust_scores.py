"""The trust score is Wilson's lower bound, and the successes that are still needed are as many as it takes and no more (SPEC 8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.trust_scores import Record, successes_needed, wilson_lower_bound

PUBLISHED = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)]
"""95 % limits of Wilson's score method without continuity correction (method 3) in Table I of R. G. Newcombe, "Two-sided confidence
intervals for the single proportion: comparison of seven methods", Statistics in Medicine 17 (1998), pages 857-872."""


@pytest.mark.parametrize(("successes", "total", "lower", "upper"), PUBLISHED)
def test_the_bound_is_the_published_one(successes: int, total: int, lower: float, upper: float) -> None:
    """To all printed digits; the upper limit of the share of successes is one less the lower limit of the share of failures."""
    assert round(wilson_lower_bound(successes, total), 4) == lower
    assert round(1 - wilson_lower_bound(total - successes, total), 4) == upper


def test_without_evidence_there_is_no_trust() -> None:
    """Nothing counted, or nothing but failures: 0."""
    assert [wilson_lower_bound(0, total) for total in (0, 1, 1000)] == [0.0, 0.0, 0.0]
    assert (Record().score, Record().reviewed, Record().coverage) == (0.0, 0, 1.0)


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_bound_is_below_the_share_and_never_reaches_one(successes: int, failures: int) -> None:
    """From 0 to the share of successes; only endless evidence would give 1."""
    total = successes + failures
    bound = wilson_lower_bound(successes, total)
    assert 0 <= bound < 1
    assert total == 0 or bound <= successes / total


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_a_success_raises_and_a_failure_lowers(successes: int, failures: int) -> None:
    """One more outcome moves the score its own way."""
    bound = wilson_lower_bound(successes, successes + failures)
    assert wilson_lower_bound(successes + 1, successes + 1 + failures) > bound
    assert wilson_lower_bound(successes, successes + failures + 1) <= bound


def test_hits_of_tripwires_count_as_failures_and_not_as_reviews() -> None:
    """They lower the score, and do not make the record longer."""
    record = Record(succeeded=40, failed=3, hits=7)
    assert record.reviewed == 43
    assert record.score == wilson_lower_bound(40, 50)


@pytest.mark.parametrize(("due", "covered", "coverage"), [(0, 0, 1.0), (4, 3, 0.75), (4, 0, 0.0), (4, 4, 1.0)])
def test_coverage_is_the_share_of_due_decisions_with_an_outcome(due: int, covered: int, coverage: float) -> None:
    """Where nothing is due, nothing is owed."""
    assert Record(due=due, covered=covered).coverage == coverage


RECORDS = st.builds(Record, succeeded=st.integers(0, 60), failed=st.integers(0, 8), hits=st.integers(0, 4))


@given(RECORDS, st.floats(0, 0.97), st.integers(1, 120))
def test_the_successes_needed_are_enough_and_the_fewest(record: Record, min_score: float, min_reviewed: int) -> None:
    """Counted one by one: with that many the score and the number are reached, with any fewer they are not."""

    def reached(more: int) -> bool:
        grown = Record(record.succeeded + more, record.failed, record.hits)
        return grown.score >= min_score and grown.reviewed >= min_reviewed

    counted = next(more for more in range(100_000) if reached(more))
    assert successes_needed(record, min_score=min_score, min_reviewed=min_reviewed) == counted


@pytest.mark.parametrize(
    ("record", "min_score", "min_reviewed", "needed"),
    [
        (Record(), 0.8, 1, 16),
        (Record(), 0.8, 50, 50),
        (Record(succeeded=49), 0.8, 50, 1),
        (Record(succeeded=50), 0.8, 50, 0),
        (Record(succeeded=50, hits=20), 0.8, 50, 78),
        (Record(succeeded=1000), 1.0, 1, None),
    ],
)
def test_what_an_agent_still_needs(record: Record, min_score: float, min_reviewed: int, needed: int | None) -> None:
    """From nothing, by number, by score, after hits, and never where the score is out of reach."""
    assert successes_needed(record, min_score=min_score, min_reviewed=min_reviewed) == needed

"""Sixty-four clients and two processes: what may happen once happens once."""

import time

import pytest

from cstp_server.domain.circuit_state import State
from tests.concurrency.conftest import Pair
from tests.concurrency.crowd import COUNTING, TOOLING, at_once, check, review
from tests.concurrency.store import assert_folded, decisions

CLIENTS = 64
ROUNDS = 5


def wait_until_half_open(pair: Pair) -> None:
    """The circuit cools down by itself."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if pair.world.seen(TOOLING).state is State.HALF_OPEN:
            return
        time.sleep(0.02)
    pytest.fail("the circuit did not cool down")


def test_exactly_as_many_probes_as_there_are_get_through(pair: Pair) -> None:
    """Three of sixty-four in every round, each with its lease; the others are blocked and hold nothing."""
    opening = [f"open-{number}" for number in range(3)]
    for id in opening:
        at_once(pair.urls, [check(id, "tooling")])
    at_once(pair.urls, [review(id, "failure") for id in opening])
    for attempt in range(ROUNDS):
        wait_until_half_open(pair)
        told = at_once(pair.urls, [check(f"probe-{attempt}-{number}", "tooling") for number in range(CLIENTS)])
        results = [one.result for one in told]
        assert all(result is not None for result in results)
        admitted = [result for result in results if result is not None and result["allowed"]]
        assert len(admitted) == 3
        assert all([probe["scope"] for probe in result["probes"]] == [TOOLING] for result in admitted)
        assert all(not result["probes"] for result in results if result is not None and not result["allowed"])
        assert len(pair.world.stored(TOOLING).leases) == 3
        at_once(pair.urls, [review(admitted[0]["decisionId"], "failure")])
    wait_until_half_open(pair)
    assert_folded(pair.world, TOOLING)
    moves = [event.type.value for event in pair.world.events("circuit.") if event.subject == TOOLING and "probe" not in event.type.value]
    assert moves[: 2 * ROUNDS + 1] == ["circuit.opened", "circuit.half_opened"] * ROUNDS + ["circuit.opened"]


def test_sixty_four_failing_reviews_at_once_count_sixty_four(pair: Pair) -> None:
    """Each is told another count, and the last one is told them all."""
    before = pair.world.stored(COUNTING).window.failures
    ids = [f"fail-{number}" for number in range(CLIENTS)]
    at_once(pair.urls, [check(id) for id in ids])
    told = at_once(pair.urls, [review(id, "failure") for id in ids])
    counts = sorted(one.result["circuits"][0]["failureCount"] for one in told if one.result is not None)
    assert counts == list(range(before + 1, before + CLIENTS + 1))
    assert pair.world.stored(COUNTING).window.failures == before + CLIENTS
    assert_folded(pair.world, COUNTING)


def test_the_same_review_from_everybody_counts_once(pair: Pair) -> None:
    """One is the first, the others are duplicates of it."""
    before = pair.world.stored(COUNTING).window.failures
    at_once(pair.urls, [check("reviewed-by-all")])
    told = at_once(pair.urls, [review("reviewed-by-all", "failure")] * CLIENTS)
    results = [one.result for one in told if one.result is not None]
    assert len(results) == CLIENTS
    assert sum(not result["duplicate"] for result in results) == 1
    assert len({(result["reviewedAt"], result["circuits"][0]["failureCount"]) for result in results}) == 1
    assert pair.world.stored(COUNTING).window.failures == before + 1


def test_the_same_decision_from_everybody_is_one_decision(pair: Pair) -> None:
    """One is stored, and all get its answer to the letter."""
    told = at_once(pair.urls, [check("asked-by-all", tags=["a", "b"])] * CLIENTS)
    assert all(one.result == told[0].result and one.acknowledged for one in told)
    assert "asked-by-all" in decisions(pair.world)
    assert len([event for event in pair.world.events("decision.checked") if event.subject == "asked-by-all"]) == 1


def test_the_same_id_with_other_content_is_a_conflict_for_all_but_the_first(pair: Pair) -> None:
    """Whoever came first stands."""
    told = at_once(pair.urls, [check("contested", description=f"by {number}") for number in range(CLIENTS)])
    assert sum(one.acknowledged for one in told) == 1
    assert {one.code for one in told if not one.acknowledged} == {-32011}

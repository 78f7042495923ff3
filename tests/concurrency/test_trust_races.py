"""Many assistants tell of one user at the same moment, over two processes: every damage counts, and each exactly once."""

from typing import Any

from tests.concurrency.conftest import Pair
from tests.concurrency.crowd import Call, at_once

CLIENTS = 100


def damage(user: str, id: str, kind: str = "wrong_answer", severity: float = 1) -> Call:
    return "cstp.recordDamage", {"userId": user, "domain": "racing", "damageType": kind, "severity": severity, "id": id}


def success(user: str, id: str) -> Call:
    return "cstp.recordSuccess", {"userId": user, "domain": "racing", "id": id}


def level(url: str, user: str) -> dict[str, Any]:
    told = at_once([url], [("cstp.getAutonomyLevel", {"userId": user, "domain": "racing"})])[0].result
    assert told is not None
    return told


def answers(pair: Pair, calls: list[Call]) -> list[dict[str, Any]]:
    told = at_once(pair.urls, calls)
    assert {one.code for one in told} == {None}
    return [one.result for one in told if one.result is not None]


def test_of_damages_at_the_same_moment_none_is_lost(pair: Pair) -> None:
    """A hundred small ones sum up exactly, in every process, and each saw another sum."""
    told = answers(pair, [damage("summed", f"small-{number}", "slow_response", 0.05) for number in range(CLIENTS)])
    assert sorted(one["damageScore"] for one in told) == [round(0.015 * (number + 1), 6) for number in range(CLIENTS)]
    for url in pair.urls:
        found = level(url, "summed")
        assert (found["state"], found["damageScore"], found["recentDamageCount"]) == ("full_autonomy", 1.5, CLIENTS)


def test_trust_is_reduced_once_by_whoever_reaches_the_threshold(pair: Pair) -> None:
    """One answer tells of the change, one event is on record, and all damages are."""
    told = answers(pair, [damage("reduced", f"hit-{number}") for number in range(CLIENTS)])
    moved = [one for one in told if one["previousState"] != one["state"]]
    assert [(one["previousState"], one["state"], one["damageScore"]) for one in moved] == [("full_autonomy", "reduced_autonomy", 3)]
    events = [event for event in pair.world.events("circuit.") if event.subject == "user:reduced/racing"]
    assert [event.type.value for event in events] == ["circuit.opened"]
    told_of = [event for event in pair.world.events("trust.") if event.subject == "user:reduced/racing"]
    assert sorted(event.data["id"] for event in told_of) == sorted(f"hit-{number}" for number in range(CLIENTS))
    assert level(pair.urls[0], "reduced")["recentDamageCount"] == CLIENTS


def test_what_everybody_tells_under_one_id_counts_once(pair: Pair) -> None:
    """Whoever is first; the rest hear that it is a duplicate."""
    told = answers(pair, [damage("repeated", "the-same") for _ in range(CLIENTS)])
    assert [one["duplicate"] for one in told].count(False) == 1
    assert {one["damageScore"] for one in told} == {1}


def test_successes_and_damages_of_two_domains_do_not_meet(pair: Pair) -> None:
    """All at once, mixed, for two users: each has their own sum."""
    calls: list[Call] = []
    for number in range(CLIENTS // 2):
        calls += [damage("one", f"one-{number}", "slow_response", 0.1), success("one", f"fine-{number}")]
        calls += [damage("other", f"other-{number}", "slow_response", 0.05)]
    answers(pair, calls)
    assert [level(pair.urls[-1], user)["damageScore"] for user in ("one", "other")] == [1.5, 0.75]

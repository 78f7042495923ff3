"""Guards of transitions: consent is what is true, and nothing else (SPEC 8)."""

from dataclasses import dataclass, replace

import pytest

from cstp_server.domain.expressions import EvaluationFailed, Subject
from cstp_server.domain.posture_guards import ConditionGuard, TransitionRequest, applying
from cstp_server.domain.postures import Posture, TransitionType

UPGRADE = TransitionRequest(
    agent_id="bot",
    from_posture=Posture.SUPERVISED,
    to_posture=Posture.FULL_AUTONOMY,
    type=TransitionType.UPGRADE,
    requester="ops",
    reason="reliable",
    metadata={"ticket": 7},
    acl_tier=3,
    score=0.9,
    reviewed=120,
)


@dataclass(frozen=True, slots=True)
class Always:
    """A condition that gives the same for everything."""

    result: bool | EvaluationFailed
    source: str = "…"

    def __call__(self, _subject: Subject, /) -> bool | EvaluationFailed:
        return self.result


YES = Always(result=True)


@pytest.mark.parametrize(("result", "reason"), [(True, None), (False, "not so"), (EvaluationFailed("a key is missing"), "not so")])
def test_only_what_is_true_passes(result: bool | EvaluationFailed, reason: str | None) -> None:
    """A condition that does not hold, and one that cannot be evaluated, refuse with the guard's own reason."""
    assert ConditionGuard("a", Always(result), "not so").check(UPGRADE) == reason


def test_a_guard_is_asked_about_its_own_transitions() -> None:
    """Upgrades unless it says otherwise; guards keep their order."""
    upgrades = ConditionGuard("upgrades", YES, "")
    all_three = ConditionGuard("all", YES, "", frozenset(TransitionType) - {TransitionType.EMERGENCY_DOWNGRADE})
    downgrades = ConditionGuard("downgrades", YES, "", frozenset({TransitionType.DOWNGRADE}))
    guards = [upgrades, all_three, downgrades]
    asked = {kind: [guard.name for guard in applying(guards, replace(UPGRADE, type=kind))] for kind in TransitionType}
    assert asked == {
        TransitionType.UPGRADE: ["upgrades", "all"],
        TransitionType.DOWNGRADE: ["all", "downgrades"],
        TransitionType.MAINTAIN: ["all"],
        TransitionType.EMERGENCY_DOWNGRADE: [],
    }


def test_a_condition_sees_the_request_the_metadata_the_agent_and_its_record() -> None:
    """By the names of the specification."""
    assert UPGRADE.subject().data == {
        "request": {
            "from_posture": "supervised",
            "to_posture": "full_autonomy",
            "from_level": 3,
            "to_level": 5,
            "transition_type": "upgrade",
            "requester": "ops",
            "reason": "reliable",
        },
        "metadata": {"ticket": 7},
        "agent": {"id": "bot", "acl_tier": 3},
        "trust": {"score": 0.9, "reviewed": 120},
    }

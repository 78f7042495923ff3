"""An emergency stops the decisions that it meets, whatever the agent becomes afterwards (SPEC 8)."""

from dataclasses import replace

import pytest

from cstp_server.domain.callers import Role
from cstp_server.domain.decisions import Outcome, Review, ReviewAnswer
from cstp_server.domain.refusals import Conflict
from cstp_server.services.requests import CheckRequest, ReviewRequest
from cstp_server.services.reviewing import review
from tests.services.conftest import MakeWorld
from tests.services.governing import appraise, block, known, move, posture_move
from tests.services.test_postures import CANCEL_MS, beginning
from tests.services.world import OPS, circuits_policy, facts_of, policy_of


@pytest.mark.parametrize("posture", ["assisted", "human_decides"])
@pytest.mark.parametrize("way", ["emergency", "downgrade"])
def test_a_decision_that_an_emergency_met_does_not_go_on_when_the_agent_may_act_again(
    make_world: MakeWorld, posture: str, way: str
) -> None:
    """Neither when its window is over nor when somebody approves; one that is asked for afterwards does."""
    world = make_world(beginning(posture))
    world.check("a")
    world.hand.advance(1)
    if way == "emergency":
        block(world, "bot")
    else:
        move(world, "bot", "blocked")
    move(world, "bot", posture)
    world.hand.advance(1)
    world.check("b")
    if posture == "assisted":
        world.hand.advance(CANCEL_MS)
        world.sweep()
        assert world.status("b") == "allowed"
    else:
        assert world.resolve("a").objections
        assert world.resolve("b").status.value == "approved"
    decision = world.decision("a")
    assert decision is not None
    assert decision.resolved is not None
    assert (decision.status.value, "was blocked while the decision waited" in str(decision.resolved.reason)) == ("denied", True)


def test_an_upgrade_that_was_asked_for_before_an_emergency_does_not_overrule_it(make_world: MakeWorld) -> None:
    """Also of an agent that a circuit had blocked already: the guards consented to something else."""
    circuit = {"scope": "agent:*", "failure_threshold": 1, "on_open": {"downgrade_to": "blocked"}}
    world = make_world(circuits_policy(circuit))
    world.fail("a")
    assert known(world).posture.posture.label == "blocked"
    in_flight = posture_move("bot", "full_autonomy", before="blocked")
    block(world, "bot")
    assert isinstance(world.run(in_flight), Conflict)
    assert known(world).posture.posture.label == "blocked"


def test_no_move_makes_failures_undone(make_world: MakeWorld) -> None:
    """Twenty successes after a circuit has closed again are enough, and the score of the whole window is not."""
    circuit = {"scope": "agent:*", "failure_threshold": 20, "on_open": {"downgrade_to": "human_decides"}}
    earned = {"to": "assisted", "min_score": 0.8, "min_reviewed": 5, "auto": True}
    world = make_world(circuits_policy(circuit, postures={"earned": [earned]}))
    world.fail(*(f"bad-{number}" for number in range(20)))
    world.hand.advance(1)
    world.reset("agent:bot")
    world.hand.advance(1)
    for number in range(20):
        world.check(f"good-{number}")
        world.review(f"good-{number}", "success")
    appraise(world)
    view = known(world)
    assert (view.posture.posture.label, view.record.score < 0.8) == ("supervised", True)
    assert view.earnable is not None
    needed = view.earnable.successes_needed
    assert needed is not None
    for number in range(needed):
        world.check(f"more-{number}")
        world.review(f"more-{number}", "success")
    appraise(world)
    assert known(world).posture.posture.label == "assisted"


def test_a_token_that_acts_and_reviews_cannot_vouch_for_what_was_never_asked(make_world: MakeWorld) -> None:
    """What it tells of itself under an agent's name is self-reported, whoever it names."""
    both = replace(OPS, principal="worker", authenticated=True, roles=frozenset({Role.AGENT, Role.CI}))
    world = make_world(policy_of(reviews={"self_reported": "ignore"}))
    request = ReviewRequest("never-asked", Review(Outcome.SUCCESS), inline=CheckRequest(facts_of("bot"), "bot", "digest"))
    answer = world.do(review(world.store.transactor, both, request))
    assert isinstance(answer, ReviewAnswer)
    assert answer.self_reported

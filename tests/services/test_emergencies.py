"""An emergency stops the decisions that it meets, whatever the agent becomes afterwards (SPEC 8)."""

import pytest

from tests.services.conftest import MakeWorld
from tests.services.governing import block, move
from tests.services.test_postures import CANCEL_MS, beginning


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

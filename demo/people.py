"""The people: one who operates the service, and users who complain and confirm."""

from random import Random

from cstp_server.client import Conflict, Decision
from demo.rogue import ROGUE
from demo.stage import Stage

_LOOKS_EVERY = 2.5
_APPROVES, _DENIES = 0.5, 0.7
_COMPLAINER, _DOMAIN = "maria", "billing"


async def operate(stage: Stage) -> None:
    """Look at what waits now and then: approve some, deny some, and leave the rest to whoever watches."""
    draw = stage.chance("operator")
    seen: dict[str, float] = {}
    while True:
        await stage.pace.wait(_LOOKS_EVERY)
        page = await stage.operator.decisions_page(status="pending", limit=100)
        for decision in reversed(page.decisions):
            if decision.id not in seen:
                seen[decision.id] = draw.random()
            elif seen[decision.id] < _DENIES:
                await _settle(stage, decision, approve=seen[decision.id] < _APPROVES)


async def _settle(stage: Stage, decision: Decision, *, approve: bool) -> None:
    if decision.pending is None or decision.agent_id == ROGUE:
        return
    try:
        if decision.pending.kind == "confirmation":
            await stage.agents.confirm(decision.id, note="the user agreed")
        elif decision.pending.kind == "approval" and approve:
            await stage.operator.approve(decision.id, note="looks right")
        elif decision.pending.kind == "approval":
            await stage.operator.deny(decision.id, note="not today")
    except Conflict:
        return  # somebody at the dashboard was faster


async def forgive(stage: Stage) -> None:
    """Let the misbehaving agent go on, under supervision, a while after it was blocked."""
    while True:
        await stage.pace.wait(5)
        posture = await stage.operator.get_posture(ROGUE)
        if posture.posture != "blocked":
            continue
        await stage.pace.wait(12)
        await stage.operator.transition_posture(ROGUE, "human_decides", reason="its operator says that it was fixed")


async def complain(stage: Stage) -> None:
    """A user is treated badly now and then, says so, and comes round when things go well again."""
    draw: Random = stage.chance(_COMPLAINER)
    while True:
        await stage.pace.wait(9 + 2 * draw.random())
        for context in ("was refunded the wrong order", "was refunded the wrong order again"):
            await stage.pipeline.record_damage(_COMPLAINER, "wrong_answer", domain=_DOMAIN, context=context, user_explicit=True)
            await stage.pace.wait(2)
        await stage.pace.wait(18)
        for _ in range(3):
            await stage.pipeline.record_success(_COMPLAINER, domain=_DOMAIN, context="is content with the refund")
            await stage.pace.wait(2)
        await stage.pace.wait(15)

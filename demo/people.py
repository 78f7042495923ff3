"""The people: one who operates the service, and users who complain and confirm."""

from random import Random

from cstp_server.client import Conflict, Decision
from demo.rogue import ROGUE
from demo.stage import Stage

_LOOKS_EVERY = 2.5
_APPROVES, _DENIES = 0.5, 0.7
_OPERATOR = "operator"
_COMPLAINER, _DOMAIN = "maria", "billing"


async def operate(stage: Stage) -> None:
    """Look at what waits now and then: approve some, deny some, and leave the rest to whoever watches."""
    draw = stage.chance("operator")
    seen: dict[str, float] = {}
    while True:
        await stage.pace.wait(_LOOKS_EVERY)
        with stage.going_on(_OPERATOR):
            page = await stage.operator.decisions_page(status="pending", limit=100)
            waiting = page.decisions[::-1]
            for decision in waiting:
                if seen.get(decision.id, 1) < _DENIES:
                    await _settle(stage, decision, approve=seen[decision.id] < _APPROVES)
            seen = {decision.id: seen[decision.id] if decision.id in seen else draw.random() for decision in waiting}


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
        with stage.going_on(_OPERATOR):
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
            with stage.going_on(_COMPLAINER):
                await stage.pipeline.record_damage(_COMPLAINER, "wrong_answer", domain=_DOMAIN, context=context, user_explicit=True)
            await stage.pace.wait(2)
        await stage.pace.wait(18)
        for _ in range(3):
            with stage.going_on(_COMPLAINER):
                await stage.pipeline.record_success(_COMPLAINER, domain=_DOMAIN, context="is content with the refund")
            await stage.pace.wait(2)
        await stage.pace.wait(15)

"""The agents that work, and CI, which says how it went."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from cstp_server.client import Conflict, Proposal
from demo.stage import Stage, phase

USERS = ("maria", "omar", "li", "ines")
_PATIENCE = 50.0
_BAD_LUCK = 0.04
_IN_TROUBLE = 0.95


@dataclass(frozen=True, slots=True)
class Job:
    """What an agent does: something like `work` every so many seconds. It fails while the trouble comes round (every, begin, end)."""

    agent: str
    every: float
    work: Callable[[Random], Proposal]
    trouble: tuple[float, float, float] | None = None


def _refund(draw: Random) -> Proposal:
    order, amount = draw.randrange(1_000, 9_999), draw.choice((20, 35, 60, 80, 120, 240, 380, 480, 900))
    return Proposal(
        f"Refund order {order}: {draw.choice(('item arrived broken', 'parcel was lost', 'charged twice'))}",
        type="issue_refund",
        category="billing",
        confidence=round(draw.uniform(0.6, 0.99), 2),
        parameters={"amount": amount, "order": order},
        agent="refund-bot",
        user=draw.choice(USERS),
        domain="billing",
    )


def _deploy(draw: Random) -> Proposal:
    build, environment = draw.randrange(100, 999), draw.choice(("staging", "staging", "staging", "production"))
    return Proposal(
        f"Deploy build {build} to {environment}",
        type="deploy",
        category="deployment",
        stakes="high" if environment == "production" else "low",
        tags=(environment,),
        parameters={"build": build, "environment": environment},
        agent="deploy-bot",
    )


def _format(draw: Random) -> Proposal:
    return Proposal(f"Run the formatter over branch {draw.randrange(10, 99)}", type="run_tool", category="tooling", agent="formatter")


def _test(draw: Random) -> Proposal:
    return Proposal(f"Run the tests of branch {draw.randrange(10, 99)}", type="run_tool", category="tooling", agent="test-runner")


def _mail(draw: Random) -> Proposal:
    user, target = draw.choice(USERS), draw.choice(("customers.example",) * 7 + ("partners.example",))
    return Proposal(
        f"Write to {user} that the parcel is on its way",
        type="send_mail",
        category="outreach",
        context={"communication_target": f"{user}@{target}"},
        agent="mailer",
        user=user,
        domain="mail",
    )


def _look_up(draw: Random) -> Proposal:
    return Proposal(f"Look up article {draw.randrange(100, 999)}", type="read", category="research", stakes="low", agent="librarian")


JOBS: tuple[Job, ...] = (
    Job("refund-bot", 2.5, _refund),
    Job("deploy-bot", 4.0, _deploy, trouble=(75, 35, 50)),
    Job("formatter", 1.6, _format, trouble=(45, 6, 16)),
    Job("test-runner", 2.2, _test, trouble=(45, 6, 16)),
    Job("mailer", 3.0, _mail),
    Job("librarian", 4.0, _look_up),
)


async def warm_up(stage: Stage, each: int) -> None:
    """Some decisions of each agent that went well, so that there is something to see at once."""
    for job in JOBS:
        draw = stage.chance(f"{job.agent} before")
        for _ in range(each):
            with stage.going_on(job.agent):
                check = await stage.ask(job.work(draw))
                if check.allowed and check.decision_id is not None:
                    await stage.pipeline.review(check.decision_id, "success")


async def work(stage: Stage, job: Job) -> None:
    """One agent at work, for ever. What it was let do is reported on a little later, while it goes on."""
    draw, luck = stage.chance(job.agent), stage.chance(f"{job.agent} luck")
    async with asyncio.TaskGroup() as under_way:
        while True:
            under_way.create_task(_carry_out(stage, job, job.work(draw), luck.random(), luck.uniform(0.5, 1.5)))
            await stage.pace.wait(job.every * draw.uniform(0.7, 1.3))


async def _carry_out(stage: Stage, job: Job, proposal: Proposal, luck: float, takes: float) -> None:
    with stage.going_on(job.agent):
        await _act(stage, job, proposal, luck, takes)


async def _act(stage: Stage, job: Job, proposal: Proposal, luck: float, takes: float) -> None:
    check = await stage.ask(proposal)
    if check.decision_id is None or not await stage.go_on(check, _PATIENCE):
        return
    await stage.pace.wait(takes)
    in_trouble = job.trouble is not None and phase(stage.pace.elapsed, *job.trouble)
    failed = luck < (_IN_TROUBLE if in_trouble else _BAD_LUCK)
    try:
        await stage.pipeline.review(check.decision_id, "failure" if failed else "success", error_type="Timeout" if failed else None)
    except Conflict:
        return  # somebody at the dashboard has reviewed it already

"""The agent that misbehaves: it tries what it may not, until it is blocked, and again when somebody lets it go on."""

from cstp_server.client import Proposal
from demo.stage import Stage

ROGUE = "scraper"
_PAUSE = 1.5
_ROUND = 20.0

ATTEMPTS: tuple[Proposal, ...] = (
    Proposal("Collect the public price list", type="read", category="research", agent=ROGUE),
    Proposal(
        "Refund a large order of a friend", type="issue_refund", category="billing", parameters={"amount": 4_000}, agent=ROGUE, user="omar"
    ),
    Proposal(
        "Send the price list to a competitor",
        type="send_mail",
        category="outreach",
        context={"communication_target": "sales@rival.example"},
        agent=ROGUE,
    ),
    Proposal("Upload the archive with the key AKIAIOSFODNN7EXAMPLE", type="upload", category="research", stakes="high", agent=ROGUE),
    Proposal("Export all customers to a file", type="export_customers", category="research", stakes="critical", agent=ROGUE),
    Proposal("Collect the public price list once more", type="read", category="research", agent=ROGUE),
)


async def misbehave(stage: Stage) -> None:
    """One attempt after the other, for ever."""
    draw = stage.chance(ROGUE)
    while True:
        await stage.pace.wait(4 + draw.random())
        for attempt in ATTEMPTS:
            with stage.going_on(ROGUE):
                await stage.ask(attempt)
            await stage.pace.wait(_PAUSE * draw.uniform(0.8, 1.2))
        await stage.pace.wait(_ROUND)

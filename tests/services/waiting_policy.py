"""Policies under which an action waits for what its context says it `wants`."""

from dataclasses import replace
from typing import Any

from cstp_server.domain.findings import Intervention
from cstp_server.domain.resolutions import Waits
from cstp_server.policy.compiled import Policy
from tests.services.world import policy_of

APPROVAL_MS, CANCEL_MS = 60_000, 5_000
WAITS = Waits(APPROVAL_MS, CANCEL_MS)
AT_ONCE = Waits(0, 0)
"""Everything's time is up as soon as it waits: for databases whose clock is not the test's own."""
WANTED = {"cancel_window": "delay", "confirmation": "confirm", "approval": "escalate"}
"""What an action's context must want for the decision to wait for this."""


def waiting_policy(*, waits: Waits = WAITS, **sections: Any) -> Policy:
    """`delay`, `confirm`, `escalate`, `warn` or `block` where `action.context.wants` says so, besides what the sections say."""
    rules = [
        {"id": f"rule-{action.label}", "when": f'action.context.wants == "{action.label}"', "action": "escalate", "message": action.label}
        for action in (Intervention.DELAY, Intervention.CONFIRM, Intervention.ESCALATE, Intervention.WARN, Intervention.BLOCK)
    ]
    policy = policy_of(guardrails=[*rules, *sections.pop("guardrails", [])], **sections)
    actions = {f"rule-{action.label}": action for action in Intervention}
    guardrails = tuple(replace(rule, action=actions.get(rule.id, rule.action)) for rule in policy.guardrails)
    return replace(policy, guardrails=guardrails, rule_groups=(), screen=None, waits=waits)


def wanting(kind: str) -> dict[str, str]:
    """A context that has the decision wait for `kind`."""
    return {"wants": WANTED[kind]}

"""What an agent's posture says about whatever the agent wants to do (SPEC 8)."""

from cstp_server.domain.findings import Finding, GuardType, Intervention
from cstp_server.domain.postures import AgentPosture, Posture

_FINDINGS = {
    Posture.BLOCKED: (
        Intervention.BLOCK,
        "the agent is blocked: its posture is `blocked`",
        "ask an operator to change the agent's posture",
    ),
    Posture.HUMAN_DECIDES: (Intervention.ESCALATE, "a human decides: the agent's posture is `human_decides`", "wait for an approval"),
    Posture.ASSISTED: (Intervention.DELAY, "the agent is assisted: it goes on unless somebody cancels", None),
}


_STOPPED = "the agent was blocked while the decision waited"


def is_stopped(agent: AgentPosture, at: int) -> bool:
    """Whether the agent was blocked, by somebody or by a halt, after a decision of it had begun to wait."""
    return agent.blocked_at is not None and agent.blocked_at >= at


def was_blocked_since(agent: AgentPosture, at: int) -> Finding | None:
    """That the agent was blocked after a decision of it had begun to wait: an emergency stops what it meets, whatever comes after it."""
    if agent.posture is Posture.BLOCKED or not is_stopped(agent, at):
        return None
    return Finding("posture", GuardType.POSTURE, Intervention.BLOCK, _STOPPED)


def stop_reason(agent: AgentPosture) -> str:
    """What becomes of a decision that a block has stopped, with what was said when the agent was blocked, as long as it is."""
    return f"{_STOPPED}: {agent.reason}" if agent.posture is Posture.BLOCKED and agent.reason and not agent.holds else _STOPPED


def posture_finding(posture: Posture) -> Finding | None:
    """The finding; none for a posture that lets the agent act at once."""
    found = _FINDINGS.get(posture)
    if found is None:
        return None
    intervention, message, suggestion = found
    return Finding("posture", GuardType.POSTURE, intervention, message, suggestion=suggestion)

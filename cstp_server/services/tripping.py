"""What running into tripwires leaves behind: a record of every hit, and an agent that is halted (SPEC 1 and 7)."""

from collections.abc import Iterable, Sequence

from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.findings import CLEAN, Finding, Intervention, Verdict
from cstp_server.domain.posture_events import emergency
from cstp_server.domain.postures import AgentPosture
from cstp_server.domain.tripwires import Hit
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class Tripped:
    """The hits of one action, the posture that its agent fell to, and the events of both."""

    hits: tuple[Hit, ...] = ()
    postures: tuple[AgentPosture, ...] = ()
    events: tuple[Event, ...] = ()


UNTRIPPED = Tripped()


def tripped(verdict: Verdict, decision_id: str, agent: AgentPosture, attribution: Attribution, before: Verdict = CLEAN) -> Tripped:
    """What a verdict leaves behind besides the decision; what the verdict `before` found of the same action is on record already."""
    agent_id = agent.agent_id
    known = {finding.guardrail for finding in _hitting(before)}
    hitting = [finding for finding in _hitting(verdict) if finding.guardrail not in known]
    if not hitting and verdict.intervention is not Intervention.HALT:
        return UNTRIPPED
    events = [_hit_event(finding, agent_id, decision_id, attribution) for finding in hitting]
    hits = tuple(_hit(finding, agent_id, decision_id, attribution.at) for finding in hitting)
    moved = emergency(agent, _reason(verdict.violations), attribution) if verdict.intervention is Intervention.HALT else None
    if moved is None:
        return Tripped(hits, events=tuple(events))
    return Tripped(hits, (moved.posture,), (*events, moved.event))


def _hitting(verdict: Verdict) -> Iterable[Finding]:
    return [finding for finding in (*verdict.violations, *verdict.shadow) if finding.tripwire is not None]


def _reason(violations: Sequence[Finding]) -> str:
    return next(finding.message for finding in violations if finding.intervention is Intervention.HALT)


def _hit(finding: Finding, agent_id: str, decision_id: str, at: int) -> Hit:
    detail = finding.tripwire
    if detail is None:
        raise LookupError("only a tripwire's finding is a hit")
    return Hit(finding.guardrail, detail.severity, agent_id, decision_id, at, finding.mode, detail.trust_impact)


def _hit_event(finding: Finding, agent_id: str, decision_id: str, attribution: Attribution) -> Event:
    detail = finding.tripwire
    data = {
        "agent": agent_id,
        "decision_id": decision_id,
        "severity": detail.severity if detail is not None else None,
        "intervention": finding.intervention.label,
        "mode": finding.mode.value,
        "notify": detail.notify if detail is not None else False,
        "message": finding.message,
    }
    return Event(
        EventType.TRIPWIRE_HIT,
        attribution.tenant,
        finding.guardrail,
        attribution.actor,
        attribution.at,
        attribution.policy_version,
        data,
    )

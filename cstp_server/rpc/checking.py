"""`cstp.checkGuardrails` (SPEC 3)."""

from typing import Any

import structlog

from cstp_server.domain.decisions import Answer, Probe
from cstp_server.domain.findings import Remedy
from cstp_server.domain.refusals import Refusal
from cstp_server.rpc.actions import CheckParams, check_request
from cstp_server.rpc.context import Context
from cstp_server.rpc.findings import FindingResult
from cstp_server.rpc.pending import PendingResult
from cstp_server.rpc.wire import Result, Time, Written, as_json, format_time, omitted
from cstp_server.services import checking

log = structlog.get_logger(__name__)


class ProbeResult(Result):
    """A half-open circuit's permission that this decision holds."""

    scope: str
    expires_at: Time

    @classmethod
    def of(cls, probe: Probe) -> "ProbeResult":
        """The permission as it goes out."""
        return cls(scope=probe.scope, expires_at=probe.expires_at)


class RemedyResult(Result):
    """One change that alone would turn the answer into an allow."""

    change: str
    field: str | None = omitted("what to set, lower or raise")
    to: Any = omitted("the value to give it")
    until: Time | None = omitted("when waiting is over")

    @classmethod
    def of(cls, remedy: Remedy) -> "RemedyResult":
        """The change as it goes out."""
        return cls(change=remedy.change, field=remedy.field, to=remedy.to, until=remedy.until)


class CheckResult(Result):
    """The answer to a check; `allowed` alone is safe to act on."""

    allowed: bool
    intervention: str
    decision_id: str
    posture: str
    violations: list[FindingResult]
    warnings: list[FindingResult]
    shadow: list[FindingResult]
    probes: list[ProbeResult]
    pending: PendingResult | None
    remedies: list[RemedyResult]
    evaluated: int
    evaluated_at: Time
    policy_version: str

    @classmethod
    def of(cls, answer: Answer) -> "CheckResult":
        """The answer as it goes out."""
        verdict = answer.verdict
        return cls(
            allowed=verdict.allowed,
            intervention=verdict.intervention.label,
            decision_id=answer.decision_id,
            posture=answer.posture,
            violations=[FindingResult.of(finding) for finding in verdict.violations],
            warnings=[FindingResult.of(finding) for finding in verdict.warnings],
            shadow=[FindingResult.of(finding) for finding in verdict.shadow],
            probes=[ProbeResult.of(probe) for probe in answer.probes],
            pending=PendingResult.of(answer.pending),
            remedies=[RemedyResult.of(remedy) for remedy in answer.remedies],
            evaluated=answer.evaluated,
            evaluated_at=answer.evaluated_at,
            policy_version=answer.policy_version,
        )


def written(answer: Answer) -> Written:
    """What `CheckResult.of` would write: most answers have nothing in their lists, and a model of one is dear to make and to write."""
    verdict, pending = answer.verdict, PendingResult.of(answer.pending) if answer.pending is not None else None
    return {
        "allowed": verdict.allowed,
        "intervention": verdict.intervention.label,
        "decisionId": answer.decision_id,
        "posture": answer.posture,
        "violations": [as_json(FindingResult.of(finding)) for finding in verdict.violations] if verdict.violations else [],
        "warnings": [as_json(FindingResult.of(finding)) for finding in verdict.warnings] if verdict.warnings else [],
        "shadow": [as_json(FindingResult.of(finding)) for finding in verdict.shadow] if verdict.shadow else [],
        "probes": [as_json(ProbeResult.of(probe)) for probe in answer.probes] if answer.probes else [],
        "pending": as_json(pending) if pending is not None else None,
        "remedies": [as_json(RemedyResult.of(remedy)) for remedy in answer.remedies] if answer.remedies else [],
        "evaluated": answer.evaluated,
        "evaluatedAt": format_time(answer.evaluated_at),
        "policyVersion": answer.policy_version,
    }


async def check(context: Context, params: CheckParams) -> Written | Refusal:
    """May this action go on? A decision that may not gets a line in the log."""
    services = context.services
    request = check_request(params, services.limits, caller=context.caller)
    answer = await checking.check(services.transactor, context.caller, request)
    if isinstance(answer, Refusal):
        return answer
    verdict = answer.verdict
    services.metrics.answered(verdict)
    result = written(answer)
    context.concerns(answer.decision_id, result["intervention"])
    if not result["allowed"]:
        log.info(
            "decision not allowed",
            decision_id=answer.decision_id,
            intervention=result["intervention"],
            guardrails=[finding.guardrail for finding in verdict.violations],
            principal=context.caller.principal,
            tenant=context.caller.tenant,
            dry_run=request.dry_run,
            correlation_id=context.correlation_id,
        )
    return result

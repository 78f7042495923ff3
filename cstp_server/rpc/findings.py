"""Findings on the wire: every violation, warning and shadow (SPEC 3)."""

from cstp_server.domain.findings import Finding
from cstp_server.rpc.wire import Number, Result, Time, omitted


class FindingResult(Result):
    """One guard's objection or remark. `guardrail`, `guardrailId` and `name` are the same."""

    guardrail: str
    guardrail_id: str
    name: str
    type: str
    severity: str
    message: str
    action: str
    suggestion: str | None = omitted("what would make this finding go away")
    tripwire_severity: str | None = omitted("of a tripwire: `standard`, `critical` or `severe`")
    state: str | None = omitted("of a circuit, or of a user's trust")
    failure_rate: float | None = omitted("failures over reviewed decisions in the circuit's window")
    recent_failures: list[str] | None = omitted("ids of the decisions that failed last, or under which damage was told")
    reset_at: Time | None = omitted("when the circuit may be probed; none when it is forced open")
    scope: str | None = omitted("of the circuit")
    dimension: str | None = omitted("of a constraint")
    used: Number | None = omitted("what the dimension counts, as the action has it")
    limit: Number | None = omitted("the most that the constraint admits of it")
    remaining: Number | None = omitted("what is left of it")

    @classmethod
    def of(cls, finding: Finding) -> "FindingResult":
        """The finding as it goes out."""
        circuit, tripwire, constraint = finding.circuit, finding.tripwire, finding.constraint
        label = finding.intervention.label
        return cls(
            guardrail=finding.guardrail,
            guardrail_id=finding.guardrail,
            name=finding.guardrail,
            type=finding.type.value,
            severity=label,
            message=finding.message,
            action=label,
            suggestion=finding.suggestion,
            tripwire_severity=tripwire.severity if tripwire is not None else None,
            state=circuit.state if circuit is not None else None,
            failure_rate=circuit.failure_rate if circuit is not None else None,
            recent_failures=list(circuit.recent_failures) if circuit is not None else None,
            reset_at=circuit.reset_at if circuit is not None else None,
            scope=circuit.scope if circuit is not None else None,
            dimension=constraint.dimension if constraint is not None else None,
            used=constraint.used if constraint is not None else None,
            limit=constraint.limit if constraint is not None else None,
            remaining=constraint.remaining if constraint is not None else None,
        )

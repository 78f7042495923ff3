"""Decisions: rows <-> domain."""

from collections.abc import Mapping
from typing import Any

import orjson

from cstp_server.domain.decisions import (
    Answer,
    CircuitMove,
    Decision,
    Outcome,
    Pending,
    Probe,
    Resolved,
    Review,
    ReviewAnswer,
    Reviewed,
    Severity,
    Source,
    Status,
)
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.findings import (
    CircuitDetail,
    ConstraintDetail,
    Finding,
    GuardType,
    Intervention,
    Mode,
    Remedy,
    TripwireDetail,
    Verdict,
)
from cstp_server.storage.usage import claims_of, claims_text

Document = Mapping[str, Any]


def decision_row(decision: Decision) -> dict[str, Any]:
    """The row of a decision."""
    reviewed = decision.reviewed
    return {
        "tenant": decision.tenant,
        "id": decision.id,
        "at": decision.at,
        "status": decision.status.value,
        "source": decision.source.value,
        "intervention": decision.intervention.label,
        "agent_id": decision.facts.agent_id,
        "category": decision.facts.category,
        "outcome": reviewed.review.outcome.value if reviewed is not None else None,
        "principal": decision.principal,
        "policy_version": decision.policy_version,
        "digest": decision.digest,
        "facts": orjson.dumps(decision.facts).decode(),
        "answer": orjson.dumps(decision.answer).decode() if decision.answer is not None else None,
        "reviewed": orjson.dumps(reviewed).decode() if reviewed is not None else None,
        "due_at": pending.until if (pending := decision.waits_for) is not None else None,
        "resolved": orjson.dumps(decision.resolved).decode() if decision.resolved is not None else None,
        "claims": claims_text(decision.claims),
        "reviewed_at": reviewed.answer.reviewed_at if reviewed is not None else None,
    }


def decision_of(row: Any) -> Decision:
    """The decision that `decision_row` wrote."""
    return Decision(
        tenant=row.tenant,
        id=row.id,
        at=row.at,
        status=Status(row.status),
        source=Source(row.source),
        facts=_facts(orjson.loads(row.facts)),
        intervention=Intervention[row.intervention.upper()],
        policy_version=row.policy_version,
        principal=row.principal,
        digest=row.digest,
        answer=_answer(orjson.loads(row.answer)) if row.answer is not None else None,
        reviewed=_reviewed(orjson.loads(row.reviewed)) if row.reviewed is not None else None,
        resolved=_resolved(orjson.loads(row.resolved)) if row.resolved is not None else None,
        claims=claims_of(row.claims),
    )


def _facts(data: Document) -> Facts:
    words = tuple(data.get("type_words", ()))
    return Facts(**{**data, "stakes": Stakes(data["stakes"]), "tags": tuple(data["tags"]), "type_words": words})


def _answer(data: Document) -> Answer:
    pending = data["pending"]
    return Answer(
        **{
            **data,
            "verdict": _verdict(data["verdict"]),
            "probes": tuple(Probe(**probe) for probe in data["probes"]),
            "remedies": tuple(Remedy(**remedy) for remedy in data["remedies"]),
            "pending": Pending(**pending) if pending is not None else None,
        }
    )


def _verdict(data: Document) -> Verdict:
    return Verdict(
        intervention=Intervention(data["intervention"]),
        violations=_findings(data["violations"]),
        warnings=_findings(data["warnings"]),
        shadow=_findings(data["shadow"]),
    )


def _findings(data: list[Document]) -> tuple[Finding, ...]:
    return tuple(_finding(finding) for finding in data)


def _finding(data: Document) -> Finding:
    circuit, tripwire, constraint = data["circuit"], data.get("tripwire"), data.get("constraint")
    return Finding(
        **{
            **data,
            "type": GuardType(data["type"]),
            "intervention": Intervention(data["intervention"]),
            "mode": Mode(data["mode"]),
            "requires": tuple(data["requires"]),
            "circuit": CircuitDetail(**{**circuit, "recent_failures": tuple(circuit["recent_failures"])}) if circuit is not None else None,
            "changes": tuple(Remedy(**change) for change in data.get("changes", ())),
            "tripwire": TripwireDetail(**tripwire) if tripwire is not None else None,
            "constraint": ConstraintDetail(**constraint) if constraint is not None else None,
        }
    )


def _resolved(data: Document) -> Resolved:
    return Resolved(**{**data, "status": Status(data["status"])})


def _reviewed(data: Document) -> Reviewed:
    review, answer = data["review"], data["answer"]
    return Reviewed(
        review=Review(Outcome(review["outcome"]), Severity(review["severity"]), review["details"]),
        by=data["by"],
        answer=ReviewAnswer(
            **{**answer, "outcome": Outcome(answer["outcome"]), "circuits": tuple(CircuitMove(**move) for move in answer["circuits"])}
        ),
        entries=tuple((scope, seq) for scope, seq in data["entries"]),
    )

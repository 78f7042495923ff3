"""One call of each method and its answer, for the OpenRPC document and the reference; tests hold them to the models."""

from typing import Any

from cstp_server.domain.values import dataclass

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """What is sent as params, and what comes back as the result."""

    params: JsonObject
    result: JsonObject


_POLICY = "sha256:5f1d6c0b1e2f4f7a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a"
_DECISION = "dec_01KH5W9GZ0V6E8M1N3Q5R7T9XB"
_WAITING = "dec_01KH5WAVJ8Z4Y6X8W0V2T4S6R8"
_ACTION: JsonObject = {
    "description": "raise the timeout of the deploy tool",
    "type": "change_config",
    "category": "tooling",
    "stakes": "high",
    "confidence": 0.85,
    "ctq": 0.9,
    "tags": ["deploy"],
    "parameters": {"timeoutSeconds": 600},
    "context": {"affectsProduction": True, "codeReviewCompleted": True},
}
_FINDING: JsonObject = {
    "guardrail": "category-tooling-breaker",
    "guardrailId": "category-tooling-breaker",
    "name": "category-tooling-breaker",
    "type": "circuit_breaker",
    "severity": "block",
    "message": "Circuit breaker OPEN: 5/5 recent tooling decisions failed. Cooldown: 22m remaining.",
    "action": "block",
    "state": "open",
    "failureRate": 1.0,
    "recentFailures": ["dec_abc", "dec_def"],
    "resetAt": "2026-02-11T13:30:00Z",
    "scope": "category:tooling",
}
_BLOCKED: JsonObject = {
    "allowed": False,
    "intervention": "block",
    "decisionId": _DECISION,
    "posture": "supervised",
    "violations": [_FINDING],
    "warnings": [],
    "shadow": [],
    "probes": [],
    "pending": None,
    "remedies": [{"change": "wait", "until": "2026-02-11T13:30:00Z"}],
    "evaluated": 9,
    "evaluatedAt": "2026-02-11T13:08:00.125Z",
    "policyVersion": _POLICY,
}
_ON_RECORD: JsonObject = {
    "id": _DECISION,
    "status": "reviewed",
    "source": "checked",
    "description": "raise the timeout of the deploy tool",
    "decision": "raise the timeout of the deploy tool",
    "summary": "raise the timeout of the deploy tool",
    "type": "change_config",
    "category": "tooling",
    "stakes": "high",
    "confidence": 0.85,
    "ctq": 0.9,
    "tags": ["deploy"],
    "parameters": {"timeoutSeconds": 600},
    "actionContext": {"affectsProduction": True, "codeReviewCompleted": True},
    "agentId": "deploy-bot",
    "userId": None,
    "userDomain": "general",
    "intervention": "block",
    "policyVersion": _POLICY,
    "principal": "fleet",
    "createdAt": "2026-02-11T13:08:00.125Z",
    "date": "2026-02-11T13:08:00.125Z",
    "outcome": "failure",
    "review": {
        "outcome": "failure",
        "severity": "high",
        "reviewedAt": "2026-02-11T13:20:00Z",
        "reviewedBy": "nightly-ci",
        "selfReported": False,
        "errorType": "timeout",
        "notes": "went on although it was blocked",
    },
    "pending": None,
    "resolution": None,
    "answer": _BLOCKED,
    "reasons": [{"type": "analysis", "text": "deploys take longer since the move", "strength": 0.9}],
}
_CIRCUIT: JsonObject = {
    "scope": "category:tooling",
    "state": "open",
    "failureCount": 5,
    "failureThreshold": 5,
    "weightedFailures": 5.5,
    "failureRate": 1.0,
    "reviewedCount": 5,
    "successCount": 0,
    "lastFailure": "2026-02-11T13:00:00Z",
    "windowMs": 3_600_000,
    "cooldownMs": 1_800_000,
    "openedAt": "2026-02-11T13:00:00Z",
    "resetAt": "2026-02-11T13:30:00Z",
    "cooldownRemainingMs": 1_319_875,
    "probesInFlight": 0,
    "probeSuccesses": 0,
    "forced": False,
    "mode": "enforce",
    "policyId": "category-tooling-breaker",
    "fromConfig": True,
}

CHECK = Example(
    {"action": _ACTION, "agent": {"id": "deploy-bot"}, "user": {"id": "user_123", "domain": "billing"}, "decisionId": _DECISION},
    _BLOCKED,
)
REVIEW = Example(
    {"id": _DECISION, "outcome": "failure", "severity": "high", "errorType": "timeout", "notes": "went on although it was blocked"},
    {
        "success": True,
        "id": _DECISION,
        "status": "reviewed",
        "reviewedAt": "2026-02-11T13:20:00Z",
        "outcome": "failure",
        "circuits": [{"scope": "category:tooling", "previousState": "open", "state": "open", "failureCount": 6}],
        "duplicate": False,
        "selfReported": False,
    },
)
AWAIT = Example(
    {"id": _WAITING, "timeoutMs": 60_000},
    {
        "id": _WAITING,
        "status": "pending",
        "allowed": False,
        "reason": "Tripwire triggered: amount exceeds max_refund of 500",
        "pending": {"kind": "approval", "until": "2026-02-11T14:08:00.125Z"},
    },
)
RESOLVE = Example(
    {"id": _WAITING, "resolution": "approve", "note": "the customer was promised it"},
    {
        "id": _WAITING,
        "resolution": "approve",
        "status": "approved",
        "allowed": True,
        "resolvedBy": "olivia",
        "resolvedAt": "2026-02-11T13:11:00Z",
        "violations": [],
    },
)
TRIPWIRE_STATS = Example(
    {"since": "2026-02-04T00:00:00Z"},
    {
        "total": 4,
        "tripwires": [
            {
                "name": "max_refund",
                "severity": "standard",
                "hits": 4,
                "shadowHits": 0,
                "lastHit": "2026-02-11T13:08:00.125Z",
                "agents": {"refund-bot": 3, "support-bot": 1},
            }
        ],
    },
)
GET_DECISION = Example({"id": _DECISION}, {"found": True, "decision": _ON_RECORD})
LIST_DECISIONS = Example(
    {"status": "reviewed", "category": "tooling", "since": "2026-02-11T00:00:00Z", "limit": 1},
    {"decisions": [_ON_RECORD], "count": 1, "nextCursor": "MTc3MDgxNTI4MDEyNTpkZWNfMDFLSDVXOUdaMFY2RThNMU4zUTVSN1Q5WEI"},
)
LIST_EVENTS = Example(
    {"types": ["circuit.*"], "subject": "category:tooling", "since": "2026-02-11T00:00:00Z", "limit": 1},
    {
        "events": [
            {
                "id": "evt_01KH5WBC2DFGHJKMNPQRSTVWXY.0003",
                "at": "2026-02-11T13:08:00.125Z",
                "type": "circuit.opened",
                "subject": "category:tooling",
                "actor": "pipeline",
                "policyVersion": "sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "data": {"previous_state": "closed", "state": "open", "cause": "failures", "reason": None},
                "chain": "chn_01KH5V0R4ZABCDEFGHJKMNPQRS",
                "position": 4711,
                "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            }
        ],
        "count": 1,
        "nextCursor": "ZXZ0XzAxS0g1V0JDMkRGR0hKS01OUFFSU1RWV1hZLjAwMDM",
    },
)
RECORD = Example(
    {
        "decision": "keep the sessions in the database",
        "confidence": 0.8,
        "category": "architecture",
        "stakes": "medium",
        "context": "the cache was to be removed",
        "reasons": [{"type": "analysis", "text": "one thing less to run"}],
        "tags": ["sessions"],
    },
    {"success": True, "id": "dec_01KH5WBC2DFGHJKMNPQRSTVWXY", "timestamp": "2026-02-11T13:09:00Z", "guardrailWarnings": []},
)
CIRCUIT_STATE = Example({"scope": "category:tooling"}, _CIRCUIT)
LIST_CIRCUITS = Example({"state": "open", "limit": 50}, {"circuits": [_CIRCUIT], "count": 1, "nextCursor": None})
LIST_BREAKERS = Example(
    {},
    {
        "breakers": [
            {
                "scope": "category:tooling",
                "state": "open",
                "failure_count": 5,
                "failure_threshold": 5,
                "window_ms": 3_600_000,
                "cooldown_ms": 1_800_000,
                "cooldown_remaining_ms": 1_319_875,
                "from_config": True,
            }
        ]
    },
)
HISTORY = Example(
    {"scope": "category:tooling", "limit": 10},
    {
        "scope": "category:tooling",
        "transitions": [
            {
                "at": "2026-02-11T13:00:00Z",
                "type": "circuit.opened",
                "previousState": "closed",
                "state": "open",
                "cause": "threshold_reached",
                "actor": "nightly-ci",
                "reason": None,
            }
        ],
    },
)
RESET = Example(
    {"scope": "category:tooling", "probeFirst": True, "reason": "the tool is repaired"},
    {
        "scope": "category:tooling",
        "previousState": "open",
        "newState": "half_open",
        "resetBy": "olivia",
        "resetAt": "2026-02-11T13:21:00Z",
        "message": "circuit `category:tooling` is half-open: it closes when its probes succeed",
    },
)
TRIP = Example(
    {"scope": "agent:deploy-bot", "reason": "it deploys in a loop"},
    {
        "scope": "agent:deploy-bot",
        "previousState": "closed",
        "newState": "open",
        "trippedBy": "olivia",
        "trippedAt": "2026-02-11T13:22:00Z",
        "message": "circuit `agent:deploy-bot` is forced open: it stays open until it is reset",
    },
)
GET_POSTURE = Example(
    {"agentId": "deploy-bot"},
    {
        "agentId": "deploy-bot",
        "posture": "supervised",
        "level": 3,
        "since": None,
        "setBy": "policy",
        "reason": None,
        "trustScore": 0.8647,
        "reviewCoverage": 0.92,
        "reviewed": 58,
    },
)
TRANSITION_POSTURE = Example(
    {
        "agentId": "deploy-bot",
        "fromPosture": "supervised",
        "toPosture": "assisted",
        "reason": "reliable over 30 days",
        "metadata": {"security_approved": True},
    },
    {
        "success": True,
        "agentId": "deploy-bot",
        "fromPosture": "supervised",
        "toPosture": "assisted",
        "transitionType": "upgrade",
        "reason": "reliable over 30 days",
        "timestamp": "2026-02-11T13:23:00Z",
    },
)
EMERGENCY_DOWNGRADE = Example(
    {"agentId": "deploy-bot", "reason": "anomalous behaviour"},
    {
        "success": True,
        "agentId": "deploy-bot",
        "fromPosture": "assisted",
        "toPosture": "blocked",
        "transitionType": "emergency_downgrade",
        "reason": "anomalous behaviour",
        "timestamp": "2026-02-11T13:24:00Z",
    },
)
POSTURE_HISTORY = Example(
    {"agentId": "deploy-bot", "limit": 10},
    {
        "agentId": "deploy-bot",
        "transitions": [
            {
                "timestamp": "2026-02-11T13:24:00Z",
                "actor": "olivia",
                "success": True,
                "fromPosture": "assisted",
                "toPosture": "blocked",
                "transitionType": "emergency_downgrade",
                "reason": "anomalous behaviour",
            },
            {
                "timestamp": "2026-02-11T13:23:30Z",
                "actor": "olivia",
                "success": False,
                "fromPosture": "assisted",
                "toPosture": "full_autonomy",
                "transitionType": "upgrade",
                "reason": "it asks too often",
                "blockedBy": "security_team_approval",
                "refusal": "security team approval required for high autonomy",
            },
        ],
    },
)
RECORD_DAMAGE = Example(
    {
        "userId": "user_123",
        "domain": "code_review",
        "damageType": "repetitive_error",
        "severity": 0.5,
        "context": "suggested Python 2 syntax again",
        "userExplicit": True,
        "id": "damage-77",
    },
    {
        "success": True,
        "id": "damage-77",
        "userId": "user_123",
        "domain": "code_review",
        "previousState": "full_autonomy",
        "state": "reduced_autonomy",
        "damageScore": 3.5,
        "damageThreshold": 3,
        "weight": 1.5,
        "duplicate": False,
        "recordedAt": "2026-02-11T13:25:00Z",
    },
)
RECORD_SUCCESS = Example(
    {"userId": "user_123", "domain": "documentation", "context": "accepted without changes", "id": "success-12"},
    {
        "success": True,
        "id": "success-12",
        "userId": "user_123",
        "domain": "documentation",
        "previousState": "supervised",
        "state": "full_autonomy",
        "damageScore": 0,
        "damageThreshold": 3,
        "duplicate": False,
        "recordedAt": "2026-02-11T13:25:30Z",
    },
)
AUTONOMY_LEVEL = Example(
    {"userId": "user_123", "domain": "code"},
    {
        "userId": "user_123",
        "domain": "code",
        "state": "supervised",
        "canActFreely": False,
        "damageScore": 2.5,
        "damageThreshold": 3,
        "timeInStateHours": 12.5,
        "recoveryProgress": {"status": "supervised_testing", "progress": 0.7, "successes": 3, "required": 5},
        "recentDamageCount": 2,
    },
)
CONFIRMATION = Example(
    {"userId": "user_123", "domain": "code", "action": "file_write"},
    {
        "required": True,
        "state": "supervised",
        "reason": "trust of user `user_123` in `code` is under test (3 of 5 successes): `file_write` is of high impact and wants the "
        "user's confirmation",
    },
)
RESET_TRUST = Example(
    {"userId": "user_123", "domain": "code_review", "reason": "the user asked for it"},
    {
        "success": True,
        "userId": "user_123",
        "domain": "code_review",
        "previousState": "reduced_autonomy",
        "state": "full_autonomy",
        "resetBy": "olivia",
        "resetAt": "2026-02-11T13:26:00Z",
    },
)
TRUST_METRICS = Example(
    {},
    {
        "states": {"full_autonomy": 212, "supervised": 9, "reduced_autonomy": 4},
        "averageDamageScore": 0.41,
        "recoveryRate": 0.875,
        "averageRecoveryHours": 31.5,
    },
)
EVALUATE_CONSTRAINTS = Example(
    {
        "constraints": {"cost_limit": 1000, "rate_limit": "100/minute"},
        "context": {"cost_used": 960, "requests_in_period": 120},
        "mode": "conjunctive",
        "agentId": "deploy-bot",
    },
    {
        "satisfied": False,
        "failedDimensions": ["rate_limit"],
        "results": {
            "cost_limit": {"satisfied": True, "reason": "within the limit of 1000", "remaining": 40, "used": 960, "limit": 1000},
            "rate_limit": {"satisfied": False, "reason": "exceeds the limit of 100 by 20", "remaining": 0, "used": 120, "limit": 100},
        },
        "antiGamingFlags": ["boundary_pushing:cost_limit (usage_ratio=0.96)"],
        "mode": "conjunctive",
        "durationMs": 1.843,
    },
)
VALIDATE_TIGHTENING = Example(
    {"parent": {"cost_limit": 100, "resources": ["data/**"]}, "child": {"cost_limit": 200, "resources": ["data/public/**"]}},
    {"valid": False, "violations": ["Dimension 'cost_limit': child constraint (200) is looser than parent (100)"]},
)
LIST_DIMENSIONS = Example(
    {},
    {
        "dimensions": [
            {"name": "cost_limit", "version": "1", "description": "the most that may be spent, in cents", "status": "built_in"},
            {"name": "token_limit", "version": "1.0.0", "description": "Maximum tokens per request", "status": "pending"},
        ],
        "count": 2,
    },
)
_APPROVED: JsonObject = {
    "name": "token_limit",
    "version": "1.0.0",
    "description": "Maximum tokens per request",
    "status": "approved",
    "reviewedBy": "olivia",
    "reviewedAt": "2026-02-11T13:25:00Z",
    "note": "reads nothing but its own key",
}
APPROVE_DIMENSION = Example({"name": "token_limit", "version": "1.0.0", "note": "reads nothing but its own key"}, _APPROVED)
REJECT_DIMENSION = Example(
    {"name": "token_limit", "note": "it trusts what agents say of themselves"},
    {**_APPROVED, "status": "rejected", "note": "it trusts what agents say of themselves"},
)
METRICS = Example(
    {"since": "2026-02-01T00:00:00Z"},
    {
        "postureDistribution": {"full_autonomy": 1, "assisted": 0, "supervised": 1, "human_decides": 0, "blocked": 1},
        "averagePostureLevel": 3,
        "transitionsByType": {"upgrade": 1, "downgrade": 1, "maintain": 0, "emergency_downgrade": 1},
        "circuitBreakerOpens": 1,
        "emergencyDowngrades": 1,
        "evaluationsTotal": 40,
        "evaluationsPassed": 38,
        "passRate": 0.95,
        "dimensionFailures": {"cost_limit": 2},
        "antiGamingFlags": {"boundary_pushing": 3},
        "averageEvaluationTimeMs": 0.021,
    },
)
LIST_GUARDRAILS = Example(
    {},
    {
        "guardrails": [
            {
                "id": "no-production-without-review",
                "type": "guardrail",
                "description": "production changes take a review",
                "action": "block",
                "mode": "enforce",
                "scope": [],
                "condition": "action.context.affectsProduction == true",
                "requires": ["action.context.codeReviewCompleted"],
            }
        ],
        "count": 1,
        "agent": "cstp-server",
    },
)
RELOAD = Example({}, {"success": True, "policyVersion": _POLICY, "changed": True, "problems": []})
DISCOVER = Example({}, {"openrpc": "1.3.2", "info": {"title": "CSTP", "version": "0.1.0"}, "methods": []})

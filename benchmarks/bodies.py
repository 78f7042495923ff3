"""What the agents of a fleet ask: bodies that vary agent, category, tags and parameters, made before the clock runs."""

import random
from dataclasses import dataclass
from typing import Any

import orjson

AGENTS = 400
USERS = 150
CATEGORIES = ("billing", "tooling", "deployment", "support", "research", "data", "security", "messaging", "scheduling", "reporting")
TAGS = ("refund", "email", "database", "infra", "urgent", "customer", "batch", "export", "api", "report", "cleanup", "migration")
ID_MARK = "decision-id-goes-here"
_STAKES = ("low", "medium", "medium", "medium", "high")
_VERBS = ("Refund", "Deploy", "Answer", "Migrate", "Summarise", "Schedule", "Export", "Rotate")


@dataclass(frozen=True, slots=True)
class Template:
    """A request body in two parts, with room for an id between them; `tail` is none when there is no id."""

    head: bytes
    tail: bytes | None = None


def action_of(draw: random.Random) -> dict[str, Any]:
    """One action, such as agents of a fleet take."""
    tags = draw.sample(TAGS, draw.randrange(4))
    return {
        "description": f"{draw.choice(_VERBS)} order {draw.randrange(100_000)} for the customer",
        "type": draw.choice(("issue_refund", "send_email", "run_query", "deploy")),
        "category": draw.choice(CATEGORIES),
        "stakes": draw.choice(_STAKES),
        "confidence": round(draw.uniform(0.55, 0.99), 2),
        "tags": tags,
        "parameters": {"amount": draw.randrange(10, 900), "currency": "EUR", "path": f"/srv/{draw.randrange(1000)}/report.csv"},
        "context": {
            "project": "shop",
            "codeReviewCompleted": True,
            "ciGreen": True,
            "attempt": draw.randrange(3),
            "cost_used": draw.randrange(200, 900),
        },
    }


def check_params(draw: random.Random) -> dict[str, Any]:
    """The params of one check."""
    return {
        "action": action_of(draw),
        "agent": {"id": f"agent-{draw.randrange(AGENTS)}"},
        "user": {"id": f"user-{draw.randrange(USERS)}", "domain": draw.choice(("billing", "general"))},
    }


def check_templates(seed: int, count: int, *, named: bool = False) -> list[Template]:
    """Bodies of checks; `named` leaves room for a `decisionId`."""
    draw = random.Random(seed)
    chosen = {"decisionId": ID_MARK} if named else {}
    return [_template("cstp.checkGuardrails", check_params(draw) | chosen) for _ in range(count)]


def review_templates(seed: int, count: int) -> list[Template]:
    """Bodies of reviews: of a hundred, 96 succeeded, 3 failed and 1 was abandoned."""
    draw = random.Random(seed)
    outcomes = draw.choices(("success", "failure", "abandoned"), (96, 3, 1), k=count)
    return [_template("cstp.reviewDecision", {"id": ID_MARK, "outcome": outcome, "notes": "pipeline 4711"}) for outcome in outcomes]


def _template(method: str, params: dict[str, Any]) -> Template:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    head, mark, tail = body.partition(ID_MARK.encode())
    return Template(head, tail if mark else None)

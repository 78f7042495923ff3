"""From the postures as they are written to those that agents have, and what guards and raises them (SPEC 8)."""

from collections.abc import Mapping
from typing import Any

from cstp_server.domain.posture_guards import ConditionGuard
from cstp_server.domain.postures import DEFAULT_POSTURE, POSTURES, TransitionType
from cstp_server.domain.resolutions import Waits
from cstp_server.policy.agent_models import EVERY_AGENT, AgentModel
from cstp_server.policy.cel import compile_predicate
from cstp_server.policy.cel_languages import TRANSITIONS
from cstp_server.policy.compiled import Earned, PosturePolicy
from cstp_server.policy.posture_models import EarnedModel, GuardModel, PosturesModel


def compile_waits(model: PosturesModel) -> Waits:
    """How long decisions wait."""
    return Waits(approval_ms=model.approval_ttl_ms, cancel_window_ms=model.assisted_delay_ms)


def compile_postures(model: PosturesModel, agents: Mapping[str, AgentModel]) -> PosturePolicy:
    """The postures that agents begin with, and what moves them."""
    named = {agent_id: POSTURES[agent.posture] for agent_id, agent in agents.items() if agent.posture is not None}
    return PosturePolicy(
        default=named.pop(EVERY_AGENT, DEFAULT_POSTURE),
        of_agents=named,
        guards=tuple(map(_guard, model.guards)),
        earned=tuple(map(_earned, model.earned)),
        score_window_ms=model.score_window_ms,
        review_due_ms=model.review_due_ms,
        min_review_coverage=model.min_review_coverage,
    )


def postures_document(postures: PosturePolicy) -> dict[str, Any]:
    """The postures in a canonical form; the order of guards matters, that of earned postures does not."""
    return {
        "default": postures.default.label,
        "agents": {agent_id: posture.label for agent_id, posture in postures.of_agents.items()},
        "guards": [_guard_document(guard) for guard in postures.guards if isinstance(guard, ConditionGuard)],
        "earned": sorted([earned.to.label, earned.min_score, earned.min_reviewed, earned.auto] for earned in postures.earned),
        "score_window_ms": postures.score_window_ms,
        "review_due_ms": postures.review_due_ms,
        "min_review_coverage": postures.min_review_coverage,
    }


def _guard(model: GuardModel) -> ConditionGuard:
    return ConditionGuard(
        name=model.name,
        when=compile_predicate(model.when, TRANSITIONS),
        reason=model.reason if model.reason is not None else f"what the guard `{model.name}` asks for does not hold",
        applies_to=frozenset(map(TransitionType, model.applies_to)),
    )


def _earned(model: EarnedModel) -> Earned:
    return Earned(POSTURES[model.to], model.min_score, model.min_reviewed, model.auto)


def _guard_document(guard: ConditionGuard) -> dict[str, Any]:
    return {"name": guard.name, "applies_to": sorted(guard.applies_to), "when": guard.when.source, "reason": guard.reason}

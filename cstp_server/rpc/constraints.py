"""`cstp.evaluateConstraints` and `validateTightening` (SPEC 9)."""

from typing import Literal

from pydantic import Field

from cstp_server.domain.constraints import CheckResult, Interaction
from cstp_server.domain.refusals import Refusal
from cstp_server.rpc.context import Context
from cstp_server.rpc.errors import BadParams
from cstp_server.rpc.wire import JsonObject, Name, Number, Params, Result, omitted
from cstp_server.services import constraints
from cstp_server.services.requests import EvaluateRequest, EvaluationAnswer

InteractionName = Literal["conjunctive", "disjunctive", "independent", "hierarchical"]
MOST_DIMENSIONS = 100
_MICROSECONDS = 3
"""A duration in ms is told to so many decimal places."""


class EvaluateParams(Params):
    """Constraints, and the context to hold against them."""

    constraints: JsonObject = Field(description="a bound for each dimension, such as `cost_limit`, as the policy writes them")
    context: JsonObject | None = Field(default=None, description="what the dimensions look at, such as `cost_used`; any names")
    mode: InteractionName | None = Field(
        default=None, description="all must pass, any, more than half, or the first one; `conjunctive` when left out"
    )
    agent_id: Name | None = Field(
        default=None, description="whose habits it counts for; the agent that the token is bound to, or nobody, when left out"
    )


class DimensionCheckResult(Result):
    """What one dimension says of the context; the numbers are null where it has none."""

    satisfied: bool
    reason: str
    remaining: Number | None
    used: Number | None
    limit: Number | None
    missing: str | None = omitted("the key that the context should have had")

    @classmethod
    def of(cls, result: CheckResult) -> "DimensionCheckResult":
        """The result as it goes out."""
        return cls(
            satisfied=result.satisfied,
            reason=result.reason,
            remaining=result.remaining,
            used=result.used,
            limit=result.limit,
            missing=result.missing,
        )


class EvaluationResult(Result):
    """Whether the context is within the constraints, as `mode` makes one answer of the dimensions' own."""

    satisfied: bool
    failed_dimensions: list[str] = Field(description="those that were not satisfied, whatever `mode` made of it")
    results: dict[str, DimensionCheckResult] = Field(description="by dimension, in the order of `constraints`")
    anti_gaming_flags: list[str] = Field(
        description="what the agent's habits show, such as `boundary_pushing:cost_limit (usage_ratio=0.96)`"
    )
    mode: str
    duration_ms: Number = Field(description="how long it took, with fractions")

    @classmethod
    def of(cls, answer: EvaluationAnswer, seconds: float) -> "EvaluationResult":
        """The evaluation as it goes out, after so many seconds."""
        evaluation = answer.evaluation
        return cls(
            satisfied=evaluation.satisfied,
            failed_dimensions=list(evaluation.failed),
            results={name: DimensionCheckResult.of(result) for name, result in evaluation.results.items()},
            anti_gaming_flags=list(answer.flags),
            mode=answer.mode.value,
            duration_ms=round(seconds * 1000, _MICROSECONDS),
        )


class TighteningParams(Params):
    """The constraints that one was given, and those that it would hand on."""

    parent: JsonObject = Field(description="the constraints that hold already, by dimension")
    child: JsonObject = Field(description="those that are to hold instead; a dimension that is left out is inherited")


class TighteningResult(Result):
    """Whether the child admits nothing that its parent refuses."""

    valid: bool
    violations: list[str] = Field(description="what is looser, or cannot be told, one text for each dimension")


async def evaluate(context: Context, params: EvaluateParams) -> EvaluationResult | Refusal:
    """Is this context within these constraints?"""
    if not params.constraints:
        raise BadParams("constraints", 'must name at least one dimension, such as `{"cost_limit": 1000}`')
    _bound(params.constraints, "constraints")
    services = context.services
    request = EvaluateRequest(
        constraints=params.constraints,
        context=params.context or {},
        mode=Interaction(params.mode) if params.mode is not None else Interaction.CONJUNCTIVE,
        agent_named=params.agent_id,
    )
    began = services.clock.monotonic()
    answer = await constraints.evaluate_constraints(
        services.transactor, services.reader, services.dimensions, services.policy_source, context.caller, request
    )
    if isinstance(answer, Refusal):
        return answer
    seconds = services.clock.monotonic() - began
    services.metrics.evaluated(satisfied=answer.evaluation.satisfied, failed=answer.evaluation.failed, flags=answer.flags)
    services.metrics.evaluation_took(seconds)
    return EvaluationResult.of(answer, seconds)


async def tighten(context: Context, params: TighteningParams) -> TighteningResult:
    """Do these constraints only tighten those?"""
    _bound(params.parent, "parent")
    _bound(params.child, "child")
    services = context.services
    violations = await constraints.validate_tightening(
        services.reader, services.dimensions, services.policy_source, context.caller, params.parent, params.child
    )
    return TighteningResult(valid=not violations, violations=list(violations))


def _bound(named: JsonObject, field: str) -> None:
    if len(named) > MOST_DIMENSIONS:
        raise BadParams(field, f"must name at most {MOST_DIMENSIONS} dimensions")

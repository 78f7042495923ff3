"""Constraints on demand: holding a context against bounds that the caller brings along, and comparing bounds (SPEC 9)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cstp_server.clock import stopwatch
from cstp_server.dimensions.contexts import REQUESTS_IN_PERIOD, prepared
from cstp_server.dimensions.rate_limit import RateLimit, spans
from cstp_server.dimensions.reading import read_bounds
from cstp_server.dimensions.spelling import canonical_context
from cstp_server.dimensions.tightening import violations
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.constraints import Bound, Evaluation, Interaction, evaluate
from cstp_server.domain.gaming import observe
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.bounding import told, unusable
from cstp_server.services.identity import agent_of
from cstp_server.services.ports import Decided, Dimensions, Needs, PolicySource, Reader, Tally, Transactor, View
from cstp_server.services.requests import EvaluateRequest, EvaluationAnswer
from cstp_server.services.tallying import tally_of

_OBSERVERS = (Role.AGENT, Role.OPS)


async def evaluate_constraints(
    transactor: Transactor, reader: Reader, dimensions: Dimensions, policy_source: PolicySource, caller: Caller, request: EvaluateRequest
) -> EvaluationAnswer | Refusal:
    """Whether the context is within the constraints; for an agent, also what its habits show with this one among them.

    It is for the agent that the call names, or that the token is bound to, and for nobody where there is neither. Who may only read
    leaves nothing behind. A constraint that cannot be used is a dimension that failed, and no refusal.
    """
    agent_id = agent_of(caller, request.agent_named) if caller.agent_id is not None else request.agent_named
    if isinstance(agent_id, Refusal):
        return agent_id
    known = {**policy_source.current.constraints.dimensions, **dimensions.custom}
    unused = await _unusable(reader, dimensions, caller, request.constraints)
    bounds = read_bounds(request.constraints, known, unused)
    context = canonical_context(request.context)
    limits = _limits(bounds) if agent_id is not None and REQUESTS_IN_PERIOD not in context else {}
    tallies = await reader.let_through(caller.tenant, agent_id, limits) if agent_id is not None and limits else None
    return await transactor.run(Evaluate(caller, bounds, context, request.mode, agent_id, tallies))


async def validate_tightening(
    reader: Reader,
    dimensions: Dimensions,
    policy_source: PolicySource,
    caller: Caller,
    parent: Mapping[str, Any],
    child: Mapping[str, Any],
) -> tuple[str, ...]:
    """What is looser in `child` than in `parent`, or cannot be told; nothing where the child admits only what its parent does."""
    known = {**policy_source.current.constraints.dimensions, **dimensions.custom}
    unused = await _unusable(reader, dimensions, caller, [*parent, *child])
    return await asyncio.to_thread(violations, parent, child, known, unused)  # it may take tenths of a second, and keeps nobody waiting


async def _unusable(reader: Reader, dimensions: Dimensions, caller: Caller, names: Iterable[str]) -> Mapping[str, str]:
    """Why dimensions of installed packages must not be used, by name: not even to read a constraint before somebody has approved them."""
    custom = [dimensions.custom[name] for name in names if name in dimensions.custom]
    if not custom or dimensions.allow_unreviewed:
        return {}
    reviews = await reader.dimension_reviews(caller.tenant)
    reasons = {dimension.name: unusable(dimension, reviews) for dimension in custom}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _limits(bounds: Iterable[Bound]) -> Mapping[str, int]:
    """The periods in which requests are counted, with the limit of each."""
    return {period: limit for bound in bounds if isinstance(bound.constraint, RateLimit) for period, limit in spans(bound.constraint)}


@dataclass(frozen=True, slots=True)
class Evaluate:
    """One evaluation as the transactor carries it out. `tallies` are the service's own counts, where the context has none."""

    caller: Caller
    bounds: tuple[Bound, ...]
    context: Mapping[str, Any]
    mode: Interaction
    agent_id: str | None
    tallies: Mapping[str, int] | None

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The agent's habits."""
        return Needs(habits=frozenset((self.agent_id,)) if self.agent_id is not None else frozenset(), final=True)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[EvaluationAnswer]:
        """Hold the context against the constraints."""
        began = stopwatch()
        context = prepared(self.context, now, policy.time_zone, self.tallies)
        evaluation = evaluate(self.bounds, context, self.mode, missing_passes=policy.constraints.missing_passes)
        if self.agent_id is None:
            return Decided(EvaluationAnswer(evaluation, self.mode), tallies=self._tally(evaluation, (), began))
        known = view.habits(self.agent_id)
        habits, flags = observe(known.habits, told(evaluation) if self.tallies is not None else evaluation, on_demand=True)
        after = known.after(habits, now) if self.caller.may(*_OBSERVERS) else None
        return Decided(
            EvaluationAnswer(evaluation, self.mode, flags),
            habits=(after,) if after is not None else (),
            tallies=self._tally(evaluation, flags, began),
        )

    def _tally(self, evaluation: Evaluation, flags: Sequence[str], began: int) -> Tally:
        if not self.caller.may(*_OBSERVERS):
            return ()
        unknown = frozenset([bound.name for bound in self.bounds if bound.dimension is None])
        return tally_of(evaluation, flags, stopwatch() - began, unknown)

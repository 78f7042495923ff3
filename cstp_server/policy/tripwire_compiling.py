"""From the tripwires as they are written to those that an agent may run into (SPEC 7)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cstp_server.domain.amounts import amount_of
from cstp_server.domain.facts import DEFAULT_ACL_TIER
from cstp_server.domain.findings import Mode
from cstp_server.domain.quality import Quality
from cstp_server.domain.tripwire_rules import Condition, Limit, Measure, Pattern, Quota, Rule
from cstp_server.domain.tripwires import EVERYWHERE, Applies, Tripwire, TripwireSeverity
from cstp_server.domain.usage import Span
from cstp_server.policy.agent_models import EVERY_AGENT, AgentModel, QualityModel
from cstp_server.policy.built_in import BUILT_IN
from cstp_server.policy.cel import compile_predicate
from cstp_server.policy.compiled import AgentPolicies, TripwireSet
from cstp_server.policy.field_paths import steps_of
from cstp_server.policy.patterns import TextPattern
from cstp_server.policy.short_form import Bound, tripwire_of
from cstp_server.policy.tripwire_models import AppliesModel, LimitModel, QuotaModel, TripwireModel, TripwiresModel

ByName = Mapping[str, Tripwire]


def compile_tripwires(model: TripwiresModel, agents: Mapping[str, AgentModel]) -> TripwireSet:
    """The tripwires of everyone and of every agent that has some of its own."""
    of_all = {**_built_in(model.rules), **_written(model)}
    of_everyone = {**of_all, **_own(agents.get(EVERY_AGENT))}
    own = {agent_id: _own(agent) for agent_id, agent in agents.items() if agent_id != EVERY_AGENT}
    return TripwireSet(
        of_everyone=_in_force(of_everyone),
        of_agents={agent_id: _in_force({**of_everyone, **tripwires}) for agent_id, tripwires in own.items() if tripwires},
    )


def compile_agents(agents: Mapping[str, AgentModel]) -> AgentPolicies:
    """The tiers of the agents that are named, and of all others."""
    of_all = agents.get(EVERY_AGENT)
    return AgentPolicies(
        default_acl_tier=of_all.acl_tier if of_all is not None and of_all.acl_tier is not None else DEFAULT_ACL_TIER,
        acl_tiers={
            agent_id: agent.acl_tier for agent_id, agent in agents.items() if agent.acl_tier is not None and agent_id != EVERY_AGENT
        },
    )


def compile_quality(model: QualityModel | None) -> Quality | None:
    """The guard over the quality of reasoning, where there is one."""
    return Quality(model.min_ctq, model.intervention, model.mode) if model is not None else None


def compile_rule(model: TripwireModel) -> Tripwire:
    """One rule of the long form."""
    if model.changes_built_in:
        return _changed(BUILT_IN[model.name], model)
    severity = model.severity_level or TripwireSeverity.STANDARD
    return Tripwire(
        name=model.name,
        rule=_rule(model),
        severity=severity,
        applies=_applies(model.applies_to),
        mode=model.mode,
        description=model.description,
        message=model.message,
        suggestion=model.suggestion,
        notify=_notifies(model, severity),
        notify_use=model.notify is not False,
        trust_impact=model.trust_impact,
    )


def _in_force(tripwires: ByName) -> tuple[Tripwire, ...]:
    active = [tripwire for tripwire in tripwires.values() if tripwire.mode is not Mode.OFF]
    return tuple(sorted(active, key=lambda tripwire: -tripwire.severity))


def _built_in(rules: Iterable[TripwireModel]) -> ByName:
    changed = {rule.name: compile_rule(rule) for rule in rules if rule.changes_built_in}
    return {**BUILT_IN, **changed}


def _own(agent: AgentModel | None) -> ByName:
    return dict(_written(agent.tripwires)) if agent is not None and agent.tripwires is not None else {}


def _written(model: TripwiresModel) -> ByName:
    limits = {name: tripwire_of(name, bound) for name, bound in model.limits.items()}
    return {**limits, **{rule.name: compile_rule(rule) for rule in model.rules if not rule.changes_built_in}}


def _changed(tripwire: Tripwire, model: TripwireModel) -> Tripwire:
    severity = model.severity_level or tripwire.severity
    return replace(
        tripwire,
        severity=severity,
        applies=_applies(model.applies_to),
        mode=model.mode,
        description=model.description or tripwire.description,
        message=model.message,
        suggestion=model.suggestion or tripwire.suggestion,
        notify=_notifies(model, severity),
        trust_impact=model.trust_impact,
    )


def _notifies(model: TripwireModel, severity: TripwireSeverity) -> bool:
    return model.notify if model.notify is not None else severity > TripwireSeverity.STANDARD


def _rule(model: TripwireModel) -> Rule:
    if model.limit is not None:
        return _limit(model.limit)
    if model.quota is not None:
        return _quota(model.quota)
    if model.pattern is not None:
        return Pattern(tuple(map(steps_of, model.pattern.fields)), TextPattern(model.pattern.regex))
    return Condition(compile_predicate(model.when or ""))


def _limit(model: LimitModel) -> Limit:
    return Limit((Measure(steps_of(model.field)),), max=_amount(model.max), min=_amount(model.min))


def _quota(model: QuotaModel) -> Quota:
    sums = Measure(steps_of(model.sum)) if model.sum is not None else None
    return Quota(amount_of(model.max) or 0, Span(model.window), model.per, sums, settles=sums is not None and model.settles)


def _amount(bound: Bound | None) -> int | None:
    return amount_of(bound) if bound is not None else None


def _applies(model: AppliesModel | None) -> Applies:
    if model is None:
        return EVERYWHERE
    return Applies(
        agents=frozenset(model.agents or ()),
        categories=frozenset(model.categories or ()),
        types=frozenset(model.types or ()),
        tags=frozenset(model.tags or ()),
    )

"""The policy in the form that a decision is made with: immutable, indexed, its expressions compiled."""

import difflib
from collections.abc import Mapping
from dataclasses import field
from datetime import tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from cstp_server.dimensions.installed import known_dimensions
from cstp_server.dimensions.reading import composed
from cstp_server.domain.alerts import AlertPolicy
from cstp_server.domain.budgets import is_budget
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.constraints import Bound, Dimension, Interaction
from cstp_server.domain.expressions import Predicate
from cstp_server.domain.facts import DEFAULT_ACL_TIER, Facts, Stakes
from cstp_server.domain.findings import Mode
from cstp_server.domain.gaming import AntiGaming
from cstp_server.domain.guardrails import Guardrail, RuleGroup
from cstp_server.domain.posture_guards import TransitionGuard
from cstp_server.domain.postures import DEFAULT_POSTURE, AgentPosture, Posture
from cstp_server.domain.quality import Quality
from cstp_server.domain.resolutions import Waits
from cstp_server.domain.scopes import USER_TEMPLATE, Scope, ScopeKind, keys_of, parse_scope
from cstp_server.domain.tripwires import Tripwire
from cstp_server.domain.values import dataclass

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class ClassificationRule:
    """Raises what an agent declares: stakes at least `stakes`, `tags` added, `category` where none was declared."""

    when: Predicate
    stakes: Stakes | None = None
    tags: tuple[str, ...] = ()
    category: str | None = None


class SelfReported(StrEnum):
    """What a review by the decision's own agent moves (SPEC 4)."""

    COUNT = "count"
    FAILURES_ONLY = "failures_only"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """The breakers of users' trust: the settings of each domain that the policy names, and of all others."""

    default: CircuitSettings
    domains: Mapping[str, CircuitSettings] = field(default_factory=dict)

    def of(self, scope: str) -> CircuitSettings:
        """The settings of `user:<id>/<domain>`: the id may hold a `/`, the domain does not."""
        return self.domains.get(scope.rpartition("/")[2], self.default)


@dataclass(frozen=True, slots=True)
class CircuitPolicies:
    """Which circuits the policy has: exact scopes, templates, and the measures of users' trust where neither covers the user.

    Looking one up costs the same however many there are.
    """

    exact: Mapping[str, CircuitSettings] = field(default_factory=dict)
    templates: Mapping[str, CircuitSettings] = field(default_factory=dict)
    """By the template's own scope, such as `agent:*`."""
    trust: TrustPolicy | None = None

    def covering(self, scope: Scope) -> CircuitSettings | None:
        """The settings of a scope's circuit: an exact one beats the template; none when no policy covers it."""
        settings = self.exact.get(str(scope))
        if settings is None and (template := scope.template) is not None:
            settings = self.templates.get(str(template))
        if settings is None and self.trust is not None and scope.kind is ScopeKind.USER:
            return self.trust.of(scope.value)
        return settings

    def covering_text(self, scope: str) -> CircuitSettings | None:
        """As `covering`, for a scope that is known to be one."""
        return self.covering(parse_scope(scope))

    def matching(self, facts: Facts) -> tuple[tuple[str, CircuitSettings], ...]:
        """The circuits that these facts belong to, with their settings, widest first."""
        found = []
        for scope, template in keys_of(facts):
            settings = self.exact.get(scope)
            if settings is None and template is not None:
                settings = self.templates.get(template)
                if settings is None and template is USER_TEMPLATE and self.trust is not None:
                    settings = self.trust.of(scope)
            if settings is not None:
                found.append((scope, settings))
        return tuple(found)

    def nearest(self, scope: str) -> tuple[str, ...]:
        """Known scopes that look like `scope`, best first."""
        return tuple(difflib.get_close_matches(scope, [*self.exact, *self.templates], n=3, cutoff=0.4))


@dataclass(frozen=True, slots=True)
class TripwireSet:
    """The tripwires that are not off, the most severe first: those of agents that the policy does not name, and each named one's."""

    of_everyone: tuple[Tripwire, ...] = ()
    of_agents: Mapping[str, tuple[Tripwire, ...]] = field(default_factory=dict)
    _budgets: Mapping[str, Tripwire] = field(init=False, compare=False, default_factory=dict)
    _budgets_of_agents: Mapping[str, Mapping[str, Tripwire]] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_budgets", _budgets_among(self.of_everyone))
        object.__setattr__(self, "_budgets_of_agents", {agent_id: _budgets_among(own) for agent_id, own in self.of_agents.items()})

    def of(self, agent_id: str) -> tuple[Tripwire, ...]:
        """The tripwires that an agent may run into."""
        return self.of_agents.get(agent_id, self.of_everyone)

    def budgets_of(self, agent_id: str) -> Mapping[str, Tripwire]:
        """The budgets that an agent draws on and people are told of, by their meters."""
        return self._budgets_of_agents.get(agent_id, self._budgets)


def _budgets_among(tripwires: tuple[Tripwire, ...]) -> Mapping[str, Tripwire]:
    return {tripwire.meter: tripwire for tripwire in tripwires if is_budget(tripwire)}


@dataclass(frozen=True, slots=True)
class AgentPolicies:
    """What the policy says of agents; of those that it does not name, what it says of all."""

    default_acl_tier: int = DEFAULT_ACL_TIER
    acl_tiers: Mapping[str, int] = field(default_factory=dict)

    def acl_tier(self, agent_id: str) -> int:
        """The tier of an agent."""
        return self.acl_tiers.get(agent_id, self.default_acl_tier)


@dataclass(frozen=True, slots=True)
class Earned:
    """A posture that an agent earns by its record: a trust score of at least `min_score`, from at least `min_reviewed` outcomes.

    It is proposed, and waits for an approval, unless it is granted by itself (`auto`).
    """

    to: Posture
    min_score: float
    min_reviewed: int
    auto: bool = False


@dataclass(frozen=True, slots=True)
class PosturePolicy:
    """How much autonomy agents begin with, what moves them, and how their record is read. Windows in ms."""

    default: Posture = DEFAULT_POSTURE
    of_agents: Mapping[str, Posture] = field(default_factory=dict)
    guards: tuple[TransitionGuard, ...] = ()
    earned: tuple[Earned, ...] = ()
    score_window_ms: int = 30 * 86_400_000
    review_due_ms: int = 86_400_000
    min_review_coverage: float = 0.0

    def of(self, agent_id: str, stored: AgentPosture | None) -> AgentPosture:
        """The agent's posture: the one on record, else the one that the policy gives it at first."""
        if stored is not None and stored.was_set:
            return stored
        return AgentPosture(agent_id, self.of_agents.get(agent_id, self.default))


class ConstraintSource(NamedTuple):
    """Constraints that stand together in the policy: at which place, how they are written, and how their dimensions read them."""

    place: tuple[str, ...] = ()
    written: Mapping[str, Any] = MappingProxyType({})
    bounds: tuple[Bound, ...] = ()


_NO_CONSTRAINTS = ConstraintSource()
_MOST_REMEMBERED = 10_000
_Whose: TypeAlias = tuple[str | None, str | None]
"""A category and an agent of which the policy speaks."""


@dataclass(frozen=True, slots=True)
class ConstraintPolicy:
    """The bounds of actions, and what follows from them (SPEC 9).

    `dimensions` are all that the policy knows, by name, with its `internal_domains`; whether those of installed packages may be used, it
    does not know. `reviews`: somebody must have approved them. `of_agents` hold what is for every agent as well, unless they say
    otherwise; `of_every_agent` is for all others.
    """

    mode: Interaction = Interaction.CONJUNCTIVE
    enforcement: Mode = Mode.ENFORCE
    missing_passes: bool = False
    anti_gaming: AntiGaming = AntiGaming.FLAG
    internal_domains: tuple[str, ...] = ()
    dimensions: Mapping[str, Dimension] = field(default_factory=known_dimensions)
    reviews: bool = True
    of_all: ConstraintSource = _NO_CONSTRAINTS
    of_categories: Mapping[str, ConstraintSource] = field(default_factory=dict)
    of_every_agent: ConstraintSource = _NO_CONSTRAINTS
    of_agents: Mapping[str, ConstraintSource] = field(default_factory=dict)
    _known: dict[_Whose, tuple[Bound, ...]] = field(default_factory=dict, init=False, compare=False, repr=False)

    def bounds_of(self, facts: Facts) -> tuple[Bound, ...]:
        """The bounds of an action, one a dimension: the most restrictive of those for all, for its category and for its agent.

        They come in that order. There are none where constraints are off.
        """
        category = facts.category if facts.category in self.of_categories else None
        agent_id = facts.agent_id if facts.agent_id in self.of_agents else None
        bounds = self._known.get((category, agent_id))
        if bounds is None:
            bounds = self._composed(category, agent_id)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[category, agent_id] = bounds
        return bounds

    @property
    def sources(self) -> tuple[ConstraintSource, ...]:
        """All places that have constraints, or could."""
        return (self.of_all, *self.of_categories.values(), self.of_every_agent, *self.of_agents.values())

    def _composed(self, category: str | None, agent_id: str | None) -> tuple[Bound, ...]:
        if self.enforcement is Mode.OFF:
            return ()
        of_category = self.of_categories[category] if category is not None else _NO_CONSTRAINTS
        of_agent = self.of_agents[agent_id] if agent_id is not None else self.of_every_agent
        named: dict[str, list[Bound]] = {}
        for source in (self.of_all, of_category, of_agent):
            for bound in source.bounds:
                named.setdefault(bound.name, []).append(bound)
        return tuple(map(composed, named.values()))


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that the guards need. `version` is `sha256:` and the hash of the policy's canonical form.

    `rule_groups` are the guardrails that are not off, behind screens that let most actions pass at the price of one condition;
    where `screen` is false for what was declared, no classification rule, guardrail or tripwire's condition has anything to say.
    `speaks_of_posture`: an expression asks for the agent's posture.
    """

    version: str
    circuits: CircuitPolicies = CircuitPolicies()
    guardrails: tuple[Guardrail, ...] = ()
    rule_groups: tuple[RuleGroup, ...] = ()
    classification: tuple[ClassificationRule, ...] = ()
    screen: Predicate | None = None
    tripwires: TripwireSet = TripwireSet()
    agents: AgentPolicies = AgentPolicies()
    quality: Quality | None = None
    waits: Waits = field(default_factory=Waits)
    postures: PosturePolicy = PosturePolicy()
    constraints: ConstraintPolicy = field(default_factory=ConstraintPolicy)
    speaks_of_posture: bool = False
    self_reported: SelfReported = SelfReported.COUNT
    time_zone: tzinfo = _UTC
    retention_days: int | None = None
    event_retention_days: int | None = None
    alerts: AlertPolicy = field(default_factory=AlertPolicy)
    active_guardrails: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        active = tuple(rule for rule in self.guardrails if rule.mode is not Mode.OFF)
        object.__setattr__(self, "active_guardrails", len(active))
        if active and not self.rule_groups:
            object.__setattr__(self, "rule_groups", (RuleGroup(active),))

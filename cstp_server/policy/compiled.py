"""The policy in the form that a decision is made with: immutable, indexed, its expressions compiled."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.expressions import Predicate
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.findings import Mode
from cstp_server.domain.guardrails import Guardrail, RuleGroup
from cstp_server.domain.scopes import Scope, keys_of, parse_scope

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
class CircuitPolicies:
    """Which circuits the policy has: exact scopes and templates. Looking one up costs the same however many there are."""

    exact: Mapping[str, CircuitSettings] = field(default_factory=dict)
    templates: Mapping[str, CircuitSettings] = field(default_factory=dict)
    """By the template's own scope, such as `agent:*`."""

    def covering(self, scope: Scope) -> CircuitSettings | None:
        """The settings of a scope's circuit: an exact one beats the template; none when no policy covers it."""
        settings = self.exact.get(str(scope))
        if settings is None and (template := scope.template) is not None:
            settings = self.templates.get(str(template))
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
            if settings is not None:
                found.append((scope, settings))
        return tuple(found)

    def nearest(self, scope: str) -> tuple[str, ...]:
        """Known scopes that look like `scope`, best first."""
        return tuple(difflib.get_close_matches(scope, [*self.exact, *self.templates], n=3, cutoff=0.4))


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that the guards need. `version` is `sha256:` and the hash of the policy's canonical form.

    `rule_groups` are the guardrails that are not off, behind screens that let most actions pass at the price of one condition;
    where `screen` is false for what was declared, neither a classification rule nor a guardrail has anything to say.
    """

    version: str
    circuits: CircuitPolicies = CircuitPolicies()
    guardrails: tuple[Guardrail, ...] = ()
    rule_groups: tuple[RuleGroup, ...] = ()
    classification: tuple[ClassificationRule, ...] = ()
    screen: Predicate | None = None
    self_reported: SelfReported = SelfReported.COUNT
    time_zone: tzinfo = _UTC
    retention_days: int | None = None
    active_guardrails: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        active = tuple(rule for rule in self.guardrails if rule.mode is not Mode.OFF)
        object.__setattr__(self, "active_guardrails", len(active))
        if active and not self.rule_groups:
            object.__setattr__(self, "rule_groups", (RuleGroup(active),))

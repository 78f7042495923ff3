"""Tripwires: hard limits that act at once, whatever the quality of the reasoning (SPEC 7).

What follows from running into one is a matter of its severity and of the agent's tier:

    severity   tier 2 and below                     tier 3 and above
    standard   block, and an approval is asked for  block
    critical   block                                halt
    severe     halt                                 halt
"""

from dataclasses import field
from enum import IntEnum

from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding, GuardType, Intervention, Mode, TripwireDetail
from cstp_server.domain.tripwire_rules import Quota, Rule, Trip
from cstp_server.domain.values import dataclass
from cstp_server.domain.words import contains

_LAST_TIER_TO_ASK = 2
_FIRST_TIER_TO_HALT = 3
_PREFIX = "Tripwire triggered: "


class TripwireSeverity(IntEnum):
    """How bad it is to run into the tripwire."""

    STANDARD = 1
    CRITICAL = 2
    SEVERE = 3

    @property
    def label(self) -> str:
        """The name on the wire and in the policy."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Applies:
    """Which actions a tripwire is about; every kind that is given must match. Names are folded, agents are as given.

    `words` must stand in the action's type, one after another, as `words.words_of` compares them.
    """

    agents: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()

    def to(self, facts: Facts) -> bool:
        """Whether an action is among them."""
        if self.words and not contains(facts.type_words, self.words):
            return False
        if self.agents and facts.agent_id not in self.agents:
            return False
        if self.categories and facts.category not in self.categories:
            return False
        if self.types and facts.type not in self.types:
            return False
        return not self.tags or not self.tags.isdisjoint(facts.tags)

    def may_be_of(self, agent_id: str) -> bool:
        """Whether any action of an agent may be among them."""
        return not self.agents or agent_id in self.agents


EVERYWHERE = Applies()


@dataclass(frozen=True, slots=True)
class Tripwire:
    """One hard limit. `message` takes the place of what the rule would say.

    `asks` has a limit ask for an approval instead of refusing. `notify` says that a hit is to be told to people, `notify_use` that they are
    told when most of a budget is used, `trust_impact` that a hit counts against the agent's trust.
    """

    name: str
    rule: Rule
    severity: TripwireSeverity = TripwireSeverity.STANDARD
    applies: Applies = EVERYWHERE
    mode: Mode = Mode.ENFORCE
    description: str = ""
    message: str | None = None
    suggestion: str | None = None
    asks: bool = False
    notify: bool = False
    notify_use: bool = True
    trust_impact: bool = True
    meter: str = field(init=False, default="")
    """The name of its tally, where its rule is a quota."""

    def __post_init__(self) -> None:
        if isinstance(self.rule, Quota):
            object.__setattr__(self, "meter", self.rule.meter(self.name))

    def finding(self, trip: Trip, acl_tier: int) -> Finding:
        """What the guard says when the rule has found something wrong."""
        intervention = self.intervention(acl_tier)
        return Finding(
            guardrail=self.name,
            type=GuardType.TRIPWIRE,
            intervention=intervention,
            message=self._message(trip),
            mode=self.mode,
            suggestion=self.suggestion,
            approvable=self.is_approvable(acl_tier),
            changes=trip.changes,
            tripwire=TripwireDetail(self.severity.label, self.notify, self.trust_impact),
        )

    def _message(self, trip: Trip) -> str:
        if self.message is None:
            return f"{_PREFIX}{trip.reason}"
        return self.message if trip.failure is None else f"{self.message} ({trip.failure})"

    def intervention(self, acl_tier: int) -> Intervention:
        """What happens to an action that runs into it."""
        if self.severity is TripwireSeverity.SEVERE:
            return Intervention.HALT
        if self.severity is TripwireSeverity.CRITICAL:
            return Intervention.HALT if acl_tier >= _FIRST_TIER_TO_HALT else Intervention.BLOCK
        return Intervention.ESCALATE if self.asks else Intervention.BLOCK

    def is_approvable(self, acl_tier: int) -> bool:
        """Whether a human may let one such action through."""
        return self.severity is TripwireSeverity.STANDARD and (self.asks or acl_tier <= _LAST_TIER_TO_ASK)


@dataclass(frozen=True, slots=True)
class Hit:
    """An action that ran into a tripwire, for the record. `at` in ms since the epoch."""

    tripwire: str
    severity: str
    agent_id: str
    decision_id: str
    at: int
    mode: Mode
    trust_impact: bool

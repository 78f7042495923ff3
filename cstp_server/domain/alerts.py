"""Which events people are told of, how urgent each is, and on which channels they are told (SPEC 11)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from cstp_server.domain.events import Event, EventType
from cstp_server.domain.postures import TransitionType
from cstp_server.domain.values import dataclass

EVERYTHING = "*"
_FAMILY = ".*"


class Level(IntEnum):
    """How urgent an alert is."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """The name on the wire and in the policy."""
        return self.name.lower()


class ChannelType(StrEnum):
    """How a channel reaches people."""

    WEBHOOK = "webhook"
    APPRISE = "apprise"


class Alert(NamedTuple):
    """How urgent an event is, and the subject with whose other alerts it is gathered."""

    level: Level
    subject: str


LevelOf = Callable[[Event], Level | None]
SubjectOf = Callable[[Event], str]


def alert_of(event: Event) -> Alert | None:
    """The alert that an event is; none when nobody is to be told of it, because of its type or because the policy says so."""
    rule = _RULES.get(event.type)
    if rule is None:
        return None
    level = rule[0](event)
    return Alert(level, f"{event.type.value.partition('.')[0]}/{rule[1](event)}") if level is not None else None


def types_like(pattern: str) -> frozenset[EventType]:
    """The types of alerts that a filter names: a type, a family such as `circuit.*`, or `*`. Empty when it names none."""
    if pattern == EVERYTHING:
        return frozenset(ALERTING)
    if pattern.endswith(_FAMILY):
        return frozenset(kind for kind in ALERTING if kind.value.startswith(pattern.removesuffix(EVERYTHING)))
    return frozenset(kind for kind in ALERTING if kind.value == pattern)


def _always(level: Level) -> LevelOf:
    return lambda _event: level


def _circuit(level: Level) -> LevelOf:
    """A circuit that is to tell nobody tells nobody, and one in shadow mode has refused nothing."""

    def level_of(event: Event) -> Level | None:
        if event.data.get("notify") is False:
            return None
        return Level.INFO if event.data.get("mode") == _SHADOW else level

    return level_of


def _amended(event: Event) -> Level | None:
    return _circuit(Level.WARNING if event.data.get("state") == "open" else Level.INFO)(event)


def _tripwire(event: Event) -> Level | None:
    """By default critical and severe ones tell somebody."""
    if not event.data.get("notify"):
        return None
    if event.data.get("mode") == _SHADOW:
        return Level.INFO
    return Level.CRITICAL if event.data.get("severity") in _GRAVE else Level.WARNING


def _pending(event: Event) -> Level | None:
    """A cancel window closes by itself; an approval or a confirmation has to be given."""
    return Level.INFO if event.data.get("kind") == "cancel_window" else Level.WARNING


def _downgraded(event: Event) -> Level | None:
    return Level.CRITICAL if event.data.get("transition_type") == TransitionType.EMERGENCY_DOWNGRADE else Level.WARNING


def _budget(event: Event) -> Level | None:
    percent = event.data.get("percent", 0)
    if event.data.get("mode") == _SHADOW:
        return Level.INFO
    return next((level for threshold, level in _BUDGET_LEVELS if percent >= threshold), Level.INFO)


def _subject(event: Event) -> str:
    return event.subject


def _agent(event: Event) -> str:
    """Every decision has an id of its own: those of one agent are gathered."""
    return str(event.data.get("agent", event.subject))


def _budget_of(event: Event) -> str:
    return f"{event.subject}/{event.data.get('of', '')}"


_SHADOW = "shadow"
_GRAVE = frozenset({"critical", "severe"})
_BUDGET_LEVELS = ((100, Level.CRITICAL), (95, Level.WARNING))
_RULES: Mapping[EventType, tuple[LevelOf, SubjectOf]] = {
    EventType.CIRCUIT_OPENED: (_circuit(Level.WARNING), _subject),
    EventType.CIRCUIT_FORCED: (_circuit(Level.CRITICAL), _subject),
    EventType.CIRCUIT_HALF_OPENED: (_circuit(Level.INFO), _subject),
    EventType.CIRCUIT_CLOSED: (_circuit(Level.INFO), _subject),
    EventType.CIRCUIT_AMENDED: (_amended, _subject),
    EventType.TRIPWIRE_HIT: (_tripwire, _subject),
    EventType.DECISION_PENDING: (_pending, _agent),
    EventType.POSTURE_DOWNGRADED: (_downgraded, _subject),
    EventType.ENFORCEMENT_BYPASSED: (_always(Level.CRITICAL), _agent),
    EventType.POLICY_REJECTED: (_always(Level.WARNING), _subject),
    EventType.BUDGET_REACHED: (_budget, _budget_of),
}
ALERTING: tuple[EventType, ...] = tuple(_RULES)
"""The types of events that people may be told of."""


@dataclass(frozen=True, slots=True)
class AlertChannel:
    """One way to people. `url` is where it leads, or `url_env` names the variable of the environment that says so.

    `secret_env` names the variable with the secret that messages are signed with. It is told of events of these `types` that are at
    least as urgent as `least`, of these tenants, or of all where none is named. `allow_private` lets it reach addresses that are not
    public.
    """

    name: str
    type: ChannelType
    types: frozenset[EventType]
    least: Level = Level.INFO
    url: str | None = field(default=None, repr=False)
    url_env: str | None = None
    secret_env: str | None = None
    tenants: frozenset[str] = frozenset()
    allow_private: bool = False
    timeout_ms: int = 10_000

    def hears(self, event: Event, alert: Alert) -> bool:
        """Whether it is told of an event."""
        return event.type in self.types and alert.level >= self.least and (not self.tenants or event.tenant in self.tenants)


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Who is told of what. `types` are those of which anybody is told at all: any other event costs one look."""

    channels: tuple[AlertChannel, ...] = ()
    types: frozenset[EventType] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", frozenset[EventType]().union(*(channel.types for channel in self.channels)))

    @property
    def variables(self) -> frozenset[str]:
        """The variables of the environment that the channels need."""
        return frozenset(name for channel in self.channels for name in (channel.url_env, channel.secret_env) if name is not None)

    def named(self, name: str) -> AlertChannel | None:
        """The channel of that name."""
        return next((channel for channel in self.channels if channel.name == name), None)

    def recipients(self, event: Event) -> tuple[str, Sequence[str]] | None:
        """The subject of an event's alert and the names of the channels that are told; none when none is."""
        alert = alert_of(event)
        if alert is None:
            return None
        hearing = [channel.name for channel in self.channels if channel.hears(event, alert)]
        return (alert.subject, hearing) if hearing else None

"""What those who watch are told of what happens: which kinds of things have changed, and no more (SPEC 11)."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

from cstp_server.domain.events import EventType
from cstp_server.domain.scopes import ScopeKind


class Topic(StrEnum):
    """A kind of things that change."""

    CIRCUITS = "circuits"
    TRUST = "trust"
    DECISIONS = "decisions"
    PENDING = "pending"
    AGENTS = "agents"
    TRIPWIRES = "tripwires"
    EVENTS = "events"
    POLICY = "policy"
    ALERTS = "alerts"


EVERYTHING = frozenset(Topic)
_OF_KIND: Mapping[str, frozenset[Topic]] = {
    "decision": frozenset({Topic.DECISIONS, Topic.PENDING, Topic.EVENTS}),
    "enforcement": frozenset({Topic.DECISIONS, Topic.EVENTS}),
    "circuit": frozenset({Topic.CIRCUITS, Topic.EVENTS}),
    "tripwire": frozenset({Topic.TRIPWIRES, Topic.AGENTS, Topic.EVENTS}),
    "posture": frozenset({Topic.AGENTS, Topic.EVENTS}),
    "budget": frozenset({Topic.AGENTS, Topic.EVENTS}),
    "trust": frozenset({Topic.TRUST, Topic.EVENTS}),
    "notification": frozenset({Topic.ALERTS, Topic.EVENTS}),
    "policy": frozenset({Topic.POLICY, Topic.EVENTS}),
}
_OF_ROUTINE: Mapping[EventType, frozenset[Topic]] = {
    EventType.DECISION_CHECKED: frozenset({Topic.DECISIONS}),
    EventType.DECISION_RECORDED: frozenset({Topic.DECISIONS}),
    EventType.DECISION_REVIEWED: frozenset({Topic.DECISIONS, Topic.CIRCUITS, Topic.AGENTS, Topic.TRUST}),
    EventType.CIRCUIT_PROBE_CLAIMED: frozenset({Topic.CIRCUITS}),
    EventType.TRUST_SUCCEEDED: frozenset({Topic.TRUST}),
    EventType.NOTIFICATION_SENT: frozenset({Topic.ALERTS}),
}
_REST = frozenset({Topic.EVENTS})


def topics_of(event_type: EventType, subject: str) -> frozenset[Topic]:
    """What an event changes."""
    routine = _OF_ROUTINE.get(event_type)
    if routine is not None:
        return routine
    found = _OF_KIND.get(event_type.value.partition(".")[0], _REST)
    return found | {Topic.TRUST} if Topic.CIRCUITS in found and subject.startswith(f"{ScopeKind.USER}:") else found


def is_everybodys(event_type: EventType) -> bool:
    """Whether it changes what every tenant sees, whoever's event it is: there is one policy for all."""
    return event_type.value.startswith(f"{Topic.POLICY}.")


def is_routine(event_type: EventType) -> bool:
    """Whether it is of a kind that there may be thousands of in a second."""
    return event_type in _OF_ROUTINE


class Listener(Protocol):
    """Somebody who watches one tenant."""

    async def next(self, seconds: float) -> frozenset[Topic]:
        """What has changed since the last time; nothing when nothing has within so long."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the service is about to end."""
        ...


class Feed(Protocol):
    """Tells of what happens, in this process or another."""

    def edition(self, tenant: str) -> str | None:
        """What was told of a tenant so far, as a mark: as long as it is the same, nothing further was told. None when nobody watches it."""
        ...

    def listen(self, tenant: str) -> AbstractContextManager[Listener]:
        """To be told from now on."""
        ...

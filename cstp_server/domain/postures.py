"""Postures: how much autonomy an agent has, and the moves between them (SPEC 8).

A posture is moved by somebody, by a halt, or by circuits that hold it down while they are open:

    moved by hand, or by a halt   what circuits held is forgotten: nothing raises the agent again but another move by hand
    a circuit opens               lowered to the circuit's `downgrade_to`, if that is lower; what it was before is kept
    the circuit closes            restored to the lowest that the circuits still open ask for, at most to what it was before
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum


class Posture(IntEnum):
    """The five postures by their level: the higher, the more an agent may do by itself."""

    BLOCKED = 1
    HUMAN_DECIDES = 2
    SUPERVISED = 3
    ASSISTED = 4
    FULL_AUTONOMY = 5

    @property
    def label(self) -> str:
        """The name on the wire and in the policy."""
        return _LABELS[self]


_LABELS = {posture: posture.name.lower() for posture in Posture}
POSTURES: Mapping[str, Posture] = {label: posture for posture, label in _LABELS.items()}
DEFAULT_POSTURE = Posture.SUPERVISED
BY_POLICY = "policy"


class TransitionType(StrEnum):
    """What a move does to an agent's autonomy."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    MAINTAIN = "maintain"
    EMERGENCY_DOWNGRADE = "emergency_downgrade"


def transition_type(before: Posture, after: Posture) -> TransitionType:
    """What the move from one posture to another is."""
    if before == after:
        return TransitionType.MAINTAIN
    return TransitionType.UPGRADE if after > before else TransitionType.DOWNGRADE


@dataclass(frozen=True, slots=True)
class Hold:
    """A circuit that keeps an agent's posture down while it is open."""

    scope: str
    to: Posture


@dataclass(frozen=True, slots=True)
class AgentPosture:
    """The posture of one agent, since when (ms since the epoch; 0: from the first), by whom and why.

    `original` is what it was before circuits lowered it, `holds` are the circuits that do. `earned` says that it was raised for its record.
    `blocked_at` is when it was last blocked by somebody or by a halt, whatever it has become since.
    """

    agent_id: str
    posture: Posture
    since: int = 0
    set_by: str = BY_POLICY
    reason: str = ""
    original: Posture | None = None
    holds: tuple[Hold, ...] = ()
    earned: bool = False
    blocked_at: int | None = None

    @property
    def base(self) -> Posture:
        """What it is, or would be without the circuits that hold it down."""
        return self.original if self.original is not None else self.posture


def moved(current: AgentPosture, to: Posture, *, by: str, reason: str, at: int, earned: bool = False) -> AgentPosture:
    """Moved by somebody; to stay where one is is no move (SPEC 8)."""
    if to is current.posture:
        return current
    blocked_at = at if to is Posture.BLOCKED else current.blocked_at
    return AgentPosture(current.agent_id, to, at, by, reason, earned=earned, blocked_at=blocked_at)


def halted(current: AgentPosture, *, by: str, reason: str, at: int) -> AgentPosture:
    """Blocked at once and past all guards; one that was moved there already, and not by circuits only, is blocked anew."""
    if current.posture is Posture.BLOCKED and current.since and not current.holds:
        return replace(current, blocked_at=at)
    return AgentPosture(current.agent_id, Posture.BLOCKED, at, by, reason, blocked_at=at)


def lowered(current: AgentPosture, scope: str, to: Posture, *, reason: str, at: int) -> AgentPosture:
    """Held down by a circuit that has opened; never raised, and the same where the agent has no more autonomy than that anyway.

    A circuit that opens again, and by now asks for less, goes on holding what it holds.
    """
    if to >= current.base:
        return current
    lowest = min([to, *(hold.to for hold in current.holds if hold.scope == scope)])
    holds = tuple(hold for hold in current.holds if hold.scope != scope)
    held = replace(current, original=current.base, holds=(*holds, Hold(scope, lowest)))
    return _settled(held, by=scope, reason=reason, at=at)


def released(current: AgentPosture, scope: str, *, restore: bool, reason: str, at: int) -> AgentPosture:
    """Let go by a circuit that has closed; without `restore` the agent stays as low as that circuit had brought it."""
    hold = next((hold for hold in current.holds if hold.scope == scope), None)
    if hold is None:
        return current
    base = current.base if restore else min(current.base, hold.to)
    holds = tuple(other for other in current.holds if other is not hold)
    return _settled(replace(current, original=base if holds else None, holds=holds), by=scope, reason=reason, at=at, base=base)


def _settled(held: AgentPosture, *, by: str, reason: str, at: int, base: Posture | None = None) -> AgentPosture:
    """With the lowest posture that the circuits ask for."""
    posture = min([hold.to for hold in held.holds] + [base if base is not None else held.base])
    if posture is held.posture:
        return held
    return replace(held, posture=posture, since=at, set_by=by, reason=reason)

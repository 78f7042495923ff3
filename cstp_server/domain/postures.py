"""Postures: how much autonomy an agent has, and the moves between them (SPEC 8).

A posture is moved by somebody, by a halt, or by circuits that hold it down while they are open:

    moved by hand, or by a halt   what circuits held is forgotten: nothing raises the agent again but another move by hand
    a circuit opens               lowered to the circuit's `downgrade_to`, if that is lower; what it was before is kept,
                                  and nothing is earned meanwhile
    the circuit closes            restored to the lowest that the circuits still open ask for, at most to what it was before
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum, StrEnum

from cstp_server.domain.values import dataclass


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
EARNED_BY = "earned autonomy"
"""Who moves an agent that has earned, or lost, a posture by its record."""


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
    """A circuit that keeps an agent's posture down while it is open. `restores`: what its policy said of its closing when it lowered it."""

    scope: str
    to: Posture
    restores: bool = True


@dataclass(frozen=True, slots=True)
class AgentPosture:
    """The posture of one agent, since when (ms since the epoch; 0: from the first), by whom and why.

    `original` is what it was before circuits lowered it, `holds` are the circuits that do. `earned_from` is what it was before each of the
    postures that its record has brought it since it was last moved otherwise, the newest last.
    `moved_at` is when somebody last moved it, or a halt did; `blocked_at` is when that was to `blocked`, whatever it has become since.
    """

    agent_id: str
    posture: Posture
    since: int = 0
    set_by: str = BY_POLICY
    reason: str = ""
    original: Posture | None = None
    holds: tuple[Hold, ...] = ()
    earned_from: tuple[Posture, ...] = ()
    blocked_at: int | None = None
    moved_at: int | None = None

    @property
    def was_set(self) -> bool:
        """Whether it is more than the first posture that the policy gave it."""
        return bool(self.since or self.holds or self.set_by != BY_POLICY)

    @property
    def base(self) -> Posture:
        """What it is, or would be without the circuits that hold it down."""
        return self.original if self.original is not None else self.posture


def moved(current: AgentPosture, to: Posture, *, by: str, reason: str, at: int) -> AgentPosture:
    """Moved by somebody; to stay where one is is no move (SPEC 8), except that whoever blocks an agent has it blocked for good."""
    if to is not Posture.BLOCKED:
        return current if to is current.posture else _set(current, to, by=by, reason=reason, at=at, blocked_at=current.blocked_at)
    return current if _is_blocked_for_good(current) else _set(current, to, by=by, reason=reason, at=at, blocked_at=at)


def promoted(current: AgentPosture, to: Posture, *, by: str, reason: str, at: int) -> AgentPosture:
    """Raised for its record; what it was before is what it falls back to when it loses that again."""
    return replace(current, posture=to, since=at, set_by=by, reason=reason, earned_from=(*current.earned_from, current.posture))


def demoted(current: AgentPosture, *, by: str, reason: str, at: int) -> AgentPosture:
    """Without the posture that its record had brought it last; the same when none had, or when it is no higher than before that."""
    if not current.earned_from or current.holds or current.earned_from[-1] >= current.posture:
        return current
    *before, to = current.earned_from
    return replace(current, posture=to, since=at, set_by=by, reason=reason, earned_from=tuple(before))


def _set(current: AgentPosture, to: Posture, *, by: str, reason: str, at: int, blocked_at: int | None) -> AgentPosture:
    return AgentPosture(current.agent_id, to, at, by, reason, blocked_at=blocked_at, moved_at=at)


def _is_blocked_for_good(current: AgentPosture) -> bool:
    return current.posture is Posture.BLOCKED and current.blocked_at is not None and not current.holds


def halted(current: AgentPosture, *, by: str, reason: str, at: int) -> AgentPosture:
    """Blocked at once and past all guards; one that was moved there already, and not by circuits only, is blocked anew."""
    if current.posture is Posture.BLOCKED and current.since and not current.holds:
        return replace(current, blocked_at=at, moved_at=at)
    return _set(current, Posture.BLOCKED, by=by, reason=reason, at=at, blocked_at=at)


def lowered(current: AgentPosture, scope: str, to: Posture, *, restores: bool = True, reason: str, at: int) -> AgentPosture:
    """Held down by a circuit that has opened: never raised, and where it is no higher anyway, kept from earning more.

    A circuit that opens again, and by now asks for less, goes on holding what it holds. Who is blocked without it is not held.
    """
    if current.base is Posture.BLOCKED:
        return current
    before = next((hold for hold in current.holds if hold.scope == scope), None)
    hold = Hold(scope, min(to, before.to) if before is not None else to, restores)
    if hold == before:
        return current
    others = tuple(other for other in current.holds if other is not before)
    held = replace(current, original=current.base, holds=(*others, hold))
    return _settled(held, by=scope, reason=reason, at=at)


def released(current: AgentPosture, scope: str, *, restore: bool | None = None, reason: str, at: int) -> AgentPosture:
    """Let go by a circuit that has closed; without `restore` the agent stays as low as that circuit had brought it.

    Where nobody says which, it is what the circuit's policy had said when it lowered the agent.
    """
    hold = next((hold for hold in current.holds if hold.scope == scope), None)
    if hold is None:
        return current
    restores = hold.restores if restore is None else restore
    base = current.base if restores else min(current.base, hold.to)
    holds = tuple(other for other in current.holds if other is not hold)
    earned_from = tuple(before for before in current.earned_from if before < base)
    freed = replace(current, original=base if holds else None, holds=holds, earned_from=earned_from)
    return _settled(freed, by=scope, reason=reason, at=at, base=base)


def _settled(held: AgentPosture, *, by: str, reason: str, at: int, base: Posture | None = None) -> AgentPosture:
    """With the lowest posture that the circuits ask for."""
    posture = min([hold.to for hold in held.holds] + [base if base is not None else held.base])
    if posture is held.posture:
        return held
    return replace(held, posture=posture, since=at, set_by=by, reason=reason)

"""Postures of agents: rows <-> domain, and the lock of those who move them."""

from collections.abc import Iterable
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection

from cstp_server.domain.postures import POSTURES, AgentPosture, Hold, Posture
from cstp_server.storage.locking import lock

T = TypeVar("T")


_LOCKS = 1024
"""A circuit may hold down any number of agents."""


def posture_row(tenant: str, posture: AgentPosture) -> dict[str, Any]:
    """The row of an agent's posture."""
    return {
        "tenant": tenant,
        "agent_id": posture.agent_id,
        "posture": posture.posture.label,
        "since": posture.since,
        "blocked_at": posture.blocked_at,
        "data": orjson.dumps(
            {
                "set_by": posture.set_by,
                "reason": posture.reason,
                "original": posture.original.label if posture.original is not None else None,
                "holds": [(hold.scope, hold.to.label, hold.restores) for hold in posture.holds],
                "earned_from": [before.label for before in posture.earned_from],
                "blocked_at": posture.blocked_at,
                "moved_at": posture.moved_at,
            }
        ).decode(),
    }


def posture_of(row: Any) -> AgentPosture:
    """The posture that `posture_row` wrote; what a newer or broken version has left is `blocked`, never more autonomy (SPEC 8).

    It counts as one that nobody has set, so that an emergency or a halt replaces it.
    """
    try:
        return _read(row)
    except (KeyError, TypeError, ValueError):
        return AgentPosture(row.agent_id, Posture.BLOCKED, set_by="system", reason="the posture on record cannot be read")


def _read(row: Any) -> AgentPosture:
    data = orjson.loads(row.data)
    if set(data) not in (_FIELDS, _FIELDS_BEFORE):
        raise ValueError("other fields than this version knows")
    original = POSTURES[data["original"]] if data["original"] is not None else None
    posture = POSTURES[row.posture]
    return AgentPosture(
        agent_id=row.agent_id,
        posture=posture,
        since=row.since,
        set_by=_of_type(str, data["set_by"]),
        reason=_of_type(str, data["reason"]),
        original=original,
        holds=tuple(_hold(*hold) for hold in data["holds"]),
        earned_from=_earned_from(data, original if original is not None else posture),
        blocked_at=_time(data["blocked_at"]),
        moved_at=_time(data.get("moved_at", row.since or None)),
    )


_FIELDS = {"set_by", "reason", "original", "holds", "earned_from", "blocked_at", "moved_at"}
_FIELDS_BEFORE = _FIELDS - {"earned_from", "moved_at"} | {"earned"}
"""The first version wrote that a posture was earned, and not from what: it is taken to be one step. Nor did it write who moves last."""


def _time(value: Any) -> int | None:
    return _of_type(int, value) if value is not None else None


def _hold(scope: Any, to: str, restores: Any = True) -> Hold:
    return Hold(_of_type(str, scope), POSTURES[to], _of_type(bool, restores))


def _earned_from(data: dict[str, Any], base: Posture) -> tuple[Posture, ...]:
    if "earned_from" in data:
        return tuple(POSTURES[before] for before in data["earned_from"])
    return (Posture(base - 1),) if _of_type(bool, data["earned"]) and base > Posture.BLOCKED else ()


def _of_type(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"no {kind.__name__}")
    return value


def lock_postures(connection: Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Keep everybody else from moving these agents until the transaction ends, those without a row too."""
    lock(connection, "posture", keys, at_most=_LOCKS)

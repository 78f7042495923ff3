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
        "data": orjson.dumps(
            {
                "set_by": posture.set_by,
                "reason": posture.reason,
                "original": posture.original.label if posture.original is not None else None,
                "holds": [(hold.scope, hold.to.label) for hold in posture.holds],
                "earned": posture.earned,
                "blocked_at": posture.blocked_at,
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
    if set(data) != _FIELDS:
        raise ValueError("other fields than this version knows")
    return AgentPosture(
        agent_id=row.agent_id,
        posture=POSTURES[row.posture],
        since=row.since,
        set_by=_of_type(str, data["set_by"]),
        reason=_of_type(str, data["reason"]),
        original=POSTURES[data["original"]] if data["original"] is not None else None,
        holds=tuple(Hold(_of_type(str, scope), POSTURES[to]) for scope, to in data["holds"]),
        earned=_of_type(bool, data["earned"]),
        blocked_at=_of_type(int, data["blocked_at"]) if data["blocked_at"] is not None else None,
    )


_FIELDS = {"set_by", "reason", "original", "holds", "earned", "blocked_at"}


def _of_type(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"no {kind.__name__}")
    return value


def lock_postures(connection: Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Keep everybody else from moving these agents until the transaction ends, those without a row too."""
    lock(connection, "posture", keys, at_most=_LOCKS)

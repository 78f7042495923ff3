"""Circuits and their log: rows <-> domain."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from cstp_server.domain.circuit_state import Circuit, Entry, EntryKind, Lease, State, Window
from cstp_server.domain.decisions import Outcome

Row = Mapping[str, Any]
SNAPSHOT_EVERY = 256
"""How many lines of a log lie between two snapshots, so that folding a circuit again need not begin at its first line."""


def circuit_row(tenant: str, circuit: Circuit) -> dict[str, Any]:
    """The row of a circuit."""
    return {
        "tenant": tenant,
        "scope": circuit.scope,
        "state": circuit.state.value,
        "due_at": circuit.next_due(),
        "archived_at": circuit.archived_at,
        "data": circuit_text(circuit),
    }


def circuit_text(circuit: Circuit) -> str:
    """A circuit as JSON text."""
    if not circuit.window.fading_at:
        return orjson.dumps(circuit).decode()
    plain = orjson.loads(orjson.dumps(replace(circuit, window=replace(circuit.window, fading_at=0))))
    plain["window"]["fading_at"] = str(circuit.window.fading_at)  # it may exceed 64 bits
    return orjson.dumps(plain).decode()


def circuit_of(text: str) -> Circuit:
    """The circuit that `circuit_text` wrote."""
    data = orjson.loads(text)
    return Circuit(
        **{
            **data,
            "state": State(data["state"]),
            "leases": tuple(Lease(**lease) for lease in data["leases"]),
            "recent": tuple((decision_id, at) for decision_id, at in data["recent"]),
            "window": _window(data["window"]),
            "blamed": tuple(data["blamed"]),
            "told": tuple((told_as, Outcome(outcome)) for told_as, outcome in data.get("told", ())),
        }
    )


def _window(data: dict[str, Any]) -> Window:
    return Window(**data | {"fading_at": int(data.get("fading_at", 0))})


def entry_row(tenant: str, scope: str, entry: Entry, after: Circuit) -> dict[str, Any]:
    """The row of a line of the log, with the circuit after it now and then."""
    return {
        "tenant": tenant,
        "scope": scope,
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.kind.value,
        "settings": entry.settings,
        "decision_id": entry.decision_id,
        "agent_id": entry.agent_id,
        "outcome": entry.outcome.value if entry.outcome is not None else None,
        "failed": entry.failed,
        "weight": entry.weight,
        "actor": entry.actor,
        "reason": entry.reason,
        "asked_at": entry.asked_at,
        "snapshot": circuit_text(after) if entry.seq % SNAPSHOT_EVERY == 0 else None,
    }


def entry_of(row: Any) -> Entry:
    """The line of the log that `entry_row` wrote."""
    return Entry(
        seq=row.seq,
        at=row.at,
        kind=EntryKind(row.kind),
        settings=row.settings,
        decision_id=row.decision_id,
        agent_id=row.agent_id,
        outcome=Outcome(row.outcome) if row.outcome is not None else None,
        failed=bool(row.failed),
        weight=row.weight,
        actor=row.actor,
        reason=row.reason,
        asked_at=row.asked_at,
    )

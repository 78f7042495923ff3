"""Habits of agents: rows <-> domain."""

from typing import Any

import orjson

from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.gaming import Habits

_MARKS = {True: "1", False: "0"}


def habits_row(tenant: str, known: AgentHabits) -> dict[str, Any]:
    """The row of an agent's habits: of each dimension a mark for each evaluation, the latest last."""
    marks = {name: "".join([_MARKS[small] for small in found]) for name, found in known.habits.small.items()}
    return {"tenant": tenant, "agent_id": known.agent_id, "at": known.at, "data": orjson.dumps(marks).decode()}


def habits_of(row: Any) -> AgentHabits:
    """The habits that `habits_row` wrote."""
    marks = orjson.loads(row.data)
    return AgentHabits(row.agent_id, Habits({name: tuple([mark == "1" for mark in found]) for name, found in marks.items()}), row.at)

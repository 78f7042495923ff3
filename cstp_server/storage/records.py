"""Agents' postures and records, for reading."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, true

from cstp_server.domain.decisions import ALLOWING, Outcome, Source
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.findings import Intervention, Mode
from cstp_server.domain.postures import AgentPosture
from cstp_server.domain.trust_scores import Record
from cstp_server.policy.compiled import SelfReported
from cstp_server.storage import tables
from cstp_server.storage.events import event_of
from cstp_server.storage.postures import posture_of
from cstp_server.storage.selecting import KeyedSelect

_MOVES = tuple(
    event_type.value
    for event_type in (
        EventType.POSTURE_UPGRADED,
        EventType.POSTURE_DOWNGRADED,
        EventType.POSTURE_MAINTAINED,
        EventType.POSTURE_REFUSED,
    )
)


def posture(connection: Connection, tenant: str, agent_id: str) -> AgentPosture | None:
    """The posture of an agent, if it was ever moved."""
    table = tables.postures
    row = connection.execute(select(table).where(table.c.tenant == tenant, table.c.agent_id == agent_id)).one_or_none()
    return posture_of(row) if row is not None else None


def postures(connection: Connection, tenant: str, agent_ids: Sequence[str]) -> dict[str, AgentPosture]:
    """The postures of those of these agents that were ever moved."""
    return {row.agent_id: posture_of(row) for row in _POSTURES.rows(connection, tenant, agent_ids, lock=False)}


_POSTURES = KeyedSelect(tables.postures, "agent_id")


def last_refusal(connection: Connection, tenant: str, agent_id: str, actor: str) -> Event | None:
    """The last attempt of an actor to move an agent that was refused."""
    table = tables.events
    query = (
        select(table)
        .where(table.c.tenant == tenant, table.c.subject == agent_id)
        .where(table.c.type == EventType.POSTURE_REFUSED.value, table.c.actor == actor)
        .order_by(table.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return event_of(row) if row is not None else None


def posture_events(connection: Connection, tenant: str, agent_id: str, limit: int) -> Sequence[Event]:
    """The attempts to move an agent, newest first."""
    table = tables.events
    query = (
        select(table)
        .where(table.c.tenant == tenant, table.c.subject == agent_id, table.c.type.in_(_MOVES))
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(limit)
    )
    return [event_of(row) for row in connection.execute(query)]


def record(connection: Connection, tenant: str, agent_id: str, since: int, due_before: int, self_reported: SelfReported) -> Record:
    """What is known of an agent's decisions since a time; only those that it asked for are due for review.

    An outcome that the agent has told itself counts as far as `self_reported` has it; one that does not is as good as none.
    """
    return records(connection, tenant, [agent_id], since, due_before, self_reported)[agent_id]


def records(
    connection: Connection, tenant: str, agent_ids: Sequence[str], since: int, due_before: int, self_reported: SelfReported
) -> dict[str, Record]:
    """As `record`, of many agents at once."""
    table = tables.decisions
    checked = and_(table.c.source == Source.CHECKED.value, table.c.at < due_before)
    at_once = table.c.intervention.in_([intervention.label for intervention in Intervention if intervention.allows])
    later = [table.c.resolved.startswith(f'{{"status":"{status.value}"') for status in ALLOWING]  # what is resolved begins with its status
    allowed = or_(at_once, *later)
    told = and_(table.c.outcome.is_not(None), _counts(self_reported))
    query = (
        select(
            table.c.agent_id,
            _count(and_(told, table.c.outcome == Outcome.SUCCESS.value)),
            _count(and_(told, table.c.outcome == Outcome.FAILURE.value)),
            _count(and_(checked, allowed)),
            _count(and_(checked, allowed, told)),
        )
        .where(table.c.tenant == tenant, table.c.agent_id.in_(agent_ids), table.c.at >= since)
        .group_by(table.c.agent_id)
    )
    counted = {agent_id: counts for agent_id, *counts in connection.execute(query)}
    hits = _hits(connection, tenant, agent_ids, since)
    return {agent_id: _record(counted.get(agent_id, _NOTHING), hits.get(agent_id, 0)) for agent_id in agent_ids}


_NOTHING = (0, 0, 0, 0)


def _record(counts: Sequence[int], hits: int) -> Record:
    succeeded, failed, due, covered = counts
    return Record(succeeded, failed, hits, due, covered)


def _counts(self_reported: SelfReported) -> ColumnElement[bool]:
    """Whether the outcome counts, seen by who has told it."""
    table = tables.decisions
    by_others = or_(table.c.reviewed.is_(None), ~table.c.reviewed.contains(_SELF_REPORTED, autoescape=True))
    if self_reported is SelfReported.COUNT:
        return true()
    if self_reported is SelfReported.FAILURES_ONLY:
        return or_(by_others, table.c.outcome == Outcome.FAILURE.value)
    return by_others


_SELF_REPORTED = '"self_reported":true,"duplicate":'
"""What the answer to a review has where the agent has told the outcome itself; no text that somebody sends can have its quotes."""


def _hits(connection: Connection, tenant: str, agent_ids: Sequence[str], since: int) -> dict[str, int]:
    table = tables.tripwire_hits
    query = (
        select(table.c.agent_id, func.count().label("hits"))
        .where(
            table.c.tenant == tenant,
            table.c.agent_id.in_(agent_ids),
            table.c.at >= since,
            table.c.mode == Mode.ENFORCE.value,
            table.c.trust_impact,
        )
        .group_by(table.c.agent_id)
    )
    return {row.agent_id: row.hits for row in connection.execute(query)}


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

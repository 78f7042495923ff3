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
    table = tables.decisions
    checked = and_(table.c.source == Source.CHECKED.value, table.c.at < due_before)
    at_once = table.c.intervention.in_([intervention.label for intervention in Intervention if intervention.allows])
    later = [table.c.resolved.startswith(f'{{"status":"{status.value}"') for status in ALLOWING]  # what is resolved begins with its status
    allowed = or_(at_once, *later)
    told = and_(table.c.outcome.is_not(None), _counts(self_reported))
    query = select(
        _count(and_(told, table.c.outcome == Outcome.SUCCESS.value)),
        _count(and_(told, table.c.outcome == Outcome.FAILURE.value)),
        _count(and_(checked, allowed)),
        _count(and_(checked, allowed, told)),
    ).where(table.c.tenant == tenant, table.c.agent_id == agent_id, table.c.at >= since)
    succeeded, failed, due, covered = connection.execute(query).one()
    return Record(succeeded, failed, _hits(connection, tenant, agent_id, since), due, covered)


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


def _hits(connection: Connection, tenant: str, agent_id: str, since: int) -> int:
    table = tables.tripwire_hits
    query = select(func.count()).where(
        table.c.tenant == tenant,
        table.c.agent_id == agent_id,
        table.c.at >= since,
        table.c.mode == Mode.ENFORCE.value,
        table.c.trust_impact,
    )
    return int(connection.execute(query).scalar_one())


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

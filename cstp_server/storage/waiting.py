"""Decisions that wait: how many, and which run out first. No more of them is read than is shown, and none to count them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, literal, select, tuple_, union_all

from cstp_server.domain.decisions import Decision
from cstp_server.domain.findings import Intervention, Lift
from cstp_server.services.catalogue import MOST_WAITING, WaitingSearch
from cstp_server.storage import tables
from cstp_server.storage.decisions import decision_of

_DECISIONS = tables.decisions.c
_LIFTED: Mapping[Lift, tuple[Intervention, ...]] = {
    Lift.CANCEL_WINDOW: (Intervention.DELAY,),
    Lift.CONFIRMATION: (Intervention.CONFIRM,),
    Lift.APPROVAL: (Intervention.ESCALATE, Intervention.BLOCK, Intervention.HALT),
}
"""What decisions that wait for something were answered with: one begins to wait only where all that stands against it can be lifted."""


def waiting_counts(connection: Connection, tenant: str, most: int = MOST_WAITING) -> Mapping[str, int]:
    """How many decisions wait, by what for; counting stops at `most`."""
    found: dict[str, int] = {}
    for row in connection.execute(_counting(tenant, most)):
        found[row.kind] = found.get(row.kind, 0) + row.number
    return {kind: min(number, most) for kind, number in found.items() if number}


def _counting(tenant: str, most: int) -> Select[Any]:
    each = [
        select(literal(lift.label).label("kind"), func.count().label("number")).select_from(
            _of(tenant, intervention).with_only_columns(_DECISIONS.id).limit(most).subquery()
        )
        for lift, interventions in _LIFTED.items()
        for intervention in interventions
    ]
    return select(union_all(*each).subquery())


def waiting_decisions(connection: Connection, tenant: str, search: WaitingSearch) -> Sequence[Decision]:
    """The decisions that wait for something that is asked for, the soonest to run out first."""
    soonest = [_soonest(tenant, intervention, search).subquery() for intervention in _answered(search.lifts)]
    if not soonest:
        return []
    together = union_all(*[select(each.c.due_at, each.c.id) for each in soonest]).subquery()
    ids = select(select(together.c.id).order_by(together.c.due_at, together.c.id).limit(search.limit).subquery().c.id)
    found = select(tables.decisions).where(_DECISIONS.tenant == tenant, _DECISIONS.id.in_(ids)).order_by(_DECISIONS.due_at, _DECISIONS.id)
    return [decision_of(row) for row in connection.execute(found)]


def _answered(lifts: Iterable[Lift]) -> Sequence[Intervention]:
    return [intervention for lift in sorted(lifts) for intervention in _LIFTED[lift]]


def _soonest(tenant: str, intervention: Intervention, search: WaitingSearch) -> Select[Any]:
    query = _of(tenant, intervention)
    if search.after is not None:
        query = query.where(tuple_(_DECISIONS.due_at, _DECISIONS.id) > tuple_(*search.after))
    return query.order_by(_DECISIONS.due_at, _DECISIONS.id).limit(search.limit)


def _of(tenant: str, intervention: Intervention) -> Select[Any]:
    """An index knows those that wait by what they were answered with, in the order in which they run out."""
    waits = _DECISIONS.due_at.is_not(None)
    return select(_DECISIONS.due_at, _DECISIONS.id).where(_DECISIONS.tenant == tenant, _DECISIONS.intervention == intervention.label, waits)

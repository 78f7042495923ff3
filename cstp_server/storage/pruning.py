"""Pruning events, so that what is left can still be proven: a chain is cut at an anchor, the cut is entered in the ledger, then rows go."""

import structlog
from sqlalchemy import Connection, delete, select

from cstp_server.clock import Clock
from cstp_server.domain.anchors import AnchorKind, AuditKeys
from cstp_server.storage import tables
from cstp_server.storage.anchors import append, last_of_chain, lock_ledger
from cstp_server.storage.engine import current_time

PRUNED_AT_ONCE = 500
_log = structlog.get_logger(__name__)


def chains_to_prune(connection: Connection, before: int) -> list[str]:
    """The chains of which events are still there that an anchor from before that time covers."""
    started, covering, events = tables.audit_anchors, tables.audit_anchors.alias(), tables.events
    covered = (
        select(covering.c.position)
        .where(covering.c.chain == started.c.chain, covering.c.kind != AnchorKind.CUT.value, covering.c.at < before)
        .order_by(covering.c.at.desc(), covering.c.number.desc())
        .limit(1)
        .correlate(started)
        .scalar_subquery()
    )
    is_there = select(events.c.id).where(events.c.chain == started.c.chain, events.c.position <= covered).exists()
    return list(connection.execute(select(started.c.chain).where(started.c.kind == AnchorKind.START.value, is_there)).scalars())


def prune_chain(connection: Connection, keys: AuditKeys, clock: Clock, writer: str, chain: str, before: int) -> int:
    """Cut the chain at its last anchor from before a time, and delete a small batch of the events before the cut; how many.

    In a transaction of its own. An anchor whose seal is not right is no ground to delete anything.
    """
    lock_ledger(connection)  # before anything is read of it: another process may be about to enter the same cut
    last = last_of_chain(connection, chain, before=before)
    if last is None or last.position == 0:
        return 0
    if last.key_id is not None and not keys.knows(last.key_id):
        _log.error("audit_not_pruned", chain=chain, anchor=last.number, reason="it is sealed with a key that is not known here")
        return 0
    if not keys.is_sealed(last.payload(), last.key_id, last.seal):
        _log.error("audit_not_pruned", chain=chain, anchor=last.number, reason="its seal is wrong", remedy="run `cstp audit verify`")
        return 0
    cut = last_of_chain(connection, chain, cuts=True)
    if cut is None or cut.position < last.position:
        at = current_time(connection, clock)
        append(connection, keys, AnchorKind.CUT, chain, last.position, last.hash, writer=writer, at=at)
    return _delete(connection, chain, last.position)


def _delete(connection: Connection, chain: str, position: int) -> int:
    table = tables.events
    before_cut = (table.c.chain == chain, table.c.position <= position)
    oldest = select(table.c.position).where(*before_cut).order_by(table.c.position).limit(PRUNED_AT_ONCE)
    found = list(connection.execute(oldest).scalars())
    if found:
        connection.execute(delete(table).where(table.c.chain == chain, table.c.position <= found[-1]))
    return len(found)

"""Pruning events, so that what is left can still be proven: a chain is cut at an anchor, the cut is entered in the ledger, then rows go."""

from typing import NoReturn

import structlog
from sqlalchemy import Connection, delete, select

from cstp_server.clock import Clock
from cstp_server.domain.anchors import Anchor, AnchorKind, AuditKeys, Unproven
from cstp_server.storage import tables
from cstp_server.storage.anchors import append, last_of_chain, lines_after, lock_ledger
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


def ground_for(connection: Connection, chain: str, before: int) -> Anchor | None:
    """The last anchor of a chain from before a time, where that chain could be cut."""
    last = last_of_chain(connection, chain, before=before)
    return last if last is not None and last.position else None


def prove(connection: Connection, keys: AuditKeys, anchor: Anchor) -> Anchor | bool:
    """Whether an anchor is one that the service has made; or the anchor on which that depends, where this is not known yet.

    A signed one proves itself. One from before signing began is proven by what was signed later, since each line holds the seal before it.
    """
    if not _is_sealed(keys, anchor):
        return False
    if anchor.key_id is not None or not keys:
        return True
    is_first = True
    for line in lines_after(connection, anchor.number):
        if line is None or line.number != anchor.number + 1 or line.previous_seal != anchor.seal or not _is_sealed(keys, line):
            return False
        if line.key_id is not None:
            return True
        anchor, is_first = line, False
    return anchor if not is_first else False


def _is_sealed(keys: AuditKeys, anchor: Anchor) -> bool:
    return (anchor.key_id is None or keys.knows(anchor.key_id)) and keys.is_sealed(anchor.payload(), anchor.key_id, anchor.seal)


def refuse(anchor: Anchor) -> NoReturn:
    """Say that nothing is deleted on the word of that anchor. Raises `Unproven`."""
    _log.error(
        "audit_not_pruned", chain=anchor.chain, anchor=anchor.number, reason="its seal does not prove it", remedy="run `cstp audit verify`"
    )
    raise Unproven(f"anchor {anchor.number} of `{anchor.chain}` is not proven by its seal")


def prune_chain(connection: Connection, keys: AuditKeys, clock: Clock, writer: str, ground: Anchor) -> int:
    """Cut a chain at an anchor that is proven, and delete a small batch of the events before the cut; how many.

    In a transaction of its own.
    """
    lock_ledger(connection)  # before anything is read of it: another process may be about to enter the same cut
    cut = last_of_chain(connection, ground.chain, cuts=True)
    if cut is None or cut.position < ground.position:
        at = current_time(connection, clock)
        append(connection, keys, AnchorKind.CUT, ground.chain, ground.position, ground.hash, writer=writer, at=at)
    return _delete(connection, ground.chain, ground.position)


def _delete(connection: Connection, chain: str, position: int) -> int:
    table = tables.events
    before_cut = (table.c.chain == chain, table.c.position <= position)
    oldest = select(table.c.position).where(*before_cut).order_by(table.c.position).limit(PRUNED_AT_ONCE)
    found = list(connection.execute(oldest).scalars())
    if found:
        connection.execute(delete(table).where(table.c.chain == chain, table.c.position <= found[-1]))
    return len(found)

"""The chain of events that one process writes, and its anchors in the ledger (SPEC 11).

The chain's head is in memory and moves with the commit, so a transaction that is rolled back leaves neither a gap nor a place taken. Where
nobody knows whether a commit went through, the process begins another chain; the one before is as whole as it is in the store.
A chain that has had no anchor for an hour is not written to any more: whoever finds it an hour later may end it, and it stays ended.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import Connection, select

from cstp_server.clock import Clock, new_id
from cstp_server.domain.anchors import Anchor, AnchorKind, AuditKeys, genesis
from cstp_server.domain.events import Event
from cstp_server.domain.values import dataclass
from cstp_server.services.chaining import LINK_COLUMNS, Link, link_hash, recomputed
from cstp_server.storage import tables
from cstp_server.storage.anchors import append, last_of_chain, lock_ledger, open_chains, seal_of
from cstp_server.storage.engine import current_time, generation_of
from cstp_server.storage.events import event_rows
from cstp_server.storage.inserting import BulkInsert

NEW_EVENTS = BulkInsert(tables.events, LINK_COLUMNS)
LAPSE_MS = 3_600_000
_RENEW_MS = LAPSE_MS // 2
_MOST_UNANCHORED = 10_000
_PAGE = 5_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain has come: its last event's position and hash, and its last anchor; and in which of the files that were opened."""

    chain: str
    position: int
    hash: bytes
    generation: int
    anchor: Anchor

    def is_due(self, elapsed_ms: float, interval_ms: int) -> bool:
        """Whether there is something to anchor, or the chain would lapse, that long after the last time."""
        unanchored = self.position - self.anchor.position
        return unanchored >= _MOST_UNANCHORED or elapsed_ms >= (interval_ms if unanchored else _RENEW_MS)


@dataclass(frozen=True, slots=True)
class Left:
    """A chain that its process writes to no more, as it was before the last transaction, and as it is if that was committed."""

    head: Head
    next: Head | None


class Journal:
    """The chain of this process. One thread writes to it, in its transactions; another one may anchor it."""

    def __init__(self, keys: AuditKeys) -> None:
        self.writer = new_id("wrt")
        self._keys = keys
        self._changing = threading.Lock()
        self._head: Head | None = None
        self._next: Head | None = None
        self._left: list[Left] = []

    def begin(self, connection: Connection, now: int) -> None:
        """Have a chain to write to in this transaction, which has just begun, at `now`."""
        head, generation = self._head, generation_of(connection)
        if head is None or head.generation != generation or now - head.anchor.at > LAPSE_MS:
            chain = new_id("chn")
            anchor = append(connection, self._keys, AnchorKind.START, chain, 0, genesis(chain), writer=self.writer, at=now)
            head = Head(chain, 0, anchor.hash, generation, anchor)
        self._next = head

    def rows(self, events: Sequence[Event], batch: str) -> list[tuple[Any, ...]]:
        """The rows of events (`LINK_COLUMNS`), chained to those before. `LookupError` outside of a transaction."""
        head = self._next
        if head is None:
            raise LookupError("the transaction has not begun")
        chain, position, previous = head.chain, head.position, head.hash
        rows = []
        for columns in event_rows(events, batch):
            position += 1
            hashed = (*columns, chain, position)
            hash = link_hash(previous, hashed)
            rows.append((*hashed, previous, hash))
            previous = hash
        self._next = replace(head, position=position, hash=previous)
        return rows

    def write_at_once(self, connection: Connection, events: Sequence[Event], now: int) -> None:
        """Write events as a whole chain of their own, anchored in the same transaction; for a process that does nothing else."""
        self.begin(connection, now)
        NEW_EVENTS.execute_tuples(connection, self.rows(events, new_id("evt")))
        head = self._next
        if head is not None:
            append(connection, self._keys, AnchorKind.END, head.chain, head.position, head.hash, writer=self.writer, at=now)

    def commit(self) -> None:
        """The transaction is committed: what it wrote is part of the chain."""
        with self._changing:
            head, self._next = self._next, None
            if head is not None and self._head is not None and self._head.chain == head.chain:
                head = replace(head, anchor=self._head.anchor)
            self._head = head

    def forget(self) -> None:
        """Nobody knows what became of the transaction: begin another chain with the next one."""
        with self._changing:
            if self._head is not None:
                self._left.append(Left(self._head, self._next))
            self._head = self._next = None

    def left(self) -> "Left | None":
        """A chain that this process has left and may end."""
        return self._left[0] if self._left else None

    def end_left(self, connection: Connection, clock: Clock, left: "Left") -> None:
        """End it where it stands in the store: where it stood before or after the last transaction. In a transaction of its own."""
        if generation_of(connection) != left.head.generation:
            return
        lock_ledger(connection)
        last = last_of_chain(connection, left.head.chain)
        if last is not None and last.kind is AnchorKind.END:
            return  # it was ended, and the answer to that was lost
        now = current_time(connection, clock)
        if now - left.head.anchor.at <= LAPSE_MS:
            head = left.next if left.next is not None and _is_stored(connection, left.next) else left.head
            append(connection, self._keys, AnchorKind.END, head.chain, head.position, head.hash, writer=self.writer, at=now)

    def ended(self, left: "Left") -> None:
        """That is committed."""
        self._left.remove(left)

    def is_due(self, elapsed_ms: float, interval_ms: int) -> bool:
        """Whether the chain wants an anchor, that long after it last got one."""
        head = self._head
        return head is not None and head.is_due(elapsed_ms, interval_ms)

    def anchor(self, connection: Connection, clock: Clock, kind: AnchorKind) -> tuple[Head, Anchor] | None:
        """Anchor what is committed of the chain, in a transaction of its own; to be noted (`anchored`) when that is committed, too."""
        if self._head_in(connection) is None:
            return None
        lock_ledger(connection)
        head = self._head_in(connection)  # as it is now: while this one waited, another anchor may have been made
        if head is None:
            return None
        self._look_back(connection, head)
        now = current_time(connection, clock)
        if now - head.anchor.at > LAPSE_MS:
            return None  # it may be ended by others
        return head, append(connection, self._keys, kind, head.chain, head.position, head.hash, writer=self.writer, at=now)

    def anchored(self, head: Head, anchor: Anchor) -> None:
        """An anchor is committed."""
        with self._changing:
            if self._head is not None and self._head.chain == head.chain:
                self._head = replace(self._head, anchor=anchor) if anchor.kind is not AnchorKind.END else None

    def _head_in(self, connection: Connection) -> Head | None:
        head = self._head
        return head if head is not None and head.generation == generation_of(connection) else None

    def _look_back(self, connection: Connection, head: Head) -> None:
        """What this process has entered in the ledger must still be there: only a restored backup, or somebody's hand, takes it away."""
        if seal_of(connection, head.anchor.number) != head.anchor.seal:
            _log.error("audit_ledger_changed", anchor=head.anchor.number, chain=head.chain, remedy="run `cstp audit verify`")


def end_lapsed(connection: Connection, keys: AuditKeys, clock: Clock, writer: str) -> int:
    """End a chain that its process has left, as far as it is whole; how many were (none or one). In a transaction of its own."""
    lock_ledger(connection)
    now = current_time(connection, clock)
    for chain in open_chains(connection):
        last = last_of_chain(connection, chain)
        if last is not None and now - last.at > 2 * LAPSE_MS:
            position, hash = _whole_until(connection, chain, last)
            append(connection, keys, AnchorKind.END, chain, position, hash, writer=writer, at=now)
            return 1
    return 0


def _is_stored(connection: Connection, head: Head) -> bool:
    events = tables.events.c
    return connection.execute(select(events.hash).where(events.chain == head.chain, events.position == head.position)).scalar() == head.hash


def _whole_until(connection: Connection, chain: str, last: Anchor) -> tuple[int, bytes]:
    """The last event after that anchor up to which each follows from the one before."""
    position, hash = last.position, last.hash
    events = tables.events.c
    query = select(*[events[name] for name in LINK_COLUMNS]).where(events.chain == chain).order_by(events.position).limit(_PAGE)
    while page := connection.execute(query.where(events.position > position)).all():
        for row in page:
            link = Link(*row)
            if link.position != position + 1 or link.previous_hash != hash or recomputed(link, link.position, hash) != link.hash:
                return position, hash
            position, hash = link.position, link.hash
    return position, hash

"""Looking through the whole record of events: the ledger first, then every chain (SPEC 11)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from cstp_server.domain.anchors import Anchor, AuditKeys, LedgerHead
from cstp_server.services.audit_reports import AuditReport, Flaw, Problem
from cstp_server.services.chain_checking import ChainCheck
from cstp_server.services.ledger_checking import ChainRecord, LedgerCheck

FIRST_POSITION = -(2**63)
Progress = Callable[[int], None]
"""Told of so many more events that were looked at."""


class EventRecord(Protocol):
    """The record as it is in a store, all of it as of one moment."""

    def anchors(self) -> Iterator[Anchor | int]:
        """The ledger by number; of a line that no anchor looks like, the number alone."""
        ...

    def head(self) -> LedgerHead | None:
        """Where the ledger says that it ends; none when it does not, or not as it would be written."""
        ...

    def chains(self) -> Iterator[str]:
        """The chain of every event, each once."""
        ...

    def rows(self, chain: str, after: int) -> Iterator[Sequence[Sequence[Any]]]:
        """The events of a chain after a position, by position, as pages of rows of `LINK_COLUMNS`."""
        ...

    def unchained(self) -> Iterator[str]:
        """The ids of events that have no place in any chain."""
        ...


def verify(record: EventRecord, keys: AuditKeys, progress: Progress, *, since: int | None = None) -> AuditReport:
    """Everything that is wrong with the record; with `since` (ms since the epoch), of events from then on, the ledger as a whole."""
    report = AuditReport()
    chains = check_ledger(record, keys, report, since=since)
    for chain in record.chains():
        chains.setdefault(chain, ChainRecord(chain))
    for of_chain in chains.values():
        if of_chain.is_over_before:
            continue
        report.chains += 1
        check = ChainCheck(of_chain, report)
        for page in record.rows(of_chain.chain, first_position(of_chain)):
            check.add(page)
            progress(len(page))
        check.finish()
    for event_id in record.unchained():
        report.add(Problem(Flaw.FOREIGN, f"event {event_id} is part of no chain", event_id=event_id))
    return report


def check_ledger(record: EventRecord, keys: AuditKeys, report: AuditReport, *, since: int | None) -> dict[str, ChainRecord]:
    """Look through the ledger; what it says of every chain."""
    check = LedgerCheck(keys, report, since=since)
    for anchor in record.anchors():
        if isinstance(anchor, int):
            check.add_unreadable(anchor)
        else:
            check.add(anchor)
    check.finish()
    check.compare_head(record.head())
    return check.chains


def first_position(chain: ChainRecord) -> int:
    """The position after which a chain is of interest: that of the last anchor before the time of interest, or its very beginning."""
    base, cut = chain.base, chain.cut
    return base.position if base is not None and (cut is None or cut.position <= base.position) else FIRST_POSITION


def compare_with_kept(record: EventRecord, kept: Sequence[Anchor], keys: AuditKeys, report: AuditReport) -> None:
    """Hold the ledger against anchors of it that were kept elsewhere: each must be in it, unchanged.

    That finds what nothing in the store can show: that all of it was put back to an earlier state.
    """
    wanted = {anchor.number: anchor for anchor in kept}
    for anchor in kept:
        known = anchor.key_id is None or not keys or keys.knows(anchor.key_id)
        if not known or ((anchor.key_id is None or keys) and not keys.is_sealed(anchor.payload(), anchor.key_id, anchor.seal)):
            report.add(Problem(Flaw.BAD_SIGNATURE, f"the anchor {anchor.number} that was kept is itself not right", anchor=anchor.number))
    for stored in record.anchors():
        other = wanted.pop(stored.number, None) if isinstance(stored, Anchor) else None
        if other is not None and other != stored:
            message = f"anchor {other.number} is another than the one that was kept"
            report.add(Problem(Flaw.ALTERED, message, other.chain, other.position, anchor=other.number))
    for number in sorted(wanted):
        report.add(Problem(Flaw.TRUNCATED, f"anchor {number} was kept, and is not in the ledger", anchor=number))

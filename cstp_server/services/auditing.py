"""Looking through the whole record of events: the ledger first, then every chain (SPEC 11)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from cstp_server.domain.anchors import Anchor, AuditKeys, LedgerHead, NoAnchor
from cstp_server.services.audit_reports import AuditReport, Flaw, Problem
from cstp_server.services.chain_checking import ChainCheck
from cstp_server.services.ledger_checking import ChainRecord, LedgerCheck

Progress = Callable[[int], None]
"""Told of so many more events that were looked at."""


class EventRecord(Protocol):
    """The record as it is in a store, all of it as of one moment."""

    def anchors(self) -> Iterator[Anchor | NoAnchor]:
        """The ledger by number."""
        ...

    def head(self) -> LedgerHead | None:
        """Where the ledger says that it ends; none when it does not, or not as it would be written."""
        ...

    def chains(self) -> Iterator[str]:
        """The chain of every event, each once."""
        ...

    def rows(self, chain: str, after: int | None) -> Iterator[Sequence[Sequence[Any]]]:
        """The events of a chain after a position, or with none all of them, by position, as pages of rows of `LINK_COLUMNS`."""
        ...

    def extent(self, chain: str, until: int) -> tuple[Any, int]:
        """Of a chain's events up to a position, that of the first one, and how many they are."""
        ...

    def dated(self, since: int) -> Iterator[tuple[str, Any]]:
        """The chains of events that say that they are from `since` or later, with the position of the first of these."""
        ...

    def unchained(self) -> Iterator[str]:
        """The ids of events that have no place in any chain."""
        ...

    def is_used(self) -> bool:
        """Whether there is anything in the store that never comes without an event."""
        ...


def verify(record: EventRecord, keys: AuditKeys, progress: Progress, *, since: int | None = None) -> AuditReport:
    """Everything that is wrong with the record; with `since` (ms since the epoch), of events from then on, the ledger as a whole.

    Older events are then only counted, which shows whether any were slipped in or dropped. Chains that had ended before are looked at, too:
    nothing may have come after their ends.
    """
    report = AuditReport()
    for of_chain in chains_in(record, keys, report, since=since):
        report.chains += not of_chain.is_over_before
        check = ChainCheck(of_chain, report)
        for page in record.rows(of_chain.chain, first_position(of_chain)):
            check.add(page)
            progress(len(page))
        check.finish()
    return report


def chains_in(record: EventRecord, keys: AuditKeys, report: AuditReport, *, since: int | None) -> list[ChainRecord]:
    """Look through all but the events themselves: the ledger, and whether every event has a place; what there is of every chain.

    A chain that before the time of interest does not look as it should is of interest from its beginning.
    """
    chains = check_ledger(record, keys, report, since=since)
    for name in record.chains():
        chains.setdefault(name, ChainRecord(name))
    if since is not None:
        _look_back(record, chains, since)
    for event_id in record.unchained():
        report.add(Problem(Flaw.FOREIGN, f"event {event_id} is part of no chain", event_id=str(event_id)))
    if not (report.anchors or report.problem_count) and record.is_used():
        report.add(Problem(Flaw.MISSING, "the whole record is missing: the store holds what never comes without an event"))
    return list(chains.values())


def _look_back(record: EventRecord, chains: Mapping[str, ChainRecord], since: int) -> None:
    """See which chains are of interest from their beginnings."""
    for chain in chains.values():
        if chain.base is not None and not _is_complete_before(record, chain, chain.base):
            chain.base = None
    for name, position in record.dated(since):
        base = chains[name].base
        if base is not None and not (isinstance(position, int) and position > base.position):
            chains[name].base = None


def _is_complete_before(record: EventRecord, chain: ChainRecord, base: Anchor) -> bool:
    """Whether there are as many events up to the base as there should be, and no others in front of them."""
    pruned = chain.cut.position if chain.cut is not None else 0
    if pruned > base.position:
        return False
    first, count = record.extent(chain.chain, base.position)
    return bool(count == base.position - pruned and (not count or first == pruned + 1))


def check_ledger(record: EventRecord, keys: AuditKeys, report: AuditReport, *, since: int | None) -> dict[str, ChainRecord]:
    """Look through the ledger; what it says of every chain."""
    check = LedgerCheck(keys, report, since=since)
    for anchor in record.anchors():
        if isinstance(anchor, NoAnchor):
            check.add_unreadable(anchor.number)
        else:
            check.add(anchor)
    check.finish()
    check.compare_head(record.head())
    return check.chains


def first_position(chain: ChainRecord) -> int | None:
    """The position after which a chain is of interest: that of the last anchor before the time of interest; none: all of it is."""
    return chain.base.position if chain.base is not None else None


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

"""Looking through one chain of events: each must be as it was written, and follow the one before, to where the ledger says it had come."""

from collections.abc import Iterator, Sequence
from typing import Any

from cstp_server.domain.anchors import genesis
from cstp_server.services.audit_reports import AuditReport, Flaw, Problem
from cstp_server.services.chaining import LINK_COLUMNS, Link, link_hash, recomputed
from cstp_server.services.ledger_checking import ChainRecord

_POSITION = LINK_COLUMNS.index("position")
_PREVIOUS = LINK_COLUMNS.index("previous_hash")
_HASH = LINK_COLUMNS.index("hash")
_NEARBY = 1_000
_NO_MARK = -1


class ChainCheck:
    """Takes a chain's events one after another, in the order of their positions."""

    def __init__(self, record: ChainRecord, report: AuditReport) -> None:
        self._chain = record.chain
        self._record = record
        self._report = report
        self._begun = self._any = False
        self._expected = 1
        self._heads: tuple[bytes, ...] = ()
        self._seen = 0
        self._marks: Iterator[tuple[int, bytes, int]] = iter(record.marks)
        self._mark = self._next_mark()

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """The next events, as rows of `LINK_COLUMNS`."""
        if rows and not self._begun:
            self._any = True
            self._begin(Link(*rows[0]))
        self._report.events += len(rows)
        for row in rows:
            # what nearly every row takes, without a call that is not needed
            if row[_POSITION] == self._expected and self._heads and row[_PREVIOUS] == self._heads[0]:
                try:
                    actual = link_hash(row[_PREVIOUS], tuple(row[:_PREVIOUS]))
                except TypeError:
                    actual = b""
                if actual == row[_HASH]:
                    self._seen = self._expected
                    self._expected += 1
                    self._heads = (actual,)
                    if self._seen == self._mark[0]:
                        self._meet_mark(actual)
                    continue
            self._look_closer(Link(*row))

    def finish(self) -> None:
        """There are no more events."""
        record = self._record
        covering = record.last or record.cut
        if not self._begun:
            self._begin(None)
        if covering is None:
            self._say(Flaw.FOREIGN, f"chain {self._chain} was begun by no process: its events are nobody's", None)
            return
        end = covering.position
        if self._report_gone(end):
            return
        if self._seen < end:
            gone = f"{_events(self._seen + 1, end)} missing at the end of chain {self._chain}"
            self._say(Flaw.TRUNCATED, f"{gone}, which anchor {covering.number} covers", self._seen + 1)
        elif record.ended and self._seen > end:
            self._say(
                Flaw.FOREIGN, f"chain {self._chain} ended at position {end}, and goes on: {_events(end + 1, self._seen)} nobody's", None
            )
        else:
            self._report.unanchored += self._seen - end

    def _report_gone(self, end: int) -> bool:
        """Whether the whole chain is missing."""
        if self._any or self._seen >= end:
            return False
        self._say(Flaw.MISSING, f"chain {self._chain} is gone: {_events(self._expected, end)} missing", self._expected)
        return True

    def _begin(self, first: Link | None) -> None:
        """Where the chain must begin: at its beginning, or after the last anchor from before the time of interest, or at the cut."""
        self._begun = True
        base, cut = self._record.base, self._record.cut
        if base is not None and (cut is None or cut.position <= base.position):
            self._expected, self._heads = base.position + 1, (base.hash,)
        elif cut is None:
            self._expected, self._heads = 1, (genesis(self._chain),)
        elif first is not None and type(first.position) is int and 0 < first.position <= cut.position:
            self._expected, self._heads = first.position, (first.previous_hash,)  # not deleted yet: it must lead to the cut
        else:
            self._expected, self._heads = cut.position + 1, (cut.hash,)
        self._seen = self._expected - 1
        self._skip_marks(self._expected)

    def _next_mark(self) -> tuple[int, bytes, int]:
        return next(self._marks, (_NO_MARK, b"", 0))

    def _meet_mark(self, hash: bytes) -> None:
        position, marked, number = self._mark
        if hash != marked:
            message = f"{self._place(position)} is not the one that anchor {number} was made of: it or one before it is altered"
            self._say(Flaw.ALTERED, message, position)
        self._mark = self._next_mark()

    def _look_closer(self, link: Link) -> None:
        """Say what is wrong with an event, and go on from it as well as can be."""
        position = link.position
        if type(position) is not int or position < self._expected:
            self._say(Flaw.REORDERED if type(position) is int else Flaw.ALTERED, f"{self._named(link)} is where it cannot be", link)
            return
        is_after_gap = position > self._expected
        if is_after_gap:
            self._say(Flaw.MISSING, f"{_events(self._expected, position - 1)} missing from chain {self._chain}", self._expected)
        actual = recomputed(link, position, link.previous_hash)
        if actual is None or actual != link.hash:
            self._go_on_from_bad(link, actual, self._say_altered(link))
        elif not is_after_gap and self._heads and link.previous_hash not in self._heads:
            message = f"{self._named(link)} does not follow {self._place(position - 1)}: one of the two is altered"
            self._say(Flaw.ALTERED, message, link)
            self._go_on_from_bad(link, actual, Flaw.ALTERED)
        else:
            self._skip_marks(position)
            self._seen, self._expected, self._heads = position, position + 1, (actual,)
            if self._mark[0] == position:
                self._meet_mark(actual)

    def _go_on_from_bad(self, link: Link, actual: bytes | None, flaw: Flaw) -> None:
        """The next event need not be called bad because this one is: it may follow what this one should be, or what it says it is.

        After one that belongs elsewhere it may follow anything.
        """
        should = [recomputed(link, link.position, head) for head in self._heads]
        known = [hash for hash in (link.hash, actual, *should) if isinstance(hash, bytes)]
        self._heads = tuple(dict.fromkeys(known)) if flaw is Flaw.ALTERED else ()
        self._seen, self._expected = link.position, link.position + 1
        self._skip_marks(self._expected)

    def _skip_marks(self, position: int) -> None:
        while self._mark[0] != _NO_MARK and self._mark[0] < position:
            self._mark = self._next_mark()

    def _say_altered(self, link: Link) -> Flaw:
        place = self._place_of_writing(link)
        if place is not None:
            self._say(Flaw.REORDERED, f"{self._named(link)} was written at position {place}", link)
            return Flaw.REORDERED
        self._say(Flaw.ALTERED, f"{self._named(link)} is altered: its hash is another", link)
        return Flaw.ALTERED

    def _place_of_writing(self, link: Link) -> int | None:
        """The place nearby where the event would be right, if there is one."""
        if self._report.problem_count >= _NEARBY:
            return None
        nearby = range(max(1, link.position - _NEARBY), link.position + _NEARBY)
        return next((place for place in nearby if recomputed(link, place, link.previous_hash) == link.hash), None)

    def _named(self, link: Link) -> str:
        return f"event {link.id} at position {link.position} of chain {self._chain}"

    def _place(self, position: int) -> str:
        return f"the event at position {position} of chain {self._chain}"

    def _say(self, flaw: Flaw, message: str, where: Link | int | None) -> None:
        if isinstance(where, Link):
            position = where.position if type(where.position) is int else None
            self._report.add(Problem(flaw, message, self._chain, position, str(where.id)))
        else:
            self._report.add(Problem(flaw, message, self._chain, where))


def _events(first: int, last: int) -> str:
    return f"the event at position {first} is" if first == last else f"the events at positions {first} to {last} are"

"""Looking through the ledger of anchors: every line, in its order; and what it says of every chain."""

from array import array
from collections.abc import Iterator
from dataclasses import field

from cstp_server.domain.anchors import FIRST_LINK, Anchor, AnchorKind, AuditKeys, LedgerHead, genesis
from cstp_server.domain.values import dataclass
from cstp_server.services.audit_reports import AuditReport, Flaw, Problem, Signatures

_HASH_BYTES = 32


@dataclass(slots=True)
class Marks:
    """What anchors say of a chain's events, packed: in the order of the positions, the hash at each and the number of the anchor."""

    positions: "array[int]" = field(default_factory=lambda: array("q"))
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    hashes: bytearray = field(default_factory=bytearray)

    def add(self, anchor: Anchor) -> None:
        """One more anchor, no further back than those before."""
        if not self.positions or self.positions[-1] != anchor.position:
            self.positions.append(anchor.position)
            self.numbers.append(anchor.number)
            self.hashes += anchor.hash[:_HASH_BYTES].ljust(_HASH_BYTES, b"\0")

    def __iter__(self) -> Iterator[tuple[int, bytes, int]]:
        for place, (position, number) in enumerate(zip(self.positions, self.numbers, strict=True)):
            yield position, bytes(self.hashes[place * _HASH_BYTES : (place + 1) * _HASH_BYTES]), number


@dataclass(slots=True)
class ChainRecord:
    """What the ledger says of one chain: its beginning, how far it had come before the time of interest, what followed, and its end."""

    chain: str
    start: Anchor | None = None
    base: Anchor | None = None
    last: Anchor | None = None
    cut: Anchor | None = None
    ended: bool = False
    marks: Marks = field(default_factory=Marks)

    @property
    def is_over_before(self) -> bool:
        """Whether the chain had ended before the time of interest."""
        return self.ended and self.base is not None and self.base is self.last


class LedgerCheck:
    """Takes the ledger's lines one after another, from its beginning or, in a part of it, from wherever that begins."""

    def __init__(self, keys: AuditKeys, report: AuditReport, *, since: int | None = None, partial: bool = False) -> None:
        self._keys = keys
        self._report = report
        self._since = since
        self._partial = partial
        self._last: Anchor | None = None
        self._expected: int | None = None if partial else 1
        self._signed = self._unchecked = 0
        self.chains: dict[str, ChainRecord] = {}

    def add(self, anchor: Anchor) -> None:
        """The next line."""
        self._report.anchors += 1
        self._check_place(anchor)
        self._check_seal(anchor)
        self._take(anchor)
        self._last = self._report.newest = anchor

    def add_unreadable(self, number: object) -> None:
        """The next line, which is none that could ever have been written."""
        self._report.anchors += 1
        self._say(Flaw.ALTERED, f"anchor {number} is altered: no anchor looks like this", None)
        self._last, self._expected = None, number + 1 if isinstance(number, int) else None

    def finish(self) -> None:
        """There are no more lines."""
        report = self._report
        if self._unchecked:
            report.signatures = Signatures.NOT_CHECKED
        elif self._signed:
            report.signatures = Signatures.VERIFIED
        elif self._keys and report.anchors:
            self._say(Flaw.UNSIGNED, "a key is set, and no anchor is signed", None)

    def compare_head(self, head: LedgerHead | None) -> None:
        """Hold the end of the ledger against what is kept of it beside it, so that neither can be taken back alone."""
        last = self._report.newest
        if head is None:
            if self._report.anchors:
                self._say(Flaw.MISSING, "the head of the ledger is missing, or no head looks like this", None)
            return
        end = last.number if last is not None else 0
        if head.number > end:
            self._say(Flaw.TRUNCATED, f"{_anchors(end + 1, head.number)} missing at the end of the ledger", None)
        elif last is not None and (head.number < end or head.anchor_seal != last.seal):
            self._say(Flaw.ALTERED, f"the head of the ledger is altered, or an old one: the ledger ends with another anchor, {end}", None)
        self._check_head_seal(head)

    def _check_head_seal(self, head: LedgerHead) -> None:
        if head.key_id is None:
            if self._signed or self._unchecked:
                self._say(Flaw.UNSIGNED, "the head of the ledger is not signed", None)
        elif not self._keys:
            return
        elif not self._keys.knows(head.key_id):
            self._say(Flaw.BAD_SIGNATURE, f"the head of the ledger is signed with a key that is not known here (id {head.key_id})", None)
            return
        if not self._keys.is_sealed(head.payload(), head.key_id, head.seal):
            flaw = Flaw.ALTERED if head.key_id is None else Flaw.BAD_SIGNATURE
            self._say(flaw, "the head of the ledger is altered: its seal is wrong", None)

    def _check_place(self, anchor: Anchor) -> None:
        expected, last = self._expected, self._last
        self._expected = anchor.number + 1
        if expected is not None and anchor.number > expected:
            self._say(Flaw.MISSING, f"{_anchors(expected, anchor.number - 1)} missing", anchor)
            return
        if expected is not None and anchor.number < expected:
            self._say(Flaw.REORDERED, f"anchor {anchor.number} is in the place of anchor {expected}", anchor)
            return
        link = last.seal if last is not None else FIRST_LINK if anchor.number == 1 else None
        if link is not None and anchor.previous_seal != link:
            before = f"anchor {last.number}" if last is not None else "the beginning of the ledger"
            self._say(Flaw.ALTERED, f"anchor {anchor.number} does not follow {before}: one of the two is altered", anchor)
        elif last is not None and anchor.at < last.at:
            self._say(Flaw.ALTERED, f"anchor {anchor.number} is older than anchor {last.number} before it", anchor)

    def _check_seal(self, anchor: Anchor) -> None:
        name, payload = f"anchor {anchor.number}", anchor.payload()
        if anchor.key_id is None:
            self._report.unsigned += 1
            if not self._keys.is_sealed(payload, None, anchor.seal):
                self._say(Flaw.ALTERED, f"{name} is altered: its hash is another", anchor)
            if self._signed or self._unchecked:
                self._say(Flaw.UNSIGNED, f"{name} is not signed, and those before it are", anchor)
        elif not self._keys:
            self._unchecked += 1
        elif not self._keys.knows(anchor.key_id):
            self._signed += 1
            self._say(Flaw.BAD_SIGNATURE, f"{name} is signed with a key that is not known here (id {anchor.key_id})", anchor)
        else:
            self._signed += 1
            if not self._keys.is_sealed(payload, anchor.key_id, anchor.seal):
                self._say(Flaw.BAD_SIGNATURE, f"{name} is altered: its signature is wrong", anchor)

    def _take(self, anchor: Anchor) -> None:
        """Note what the anchor says of its chain."""
        record = self.chains.setdefault(anchor.chain, ChainRecord(anchor.chain))
        known = record.last is not None or record.cut is not None or self._partial
        if anchor.kind is AnchorKind.START:
            if record.last is not None or anchor.position != 0 or anchor.hash != genesis(anchor.chain):
                self._say(Flaw.ALTERED, f"anchor {anchor.number} begins a chain as none is begun", anchor)
            record.start = anchor
        elif not known:
            self._say(Flaw.MISSING, f"anchor {anchor.number} is of a chain whose beginning is missing", anchor)
        if anchor.kind is AnchorKind.CUT:
            self._take_cut(record, anchor)
            return
        if record.ended or (record.last is not None and anchor.position < record.last.position):
            self._say(Flaw.ALTERED, f"anchor {anchor.number} goes back behind an earlier one of its chain", anchor)
            return
        self._take_head(record, anchor)

    def _take_head(self, record: ChainRecord, anchor: Anchor) -> None:
        record.last = anchor
        if anchor.kind is AnchorKind.END:
            record.ended = True
            self._report.adopted += record.start is not None and record.start.writer != anchor.writer
        if self._since is not None and anchor.at < self._since:
            record.base, record.marks = anchor, Marks()
        if anchor.position:
            record.marks.add(anchor)

    def _take_cut(self, record: ChainRecord, anchor: Anchor) -> None:
        if record.cut is not None and anchor.position <= record.cut.position:
            self._say(Flaw.ALTERED, f"anchor {anchor.number} prunes what an earlier one has pruned", anchor)
            return
        if record.last is not None and anchor.position > record.last.position:
            self._say(Flaw.ALTERED, f"anchor {anchor.number} prunes what no anchor covers", anchor)
            return
        record.cut = anchor

    def _say(self, flaw: Flaw, message: str, anchor: Anchor | None) -> None:
        at = (anchor.chain, anchor.position, anchor.number) if anchor is not None else (None, None, None)
        self._report.add(Problem(flaw, message, chain=at[0], position=at[1], anchor=at[2]))


def _anchors(first: int, last: int) -> str:
    return f"anchor {first} is" if first == last else f"anchors {first} to {last} are"

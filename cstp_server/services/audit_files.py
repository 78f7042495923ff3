"""The record of events taken elsewhere: a file of JSON lines that can be looked through without the store (SPEC 11).

First a line that says what the file is, then the ledger's anchors and its head, then the events chain by chain, and last the seal of the
whole. Each event carries its place, the hash of the one before and its own, so that what verification finds in a store it finds in a file
as well.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from cstp_server.domain.anchors import Anchor, AuditKeys, LedgerHead, anchor_from, head_from
from cstp_server.services.audit_reports import AuditReport, Flaw, Problem
from cstp_server.services.auditing import EventRecord, Progress, chains_in, first_position
from cstp_server.services.chain_checking import ChainCheck
from cstp_server.services.chaining import LINK_COLUMNS
from cstp_server.services.ledger_checking import ChainRecord, LedgerCheck

FORMAT = "cstp-audit-2"
_HEADLESS_FORMAT = "cstp-audit-1"
"""Of files that were made before the ledger had a head: they have no line of it."""
_LATER_FORMAT = re.compile(r"cstp-audit-[1-9][0-9]{0,5}")
_SEAL = b"cstp.export.1\n"
_AT_ONCE = 1_000
_ANCHOR_NAMES = {
    "number": "number",
    "at": "at",
    "kind": "kind",
    "chain": "chain",
    "position": "position",
    "hash": "hash",
    "writer": "writer",
    "keyId": "key_id",
    "previousSeal": "previous_seal",
    "seal": "seal",
}
_HEAD_NAMES = {"number": "number", "anchorSeal": "anchor_seal", "keyId": "key_id", "seal": "seal"}
_LINK_NAMES = {"policy_version": "policyVersion", "previous_hash": "previousHash"}
_EVENT_NAMES = tuple(_LINK_NAMES.get(name, name) for name in LINK_COLUMNS)
_BINARY = ("previousHash", "hash")
_SEALS = ("anchor_seal", "seal")
_NO_EXPORT = "it is no export of the record of events: its first line does not say so"
Write = Callable[[bytes], object]


class NoExport(ValueError):
    """The file is none that an export has made; the message says why."""


def export(record: EventRecord, keys: AuditKeys, write: Write, progress: Progress, *, since: int | None, at: int) -> AuditReport:
    """Write the record, or with `since` (ms since the epoch) what it takes to prove the events from then on; how many events that are.

    The file begins at each chain's last anchor before that time, which is a little earlier. The report tells what is wrong with the ledger,
    and of events without a place in it: what a file of it cannot prove. The events in it are not looked at, but when the file is verified.
    """
    report = AuditReport()
    wanted = [chain for chain in chains_in(record, keys, report, since=since) if not chain.is_over_before or _goes_on(record, chain)]
    sink = _Sealing(write)
    sink.line({"line": "export", "format": FORMAT, "since": since, "at": at})
    first = min((_first_anchor(chain) for chain in wanted), default=report.newest.number if report.newest is not None else 1)
    for anchor in record.anchors():
        if isinstance(anchor, Anchor) and anchor.number >= first:
            sink.line({"line": "anchor", **anchor_values(anchor)})
    sink.line({"line": "head", **_head_values(record.head())})
    report.chains = len(wanted)
    for chain in wanted:
        for page in record.rows(chain.chain, first_position(chain)):
            for row in page:
                sink.line(_event_values(row))
            report.events += len(page)
            progress(len(page))
    sink.end(keys)
    return report


def verify_file(lines: Iterable[bytes], keys: AuditKeys, progress: Progress) -> AuditReport:
    """Everything that is wrong with an exported record. Raises `NoExport` for what is none."""
    report = AuditReport()
    reading = _Reading(lines)
    header = reading.header()
    since = header.get("since")
    ledger = LedgerCheck(keys, report, since=since if isinstance(since, int) else None, partial=since is not None)
    groups = groupby(reading, key=itemgetter("line"))
    checks: dict[str, ChainCheck] = {}
    head: LedgerHead | None = None
    has_head = header["format"] != _HEADLESS_FORMAT
    for kind, values in groups:
        if kind == "anchor":
            _check_anchors(ledger, values)
        elif kind == "head":
            head, has_head = _head_of(next(iter(values))), True
        elif kind == "event":
            _check_events(ledger.chains, checks, values, report, progress)
        elif kind == "end":
            reading.check_end(next(iter(values)), keys, report)
        else:
            report.add(Problem(Flaw.FOREIGN, f"line {reading.number} is of no kind that there is"))
    ledger.finish()
    if has_head:
        ledger.compare_head(head)
    _finish(ledger.chains, checks, report)
    if not reading.has_ended:
        report.add(Problem(Flaw.TRUNCATED, f"the file has no last line: it breaks off after line {reading.number}"))
    return report


def _finish(chains: Mapping[str, ChainRecord], checks: dict[str, ChainCheck], report: AuditReport) -> None:
    for name, chain in chains.items():
        if name not in checks and not chain.is_over_before:
            checks[name] = ChainCheck(chain, report)
    for check in checks.values():
        check.finish()
    report.chains = len(checks)


def anchors_in(lines: Iterable[bytes]) -> list[Anchor]:
    """The anchors of a file that holds some, such as an export. Raises `NoExport` when it holds none."""
    found = []
    for line in lines:
        values = _parse(line)
        anchor = _anchor_of(values) if values is not None and values.get("line") == "anchor" else None
        if anchor is not None:
            found.append(anchor)
    if not found:
        raise NoExport("it holds no anchor")
    return found


def anchor_line(anchor: Anchor) -> bytes:
    """The anchor as a line of a file."""
    return orjson.dumps({"line": "anchor", **anchor_values(anchor)}, option=orjson.OPT_APPEND_NEWLINE)


def anchor_values(anchor: Anchor) -> dict[str, object]:
    """The anchor's fields, hashes in hexadecimal."""
    return _values(anchor, _ANCHOR_NAMES)


def _head_values(head: LedgerHead | None) -> dict[str, object]:
    return _values(head, _HEAD_NAMES) if head is not None else dict.fromkeys(_HEAD_NAMES)


def _values(line: Anchor | LedgerHead, names: Mapping[str, str]) -> dict[str, object]:
    values = {name: getattr(line, field) for name, field in names.items()}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


def _first_anchor(chain: ChainRecord) -> int:
    known = [anchor.number for anchor in (chain.base or chain.start, chain.cut) if anchor is not None]
    return min(known, default=1) if chain.base is not None or chain.start is not None else 1


def _goes_on(record: EventRecord, chain: ChainRecord) -> bool:
    """Whether there are events after the chain's end, where there should be none."""
    return next(iter(record.rows(chain.chain, first_position(chain))), None) is not None


def _event_values(row: Sequence[Any]) -> dict[str, object]:
    values: dict[str, object] = {"line": "event"}
    for name, value in zip(_EVENT_NAMES, row, strict=True):
        if isinstance(value, bytes):
            values[name] = value.hex()
        else:
            values[name] = value.encode(errors="replace").decode() if isinstance(value, str) else value
    return values


def _check_anchors(ledger: LedgerCheck, lines: Iterable[Mapping[str, Any]]) -> None:
    for values in lines:
        anchor = _anchor_of(values)
        if anchor is not None:
            ledger.add(anchor)
        else:
            ledger.add_unreadable(values.get("number"))


def _check_events(
    chains: dict[str, ChainRecord],
    checks: dict[str, ChainCheck],
    lines: Iterable[Mapping[str, Any]],
    report: AuditReport,
    progress: Progress,
) -> None:
    for name, of_chain in groupby(lines, key=lambda values: str(values.get("chain"))):
        check = checks.get(name)
        if check is None:
            check = checks[name] = ChainCheck(chains.setdefault(name, ChainRecord(name)), report)
        for page in _pages(of_chain):
            _look_back(chains[name], page)
            check.add([_link_of(values) for values in page])
            progress(len(page))


def _look_back(chain: ChainRecord, page: Sequence[Mapping[str, Any]]) -> None:
    """What the file has of a chain from before the time of interest is to be looked at as well."""
    base, positions = chain.base, [values.get("position") for values in page]
    if base is not None and any(isinstance(position, int) and position <= base.position for position in positions):
        chain.base = None


def _pages(lines: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    page: list[Mapping[str, Any]] = []
    for values in lines:
        page.append(values)
        if len(page) == _AT_ONCE:
            yield page
            page = []
    if page:
        yield page


def _link_of(values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple([_unhex(values.get(name)) if name in _BINARY else values.get(name) for name in _EVENT_NAMES])


def _anchor_of(values: Mapping[str, Any]) -> Anchor | None:
    found = {field: values.get(name) for name, field in _ANCHOR_NAMES.items()}
    return anchor_from(found | {name: _unhex(found[name]) for name in ("hash", "previous_seal", "seal")})


def _head_of(values: Mapping[str, Any]) -> LedgerHead | None:
    return head_from({field: _unhex(values.get(name)) if field in _SEALS else values.get(name) for name, field in _HEAD_NAMES.items()})


def _unhex(text: object) -> object:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _parse(line: bytes) -> Mapping[str, Any] | None:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return values if isinstance(values, dict) else None


def _unknown(form: object) -> str:
    """Why a file of that format cannot be read."""
    if not isinstance(form, str) or not _LATER_FORMAT.fullmatch(form):
        return _NO_EXPORT
    return f"it is an export in the format `{form}`, which this version does not know: verify it with a newer one"


class _Sealing:
    """Writes lines, and at the end what seals all of them."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self._count = 0

    def line(self, values: Mapping[str, object]) -> None:
        """One more line."""
        line = orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)
        self._digest.update(line)
        self._count += 1
        self._write(line)

    def end(self, keys: AuditKeys) -> None:
        """The last line."""
        seal = keys.seal(_SEAL + self._digest.digest(), keys.current_id)
        self.line({"line": "end", "lines": self._count, "keyId": keys.current_id, "seal": seal.hex()})


class _Reading:
    """The lines of a file as they come, each with its number, up to the one that seals them."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = iter(lines)
        self._digest = hashlib.sha256()
        self._before = self._digest
        self.number = 0
        self.has_ended = False

    def header(self) -> Mapping[str, Any]:
        """The first line. Raises `NoExport` when it is not that of an export."""
        values = next(iter(self), None)
        if values is None or values.get("line") != "export":
            raise NoExport(_NO_EXPORT)
        if values.get("format") not in (FORMAT, _HEADLESS_FORMAT):
            raise NoExport(_unknown(values.get("format")))
        return values

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for line in self._lines:
            self.number += 1
            self._before = self._digest.copy()
            self._digest.update(line)
            values = _parse(line)
            yield values if values is not None and isinstance(values.get("line"), str) else {"line": "unreadable"}

    def check_end(self, values: Mapping[str, Any], keys: AuditKeys, report: AuditReport) -> None:
        """Hold the file against its last line."""
        self.has_ended = next(iter(self), None) is None
        if not self.has_ended:
            report.add(Problem(Flaw.FOREIGN, f"the file goes on after its last line, line {self.number - 1}"))
            return
        key_id, seal = values.get("keyId"), _unhex(values.get("seal"))
        if values.get("lines") != self.number - 1:
            report.add(Problem(Flaw.ALTERED, "the file as a whole is altered: its last line counts other lines"))
        signed_by_unknown = isinstance(key_id, str) and keys and not keys.knows(key_id)
        if signed_by_unknown:
            report.add(Problem(Flaw.BAD_SIGNATURE, f"the file is signed with a key that is not known here (id {key_id})"))
        elif keys and key_id is None:
            report.add(Problem(Flaw.UNSIGNED, "a key is set, and the file is not signed"))
        elif (key_id is None or keys) and not self._is_sealed(keys, key_id, seal):
            report.add(
                Problem(Flaw.ALTERED if key_id is None else Flaw.BAD_SIGNATURE, "the file as a whole is altered: its last line says so")
            )

    def _is_sealed(self, keys: AuditKeys, key_id: str | None, seal: object) -> bool:
        return isinstance(seal, bytes) and keys.is_sealed(_SEAL + self._before.digest(), key_id, seal)

"""Anchors: the signed ledger that says how far each chain of events had come, and when (SPEC 11).

Every process writes its events to a chain of its own, whose links are hashes. A chain alone proves that what is there is whole, but not
that nothing is gone from its end, nor that there are no others. So what chains there are, how far they have come, where they end and what
was pruned of them is entered in one ledger for all, numbered, linked and sealed with a key that is not in the database.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import TypeGuard

from cstp_server.domain.values import dataclass

_EVENT_CHAIN = b"cstp.chain.1\n"
_LEDGER = b"cstp.ledger.1\n"
_ANCHOR = b"cstp.anchor.1\n"
_HEAD = b"cstp.head.1\n"
_KEY = b"cstp.key.1\n"
_KEY_ID_BYTES = 8
_LARGEST = 2**63 - 1


class Unproven(Exception):
    """Nothing is deleted on the word of an anchor that its seal does not prove."""


class AnchorKind(StrEnum):
    """What an anchor says of its chain: it is begun, has come so far, ends here, or is pruned up to here."""

    START = "start"
    HEAD = "head"
    END = "end"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Anchor:
    """One line of the ledger. `hash` is that of the event at `position`; `writer` is the process that made the anchor.

    `at` is in ms since the epoch. `seal` covers all the rest: made with the key of `key_id`, or a plain hash where that is none.
    """

    number: int
    at: int
    kind: AnchorKind
    chain: str
    position: int
    hash: bytes
    writer: str
    key_id: str | None
    previous_seal: bytes
    seal: bytes = b""

    def payload(self) -> bytes:
        """What the seal is made of."""
        text = [self.number, self.at, self.kind, self.chain, self.position, self.hash.hex(), self.writer, self.key_id]
        return _ANCHOR + self.previous_seal + json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class NoAnchor:
    """What stands in the ledger and is no anchor: its values are not of the types that one has. `number` is whatever it has for one."""

    number: object


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """Where the ledger ends: the number and the seal of its newest anchor, sealed in turn."""

    number: int
    anchor_seal: bytes
    key_id: str | None
    seal: bytes = b""

    def payload(self) -> bytes:
        """What the seal is made of."""
        return _HEAD + self.anchor_seal + json.dumps([self.number, self.key_id], separators=(",", ":")).encode()


FIRST_LINK = hashlib.sha256(_LEDGER).digest()
"""What stands for the seal before the first anchor's."""


def genesis(chain: str) -> bytes:
    """What stands for the hash before a chain's first event's."""
    return hashlib.sha256(_EVENT_CHAIN + chain.encode()).digest()


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """The keys of the ledger: new anchors are sealed with the first one, the others are former ones. Without any, seals are hashes."""

    keys: Sequence[bytes] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.keys)

    @property
    def current_id(self) -> str | None:
        """The id of the key that new anchors are sealed with."""
        return _id_of(self.keys[0]) if self.keys else None

    def knows(self, key_id: str) -> bool:
        """Whether one of these is the key of that id."""
        return self._key(key_id) is not None

    def seal(self, payload: bytes, key_id: str | None) -> bytes:
        """The seal of a payload; without a key's id a plain hash, which proves nothing. `LookupError` for an unknown id."""
        if key_id is None:
            return hashlib.sha256(payload).digest()
        key = self._key(key_id)
        if key is None:
            raise LookupError("no key has that id")
        return hmac.digest(key, payload, "sha256")

    def is_sealed(self, payload: bytes, key_id: str | None, seal: bytes) -> bool:
        """Whether that is the payload's seal."""
        return hmac.compare_digest(self.seal(payload, key_id), seal)

    def _key(self, key_id: str) -> bytes | None:
        return next((key for key in self.keys if _id_of(key) == key_id), None)


def _id_of(key: bytes) -> str:
    return hmac.digest(key, _KEY, "sha256")[:_KEY_ID_BYTES].hex()


def head_from(values: Mapping[str, object]) -> LedgerHead | None:
    """The head of the ledger that has these values by the names of its fields; none when they are not all of the right types."""
    number, anchor_seal, key_id, seal = (values.get(name) for name in ("number", "anchor_seal", "key_id", "seal"))
    if isinstance(number, int) and isinstance(anchor_seal, bytes) and isinstance(seal, bytes) and (key_id is None or is_text(key_id)):
        return LedgerHead(number, anchor_seal, key_id, seal)
    return None


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is text that can be written: SQLite keeps whatever somebody's hand has put in the place of text."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def anchor_from(values: Mapping[str, object]) -> Anchor | None:
    """The anchor that has these values by the names of its fields; none when they are not all of the right types."""
    kind, key_id = values.get("kind"), values.get("key_id")
    numbers = [values.get(name) for name in ("number", "at", "position")]
    texts = [values.get(name) for name in ("chain", "writer")]
    hashes = [values.get(name) for name in ("hash", "previous_seal", "seal")]
    right = (
        all(type(number) is int and 0 <= number <= _LARGEST for number in numbers)
        and all(is_text(text) for text in (*texts, kind))
        and all(isinstance(hash, bytes) for hash in hashes)
        and (key_id is None or is_text(key_id))
        and kind in {known.value for known in AnchorKind}
    )
    return Anchor(**{**values, "kind": AnchorKind(str(kind))}) if right else None  # type: ignore[arg-type]

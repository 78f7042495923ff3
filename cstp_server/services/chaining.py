"""The link of an event to the one before it: a hash over everything that is stored of it (SPEC 11)."""

from hashlib import sha256
from typing import NamedTuple

import orjson

_EVENT = b"cstp.event.1\n"


class Link(NamedTuple):
    """A stored event with its place in its chain, every value as the store gave it, whether or not it is of the right type."""

    id: str
    at: int
    tenant: str
    type: str
    subject: str
    actor: str
    policy_version: str
    data: str
    chain: str
    position: int
    previous_hash: bytes
    hash: bytes


LINK_COLUMNS = Link._fields
EVENT_COLUMNS = LINK_COLUMNS[:-4]
"""The columns of an event besides those of its chain."""


def link_hash(previous_hash: bytes, columns: tuple[object, ...]) -> bytes:
    """The hash of an event whose columns up to its position are given.

    SHA-256 over a fixed beginning, the previous event's hash, and the columns as a compact JSON array as RFC 8785 prescribes: text in
    quotes, numbers without, absent values as `null`, so that no two different rows read the same. `TypeError` for what no row may hold.
    """
    return sha256(_EVENT + previous_hash + orjson.dumps(columns)).digest()


def recomputed(link: Link, position: int, previous_hash: object) -> bytes | None:
    """The hash that the event would have in that place; none when what is stored is not even of the right types."""
    if not isinstance(previous_hash, bytes):
        return None
    try:
        return link_hash(previous_hash, (*link[: len(EVENT_COLUMNS)], link.chain, position))
    except TypeError:
        return None

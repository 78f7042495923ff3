"""From the body's bytes to calls that are safe to look at: by cheap tests on the bytes, and only where they say so by a walk.

`orjson` refuses what is no JSON, `NaN`, infinities and lone surrogates. It lets NUL through, and turns integers beyond 64 bits into
floats; both are found here.
"""

import json
from collections.abc import Iterable
from typing import Any

import orjson

from cstp_server.domain.values import dataclass
from cstp_server.rpc.errors import Code, Failure, Problem
from cstp_server.rpc.limits import Limits
from cstp_server.rpc.wire import field_name

PARSE_ERROR = Failure(Code.PARSE_ERROR, "Parse error")
_KINDS = {"{": "[", "[": "[", **dict.fromkeys("0123456789", "0")}
_SHAPE = bytes(ord(_KINDS.get(chr(byte), " ")) for byte in range(256))
"""Turns each bracket that opens something into `[`, each digit into `0`, and all else into blanks."""
_LONG_NUMBER = b"0" * 19
_LOWEST, _HIGHEST = -(2**63), 2**64 - 1
_MOST_DIGITS = 20
BAD_INTEGER = "must be an integer of at most 64 bits"


class TooWide:
    """Stands in a parsed document for an integer that 64 bits do not hold."""


_TOO_WIDE = TooWide()


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed body; `doubtful` says that its calls have to be walked before anything looks at them."""

    value: Any
    doubtful: bool


def parse(body: bytes, limits: Limits) -> Document | Failure:
    """The document in the body."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return PARSE_ERROR
    shape = body.translate(_SHAPE)
    if shape.find(_LONG_NUMBER) >= 0:  # `in` would first try to take the text for a number
        return _parse_exactly(body)
    doubtful = len(body) > limits.string_bytes or shape.count(b"[") > limits.nesting or body.find(b"\\u0000") >= 0
    return Document(value, doubtful)


def _parse_exactly(body: bytes) -> Document | Failure:
    try:
        return Document(json.loads(body, parse_int=_integer), doubtful=True)
    except RecursionError:
        return Failure(Code.INVALID_REQUEST, "Invalid Request", {"field": "params", "expected": "less nesting"})


def _integer(digits: str) -> int | TooWide:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        return _TOO_WIDE
    number = int(digits)
    return number if _LOWEST <= number <= _HIGHEST else _TOO_WIDE


def problem_in(call: Any, limits: Limits) -> Problem | None:
    """The first thing in a call that a limit forbids; its field is a path from the call on, such as `params.action.tags[0]`."""
    waiting: list[tuple[Any, tuple[int | str, ...]]] = [(call, ())]
    while waiting:
        value, path = waiting.pop()
        fault = _fault(value, len(path), limits)
        if fault is not None:
            return Problem(field_name(path, "call"), fault)
        if isinstance(value, dict):
            bad_name = _bad_name(value, limits)
            if bad_name is not None:
                return Problem(field_name(path, "call"), bad_name)
            waiting.extend((inner, (*path, name)) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend((inner, (*path, place)) for place, inner in enumerate(value))
    return None


def _fault(value: Any, depth: int, limits: Limits) -> str | None:
    if isinstance(value, str):
        return _bad_text(value, limits)
    if isinstance(value, TooWide):
        return BAD_INTEGER
    if isinstance(value, dict | list) and depth >= limits.nesting:
        return f"must not be nested more than {limits.nesting} deep"
    return None


def _bad_text(text: str, limits: Limits) -> str | None:
    if "\x00" in text:
        return "must not contain NUL"
    if len(text) > limits.string_bytes or (not text.isascii() and len(text.encode()) > limits.string_bytes):
        return f"must be at most {limits.string_bytes} bytes long"
    return None


def _bad_name(names: Iterable[str], limits: Limits) -> str | None:
    for name in names:
        if "\x00" in name:
            return "must not have names that contain NUL"
        if _bad_text(name, limits) is not None:
            return f"must not have names longer than {limits.string_bytes} bytes"
    return None

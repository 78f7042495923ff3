"""Paths that every program reads the same: no way up, nothing hidden in an encoding (SPEC 9)."""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

LONGEST_PATH = 4096
DEEPEST_PATH = 256
"""How many slashes a path may have."""
_UNREADABLE = re.compile(r"[\x00\\]")
_NEVER_UTF8 = re.compile(rb"[\xc0\xc1]")
_DOTS = re.compile(r"(?:^|/)[\x00-\x20]*\.{1,2}[\x00-\x20]*(?:;[^/]*)?(?:/|$)")
"""Also with what some programs leave out: white space around them (Windows), and parameters after them (servlets)."""
_MOST_ROUNDS = 8
_NOT_PLAIN = "must name one resource in its plain form"


def check_plain(path: str) -> None:
    """See that a path is plain. Raises `ValueError`, saying what it must not have."""
    if not path or len(path) > LONGEST_PATH:
        raise ValueError(f"{_NOT_PLAIN}: not empty, at most {LONGEST_PATH} characters")
    if path.count("/") > DEEPEST_PATH:
        raise ValueError(f"{_NOT_PLAIN}: at most {DEEPEST_PATH} slashes")
    if _UNREADABLE.search(path):
        raise ValueError(f"{_NOT_PLAIN}: without backslashes and NUL")
    if "." in path and _DOTS.search(path):
        raise ValueError(f"{_NOT_PLAIN}: without `.` and `..`")
    if "%" in path:
        _check_encoded(path)
    if not path.isascii():
        _check_same(unicodedata.normalize("NFKC", path), path)


def _check_encoded(path: str) -> None:
    """Encoded once or several times, nothing may come to light that divides the path, or leads up."""
    text = path
    for _ in range(_MOST_ROUNDS):
        decoded = unquote_to_bytes(text)
        if _NEVER_UTF8.search(decoded) or "%u" in text.lower():
            break
        plain = decoded.decode("utf-8", "replace")
        if plain == text:
            return
        _check_same(plain, text)
        text = plain
    raise ValueError(f"{_NOT_PLAIN}: without odd encodings")


def _check_same(read: str, written: str) -> None:
    """See that a path, read in another way, has the same folders."""
    if read.count("/") != written.count("/") or _UNREADABLE.search(read) or _DOTS.search(read):
        raise ValueError(f"{_NOT_PLAIN}: without encoded slashes, backslashes, NUL and `..`")

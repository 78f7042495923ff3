"""Globs over paths: `*` stays in a folder, `**` crosses them (SPEC 9).

Single names are matched by wcmatch, and rows of them here, in time that grows with pattern and path and no faster. Folders that are
left out (`a//b`) do not matter, nor does a `/` at the path's end, unless the pattern has one.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from wcmatch import glob

MOST_CROSSINGS = 4
"""How many `**` a pattern may have."""
LONGEST_PATTERN = 1024
MOST_NAMES = 64
"""How many names a pattern may have, `**` among them."""
CROSS = "**"
_FLAGS = glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX
_SLASHES = re.compile(r"/{2,}")
_SPECIAL = re.compile(r"[*?\[]")
_ANYTHING = re.compile(r".*", re.DOTALL)
_NEVER_PLAIN = frozenset({".", ".."})
_ANY_NAME = "/"
"""A step that any name is, also an empty one."""


class Glob(NamedTuple):
    """A pattern, ready to be used: places between its steps are bits, the first one before the first step.

    Walking a path, all places that its names may have come to are carried along at once, so that no path is tried twice.
    """

    texts: Mapping[str, int]
    """Before which steps a place must be for a certain name to be a step further."""
    wildcards: tuple[tuple[re.Pattern[str], int], ...]
    """The same for names that match."""
    crossings: int
    """The places before a `**`; it takes any name and stays there, and none to get past it."""
    end: int

    def matches(self, names: list[str]) -> bool:
        """Whether a path matches, by its names (`names_of`)."""
        return self._fits(names) or (len(names) > 1 and not names[-1] and self._fits(names[:-1]))

    def _fits(self, names: list[str]) -> bool:
        texts, wildcards, crossings, end = self
        places = 1 | (crossings & 1) << 1
        for name in names:
            steps = places & texts.get(name, 0)
            for wildcard, before in wildcards:
                if places & before and wildcard.fullmatch(name):
                    steps |= places & before
            places = steps << 1 | places & crossings
            if not places:
                return False
            places |= (places & crossings) << 1
        return places & end != 0


def names_of(path: str) -> list[str]:
    """The names between a path's slashes; one that begins or ends with a slash has an empty name there."""
    return (_SLASHES.sub("/", path) if "//" in path else path).split("/")


@lru_cache(maxsize=512)
def glob_of(pattern: str) -> Glob:
    """The pattern, ready to be used. Raises `ValueError`."""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"must not have a pattern that is empty, or longer than {LONGEST_PATTERN} characters")
    if "\\" in pattern:
        raise ValueError("must not have a backslash in a pattern: folders end with `/`, and `[*]` is a star")
    names = names_of(pattern)
    if not _NEVER_PLAIN.isdisjoint(names):
        raise ValueError("must not have `.` or `..` in a pattern: no resource with them is ever admitted")
    if any(CROSS in name and name != CROSS for name in names):
        raise ValueError("must have `**` alone between slashes, as in `data/**/*.json`")
    if names.count(CROSS) > MOST_CROSSINGS:
        raise ValueError(f"must have at most {MOST_CROSSINGS} `**` in a pattern")
    if len(names) > MOST_NAMES:
        raise ValueError(f"must have at most {MOST_NAMES} names between slashes in a pattern")
    return _glob(_steps(names))


def _steps(names: list[str]) -> list[str]:
    """Without crossings that follow one another; the last one takes at least one name."""
    steps = [name for place, name in enumerate(names) if name != CROSS or place == 0 or names[place - 1] != CROSS]
    return [*steps, _ANY_NAME] if steps[-1] == CROSS else steps


def _glob(steps: list[str]) -> Glob:
    texts: dict[str, int] = {}
    wildcards: dict[str, int] = {}
    crossings = 0
    for place, step in enumerate(steps):
        if step == CROSS:
            crossings |= 1 << place
        else:
            found = wildcards if step == _ANY_NAME or _SPECIAL.search(step) else texts
            found[step] = found.get(step, 0) | 1 << place
    return Glob(texts, tuple((_regex(step), before) for step, before in wildcards.items()), crossings, 1 << len(steps))


def _regex(step: str) -> re.Pattern[str]:
    return _ANYTHING if step == _ANY_NAME else re.compile(glob.translate(step, flags=_FLAGS)[0][0])

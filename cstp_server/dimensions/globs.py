"""Globs over paths: `*` stays in a folder, `**` crosses them (SPEC 9).

Single names are matched by wcmatch; `**` here, in time that grows with pattern and path and no faster. Folders that are left out
(`a//b`) do not matter, nor does a `/` at the path's end, unless the pattern has one.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from wcmatch import glob

MOST_CROSSINGS = 4
"""How many `**` a pattern may have."""
LONGEST_PATTERN = 1024
CROSS = "**"
_FLAGS = glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX
_SLASHES = re.compile(r"/{2,}")
_SPECIAL = re.compile(r"[*?\[]")
_ANYTHING = re.compile(r".*", re.DOTALL)
_NEVER_PLAIN = frozenset({".", ".."})
Step: TypeAlias = str | re.Pattern[str] | None
"""What one name must be: a text, something that matches, or for none any number of names."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern, ready to be used."""

    steps: tuple[Step, ...]

    def matches(self, names: list[str]) -> bool:
        """Whether a path matches, by its names (`names_of`)."""
        return self._fits(names) or (len(names) > 1 and not names[-1] and self._fits(names[:-1]))

    def _fits(self, names: list[str]) -> bool:
        """Each `**` takes as few names as will do, which is all that needs to be tried: what follows finds its first place."""
        steps = self.steps
        step = name = 0
        crossing = taken = -1
        while name < len(names):
            if step < len(steps) and (wanted := steps[step]) is None:
                crossing, taken = step, name
                step += 1
            elif step < len(steps) and _is(wanted, names[name]):
                step, name = step + 1, name + 1
            elif crossing >= 0:
                taken += 1
                step, name = crossing + 1, taken
            else:
                return False
        return all(wanted is None for wanted in steps[step:])


def names_of(path: str) -> list[str]:
    """The names between a path's slashes; one that begins or ends with a slash has an empty name there."""
    return (_SLASHES.sub("/", path) if "//" in path else path).split("/")


@lru_cache(maxsize=4096)
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
    return Glob(tuple(_steps(names)))


def _steps(names: list[str]) -> list[Step]:
    steps: list[Step] = []
    for name in names:
        if name != CROSS:
            steps.append(_step(name))
        elif not steps or steps[-1] is not None:
            steps.append(None)
    return [*steps, _ANYTHING] if steps[-1] is None else steps


def _step(name: str) -> Step:
    if not _SPECIAL.search(name):
        return name
    return re.compile(glob.translate(name, flags=_FLAGS)[0][0])


def _is(wanted: Step, name: str) -> bool:
    if wanted is None or isinstance(wanted, str):
        return wanted == name
    return wanted.fullmatch(name) is not None

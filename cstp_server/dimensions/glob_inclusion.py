"""Whether one glob matches nothing but what others match: decided on automata, character by character.

A pattern is a row of steps over the characters of a path, and a set of places in it says how far a path has come. Walking the narrow
pattern and all the wide ones at once over every path there could be, a path that ends the narrow one and none of the wide ones
is a counterexample; where there is none, the wide ones include it. A path is not empty, and has no two slashes in a row
(`globs.names_of`). Names with brackets are not looked into: taken as any name on the narrow side and as no name on the wide one, they
can only make the answer false that could be true. So does a walk that gets too long.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import TypeAlias

from cstp_server.dimensions.globs import CROSS, Glob, glob_of, names_of

_PATIENCE = 150_000
"""How often a place in a pattern is looked at; that takes some tenths of a second."""
_PLAIN_AT_ONCE = 4
"""How many plain paths are held against a pattern in the time of one such look."""
_SPECIAL = re.compile(r"[*?\[]")
_SLASH = "/"
_OTHER = "\0"
"""Stands for every character that no step is about."""


class _Op(Enum):
    """What may come at a place, where it is not one certain character."""

    ONE = auto()
    """One character of a name."""
    SOME = auto()
    """Any number of characters of a name."""
    ALL = auto()
    """Any number of characters."""
    FOLDERS = auto()
    """Nothing, or anything up to a slash; two steps, of which `INSIDE` is the second."""
    INSIDE = auto()
    END_SLASH = auto()
    """A slash at the end, which need not be there."""
    NEVER = auto()
    """Nothing passes."""


_Step: TypeAlias = str | _Op
_Row: TypeAlias = tuple[_Step, ...]
_Place: TypeAlias = tuple[int, int]
_Places: TypeAlias = frozenset[_Place]


@lru_cache(maxsize=128)
def includes(wide: frozenset[str], narrow: frozenset[str]) -> bool:
    """Whether every path that one of `narrow` matches is matched by one of `wide`; in doubt false."""
    patience = _PATIENCE
    patterns = sorted(narrow - wide)
    plain = [pattern for pattern in patterns if not _SPECIAL.search(pattern)]
    if plain:
        globs = [glob_of(pattern) for pattern in wide]
        patience -= len(plain) * len(globs) // _PLAIN_AT_ONCE
        if patience < 0 or not all(_matches(globs, path) for path in plain):
            return False
    outside = _Automaton([_row(pattern, wide=True) for pattern in wide])
    for pattern in patterns:
        if _SPECIAL.search(pattern):
            found, patience = _walk(outside, pattern, patience)
            if not found:
                return False
    return True


def _matches(wide: Sequence[Glob], path: str) -> bool:
    names = names_of(path)
    return any(glob.matches(names) for glob in wide)


def _walk(outside: "_Automaton", narrow: str, patience: int) -> tuple[bool, int]:
    """Whether there is no counterexample, and the patience that is left; without any, nobody has looked."""
    inside = _Automaton([_row(narrow, wide=False)])
    start = inside.start(), outside.start(), ""
    seen, waiting = {start}, [start]
    while waiting:
        inner, outer, last = waiting.pop()
        patience -= len(inner) + len(outer)
        if patience < 0 or (last and inside.has_ended(inner) and not outside.has_ended(outer)):
            return False, patience
        for character in inside.telling(inner) | outside.telling(outer):
            further = inside.after(inner, character) if last != _SLASH or character != _SLASH else None
            if not further:
                continue
            patience -= len(outer)
            ahead = further, outside.after(outer, character), _SLASH if character == _SLASH else _OTHER
            if ahead not in seen:
                seen.add(ahead)
                waiting.append(ahead)
    return True, patience


def _row(pattern: str, *, wide: bool) -> _Row:
    names = names_of(pattern)
    steps: list[_Step] = []
    for place, name in enumerate(names):
        is_last = place == len(names) - 1
        if name == CROSS:
            steps += [_Op.ALL] if is_last else [_Op.FOLDERS, _Op.INSIDE]
            continue
        steps += _name_steps(name, wide=wide)
        if not is_last:
            steps.append(_SLASH)
        elif name:
            steps.append(_Op.END_SLASH)
    return tuple(steps)


def _name_steps(name: str, *, wide: bool) -> Iterator[_Step]:
    if "[" in name:
        yield from [_Op.NEVER] if wide else [_Op.ONE, _Op.SOME]
        return
    if name and not name.strip("*"):
        yield _Op.ONE
    for character in name:
        yield _Op.SOME if character == "*" else _Op.ONE if character == "?" else character


class _Automaton:
    """Some rows, walked at once. A place is the number of a row, and how many of its steps are behind."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows

    def start(self) -> _Places:
        """Before every row."""
        return self._closed((row, 0) for row in range(len(self._rows)))

    def after(self, places: _Places, character: str) -> _Places:
        """The places one character further on."""
        return self._closed(ahead for place in places for ahead in self._ahead(place, character))

    def has_ended(self, places: _Places) -> bool:
        """Whether a path that has come here matches a row."""
        return any(self._step(place) is None for place in places)

    def telling(self, places: _Places) -> set[str]:
        """The characters between which any step tells a difference."""
        return {step for place in places if isinstance(step := self._step(place), str)} | {_SLASH, _OTHER}

    def _step(self, place: _Place) -> _Step | None:
        """What comes next; nothing at the end of a row."""
        row = self._rows[place[0]]
        return row[place[1]] if place[1] < len(row) else None

    def _closed(self, places: Iterable[_Place]) -> _Places:
        """With the places that are reached without any character."""
        found: set[_Place] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place in found:
                continue
            found.add(place)
            steps = _PASSED.get(self._step(place))
            if steps is not None:
                waiting.append((place[0], place[1] + steps))
        return frozenset(found)

    def _ahead(self, place: _Place, character: str) -> Iterator[_Place]:
        step, is_slash = self._step(place), character == _SLASH
        row, at = place
        if step is _Op.ALL or (step is _Op.SOME and not is_slash):
            yield place
        elif step in (_Op.FOLDERS, _Op.INSIDE):
            inside = at if step is _Op.INSIDE else at + 1
            yield row, inside
            if is_slash:
                yield row, inside + 1
        elif step == character or (step is _Op.ONE and not is_slash) or (step is _Op.END_SLASH and is_slash):
            yield row, at + 1


_PASSED: Mapping[_Step | None, int] = {_Op.SOME: 1, _Op.ALL: 1, _Op.END_SLASH: 1, _Op.FOLDERS: 2}
"""By how many steps one gets on without any character."""

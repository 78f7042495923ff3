"""`resources`: what an agent may work on (SPEC 9)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from cstp_server.dimensions.contexts import ABSENT, RESOURCE_REQUESTED, missing
from cstp_server.dimensions.glob_inclusion import includes
from cstp_server.dimensions.globs import Glob, glob_of, names_of
from cstp_server.dimensions.plain_paths import check_plain
from cstp_server.domain.constraints import CheckResult
from cstp_server.domain.values import dataclass

_MOST = 1000
_LONGEST = 65_536
"""How many characters the patterns of a list may have together."""
_SHOWN = 5
Lists = frozenset[frozenset[str]]


@dataclass(frozen=True, slots=True)
class Resources:
    """Lists of patterns. A path matches a pattern of each; no list is here that another one's patterns make needless."""

    lists: Lists
    ready: tuple[tuple[str, tuple[Glob, ...]], ...] = field(init=False, compare=False, repr=False)
    """What is said of each list where it does not match, and its globs, in an order that is always the same."""

    def __post_init__(self) -> None:
        every = sorted(map(sorted, self.lists))
        object.__setattr__(self, "ready", tuple([(_listed(patterns), tuple(map(glob_of, patterns))) for patterns in every]))


class ResourcesDimension:
    """The paths that may be worked on, by globs, in which upper and lower case differ."""

    name = "resources"
    version = "1"
    description = "the paths that may be worked on, as globs: `*` stays in a folder, `**` crosses them"

    def parse(self, value: Any) -> Resources:
        """A list of globs, or a single one. An empty list admits nothing."""
        patterns = [value] if isinstance(value, str) else value
        if not isinstance(patterns, list | tuple) or len(patterns) > _MOST or not all(isinstance(pattern, str) for pattern in patterns):
            raise ValueError(f"must be a list of globs, at most {_MOST}, such as `data/**` and `logs/*.log`")
        if sum(map(len, patterns)) > _LONGEST:
            raise ValueError(f"must have patterns of at most {_LONGEST} characters together")
        return Resources(frozenset((frozenset(patterns),)))

    def check(self, constraint: Resources, context: Mapping[str, Any]) -> CheckResult:
        """The path, as the context has it. Null says that there is none."""
        path = context.get(RESOURCE_REQUESTED, ABSENT)
        if path is ABSENT:
            return missing(RESOURCE_REQUESTED)
        if path is None:
            return CheckResult(satisfied=True, reason="no resource is asked for")
        if not isinstance(path, str):
            return CheckResult(satisfied=False, reason=f"`{RESOURCE_REQUESTED}` must be a text")
        try:
            check_plain(path)
        except ValueError as error:
            return CheckResult(satisfied=False, reason=f"`{RESOURCE_REQUESTED}` {error}")
        names = names_of(path)
        for listed, globs in constraint.ready:
            if not any(glob.matches(names) for glob in globs):
                return CheckResult(satisfied=False, reason=f"the resource matches {listed}")
        return CheckResult(satisfied=True, reason="the resource may be worked on")

    def tightens(self, parent: Resources, child: Resources) -> bool:
        """Whether, for each of the parent's lists, one of the child's admits no path that it refuses. In doubt it is not so."""
        return all(any(includes(wide, narrow) for narrow in child.lists) for wide in parent.lists)

    def compose(self, constraints: Sequence[Resources]) -> Resources:
        """All lists of all."""
        return Resources(_least(patterns for constraint in constraints for patterns in constraint.lists))


def _least(lists: Iterable[frozenset[str]]) -> Lists:
    """Without those that have all patterns of another one, and some more: what matches that one matches them."""
    every = frozenset(lists)
    return frozenset(patterns for patterns in every if not any(other < patterns for other in every))


def _listed(patterns: Sequence[str]) -> str:
    shown = ", ".join(f"`{pattern}`" for pattern in patterns[:_SHOWN])
    if not patterns:
        return "nothing: none is allowed"
    return f"none of {shown}" + (f" and {len(patterns) - _SHOWN} more" if len(patterns) > _SHOWN else "")

"""The dimensions of installed packages, found by their entry points (SPEC 9).

They are loaded once, and none is used before somebody has approved its name and version. Their methods run where the service decides,
and nothing limits their time: whoever approves one has looked at that as well.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

import structlog

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.domain.constraints import CheckResult, Dimension
from cstp_server.domain.values import dataclass

GROUP = "cstp.dimensions"
"""The entry point group that dimensions are found by."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LONGEST_VERSION = 128
_LONGEST_DESCRIPTION = 500
_NOT_LOADED = "the dimension is installed and could not be loaded"
_TWICE = "two installed packages have a dimension of this name"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BrokenDimension:
    """A dimension that could not be loaded, or that two packages claim to have: whatever it bounds fails (fail closed)."""

    name: str
    description: str = _NOT_LOADED
    version: str = "broken"

    def parse(self, value: Any) -> Any:
        """The value; nobody knows what it means."""
        return value

    def check(self, _constraint: Any, _context: Mapping[str, Any]) -> CheckResult:
        """Not within it."""
        return CheckResult(satisfied=False, reason=self.description)

    def tightens(self, _parent: Any, _child: Any) -> bool:
        """Nobody knows, so it does not."""
        return False

    def compose(self, constraints: Sequence[Any]) -> Any:
        """Any of them: all fail."""
        return constraints[0]


@cache
def installed_dimensions() -> Mapping[str, Dimension]:
    """The dimensions of installed packages by name, loaded once a process."""
    return load_dimensions()


def known_dimensions(internal: Mapping[str, Dimension] = BUILT_IN) -> Mapping[str, Dimension]:
    """All that there are, those that are built in first and those of installed packages by name."""
    return MappingProxyType({**internal, **installed_dimensions()})


def load_dimensions(found: Iterable[EntryPoint] | None = None) -> Mapping[str, Dimension]:
    """The installed dimensions by name. One that does not load, or shares its name, is a `BrokenDimension`, and in the log.

    One with the name of a built-in dimension is in the log and nowhere else.
    """
    every = entry_points(group=GROUP) if found is None else found
    loaded = [_loaded(entry) for entry in sorted(every, key=lambda entry: (entry.name, entry.value))]
    counts = Counter(dimension.name for dimension in loaded)
    dimensions: dict[str, Dimension] = {}
    for dimension in sorted(loaded, key=lambda each: each.name):
        if dimension.name in BUILT_IN:
            _log.error("dimension_refused", dimension=dimension.name, reason="it has the name of a built-in one")
        elif counts[dimension.name] > 1:
            _log.error("dimension_refused", dimension=dimension.name, reason=_TWICE)
            dimensions[dimension.name] = BrokenDimension(dimension.name, _TWICE)
        else:
            dimensions[dimension.name] = dimension
    return MappingProxyType(dimensions)


@dataclass(frozen=True, slots=True)
class _Installed:
    """A dimension as it was when it was loaded, so that it cannot become another one under the same name and version."""

    name: str
    version: str
    description: str
    parse: Callable[[Any], Any]
    check_itself: Callable[[Any, Mapping[str, Any]], CheckResult]
    tightens: Callable[[Any, Any], bool]
    compose: Callable[[Sequence[Any]], Any]

    def check(self, constraint: Any, context: Mapping[str, Any]) -> CheckResult:
        """What it says of a context, which it cannot change."""
        return self.check_itself(constraint, MappingProxyType(context) if isinstance(context, dict) else context)


def _loaded(entry: EntryPoint) -> Dimension:
    try:
        loaded = entry.load()
        dimension: Any = loaded() if inspect.isclass(loaded) else loaded
        methods = [_method(dimension, name) for name in ("parse", "check", "tightens", "compose")]
        return _Installed(_name(dimension), _text(dimension, "version", _LONGEST_VERSION), _description(dimension), *methods)
    except (Exception, SystemExit) as error:  # noqa: BLE001  importing code of others may raise anything; nothing is within such a dimension
        _log.error("dimension_not_loaded", dimension=entry.name, value=entry.value, error=type(error).__name__, exc_info=True)
        return BrokenDimension(entry.name)


def _name(dimension: Any) -> str:
    name = _text(dimension, "name", _LONGEST_VERSION)
    if not _NAME.fullmatch(name):
        raise ValueError("a dimension's `name` must be a small letter, followed by at most 63 small letters, digits and `_`")
    return name


def _description(dimension: Any) -> str:
    return _text(dimension, "description", _LONGEST_DESCRIPTION)


def _text(dimension: Any, attribute: str, longest: int) -> str:
    text = getattr(dimension, attribute)
    if not isinstance(text, str) or not text.strip() or len(text) > longest or not text.isprintable():
        raise TypeError(f"a dimension's `{attribute}` must be a printable text that is not empty, of at most {longest} characters")
    return text


def _method(dimension: Any, name: str) -> Callable[..., Any]:
    method = getattr(dimension, name)
    if not callable(method) or inspect.iscoroutinefunction(method):
        raise TypeError(f"a dimension's `{name}` must be a function, and no asynchronous one")
    return method  # type: ignore[no-any-return]  # whatever it answers is looked at

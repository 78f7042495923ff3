"""Constraints as they are written, read by their dimensions; whatever those do, it is told in words (SPEC 9)."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from cstp_server.domain.constraints import Bound, Dimension

_FAILED = "cannot be read: the dimension failed"
_LONGEST = 500


def read_bounds(
    constraints: Mapping[str, Any], dimensions: Mapping[str, Dimension], unusable: Mapping[str, str] | None = None
) -> tuple[Bound, ...]:
    """A bound for each constraint, in their order. One that cannot be read has a `problem`, and so have those of `unusable` dimensions,
    which are given with the reason why they are.
    """
    return tuple([read_bound(name, value, dimensions, unusable) for name, value in constraints.items()])


def read_bound(name: str, value: Any, dimensions: Mapping[str, Dimension], unusable: Mapping[str, str] | None = None) -> Bound:
    """One of them."""
    dimension = dimensions.get(name)
    if dimension is None:
        return Bound(name, None, problem=unknown(name, dimensions))
    if unusable is not None and name in unusable:
        return Bound(name, dimension, problem=unusable[name])
    try:
        return Bound(name, dimension, dimension.parse(value))
    except ValueError as error:
        return Bound(name, dimension, problem=_plain(str(error)) or _FAILED)
    except (Exception, SystemExit):  # noqa: BLE001  code of others may raise anything; it is no constraint then
        return Bound(name, dimension, problem=_FAILED)


def composed(bounds: Sequence[Bound]) -> Bound:
    """The most restrictive of several bounds of one dimension. A problem of one of them is a problem of all."""
    first = bounds[0]
    problem = next((bound.problem for bound in bounds if bound.problem is not None), None)
    if problem is not None or first.dimension is None or len(bounds) == 1:
        return first._replace(problem=problem)
    try:
        return first._replace(constraint=first.dimension.compose([bound.constraint for bound in bounds]))
    except (Exception, SystemExit):  # noqa: BLE001  code of others may raise anything; nothing is within it then
        return first._replace(problem="the dimension failed to compose its constraints")


def unknown(name: str, dimensions: Mapping[str, Dimension]) -> str:
    """What is said of a dimension that there is not."""
    close = difflib.get_close_matches(name, list(dimensions), n=1)
    return f"unknown dimension `{name}`" + (f", did you mean `{close[0]}`?" if close else "")


def _plain(text: str) -> str:
    """A text that every store and every wire can carry."""
    return text.replace("\0", "").strip()[:_LONGEST].encode("utf-8", "replace").decode()

"""Whoever hands on constraints may only tighten them (SPEC 9)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cstp_server.dimensions.reading import read_bound
from cstp_server.domain.constraints import Bound, Dimension

_SHOWN = 200


def violations(
    parent: Mapping[str, Any], child: Mapping[str, Any], dimensions: Mapping[str, Dimension], unusable: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """What is looser in the child than in its parent, or cannot be told: one text a dimension, in the order of the child.

    A dimension that the child leaves out is inherited; one that it alone has tightens. `unusable` are dimensions that must not be used,
    each with the reason.
    """
    names = [*child, *(name for name in parent if name not in child)]
    return tuple(text for name in names for text in _about(name, parent, child, dimensions, unusable))


def _about(
    name: str,
    parent: Mapping[str, Any],
    child: Mapping[str, Any],
    dimensions: Mapping[str, Dimension],
    unusable: Mapping[str, str] | None,
) -> Iterator[str]:
    sides = (("parent", parent), ("child", child))
    bounds = [(side, read_bound(name, given[name], dimensions, unusable)) for side, given in sides if name in given]
    problems = [(side, bound.problem) for side, bound in bounds if bound.problem is not None]
    if problems:
        side, problem = problems[0]
        yield f"Dimension '{name}': {side} constraint: {problem}"
    elif len(bounds) > 1 and not is_tighter(bounds[0][1], bounds[1][1]):
        yield f"Dimension '{name}': child constraint ({_text(child[name])}) is looser than parent ({_text(parent[name])})"


def is_tighter(parent: Bound, child: Bound) -> bool:
    """Whether a dimension says so, plainly; both bounds are its own."""
    if parent.dimension is None:
        return False
    try:
        return parent.dimension.tightens(parent.constraint, child.constraint) is True
    except (Exception, SystemExit):  # noqa: BLE001  code of others may raise anything; that is no consent
        return False


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

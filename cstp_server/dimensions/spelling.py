"""The names in a context, however they are spelled (SPEC 9).

Agents write `cost_used` or `costUsed`. Dimensions know the one spelling in snake_case; what is said twice, in two spellings and not the
same, is handed to them as a list of both, which is no value of any of their keys: nobody gets past a bound by giving two.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cstp_server.dimensions import contexts
from cstp_server.domain.paths import LONGEST_REMEMBERED, loose

_KNOWN = {
    loose(name): name
    for name in (
        contexts.COST_USED,
        contexts.CURRENT_TIME,
        contexts.RESOURCE_REQUESTED,
        contexts.REQUESTS_IN_PERIOD,
        contexts.CONTAINS_PII,
        contexts.DATA_CLASSIFICATION,
        contexts.COMMUNICATION_TARGET,
    )
}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def canonical(name: str) -> str:
    """The spelling that dimensions know."""
    return _canonical(name) if len(name) <= LONGEST_REMEMBERED else _canonical.__wrapped__(name)


@lru_cache(maxsize=4096)
def _canonical(name: str) -> str:
    known = _KNOWN.get(loose(name))
    return known if known is not None else _WORD.sub("_", name).replace("-", "_").lower()


def canonical_context(context: Mapping[str, Any]) -> Mapping[str, Any]:
    """The context with every name in that spelling; what a dimension is asked is the same whichever one the agent uses."""
    if all(map(_is_canonical, context)):
        return context
    found: dict[str, Any] = {}
    for name, value in context.items():
        key = canonical(name)
        found[key] = value if key not in found or _same(found[key], value) else [found[key], value]
    return found


def _is_canonical(name: str) -> bool:
    return canonical(name) == name


def _same(one: Any, other: Any) -> bool:
    """Whether it is the same that is said twice; `false` is not the same as 0."""
    return type(one) is type(other) and bool(one == other)


def spelled(context: Mapping[str, Any], key: str) -> str:
    """The name that the context has for a key of the dimensions; that key itself where it has none."""
    return next((name for name in context if canonical(name) == key), key)

"""Asking one dimension, as the tests do it."""

from typing import Any

import pytest

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.domain.constraints import CheckResult, Dimension


def check(name: str, value: Any, **context: Any) -> CheckResult:
    """What a built-in dimension says of a context."""
    return check_with(BUILT_IN[name], value, **context)


def check_with(dimension: Dimension, value: Any, **context: Any) -> CheckResult:
    """What a dimension says of a context."""
    return dimension.check(dimension.parse(value), context)


def check_all(name: str, *values: Any, **context: Any) -> CheckResult:
    """What it says where several constraints hold."""
    dimension = BUILT_IN[name]
    return dimension.check(dimension.compose([dimension.parse(value) for value in values]), context)


def tightens(name: str, parent: Any, child: Any) -> bool:
    """Whether one constraint only tightens another."""
    dimension = BUILT_IN[name]
    return dimension.tightens(dimension.parse(parent), dimension.parse(child))


def complaint(name: str, value: Any) -> str:
    """What it says of a value that is none of its constraints."""
    with pytest.raises(ValueError, match="must") as caught:
        BUILT_IN[name].parse(value)
    return str(caught.value)

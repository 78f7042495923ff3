"""Values in what an action says, however its names are spelled (SPEC 7)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.paths import loose, texts_in, values_at

FOUND: dict[str, tuple[dict[str, Any], str, list[object]]] = {
    "as it is": ({"parameters": {"amount": 1}}, "action.parameters.amount", [1]),
    "in another case": ({"parameters": {"Amount": 1}}, "action.parameters.amount", [1]),
    "in camel case": ({"parameters": {"discountPercent": 1}}, "action.parameters.discount_percent", [1]),
    "in another style": ({"context": {"discount-percent": 1}}, "action.context.discountPercent", [1]),
    "twice": ({"parameters": {"amount": 1, "AMOUNT": 2}}, "action.parameters.amount", [1, 2]),
    "null": ({"parameters": {"amount": None}}, "action.parameters.amount", [None]),
    "deep down": ({"parameters": {"Order": {"total_sum": 1}, "order": {"totalSum": 2}}}, "action.parameters.order.totalSum", [1, 2]),
    "a field of a number": ({"parameters": {"order": 5}}, "action.parameters.order.total", []),
    "absent": ({"parameters": {"amounts": 1}}, "action.parameters.amount", []),
    "no parameters": ({"parameters": {}}, "action.parameters.amount", []),
    "all of them": ({"parameters": {"a": 1}}, "action.parameters", [{"a": 1}]),
    "a field of the action": ({"confidence": 0.5, "Confidence": 1}, "action.confidence", [0.5]),
    "a field of the action that is null": ({"confidence": None}, "action.confidence", [None]),
    "a field that it has not": ({}, "action.confidence", []),
}


@pytest.mark.parametrize(("action", "path", "values"), FOUND.values(), ids=FOUND)
def test_values_are_found(action: dict[str, Any], path: str, values: list[object]) -> None:
    """Below parameters and context in any spelling; the action's own fields by their name alone."""
    assert list(values_at({"action": action}, path.split("."), {})) == values


def test_a_name_is_compared_without_case_and_separators() -> None:
    """`a_b`, `a-b`, `a.b`, `a b` and `aB` are one."""
    assert len({loose(name) for name in ("ab", "a_b", "a-b", "a.b", "a b", "aB", "AB")}) == 1
    assert loose("straße") == loose("STRASSE")


TEXTS: list[tuple[object, list[str]]] = [
    ("a", ["a"]),
    ({"a": {"b": ["c", ("d",)]}}, ["a", "b", "c", "d"]),
    ([1, 2.5, True, None], ["1", "2.5"]),
    (None, []),
    (False, []),
]


@pytest.mark.parametrize(("value", "texts"), TEXTS, ids=repr)
def test_texts_are_found_at_any_depth(value: object, texts: list[str]) -> None:
    """Names too, and numbers as they are written."""
    assert list(texts_in(value)) == texts


@given(st.dictionaries(st.text(), st.integers(), max_size=5), st.text(min_size=1))
def test_a_value_is_found_by_the_name_that_it_was_given(fields: dict[str, int], name: str) -> None:
    """Whatever else is there."""
    assert 42 in values_at({"action": {"parameters": {**fields, name: 42}}}, ("action", "parameters", name), {})

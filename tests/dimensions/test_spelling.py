"""Names in a context, however they are spelled (SPEC 9)."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.dimensions.spelling import canonical, canonical_context, spelled

KNOWN = (
    "cost_used",
    "current_time",
    "resource_requested",
    "requests_in_period",
    "contains_pii",
    "data_classification",
    "communication_target",
)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("style", ["snake", "camel", "pascal", "kebab", "upper"])
def test_every_key_is_found_in_every_style(name: str, style: str) -> None:
    """`cost_used`, `costUsed`, `CostUsed`, `cost-used`, `COST_USED`."""
    first, *rest = name.split("_")
    styles = {
        "snake": name,
        "camel": first + "".join(map(str.title, rest)),
        "pascal": "".join(map(str.title, (first, *rest))),
        "kebab": name.replace("_", "-"),
        "upper": name.upper(),
    }
    assert canonical(styles[style]) == name
    assert canonical_context({styles[style]: 1}) == {name: 1}
    assert spelled({styles[style]: 1}, name) == styles[style]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tokensUsed", "tokens_used"),
        ("containsPII", "contains_pii"),
        ("HTTPHost", "http_host"),
        ("model", "model"),
        ("model-name", "model_name"),
    ],
)
def test_names_of_other_dimensions_come_in_snake_case(name: str, expected: str) -> None:
    """As those dimensions are told to look for them."""
    assert canonical(name) == expected


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, True), (0, False), (1, 1.0), ("a", None)])
def test_what_is_said_twice_and_differs_is_no_value(one: object, other: object) -> None:
    """Whichever comes first, it is a list of both; what is the same stays what it is."""
    for first, second in ((one, other), (other, one)):
        assert isinstance(canonical_context({"cost_used": first, "costUsed": second})["cost_used"], list)
    assert canonical_context({"cost_used": one, "costUsed": one}) == {"cost_used": one}


@given(st.dictionaries(st.text(max_size=8), st.integers(), max_size=5))
def test_to_spell_it_again_changes_nothing(context: dict[str, int]) -> None:
    """A context in that spelling is the same one, whatever its names are."""
    once = canonical_context(context)
    assert canonical_context(once) == once


def test_long_names_fill_no_memory() -> None:
    """A caller chooses them: what is not a name that anybody would write is not remembered."""
    tracemalloc.start()
    try:
        for number in range(500):
            assert canonical(f"Key{number}" + "x" * 10_000) == f"key{number}" + "x" * 10_000
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()

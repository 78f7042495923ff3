"""The laws that all dimensions obey: they read anything, bound what they compose, and tighten only what is tighter (SPEC 9)."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.dimensions.built_in import BUILT_IN, built_in
from cstp_server.dimensions.contexts import Tallies
from cstp_server.dimensions.rate_limit import PERIODS_MS
from cstp_server.domain.constraints import CheckResult, Dimension

DIMENSIONS = {**BUILT_IN, "communication with domains": built_in(frozenset({"corp.example", "*.own.example"}))["communication"]}

MINUTES = st.sampled_from([0, 1, 59, 60, 539, 540, 541, 1019, 1020, 1021, 1319, 1320, 1438, 1439])
CLOCKS = MINUTES.map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
NUMBERS = st.sampled_from([0, 1, 2, 3, 0.5, 0.1, 2.5, 0.30000000000000004, 10**12])
COUNTS = st.integers(min_value=0, max_value=130)
CLASSES = st.sampled_from(["internal", "Internal", "external", "public", "restricted", "confidential", "secret"])
HOSTS = st.sampled_from(
    [
        "a.example", "b.a.example", "c.b.a.example", "example", "10.0.0.5", "8.8.8.8", "::1", "2001:db8::1", "localhost", "x.internal",
        "x.internal.com",
        "internal.com", "corp.example", "x.corp.example", "own.example", "x.own.example", "xn--bcher-kva.example",
    ]
)  # fmt: skip
PATTERNS = st.one_of(
    HOSTS,
    st.sampled_from(
        ["*.example", "*.a.example", "*.b.a.example", "*.internal", "*.internal.com", "*.corp.example", "*.com", "*.own.example"]
    ),
)
NAMES = st.sampled_from(["a", "b", "ab", "a.json", "b.json", ".a", "data"])
PIECES = st.one_of(NAMES, st.sampled_from(["*", "**", "a*", "*.json", "?", "[ab]", "[!a]*", "*a*"]))
GLOBS = st.builds(
    lambda start, pieces, end: start + "/".join(pieces) + end,
    st.sampled_from(["", "", "/"]),
    st.lists(PIECES, min_size=1, max_size=4),
    st.sampled_from(["", "", "/"]),
).filter(lambda pattern: pattern.split("/").count("**") <= 4)
PATHS = st.builds(
    lambda start, names, end: start + "/".join(names) + end,
    st.sampled_from(["", "/"]),
    st.lists(NAMES, min_size=1, max_size=5),
    st.sampled_from(["", "/"]),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "cost_limit": NUMBERS,
    "time_window": st.builds("{}-{}".format, CLOCKS, CLOCKS),
    "resources": st.lists(GLOBS, max_size=3),
    "rate_limit": st.one_of(COUNTS, st.builds("{}/{}".format, COUNTS, st.sampled_from(list(PERIODS_MS)))),
    "data_access": st.one_of(
        st.sampled_from(["no_pii", "internal_only", "allow_all"]),
        st.fixed_dictionaries(
            {"mode": st.sampled_from(["no_pii", "internal_only", "allow_all"]), "allowed_classifications": st.lists(CLASSES, max_size=3)}
        ),
    ),
    "communication": st.one_of(
        st.sampled_from(["none", "internal_only"]),
        st.fixed_dictionaries({"mode": st.just("allowed_domains"), "allowed_domains": st.lists(PATTERNS, max_size=4)}),
    ),
}
ODD_TEXTS = st.sampled_from(["%2f", "@", "::", "*", "**/", "//", "-", "/day", "..", "xn--a", "0x", "\0", "\ud800"])
KEYS = st.one_of(st.text(max_size=5), st.sampled_from(["mode", "allowed_domains", "allowed_classifications"]))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5), ODD_TEXTS)
GARBAGE = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=5
)


def now_and_then(known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values near the bounds, and now and then null or anything else."""
    return st.one_of(known, known, known, known, st.none(), GARBAGE)


MOMENTS = st.builds(lambda minute, second: datetime(2026, 1, 1) + timedelta(minutes=minute, seconds=second), MINUTES, st.integers(0, 59))  # noqa: DTZ001  only the time of day is looked at
COUNTED = st.lists(st.integers(0, 130), min_size=4, max_size=4).map(lambda counts: Tallies(zip(PERIODS_MS, sorted(counts), strict=True)))
CONTEXTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "cost_limit": st.fixed_dictionaries({}, optional={"cost_used": now_and_then(NUMBERS)}),
    "time_window": st.fixed_dictionaries({}, optional={"current_time": now_and_then(st.one_of(MOMENTS, MOMENTS.map(datetime.time)))}),
    "resources": st.fixed_dictionaries({}, optional={"resource_requested": now_and_then(PATHS)}),
    "rate_limit": st.fixed_dictionaries({}, optional={"requests_in_period": now_and_then(st.one_of(COUNTS, COUNTED))}),
    "data_access": st.fixed_dictionaries(
        {}, optional={"contains_pii": now_and_then(st.booleans()), "data_classification": now_and_then(CLASSES)}
    ),
    "communication": st.fixed_dictionaries({}, optional={"communication_target": now_and_then(HOSTS)}),
}
each_dimension = pytest.mark.parametrize("name", DIMENSIONS)


def kind_of(name: str) -> str:
    """The dimension that a case is about."""
    return name.partition(" ")[0]


def some(name: str, least: int, most: int = 4) -> st.SearchStrategy[list[Any]]:
    """Constraints of a dimension, read."""
    return st.lists(VALUES[kind_of(name)].map(DIMENSIONS[name].parse), min_size=least, max_size=most)


def asked(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Contexts for a dimension."""
    return CONTEXTS[kind_of(name)]


@each_dimension
@given(data=st.data())
def test_a_composed_constraint_admits_what_all_its_parts_admit(name: str, data: st.DataObject) -> None:
    """No more, and no less; and it lacks a key only where a part does."""
    dimension = DIMENSIONS[name]
    parts, context = data.draw(some(name, 1)), data.draw(asked(name))
    whole = dimension.check(dimension.compose(parts), context)
    each = [dimension.check(part, context) for part in parts]
    assert whole.satisfied is all(result.satisfied for result in each)
    refused = any(not result.satisfied and result.missing is None for result in each)
    assert (not whole.satisfied and whole.missing is None) is refused


@each_dimension
@given(data=st.data())
def test_composing_does_not_depend_on_order_or_grouping(name: str, data: st.DataObject) -> None:
    """It is commutative, associative and idempotent, and what one constraint is composed to is itself."""
    compose = DIMENSIONS[name].compose
    one, two, three = data.draw(some(name, 3, 3))
    assert compose([one, two]) == compose([two, one])
    assert compose([compose([one, two]), three]) == compose([one, compose([two, three])]) == compose([three, two, one])
    assert compose([compose([one, two]), two]) == compose([one, two])
    assert compose([compose([one]), compose([one])]) == compose([one])


@each_dimension
@given(data=st.data())
def test_a_tighter_constraint_admits_nothing_that_the_wider_refuses(name: str, data: st.DataObject) -> None:
    """Whatever the context, and whatever is composed."""
    dimension = DIMENSIONS[name]
    parent, child = (dimension.compose(data.draw(some(name, 1, 2))) for _ in range(2))
    if dimension.tightens(parent, child):
        for context in data.draw(st.lists(asked(name), min_size=1, max_size=5)):
            if dimension.check(child, context).satisfied:
                assert dimension.check(parent, context).satisfied, (parent, child, context)


@each_dimension
@given(data=st.data())
def test_a_composed_constraint_tightens_each_of_its_parts(name: str, data: st.DataObject) -> None:
    """And every constraint itself."""
    dimension = DIMENSIONS[name]
    parts = data.draw(some(name, 1, 3))
    whole = dimension.compose(parts)
    assert all(dimension.tightens(part, whole) for part in parts)
    assert dimension.tightens(whole, whole)


@each_dimension
@given(data=st.data())
def test_anything_can_be_read(name: str, data: st.DataObject) -> None:
    """It is a constraint, which is hashable and the same every time, or it is refused in words."""
    dimension = DIMENSIONS[name]
    value = data.draw(st.one_of(GARBAGE, VALUES[kind_of(name)]))
    try:
        constraint = dimension.parse(value)
    except ValueError as error:
        assert str(error).startswith("must ")  # noqa: PT017  what is asserted is what it says
    else:
        assert constraint == dimension.parse(value)
        assert hash(constraint) == hash(dimension.parse(value))


@each_dimension
@given(data=st.data())
def test_anything_can_be_checked(name: str, data: st.DataObject) -> None:
    """The answer is a result in words, whatever stands in the context."""
    constraint, context = data.draw(some(name, 1, 1))[0], data.draw(asked(name))
    result = DIMENSIONS[name].check(constraint, context)
    assert isinstance(result, CheckResult)
    assert result.reason
    assert result.missing is None or result.missing not in context


@pytest.mark.parametrize("dimension", BUILT_IN.values(), ids=BUILT_IN)
def test_the_built_in_dimensions_describe_themselves(dimension: Dimension) -> None:
    """By the names of SPEC 9, in its order."""
    assert list(BUILT_IN) == ["cost_limit", "time_window", "resources", "rate_limit", "data_access", "communication"]
    assert BUILT_IN[dimension.name] is dimension
    assert dimension.version == "1"
    assert dimension.description


def test_equal_windows_over_midnight_are_the_same_constraint() -> None:
    """However they came about, so that documents and memory know them for one."""
    window = BUILT_IN["time_window"]
    assert window.parse("00:00-23:59") == window.parse("12:00-11:59") == window.parse("00:01-00:00")
    assert window.check(window.parse("12:00-11:59"), {"current_time": time(3)}).reason == "within 00:00-23:59"

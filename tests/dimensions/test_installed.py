"""Dimensions of installed packages, found by their entry points (SPEC 9)."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.installed import GROUP, BrokenDimension, load_dimensions
from cstp_server.dimensions.reading import composed, read_bound, read_bounds
from cstp_server.dimensions.tightening import violations
from cstp_server.domain.constraints import Bound, CheckResult, Interaction, evaluate

MODULE = """
class TokenLimit:
    name = "token_limit"
    version = "1.2.0"
    description = "tokens of a request"

    def parse(self, value):
        if not isinstance(value, int):
            raise ValueError("must be a whole number")
        return value

    def check(self, constraint, context):
        from cstp_server.domain.constraints import CheckResult
        used = context["tokens"]
        return CheckResult(used <= constraint, "counted", used, constraint, constraint - used)

    def tightens(self, parent, child):
        return child <= parent

    def compose(self, constraints):
        return min(constraints)


instance = TokenLimit()


class Other(TokenLimit):
    name = "other"


class Greedy(TokenLimit):
    name = "cost_limit"


class Meddling(TokenLimit):
    name = "meddling"

    def check(self, constraint, context):
        context["tokens"] = 0


class BadName(TokenLimit):
    name = "Token Limit"


class NoVersion(TokenLimit):
    name = "no_version"
    version = None


class NoDescription(TokenLimit):
    name = "no_description"
    description = " "


class NoCompose:
    name, version, description = "no_compose", "1", "x"
    parse = check = tightens = lambda self, *given: None


class Slow(TokenLimit):
    name = "slow"

    async def check(self, constraint, context):
        return None


class Unmade(TokenLimit):
    def __init__(self):
        raise SystemExit(1)


class Furious(TokenLimit):
    name = "furious"

    def _fail(self, *given):
        raise RuntimeError("a secret")

    parse = check = tightens = compose = _fail


class Answering(TokenLimit):
    name = "answering"

    def check(self, constraint, context):
        return context["answer"]

    def tightens(self, parent, child):
        return "yes"
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module of all these dimensions, as if it were installed."""
    (tmp_path / "some_dimensions.py").write_text(MODULE)
    (tmp_path / "broken_dimensions.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("some_dimensions", "broken_dimensions"):
        sys.modules.pop(name, None)


def entry(value: str, name: str = "an-entry") -> EntryPoint:
    """An entry point."""
    return EntryPoint(name, value, GROUP)


def loaded(*values: str) -> Mapping[str, Any]:
    """The dimensions that these values of entry points give, whose names are of no importance."""
    return load_dimensions(entry(f"some_dimensions:{value}", f"entry-{number}") for number, value in enumerate(values))


@pytest.mark.parametrize("value", ["TokenLimit", "instance"])
def test_a_class_or_an_instance_is_a_dimension(value: str) -> None:
    """By the name that it gives itself, with its version and its methods."""
    dimension = loaded(value)["token_limit"]
    assert (dimension.name, dimension.version, dimension.description) == ("token_limit", "1.2.0", "tokens of a request")
    bounds = read_bounds({"token_limit": 10}, {"token_limit": dimension})
    assert evaluate(bounds, {"tokens": 4}, Interaction.CONJUNCTIVE).results == {
        "token_limit": CheckResult(satisfied=True, reason="counted", used=4, limit=10, remaining=6)
    }
    assert not evaluate(bounds, {"tokens": 11}, Interaction.CONJUNCTIVE).satisfied
    assert composed((*bounds, *read_bounds({"token_limit": 5}, {"token_limit": dimension}))).constraint == 5
    assert violations({"token_limit": 5}, {"token_limit": 10}, {"token_limit": dimension}) == (
        "Dimension 'token_limit': child constraint (10) is looser than parent (5)",
    )


def test_dimensions_come_in_the_order_of_their_names() -> None:
    """Whatever their entry points are called."""
    assert list(loaded("TokenLimit", "Other", "Answering")) == ["answering", "other", "token_limit"]
    assert load_dimensions([]) == {}


@pytest.mark.parametrize(
    "value",
    [
        "some_dimensions:BadName",
        "some_dimensions:NoVersion",
        "some_dimensions:NoDescription",
        "some_dimensions:NoCompose",
        "some_dimensions:Slow",
        "some_dimensions:Unmade",
        "some_dimensions:missing",
        "broken_dimensions",
        "no_such_module",
        "sys:maxsize",
    ],
)
def test_what_does_not_load_is_there_and_fails(value: str) -> None:
    """Under the name of its entry point: whatever it bounds fails, whatever it is asked tightens nothing."""
    dimensions = load_dimensions([entry(value, "broken_one")])
    assert dimensions == {"broken_one": BrokenDimension("broken_one")}
    assert dimensions["broken_one"].version == "broken"
    bounds = read_bounds({"broken_one": {"any": "value"}}, dimensions)
    assert [bound.problem for bound in bounds] == [None]
    reason = "the dimension is installed and could not be loaded"
    assert evaluate(bounds, {}, Interaction.CONJUNCTIVE).results == {"broken_one": CheckResult(satisfied=False, reason=reason)}
    assert not evaluate([composed((*bounds, *bounds))], {}, Interaction.CONJUNCTIVE, missing_passes=True).satisfied
    assert len(violations({"broken_one": 1}, {"broken_one": 1}, dimensions)) == 1


def test_a_built_in_dimension_is_never_replaced() -> None:
    """Not by one of its name, and not by an entry point of its name that does not load."""
    assert loaded("Greedy") == {}
    assert load_dimensions([entry("no_such_module", "cost_limit")]) == {}
    assert list(loaded("Greedy", "Other")) == ["other"]


def test_two_dimensions_of_one_name_are_both_refused() -> None:
    """Nobody knows which of them was meant, or approved; a broken one counts."""
    assert loaded("TokenLimit", "instance") == {
        "token_limit": BrokenDimension("token_limit", "two installed packages have a dimension of this name")
    }
    one_broken = load_dimensions([entry("some_dimensions:TokenLimit"), entry("no_such_module", "token_limit")])
    assert isinstance(one_broken["token_limit"], BrokenDimension)


def test_a_dimension_stays_what_it_was_when_it_was_loaded() -> None:
    """It cannot take another name, or version, after it was approved; nor can it change what it is asked about."""
    dimension = loaded("instance")["token_limit"]
    sys.modules["some_dimensions"].instance.name = "other"
    sys.modules["some_dimensions"].instance.version = "9"
    assert (dimension.name, dimension.version) == ("token_limit", "1.2.0")
    context = {"tokens": 5}
    meddling = loaded("Meddling")["meddling"]
    assert evaluate([Bound("meddling", meddling, 1)], context, Interaction.CONJUNCTIVE).results["meddling"].reason == "the dimension failed"
    assert context == {"tokens": 5}


def test_a_dimension_that_raises_has_not_passed() -> None:
    """Wherever it does, and nothing of its message gets out."""
    dimensions = loaded("Furious")
    assert read_bound("furious", 5, dimensions) == Bound("furious", dimensions["furious"], problem="cannot be read: the dimension failed")
    bound = Bound("furious", dimensions["furious"], 5)
    assert evaluate([bound], {}, Interaction.CONJUNCTIVE).results == {
        "furious": CheckResult(satisfied=False, reason="the dimension failed")
    }
    assert composed((bound, bound)).problem == "the dimension failed to compose its constraints"
    assert violations({}, {"furious": 5}, dimensions) == ("Dimension 'furious': child constraint: cannot be read: the dimension failed",)


ODD_ANSWERS: Sequence[Any] = (
    None, True, "yes", (True, "a tuple"), CheckResult(satisfied=1, reason="x"), CheckResult(satisfied=True, reason=5),  # type: ignore[arg-type]  # as a package might answer
    CheckResult(satisfied=True, reason="x", used=float("nan")), CheckResult(satisfied=True, reason="x", limit=float("inf")),
    CheckResult(satisfied=True, reason="x", remaining=10**400), CheckResult(satisfied=True, reason="x", used=True),
    CheckResult(satisfied=True, reason="x", used="5"),  # type: ignore[arg-type]  # as a package might answer
    CheckResult(satisfied=True, reason="x", missing="key"),
)  # fmt: skip


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_only_a_clear_answer_is_one(answer: Any) -> None:
    """Numbers are finite, and whoever lacks a key is not satisfied."""
    bounds = read_bounds({"answering": 1}, loaded("Answering"))
    result = evaluate(bounds, {"answer": answer}, Interaction.CONJUNCTIVE).results["answering"]
    assert result == CheckResult(satisfied=False, reason="the dimension gave no clear answer")


def test_a_reason_is_made_fit_to_be_stored() -> None:
    """It is cut where it is too long, and letters that no text can have are replaced."""
    bounds = read_bounds({"answering": 1}, loaded("Answering"))
    for reason, expected in {"x" * 5000: "x" * 2000, "a\ud800b": "a?b", "a\0b": "ab", "déjà": "déjà"}.items():
        answer = CheckResult(satisfied=True, reason=reason)
        assert evaluate(bounds, {"answer": answer}, Interaction.CONJUNCTIVE).results["answering"] == CheckResult(
            satisfied=True, reason=expected
        )


def test_only_true_says_that_something_is_tighter() -> None:
    """Another answer is no consent."""
    assert len(violations({"answering": 1}, {"answering": 1}, loaded("Answering"))) == 1


def test_known_names_are_those_of_the_built_in_ones_and_the_installed() -> None:
    """An unknown one is told with the nearest; one that must not be used with the reason."""
    assert read_bound("cost_limt", 5, BUILT_IN).problem == "unknown dimension `cost_limt`, did you mean `cost_limit`?"
    assert read_bound("zzz", 5, BUILT_IN).problem == "unknown dimension `zzz`"
    assert read_bound("cost_limit", 5, BUILT_IN, {"cost_limit": "nobody has approved it"}).problem == "nobody has approved it"
    assert read_bound("cost_limit", -5, BUILT_IN).problem == "must be a number of cents, 0 or more, such as `1000`"

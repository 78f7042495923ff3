"""`data_access` (SPEC 9)."""

from typing import Any

import pytest

from cstp_server.domain.constraints import CheckResult
from tests.dimensions.asking import check, check_all, complaint, tightens

LISTED = {"mode": "allow_all", "allowed_classifications": ["internal", "External"]}


@pytest.mark.parametrize(
    ("value", "context", "satisfied"),
    [
        ("no_pii", {"contains_pii": True}, False),
        ("no_pii", {"contains_pii": False}, True),
        ("no_pii", {"contains_pii": None}, True),
        ("no_pii", {"contains_pii": False, "data_classification": "restricted"}, True),
        ("allow_all", {}, True),
        ("allow_all", {"contains_pii": True, "data_classification": "restricted"}, True),
        ("allow_all", {"contains_pii": "garbage", "data_classification": 5}, True),
        ("internal_only", {"data_classification": "internal"}, True),
        ("internal_only", {"data_classification": " Internal "}, True),
        ("internal_only", {"data_classification": "confidential"}, True),
        ("internal_only", {"data_classification": "restricted"}, True),
        ("internal_only", {"data_classification": "external"}, False),
        ("internal_only", {"data_classification": "public"}, False),
        ("internal_only", {"data_classification": "not-internal"}, False),
        ("internal_only", {"data_classification": ""}, False),
        ("internal_only", {"data_classification": None}, True),
        ("internal_only", {"data_classification": "internal", "contains_pii": True}, True),
        (LISTED, {"data_classification": "restricted"}, False),
        (LISTED, {"data_classification": "external"}, True),
        (LISTED, {"data_classification": "INTERNAL"}, True),
        (LISTED, {"data_classification": None}, True),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"contains_pii": False, "data_classification": "internal"}, True),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"contains_pii": True, "data_classification": "internal"}, False),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"contains_pii": False, "data_classification": "external"}, False),
        ({"mode": "internal_only", "allowed_classifications": ["internal", "public"]}, {"data_classification": "public"}, False),
        ({"mode": "internal_only", "allowed_classifications": ["internal", "public"]}, {"data_classification": "confidential"}, False),
        ({"mode": "allow_all", "allowed_classifications": []}, {"data_classification": "internal"}, False),
        ({"mode": "no_pii"}, {"contains_pii": False}, True),
    ],
)
def test_data_is_held_against_the_mode(value: Any, context: dict[str, Any], satisfied: bool) -> None:
    """Personal data, classifications without case, and null, which says that there is none."""
    result = check("data_access", value, **context)
    assert (result.satisfied, result.missing) == (satisfied, None)


@pytest.mark.parametrize("pii", [0, 1, "false", "no", [], {}, 0.0])
def test_only_true_and_false_say_whether_data_is_personal(pii: Any) -> None:
    """Anything else fails."""
    assert check("data_access", "no_pii", contains_pii=pii) == CheckResult(satisfied=False, reason="`contains_pii` must be true or false")


@pytest.mark.parametrize("classification", [5, True, ["internal"], {"name": "internal"}])
def test_a_classification_is_a_text(classification: Any) -> None:
    """Anything else fails."""
    assert check("data_access", "internal_only", data_classification=classification).reason == "`data_classification` must be a text"


@pytest.mark.parametrize(
    ("value", "context", "missing"),
    [
        ("no_pii", {}, "contains_pii"),
        ("internal_only", {}, "data_classification"),
        (LISTED, {"contains_pii": True}, "data_classification"),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"data_classification": "internal"}, "contains_pii"),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"contains_pii": False}, "data_classification"),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"data_classification": "external"}, None),
        ({"mode": "no_pii", "allowed_classifications": ["internal"]}, {"contains_pii": True}, None),
    ],
)
def test_what_is_missing_is_named(value: Any, context: dict[str, Any], missing: str | None) -> None:
    """Unless something else fails anyway: what is known to be wrong is wrong whatever is missing."""
    result = check("data_access", value, **context)
    assert (result.satisfied, result.missing) == (False, missing)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nopii", "must be one of `no_pii`, `internal_only`, `allow_all`, or a mapping with `mode`, did you mean `no_pii`?"),
        (None, "must be one of `no_pii`, `internal_only`, `allow_all`, or a mapping with `mode`"),
        (["no_pii"], "must be one of `no_pii`, `internal_only`, `allow_all`, or a mapping with `mode`"),
        ({}, "must have as `mode` one of `no_pii`, `internal_only`, `allow_all`"),
        ({"mode": "allowall"}, "must have as `mode` one of `no_pii`, `internal_only`, `allow_all`, did you mean `allow_all`?"),
        ({"mode": "no_pii", "allowed": []}, "must have no key but `mode`, `allowed_classifications`"),
        (
            {"mode": "no_pii", "allowed_classification": []},
            "must have no key but `mode`, `allowed_classifications`, did you mean `allowed_classifications`?",
        ),
        ({"mode": "no_pii", "allowed_classifications": "internal"}, "must have as `allowed_classifications` a list of texts, at most 1000"),
        ({"mode": "no_pii", "allowed_classifications": [5]}, "must have as `allowed_classifications` a list of texts, at most 1000"),
        ({"mode": "no_pii", "allowed_classifications": [" "]}, "must have as `allowed_classifications` a list of texts, at most 1000"),
        ({"mode": "no_pii", "allowed_classifications": None}, "must have as `allowed_classifications` a list of texts, at most 1000"),
        ({"mode": "no_pii", 5: 5}, "must have no key but `mode`, `allowed_classifications`"),
    ],
)
def test_what_is_no_mode_is_refused(value: Any, message: str) -> None:
    """With what would be right."""
    assert complaint("data_access", value) == message


def test_composed_modes_all_hold() -> None:
    """No personal data, and the classifications that all allow."""
    context = {"contains_pii": False, "data_classification": "internal"}
    assert check_all("data_access", "no_pii", "internal_only", LISTED, **context).satisfied
    assert not check_all("data_access", "no_pii", "internal_only", **{**context, "contains_pii": True}).satisfied
    assert check_all("data_access", "internal_only", LISTED, **{**context, "data_classification": "confidential"}).reason == (
        "data of this classification must not be touched: allowed is `internal`"
    )
    assert check_all("data_access", "allow_all", "allow_all").satisfied


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ("allow_all", "no_pii", True),
        ("allow_all", "internal_only", True),
        ("no_pii", "allow_all", False),
        ("no_pii", "internal_only", False),
        ("internal_only", "allow_all", False),
        ("internal_only", {"mode": "no_pii", "allowed_classifications": ["internal"]}, True),
        ("no_pii", {"mode": "no_pii", "allowed_classifications": ["internal"]}, True),
        (LISTED, "allow_all", False),
        (LISTED, {"mode": "allow_all", "allowed_classifications": ["EXTERNAL"]}, True),
        (LISTED, {"mode": "allow_all", "allowed_classifications": ["external", "restricted"]}, False),
    ],
)
def test_less_data_tightens(parent: Any, child: Any, expected: bool) -> None:
    """Nothing personal is added, and no classification."""
    assert tightens("data_access", parent, child) is expected

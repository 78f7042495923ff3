"""Whoever hands on constraints may only tighten them (SPEC 9)."""

from typing import Any

import pytest

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.tightening import violations


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ({"cost_limit": 100}, {"cost_limit": 50}, ()),
        ({"cost_limit": 100}, {"cost_limit": 200}, ("Dimension 'cost_limit': child constraint (200) is looser than parent (100)",)),
        ({"cost_limit": 100}, {}, ()),
        ({}, {"cost_limit": 100}, ()),
        ({}, {}, ()),
        (
            {"rate_limit": "10/minute", "resources": ["data/**"]},
            {"resources": ["**"], "rate_limit": "10/second"},
            (
                'Dimension \'resources\': child constraint (["**"]) is looser than parent (["data/**"])',
                "Dimension 'rate_limit': child constraint (10/second) is looser than parent (10/minute)",
            ),
        ),
        ({}, {"cost_limt": 5}, ("Dimension 'cost_limt': child constraint: unknown dimension `cost_limt`, did you mean `cost_limit`?",)),
        ({"zzz": 5}, {}, ("Dimension 'zzz': parent constraint: unknown dimension `zzz`",)),
        (
            {"cost_limit": "cheap"},
            {"cost_limit": -1},
            ("Dimension 'cost_limit': parent constraint: must be a number of cents, 0 or more, such as `1000`",),
        ),
        (
            {"cost_limit": 5},
            {"cost_limit": True},
            ("Dimension 'cost_limit': child constraint: must be a number of cents, 0 or more, such as `1000`",),
        ),
    ],
)
def test_a_child_may_only_tighten(parent: dict[str, Any], child: dict[str, Any], expected: tuple[str, ...]) -> None:
    """What it leaves out it inherits; what it adds tightens; what cannot be read, on either side, is told."""
    assert violations(parent, child, BUILT_IN) == expected


def test_a_dimension_that_must_not_be_used_is_a_violation() -> None:
    """Whatever its constraints are."""
    assert violations({"cost_limit": 5}, {"cost_limit": 5}, BUILT_IN, {"cost_limit": "wants an approval"}) == (
        "Dimension 'cost_limit': parent constraint: wants an approval",
    )


def test_long_constraints_are_cut_in_messages() -> None:
    """They may hold a thousand globs."""
    (message,) = violations({"resources": []}, {"resources": ["a" * 1000]}, BUILT_IN)
    assert len(message) < 400

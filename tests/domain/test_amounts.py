"""Amounts: exact decimals in whole billionths (SPEC 7)."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.amounts import UNIT, amount_number, amount_of, amount_text

AMOUNTS: list[tuple[object, int | None]] = [
    (0, 0),
    (-0.0, 0),
    (1, UNIT),
    (0.1, UNIT // 10),
    (19.99, 19_990_000_000),
    (500.0, 500 * UNIT),
    (1e-9, 1),
    (1e-10, 1),
    (0.1234567891, 123_456_790),
    (2**63 - 1, (2**63 - 1) * UNIT),
    (10**30, 10**30 * UNIT),
    (1e300, int(1e300) * UNIT),
    (-1, None),
    (-0.5, None),
    (True, None),
    (False, None),
    (None, None),
    ("5", None),
    ([5], None),
    ({}, None),
    (math.nan, None),
    (math.inf, None),
    (-math.inf, None),
]


@pytest.mark.parametrize(("value", "amount"), AMOUNTS, ids=repr)
def test_an_amount_is_what_its_decimals_say(value: object, amount: int | None) -> None:
    """Rounded up to a billionth; what is missing, no number, not finite or negative is none."""
    assert amount_of(value) == amount


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_sums_of_cents_are_exact(cents: list[int]) -> None:
    """As floats they would not be."""
    assert sum(amount_of(cent / 100) or 0 for cent in cents) == sum(cents) * UNIT // 100


def test_ten_tenths_are_one() -> None:
    """And three of them are 0.3."""
    tenth = amount_of(0.1)
    assert tenth is not None
    assert tenth * 10 == amount_of(1)
    assert tenth * 3 == amount_of(0.3)


@given(st.floats(0, 1e15))
def test_an_amount_is_never_less_than_its_value(value: float) -> None:
    """Nor more than a billionth above it: rounding gives nobody anything."""
    amount = amount_of(value)
    assert amount is not None
    assert 0 <= Fraction(amount, UNIT) - Fraction(Decimal(repr(value))) < Fraction(1, UNIT)


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_amounts_keep_the_order_of_values(one: float, other: float) -> None:
    """Of two values the greater never has the smaller amount."""
    amounts = amount_of(one), amount_of(other)
    assert amounts[0] is not None
    assert amounts[1] is not None
    assert (amounts[0] <= amounts[1]) or one > other


@given(st.integers(0, 10**15))
def test_an_amount_on_the_wire_is_the_amount(amount: int) -> None:
    """There and back; whole numbers are whole."""
    assert amount_of(amount_number(amount)) == amount
    assert isinstance(amount_number(amount), int) is (amount % UNIT == 0)


TEXTS = {0: "0", UNIT: "1", 500 * UNIT: "500", UNIT // 10: "0.1", 1: "0.000000001", -UNIT // 2: "-0.5", 10**30 * UNIT: "1" + "0" * 30}


@pytest.mark.parametrize(("amount", "text"), TEXTS.items())
def test_an_amount_reads_as_a_person_writes_it(amount: int, text: str) -> None:
    """Without a point where it is whole, never with an exponent."""
    assert amount_text(amount) == text


@given(st.integers(-(10**20), 10**20))
def test_the_text_of_an_amount_is_its_value(amount: int) -> None:
    """Exactly."""
    assert Fraction(Decimal(amount_text(amount))) == Fraction(amount, UNIT)

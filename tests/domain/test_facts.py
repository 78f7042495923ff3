"""What a guard looks at (SPEC 3)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.expressions import subject_of
from cstp_server.domain.facts import Facts, Stakes, fold_name


@pytest.mark.parametrize(
    ("name", "folded"),
    [(" Tooling ", "tooling"), ("STRASSE", "strasse"), ("Straße", "strasse"), ("É", "é"), ("ẞ", "ss"), ("ﬁ", "fi"), ("\tA B\n", "a b")],
)
def test_names_are_compared_without_case(name: str, folded: str) -> None:
    """NFC, casefold, trimmed."""
    assert fold_name(name) == folded


@given(st.text())
def test_folding_twice_changes_nothing_more(name: str) -> None:
    """A folded name is its own folded name, and composed."""
    once = fold_name(name)
    assert fold_name(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text())
def test_the_way_a_name_was_composed_does_not_matter(name: str) -> None:
    """Letters with their accents apart are the same name."""
    assert fold_name(unicodedata.normalize("NFD", name)) == fold_name(unicodedata.normalize("NFC", name))


@given(st.sampled_from(Stakes), st.none() | st.sampled_from(Stakes))
def test_stakes_are_only_raised(declared: Stakes, raised: Stakes | None) -> None:
    """Classification lowers nothing."""
    after = Facts("x", "a", stakes=declared).raised(raised, ()).stakes
    assert after.rank == max(declared.rank, raised.rank if raised is not None else 0)


def test_classification_adds_tags_once_and_a_category_where_there_is_none() -> None:
    """What the agent declared stays."""
    facts = Facts("x", "a", tags=("refund",)).raised(None, ("refund", "large"), "billing")
    assert (facts.tags, facts.category) == (("refund", "large"), "billing")
    assert facts.raised(None, (), "other").category == "billing"


def test_classification_that_adds_nothing_changes_nothing() -> None:
    """The very same facts come back."""
    facts = Facts("x", "a", tags=("refund",), stakes=Stakes.HIGH, category="billing")
    assert facts.raised(Stakes.LOW, ("refund",), "billing") is facts


def test_context_fields_do_not_override_stakes_category_or_identity() -> None:
    """What the agent writes into its free fields stands under `action.context` alone."""
    lies = {"stakes": "low", "category": "harmless", "action": {"stakes": "low"}, "agent": {"id": "somebody-else"}, "posture": "autonomous"}
    data = subject_of(Facts("x", "bot", category="billing", stakes=Stakes.CRITICAL, context=lies, parameters=lies), posture="assisted").data
    assert (data["action"]["stakes"], data["action"]["category"]) == ("critical", "billing")
    assert (data["agent"], data["posture"]) == ({"id": "bot", "acl_tier": 2}, "assisted")
    assert data["action"]["context"] == lies

"""The words of an action's type, and when it contains others (SPEC 7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.words import contains, words_of

SPLIT = {
    "issue_refund": ("issue", "refund"),
    "issue-refund": ("issue", "refund"),
    "issue.refund": ("issue", "refund"),
    "issue refund": ("issue", "refund"),
    "issueRefund": ("issue", "refund"),
    "IssueRefund": ("issue", "refund"),
    "ISSUE_REFUND": ("issue", "refund"),
    " issue__refund-": ("issue", "refund"),
    "APICall": ("api", "call"),
    "callHTTPApi2Go": ("call", "http", "api2", "go"),
    "refund": ("refund",),
    "": (),
    "_.- ": (),
}


@pytest.mark.parametrize(("name", "words"), SPLIT.items(), ids=map(repr, SPLIT))
def test_a_type_is_split_into_words(name: str, words: tuple[str, ...]) -> None:
    """At `_`, `-`, `.`, space and where capitals begin a word."""
    assert words_of(name) == words


SAME = [
    ("refund", "refunds"),
    ("query", "queries"),
    ("box", "boxes"),
    ("batch", "batches"),
    ("push", "pushes"),
    ("address", "addresses"),
    ("bus", "buses"),
    ("invoice", "invoices"),
    ("api_call", "api_calls"),
    ("movie", "movies"),
    ("size", "sizes"),
    ("cache", "caches"),
    ("analysis", "Analysis"),
]


@pytest.mark.parametrize(("one", "many"), SAME)
def test_a_plural_is_its_singular(one: str, many: str) -> None:
    """Nobody gets past a limit by an `s`."""
    assert words_of(one) == words_of(many)


@pytest.mark.parametrize(
    ("one", "other"), [("refund", "refundable"), ("call", "callback"), ("pay", "payment"), ("as", "a"), ("user", "use")]
)
def test_another_word_is_another_word(one: str, other: str) -> None:
    """A word that only begins like another is none."""
    assert words_of(one) != words_of(other)


CONTAINS = {
    "at the start": ("refund_order", "refund", True),
    "at the end": ("issue_refund", "refund", True),
    "in the middle": ("do_refund_now", "refund", True),
    "two in a row": ("make_api_call", "api_call", True),
    "two apart": ("api_make_call", "api_call", False),
    "two turned around": ("call_api", "api_call", False),
    "part of a word": ("refundable", "refund", False),
    "more than there is": ("api", "api_call", False),
}


@pytest.mark.parametrize(("name", "wanted", "expected"), CONTAINS.values(), ids=CONTAINS)
def test_words_are_looked_for_one_after_another(name: str, wanted: str, expected: bool) -> None:
    """Anywhere in the type."""
    assert contains(words_of(name), words_of(wanted)) is expected


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=5), st.sampled_from("_-. "))
def test_the_separator_makes_no_difference(words: list[str], separator: str) -> None:
    """Nor do capitals instead of separators, nor the case of the whole."""
    found = words_of(separator.join(words))
    assert found == words_of("_".join(words).upper())
    assert all(contains(found, words_of(word)) for word in words)


@given(st.text())
def test_any_name_has_words(name: str) -> None:
    """None of them empty, in lower case where there is one."""
    assert all(word and word == word.lower() for word in words_of(name))

"""What a circuit watches over (SPEC 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.facts import Facts, Stakes, fold_name
from cstp_server.domain.scopes import BadScope, Scope, ScopeKind, keys_of, parse_scope


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("global", "global"),
        (" GLOBAL ", "global"),
        ("category: Tooling ", "category:tooling"),
        ("Category:STRASSE", "category:strasse"),
        ("category:Straße", "category:strasse"),
        ("tag:A:B", "tag:a:b"),
        ("stakes:HIGH", "stakes:high"),
        ("agent:Refund Bot", "agent:Refund Bot"),
        ("user:ada/billing", "user:ada/billing"),
        ("user:a/b/billing", "user:a/b/billing"),
        ("agent:*", "agent:*"),
        ("user:*", "user:*"),
        ("stakes:*", "stakes:*"),
    ],
)
def test_a_scope_has_one_canonical_form(text: str, canonical: str) -> None:
    """Categories, tags and stakes without case, ids as they are."""
    assert str(parse_scope(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tooling",
        "category",
        "category:",
        "category:  ",
        "global:x",
        "global:",
        "stakes:huge",
        "user:ada",
        "user:/x",
        "user:ada/",
        "team:x",
        ":x",
    ],
)
def test_what_is_no_scope_is_refused_with_what_would_be_one(text: str) -> None:
    """The message names the text."""
    with pytest.raises(BadScope, match="is no scope: "):
        parse_scope(text)


@given(st.sampled_from([ScopeKind.CATEGORY, ScopeKind.TAG, ScopeKind.AGENT]), st.text(min_size=1))
def test_the_text_of_a_scope_names_the_same_scope(kind: ScopeKind, value: str) -> None:
    """Whatever the value, colons and stars among its letters included."""
    try:
        scope = parse_scope(f"{kind.value}:{value}")
    except BadScope:
        assert not value.strip()
        return
    assert parse_scope(str(scope)) == scope


def test_a_template_stands_for_one_circuit_per_value() -> None:
    """`*` alone, and every scope but `global` has a template."""
    assert parse_scope("agent:*").is_template
    assert not parse_scope("agent:a*").is_template
    assert parse_scope("agent:a").template == Scope(ScopeKind.AGENT, "*")
    assert parse_scope("global").template is None


@pytest.mark.parametrize(
    ("text", "label", "slug"),
    [
        ("global", "", "global"),
        ("category:tooling", "tooling", "category-tooling"),
        ("stakes:high", "high-stakes", "stakes-high"),
        ("agent:x", "x", "agent-x"),
    ],
)
def test_a_scope_has_a_name_for_messages_and_one_for_ids(text: str, label: str, slug: str) -> None:
    """As the findings and the default ids use them."""
    assert (parse_scope(text).label, parse_scope(text).slug) == (label, slug)


def test_facts_belong_to_every_scope_that_they_match() -> None:
    """Widest first, one for each tag, and the user's with the domain."""
    facts = Facts("x", "bot", category="billing", stakes=Stakes.HIGH, tags=("refund", "large"), user_id="ada", user_domain="billing")
    assert [scope for scope, _ in keys_of(facts)] == [
        "global",
        "category:billing",
        "stakes:high",
        "agent:bot",
        "tag:refund",
        "tag:large",
        "user:ada/billing",
    ]


@given(
    st.builds(
        Facts,
        description=st.just("x"),
        agent_id=st.text(min_size=1),
        category=st.none() | st.text(min_size=1).map(fold_name),
        stakes=st.sampled_from(Stakes),
        tags=st.lists(st.text(min_size=1).map(fold_name)).map(tuple),
        user_id=st.none() | st.text(min_size=1),
        user_domain=st.text(min_size=1).filter(lambda domain: "/" not in domain),  # the wire refuses it
    )
)
def test_every_scope_of_any_facts_reads_back_with_its_template(facts: Facts) -> None:
    """Whoever stores a scope as text can parse it again: one that cannot be read would stop whatever goes through all circuits."""
    for text, template in keys_of(facts):
        scope = parse_scope(text)
        assert str(scope) == text
        assert (str(scope.template) if scope.template is not None else None) == template


def test_facts_that_say_little_belong_to_few_scopes() -> None:
    """Every action has stakes and an agent."""
    assert keys_of(Facts("x", "anonymous")) == [("global", None), ("stakes:medium", "stakes:*"), ("agent:anonymous", "agent:*")]

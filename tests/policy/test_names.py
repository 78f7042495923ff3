"""Names are compared without case, whoever wrote them: agents, scopes, and the conditions of the policy."""

from pathlib import Path

import pytest

from cstp_server.policy.cel import compile_predicate
from tests.policy.writing import complaints_about, policy_of, subject

BILLING = subject(category="billing", type="issue_refund", tags=("pii", "strasse"))


@pytest.mark.parametrize(
    "source",
    [
        'action.category == "Billing"',
        "action.category == ' BILLING '",
        '"Billing" == action.category',
        '!(action.category != "Billing")',
        'action.type in ["Payout", "Issue_Refund"]',
        '"PII" in action.tags',
        '"STRAẞE" in action.tags',
        'action.stakes == "Medium"',
        '(action.type) == "issue_refund" && action.category == "Billing"',
    ],
)
def test_a_condition_compares_names_without_case(source: str) -> None:
    """However the policy's author writes a category, a type, a tag or a level of stakes, it matches what agents send."""
    assert compile_predicate(source)(BILLING) is True


@pytest.mark.parametrize(
    "source",
    [
        'action.description == "AN ACTION"',
        'action.context.category == "BILLING"',
        'agent.id == "AGENT"',
        'action.category == "Bill"',
        'action.category.size() == 7 && "A" == "a"',
    ],
)
def test_all_other_texts_are_compared_as_they_are(source: str) -> None:
    """Ids, descriptions and the agent's own fields are not names."""
    spoken = subject(category="billing", context={"category": "billing"})
    assert compile_predicate(source)(spoken) is False


def test_a_condition_is_shown_as_it_was_written() -> None:
    """Folding is nobody's business but the comparison's."""
    assert compile_predicate('action.category == "Billing"').source == 'action.category == "Billing"'


@pytest.mark.parametrize(
    ("scope", "template"),
    [("user:*/billing", "user:*"), ("user:alice/*", "user:*"), ("agent:bot-*", "agent:*"), ("category:a*", "category:*")],
)
def test_a_star_within_a_scope_is_refused(tmp_path: Path, scope: str, template: str) -> None:
    """It would silently watch over the one value that is spelled so, and not over what its author means."""
    (complaint,) = complaints_about(tmp_path, f"circuit_breakers:\n  - scope: '{scope}'\n")
    assert complaint == (
        f"policy.yaml:2: `circuit_breakers[0].scope`: `{scope}`: `*` stands for every value, never for a part of one: write `{template}`"
    )


def test_a_star_within_a_rules_scope_is_refused(tmp_path: Path) -> None:
    """A rule's scope names a value."""
    (complaint,) = complaints_about(tmp_path, "guardrails:\n  - id: rule\n    scope: 'agent:bot-*'\n")
    assert "`agent:bot-*` is a template" in complaint


def test_a_users_scope_may_have_slashes_in_its_id(tmp_path: Path) -> None:
    """The domain is what follows the last one."""
    assert set(policy_of(tmp_path, "circuit_breakers:\n  - scope: 'user:org/alice/billing'\n").circuits.exact) == {"user:org/alice/billing"}

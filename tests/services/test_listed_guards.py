"""`listGuardrails`: every guard of every type (SPEC 6)."""

from cstp_server.policy.compiled import Policy
from cstp_server.policy.compiling import compile_policy
from cstp_server.policy.models import PolicyModel
from cstp_server.services.guardrails import list_guardrails
from cstp_server.services.requests import GuardrailInfo

BUILT_IN = ["data_exfiltration", "collusion_detected", "secrets", "production_write"]


def policy(**sections: object) -> Policy:
    """A policy of these sections."""
    return compile_policy(PolicyModel.model_validate(sections))


def listed(compiled: Policy) -> dict[str, GuardrailInfo]:
    """The guards that are not there by themselves, as built-in tripwires and trust are, by name, and by agent where they are one's own."""
    written = (info for info in list_guardrails(compiled) if info.id not in BUILT_IN and info.type != "trust")
    return {info.id if info.scope is None else f"{info.id} {info.scope}": info for info in written}


def test_what_is_built_in_is_listed() -> None:
    """With the empty policy too: users' trust, and each tripwire with its severity and what follows for an agent of the default tier."""
    found = [(info.id, info.type, info.action, info.mode, info.description.split(":")[0]) for info in list_guardrails(policy())]
    assert found == [
        ("trust-*", "trust", "confirm", "enforce", "reduced at 3 weighted damages within 24 h"),
        ("data_exfiltration", "tripwire", "halt", "enforce", "severe"),
        ("collusion_detected", "tripwire", "halt", "enforce", "severe"),
        ("secrets", "tripwire", "block", "enforce", "critical"),
        ("production_write", "tripwire", "block", "enforce", "critical"),
    ]


def test_a_tripwire_is_listed_in_words() -> None:
    """What it bounds, which actions it is about, its severity; its condition where it has one."""
    rules = [
        {"name": "export", "description": "no exports", "severity": "severe", "when": "action.type == 'export'", "mode": "shadow"},
        {"name": "mails", "applies_to": {"types": ["mail"]}, "quota": {"count": True, "per": "user", "window": "hour", "max": 5}},
        {"name": "hosts", "pattern": {"fields": ["action.description"], "regex": "x"}},
        {"name": "rows", "limit": {"field": "action.parameters.rows", "min": 1, "max": 10}},
    ]
    limits = {"max_refund": 500, "daily_budget": 10.5, "require_approval_above": 100}
    found = listed(policy(tripwires={"limits": limits, "rules": rules}))
    assert {name: info.description for name, info in found.items()} == {
        "export": "severe: no exports",
        "max_refund": "standard: `action.parameters.refund` and `action.parameters.amount` of types with the words `refund` is at most 500",
        "daily_budget": "standard: at most 10.5 of `action.parameters.amount` per agent, on a calendar day",
        "require_approval_above": "standard: `action.parameters.amount` is at most 100",
        "mails": "standard: at most 5 actions per user, in any hour; only types `mail`",
        "hosts": "standard: looks for a text in `action.description`",
        "rows": "standard: `action.parameters.rows` is at least 1 and at most 10",
    }
    assert (found["export"].condition, found["export"].action, found["export"].mode) == ("action.type == 'export'", "halt", "shadow")
    assert (found["require_approval_above"].action, found["max_refund"].action) == ("escalate", "block")


def test_a_circuit_is_listed_in_words() -> None:
    """Its times in the unit that people would take."""
    circuits = [
        {"scope": "category:a", "failure_threshold": 3, "window_ms": 86_400_000, "cooldown_ms": 90_000},
        {"scope": "category:b", "window_ms": 1_800_000, "cooldown_ms": 1_500},
    ]
    found = listed(policy(circuit_breakers=circuits))
    assert [info.description for info in found.values()] == [
        "opens for `category:a` at 3 weighted failures within 24 h; probes after 90 s",
        "opens for `category:b` at 5 weighted failures within 30 min; probes after 1500 ms",
    ]


def test_what_an_agent_has_of_its_own_is_listed_under_it() -> None:
    """Beside what holds for all, with what follows for its own tier."""
    agents = {
        "bot": {"acl_tier": 3, "tripwires": {"limits": {"max_refund": 5}, "rules": [{"name": "x", "severity": "critical", "when": "true"}]}}
    }
    found = listed(policy(tripwires={"max_refund": 9}, agents=agents))
    assert {name: (info.action, info.scope) for name, info in found.items()} == {
        "max_refund": ("block", None),
        "max_refund agent:bot": ("block", "agent:bot"),
        "x agent:bot": ("halt", "agent:bot"),
    }


def test_trust_is_listed_by_domain() -> None:
    """Each domain of the policy, then all others, with what is of high impact there; nothing where it is off."""
    domains = {"zoo": {"damage_threshold": 1.5, "high_impact_actions": ["feed"]}, "code": {"preset": "strict"}}
    found = [info for info in list_guardrails(policy(trust={"domains": domains, "mode": "shadow"})) if info.type == "trust"]
    assert [(info.id, info.scope, info.mode) for info in found] == [
        ("trust-*/code", "user:*/code", "shadow"),
        ("trust-*/zoo", "user:*/zoo", "shadow"),
        ("trust-*", "user:*", "shadow"),
    ]
    assert found[1].description == (
        "reduced at 1.5 weighted damages within 24 h: every action wants the user's confirmation; "
        "under test after 24 h: only `feed` then; restored by 5 successes"
    )
    assert [info for info in list_guardrails(policy(trust={"mode": "off"})) if info.type == "trust"] == []


def test_quality_is_listed_last() -> None:
    """After circuits, trust, rules and tripwires."""
    found = list(list_guardrails(policy(quality={"min_ctq": 0.6}, guardrails=[{"id": "a"}], circuit_breakers=[{"scope": "global"}])))
    assert [info.id for info in found] == ["global-breaker", "trust-*", "a", *BUILT_IN, "quality"]
    assert (found[-1].type, found[-1].action) == ("guardrail", "warn")

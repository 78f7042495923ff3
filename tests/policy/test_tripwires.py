"""Tripwires in the long form, the built-in ones, and those of single agents (SPEC 7 and 12)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.expressions import subject_of
from cstp_server.domain.findings import Finding, Intervention, Mode
from cstp_server.domain.quality import Quality
from cstp_server.domain.resolutions import Waits
from cstp_server.domain.tripwire_rules import Per, Quota
from cstp_server.domain.tripwires import Tripwire, TripwireSeverity
from cstp_server.domain.usage import Span
from cstp_server.policy.compiled import Policy
from cstp_server.policy.compiling import compile_policy
from cstp_server.policy.loading import load_policy
from cstp_server.policy.models import PolicyModel
from tests.policy.writing import examined, facts, messages, policy_of, write

BUILT_IN = ["data_exfiltration", "collusion_detected", "secrets", "production_write"]


def names(policy: Policy, agent_id: str = "agent") -> list[str]:
    """The names of an agent's tripwires, without the built-in ones."""
    return [tripwire.name for tripwire in policy.tripwires.of(agent_id) if tripwire.name not in BUILT_IN]


def named(policy: Policy, name: str, agent_id: str = "agent") -> Tripwire:
    """One of an agent's tripwires."""
    return next(tripwire for tripwire in policy.tripwires.of(agent_id) if tripwire.name == name)


def finding_of(policy: Policy, **action: Any) -> Finding:
    """The one finding that the tripwires have about an action."""
    (finding,) = examined(policy, **action).findings
    return finding


FORMS = {
    "short": "tripwires: {max_refund: 500}",
    "both": "tripwires: {limits: {max_refund: 500}, rules: []}",
    "limits under their key": "tripwires:\n  limits:\n    max_refund: 500.0\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_all_forms_mean_the_same(tmp_path: Path, text: str) -> None:
    """Limits alone, and limits under their key, have the same version."""
    policy = policy_of(tmp_path, text)
    assert names(policy) == ["max_refund"]
    assert policy.version == policy_of(tmp_path, FORMS["short"]).version


def test_forms_of_several_files_are_united(tmp_path: Path) -> None:
    """Limits in one file, rules in another, both in a third."""
    write(tmp_path, "tripwires: {max_refund: 500}", "1.yaml")
    write(tmp_path, "tripwires: [{name: a, when: 'false'}]", "2.yaml")
    write(tmp_path, "tripwires: {limits: {budget_limit: 9}, rules: [{name: b, when: 'false'}]}", "3.yaml")
    assert names(load_policy(tmp_path)) == ["max_refund", "budget_limit", "a", "b"]


def test_the_model_takes_every_form() -> None:
    """Also where no file was read."""
    policy = compile_policy(PolicyModel.model_validate({"tripwires": {"max_refund": 500}, "agents": {"a": {"tripwires": [RULE]}}}))
    assert (names(policy), names(policy, "a")) == (["max_refund"], ["max_refund", "rule"])


RULE = {"name": "rule", "when": "action.type == 'x'"}


def test_the_most_severe_come_first(tmp_path: Path) -> None:
    """Those of one severity in their order: built-in ones, limits, rules."""
    policy = policy_of(
        tmp_path,
        "tripwires: {limits: {max_b: 1, max_a: 1}, rules: ["
        "{name: s, when: 'false'}, {name: c, severity: critical, when: 'false'}, {name: v, severity: severe, when: 'false'}]}",
    )
    assert [tripwire.name for tripwire in policy.tripwires.of_everyone] == [
        *("data_exfiltration", "collusion_detected", "v"),
        *("secrets", "production_write", "c"),
        *("max_b", "max_a", "s"),
    ]


LONG: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "above a maximum": (
        "limit: {field: action.parameters.rows, max: 10}",
        {"parameters": {"rows": 11}},
        "rows exceeds rule of 10",
    ),
    "at a maximum": ("limit: {field: action.parameters.rows, max: 10}", {"parameters": {"rows": 10}}, None),
    "missing": ("limit: {field: action.parameters.rows, max: 10}", {}, "rows is missing, rule is 10"),
    "below a minimum": ("limit: {field: action.ctq, min: 0.5}", {"ctq": 0.4}, "ctq is below rule of 0.5"),
    "no quality at all": ("limit: {field: action.ctq, min: 0.5}", {}, "ctq is missing, rule is 0.5"),
    "between bounds": ("limit: {field: action.context.a.b, min: 1, max: 2}", {"context": {"a": {"b": 1.5}}}, None),
    "outside of bounds": (
        "limit: {field: action.context.a.b, min: 1, max: 2}",
        {"context": {"a": {"b": "x"}}},
        "b is not a number, rule is 1 to 2",
    ),
    "a condition that holds": ("when: action.type == 'Export'", {"type": "export"}, "rule"),
    "a condition that does not": ("when: action.type == 'Export'", {"type": "import"}, None),
    "a condition on the tier": ("when: agent.acl_tier > 1", {}, "rule"),
    "a condition on quality": ("when: action.ctq != null && action.ctq < 0.5", {"ctq": 0.4}, "rule"),
    "a condition that fails": (
        "when: action.parameters.amount > 5",
        {},
        "rule: its condition `action.parameters.amount > 5` could not be evaluated and counts as matched: "
        "`>` is not defined for null and int",
    ),
    "a text in the description": (
        "pattern: {fields: [action.description], regex: '(?i)top secret'}",
        {"description": "a Top Secret"},
        "action.description contains what rule forbids",
    ),
    "a text deep down": (
        "pattern: {fields: [action.parameters], regex: '^[a-z]+@corp$'}",
        {"parameters": {"to": [{"cc": "bob@corp"}]}},
        "action.parameters contains what rule forbids",
    ),
    "a text in a name": (
        "pattern: {fields: [action.context.x], regex: ^evil$}",
        {"context": {"X": {"evil": 1}}},
        "action.context.x contains what rule forbids",
    ),
    "a number as a text": (
        "pattern: {fields: [action.parameters.iban], regex: '^4000'}",
        {"parameters": {"iban": 40001}},
        "action.parameters.iban contains what rule forbids",
    ),
    "no such text": ("pattern: {fields: [action.parameters, action.tags, agent.id], regex: evil}", {"description": "evil"}, None),
    "a text in a tag": ("pattern: {fields: [action.tags], regex: evil}", {"tags": ("evil",)}, "action.tags contains what rule forbids"),
    "letters of other alphabets": (
        "pattern: {fields: [action.description], regex: '^ж.ж$'}",
        {"description": "жäж"},
        "action.description contains what rule forbids",
    ),
}


@pytest.mark.parametrize(("rule", "action", "reason"), LONG.values(), ids=LONG)
def test_a_rule_trips(tmp_path: Path, rule: str, action: dict[str, Any], reason: str | None) -> None:
    """Each kind by its own reason."""
    policy = policy_of(tmp_path, f"tripwires:\n  - name: rule\n    {rule}\n")
    assert messages(policy, **action) == ([f"Tripwire triggered: {reason}"] if reason is not None else [])


QUOTAS = {
    "count: true, window: hour, max: 3": (Quota(3 * UNIT, Span.HOUR), "agent:agent", UNIT),
    "count: true, window: day, max: 3, per: user": (Quota(3 * UNIT, Span.DAY, Per.USER), "user:bob", UNIT),
    "sum: action.parameters.amount, window: total, max: 0.5, per: category": (None, "category:billing", 2 * UNIT),
    "sum: action.context.rows, window: minute, max: 9, per: global": (None, "global", 7 * UNIT),
}


@pytest.mark.parametrize(("text", "expected"), QUOTAS.items(), ids=QUOTAS)
def test_a_quota_charges_its_subject(tmp_path: Path, text: str, expected: tuple[Quota | None, str, int]) -> None:
    """It counts, or sums a field, per agent, user, category, or for all."""
    policy = policy_of(tmp_path, f"tripwires: [{{name: q, quota: {{{text}}}}}]")
    action: dict[str, Any] = {"user_id": "bob", "category": "billing", "parameters": {"amount": 2}, "context": {"rows": 7}}
    (charge,) = examined(policy, **action).charges
    quota, subject, amount = expected
    assert (charge.subject, charge.amount) == (subject, amount)
    assert quota is None or charge.quota == quota


SETTLES = {
    "sum: action.parameters.amount": True,
    "sum: action.parameters.amount, settle: false": False,
    "sum: action.parameters.rows": False,
    "sum: action.parameters.rows, settle: true": True,
    "count: true": False,
}


@pytest.mark.parametrize(("text", "settles"), SETTLES.items(), ids=SETTLES)
def test_the_amount_alone_is_settled_unless_told_otherwise(tmp_path: Path, text: str, settles: bool) -> None:
    """The actual cost of a review is that of the amount."""
    policy = policy_of(tmp_path, f"tripwires: [{{name: q, quota: {{{text}, window: day, max: 3}}}}]")
    rule = named(policy, "q").rule
    assert isinstance(rule, Quota)
    assert rule.settles is settles


APPLIES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "the agent": ("agents: [agent]", {}, True),
    "another agent": ("agents: [Agent]", {}, False),
    "the category, folded": ("categories: [' Billing']", {"category": "billing"}, True),
    "another category": ("categories: [Billing]", {"category": "tooling"}, False),
    "no category": ("categories: [Billing]", {}, False),
    "one of the types": ("types: [a, Send_Mail]", {"type": "send_mail"}, True),
    "a tag": ("tags: [a, b]", {"tags": ("x", "b")}, True),
    "all kinds": ("types: [a], tags: [b]", {"type": "a", "tags": ("b",)}, True),
    "one kind only": ("types: [a], tags: [b]", {"type": "a"}, False),
}


@pytest.mark.parametrize(("applies", "action", "trips"), APPLIES.values(), ids=APPLIES)
def test_a_rule_is_about_the_actions_that_it_applies_to(tmp_path: Path, applies: str, action: dict[str, Any], trips: bool) -> None:
    """Every kind that is given must match; names are compared without case, ids are not."""
    policy = policy_of(tmp_path, f"tripwires: [{{name: rule, applies_to: {{{applies}}}, when: 'true'}}]")
    assert bool(messages(policy, **action)) is trips


def test_a_rule_has_what_the_policy_says(tmp_path: Path) -> None:
    """Severity, mode, texts, notification and impact; people are told of what is more than standard unless the policy says otherwise."""
    policy = policy_of(
        tmp_path,
        """
tripwires:
  - {name: a, when: 'true'}
  - {name: b, when: 'true', severity: critical, description: d, message: m, suggestion: s, trust_impact: false, mode: shadow}
  - {name: c, when: 'true', severity: severe, notify: false}
  - {name: d, when: 'true', notify: true}
  - {name: e, when: 'true', mode: off}
""",
    )
    assert names(policy) == ["c", "b", "a", "d"]
    told = {name: (named(policy, name).notify, named(policy, name).trust_impact) for name in "abcd"}
    assert told == {"a": (False, True), "b": (True, False), "c": (False, True), "d": (True, True)}
    b = next(finding for finding in examined(policy).findings if finding.guardrail == "b")
    assert (b.message, b.suggestion, b.mode, b.intervention) == ("m", "s", Mode.SHADOW, Intervention.BLOCK)


def test_a_message_of_its_own_does_not_hide_that_a_condition_failed(tmp_path: Path) -> None:
    """Else nobody would find the mistake in the policy."""
    policy = policy_of(tmp_path, "tripwires: [{name: a, when: 'action.parameters.x > 1', message: no}]")
    assert messages(policy, parameters={"x": 2}) == ["no"]
    assert messages(policy) == [
        "no (its condition `action.parameters.x > 1` could not be evaluated and counts as matched: `>` is not defined for null and int)"
    ]


FLAGS = {
    "production_write": TripwireSeverity.CRITICAL,
    "productionWrite": TripwireSeverity.CRITICAL,
    "data_exfiltration": TripwireSeverity.SEVERE,
    "dataExfiltration": TripwireSeverity.SEVERE,
    "collusion_detected": TripwireSeverity.SEVERE,
    "collusionDetected": TripwireSeverity.SEVERE,
}


@pytest.mark.parametrize(("flag", "severity"), FLAGS.items(), ids=FLAGS)
def test_built_in_flags_are_on_by_default(tmp_path: Path, flag: str, severity: TripwireSeverity) -> None:
    """With the empty policy too; absent, null and false are a no, everything else is a yes."""
    policy = policy_of(tmp_path, "{}")
    finding = finding_of(policy, context={flag: True})
    assert finding.tripwire is not None
    assert (finding.tripwire.severity, finding.tripwire.notify) == (severity.label, True)
    assert not finding.approvable
    assert all(messages(policy, context={flag: value}) == [] for value in (None, False))
    yes: list[object] = ["false", 0, "", [], 1]
    assert all(messages(policy, context={flag: value}) != [] for value in yes)


def test_secrets_are_looked_for_by_default(tmp_path: Path) -> None:
    """The text is told to nobody, and the record goes without it."""
    token = "ghp_" + "a1B2" * 9
    seen = examined(policy_of(tmp_path, "{}"), parameters={"body": f"use {token} please"})
    assert [finding.message for finding in seen.findings] == ["Tripwire triggered: the action contains a GitHub token"]
    assert seen.recorded.parameters == {"body": "use [redacted: GitHub token] please"}
    assert token not in repr(seen)


TIERS = {
    ("standard", 0): (Intervention.BLOCK, True),
    ("standard", 2): (Intervention.BLOCK, True),
    ("standard", 3): (Intervention.BLOCK, False),
    ("critical", 2): (Intervention.BLOCK, False),
    ("critical", 3): (Intervention.HALT, False),
    ("severe", 0): (Intervention.HALT, False),
    ("severe", 9): (Intervention.HALT, False),
}


@pytest.mark.parametrize(("case", "expected"), TIERS.items(), ids=map(str, TIERS))
def test_the_tier_decides_what_follows(tmp_path: Path, case: tuple[str, int], expected: tuple[Intervention, bool]) -> None:
    """By the table of SPEC 7."""
    severity, tier = case
    text = f"tripwires: [{{name: a, when: 'true', severity: {severity}}}]\nagents: {{agent: {{acl_tier: {tier}}}}}"
    finding = finding_of(policy_of(tmp_path, text))
    assert (finding.intervention, finding.approvable) == expected


def test_a_built_in_tripwire_can_be_changed(tmp_path: Path) -> None:
    """Severity with its notification, mode, message, trust impact and the actions that it applies to."""
    policy = policy_of(
        tmp_path,
        """
tripwires:
  - {name: production_write, severity: standard, message: not today, trust_impact: false}
  - {name: data_exfiltration, mode: off}
  - {name: secrets, mode: shadow, notify: false, applies_to: {categories: [Public]}}
""",
    )
    assert [tripwire.name for tripwire in policy.tripwires.of_everyone] == ["collusion_detected", "secrets", "production_write"]
    finding = finding_of(policy, context={"production_write": True, "data_exfiltration": True})
    assert (finding.message, finding.approvable) == ("not today", True)
    assert finding.tripwire is not None
    assert (finding.tripwire.notify, finding.tripwire.trust_impact) == (False, False)
    leak = "AKIA" + "IOSFODNN7EXAMPLE"
    assert examined(policy, description=leak).findings == ()
    assert [found.mode for found in examined(policy, description=leak, category="public").findings] == [Mode.SHADOW]


def test_an_agent_has_limits_of_its_own(tmp_path: Path) -> None:
    """Tighter ones in the place of those for all, others besides; other agents have those for all."""
    policy = policy_of(
        tmp_path,
        """
tripwires: {max_refund: 500, min_confidence: 0.5}
agents:
  refund-bot:
    acl_tier: 3
    tripwires:
      limits: {max_refund: 200, min_confidence: 0.9, daily_budget: 10}
      rules: [{name: own, when: action.type == "x"}]
""",
    )
    refund: dict[str, Any] = {"type": "refund", "parameters": {"amount": 300}, "confidence": 0.8}
    assert messages(policy, **refund) == []
    assert messages(policy, agent_id="refund-bot", **refund) == [
        "Tripwire triggered: amount exceeds max_refund of 200",
        "Tripwire triggered: confidence is below min_confidence of 0.9",
    ]
    assert names(policy, "refund-bot") == ["max_refund", "min_confidence", "daily_budget", "own"]
    assert (policy.agents.acl_tier("refund-bot"), policy.agents.acl_tier("other")) == (3, 2)


def test_what_all_agents_are_given_is_their_default(tmp_path: Path) -> None:
    """`"*"` tightens for all; what a named agent has of its own takes its place, and the rest stays."""
    policy = policy_of(
        tmp_path,
        """
tripwires: {max_refund: 500}
agents:
  "*": {acl_tier: ACL-4, tripwires: {max_refund: 300, daily_action_limit: 50}}
  a: {acl_tier: 1, tripwires: {max_refund: 400}}
  b: {acl_tier: "acl 9"}
""",
    )
    bounds = {agent: messages(policy, agent_id=agent, type="refund", parameters={"amount": 501}) for agent in ("a", "b", "z")}
    assert bounds == {
        agent: [f"Tripwire triggered: amount exceeds max_refund of {bound}"] for agent, bound in (("a", 400), ("b", 300), ("z", 300))
    }
    assert all(names(policy, agent) == ["max_refund", "daily_action_limit"] for agent in "abz")
    assert [policy.agents.acl_tier(agent) for agent in ("a", "b", "z")] == [1, 9, 4]


def test_quality_and_waits_arrive(tmp_path: Path) -> None:
    """And have their defaults where they are not given."""
    policy = policy_of(
        tmp_path,
        "quality: {min_ctq: 0.6, action: escalate, mode: shadow}\npostures: {approval_ttl_ms: 60000, assisted_delay_ms: 100}\n",
    )
    assert policy.quality == Quality(0.6, Intervention.ESCALATE, Mode.SHADOW)
    assert policy.waits == Waits(60_000, 100)
    plain = policy_of(tmp_path, "quality: {min_ctq: 0.6}")
    assert (plain.quality, plain.waits) == (Quality(0.6), Waits(3_600_000, 5_000))
    assert policy_of(tmp_path, "{}").quality is None


POSTURES = {
    "tripwires: [{name: a, when: posture == 'blocked'}]": True,
    "agents: {a: {tripwires: [{name: a, when: posture == 'blocked'}]}}": True,
    "tripwires: [{name: a, when: posture == 'blocked', mode: off}]": False,
    "guardrails: [{id: a, when: posture == 'blocked'}]": True,
    "classification: [{when: posture == 'blocked', stakes: high}]": True,
    "tripwires: [{name: a, when: 'action.type == \"posture\"'}]": False,
    "{}": False,
}


@pytest.mark.parametrize(("text", "speaks"), POSTURES.items(), ids=POSTURES)
def test_a_policy_knows_whether_it_speaks_of_posture(tmp_path: Path, text: str, speaks: bool) -> None:
    """Conditions of every section count, and a text that only looks like it does not."""
    assert policy_of(tmp_path, text).speaks_of_posture is speaks


SCREENED = """
classification: [{when: action.category == "a", stakes: high}]
guardrails: [{id: g, when: action.category == "b"}]
tripwires: [{name: t, when: action.category == "c"}, {name: off, when: 'true', mode: off}]
agents: {other: {tripwires: [{name: o, when: action.parameters.x > 1}]}}
"""


def test_a_screen_is_false_only_where_no_condition_speaks(tmp_path: Path) -> None:
    """Conditions of tripwires, of single agents too, stand behind it; one that fails is no reason for silence."""
    policy = policy_of(tmp_path, SCREENED)
    assert policy.screen is not None
    quiet: dict[str, Any] = {"parameters": {"x": 1}}
    spoken: list[dict[str, Any]] = [{"category": name, **quiet} for name in "abc"] + [{"parameters": {"x": 2}}, {}]
    assert policy.screen(subject_of(facts(**quiet), posture="supervised")) is False
    assert all(policy.screen(subject_of(facts(**action), posture="supervised")) is not False for action in spoken)


OTHER = {
    "a bound": ("tripwires: {max_refund: 1}", "tripwires: {max_refund: 2}"),
    "a severity": ("tripwires: [{name: a, when: 'true'}]", "tripwires: [{name: a, when: 'true', severity: severe}]"),
    "a regex": (
        "tripwires: [{name: a, pattern: {fields: [action.description], regex: a}}]",
        "tripwires: [{name: a, pattern: {fields: [action.description], regex: b}}]",
    ),
    "a window": (
        "tripwires: [{name: a, quota: {count: true, window: day, max: 1}}]",
        "tripwires: [{name: a, quota: {count: true, window: hour, max: 1}}]",
    ),
    "a condition": ("tripwires: [{name: a, when: 'true'}]", "tripwires: [{name: a, when: 'false'}]"),
    "what it applies to": ("tripwires: [{name: a, when: 'true'}]", "tripwires: [{name: a, when: 'true', applies_to: {types: [x]}}]"),
    "a built-in one": ("{}", "tripwires: [{name: secrets, mode: off}]"),
    "a built-in flag": ("{}", "tripwires: [{name: production_write, message: no}]"),
    "a tier": ("agents: {a: {acl_tier: 2}}", "agents: {a: {acl_tier: 3}}"),
    "the tier of all": ("{}", "agents: {'*': {acl_tier: 3}}"),
    "an agent's limit": ("{}", "agents: {a: {tripwires: {max_refund: 3}}}"),
    "quality": ("{}", "quality: {min_ctq: 0.5}"),
    "a wait": ("{}", "postures: {approval_ttl_ms: 1}"),
    "another wait": ("{}", "postures: {assisted_delay_ms: 1}"),
}


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_another_meaning_is_another_version(tmp_path: Path, one: str, other: str) -> None:
    """Whatever could change an answer changes the version."""
    assert policy_of(tmp_path, one).version != policy_of(tmp_path, other).version


SAME = {
    "order": ("tripwires: {max_a: 1, max_b: 2}", "tripwires: {max_b: 2, max_a: 1}"),
    "defaults": ("postures: {approval_ttl_ms: 3600000}", "agents: {'*': {acl_tier: 2}}"),
    "numbers": ("tripwires: {max_a: 1}", "tripwires: {max_a: 1.0}"),
    "repetition": ("tripwires: {max_a: 1}", "tripwires: {max_a: 1}\nagents: {'*': {tripwires: {max_a: 1}}}"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_version_follows_the_meaning(tmp_path: Path, one: str, other: str) -> None:
    """What means the same has the same version."""
    assert policy_of(tmp_path, one).version == policy_of(tmp_path, other).version


HANGING = {
    "(a+)+$": "a" * 5_000 + "!",
    "(a|aa)+$": "a" * 5_000 + "!",
    "(.*a){20}b": "a" * 5_000,
    "^(([a-z])+.)+[A-Z]([a-z])+$": "a" * 5_000,
    "(x+x+)+y": "x" * 5_000,
    "(?:a?){100}a{100}b": "a" * 5_000,
}


@pytest.mark.parametrize(("regex", "text"), HANGING.items(), ids=HANGING)
def test_a_text_that_would_hang_other_engines_is_only_read(tmp_path: Path, regex: str, text: str) -> None:
    """The time is that of reading it, whatever the expression."""
    policy = policy_of(tmp_path, f"tripwires: [{{name: a, pattern: {{fields: [action.description], regex: '{regex}'}}}}]")
    assert messages(policy, description=text) == []


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_any_text_can_be_searched(description: str, parameters: dict[str, Any]) -> None:
    """Half of a surrogate pair and control characters too."""
    rule = {"name": "a", "pattern": {"fields": ["action.description", "action.parameters"], "regex": "never-there-0815"}}
    assert messages(_policy(rule), description=description, parameters=parameters) == []
    assert messages(_policy(rule), description=f"{description}never-there-0815{description}") != []


def _policy(rule: dict[str, Any]) -> Policy:
    return compile_policy(PolicyModel.model_validate({"tripwires": [rule]}))

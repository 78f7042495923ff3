"""Rules in all of their forms: each means what its CEL says, and fails closed (SPEC 6)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cstp_server.domain.facts import Stakes
from cstp_server.domain.findings import Intervention, Mode
from cstp_server.domain.guardrails import Guardrail
from tests.policy.writing import policy_of, subject

FLAT = {
    "condition_stakes: high": 'action.stakes == "high"',
    "condition_stakes: '>= high'": 'action.stakes in ["high", "critical"]',
    "condition_stakes: [HIGH, critical]": 'action.stakes in ["high", "critical"]',
    "condition_stakes: '!= low'": 'action.stakes != "low"',
    "condition_category: ' Tooling'": 'action.category == "tooling"',
    "condition_type: Issue_Refund": 'action.type == "issue_refund"',
    "condition_confidence: '< 0.5'": "action.confidence < 0.5",
    "condition_confidence: '<=0.5'": "action.confidence <= 0.5",
    "condition_description: '== x'": 'action.description == "x"',
    "condition_tags: Refund": '"refund" in action.tags',
    "condition_tags: '!= Refund'": '!("refund" in action.tags)',
    "condition_tags: [a, B]": '("a" in action.tags || "b" in action.tags)',
    "condition_agent: Bot": 'agent.id == "Bot"',
    "condition_agent_id: '!= Bot'": 'agent.id != "Bot"',
    "condition_affects_production: true": "action.context.affects_production == true",
    "condition_day_of_week: Friday": 'action.context.day_of_week == "Friday"',
    "condition_amount_usd: '> 10000'": "action.context.amount_usd > 10000",
    "condition_amount_usd: '>= -1.5e3'": "action.context.amount_usd >= -1500.0",
    "condition_x: '!= true'": "action.context.x != true",
    "condition_x: '== \"< 5\"'": 'action.context.x == "< 5"',
    "condition_a-b: 1": 'action.context["a-b"] == 1',
    "condition_in: 1": 'action.context["in"] == 1',
    "condition_action.parameters.amount: '> 5'": "action.parameters.amount > 5",
    "condition: {stakes: high, confidence_lt: 0.5}": 'action.stakes == "high" && action.confidence < 0.5',
    "condition: {phase: record, quality_score: '< 0.5'}": 'action.context.phase == "record" && action.context.quality_score < 0.5',
    "condition: {x_gte: 1, y_ne: a, z_in: [1, b], w_lte: 2, v_gt: 3, u_eq: null_}": (
        'action.context.x >= 1 && action.context.y != "a" && action.context.z in [1, "b"] && action.context.w <= 2 '
        '&& action.context.v > 3 && action.context.u == "null_"'
    ),
    "condition: action.context.x == 1": "action.context.x == 1",
    "requires: {coverage: '>= 0.8'}": "!(action.context.coverage >= 0.8)",
    "requires: {coverage: '>= 0.8', tested: true}": "!(action.context.coverage >= 0.8 && action.context.tested == true)",
    "requires_dry_run: false": "!(action.context.dry_run == false)",
    "scope: CryptoTrader": (
        '(action.context.project == null ? action.context.scope : action.context.project) in [null, "", "CryptoTrader"]'
    ),
    "scope: ['category:Tooling', 'agent:Bot']": 'action.category == "tooling" || agent.id == "Bot"',
    "scope: 'user:a/b/c'": 'user.id == "a/b" && user.domain == "c"',
}


def rule_of(folder: Path, text: str) -> Guardrail:
    """The one rule whose keys, apart from its id, a text gives."""
    return policy_of(folder, f"guardrails:\n  - id: rule\n    {text}\n").guardrails[0]


@pytest.mark.parametrize(("text", "cel"), FLAT.items(), ids=FLAT)
def test_a_form_of_cstp_means_its_cel(tmp_path: Path, text: str, cel: str) -> None:
    """Each form compiles to the expression that one would have written, and that is what is listed."""
    rule = rule_of(tmp_path, text)
    assert rule.when is not None
    assert rule.when.source == cel


def test_all_conditions_must_hold(tmp_path: Path) -> None:
    """`when`, `condition`, flat conditions and scope are joined, whatever stands in them, comments too."""
    rule = rule_of(
        tmp_path,
        'when: "action.context.a == 1 || action.context.b == 1 // either"\n    condition: {c: 1}\n    condition_d: 1\n    scope: "tag:x"',
    )
    full = {"a": 1, "c": 1, "d": 1}
    assert rule.check(subject(context=full, tags=("x",))) is not None
    assert rule.check(subject(context={**full, "a": 0, "b": 1}, tags=("x",))) is not None
    assert rule.check(subject(context=full)) is None
    assert all(rule.check(subject(context={**full, key: 0}, tags=("x",))) is None for key in full)


SPARED: dict[str, tuple[dict[str, Any], bool]] = {
    "its project": ({"project": "CryptoTrader"}, True),
    "another project": ({"project": "Website"}, False),
    "no project": ({}, True),
    "an empty project": ({"project": ""}, True),
    "CSTP's other name for it": ({"scope": "Website"}, False),
}


@pytest.mark.parametrize(("context", "applies"), SPARED.values(), ids=SPARED)
def test_a_rule_of_a_project_spares_other_projects(tmp_path: Path, context: dict[str, Any], applies: bool) -> None:
    """An action that names no project is not spared: leaving it out dodges nothing."""
    rule = rule_of(tmp_path, "scope: [CryptoTrader]")
    assert (rule.check(subject(context=context)) is not None) is applies


def test_required_fields_are_named_when_they_are_missing(tmp_path: Path) -> None:
    """Anything but true is a violation; bare names stand in the context, paths are taken as they are."""
    rule = rule_of(tmp_path, "requires: [reviewed, action.parameters.tested]\n    requires_signed: true")
    assert rule.requires == ("action.context.reviewed", "action.parameters.tested", "action.context.signed")
    finding = rule.check(subject(context={"reviewed": "true", "signed": True}))
    assert finding is not None
    assert finding.requires == ("action.context.reviewed", "action.parameters.tested")
    assert rule.check(subject(context={"reviewed": True, "signed": True}, parameters={"tested": True})) is None


@pytest.mark.parametrize("text", ["requires: {coverage: '>= 0.8', tested: true}", "requires_coverage: '>= 0.8'"])
def test_a_requirement_on_a_missing_field_is_a_violation(tmp_path: Path, text: str) -> None:
    """Also where the requirement is a comparison."""
    rule = rule_of(tmp_path, text)
    assert rule.check(subject()) is not None
    assert rule.check(subject(context={"tested": True})) is not None
    assert rule.check(subject(context={"coverage": 0.9, "tested": True})) is None


@pytest.mark.parametrize("action", ["block", "escalate"])
def test_a_condition_that_cannot_be_evaluated_counts_as_matched(tmp_path: Path, action: str) -> None:
    """And the finding says so."""
    finding = rule_of(tmp_path, f"condition_amount: '> 10'\n    action: {action}").check(subject())
    assert finding is not None
    assert finding.intervention is Intervention[action.upper()]
    assert "could not be evaluated and counts as matched: `>` is not defined for null and int" in finding.message


def test_context_fields_override_nothing(tmp_path: Path) -> None:
    """An agent that puts `stakes` and `category` into its context is still judged by what it declared."""
    rule = rule_of(tmp_path, "condition_stakes: high\n    condition_category: tooling")
    talked_down = {"stakes": "low", "category": "docs", "agent": "someone"}
    assert rule.check(subject(stakes=Stakes.HIGH, category="tooling", context=talked_down)) is not None
    assert rule.check(subject(context={"stakes": "high", "category": "tooling"})) is None


def test_the_default_message_tells_what_the_rule_does(tmp_path: Path) -> None:
    """The description, else what is required, else the action."""
    texts = ["description: be careful", "requires: [a, b]", "action: escalate", "when: 'true'"]
    assert [rule_of(tmp_path, text).message for text in texts] == [
        "be careful",
        "rule `rule` requires `a` and `b`",
        "rule `rule` wants an approval for this action",
        "rule `rule` blocks this action",
    ]


def test_off_and_shadow_are_kept(tmp_path: Path) -> None:
    """`off` without quotes is the mode, not YAML 1.1's false; the rule stays listed."""
    assert [rule_of(tmp_path, f"mode: {mode}").mode for mode in ("off", "shadow")] == [Mode.OFF, Mode.SHADOW]


CSTP_FILE = """
template:
  name: production-safety
  description: Guardrails for production deployments
  version: "1.0"
guardrails:
  - id: require-code-review
    description: All production changes must be code reviewed
    condition_affects_production: true
    requires_code_review: true
    action: block
    message: "Production changes require completed code review"
"""


def test_files_of_cstp_load_as_they_are(tmp_path: Path) -> None:
    """A template with its header, and a file that is nothing but a list of rules, mean the same."""
    with_header = policy_of(tmp_path, CSTP_FILE)
    as_list = policy_of(tmp_path, yaml.safe_dump(yaml.safe_load(CSTP_FILE)["guardrails"]))
    assert as_list.version == with_header.version
    assert with_header.guardrails[0].check(subject(context={"affects_production": True})) is not None
    assert with_header.guardrails[0].check(subject(context={"affects_production": True, "code_review": True})) is None

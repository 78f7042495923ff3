"""What a good policy becomes: settings with their defaults, rules, a version that follows the meaning."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.circuit_settings import CircuitSettings, Effect, OnSuccess
from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.expressions import subject_of
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.findings import Mode
from cstp_server.policy.checking import check_policy
from cstp_server.policy.compiled import SelfReported
from cstp_server.policy.loading import load_policy
from cstp_server.policy.reference import EXAMPLES, reference
from cstp_server.policy.schema import policy_schema
from cstp_server.policy.settings_codec import circuit_settings_from_json, circuit_settings_to_json, keyed
from tests.policy.writing import policy_of, subject, write

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config"
FULL = """
circuit_breakers:
  - scope: "agent:*"
    failure_threshold: 2.5
    failure_rate_threshold: 0.5
    minimum_decisions: 4
    window_ms: 300
    cooldown_ms: 200
    cooldown_multiplier: 1.5
    cooldown_max_ms: 900
    half_open_probes: 3
    half_open_tolerance: 0.1
    severity_weights: {low: 0.25}
    failure_outcomes: [failure, abandoned, failure]
    on_success: reset
    on_open: {effect: confirm, downgrade_to: none}
    on_close: keep
    min_distinct_agents: 2
    notify: false
    mode: shadow
"""


def test_a_circuit_has_what_the_policy_says(tmp_path: Path) -> None:
    """Every key arrives; successes follow the probes, the probe's time follows the cooldown, and unnamed weights keep their default."""
    settings = policy_of(tmp_path, FULL).circuits.templates["agent:*"]
    assert settings == keyed(
        CircuitSettings(
            key="",
            id="agent-*-breaker",
            failure_threshold=2_500_000,
            failure_rate_threshold=0.5,
            minimum_decisions=4,
            window_ms=300,
            cooldown_ms=200,
            cooldown_multiplier=1.5,
            cooldown_max_ms=900,
            half_open_probes=3,
            half_open_successes=3,
            half_open_tolerance=100_000,
            probe_timeout_ms=200,
            severity_weights={Severity.LOW: 250_000, Severity.MEDIUM: 1_000_000, Severity.HIGH: 2_000_000, Severity.CRITICAL: 5_000_000},
            failure_outcomes=frozenset({Outcome.FAILURE, Outcome.ABANDONED}),
            on_success=OnSuccess.RESET,
            effect=Effect.CONFIRM,
            restore_posture=False,
            min_distinct_agents=2,
            notify=False,
            mode=Mode.SHADOW,
        )
    )


def test_a_circuit_without_keys_has_the_defaults(tmp_path: Path) -> None:
    """The defaults of the domain are those of the policy (SPEC 5)."""
    settings = policy_of(tmp_path, "circuit_breakers: [{scope: 'Category: Tooling'}]").circuits.exact["category:tooling"]
    assert settings == keyed(CircuitSettings(key="", id="category-tooling-breaker"))


def test_the_other_sections_arrive(tmp_path: Path) -> None:
    """Classification is folded; zone, reviews and retention are as given."""
    policy = policy_of(
        tmp_path,
        "time_zone: Europe/Berlin\nreviews: {self_reported: ignore}\nretention: {decisions_days: 7, events_days: 9}\n"
        "classification: [{when: action.parameters.amount > 1000, stakes: high, tags: [Large, large], category: Money}]",
    )
    assert (str(policy.time_zone), policy.self_reported) == ("Europe/Berlin", SelfReported.IGNORE)
    assert (policy.retention_days, policy.event_retention_days) == (7, 9)
    rule = policy.classification[0]
    assert (rule.stakes, rule.tags, rule.category) == (Stakes.HIGH, ("large",), "money")
    assert rule.when(subject(parameters={"amount": 1000.5})) is True
    assert rule.when(subject()) is not True


def test_a_policy_without_rules_is_written_on_purpose(tmp_path: Path) -> None:
    """`{}` is a policy, and so are sections with nothing in them."""
    assert policy_of(tmp_path, "{}").version == policy_of(tmp_path, "guardrails:\n  # none yet\ncircuit_breakers: []\n").version


def test_a_folder_is_one_policy(tmp_path: Path) -> None:
    """Lists follow each other in the order of file names, mappings are united, other files are left out."""
    write(tmp_path, "guardrails: [{id: b}]\nretention: {decisions_days: 7}\n", "20-b.yml")
    write(tmp_path, "guardrails: [{id: a}]\ntime_zone: Europe/Berlin\n", "10-a.yaml")
    write(tmp_path, "nonsense: 1\n", "notes.txt")
    write(tmp_path, "nonsense: 1\n", ".hidden.yaml")
    policy = load_policy(tmp_path)
    assert [rule.id for rule in policy.guardrails] == ["a", "b"]
    assert (str(policy.time_zone), policy.retention_days) == ("Europe/Berlin", 7)


SAME = {
    "comments": ("circuit_breakers: [{scope: global}]", "# a comment\ncircuit_breakers:\n  - scope: global  # another\n"),
    "order of keys": ("time_zone: UTC\nretention: {decisions_days: 3}", "retention: {decisions_days: 3}\ntime_zone: UTC"),
    "defaults": (
        "circuit_breakers: [{scope: global}]",
        "circuit_breakers: [{scope: global, failure_threshold: 5, window_ms: 3600000, half_open_successes: 1}]",
    ),
    "order of circuits": ("circuit_breakers: [{scope: global}, {scope: 'tag:a'}]", "circuit_breakers: [{scope: 'tag:A'}, {scope: global}]"),
    "form of a rule": ("guardrails: [{id: a, condition_stakes: high}]", "guardrails: [{id: a, when: 'action.stakes == \"high\"'}]"),
}
OTHER = {
    "threshold": ("circuit_breakers: [{scope: global}]", "circuit_breakers: [{scope: global, failure_threshold: 4.5}]"),
    "mode": ("circuit_breakers: [{scope: global}]", "circuit_breakers: [{scope: global, mode: off}]"),
    "message": ("guardrails: [{id: a}]", "guardrails: [{id: a, message: no}]"),
    "order of rules": ("guardrails: [{id: a}, {id: b}]", "guardrails: [{id: b}, {id: a}]"),
    "time zone": ("time_zone: UTC", "time_zone: Europe/Berlin"),
    "classification": ("{}", "classification: [{when: 'true', stakes: high}]"),
    "reviews": ("{}", "reviews: {self_reported: ignore}"),
    "retention": ("{}", "retention: {decisions_days: 3}"),
    "retention of events": ("{}", "retention: {events_days: 3}"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_version_follows_the_meaning(tmp_path: Path, one: str, other: str) -> None:
    """What means the same has the same version."""
    assert policy_of(tmp_path, one).version == policy_of(tmp_path, other).version


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_another_meaning_is_another_version(tmp_path: Path, one: str, other: str) -> None:
    """Whatever could change an answer changes the version."""
    versions = policy_of(tmp_path, one).version, policy_of(tmp_path, other).version
    assert versions[0] != versions[1]
    assert all(version.startswith("sha256:") and len(version) == 71 for version in versions)


_COUNT = st.integers(1, 10**9)
_WEIGHT = st.integers(0, 10**15)
SETTINGS = st.builds(
    CircuitSettings,
    key=st.text(),
    id=st.text(),
    failure_threshold=_COUNT,
    failure_rate_threshold=st.none() | st.floats(0, 1),
    minimum_decisions=_COUNT,
    window_ms=_COUNT,
    cooldown_ms=_COUNT,
    cooldown_multiplier=st.floats(1, 100),
    cooldown_max_ms=st.none() | _COUNT,
    half_open_probes=_COUNT,
    half_open_successes=_COUNT,
    half_open_tolerance=_WEIGHT,
    probe_timeout_ms=_COUNT,
    severity_weights=st.fixed_dictionaries(dict.fromkeys(Severity, _WEIGHT)),
    failure_outcomes=st.frozensets(st.sampled_from(Outcome), min_size=1),
    on_success=st.sampled_from(OnSuccess),
    effect=st.sampled_from(Effect),
    downgrade_to=st.none() | st.text(),
    restore_posture=st.booleans(),
    min_distinct_agents=_COUNT,
    notify=st.booleans(),
    mode=st.sampled_from(Mode),
)


@given(SETTINGS)
def test_settings_survive_being_written_down(settings: CircuitSettings) -> None:
    """There and back without loss."""
    assert circuit_settings_from_json(circuit_settings_to_json(settings)) == settings


@given(SETTINGS, SETTINGS)
def test_the_key_follows_from_the_values(one: CircuitSettings, other: CircuitSettings) -> None:
    """Equal values have the same key of 16 hexadecimal digits, whatever key they had; other values another."""
    first, second = keyed(one), keyed(other)
    assert keyed(first) == first
    assert len(bytes.fromhex(first.key)) == 8
    assert (first.key == second.key) == (first == second)


def test_the_example_policy_is_clean() -> None:
    """`config/` loads without a problem and without a warning."""
    report = check_policy(EXAMPLE)
    assert (report.problems, report.warnings) == ((), ())
    assert report.policy is not None


def test_the_example_policy_has_the_three_circuits_of_the_seed() -> None:
    """With the values that the seed gives them."""
    circuits = load_policy(EXAMPLE).circuits.exact
    found = {
        scope: (circuits[scope].failure_threshold // 1_000_000, circuits[scope].window_ms, circuits[scope].cooldown_ms)
        for scope in circuits
    }
    assert found["category:tooling"] == (5, 3_600_000, 1_800_000)
    assert found["stakes:high"] == (3, 86_400_000, 3_600_000)
    assert found["agent:code-reviewer"] == (4, 7_200_000, 900_000)


EXAMPLE_CHECKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "harmless": ({"description": "tidy up the docs"}, []),
    "production without review": (
        {"description": "deploy to production", "context": {"affectsProduction": True}},
        ["no-production-without-review"],
    ),
    "production with review": (
        {"description": "deploy to production", "context": {"affectsProduction": True, "codeReviewCompleted": True}},
        [],
    ),
    "high stakes and unsure": (
        {"description": "drop the old table", "stakes": Stakes.HIGH, "confidence": 0.3},
        ["no-high-stakes-low-confidence"],
    ),
    "high stakes and silent about confidence": (
        {"description": "drop the old table", "stakes": Stakes.HIGH},
        ["no-high-stakes-low-confidence"],
    ),
    "refund without amount": (
        {"description": "refund order 1142", "type": "issue_refund"},
        ["refunds-name-their-amount", "large-refunds-want-approval"],
    ),
    "small refund": ({"description": "refund order 1142", "type": "issue_refund", "parameters": {"amount": 10}}, []),
    "large refund": (
        {"description": "refund order 1142", "type": "issue_refund", "confidence": 0.9, "parameters": {"amount": 6000}},
        ["large-refunds-want-approval"],
    ),
    "secret": ({"description": "call the other service", "context": {"api_key": "x"}}, ["no-secrets-in-context"]),
    "curt": ({"description": "go"}, ["describe-what-you-do"]),
}


@pytest.mark.parametrize(("facts", "expected"), EXAMPLE_CHECKS.values(), ids=EXAMPLE_CHECKS)
def test_the_example_policy_is_useful_at_once(facts: dict[str, Any], expected: list[str]) -> None:
    """What its rules say of some actions, once they are classified."""
    policy = load_policy(EXAMPLE)
    declared = Facts(**{"agent_id": "agent", **facts})
    asked = subject_of(declared, posture="supervised")
    for classified in policy.classification:
        if classified.when(asked) is True:
            declared = declared.raised(classified.stakes, classified.tags, classified.category)
    asked = subject_of(declared, posture="supervised")
    assert [finding.guardrail for rule in policy.guardrails if (finding := rule.check(asked))] == expected


WARNED = {
    "lacks a key": (
        "guardrails:\n  - id: a\n    when: action.parameters.amount > 1000\n",
        "policy.yaml:2: rule `a` matches every action that lacks a key",
    ),
    "flat and lacks a key": (
        "guardrails:\n  - id: a\n    condition_amount: '> 1'\n",
        "policy.yaml:2: rule `a` matches every action that lacks a key",
    ),
    "no condition": ("guardrails:\n  - id: a\n", "policy.yaml:2: rule `a` applies to every action"),
    "always true": ("guardrails:\n  - id: a\n    when: 1 < 2\n", "policy.yaml:2: rule `a` applies to every action"),
    "allows": (
        "guardrails:\n  - id: a\n    when: action.type == 'x'\n    action: allow\n",
        "policy.yaml:2: rule `a` allows, which has no effect",
    ),
    "placeholder": (
        "guardrails:\n  - id: a\n    when: action.type == 'x'\n    message: 'score {score}'\n",
        "policy.yaml:2: rule `a` has a placeholder in its message",
    ),
    "weight of zero": (
        "circuit_breakers:\n  - scope: global\n    severity_weights: {low: 0}\n",
        "policy.yaml:2: circuit `global` gives failures of severity `low` no weight",
    ),
    "one agent": (
        "circuit_breakers:\n  - scope: 'agent:*'\n    min_distinct_agents: 2\n",
        "policy.yaml:2: circuit `agent:*` can never open",
    ),
    "shadowed template": (
        "circuit_breakers:\n" + "".join(f"  - scope: 'stakes:{level}'\n" for level in [*Stakes, "*"]),
        "policy.yaml:6: circuit `stakes:*` is never used",
    ),
}


@pytest.mark.parametrize(("text", "warning"), WARNED.values(), ids=WARNED)
def test_what_is_hardly_meant_is_warned_of(tmp_path: Path, text: str, warning: str) -> None:
    """The policy loads, with one warning that names the line."""
    report = check_policy(write(tmp_path, text))
    assert (report.policy is not None, report.problems) == (True, ())
    assert [str(found).replace(f"{tmp_path}/", "")[: len(warning)] for found in report.warnings] == [warning]


@pytest.mark.parametrize(
    "when", ["has(action.parameters.amount) && action.parameters.amount > 1", "action.type == 'x' && action.parameters.amount > 1"]
)
def test_a_guarded_rule_is_not_warned_of(tmp_path: Path, when: str) -> None:
    """Asking `has` first, or for the kind of action, is what the warning advises."""
    assert check_policy(write(tmp_path, f"guardrails:\n  - id: a\n    when: {when}\n")).warnings == ()


def test_a_report_of_a_bad_policy_has_its_problems(tmp_path: Path) -> None:
    """No policy, and what is wrong."""
    report = check_policy(write(tmp_path, "guardrails: [{}]\n"))
    assert report.policy is None
    assert [problem.message for problem in report.problems] == ["`guardrails[0]` lacks the key `id`"]


def _accepted(text: str) -> bool:
    return jsonschema.Draft202012Validator(policy_schema()).is_valid(yaml.safe_load(text))


def test_the_schema_accepts_what_loads() -> None:
    """It is a schema, and the example, the reference's examples and the flat forms are valid by it."""
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    flat = "guardrails: [{id: a, condition_stakes: high, condition: {x_in: [1]}, requires: {y: true}, requires_z: true, scope: [P]}]"
    assert all(_accepted(text) for text in [(EXAMPLE / "policy.yaml").read_text(), FULL, flat, *EXAMPLES.values()])


@pytest.mark.parametrize(
    "text",
    [
        "trust: {domain: {}}",
        "circuit_breakers: [{}]",
        "circuit_breakers: [{scope: global, window_ms: 0}]",
        "guardrails: [{id: a, wen: x}]",
        "guardrails: [{id: a, action: no}]",
    ],
)
def test_the_schema_refuses_what_does_not_load(text: str) -> None:
    """Unknown keys, missing ones and values out of bounds."""
    assert not _accepted(text)


def test_the_reference_is_that_of_the_models() -> None:
    """`docs/policy.md` is what `python -m cstp_server.policy.reference` prints."""
    assert (ROOT / "docs" / "policy.md").read_text() == reference()


@pytest.mark.parametrize("section", EXAMPLES)
def test_the_examples_of_the_reference_load(tmp_path: Path, section: str) -> None:
    """Each is a policy without problems that gives its own section."""
    assert list(yaml.safe_load(EXAMPLES[section])) == [section]
    assert policy_of(tmp_path, EXAMPLES[section]).version != policy_of(tmp_path, "{}").version

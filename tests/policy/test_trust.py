"""Trust in the policy: what its keys mean, which of them win, and what is wrong with them (SPEC 10 and 12)."""

from pathlib import Path

import pytest

from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, Effect, OnSuccess
from cstp_server.domain.damage import DEFAULT_DAMAGE_WEIGHTS, DamageType
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Mode
from cstp_server.domain.scopes import parse_scope
from cstp_server.policy.checking import check_policy
from cstp_server.policy.compiled import Policy
from tests.policy.writing import complaints_about, policy_of, write

HOUR = 3_600_000
DEFAULT = (3 * MICRO, 24 * HOUR, 24 * HOUR, 5, MICRO)
STRICT = (2 * MICRO, 24 * HOUR, 48 * HOUR, 10, MICRO)
IN_THE_SEED = {"file_write", "file_delete", "git_commit", "git_push", "external_api_call", "code_execution", "database_write"}


def settings_of(policy: Policy, domain: str = "general", user: str = "anna") -> CircuitSettings:
    settings = policy.circuits.covering(parse_scope(f"user:{user}/{domain}"))
    assert settings is not None
    facts = Facts(description="an action", agent_id="bot", user_id=user, user_domain=domain)
    assert dict(policy.circuits.matching(facts))[f"user:{user}/{domain}"] is settings
    return settings


def terms_of(settings: CircuitSettings) -> tuple[int, int, int, int, int]:
    """Threshold, window, recovery, successes and tolerance."""
    return (
        settings.failure_threshold,
        settings.window_ms,
        settings.cooldown_ms,
        settings.half_open_successes,
        settings.half_open_tolerance,
    )


def weights_of(settings: CircuitSettings) -> dict[str, float]:
    assert settings.trust is not None
    return {kind.value: weight / MICRO for kind, weight in settings.trust.damage_weights.items()}


@pytest.mark.parametrize("text", ["{}", "trust: {}", 'trust: {domains: {"*": {}}}', "trust: {domains: {other: {preset: strict}}}"])
def test_a_policy_that_says_nothing_of_it_measures_trust_as_the_guide_does(tmp_path: Path, text: str) -> None:
    """Threshold 3, a window and a recovery of a day, five successes, the guide's weights and actions, and a confirmation as effect."""
    settings = settings_of(policy_of(tmp_path, text))
    assert settings.trust is not None
    assert terms_of(settings) == DEFAULT
    assert settings.trust.damage_weights == DEFAULT_DAMAGE_WEIGHTS
    assert settings.trust.high_impact == IN_THE_SEED
    assert (settings.trust.setback, settings.effect, settings.on_success) == (2, Effect.CONFIRM, OnSuccess.NONE)
    assert (settings.mode, settings.notify, settings.id) == (Mode.ENFORCE, True, "trust-*")


@pytest.mark.parametrize(
    ("domains", "terms"),
    [
        ("code: {preset: strict}", STRICT),
        ("code: {preset: default}", DEFAULT),
        ("code: {preset: strict, damage_threshold: 2.5}", (2_500_000, *STRICT[1:])),
        ("code: {supervised_successes_required: 1, preset: strict}", (*STRICT[:3], 1, MICRO)),
        ("code: {damage_window_hours: 0.5}", (3 * MICRO, HOUR // 2, *DEFAULT[2:])),
        ("code: {half_open_tolerance: 0}", (*DEFAULT[:4], 0)),
        ('"*": {preset: strict}', STRICT),
        ('"*": {preset: strict}, code: {}', STRICT),
        ('"*": {preset: strict}, code: {preset: default}', DEFAULT),
        ('"*": {damage_threshold: 7}, code: {recovery_period_hours: 1}', (7 * MICRO, 24 * HOUR, HOUR, 5, MICRO)),
        ('"*": {damage_threshold: 7, preset: strict}, code: {recovery_period_hours: 1}', (7 * MICRO, 24 * HOUR, HOUR, 10, MICRO)),
        ('"*": {damage_threshold: 7}, code: {preset: strict}', STRICT),
    ],
)
def test_a_key_beats_the_preset_and_a_domain_beats_all_domains(tmp_path: Path, domains: str, terms: tuple[int, int, int, int, int]) -> None:
    """The domain's own key, its own preset, the key of `"*"`, the preset of `"*"`, the default: in this order, key by key."""
    assert terms_of(settings_of(policy_of(tmp_path, f"trust: {{domains: {{{domains}}}}}"), "code")) == terms


def test_what_is_said_of_one_domain_is_said_of_no_other(tmp_path: Path) -> None:
    """The domain is what follows the last slash; the user's id may have some."""
    policy = policy_of(tmp_path, "trust: {domains: {code: {preset: strict}}}")
    assert terms_of(settings_of(policy, "code", "team/code")) == STRICT
    assert terms_of(settings_of(policy, "general", "team/code")) == DEFAULT
    assert terms_of(settings_of(policy, "Code")) == DEFAULT


def test_weights_are_those_of_the_domain_then_of_all_domains_then_of_all_trust_then_the_guides(tmp_path: Path) -> None:
    """Type by type: naming one leaves the others as they are."""
    text = """
trust:
  severity_weights: {wrong_answer: 1.1, slow_response: 0.1, repetitive_error: 3}
  domains:
    "*": {severity_weights: {slow_response: 0.2, repetitive_error: 4}}
    code: {severity_weights: {repetitive_error: 0}}
"""
    policy = policy_of(tmp_path, text)
    guide = {kind.value: weight / MICRO for kind, weight in DEFAULT_DAMAGE_WEIGHTS.items()}
    everywhere = {**guide, "wrong_answer": 1.1, "slow_response": 0.2, "repetitive_error": 4.0}
    assert weights_of(settings_of(policy)) == everywhere
    assert weights_of(settings_of(policy, "code")) == {**everywhere, "repetitive_error": 0.0}


def test_actions_of_high_impact_are_compared_without_case_and_may_differ_by_domain(tmp_path: Path) -> None:
    """A list replaces the one it is in place of; an empty one leaves none."""
    text = 'trust: {high_impact_actions: [Deploy, " pay "], domains: {chat: {high_impact_actions: []}, ops: {high_impact_actions: [page]}}}'
    policy = policy_of(tmp_path, text)
    found = [trust.high_impact if (trust := settings_of(policy, domain).trust) else None for domain in ("general", "chat", "ops")]
    assert found == [{"deploy", "pay"}, frozenset(), {"page"}]


@pytest.mark.parametrize("breaker", ["user:*", "user:anna/general"])
def test_a_breaker_of_users_beats_trust(tmp_path: Path, breaker: str) -> None:
    """For those whom it covers; the exact one for one user in one domain, and for nobody else."""
    policy = policy_of(tmp_path, f'circuit_breakers: [{{scope: "{breaker}", failure_threshold: 9}}]')
    assert settings_of(policy).trust is None
    assert settings_of(policy).failure_threshold == 9 * MICRO
    assert (settings_of(policy, user="bob").trust is None) is (breaker == "user:*")


def test_trust_that_is_off_covers_nobody(tmp_path: Path) -> None:
    """There is no circuit then, for a check as for a call."""
    policy = policy_of(tmp_path, "trust: {mode: off}")
    assert policy.circuits.covering(parse_scope("user:anna/general")) is None
    assert policy.circuits.matching(Facts(description="an action", agent_id="bot", user_id="anna")) == ()
    assert settings_of(policy_of(tmp_path, "trust: {mode: shadow}")).mode is Mode.SHADOW


VERSIONS = [
    "{}",
    "trust: {severity_weights: {slow_response: 0.31}}",
    'trust: {domains: {"*": {severity_weights: {slow_response: 0.32}}}}',
    "trust: {domains: {code: {severity_weights: {slow_response: 0.31}}}}",
    "trust: {domains: {code: {}}}",
    "trust: {high_impact_actions: [deploy]}",
    'trust: {domains: {"*": {damage_threshold: 4}}}',
    "trust: {mode: shadow}",
    "trust: {mode: off}",
    "trust: {notify: false}",
]


def test_whatever_changes_in_it_changes_the_version_of_the_policy(tmp_path: Path) -> None:
    """And what only says the default in other words does not."""
    versions = [policy_of(tmp_path, text).version for text in VERSIONS]
    assert len(set(versions)) == len(versions)
    same = ["trust: {severity_weights: {slow_response: 0.3}}", 'trust: {domains: {"*": {preset: default}}}', "trust: {mode: enforce}"]
    assert {policy_of(tmp_path, text).version for text in same} == {versions[0]}


ALL_TYPES = ", ".join(f"`{kind.value}`" for kind in DamageType)
WRONG = {
    "a section's key": ("trust:\n  domain: {}\n", "policy.yaml:2: unknown key `domain` in `trust`, did you mean `domains`?"),
    "a domain's key": (
        "trust:\n  domains:\n    code:\n      damage_treshold: 3\n",
        "policy.yaml:4: unknown key `damage_treshold` in `trust.domains.code`, did you mean `damage_threshold`?",
    ),
    "a preset": (
        "trust:\n  domains:\n    code: {preset: strikt}\n",
        "policy.yaml:3: `trust.domains.code.preset` must be `default` or `strict`, not `strikt`, did you mean `strict`?",
    ),
    "a type of damage, nearly": (
        "trust:\n  severity_weights:\n    wrong_answr: 1\n",
        "policy.yaml:3: `trust.severity_weights.wrong_answr` is no type of damage, did you mean `wrong_answer`?",
    ),
    "a type of damage": (
        "trust:\n  domains:\n    code:\n      severity_weights:\n        boredom: 1\n",
        f"policy.yaml:5: `trust.domains.code.severity_weights.boredom` is no type of damage: use {ALL_TYPES}",
    ),
    "a weight": (
        "trust:\n  severity_weights: {wrong_answer: -0.1}\n",
        "policy.yaml:2: `trust.severity_weights.wrong_answer` must be at least 0, not `-0.1`",
    ),
    "a domain with a slash": (
        "trust:\n  domains:\n    code: {}\n    code/review: {}\n",
        "policy.yaml:4: `trust.domains.code/review`: a domain is a text without `/`, and not empty",
    ),
    "a threshold of nothing": (
        "trust: {domains: {code: {damage_threshold: 0}}}\n",
        "policy.yaml:1: `trust.domains.code.damage_threshold` must be at least 1e-06, not `0`",
    ),
    "no success at all": (
        "trust: {domains: {code: {supervised_successes_required: 0}}}\n",
        "policy.yaml:1: `trust.domains.code.supervised_successes_required` must be at least 1, not `0`",
    ),
    "a time that is no number": (
        "trust: {domains: {code: {recovery_period_hours: .nan}}}\n",
        "policy.yaml:1: `trust.domains.code.recovery_period_hours` must be a finite number, not `nan`",
    ),
    "a mode": ("trust: {mode: on}\n", "policy.yaml:1: `trust.mode` must be one of `enforce`, `shadow`, `off`, not `on`"),
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_place_and_what_would_be_right(tmp_path: Path, text: str, complaint: str) -> None:
    """File, line, key, and the nearest name that there is."""
    assert complaints_about(tmp_path, text) == [complaint]


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ('circuit_breakers:\n  - id: users\n    scope: "user:*"\n', True),
        ('trust: {domains: {code: {preset: strict}}}\ncircuit_breakers:\n  - scope: "user:*"\n', True),
        ('trust: {mode: off}\ncircuit_breakers:\n  - scope: "user:*"\n', False),
        ('circuit_breakers:\n  - scope: "user:anna/general"\n', False),
    ],
)
def test_a_breaker_of_all_users_is_warned_of_since_trust_never_applies(tmp_path: Path, text: str, warned: bool) -> None:
    """At its line, unless trust is off anyway; one of a single user is an exception that somebody has meant."""
    report = check_policy(write(tmp_path, text))
    expected = "circuit `user:*` covers every user: `trust` never applies; take it out, or say `trust: {mode: off}`"
    assert [(problem.line, problem.message) for problem in report.warnings] == ([(3, expected)] if warned else [])

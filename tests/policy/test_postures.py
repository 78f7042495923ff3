"""Postures in the policy: what agents begin with, the guards of transitions and their language, and what is earned (SPEC 8)."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from cstp_server.domain.expressions import EvaluationFailed
from cstp_server.domain.posture_guards import TransitionRequest
from cstp_server.domain.postures import POSTURES, Posture, TransitionType
from cstp_server.policy.cel import BadExpression, compile_predicate
from cstp_server.policy.cel_languages import TRANSITIONS
from cstp_server.policy.checking import check_policy
from cstp_server.policy.compiled import Earned, PosturePolicy
from cstp_server.policy.loading import load_policy
from cstp_server.policy.posture_models import EarnedLabel, LoweredLabel, PostureLabel
from cstp_server.policy.schema import policy_schema
from cstp_server.services.guardrails import list_guardrails
from tests.policy.writing import complaints, complaints_about, policy_of, write

REQUEST = TransitionRequest(
    agent_id="bot",
    from_posture=Posture.SUPERVISED,
    to_posture=Posture.FULL_AUTONOMY,
    type=TransitionType.UPGRADE,
    requester="ops",
    reason="30 days without a failure",
    metadata={},
    acl_tier=2,
    score=0.83,
    reviewed=60,
)
SEED = """
postures:
  guards:
    - name: security_team_approval
      when: request.to_level <= 3 || metadata.security_approved == true
      reason: Security team approval required for high autonomy
"""
ONE_OF_FIVE = "must be one of `full_autonomy`, `assisted`, `supervised`, `human_decides`, `blocked`"
ONE_OF_LOWER = "must be one of `none`, `assisted`, `supervised`, `human_decides`, `blocked`"


def test_a_policy_says_nothing_of_postures(tmp_path: Path) -> None:
    """Everybody is supervised, nobody guards, nothing is earned."""
    postures = policy_of(tmp_path, "{}").postures
    assert postures == PosturePolicy()
    assert (postures.of("bot", None).posture, postures.score_window_ms, postures.review_due_ms) == (
        Posture.SUPERVISED,
        30 * 86_400_000,
        86_400_000,
    )


def test_agents_begin_as_the_policy_says(tmp_path: Path) -> None:
    """A named one with its own, everybody else with that of `*`; one that is named without a posture is like everybody else."""
    text = 'agents: {"*": {posture: human_decides}, bot: {posture: full_autonomy}, other: {acl_tier: 3}}'
    postures = policy_of(tmp_path, text).postures
    assert [postures.of(name, None).posture for name in ("bot", "other", "stranger")] == [
        Posture.FULL_AUTONOMY,
        Posture.HUMAN_DECIDES,
        Posture.HUMAN_DECIDES,
    ]


@pytest.mark.parametrize("label", POSTURES)
def test_every_posture_may_be_the_first(tmp_path: Path, label: str) -> None:
    """All five, by their names."""
    assert policy_of(tmp_path, f"agents: {{bot: {{posture: {label}}}}}").postures.of_agents == {"bot": POSTURES[label]}


def test_the_policy_knows_the_postures_of_the_domain() -> None:
    """All of them to begin with, all but the highest to be lowered to, all but the lowest to earn."""
    assert set(get_args(PostureLabel)) == set(POSTURES)
    assert set(get_args(LoweredLabel)) == {*POSTURES, "none"} - {"full_autonomy"}
    assert set(get_args(EarnedLabel)) == POSTURES.keys() - {"blocked"}


def test_what_is_earned_arrives(tmp_path: Path) -> None:
    """The record that each posture takes, and how the record is read."""
    text = (
        "postures: {earned: [{to: assisted, min_score: 0.8, min_reviewed: 50}, "
        "{to: full_autonomy, min_score: 1, min_reviewed: 1, auto: true}], "
        "score_window_ms: 5000, review_due_ms: 100, min_review_coverage: 0.5}"
    )
    postures = policy_of(tmp_path, text).postures
    assert postures.earned == (Earned(Posture.ASSISTED, 0.8, 50), Earned(Posture.FULL_AUTONOMY, 1.0, 1, auto=True))
    assert (postures.score_window_ms, postures.review_due_ms, postures.min_review_coverage) == (5000, 100, 0.5)


@pytest.mark.parametrize("to", ["blocked", "human_decides", "supervised", "assisted"])
def test_a_circuit_lowers_postures(tmp_path: Path, to: str) -> None:
    """To any but the highest, and keeps them there where it is told to."""
    text = f"circuit_breakers: [{{scope: 'agent:*', on_open: {{downgrade_to: {to}}}, on_close: keep}}]"
    settings = policy_of(tmp_path, text).circuits.templates["agent:*"]
    assert (settings.downgrade_to, settings.restore_posture) == (to, False)


@pytest.mark.parametrize(
    ("to", "metadata", "reason"),
    [
        (Posture.FULL_AUTONOMY, {}, "Security team approval required for high autonomy"),
        (Posture.ASSISTED, {"security_approved": False}, "Security team approval required for high autonomy"),
        (Posture.ASSISTED, {"security_approved": "yes"}, "Security team approval required for high autonomy"),
        (Posture.FULL_AUTONOMY, {"security_approved": True}, None),
        (Posture.SUPERVISED, {}, None),
    ],
)
def test_the_seed_s_guard(tmp_path: Path, to: Posture, metadata: dict[str, object], reason: str | None) -> None:
    """High autonomy wants the security team's approval; what is not above supervised does not."""
    (guard,) = policy_of(tmp_path, SEED).postures.guards
    assert (guard.name, guard.applies_to) == ("security_team_approval", frozenset({TransitionType.UPGRADE}))
    assert guard.check(replace(REQUEST, from_posture=Posture.HUMAN_DECIDES, to_posture=to, metadata=metadata)) == reason


def test_a_guard_without_a_reason_has_one(tmp_path: Path) -> None:
    """It names the guard."""
    (guard,) = policy_of(
        tmp_path, "postures: {guards: [{name: a, applies_to: [downgrade, maintain, downgrade], when: 'false'}]}"
    ).postures.guards
    assert guard.check(REQUEST) == "what the guard `a` asks for does not hold"
    assert guard.applies_to == {TransitionType.DOWNGRADE, TransitionType.MAINTAIN}


def test_guards_of_several_files_follow_each_other(tmp_path: Path) -> None:
    """In the order of the files, and a name that two files give is an error."""
    write(tmp_path, "postures: {guards: [{name: a, when: 'true'}], approval_ttl_ms: 5}", "1.yaml")
    write(tmp_path, "postures: {guards: [{name: b, when: 'true'}]}", "2.yaml")
    assert [guard.name for guard in load_policy(tmp_path).postures.guards] == ["a", "b"]
    write(tmp_path, "postures: {guards: [{name: a, when: 'true'}]}", "3.yaml")
    assert complaints(tmp_path) == ["3.yaml:1: the id `a` is given twice, first in 1.yaml:1"]


HOLDS = {
    'request.from_posture == "supervised" && request.to_posture == "full_autonomy"': True,
    "request.from_level == 3 && request.to_level == 5": True,
    'request.transition_type == "upgrade"': True,
    'request.transition_type in ["downgrade", "maintain"]': False,
    'request.requester == "ops" && request.reason.contains("30 days")': True,
    'agent.id == "bot" && agent.acl_tier <= 2': True,
    "trust.score >= 0.8 && trust.reviewed >= 50": True,
    "trust.score > 0.83": False,
    "metadata.ticket == null": True,
    'metadata["ticket"] == null': True,
    "has(metadata.ticket)": False,
    '"ticket" in metadata': False,
    "metadata.ticket == true": False,
    "metadata.ticket.id == 1": EvaluationFailed,
    "metadata.approvals > 1": EvaluationFailed,
    "metadata.approved": EvaluationFailed,
    "!metadata.frozen": EvaluationFailed,
    "metadata.?ticket.orValue('x') == 'x'": True,
    "request.to_level / (request.to_level - 5) > 0": EvaluationFailed,
}


@pytest.mark.parametrize(("source", "expected"), HOLDS.items(), ids=HOLDS)
def test_a_condition_looks_at_the_request(source: str, expected: object) -> None:
    """On an upgrade without metadata: true, false, or a failure."""
    result = compile_predicate(source, TRANSITIONS)(REQUEST.subject())
    assert result is expected if isinstance(expected, bool) else isinstance(result, EvaluationFailed)


@pytest.mark.parametrize("source", [source for source, expected in HOLDS.items() if expected is not True and '"' not in source])
def test_what_does_not_hold_refuses(tmp_path: Path, source: str) -> None:
    """A failure is no consent, and its reason is the guard's own."""
    (guard,) = policy_of(tmp_path, f'postures: {{guards: [{{name: a, when: "{source}", reason: not so}}]}}').postures.guards
    assert guard.check(REQUEST) == "not so"


@pytest.mark.parametrize("value", [2**70, b"x", {"a": {1, 2}}, object()])
def test_metadata_that_the_language_cannot_take_refuses(tmp_path: Path, value: object) -> None:
    """A guard that looks at such metadata says no, and does not raise."""
    (guard,) = policy_of(tmp_path, SEED).postures.guards
    assert guard.check(replace(REQUEST, metadata={"security_approved": value})) is not None


TYPOS = {
    "request.to_levl <= 3": "`request` has no field `to_levl`, did you mean `to_level`?",
    "agent.tier == 2": "`agent` has no field `tier`, did you mean `acl_tier`?",
    "trust.scor > 0.5": "`trust` has no field `scor`, did you mean `score`?",
    "requst.to_level <= 3": "there is no `requst`, did you mean `request`?",
    'action.type == "x"': "there is no `action`, only `agent`, `metadata`, `request`, `trust`",
    'posture == "supervised"': "there is no `posture`, only `agent`, `metadata`, `request`, `trust`",
    'request.to_posture != "full_autonmy"': "`request.to_posture` is never `full_autonmy`, did you mean `full_autonomy`?",
    '"supervized" == request.from_posture': "`request.from_posture` is never `supervized`, did you mean `supervised`?",
    'request.to_posture in ["assisted", "full"]': (
        "`request.to_posture` is never `full`, only `assisted`, `blocked`, `full_autonomy`, `human_decides`, `supervised`"
    ),
    'request.transition_type == "promotion"': (
        "`request.transition_type` is never `promotion`, only `downgrade`, `emergency_downgrade`, `maintain`, `upgrade`"
    ),
}


@pytest.mark.parametrize(("source", "message"), TYPOS.items(), ids=TYPOS)
def test_a_typo_is_told_with_the_nearest_name(source: str, message: str) -> None:
    """Variables, fields, and the names of postures and of kinds of transitions."""
    with pytest.raises(BadExpression) as caught:
        compile_predicate(source, TRANSITIONS)
    assert str(caught.value) == f"`{source}` is no valid expression: {message}"


def test_the_languages_keep_to_themselves() -> None:
    """A rule speaks of actions and not of transitions."""
    with pytest.raises(BadExpression, match="there is no `request`"):
        compile_predicate("request.to_level <= 3")
    with pytest.raises(BadExpression, match="there is no `metadata`"):
        compile_predicate("metadata.x == 1")


GUARD = "postures:\n  guards:\n    - name: a\n"
EARNED = "postures:\n  earned:\n    - to: assisted\n"
CASES = {
    "no posture": ("agents:\n  bot:\n    posture: autonomous\n", f"policy.yaml:3: `agents.bot.posture` {ONE_OF_FIVE}, not `autonomous`"),
    "a typo in a posture": (
        "agents:\n  '*':\n    posture: supervized\n",
        f"policy.yaml:3: `agents.*.posture` {ONE_OF_FIVE}, not `supervized`, did you mean `supervised`?",
    ),
    "a level": ("agents:\n  bot:\n    posture: 3\n", f"policy.yaml:3: `agents.bot.posture` {ONE_OF_FIVE}, not `3`"),
    "a posture of another case": (
        "agents:\n  bot:\n    posture: Blocked\n",
        f"policy.yaml:3: `agents.bot.posture` {ONE_OF_FIVE}, not `Blocked`, did you mean `blocked`?",
    ),
    "postures in a list": ("agents:\n  bot:\n    posture: [blocked]\n", f"policy.yaml:3: `agents.bot.posture` {ONE_OF_FIVE}, not a list"),
    "a typo in a key": ("postures:\n  guard: []\n", "policy.yaml:2: unknown key `guard` in `postures`, did you mean `guards`?"),
    "guards that are none": ("postures:\n  guards: {a: 1}\n", "policy.yaml:2: `postures.guards` must be a list, not a mapping"),
    "a guard without a name": (
        "postures:\n  guards:\n    - when: 'true'\n",
        "policy.yaml:3: `postures.guards[0]` lacks the key `name`",
    ),
    "a guard without a condition": (GUARD, "policy.yaml:3: `postures.guards[0]` lacks the key `when`"),
    "a typo in a guard": (
        GUARD + "    # what\n      when: 'true'\n      aplies_to: [upgrade]\n",
        "policy.yaml:6: unknown key `aplies_to` in `postures.guards[0]`, did you mean `applies_to`?",
    ),
    "a guard of a halt": (
        GUARD + "      when: 'true'\n      applies_to: [upgrade, emergency_downgrade]\n",
        "policy.yaml:5: `postures.guards[0].applies_to[1]` must be one of `upgrade`, `downgrade`, `maintain`, not `emergency_downgrade`, "
        "did you mean `downgrade`?",
    ),
    "a guard of nothing": (
        GUARD + "      when: 'true'\n      applies_to: []\n",
        "policy.yaml:5: `postures.guards[0].applies_to` must hold at least 1, not a list",
    ),
    "a condition with a typo": (
        GUARD + "      when: request.to_levl < 3\n",
        "policy.yaml:4: `postures.guards[0].when`: `request.to_levl < 3` is no valid expression: "
        "`request` has no field `to_levl`, did you mean `to_level`?",
    ),
    "a condition that is none": (
        GUARD + "      when: request.to_level + 1\n",
        "policy.yaml:4: `postures.guards[0].when`: `request.to_level + 1`",
    ),
    "an empty reason": (
        GUARD + "      when: 'true'\n      reason: ''\n",
        "policy.yaml:5: `postures.guards[0].reason` must be a text that is not empty",
    ),
    "a guard's name twice": (
        GUARD + "      when: 'true'\n    - name: a\n      when: 'false'\n",
        "policy.yaml:5: the id `a` is given twice, first in policy.yaml:3",
    ),
    "the name of a rule": (
        "guardrails:\n  - id: a\npostures:\n  guards: [{name: a, when: 'true'}]\n",
        "policy.yaml:4: the id `a` is given twice, first in policy.yaml:2",
    ),
    "the name of a built-in tripwire": (
        "postures:\n  guards: [{name: secrets, when: 'true'}]\n",
        "policy.yaml:2: the id `secrets` is that of a built-in tripwire: use another",
    ),
    "a score in per cent": (
        EARNED + "      min_reviewed: 5\n      min_score: 80\n",
        "policy.yaml:5: `postures.earned[0].min_score` must be at most 1, not `80`",
    ),
    "no score": (EARNED + "      min_reviewed: 5\n", "policy.yaml:3: `postures.earned[0]` lacks the key `min_score`"),
    "no outcomes": (
        EARNED + "      min_score: 0.5\n      min_reviewed: 0\n",
        "policy.yaml:5: `postures.earned[0].min_reviewed` must be at least 1, not `0`",
    ),
    "auto in words": (
        EARNED + "      min_score: 0.5\n      min_reviewed: 1\n      auto: yes\n",
        "policy.yaml:6: `postures.earned[0].auto` must be `true` or `false`, not `yes`",
    ),
    "to earn the lowest": (
        "postures:\n  earned:\n    - to: blocked\n      min_score: 0.5\n      min_reviewed: 1\n",
        "policy.yaml:3: `postures.earned[0].to` must be one of `full_autonomy`, `assisted`, `supervised`, `human_decides`, not `blocked`",
    ),
    "earned twice": (
        EARNED + "      min_score: 0.5\n      min_reviewed: 1\n    - {to: assisted, min_score: 0.6, min_reviewed: 2}\n",
        "policy.yaml:6: the earned posture `assisted` is given twice, first in policy.yaml:3",
    ),
    "a share in per cent": (
        "postures: {min_review_coverage: 80}\n",
        "policy.yaml:1: `postures.min_review_coverage` must be at most 1, not `80`",
    ),
    "a window of no time": (
        "postures: {score_window_ms: 0}\n",
        "policy.yaml:1: `postures.score_window_ms` must be greater than 0, not `0`",
    ),
    "due at once": ("postures: {review_due_ms: 0}\n", "policy.yaml:1: `postures.review_due_ms` must be greater than 0, not `0`"),
    "lowered to the highest": (
        "circuit_breakers:\n  - scope: global\n    on_open: {downgrade_to: full_autonomy}\n",
        f"policy.yaml:3: `circuit_breakers[0].on_open.downgrade_to` {ONE_OF_LOWER}, not `full_autonomy`",
    ),
    "lowered to nothing known": (
        "circuit_breakers:\n  - scope: global\n    on_open: {downgrade_to: human_decide}\n",
        f"policy.yaml:3: `circuit_breakers[0].on_open.downgrade_to` {ONE_OF_LOWER}, not `human_decide`, did you mean `human_decides`?",
    ),
    "neither restored nor kept": (
        "circuit_breakers:\n  - scope: global\n    on_close: forget\n",
        "policy.yaml:3: `circuit_breakers[0].on_close` must be one of `restore`, `keep`, not `forget`",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """One problem, which names the field, its line, and what would be right."""
    assert [problem[: len(message)] for problem in complaints_about(tmp_path, text)] == [message]


LOWERING = "circuit_breakers:\n  - scope: "
WARNED = {
    "always true": (GUARD + "      when: 1 < 2\n", "policy.yaml:4: guard `a` never refuses: its condition is always true"),
    "never true": (
        GUARD + "      when: 'false'\n",
        "policy.yaml:4: guard `a` refuses every transition that it looks at: its condition never",
    ),
    "always an error": (GUARD + "      when: 1 / 0 == 1\n", "policy.yaml:4: guard `a` refuses every transition that it looks at"),
    "what everybody has": (
        "postures:\n  earned:\n    - {to: supervised, min_score: 0.5, min_reviewed: 5}\n",
        "policy.yaml:3: earned posture `supervised` is not above what agents begin with, `supervised`: only those that were lowered",
    ),
    "out of reach": (
        "postures:\n  earned:\n    - {to: assisted, min_score: 1, min_reviewed: 5}\n",
        "policy.yaml:3: earned posture `assisted` is never earned: no number of successes reaches a score of 1",
    ),
    "the higher for less": (
        "postures:\n  earned:\n    - {to: full_autonomy, min_score: 0.8, min_reviewed: 50}\n"
        "    - {to: assisted, min_score: 0.8, min_reviewed: 50}\n",
        "policy.yaml:3: earned posture `full_autonomy` asks for no more than the lower `assisted`",
    ),
    "never due": (
        "postures:\n  score_window_ms: 5000\n  review_due_ms: 5000\n",
        "policy.yaml:3: `postures.review_due_ms` is not below `score_window_ms`: no decision is ever due",
    ),
    "due by default after the window": (
        "postures:\n  score_window_ms: 5000\n",
        "policy.yaml:1: `postures.review_due_ms` is not below `score_window_ms`: no decision is ever due",
    ),
    "blocked without probes": (
        LOWERING + "'agent:*'\n    on_open: {downgrade_to: blocked}\n",
        "policy.yaml:2: circuit `agent:*` lowers its agent to `blocked`: none of its decisions can be a probe then",
    ),
    "blocked and kept": (
        LOWERING + "global\n    on_open: {downgrade_to: blocked}\n    on_close: keep\n",
        "policy.yaml:2: circuit `global` lowers agents to `blocked` with `on_close: keep`: they stay there",
    ),
    "no lower than the first": (
        LOWERING + "global\n    on_open: {downgrade_to: supervised}\n",
        "policy.yaml:2: circuit `global` lowers agents to `supervised`, and only those that were raised: no agent begins above it",
    ),
    "keeping nothing": (
        LOWERING + "global\n    on_close: keep\n",
        "policy.yaml:2: circuit `global` has `on_close: keep` and lowers nobody",
    ),
}


@pytest.mark.parametrize(("text", "warning"), WARNED.values(), ids=WARNED)
def test_what_is_hardly_meant_is_warned_of(tmp_path: Path, text: str, warning: str) -> None:
    """The policy loads, with one warning that names the line."""
    report = check_policy(write(tmp_path, text))
    assert report.problems == ()
    assert [str(found).replace(f"{tmp_path}/", "")[: len(warning)] for found in report.warnings] == [warning]


CLEAN = [
    SEED,
    "postures: {earned: [{to: assisted, min_score: 0.8, min_reviewed: 50}, {to: full_autonomy, min_score: 0.9, min_reviewed: 50}]}",
    "agents: {bot: {posture: human_decides}}\npostures: {earned: [{to: supervised, min_score: 0.8, min_reviewed: 50}]}",
    "agents: {bot: {posture: assisted}}\ncircuit_breakers: [{scope: 'agent:*', on_open: {downgrade_to: supervised}}]",
    "circuit_breakers: [{scope: 'agent:*', on_open: {downgrade_to: human_decides}, on_close: keep}]",
    "circuit_breakers: [{scope: global, on_open: {downgrade_to: blocked}}]",
]


@pytest.mark.parametrize("text", CLEAN)
def test_what_is_meant_is_not_warned_of(tmp_path: Path, text: str) -> None:
    """Guards that look, postures above the first, circuits that can close again."""
    report = check_policy(write(tmp_path, text))
    assert (report.problems, report.warnings) == ((), ())


EARNS = "postures: {earned: [{to: assisted, min_score: 0.8, min_reviewed: 50}]}"
ASKS = "postures: {guards: [{name: a, when: trust.score > 0.5}]}"
OTHER = {
    "the first posture": ("{}", 'agents: {"*": {posture: assisted}}'),
    "an agent's first posture": ("agents: {bot: {acl_tier: 2}}", "agents: {bot: {acl_tier: 2, posture: assisted}}"),
    "a guard": ("{}", ASKS),
    "a guard's condition": (ASKS, ASKS.replace("0.5", "0.6")),
    "a guard's name": (ASKS, ASKS.replace("name: a", "name: b")),
    "a guard's reason": (ASKS, ASKS.replace("}]", ", reason: no}]")),
    "a guard's transitions": (ASKS, ASKS.replace("}]", ", applies_to: [downgrade]}]")),
    "the order of guards": (
        "postures: {guards: [{name: a, when: 'true'}, {name: b, when: 'true'}]}",
        "postures: {guards: [{name: b, when: 'true'}, {name: a, when: 'true'}]}",
    ),
    "what is earned": ("{}", EARNS),
    "the score": (EARNS, EARNS.replace("0.8", "0.9")),
    "the outcomes": (EARNS, EARNS.replace("50", "51")),
    "by itself": (EARNS, EARNS.replace("}]", ", auto: true}]")),
    "the window": ("{}", "postures: {score_window_ms: 86400001}"),
    "when reviews are due": ("{}", "postures: {review_due_ms: 1}"),
    "the coverage": ("{}", "postures: {min_review_coverage: 0.5}"),
    "the delay": ("{}", "postures: {assisted_delay_ms: 1}"),
    "the lowering": ("circuit_breakers: [{scope: global}]", "circuit_breakers: [{scope: global, on_open: {downgrade_to: blocked}}]"),
    "the keeping": ("circuit_breakers: [{scope: global}]", "circuit_breakers: [{scope: global, on_close: keep}]"),
}
SAME = {
    "the default posture": ("{}", 'agents: {"*": {posture: supervised}}'),
    "an agent of no more than a name": ("{}", "agents: {bot: {}}"),
    "defaults": ("{}", "postures: {score_window_ms: 2592000000, min_review_coverage: 0, guards: [], earned: []}"),
    "the default transitions": (ASKS, ASKS.replace("}]", ", applies_to: [upgrade]}]")),
    "the order of transitions": (
        ASKS.replace("}]", ", applies_to: [upgrade, maintain]}]"),
        ASKS.replace("}]", ", applies_to: [maintain, upgrade, maintain]}]"),
    ),
    "the order of what is earned": (
        "postures: {earned: [{to: assisted, min_score: 0, min_reviewed: 5}, {to: full_autonomy, min_score: 1, min_reviewed: 6}]}",
        "postures: {earned: [{to: full_autonomy, min_score: 1.0, min_reviewed: 6}, {to: assisted, min_score: 0.0, min_reviewed: 5}]}",
    ),
}


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_another_meaning_has_another_version(tmp_path: Path, one: str, other: str) -> None:
    """Whatever may change what a transition, a score or a circuit does."""
    assert policy_of(tmp_path, one).version != policy_of(tmp_path, other).version


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_same_meaning_has_the_same_version(tmp_path: Path, one: str, other: str) -> None:
    """Defaults that are written down, and orders that do not matter."""
    assert policy_of(tmp_path, one).version == policy_of(tmp_path, other).version


@pytest.mark.parametrize(
    "text",
    [
        "agents: {bot: {posture: supervized}}",
        "postures: {guards: [{name: a}]}",
        "postures: {guards: [{name: a, when: 'true', applies_to: [emergency_downgrade]}]}",
        "postures: {guards: [{name: a, when: 'true', applies_to: []}]}",
        "postures: {earned: [{to: blocked, min_score: 0.5, min_reviewed: 1}]}",
        "postures: {earned: [{to: assisted, min_score: 80, min_reviewed: 1}]}",
        "circuit_breakers: [{scope: global, on_open: {downgrade_to: full_autonomy}}]",
    ],
)
def test_the_schema_refuses_what_does_not_load(text: str) -> None:
    """Names of postures and transitions, bounds, and missing keys; and it accepts what is beside them."""
    validator = jsonschema.Draft202012Validator(policy_schema())
    assert not validator.is_valid(yaml.safe_load(text))
    assert all(validator.is_valid(yaml.safe_load(good)) for good in CLEAN)


def test_guards_of_transitions_are_listed(tmp_path: Path) -> None:
    """After everything else, in their order, with the condition and the reason."""
    text = SEED + "    - {name: calm, applies_to: [maintain, upgrade, downgrade], when: trust.score > 0.1}\n"
    listed = [info for info in list_guardrails(policy_of(tmp_path, text)) if info.type == "posture"]
    assert [(info.id, info.action, info.mode, info.scope, info.condition) for info in listed] == [
        ("security_team_approval", "block", "enforce", None, "request.to_level <= 3 || metadata.security_approved == true"),
        ("calm", "block", "enforce", None, "trust.score > 0.1"),
    ]
    assert [info.description for info in listed] == [
        "is asked before upgrades of an agent's posture: Security team approval required for high autonomy",
        "is asked before downgrades or moves to the same posture or upgrades of an agent's posture: "
        "what the guard `calm` asks for does not hold",
    ]

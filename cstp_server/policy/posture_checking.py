"""What is legal in a policy's postures and hardly meant (`cstp policy check`)."""

from collections.abc import Iterator

from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.posture_guards import ConditionGuard, TransitionRequest
from cstp_server.domain.postures import POSTURES, Posture, TransitionType
from cstp_server.domain.scopes import ScopeKind, parse_scope
from cstp_server.domain.trust_scores import Record, successes_needed
from cstp_server.policy.cel import is_constant
from cstp_server.policy.cel_languages import TRANSITIONS
from cstp_server.policy.compiled import Earned, Policy, PosturePolicy
from cstp_server.policy.fields import Path
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.yaml_nodes import Node

_REQUEST = TransitionRequest(
    agent_id="agent",
    from_posture=Posture.SUPERVISED,
    to_posture=Posture.ASSISTED,
    type=TransitionType.UPGRADE,
    requester="somebody",
    reason="",
    metadata={},
    acl_tier=2,
    score=0.0,
    reviewed=0,
)


def posture_warnings(policy: Policy, root: Node) -> Iterator[PolicyProblem]:
    """All of them, each with its place in the document that the policy was read from."""
    postures = policy.postures
    for index, guard in enumerate(postures.guards):
        if isinstance(guard, ConditionGuard) and is_constant(guard.when.source, TRANSITIONS):
            yield _at(root, ("postures", "guards", index, "when"), f"guard `{guard.name}` {_about_constant(guard)}")
    for index, earned in enumerate(postures.earned):
        for message in _about_earned(earned, postures):
            yield _at(root, ("postures", "earned", index, "to"), f"earned posture `{earned.to.label}` {message}")
    if postures.review_due_ms >= postures.score_window_ms:
        message = (
            "`postures.review_due_ms` is not below `score_window_ms`: no decision is ever due, and the coverage of reviews is always 1"
        )
        yield _at(root, ("postures", "review_due_ms"), message)


def about_lowering(scope: str, settings: CircuitSettings, postures: PosturePolicy) -> Iterator[str]:
    """What is odd about the way in which a circuit lowers postures."""
    if settings.downgrade_to is None:
        if not settings.restore_posture:
            yield "has `on_close: keep` and lowers nobody: `on_open.downgrade_to` is `none`"
        return
    to = POSTURES[settings.downgrade_to]
    if to >= _highest(postures):
        yield f"lowers agents to `{to.label}`, and only those that were raised: no agent begins above it"
    if to is Posture.BLOCKED and parse_scope(scope).kind is ScopeKind.AGENT:
        yield (
            "lowers its agent to `blocked`: none of its decisions can be a probe then, and the circuit stays half-open until "
            "somebody resets it; `human_decides` lets people try it out"
        )
    elif to is Posture.BLOCKED and not settings.restore_posture:
        yield "lowers agents to `blocked` with `on_close: keep`: they stay there until somebody moves each of them"


def _highest(postures: PosturePolicy) -> Posture:
    return max([postures.default, *postures.of_agents.values()])


def _about_constant(guard: ConditionGuard) -> str:
    passes = guard.check(_REQUEST) is None
    return (
        "never refuses: its condition is always true" if passes else "refuses every transition that it looks at: its condition never holds"
    )


def _about_earned(earned: Earned, postures: PosturePolicy) -> Iterator[str]:
    lowest = min([postures.default, *postures.of_agents.values()])
    if earned.to <= lowest:
        yield f"is not above what agents begin with, `{lowest.label}`: only those that were lowered can earn it"
    if successes_needed(Record(), min_score=earned.min_score, min_reviewed=earned.min_reviewed) is None:
        yield f"is never earned: no number of successes reaches a score of {earned.min_score:g}"
    for other in postures.earned:
        if other.to < earned.to and other.min_score >= earned.min_score and other.min_reviewed >= earned.min_reviewed:
            yield f"asks for no more than the lower `{other.to.label}`"


def _at(root: Node, path: Path, message: str) -> PolicyProblem:
    return PolicyProblem(*root.place_of(path), message)

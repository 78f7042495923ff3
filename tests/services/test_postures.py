"""What each posture does to a check, and how agents are moved between them: by whom, past whom, and what is told of it (SPEC 8)."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import update

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Answer
from cstp_server.domain.posture_guards import TransitionGuard, TransitionRequest
from cstp_server.domain.postures import AgentPosture, Posture, TransitionType
from cstp_server.domain.refusals import Conflict, Forbidden, InvalidInput
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import UseCase
from cstp_server.services.requests import TransitionAnswer
from cstp_server.storage import tables
from tests.services.conftest import MakeWorld
from tests.services.governing import asking, attempt, block, history, known, move, posture_move
from tests.services.world import OPS, World, checking, policy_of, tripping

OLGA = Caller("olga", frozenset({Role.OPS, Role.VIEWER}))
SEVERE = {"name": "severe", "severity": "severe", "when": "action.context.evil == true"}
EVIL = {"context": {"evil": True}}
FINDINGS = {"assisted": "delay", "human_decides": "escalate", "blocked": "block"}
APPROVAL_MS, CANCEL_MS = 60_000, 5_000
WAITS = {"assisted_delay_ms": CANCEL_MS, "approval_ttl_ms": APPROVAL_MS}


def beginning(posture: str, **sections: Any) -> Policy:
    """A policy under which `bot` begins with that posture."""
    return policy_of(agents={"bot": {"posture": posture}}, postures={**WAITS, **sections.pop("postures", {})}, **sections)


# checks


@pytest.mark.parametrize("posture", ["full_autonomy", "supervised"])
def test_an_agent_that_may_act_is_allowed_at_once(make_world: MakeWorld, posture: str) -> None:
    """Without a finding; the answer and the decision name the posture."""
    world = make_world(beginning(posture))
    answer = world.check("a")
    assert (answer.verdict.allowed, answer.posture, answer.verdict.violations, answer.pending) == (True, posture, (), None)
    decision = world.decision("a")
    assert decision is not None
    assert decision.answer == answer


@pytest.mark.parametrize("posture", ["supervised", "assisted", "human_decides", "blocked", "full_autonomy"])
def test_the_audit_has_the_details_unless_the_agent_has_full_autonomy(make_world: MakeWorld, posture: str) -> None:
    """What it wanted to do, besides what was said to it."""
    world = make_world(beginning(posture))
    world.check("a", description="refund order 1142", type="issue_refund", tags=("refund",), user_id="user_1")
    (event,) = world.events("decision.checked")
    detailed = {key: event.data.get(key) for key in ("description", "type", "category", "stakes", "tags", "user")}
    expected: dict[str, Any] = dict.fromkeys(detailed)
    if posture != "full_autonomy":
        expected = {
            "description": "refund order 1142",
            "type": "issue_refund",
            "category": "tooling",
            "stakes": "medium",
            "tags": ["refund"],
            "user": "user_1",
        }
    assert detailed == expected


@pytest.mark.parametrize(("posture", "intervention"), FINDINGS.items())
def test_other_postures_have_their_finding(make_world: MakeWorld, posture: str, intervention: str) -> None:
    """Delayed, escalated, or blocked; what waits says for what and how long."""
    world = make_world(beginning(posture))
    answer = world.check("a")
    (finding,) = answer.verdict.violations
    assert (answer.verdict.intervention.label, answer.posture) == (intervention, posture)
    assert (finding.guardrail, finding.type.value, finding.intervention.label) == ("posture", "posture", intervention)
    assert posture in finding.message or posture == "assisted"
    waits = {"assisted": ("cancel_window", CANCEL_MS), "human_decides": ("approval", APPROVAL_MS)}.get(posture)
    assert (answer.pending is None) is (waits is None)
    if answer.pending is not None and waits is not None:
        assert (answer.pending.kind, answer.pending.until - world.hand.now()) == waits
    assert world.status("a") == ("blocked" if posture == "blocked" else "pending")


def test_an_assisted_agent_goes_on_by_itself_once_its_window_is_over(make_world: MakeWorld) -> None:
    """Not a millisecond before, unless somebody cancels."""
    world = make_world(beginning("assisted"))
    world.check("a")
    world.check("b")
    assert world.resolve("b", "cancel").status.value == "cancelled"
    world.hand.advance(CANCEL_MS - 1)
    world.sweep()
    assert world.status("a") == "pending"
    world.hand.advance(1)
    world.sweep()
    assert (world.status("a"), world.status("b")) == ("allowed", "cancelled")


def test_where_a_human_decides_nothing_goes_on_without_one(make_world: MakeWorld) -> None:
    """Approved it does; left alone it expires."""
    world = make_world(beginning("human_decides"))
    world.check("a")
    world.check("b")
    assert world.resolve("a").status.value == "approved"
    world.hand.advance(APPROVAL_MS)
    world.sweep()
    assert (world.status("a"), world.status("b")) == ("approved", "expired")


@pytest.mark.parametrize("posture", ["full_autonomy", "assisted", "supervised", "human_decides", "blocked"])
@pytest.mark.parametrize(
    ("action", "own"), [("warn", "warn"), ("escalate", "escalate"), ("block", "block"), ("severe", "halt")], ids=lambda value: str(value)
)
def test_the_most_severe_of_the_posture_and_the_others_decides(make_world: MakeWorld, posture: str, action: str, own: str) -> None:
    """Full autonomy lifts nothing, and every reason is told."""
    order = ["allow", "warn", "delay", "confirm", "escalate", "block", "halt"]
    rule = {"id": "rule", "when": "action.context.evil == true", "action": action, "message": "no"}
    sections: dict[str, Any] = {"tripwires": [SEVERE]} if action == "severe" else {"guardrails": [rule]}
    world = make_world(beginning(posture, **sections))
    verdict = world.check("a", **EVIL).verdict
    assert verdict.intervention.label == max([own, FINDINGS.get(posture, "allow")], key=order.index)
    told = {finding.guardrail for finding in (*verdict.violations, *verdict.warnings)}
    assert told == ({"posture"} if posture in FINDINGS else set()) | {"severe" if action == "severe" else "rule"}


def test_an_approval_of_the_posture_does_not_lift_what_is_final(make_world: MakeWorld) -> None:
    """A rule that blocks beside it leaves nothing to wait for."""
    rule = {"id": "rule", "when": "action.context.evil == true", "action": "block", "message": "no"}
    world = make_world(beginning("human_decides", guardrails=[rule]))
    answer = world.check("a", **EVIL)
    assert (answer.pending, world.status("a")) == (None, "blocked")


def test_a_blocked_agent_claims_nothing(make_world: MakeWorld) -> None:
    """Neither a probe nor a quota."""
    quota = {"name": "few", "quota": {"count": True, "window": "hour", "max": 3}}
    circuit = {"scope": "category:tooling", "failure_threshold": 1, "cooldown_ms": 1_000}
    world = make_world(beginning("supervised", circuit_breakers=[circuit], tripwires=[quota]))
    world.fail("a")
    world.hand.advance(1_000)
    block(world, "bot")
    assert world.check("b").probes == ()
    assert (world.used("few"), world.seen("category:tooling").leases) == (1, ())


def test_agents_begin_as_the_policy_says_and_keep_what_they_were_given(make_world: MakeWorld) -> None:
    """A named one with its own, everybody else with that of `*`; a new policy moves nobody who was moved, and everybody else."""
    world = make_world(policy_of(agents={"*": {"posture": "human_decides"}, "bot": {"posture": "assisted"}}))
    assert (world.check(agent="bot").posture, world.check(agent="other").posture) == ("assisted", "human_decides")
    move(world, "bot", "supervised")
    assert (known(world).posture.posture, known(world, "other").posture.set_by) == (Posture.SUPERVISED, "policy")
    world.policy = policy_of(agents={"*": {"posture": "blocked"}, "bot": {"posture": "full_autonomy"}})
    assert (world.check(agent="bot").posture, world.check(agent="other").posture) == ("supervised", "blocked")


def test_postures_are_of_one_tenant(make_world: MakeWorld) -> None:
    """The same agent of another tenant is another one."""
    world = make_world(policy_of())
    elsewhere = Caller("olga", frozenset(Role), "elsewhere")
    block(world, "bot", caller=elsewhere)
    assert world.check().posture == "supervised"
    assert world.run(checking(caller=elsewhere)).posture == "blocked"
    assert history(world) == []
    assert known(world, caller=elsewhere).posture.posture is Posture.BLOCKED


def test_expressions_see_the_posture(make_world: MakeWorld) -> None:
    """That of the moment, in rules and in classification, which decides on the circuits that count."""
    rule = {"id": "careful", "when": 'posture == "assisted"', "action": "warn", "message": "assisted"}
    classes = [{"when": 'posture == "human_decides"', "tags": ["watched"]}]
    world = make_world(policy_of(guardrails=[rule], classification=classes, circuit_breakers=[{"scope": "tag:*"}]))
    assert world.check("a").verdict.warnings == ()
    assert world.review("a", "failure").circuits == ()
    move(world, "bot", "assisted")
    assert [finding.guardrail for finding in world.check("b").verdict.warnings] == ["careful"]
    move(world, "bot", "human_decides")
    world.check("c")
    world.resolve("c")
    assert [found.scope for found in world.review("c", "failure").circuits] == ["tag:watched"]


def test_a_check_behind_a_move_in_one_transaction_is_classified_by_the_new_posture(each_world: Callable[[Policy], World]) -> None:
    """Circuits and quotas too that nothing had asked for before the move."""
    classes = [{"when": 'posture == "human_decides"', "tags": ["watched"]}]
    quota = {"name": "few", "quota": {"count": True, "window": "hour", "max": 3}, "applies_to": {"tags": ["watched"]}}
    circuits = [{"scope": "tag:*", "failure_threshold": 1}]
    world = each_world(policy_of(classification=classes, circuit_breakers=circuits, tripwires=[quota]))
    moves: list[UseCase[Any]] = [tripping("tag:watched"), posture_move("bot", "human_decides")]
    for answer in world.batch(*moves, checking("a"), checking("b"))[2:]:
        assert isinstance(answer, Answer), answer
        assert [finding.type.value for finding in answer.verdict.violations] == ["posture", "circuit_breaker"]


# transitions


@pytest.mark.parametrize("before", list(Posture))
@pytest.mark.parametrize("after", list(Posture))
def test_a_transition_moves_an_agent_and_is_on_record(make_world: MakeWorld, before: Posture, after: Posture) -> None:
    """From any posture to any, with who, when and why; to stay is `maintain`, and changes nothing but whose block it is."""
    world = make_world(beginning(before.label))
    answer = move(world, "bot", after.label, reason="thirty good days", caller=OLGA, seen=before.label)
    kind = "maintain" if after == before else "upgrade" if after > before else "downgrade"
    now = world.hand.now()
    assert answer == TransitionAnswer(
        success=True, agent_id="bot", before=before, after=after, type=TransitionType(kind), reason="thirty good days", at=now
    )
    blocked_at = now if after is Posture.BLOCKED else None
    moved = AgentPosture("bot", after, now, "olga", "thirty good days", blocked_at=blocked_at, moved_at=now)
    assert world.posture() == (moved if after != before or after is Posture.BLOCKED else None)
    (entry,) = history(world)
    assert (entry.at, entry.by, entry.success, entry.before, entry.after) == (now, "olga", True, before.label, after.label)
    assert (entry.type, entry.reason, entry.blocked_by, entry.original, entry.decision_id) == (kind, "thirty good days", None, None, None)
    assert world.check("a").posture == after.label


def test_the_history_is_newest_first_and_has_its_limit(make_world: MakeWorld) -> None:
    """Also of moves within one millisecond."""
    world = make_world(policy_of())
    for number, to in enumerate(["assisted", "supervised", "human_decides", "blocked"]):
        move(world, "bot", to, reason=f"reason {number}")
        world.hand.advance(number % 2)
    assert [entry.reason for entry in history(world)] == ["reason 3", "reason 2", "reason 1", "reason 0"]
    assert [entry.reason for entry in history(world, limit=2)] == ["reason 3", "reason 2"]
    assert history(world, "other") == []


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_nobody_is_moved_without_a_reason(make_world: MakeWorld, reason: str) -> None:
    """Neither by hand nor in an emergency."""
    world = make_world(policy_of())
    refused = attempt(world, "bot", "assisted", reason)
    assert isinstance(refused, InvalidInput)
    assert refused.field == "reason"
    with pytest.raises(AssertionError):
        block(world, "bot", reason)
    assert (world.posture(), history(world)) == (None, [])


def test_a_posture_that_is_not_the_current_one_is_a_conflict(make_world: MakeWorld) -> None:
    """On record with who wanted what and why, and nothing is moved."""
    world = make_world(policy_of())
    refused = attempt(world, "bot", "full_autonomy", "I know", seen="assisted", caller=OLGA)
    assert isinstance(refused, Conflict)
    assert refused.message == "agent `bot` is `supervised`, not `assisted`"
    (entry,) = history(world)
    assert (entry.by, entry.success, entry.before, entry.after, entry.reason) == ("olga", False, "supervised", "full_autonomy", "I know")
    assert (entry.blocked_by, entry.refusal) == ("stale_from_posture", refused.message)
    assert world.posture() is None


def test_a_move_behind_anothers_back_is_a_conflict(each_world: Callable[[Policy], World]) -> None:
    """Of two that were looked at at the same time the first one wins, whatever either says of the posture; both are on record."""
    world = each_world(policy_of())
    first, second = world.batch(posture_move("bot", "assisted"), posture_move("bot", "full_autonomy", caller=OLGA))
    assert isinstance(first, TransitionAnswer)
    assert isinstance(second, Conflict)
    assert {(entry.by, entry.success, entry.after) for entry in history(world)} == {
        ("anonymous", True, "assisted"),
        ("olga", False, "full_autonomy"),
    }


@pytest.mark.parametrize(
    "caller",
    [
        Caller("somebody", frozenset({Role.OPS}), agent_id="bot"),
        Caller("bot", frozenset({Role.OPS})),
    ],
    ids=["bound", "named"],
)
def test_an_agent_cannot_upgrade_itself(make_world: MakeWorld, caller: Caller) -> None:
    """By a token bound to it or named like it; it may lower itself, and others may raise it."""
    world = make_world(policy_of())
    assert isinstance(attempt(world, "bot", "assisted", caller=caller), Forbidden)
    (entry,) = history(world)
    assert (entry.by, entry.blocked_by, entry.success) == (caller.principal, "self_upgrade", False)
    assert move(world, "bot", "supervised", caller=caller).type is TransitionType.MAINTAIN
    assert move(world, "bot", "human_decides", caller=caller).success
    assert isinstance(attempt(world, "bot", "supervised", caller=caller), Forbidden)
    assert move(world, "bot", "supervised", caller=OLGA).success
    assert move(world, "other", "assisted", caller=caller).success


SECURITY = {
    "name": "security_team_approval",
    "when": "request.to_level <= 3 || metadata.security_approved == true",
    "reason": "Security team approval required for high autonomy",
}


def test_the_seeds_guard(make_world: MakeWorld) -> None:
    """Refused without `security_approved`, by its name and reason, on record; passed with it; no business of a downgrade."""
    world = make_world(beginning("supervised", postures={"guards": [SECURITY]}))
    refused = attempt(world, "bot", "full_autonomy", "good work", caller=OLGA)
    assert refused == TransitionAnswer(
        success=False,
        agent_id="bot",
        before=Posture.SUPERVISED,
        after=Posture.SUPERVISED,
        type=TransitionType.UPGRADE,
        reason=str(SECURITY["reason"]),
        at=world.hand.now(),
        blocked_by="security_team_approval",
    )
    assert world.posture() is None
    (entry,) = history(world)
    assert (entry.by, entry.success, entry.after, entry.reason) == ("olga", False, "full_autonomy", "good work")
    assert (entry.blocked_by, entry.refusal) == ("security_team_approval", SECURITY["reason"])
    assert move(world, "bot", "full_autonomy", metadata={"security_approved": True}).success
    assert move(world, "bot", "human_decides").success


@dataclass(slots=True)
class Installed:
    """A guard of a package, for all transitions, that does whatever it was made for."""

    does: Callable[[TransitionRequest], str | None]
    name: str = "installed"
    applies_to: frozenset[TransitionType] = frozenset(TransitionType)

    def check(self, request: TransitionRequest, /) -> str | None:
        return self.does(request)


def _raises(_request: TransitionRequest) -> str | None:
    raise ValueError("broken")


@pytest.fixture
def hanging() -> Iterator[Installed]:
    """A guard that does not answer before the test is over."""
    over = threading.Event()

    def hang(_request: TransitionRequest) -> str | None:
        over.wait(60)
        return None

    yield Installed(hang)
    over.set()


@pytest.mark.parametrize("kind", ["refusing", "raising", "hanging"])
def test_guards_that_refuse_raise_or_hang_refuse_and_an_emergency_asks_none(make_world: MakeWorld, hanging: Installed, kind: str) -> None:
    """The transition is refused on record and moves nothing; the emergency blocks at once, whatever the guards are at."""
    guards = {"refusing": Installed(lambda _: "never"), "raising": Installed(_raises), "hanging": hanging}
    world = make_world(beginning("supervised", postures={"guards": [{"name": "nobody", "when": "false", "applies_to": ["downgrade"]}]}))
    guard: list[TransitionGuard] = [guards[kind]]
    refused = attempt(world, "bot", "assisted", guards=guard, seconds=0.05)
    assert isinstance(refused, TransitionAnswer)
    assert (refused.success, refused.blocked_by, world.posture()) == (False, "installed", None)
    assert history(world)[0].blocked_by == "installed"
    assert isinstance(lowered := attempt(world, "bot", "human_decides", guards=guard, seconds=0.05), TransitionAnswer)
    assert lowered.blocked_by == "nobody"
    assert block(world, "bot").success
    assert world.check("a").posture == "blocked"


def test_an_emergency_while_guards_are_thinking_wins(make_world: MakeWorld) -> None:
    """The guard consents after the agent was blocked: the upgrade comes too late, and is a conflict."""
    world = make_world(policy_of())

    def slow(_request: TransitionRequest) -> str | None:
        asked.set()
        assert blocked.wait(20)
        return None

    asked, blocked = threading.Event(), threading.Event()
    answers: list[Any] = []
    other = World(world.url.render_as_string(hide_password=False), world.policy, world.clock)
    thread = threading.Thread(target=lambda: answers.append(attempt(other, "bot", "full_autonomy", guards=[Installed(slow)])))
    thread.start()
    try:
        assert asked.wait(20)
        block(world, "bot")
        world.hand.advance(1)
    finally:
        blocked.set()
        thread.join(20)
        other.close()
    assert isinstance(answers[0], Conflict)
    assert [entry.success for entry in history(world)] == [False, True]
    assert world.check("a").posture == "blocked"


# emergencies


@pytest.mark.parametrize("before", list(Posture))
def test_an_emergency_blocks_from_every_posture(make_world: MakeWorld, before: Posture) -> None:
    """For good: not even a policy that has the agent begin otherwise raises it; and what somebody said is on record."""
    world = make_world(beginning(before.label))
    answer = block(world, "bot", "odd behaviour", OLGA)
    assert (answer.before, answer.after, answer.type) == (before, Posture.BLOCKED, TransitionType.EMERGENCY_DOWNGRADE)
    now = world.hand.now()
    assert world.posture() == AgentPosture("bot", Posture.BLOCKED, now, "olga", "odd behaviour", blocked_at=now, moved_at=now)
    (entry,) = history(world)
    assert (entry.by, entry.type, entry.reason, entry.success) == ("olga", "emergency_downgrade", "odd behaviour", True)
    world.policy = beginning("full_autonomy")
    assert world.check("a").posture == "blocked"


def test_a_second_emergency_is_on_record(make_world: MakeWorld) -> None:
    """Whoever blocked the agent first remains the one who did; what has begun since is stopped too."""
    world = make_world(policy_of())
    block(world, "bot", "first", OLGA)
    stored = world.posture()
    world.hand.advance(5)
    assert block(world, "bot", "second").success
    assert stored is not None
    assert world.posture() == replace(stored, blocked_at=world.hand.now(), moved_at=world.hand.now())
    assert [entry.reason for entry in history(world)] == ["second", "first"]


@pytest.mark.parametrize("before", ["full_autonomy", "assisted", "supervised", "human_decides", "blocked"])
def test_a_halt_blocks_for_good(each_world: Callable[[Policy], World], before: str) -> None:
    """At once, by the tripwire's reason, with the decision that did it; a later policy does not raise the agent."""
    world = each_world(beginning(before, tripwires=[SEVERE]))
    assert world.check("a", **EVIL).verdict.intervention.label == "halt"
    world.policy = beginning("full_autonomy", tripwires=[SEVERE])
    answer = world.check("b")
    assert (answer.posture, answer.verdict.allowed) == ("blocked", False)
    (entry,) = history(world)
    assert (entry.type, entry.before, entry.decision_id) == ("emergency_downgrade", before, "a")
    assert entry.reason.startswith("Tripwire triggered")
    world.check("c", **EVIL)
    assert len(history(world)) == 1


def test_a_halt_of_a_dry_run_blocks_nobody(make_world: MakeWorld) -> None:
    """It only tells."""
    world = make_world(policy_of(tripwires=[SEVERE]))
    assert world.check("a", dry_run=True, **EVIL).verdict.intervention.label == "halt"
    assert (world.posture(), history(world)) == (None, [])


@pytest.mark.parametrize("posture", ["assisted", "human_decides"])
@pytest.mark.parametrize("way", ["emergency", "halt", "downgrade"])
def test_an_agent_blocked_meanwhile_does_not_get_its_decision_through(make_world: MakeWorld, posture: str, way: str) -> None:
    """In a cancel window or waiting for an approval: the second look turns it down, and says why."""
    world = make_world(beginning(posture, tripwires=[SEVERE]))
    world.check("a")
    if way == "emergency":
        block(world, "bot")
    elif way == "halt":
        world.check("evil", **EVIL)
    else:
        move(world, "bot", "blocked")
    if posture == "assisted":
        world.hand.advance(CANCEL_MS)
        world.sweep()
    else:
        assert world.resolve("a").objections
    decision = world.decision("a")
    assert decision is not None
    assert decision.status.value == "denied"
    assert decision.resolved is not None
    assert "the agent is blocked" in str(decision.resolved.reason)


def test_an_agent_for_which_a_human_decides_by_now_does_not_go_on_by_itself(make_world: MakeWorld) -> None:
    """Its window is over, and nobody has approved; one that was raised meanwhile goes on."""
    world = make_world(beginning("assisted"))
    world.check("a")
    world.check("b", agent="other")
    move(world, "bot", "human_decides")
    world.hand.advance(CANCEL_MS)
    world.sweep()
    assert world.status("a") == "denied"
    move(world, "third", "assisted")
    world.check("c", agent="third")
    move(world, "third", "full_autonomy")
    world.hand.advance(CANCEL_MS)
    world.sweep()
    assert world.status("c") == "allowed"


# what is not understood


@pytest.mark.parametrize(
    "values",
    [
        {"posture": "super_autonomy"},
        {"posture": "FULL_AUTONOMY"},
        {"posture": ""},
        {"data": "{}"},
        {"data": "[]"},
        {"data": "null"},
        {"data": "not json"},
        {"data": '{"set_by": "a", "reason": "b", "original": "beyond", "holds": [], "earned": false}'},
        {"data": '{"set_by": "a", "reason": "b", "original": null, "holds": [["global", "beyond"]], "earned": false}'},
        {"data": '{"set_by": "a", "reason": "b", "original": null, "holds": ["global"], "earned": false}'},
        {"data": '{"set_by": "a", "reason": "b", "original": null, "holds": null, "earned": false}'},
        {"data": '{"set_by": "a", "reason": "b", "original": null, "holds": [], "earned": false, "suspended": true}'},
        {"data": '{"set_by": 1, "reason": "b", "original": null, "holds": [], "earned": false}'},
        {"data": '{"set_by": "a", "reason": null, "original": null, "holds": [], "earned": false}'},
        {"data": '{"set_by": "a", "reason": "b", "original": null, "holds": [[1, "blocked"]], "earned": false}'},
        {"data": '{"set_by": "a", "reason": "b", "original": null, "holds": [], "earned": 1}'},
    ],
    ids=str,
)
def test_a_posture_that_cannot_be_read_is_blocked(each_world: Callable[[Policy], World], values: dict[str, str]) -> None:
    """Whatever a newer or broken version has left; an emergency makes it blocked for everybody, a person may give another one."""
    world = each_world(beginning("full_autonomy"))
    for agent in ("bot", "other"):
        move(world, agent, "assisted")
    with world.connected() as connection:
        connection.execute(update(tables.postures).values(**values))
        connection.commit()
    assert world.check("a").posture == "blocked"
    view = known(world)
    assert (view.posture.posture, view.posture.set_by) == (Posture.BLOCKED, "system")
    block(world, "bot")
    stored = world.posture()
    assert stored is not None
    assert (stored.posture, stored.set_by) == (Posture.BLOCKED, OPS.principal)
    assert move(world, "other", "supervised", seen="blocked").success
    assert world.check("b", agent="other").posture == "supervised"


def test_a_request_says_what_it_is_told_to(make_world: MakeWorld) -> None:
    """Guards see who asks for what and why, and what is known of the agent."""
    seen: list[TransitionRequest] = []

    def look(request: TransitionRequest) -> str | None:
        seen.append(request)
        return None

    world = make_world(policy_of(agents={"bot": {"acl_tier": 3}}))
    world.check("a")
    world.review("a", "success")
    move(world, "bot", "assisted", reason="why", caller=OLGA, metadata={"ticket": 7}, guards=[Installed(look)])
    (request,) = seen
    assert (request.agent_id, request.from_posture, request.to_posture) == ("bot", Posture.SUPERVISED, Posture.ASSISTED)
    assert (request.requester, request.reason, request.metadata, request.acl_tier, request.reviewed) == ("olga", "why", {"ticket": 7}, 3, 1)
    assert request.type is TransitionType.UPGRADE
    assert asking("bot", "assisted", "why", metadata={"ticket": 7}).metadata == request.metadata

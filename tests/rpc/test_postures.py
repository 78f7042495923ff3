"""Postures over HTTP: who has how much autonomy, who may move it, and what it does to a check (SPEC 8)."""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import EntryPoint
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.domain.trust_scores import Record
from cstp_server.guardians import BrokenGuard, load_guards
from cstp_server.policy.compiled import Earned, PosturePolicy
from tests.rpc.edge import Edge
from tests.rpc.memory import POLICY as EDGE_POLICY
from tests.server import RpcError, RunningServer

CHECK, RESOLVE, AWAIT = "cstp.checkGuardrails", "cstp.resolveDecision", "cstp.awaitDecision"
GET, MOVE, HALT, HISTORY = "cstp.getPosture", "cstp.transitionPosture", "cstp.emergencyDowngrade", "cstp.getPostureHistory"
LEVELS = {"full_autonomy": 5, "assisted": 4, "supervised": 3, "human_decides": 2, "blocked": 1}
UNAPPROVED = "Security team approval required for high autonomy"
APPROVED = {"security_approved": True}
STOPPED = "the agent was blocked while the decision waited: anomalous behaviour"
POLICY = """
circuit_breakers:
  - {scope: "agent:*", failure_threshold: 5, half_open_probes: 3, cooldown_ms: 300, on_open: {downgrade_to: human_decides}}
  - {scope: "category:fragile", failure_threshold: 1, on_close: keep, on_open: {downgrade_to: human_decides}}
agents:
  newcomer: {posture: human_decides}
postures:
  assisted_delay_ms: 400
  guards:
    - name: security_team_approval
      when: request.to_level <= 3 || metadata.security_approved == true
      reason: Security team approval required for high autonomy
    - name: no_moves_on_fridays
      applies_to: [upgrade, downgrade, maintain]
      when: metadata.weekday != "friday"
      reason: not on a friday
"""


class Service:
    """A running service, and a token for everybody."""

    def __init__(self, server: RunningServer, tokens: Mapping[str, str]) -> None:
        self.server = server
        self.tokens = tokens
        self._numbers = count()

    def call(self, who: str, method: str, **params: Any) -> Any:
        """The result of a call."""
        return self.server.call(method, params, token=self.tokens[who])

    def refusal(self, who: str, method: str, **params: Any) -> RpcError:
        """The error of a call."""
        with pytest.raises(RpcError) as raised:
            self.call(who, method, **params)
        return raised.value

    def agent(self, posture: str = "supervised") -> str:
        """A new agent in that posture."""
        agent = f"bot-{next(self._numbers)}"
        if posture != "supervised":
            assert self.move(agent, posture, metadata=APPROVED)["success"]
        return agent

    def move(self, agent: str, posture: str, who: str = "olivia", **params: Any) -> Any:
        """A transition, and what became of it."""
        return self.call(who, MOVE, agentId=agent, toPosture=posture, **{"reason": "so be it", **params})

    def posture(self, agent: str) -> Any:
        """The agent's posture as it is now."""
        return self.call("eve", GET, agentId=agent)

    def history(self, agent: str, **params: Any) -> list[Any]:
        """The attempts to move the agent."""
        answer = self.call("eve", HISTORY, agentId=agent, **params)
        assert answer["agentId"] == agent
        transitions: list[Any] = answer["transitions"]
        return transitions

    def check(self, agent: str, **action: Any) -> Any:
        """A check of something harmless."""
        return self.call("olivia", CHECK, action={"description": "Look around", **action}, agent={"id": agent})

    def fail(self, agent: str, severity: str, **action: Any) -> None:
        """Something that the agent was allowed to do fails."""
        self.review(self.check(agent, **action), "failure", severity=severity)

    def review(self, answer: Any, outcome: str, **params: Any) -> None:
        """How it turned out."""
        self.call("ci", "cstp.reviewDecision", id=answer["decisionId"], outcome=outcome, **params)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with guards, and with circuits that lower postures."""
    folder = tmp_path_factory.mktemp("postures")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with RunningServer(folder / "server", config=policy) as server:
        yield Service(
            server,
            {
                "olivia": server.token("olivia", "ops"),
                "eve": server.token("eve", "viewer"),
                "ci": server.token("ci", "ci"),
                "bound": server.token("bound", "agent", agent="refund-bot"),
                "stranger": server.token("stranger", "agent"),
                "climber": server.token("climber", "agent", "ops", agent="climbing-bot"),
                "ladder": server.token("ladder", "ops"),
                "twin": server.token("twin", "ops", agent="other-bot"),
                "elsewhere": server.token("elsewhere", "admin", tenant="other"),
            },
        )


def test_an_agent_that_was_never_moved_has_what_the_policy_gives_it(service: Service) -> None:
    """`supervised` unless the policy says otherwise, since no time and for no reason; without a record there is no trust yet."""
    assert service.posture("nobody-yet") == {
        "agentId": "nobody-yet",
        "posture": "supervised",
        "level": 3,
        "since": None,
        "setBy": "policy",
        "reason": None,
        "trustScore": 0.0,
        "reviewCoverage": 1.0,
        "reviewed": 0,
    }
    assert service.posture("newcomer")["posture"] == "human_decides"
    assert service.history("nobody-yet") == []


@pytest.mark.parametrize("after", LEVELS)
@pytest.mark.parametrize("before", LEVELS)
def test_every_move_is_an_upgrade_a_downgrade_or_none(service: Service, before: str, after: str) -> None:
    """The type follows from the levels; to stay is `maintain`, and no move."""
    agent = service.agent(before)
    known = service.posture(agent)
    answer = service.move(agent, after, fromPosture=before, reason="reliable over 30 days", metadata=APPROVED)
    kind = "maintain" if after == before else "upgrade" if LEVELS[after] > LEVELS[before] else "downgrade"
    assert answer == {
        "success": True,
        "agentId": agent,
        "fromPosture": before,
        "toPosture": after,
        "transitionType": kind,
        "reason": "reliable over 30 days",
        "timestamp": answer["timestamp"],
    }
    found = service.posture(agent)
    assert (found["posture"], found["level"]) == (after, LEVELS[after])
    if kind == "maintain":
        assert found == known
    else:
        assert (found["since"], found["setBy"], found["reason"]) == (answer["timestamp"], "olivia", "reliable over 30 days")
    newest = service.history(agent)[0]
    assert newest == {
        "timestamp": answer["timestamp"],
        "actor": "olivia",
        "success": True,
        "fromPosture": before,
        "toPosture": after,
        "transitionType": kind,
        "reason": "reliable over 30 days",
        "metadata": APPROVED,
    }


def test_a_guard_lets_nobody_above_supervised_without_the_security_team(service: Service) -> None:
    """The seed's own example: refused without `security_approved`, which is an answer and no error, and granted with it."""
    agent = service.agent()
    for metadata in ({}, {"security_approved": False}, {"security_approved": "yes"}, {"other": 1}):
        answer = service.move(agent, "full_autonomy", reason="it has proven reliable", metadata=metadata)
        assert (answer["success"], answer["blockedBy"], answer["reason"]) == (False, "security_team_approval", UNAPPROVED)
        assert (answer["fromPosture"], answer["toPosture"], answer["transitionType"]) == ("supervised", "full_autonomy", "upgrade")
    assert service.posture(agent)["since"] is None
    assert service.move(agent, "human_decides")["success"]
    assert service.move(agent, "supervised")["success"]
    assert service.move(agent, "full_autonomy", metadata=APPROVED)["success"]
    (*_, refused) = service.history(agent)
    assert {name: refused[name] for name in refused if name != "timestamp"} == {
        "actor": "olivia",
        "success": False,
        "fromPosture": "supervised",
        "toPosture": "full_autonomy",
        "transitionType": "upgrade",
        "reason": "it has proven reliable",
        "blockedBy": "security_team_approval",
        "refusal": UNAPPROVED,
    }


def test_a_guard_looks_at_the_transitions_that_it_is_for(service: Service) -> None:
    """The first that refuses is named; one for all transitions stops downgrades too, and an emergency asks none."""
    agent = service.agent("assisted")
    friday = {"weekday": "friday"}
    assert service.move(agent, "full_autonomy", metadata=friday)["blockedBy"] == "security_team_approval"
    for posture in ("full_autonomy", "assisted", "supervised"):
        answer = service.move(agent, posture, metadata={**friday, **APPROVED})
        assert (answer["success"], answer["blockedBy"], answer["reason"]) == (False, "no_moves_on_fridays", "not on a friday")
    assert service.posture(agent)["posture"] == "assisted"
    assert service.call("olivia", HALT, agentId=agent, reason="anomalous behaviour")["success"]


@pytest.mark.parametrize("before", LEVELS)
def test_an_emergency_blocks_from_any_posture(service: Service, before: str) -> None:
    """At once and whatever it was; blocked already, it is so from now on by this caller's word as well."""
    agent = service.agent(before)
    answer = service.call("olivia", HALT, agent_id=agent, reason="Detected anomalous behavior pattern")
    assert answer == {
        "success": True,
        "agentId": agent,
        "fromPosture": before,
        "toPosture": "blocked",
        "transitionType": "emergency_downgrade",
        "reason": "Detected anomalous behavior pattern",
        "timestamp": answer["timestamp"],
    }
    found = service.posture(agent)
    assert (found["posture"], found["level"]) == ("blocked", 1)
    newest = service.history(agent)[0]
    assert (newest["transitionType"], newest["actor"], newest["success"]) == ("emergency_downgrade", "olivia", True)
    assert service.check(agent)["intervention"] == "block"


def test_names_are_taken_in_both_spellings(service: Service) -> None:
    """As everywhere: snake_case is taken too."""
    agent = service.agent()
    moved = service.call("olivia", MOVE, agent_id=agent, from_posture="supervised", to_posture="blocked", reason="r", metadata={"a_b": 1})
    assert moved["success"]
    assert service.call("eve", GET, agent_id=agent)["posture"] == "blocked"
    assert len(service.call("eve", HISTORY, agent_id=agent)["transitions"]) == 1


def test_who_looked_before_somebody_else_moved_moves_nothing(service: Service) -> None:
    """-32011 says what the agent is, and the attempt is on record with who made it and why."""
    agent = service.agent("human_decides")
    error = service.refusal("olivia", MOVE, agentId=agent, fromPosture="supervised", toPosture="blocked", reason="too slow")
    assert (error.status, error.code, error.message) == (200, -32011, f"agent `{agent}` is `human_decides`, not `supervised`")
    assert service.posture(agent)["posture"] == "human_decides"
    newest = service.history(agent)[0]
    assert (newest["success"], newest["blockedBy"]) == (False, "stale_from_posture")
    assert (newest["actor"], newest["reason"]) == ("olivia", "too slow")
    assert (newest["fromPosture"], newest["toPosture"], newest["refusal"]) == ("human_decides", "blocked", error.message)


def test_of_many_who_move_at_once_one_wins(service: Service) -> None:
    """The others are told that it was moved meanwhile, and every attempt is on record."""
    agent = service.agent()
    body = {"agentId": agent, "fromPosture": "supervised", "toPosture": "human_decides", "reason": "at once"}
    request = {"jsonrpc": "2.0", "id": 1, "method": MOVE, "params": body}
    headers = {"authorization": f"Bearer {service.tokens['olivia']}"}

    def move(_: int) -> Any:
        with httpx.Client(base_url=service.server.url, trust_env=False, timeout=30) as http:
            return http.post("/cstp", json=request, headers=headers).json()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(move, range(24)))
    assert sum("result" in answer and answer["result"]["success"] for answer in answers) == 1
    assert {answer["error"]["code"] for answer in answers if "error" in answer} == {-32011}
    history = service.history(agent)
    assert [entry["success"] for entry in history].count(True) == 1
    assert len(history) == 24


def test_nobody_upgrades_the_agent_that_they_are(service: Service) -> None:
    """Neither a token bound to the agent nor one named like it: HTTP 403 without a role that would help, and on record. Down it may go."""
    for who, agent in (("climber", "climbing-bot"), ("ladder", "ladder")):
        error = service.refusal(who, MOVE, agentId=agent, toPosture="full_autonomy", reason="I am good", metadata=APPROVED)
        assert (error.status, error.code, error.message, error.data) == (403, -32001, "an agent cannot upgrade itself", None)
        assert service.posture(agent)["posture"] == "supervised"
        newest = service.history(agent)[0]
        assert (newest["success"], newest["blockedBy"], newest["actor"]) == (False, "self_upgrade", who)
        assert service.move(agent, "supervised", who=who)["transitionType"] == "maintain"
        assert service.move(agent, "blocked", who=who)["success"]
        assert service.refusal(who, MOVE, agentId=agent, toPosture="supervised", reason="I am good again").status == 403


def test_a_token_named_like_the_agent_is_the_agent_whatever_it_is_bound_to(service: Service) -> None:
    """It upgrades neither."""
    for agent in ("twin", "other-bot"):
        assert service.refusal("twin", MOVE, agentId=agent, toPosture="full_autonomy", reason="up", metadata=APPROVED).status == 403
        assert service.history(agent)[0]["blockedBy"] == "self_upgrade"
    assert service.move("third-bot", "full_autonomy", who="twin", metadata=APPROVED)["success"]


@pytest.mark.parametrize("who", ["bound", "stranger", "ci", "eve"])
def test_attempts_of_those_who_may_move_nobody_are_on_record(service: Service, who: str) -> None:
    """For itself or for another agent, with who and why; the answer is the same as ever, and credentials are not kept."""
    agent = "refund-bot" if who == "bound" else service.agent()
    reason = "let me, I have sk_live_abcdefghijklmnopqrstuvwx"
    before = len(service.history(agent))
    calls: list[tuple[str, dict[str, Any]]] = [
        (MOVE, {"toPosture": "full_autonomy", "metadata": APPROVED}),
        (MOVE, {"toPosture": "blocked"}),
        (HALT, {}),
    ]
    for method, params in calls:
        error = service.refusal(who, method, agentId=agent, reason=reason, **params)
        assert (error.status, error.code, error.message, error.data) == (403, -32001, "this takes the role `ops`", {"required": ["ops"]})
    emergency, downgrade, upgrade = service.history(agent)[: len(service.history(agent)) - before]
    for entry, kind, to in (
        (upgrade, "upgrade", "full_autonomy"),
        (downgrade, "downgrade", "blocked"),
        (emergency, "emergency_downgrade", "blocked"),
    ):
        assert (entry["success"], entry["actor"], entry["blockedBy"], entry["transitionType"]) == (False, who, "role_too_low", kind)
        assert (entry["fromPosture"], entry["toPosture"], entry["refusal"]) == ("supervised", to, "this takes the role `ops`")
        assert (entry["reason"].startswith("let me"), "sk_live" in entry["reason"]) == (True, False)
    assert (upgrade["metadata"], "metadata" in emergency) == (APPROVED, False)
    assert service.posture(agent)["posture"] == "supervised"


@pytest.mark.parametrize("method", [MOVE, HALT])
@pytest.mark.parametrize("wrong", [{"reason": None}, {"reason": 7}, {"reason": "r", "surprise": 1}, {"reason": "r", "agentId": None}])
def test_an_attempt_that_says_nothing_sensible_is_refused_and_not_on_record(service: Service, method: str, wrong: dict[str, Any]) -> None:
    """Its role is too low, whatever else is wrong with it."""
    params = {"agentId": "quiet-bot", **({"toPosture": "blocked"} if method == MOVE else {}), **wrong}
    error = service.refusal("stranger", method, **{name: value for name, value in params.items() if value is not None})
    assert (error.status, error.code, error.data) == (403, -32001, {"required": ["ops"]})
    assert service.history("quiet-bot") == []


def test_what_an_agent_waits_for_is_settled_without_anybody_looking(service: Service) -> None:
    """Soon after an emergency, a halt, or a move to `blocked`: nothing of it is listed as pending any more."""
    agents = [service.agent("human_decides") for _ in range(2)]
    ids = {service.check(agent)["decisionId"] for agent in agents for _ in range(3)}
    service.call("olivia", HALT, agentId=agents[0], reason="anomalous behaviour")
    service.move(agents[1], "blocked")

    def pending() -> set[str]:
        found = (service.call("eve", "cstp.listDecisions", agent=agent, status="pending")["decisions"] for agent in agents)
        return {decision["id"] for decisions in found for decision in decisions}

    deadline = time.monotonic() + 20
    while pending() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pending() == set()
    for agent in agents:
        denied = service.call("eve", "cstp.listDecisions", agent=agent, status="denied")["decisions"]
        assert {decision["id"] for decision in denied} == {id for id in ids if id in {decision["id"] for decision in denied}}
        assert len(denied) == 3


def test_an_agent_knows_of_itself_alone(service: Service) -> None:
    """Its own posture and history it sees, another's are HTTP 403; and it moves nobody."""
    for who, agent in (("bound", "refund-bot"), ("stranger", "stranger")):
        assert service.call(who, GET, agentId=agent)["agentId"] == agent
        assert service.call(who, HISTORY, agentId=agent)["agentId"] == agent
        for method in (GET, HISTORY):
            error = service.refusal(who, method, agentId="ledger-bot")
            assert (error.status, error.code, error.data) == (403, -32001, {"required": ["viewer"]})
            assert f"`{agent}`" in error.message
        for method, params in ((MOVE, {"toPosture": "blocked"}), (HALT, {})):
            error = service.refusal(who, method, agentId=agent, reason="r", **params)
            assert (error.status, error.data) == (403, {"required": ["ops"]})
    for method in (GET, HISTORY):
        assert service.refusal("ci", method, agentId="ci").status == 403


def test_another_tenants_agent_is_another_agent(service: Service) -> None:
    """Of the same name, it has a posture and a history of its own."""
    agent = service.agent("blocked")
    assert service.call("elsewhere", GET, agentId=agent)["posture"] == "supervised"
    assert service.call("elsewhere", HISTORY, agentId=agent)["transitions"] == []
    service.move(agent, "full_autonomy", who="elsewhere", metadata=APPROVED)
    assert service.posture(agent)["posture"] == "blocked"


def test_the_history_begins_with_the_newest(service: Service) -> None:
    """At most as many as asked for, refused ones among them, each with its actor and reason."""
    agent = service.agent()
    for number, posture in enumerate(("human_decides", "full_autonomy", "supervised", "blocked")):
        service.move(agent, posture, reason=f"reason {number}")
    assert [entry["reason"] for entry in service.history(agent)] == ["reason 3", "reason 2", "reason 1", "reason 0"]
    assert [entry["success"] for entry in service.history(agent, limit=3)] == [True, True, False]
    assert all(entry["actor"] == "olivia" for entry in service.history(agent))


def test_a_batch_sees_its_own_moves(service: Service) -> None:
    """Each call sees the effects of those before it; a notification moves too."""
    agent = service.agent()
    calls = [
        {"jsonrpc": "2.0", "method": MOVE, "params": {"agentId": agent, "toPosture": "human_decides", "reason": "r"}},
        {"jsonrpc": "2.0", "id": 1, "method": GET, "params": {"agentId": agent}},
        {"jsonrpc": "2.0", "id": 2, "method": CHECK, "params": {"action": {"description": "x"}, "agent": {"id": agent}}},
        {"jsonrpc": "2.0", "id": 3, "method": HALT, "params": {"agentId": agent, "reason": "r"}},
        {"jsonrpc": "2.0", "id": 4, "method": CHECK, "params": {"action": {"description": "x"}, "agent": {"id": agent}}},
    ]
    answers = service.server.raw(json.dumps(calls), token=service.tokens["olivia"]).json()
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4]
    results = [answer["result"] for answer in answers]
    assert (results[0]["posture"], results[1]["intervention"]) == ("human_decides", "escalate")
    assert (results[2]["fromPosture"], results[3]["intervention"]) == ("human_decides", "block")


@pytest.mark.parametrize(
    ("posture", "allowed", "intervention", "kind"),
    [
        ("full_autonomy", True, "allow", None),
        ("assisted", False, "delay", "cancel_window"),
        ("supervised", True, "allow", None),
        ("human_decides", False, "escalate", "approval"),
        ("blocked", False, "block", None),
    ],
)
def test_a_posture_says_what_becomes_of_a_harmless_action(
    service: Service, posture: str, allowed: bool, intervention: str, kind: str | None
) -> None:
    """Allowed at once, after a cancel window, after an approval, or not at all; the answer names the posture."""
    answer = service.check(service.agent(posture))
    assert (answer["posture"], answer["allowed"], answer["intervention"]) == (posture, allowed, intervention)
    assert (answer["pending"]["kind"] if answer["pending"] else None) == kind
    assert [finding["type"] for finding in answer["violations"]] == ([] if allowed else ["posture"])


def test_an_assisted_agent_goes_on_unless_somebody_cancels(service: Service) -> None:
    """At the end of the window it is allowed; cancelled within it, it is not."""
    agent = service.agent("assisted")
    kept, cancelled = service.check(agent)["decisionId"], service.check(agent)["decisionId"]
    assert service.call("olivia", RESOLVE, id=cancelled, resolution="cancel")["status"] == "cancelled"
    answers = [service.call("eve", AWAIT, id=id, timeoutMs=20_000) for id in (kept, cancelled)]
    assert [(answer["status"], answer["allowed"]) for answer in answers] == [("allowed", True), ("cancelled", False)]


def test_an_agent_for_which_a_human_decides_goes_on_when_one_does(service: Service) -> None:
    """Approved, it is allowed; denied, it is not; a confirmation is not enough."""
    agent = service.agent("human_decides")
    first, second = service.check(agent)["decisionId"], service.check(agent)["decisionId"]
    assert service.refusal("olivia", RESOLVE, id=first, resolution="confirm").code == -32011
    assert service.call("olivia", RESOLVE, id=first, resolution="approve")["allowed"] is True
    assert service.call("olivia", RESOLVE, id=second, resolution="deny")["allowed"] is False
    answers = [service.call("eve", AWAIT, id=id, timeoutMs=20_000)["allowed"] for id in (first, second)]
    assert answers == [True, False]


def test_an_emergency_within_a_cancel_window_stops_the_decision(service: Service) -> None:
    """It is denied, with the reason, before its time runs out."""
    agent = service.agent("assisted")
    id = service.check(agent)["decisionId"]
    service.call("olivia", HALT, agentId=agent, reason="anomalous behaviour")
    answer = service.call("eve", AWAIT, id=id, timeoutMs=0)
    assert (answer["status"], answer["allowed"]) == ("denied", False)
    assert answer["reason"] == STOPPED


def test_an_emergency_before_an_approval_stops_the_decision(service: Service) -> None:
    """Whoever approves it afterwards is told why it does not go on."""
    agent = service.agent("human_decides")
    id = service.check(agent)["decisionId"]
    service.call("olivia", HALT, agentId=agent, reason="anomalous behaviour")
    found = service.call("eve", "cstp.getDecision", id=id)["decision"]
    assert (found["status"], found["resolution"]["by"], found["resolution"]["reason"]) == ("denied", "olivia", STOPPED)
    error = service.refusal("olivia", RESOLVE, id=id, resolution="approve")
    assert (error.code, error.message) == (-32011, f"decision `{id}` does not wait: it is `denied`: {STOPPED}")
    answer = service.call("eve", AWAIT, id=id, timeoutMs=0)
    assert (answer["status"], answer["allowed"], answer["reason"]) == ("denied", False, STOPPED)


def test_a_circuit_lowers_its_agent_and_gives_back_what_it_had(service: Service) -> None:
    """The seed's life of a breaker: weighted failures open it, three good probes close it, and both moves are the circuit's own."""
    agent = service.agent("full_autonomy")
    for severity in ("low", "low", "medium", "medium"):
        service.fail(agent, severity)
    assert service.posture(agent)["posture"] == "full_autonomy"
    service.fail(agent, "high")
    lowered = service.posture(agent)
    assert (lowered["posture"], lowered["originalPosture"], lowered["setBy"]) == ("human_decides", "full_autonomy", f"agent:{agent}")
    assert "opened" in lowered["reason"]
    circuit = service.call("eve", "cstp.getCircuitState", scope=f"agent:{agent}")
    assert (circuit["state"], circuit["failureCount"], circuit["weightedFailures"]) == ("open", 5, 5)
    service.call("olivia", "cstp.resetCircuit", scope=f"agent:{agent}", probeFirst=True)
    for _ in range(3):
        assert service.posture(agent)["posture"] == "human_decides"
        answer = service.check(agent)
        service.call("olivia", RESOLVE, id=answer["decisionId"], resolution="approve")
        service.review(answer, "success")
    restored = service.posture(agent)
    assert (restored["posture"], "originalPosture" in restored) == ("full_autonomy", False)
    up, down, _ = service.history(agent)
    assert (up["transitionType"], up["actor"], up["success"]) == ("upgrade", f"agent:{agent}", True)
    assert (down["transitionType"], down["actor"], down["originalPosture"]) == ("downgrade", f"agent:{agent}", "full_autonomy")
    assert down["decisionId"].startswith("dec_")


def test_a_circuit_raises_nobody_who_was_moved_since(service: Service) -> None:
    """What a person has said meanwhile holds when the circuit closes."""
    agent = service.agent("assisted")
    service.call("olivia", "cstp.tripCircuit", scope=f"agent:{agent}", reason="incident 42")
    assert service.posture(agent)["originalPosture"] == "assisted"
    service.call("olivia", HALT, agentId=agent, reason="anomalous behaviour")
    assert "originalPosture" not in service.posture(agent)
    service.call("olivia", "cstp.resetCircuit", scope=f"agent:{agent}")
    assert service.posture(agent)["posture"] == "blocked"


def test_a_circuit_of_another_scope_lowers_whose_failures_opened_it(service: Service) -> None:
    """Nobody else; and with `on_close: keep` they stay where it brought them."""
    culprit, bystander = service.agent(), service.agent()
    answer = service.check(bystander, category="fragile")
    service.fail(culprit, "medium", category="fragile")
    service.review(answer, "success")
    found = service.posture(culprit)
    assert (found["posture"], found["setBy"]) == ("human_decides", "category:fragile")
    assert service.posture(bystander)["since"] is None
    service.call("olivia", "cstp.resetCircuit", scope="category:fragile")
    assert service.posture(culprit)["posture"] == "human_decides"


def test_a_record_is_shown_with_what_it_earns(edge: Edge) -> None:
    """The score is the bound of Wilson's interval; what is missing is said in successes, or that no number of them is enough."""
    postures = PosturePolicy(earned=(Earned(Posture.ASSISTED, 0.8, 50), Earned(Posture.FULL_AUTONOMY, 1.0, 50)))
    edge.policy.current = edge.store.policy = replace(EDGE_POLICY, postures=postures)
    edge.store.records_of["default", "bot"] = Record(succeeded=8, failed=2, due=8, covered=6)
    found = edge.call(GET, {"agentId": "bot"})
    assert (round(found["trustScore"], 4), found["reviewed"], found["reviewCoverage"]) == (0.4902, 10, 0.75)
    assert found["earned"] == {"toPosture": "assisted", "successesNeeded": 40}
    edge.call(MOVE, {"agentId": "bot", "toPosture": "assisted", "reason": "r"})
    assert edge.call(GET, {"agentId": "bot"})["earned"] == {"toPosture": "full_autonomy", "successesNeeded": None}
    edge.call(MOVE, {"agentId": "bot", "toPosture": "full_autonomy", "reason": "r"})
    assert "earned" not in edge.call(GET, {"agentId": "bot"})


def test_installed_guards_are_listed_and_a_broken_one_says_so() -> None:
    """After the policy's own, with what they are asked about."""
    broken = load_guards([EntryPoint("gone", "no_such_module:Guard", "cstp.guards")])
    edge = Edge(guards=[*broken, BrokenGuard("upgrades_only", frozenset({TransitionType.UPGRADE}))])
    listed = [guard for guard in edge.call("cstp.listGuardrails")["guardrails"] if guard["type"] == "posture"]
    refuses = ", and could not be loaded: it refuses all of them"
    assert [(guard["id"], guard["action"], guard["mode"], guard["scope"]) for guard in listed] == [
        ("gone", "block", "enforce", []),
        ("upgrades_only", "block", "enforce", []),
    ]
    assert [guard["description"] for guard in listed] == [
        f"installed; is asked before downgrades or moves to the same posture or upgrades of an agent's posture{refuses}",
        f"installed; is asked before upgrades of an agent's posture{refuses}",
    ]


def test_agents_follow_the_policy_of_a_circuit_that_is_open(tmp_path: Path) -> None:
    """Switched off it lets go of them, switched on again it lowers them, and one that is gone leaves them where it had said."""
    config = tmp_path / "policy.yaml"
    keeping = 'circuit_breakers: [{scope: "agent:*", mode: enforce, on_close: keep, on_open: {downgrade_to: human_decides}}]'
    restoring = keeping.replace("enforce", "%s").replace("keep", "restore")
    config.write_text(restoring % "enforce")
    with RunningServer(tmp_path / "server", config=config) as server:
        admin = server.token("ada", "admin")

        def posture_under(text: str) -> str:
            config.write_text(text)
            server.call("cstp.reloadPolicy", {}, token=admin)
            return str(server.call(GET, {"agentId": "bot"}, token=admin)["posture"])

        server.call("cstp.tripCircuit", {"scope": "agent:bot", "reason": "incident"}, token=admin)
        assert posture_under(restoring % "enforce") == "human_decides"
        assert posture_under(restoring % "off") == "supervised"
        assert posture_under(restoring % "enforce") == "human_decides"
        assert posture_under("{}") == "supervised"
        assert posture_under(keeping) == "human_decides"
        assert posture_under("{}") == "human_decides"
        moves = server.call(HISTORY, {"agentId": "bot"}, token=admin)["transitions"]
        assert {move["actor"] for move in moves} == {"agent:bot"}
        assert len(moves) == 5

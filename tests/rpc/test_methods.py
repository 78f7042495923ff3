"""What the methods take and answer, on the wire (SPEC 3 to 6)."""

from typing import Any

import pytest

from tests.rpc.edge import Edge, check_params
from tests.rpc.memory import START

CHECK = "cstp.checkGuardrails"
AT = "2026-02-11T13:08:00.125Z"


def _fail(edge: Edge, times: int) -> list[str]:
    """Decisions about tooling that fail."""
    ids = []
    for _ in range(times):
        id = edge.call(CHECK, check_params(category="tooling"))["decisionId"]
        edge.call("cstp.reviewDecision", {"id": id, "outcome": "failure"})
        ids.append(id)
    return ids


def test_a_check_is_answered_in_full(edge: Edge) -> None:
    """Every field of the answer, also where it is empty."""
    answer = edge.call(CHECK, {**check_params(), "decisionId": "dec_1"})
    assert answer == {
        "allowed": True,
        "intervention": "allow",
        "decisionId": "dec_1",
        "posture": answer["posture"],
        "violations": [],
        "warnings": [],
        "shadow": [],
        "probes": [],
        "pending": None,
        "remedies": [],
        "evaluated": answer["evaluated"],
        "evaluatedAt": AT,
        "policyVersion": "sha256:test",
    }


def test_an_open_circuit_is_reported_with_its_evidence(edge: Edge) -> None:
    """The finding has the seed's fields and CSTP's, and the remedy says how long to wait."""
    failed = _fail(edge, 2)
    answer = edge.call(CHECK, check_params(category="Tooling"))
    (finding,) = answer["violations"]
    assert (answer["allowed"], answer["intervention"], finding["action"], finding["severity"]) == (False, "block", "block", "block")
    assert finding["guardrail"] == finding["guardrailId"] == finding["name"] == "category-tooling-breaker"
    assert {name: finding[name] for name in ("type", "state", "failureRate", "scope", "resetAt")} == {
        "type": "circuit_breaker",
        "state": "open",
        "failureRate": 1.0,
        "scope": "category:tooling",
        "resetAt": "2026-02-11T13:38:00.125Z",
    }
    assert sorted(finding["recentFailures"]) == sorted(failed)
    assert answer["remedies"] == [{"change": "wait", "until": "2026-02-11T13:38:00.125Z"}]


def test_a_rules_finding_has_no_fields_of_a_circuit(edge: Edge) -> None:
    """What does not apply is left out."""
    (warning,) = edge.call(CHECK, {"action": {"description": "x"}})["warnings"]
    assert set(warning) == {"guardrail", "guardrailId", "name", "type", "severity", "message", "action", "suggestion"}
    assert (warning["type"], warning["action"], warning["guardrailId"]) == ("guardrail", "warn", "no-unreviewed-change")


def test_names_are_taken_in_both_spellings(edge: Edge) -> None:
    """camelCase and snake_case say the same: the second call repeats the first."""
    first = edge.call(CHECK, {**check_params(parameters={"b": 1, "a": {"y": 2, "x": 3}}), "decisionId": "dec_1", "dryRun": False})
    edge.clock.at += 5_000
    params: dict[str, Any] = {"decision_id": "dec_1", "agent": {"id": "deploy-bot"}, "dry_run": None}
    params["action"] = {"parameters": {"a": {"x": 3, "y": 2}, "b": 1}, "context": {"reviewed": True}, "description": "raise the timeout"}
    assert edge.call(CHECK, params) == first
    assert len(edge.store.stored) == 1


@pytest.mark.parametrize(
    "other",
    [
        check_params(description="lower the timeout"),
        check_params(stakes="low"),
        check_params(ctq=0.5),
        check_params(tags=["x"]),
        check_params(context={"reviewed": 1}),
        check_params(pattern="p"),
        {**check_params(), "agent": {"id": "other"}},
        {**check_params(), "user": {"id": "u"}},
    ],
)
def test_other_content_under_the_same_id_is_a_conflict(edge: Edge, other: dict[str, Any]) -> None:
    """-32011 with the id."""
    edge.call(CHECK, {**check_params(), "decisionId": "dec_1"})
    error = edge.error(CHECK, {**other, "decisionId": "dec_1"})
    assert (error["code"], error["data"]) == (-32011, {"id": "dec_1"})


def test_casing_of_names_and_repeated_tags_make_no_other_content(edge: Edge) -> None:
    """Categories, types and tags are folded before they are compared; the words of a type are those of the first spelling."""
    one = check_params(category="Billing", type="issueRefund", tags=["A", "b", "a"], stakes=None)
    two = check_params(category=" billing", type="ISSUEREFUND ", tags=["a", "B"])
    assert edge.call(CHECK, {**one, "decisionId": "dec_1"}) == edge.call(CHECK, {**two, "decisionId": "dec_1"})
    (decision,) = edge.store.stored.values()
    assert (decision.facts.category, decision.facts.type, decision.facts.tags) == ("billing", "issuerefund", ("a", "b"))
    assert decision.facts.type_words == ("issue", "refund")


def test_a_null_is_as_if_it_were_left_out(edge: Edge) -> None:
    """Every optional param may be null; `tags: null` means no tags."""
    action = dict.fromkeys(("type", "category", "stakes", "confidence", "ctq", "tags", "parameters", "context", "pattern", "reasons"))
    params = {"action": {"description": "x", **action}, "agent": None, "user": {"id": None, "domain": None}, "decisionId": None}
    edge.call(CHECK, params)
    (decision,) = edge.store.stored.values()
    facts = decision.facts
    assert (facts.stakes, facts.tags, facts.parameters, facts.user_id, facts.user_domain) == ("medium", (), {}, None, "general")
    assert facts.details == {}


def test_what_cstps_clients_say_besides_is_kept(edge: Edge) -> None:
    """`agent.url`, reasons, pattern and the like are stored, and given back under CSTP's names."""
    reasons = [{"type": "analysis", "text": "t", "strength": 0.9}]
    params = check_params(pattern="p", reasons=reasons, project="o/r", pr=7, related_to=[{"id": "d", "summary": "s", "distance": 0.1}])
    id = edge.call(CHECK, {**params, "agent": {"id": "a", "url": "https://a.example", "name": "A"}})["decisionId"]
    decision = edge.call("cstp.getDecision", {"decision_id": id})["decision"]
    assert (decision["reasons"], decision["pattern"], decision["project"], decision["pr"]) == (reasons, "p", "o/r", 7)
    assert decision["related_to"] == [{"id": "d", "summary": "s", "distance": 0.1}]
    assert decision["agent"] == {"url": "https://a.example", "name": "A"}


def test_a_dry_run_stores_nothing(edge: Edge) -> None:
    """It is evaluated and forgotten."""
    assert edge.call(CHECK, {**check_params(), "dryRun": True})["allowed"] is True
    assert (edge.store.ran, edge.store.stored) == (1, {})


@pytest.mark.parametrize("name", ["id", "decisionId", "decision_id"])
def test_a_review_takes_the_id_under_any_name(edge: Edge, name: str) -> None:
    """And answers what it did to the circuits; the same again is a duplicate."""
    edge.call(CHECK, {**check_params(category="tooling"), "decisionId": "dec_1"})
    params = {name: "dec_1", "outcome": "failure", "severity": "high", "actual_result": "broke", "notes": None}
    answer = edge.call("cstp.reviewDecision", params)
    assert answer == {
        "success": True,
        "id": "dec_1",
        "status": "reviewed",
        "reviewedAt": AT,
        "outcome": "failure",
        "circuits": answer["circuits"],
        "duplicate": False,
        "selfReported": False,
    }
    assert {"scope": "category:tooling", "previousState": "closed", "state": "open", "failureCount": 1} in answer["circuits"]
    assert edge.call("cstp.reviewDecision", params) == {**answer, "duplicate": True}
    decision = edge.call("cstp.getDecision", {"id": "dec_1"})["decision"]
    assert (decision["status"], decision["outcome"], decision["review"]["actualResult"]) == ("reviewed", "failure", "broke")


def test_a_contradictory_review_is_a_conflict_and_an_unknown_id_is_not_found(edge: Edge) -> None:
    """-32011 and -32007, each with the id."""
    edge.call(CHECK, {**check_params(), "decisionId": "dec_1"})
    edge.call("cstp.reviewDecision", {"id": "dec_1", "outcome": "success"})
    conflict = edge.error("cstp.reviewDecision", {"id": "dec_1", "outcome": "failure"})
    unknown = edge.error("cstp.reviewDecision", {"id": "dec_2", "outcome": "failure"})
    assert (conflict["code"], conflict["data"], unknown["code"], unknown["data"]) == (-32011, {"id": "dec_1"}, -32007, {"id": "dec_2"})


def test_a_review_may_bring_the_decision_along(edge: Edge) -> None:
    """Inline context stands for a check that never was."""
    inline = {"action": {"description": "x", "category": "Tooling"}, "agent": {"id": "a"}}
    answer = edge.call("cstp.reviewDecision", {"id": "ci-77", "outcome": "failure", "decision": inline})
    assert [move["scope"] for move in answer["circuits"]] == ["category:tooling", "agent:a"]


def test_a_recorded_decision_comes_back_as_cstps_command_line_reads_it(edge: Edge) -> None:
    """`decision`, `context` as a text, `reasons`, `bridge` and `date` are where that client looks for them."""
    answer = edge.call(
        "cstp.recordDecision",
        {
            "decision": "keep the sessions",
            "confidence": 0.85,
            "category": "architecture",
            "stakes": "high",
            "context": "the cache goes",
            "project_context": {"project": "o/r"},
            "reasons": [{"type": "analysis", "text": "simple"}],
            "bridge": {"structure": "s", "function": "f"},
            "tags": None,
            "agent_id": "emerson",
        },
    )
    assert (answer["success"], answer["timestamp"]) == (True, AT)
    assert [warning["guardrailId"] for warning in answer["guardrailWarnings"]] == ["no-unreviewed-change"]
    found = edge.call("cstp.getDecision", {"id": answer["id"]})
    decision = found["decision"]
    assert (found["found"], decision["decision"], decision["context"], decision["date"]) == (
        True,
        "keep the sessions",
        "the cache goes",
        AT,
    )
    assert (decision["reasons"], decision["bridge"]["structure"]) == ([{"type": "analysis", "text": "simple"}], "s")
    assert (decision["agentId"], decision["source"], decision["answer"], decision["outcome"]) == ("emerson", "recorded", None, None)


def test_decisions_are_listed_a_page_at_a_time(edge: Edge) -> None:
    """Newest first; following the cursors gives every decision once, and then there is none."""
    for number in range(5):
        edge.clock.at = START + number // 2
        edge.call(CHECK, {**check_params(category="a" if number else "b"), "decisionId": f"dec_{number}"})
    seen: list[str] = []
    cursor = None
    while True:
        page = edge.call("cstp.listDecisions", {"limit": 2, "cursor": cursor})
        seen += [decision["id"] for decision in page["decisions"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == ["dec_4", "dec_3", "dec_2", "dec_1", "dec_0"]
    assert edge.call("cstp.listDecisions", {"category": "B"})["count"] == 1
    assert edge.call("cstp.listDecisions", {"since": "2026-02-11T14:08:00.127+01:00"})["count"] == 1
    assert edge.call("cstp.listDecisions", {"agent": "nobody", "status": "allowed"})["decisions"] == []


def test_a_circuit_is_shown_with_its_policy(edge: Edge) -> None:
    """Numbers without a fraction have none; times are null until there are any."""
    fresh = edge.call("cstp.getCircuitState", {"scope": "category:Tooling"})
    assert (fresh["scope"], fresh["state"], fresh["failureThreshold"], fresh["lastFailure"]) == ("category:tooling", "closed", 2, None)
    assert isinstance(fresh["failureThreshold"], int)
    _fail(edge, 2)
    opened = edge.call("cstp.getCircuitState", {"scope": "category:tooling"})
    assert (opened["state"], opened["openedAt"], opened["resetAt"]) == ("open", AT, "2026-02-11T13:38:00.125Z")
    assert (opened["cooldownRemainingMs"], opened["windowMs"], opened["failureCount"]) == (1_800_000, 3_600_000, 2)


def test_an_unknown_scope_is_answered_with_those_that_are_near(edge: Edge) -> None:
    """-32010 with `scope` and `nearest`."""
    for method in ("cstp.getCircuitState", "cstp.getCircuitHistory", "cstp.resetCircuit"):
        error = edge.error(method, {"scope": "category:toolin"})
        assert (error["code"], error["data"]) == (-32010, {"scope": "category:toolin", "nearest": ["category:tooling"]})


def test_circuits_are_listed_in_both_forms(edge: Edge) -> None:
    """Ours with pages, CSTP's in snake_case with all; sorted by scope."""
    for agent in ("b", "a", "c"):
        edge.call("cstp.reviewDecision", {"id": agent, "outcome": "failure", "decision": {**check_params(), "agent": {"id": agent}}})
    scopes = ["agent:a", "agent:b", "agent:c", "category:tooling"]
    first = edge.call("cstp.listCircuits", {"limit": 3})
    rest = edge.call("cstp.listCircuits", {"limit": 3, "cursor": first["nextCursor"]})
    assert [circuit["scope"] for circuit in first["circuits"] + rest["circuits"]] == scopes
    assert (first["count"], rest["nextCursor"]) == (3, None)
    assert [circuit["scope"] for circuit in edge.call("cstp.listCircuits", {"prefix": "agent:"})["circuits"]] == scopes[:3]
    breakers = edge.call("cstp.listBreakers")["breakers"]
    assert [breaker["scope"] for breaker in breakers] == scopes
    assert breakers[0] == {
        "scope": "agent:a",
        "state": "closed",
        "failure_count": 1,
        "failure_threshold": 100,
        "window_ms": 3_600_000,
        "cooldown_ms": 1_800_000,
        "cooldown_remaining_ms": 0,
        "from_config": False,
    }


def test_a_circuit_is_tripped_probed_and_reset(edge: Edge) -> None:
    """Who did it and when; the history has each move, newest first."""
    trip = edge.call("cstp.tripCircuit", {"scope": "category:tooling", "reason": "loops"})
    assert (trip["previousState"], trip["newState"], trip["trippedBy"], trip["trippedAt"]) == ("closed", "open", "anonymous", AT)
    state = edge.call("cstp.getCircuitState", {"scope": "category:tooling"})
    assert (state["forced"], state["resetAt"]) == (True, None)
    probed = edge.call("cstp.resetCircuit", {"scope": "category:tooling", "probe_first": True})
    assert (probed["previousState"], probed["newState"], probed["resetBy"]) == ("open", "half_open", "anonymous")
    assert edge.call(CHECK, check_params(category="tooling"))["probes"] == [
        {"scope": "category:tooling", "expiresAt": "2026-02-11T13:38:00.125Z"}
    ]
    assert edge.call("cstp.resetCircuit", {"scope": "category:tooling", "reason": "fine"})["newState"] == "closed"
    history = edge.call("cstp.getCircuitHistory", {"scope": "category:Tooling", "limit": 50})
    assert history["scope"] == "category:tooling"
    newest = history["transitions"][0]
    assert (newest["state"], newest["reason"], newest["actor"], newest["at"]) == ("closed", "fine", "anonymous", AT)


def test_a_forced_circuits_finding_has_no_reset_time(edge: Edge) -> None:
    """There is no time at which waiting would help."""
    edge.call("cstp.tripCircuit", {"scope": "category:tooling", "reason": "loops"})
    answer = edge.call(CHECK, check_params(category="tooling"))
    assert "resetAt" not in answer["violations"][0]
    assert answer["remedies"] == []


def test_guards_are_listed_as_cstps_command_line_reads_them(edge: Edge) -> None:
    """`scope` is a list; a scope asked for leaves out guards of other scopes."""
    everything = edge.call("cstp.listGuardrails")
    assert (everything["count"], everything["agent"]) == (3, "cstp-server")
    scopes = [guard["scope"] for guard in everything["guardrails"]]
    assert scopes == [["category:tooling"], ["agent:*"], []]
    some = edge.call("cstp.listGuardrails", {"scope": "category:Tooling"})
    assert [guard["id"] for guard in some["guardrails"]] == ["category-tooling-breaker", "no-unreviewed-change"]
    assert [guard["id"] for guard in edge.call("cstp.listGuardrails", {"scope": "my-project"})["guardrails"]] == ["no-unreviewed-change"]


def test_a_bad_policy_is_reported_and_the_old_one_stays(edge: Edge) -> None:
    """The answer says which policy is in force, and what was wrong."""
    assert edge.call("cstp.reloadPolicy") == {"success": True, "policyVersion": "sha256:test", "changed": False, "problems": []}
    edge.policy.problems = ("policy.yaml:3: `scop` is unknown",)
    answer = edge.call("cstp.reloadPolicy")
    assert (answer["success"], answer["problems"]) == (False, ["policy.yaml:3: `scop` is unknown"])


def test_a_batch_sees_what_came_before_in_it(edge: Edge) -> None:
    """A check and its review in one batch: the circuit that opens blocks the check after them."""
    calls = [
        (CHECK, {**check_params(category="tooling"), "decisionId": "d1"}),
        ("cstp.reviewDecision", {"id": "d1", "outcome": "failure", "severity": "critical"}),
        (CHECK, check_params(category="tooling")),
    ]
    answers = edge.request(
        "POST", "/cstp", json=[{"jsonrpc": "2.0", "id": n, "method": method, "params": params} for n, (method, params) in enumerate(calls)]
    ).json()
    assert [answer["result"].get("allowed") for answer in answers] == [True, None, False]


def test_only_a_decision_that_is_not_allowed_is_logged(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with its id and its guards; an allowed one leaves none."""
    edge.call(CHECK, check_params())
    assert capsys.readouterr().out == ""
    edge.call("cstp.tripCircuit", {"scope": "category:tooling", "reason": "loops"})
    id = edge.call(CHECK, check_params(category="tooling"))["decisionId"]
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1
    assert id in lines[0]
    assert "category-tooling-breaker" in lines[0]

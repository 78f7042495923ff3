"""Constraints over HTTP: the seed's guide example by example, and what a check makes of the policy's constraints (SPEC 9)."""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.server import RpcError, RunningServer

CHECK, EVALUATE, TIGHTEN = "cstp.checkGuardrails", "cstp.evaluateConstraints", "cstp.validateTightening"
LIST, APPROVE, REJECT = "cstp.listDimensions", "cstp.approveDimension", "cstp.rejectDimension"
BUILT_IN = ["cost_limit", "time_window", "resources", "rate_limit", "data_access", "communication"]
WITHIN = {"cost_used": 500, "requests_in_period": 50}
POLICY = """
time_zone: Europe/Berlin
circuit_breakers:
  - {scope: "agent:*", failure_threshold: 3, cooldown_ms: 300, on_open: {downgrade_to: human_decides}}
constraints:
  global: {communication: {mode: allowed_domains, allowed_domains: [api.openai.com, anthropic.com, "*.example.org"]}}
  categories:
    frugal: {cost_limit: 100}
    files: {resources: ["data/**", "logs/*.log"]}
agents:
  agent-001: {posture: full_autonomy}
  spender: {constraints: {cost_limit: 1000}}
  reader: {constraints: {resources: ["data/public/**", "logs/**"]}}
  hurried: {constraints: {rate_limit: "3/hour"}}
  counted: {constraints: {rate_limit: "2/hour"}}
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

    def agent(self) -> str:
        """An agent that nobody has heard of."""
        return f"bot-{next(self._numbers)}"

    def evaluate(self, constraints: Any, context: Any = None, who: str = "olivia", **params: Any) -> Any:
        """An evaluation, and what came of it."""
        return self.call(who, EVALUATE, constraints=constraints, **({"context": context} if context is not None else {}), **params)

    def one(self, dimension: str, value: Any, **context: Any) -> Any:
        """What a single dimension says."""
        answer = self.evaluate({dimension: value}, context)
        result = answer["results"][dimension]
        assert answer["satisfied"] is result["satisfied"]
        assert answer["failedDimensions"] == ([] if result["satisfied"] else [dimension])
        return result

    def check(self, agent: str, category: str | None = None, **context: Any) -> Any:
        """A check of something that speaks with nobody, unless it says otherwise."""
        action = {"description": "Look around", "context": {"communication_target": None, **context}}
        return self.call("olivia", CHECK, action=action | ({"category": category} if category else {}), agent={"id": agent})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with constraints for everybody, for two categories and for some agents."""
    folder = tmp_path_factory.mktemp("constraints")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with RunningServer(folder / "server", config=policy) as server:
        yield Service(
            server,
            {
                "olivia": server.token("olivia", "ops"),
                "ada": server.token("ada", "admin"),
                "eve": server.token("eve", "viewer"),
                "ci": server.token("ci", "ci"),
                "bound": server.token("bound", "agent", agent="refund-bot"),
                "free": server.token("free", "agent"),
                "elsewhere": server.token("elsewhere", "admin", tenant="other"),
            },
        )


def test_the_guides_first_evaluation_is_answered_in_full(service: Service) -> None:
    """Every field of the answer; numbers are numbers, and how long it took is one too."""
    answer = service.evaluate({"cost_limit": 1000, "rate_limit": "100/minute"}, WITHIN, mode="conjunctive", agentId="agent-001")
    cost, rate = answer["results"]["cost_limit"], answer["results"]["rate_limit"]
    assert cost == {"satisfied": True, "reason": cost["reason"], "remaining": 500, "used": 500, "limit": 1000}
    assert rate == {"satisfied": True, "reason": rate["reason"], "remaining": 50, "used": 50, "limit": 100}
    assert all(isinstance(result["reason"], str) and result["reason"] for result in (cost, rate))
    assert isinstance(answer["durationMs"], int | float)
    assert answer["durationMs"] >= 0
    assert {name: value for name, value in answer.items() if name not in ("results", "durationMs")} == {
        "satisfied": True,
        "failedDimensions": [],
        "antiGamingFlags": [],
        "mode": "conjunctive",
    }


BOTH: dict[str, Any] = {"cost_limit": 100, "rate_limit": 10}
COST_FAILS: dict[str, Any] = {"cost_used": 200, "requests_in_period": 5}


@pytest.mark.parametrize(
    ("mode", "constraints", "context", "satisfied"),
    [
        ("conjunctive", BOTH, COST_FAILS, False),
        (None, BOTH, COST_FAILS, False),
        ("disjunctive", BOTH, COST_FAILS, True),
        ("independent", BOTH, COST_FAILS, False),
        ("independent", {**BOTH, "time_window": "09:00-17:00"}, {**COST_FAILS, "current_time": "10:30"}, True),
        ("independent", {**BOTH, "time_window": "09:00-17:00"}, {**COST_FAILS, "current_time": "18:30"}, False),
        ("hierarchical", BOTH, COST_FAILS, False),
        ("hierarchical", {"rate_limit": 10, "cost_limit": 100}, COST_FAILS, True),
        ("disjunctive", BOTH, {"cost_used": 200, "requests_in_period": 11}, False),
        ("conjunctive", BOTH, {"cost_used": 100, "requests_in_period": 10}, True),
    ],
)
def test_a_mode_makes_one_answer_of_several(
    service: Service, mode: str | None, constraints: dict[str, Any], context: dict[str, Any], *, satisfied: bool
) -> None:
    """All, any, more than half, or the first; the failed ones are named whatever the mode made of them."""
    answer = service.evaluate(constraints, context, **({"mode": mode} if mode is not None else {}))
    assert (answer["satisfied"], answer["mode"]) == (satisfied, mode or "conjunctive")
    assert list(answer["results"]) == list(constraints)
    failed = [name for name, result in answer["results"].items() if not result["satisfied"]]
    assert answer["failedDimensions"] == failed
    assert ("cost_limit" in failed) == (context["cost_used"] > 100)


def test_who_goes_to_the_brink_is_flagged(service: Service) -> None:
    """Above 95 % of the limit, with the guide's own words; at 95 % and below it is not."""
    agent = service.agent()
    for used, flags in ((960, ["boundary_pushing:cost_limit (usage_ratio=0.96)"]), (950, []), (951, None), (100, []), (0, [])):
        answer = service.evaluate({"cost_limit": 1000}, {"cost_used": used}, agentId=agent)
        assert answer["satisfied"]
        if flags is None:
            assert [flag.partition(" ")[0] for flag in answer["antiGamingFlags"]] == ["boundary_pushing:cost_limit"]
        else:
            assert answer["antiGamingFlags"] == flags


def test_who_splits_what_they_do_is_flagged(service: Service) -> None:
    """Eight of an agent's last ten evaluations below a tenth of the limit; another agent's are not counted, nor is using nothing."""
    agent, other, idle = service.agent(), service.agent(), service.agent()
    flag = "constraint_splitting:cost_limit"

    def flags(who: str, used: float) -> list[str]:
        answer = service.evaluate({"cost_limit": 1000}, {"cost_used": used}, agentId=who)
        return [text.partition(" ")[0] for text in answer["antiGamingFlags"]]

    for used in (300, 300, *[50] * 7):
        assert flag not in flags(agent, used)
        assert flag not in flags(idle, 0)
    assert flag in flags(agent, 50)
    assert flag not in flags(idle, 0)
    assert flag not in flags(idle, 0)
    assert flag not in flags(other, 50)
    assert [flag in flags(agent, 300) for _ in range(3)] == [True, True, False]


def test_habits_survive_a_restart(start_server: StartServer) -> None:
    """They are on record, and not in a process."""
    server = start_server()
    params = {"constraints": {"cost_limit": 1000}, "context": {"cost_used": 50}, "agentId": "bot"}
    for _ in range(9):
        server.call(EVALUATE, params)
    server.terminate()
    server.start()
    flags = server.call(EVALUATE, params)["antiGamingFlags"]
    assert [flag.partition(" ")[0] for flag in flags] == ["constraint_splitting:cost_limit"]


@pytest.mark.parametrize(
    ("parent", "child", "violations"),
    [
        ({"cost_limit": 100}, {"cost_limit": 50}, []),
        ({"cost_limit": 100}, {"cost_limit": 200}, ["Dimension 'cost_limit': child constraint (200) is looser than parent (100)"]),
        ({"cost_limit": 100}, {"cost_limit": 100}, []),
        ({"cost_limit": 100}, {}, []),
        ({}, {"cost_limit": 100}, []),
        ({}, {}, []),
        ({"rate_limit": "100/minute"}, {"rate_limit": "10/minute"}, []),
        ({"time_window": "09:00-17:00"}, {"time_window": "10:00-12:00"}, []),
        ({"time_window": "22:00-06:00"}, {"time_window": "23:00-05:00"}, []),
        ({"resources": ["data/**"]}, {"resources": ["data/public/**"]}, []),
        ({"data_access": "allow_all"}, {"data_access": "no_pii"}, []),
        ({"communication": "internal_only"}, {"communication": "none"}, []),
        (
            {"communication": {"mode": "allowed_domains", "allowed_domains": ["*.x.org"]}},
            {"communication": {"mode": "allowed_domains", "allowed_domains": ["a.x.org"]}},
            [],
        ),
    ],
)
def test_what_is_handed_on_may_only_tighten(service: Service, parent: Any, child: Any, violations: list[str]) -> None:
    """All six dimensions can be compared; a dimension that is left out is inherited."""
    assert service.call("olivia", TIGHTEN, parent=parent, child=child) == {"valid": not violations, "violations": violations}


@pytest.mark.parametrize(
    ("parent", "child"),
    [
        ({"rate_limit": "10/minute"}, {"rate_limit": "100/minute"}),
        ({"rate_limit": "10/minute"}, {"rate_limit": "10/second"}),
        ({"time_window": "09:00-17:00"}, {"time_window": "08:00-12:00"}),
        ({"time_window": "09:00-17:00"}, {"time_window": "22:00-06:00"}),
        ({"resources": ["data/*"]}, {"resources": ["data/**"]}),
        ({"data_access": "no_pii"}, {"data_access": "allow_all"}),
        ({"communication": "none"}, {"communication": "internal_only"}),
        ({"communication": "internal_only"}, {"communication": {"mode": "allowed_domains", "allowed_domains": ["anthropic.com"]}}),
        ({"cost_limit": 100}, {"cost_limit": "much"}),
        ({"cost_limit": -1}, {"cost_limit": 1}),
        ({"cost_limit": 1}, {"cost_limits": 1}),
        ({"phase_of_the_moon": "full"}, {"phase_of_the_moon": "full"}),
    ],
)
def test_what_is_looser_or_cannot_be_told_is_a_violation(service: Service, parent: Any, child: Any) -> None:
    """Each names its dimension; what is no constraint at all tightens nothing."""
    answer = service.call("olivia", TIGHTEN, parent=parent, child=child)
    assert answer["valid"] is False
    (violation,) = answer["violations"]
    assert f"'{next(iter(child))}'" in violation


PASSES: list[tuple[str, Any, dict[str, Any]]] = [
    ("cost_limit", 1000.0, {"cost_used": 500.0}),
    ("cost_limit", "1000", {"cost_used": 1000}),
    ("time_window", "09:00-17:00", {"current_time": "2025-01-15T10:30:00"}),
    ("time_window", "09:00-17:00", {"current_time": "2025-01-15T16:00:00Z"}),
    ("time_window", "22:00-06:00", {"current_time": "23:59"}),
    ("time_window", "22:00-06:00", {"current_time": "06:00"}),
    ("time_window", "00:00-23:59", {}),
    ("resources", ["data/**", "logs/*.log"], {"resource_requested": "data/users.json"}),
    ("resources", ["data/**", "logs/*.log"], {"resource_requested": "logs/app.log"}),
    ("resources", ["data/**"], {"resource_requested": None}),
    ("rate_limit", 100, {"requests_in_period": 50}),
    ("rate_limit", "100/minute", {"requests_in_period": 50}),
    ("rate_limit", "100/second", {"requests_in_period": 0}),
    ("data_access", "no_pii", {"contains_pii": False}),
    ("data_access", "allow_all", {"contains_pii": True, "data_classification": "restricted"}),
    (
        "data_access",
        {"mode": "allow_all", "allowed_classifications": ["internal", "external"]},
        {"contains_pii": False, "data_classification": "internal"},
    ),
    ("communication", "internal_only", {"communication_target": "api.internal.company.com"}),
    ("communication", "internal_only", {"communication_target": "10.1.2.3"}),
    ("communication", "none", {"communication_target": None}),
    (
        "communication",
        {"mode": "allowed_domains", "allowed_domains": ["api.openai.com", "anthropic.com"]},
        {"communication_target": "https://API.openai.com./v1"},
    ),
]
FAILS: list[tuple[str, Any, dict[str, Any]]] = [
    ("cost_limit", 1000, {"cost_used": 1001}),
    ("cost_limit", 1000, {}),
    ("cost_limit", 1000, {"cost_used": None}),
    ("cost_limit", 1000, {"cost_used": "much"}),
    ("cost_limit", 1000, {"cost_used": True}),
    ("cost_limit", 1000, {"cost_used": -1}),
    ("cost_limit", 1000, {"cost_used": "NaN"}),
    ("cost_limit", 1000, {"cost_used": 5, "costUsed": 5000}),
    ("cost_limit", -1, {"cost_used": 0}),
    ("cost_limit", "NaN", {"cost_used": 0}),
    ("cost_limit", None, {"cost_used": 0}),
    ("time_window", "09:00-17:00", {"current_time": "2025-01-15T08:59:00"}),
    ("time_window", "09:00-17:00", {"current_time": "2025-01-15T16:30:00Z"}),
    ("time_window", "22:00-06:00", {"current_time": "12:00"}),
    ("time_window", "09:00-25:00", {"current_time": "10:00"}),
    ("time_window", "09:00-17:00", {"current_time": "soon"}),
    ("resources", ["data/**", "logs/*.log"], {"resource_requested": "secrets/api.key"}),
    ("resources", ["data/*"], {"resource_requested": "data/a/b.json"}),
    ("resources", ["data/**"], {"resource_requested": "data/../secrets/api.key"}),
    ("resources", ["data/**"], {"resource_requested": "data%2f..%2fsecrets"}),
    ("resources", ["data/**"], {}),
    ("rate_limit", 100, {"requests_in_period": 101}),
    ("rate_limit", "100/fortnight", {"requests_in_period": 1}),
    ("rate_limit", "100/minute", {"requests_in_period": "some"}),
    ("data_access", "no_pii", {"contains_pii": True}),
    ("data_access", "no_pii", {}),
    ("data_access", "no_pii", {"contains_pii": "no"}),
    ("data_access", "most", {"contains_pii": False}),
    (
        "data_access",
        {"mode": "allow_all", "allowed_classifications": ["internal", "external"]},
        {"data_classification": "restricted"},
    ),
    ("communication", "none", {"communication_target": "localhost"}),
    ("communication", "internal_only", {"communication_target": "internal.evil.com"}),
    ("communication", "internal_only", {"communication_target": "api.openai.com"}),
    ("communication", "internal_only", {}),
    (
        "communication",
        {"mode": "allowed_domains", "allowed_domains": ["api.openai.com", "anthropic.com"]},
        {"communication_target": "api.openai.com.evil.org"},
    ),
    (
        "communication",
        {"mode": "allowed_domains", "allowed_domains": ["api.openai.com"]},
        {"communication_target": "notapi.openai.com"},
    ),
    ("phase_of_the_moon", "full", {"phase": "full"}),
    ("costLimit", 1000, {"cost_used": 1}),
]


@pytest.mark.parametrize(("dimension", "value", "context"), PASSES)
def test_what_is_within_a_constraint_passes(service: Service, dimension: str, value: Any, context: dict[str, Any]) -> None:
    """The guide's examples of every dimension, and their edges."""
    assert service.one(dimension, value, **context)["satisfied"] is True


@pytest.mark.parametrize(("dimension", "value", "context"), FAILS)
def test_what_is_not_fails_and_says_why(service: Service, dimension: str, value: Any, context: dict[str, Any]) -> None:
    """So does what is missing, is no value, is no constraint, or is of an unknown dimension: fail closed."""
    result = service.one(dimension, value, **context)
    assert result["satisfied"] is False
    assert result["reason"]


def test_numbers_say_how_far_one_is(service: Service) -> None:
    """Remaining is never negative; where there are none they are null, and a missing key is named."""
    cost = service.one("cost_limit", 1000, cost_used=500)
    assert (cost["remaining"], cost["used"], cost["limit"]) == (500, 500, 1000)
    over = service.one("cost_limit", 1000, cost_used=1200)
    assert (over["remaining"], over["used"], over["limit"]) == (0, 1200, 1000)
    communication = service.one("communication", "none", communication_target=None)
    assert [communication[name] for name in ("remaining", "used", "limit")] == [None, None, None]
    assert service.one("cost_limit", 1000)["missing"] == "cost_used"
    assert "missing" not in cost


@pytest.mark.parametrize("key", ["cost_used", "costUsed"])
def test_a_key_of_the_context_is_known_in_both_spellings(service: Service, key: str) -> None:
    """As params are."""
    assert service.one("cost_limit", 1000, **{key: 500})["used"] == 500
    assert service.one("cost_limit", 1000, **{key: 1500})["satisfied"] is False


def test_the_built_in_dimensions_need_no_review(service: Service) -> None:
    """All six are listed, each with a version and a description, and nobody can review them."""
    answer = service.call("eve", LIST)
    assert answer["count"] == len(answer["dimensions"])
    assert [found["name"] for found in answer["dimensions"]] == BUILT_IN
    for found in answer["dimensions"]:
        assert set(found) == {"name", "version", "description", "status"}
        assert found["status"] == "built_in"
        assert found["version"]
        assert found["description"]
    for method in (APPROVE, REJECT):
        error = service.refusal("ada", method, name="cost_limit")
        assert (error.code, error.data["field"]) == (-32602, "name")
        error = service.refusal("ada", method, name="cost_limits")
        assert (error.code, error.data["field"]) == (-32602, "name")
        assert "`cost_limits`" in error.message


def test_roles_are_as_the_table_says(service: Service) -> None:
    """Who reads may evaluate, an agent as itself alone; only an admin reviews; `ci` does none of it."""
    bounds: dict[str, Any] = {"constraints": {"cost_limit": 10}, "context": {"cost_used": 1}}
    for who in ("olivia", "ada", "eve", "bound", "free"):
        assert service.call(who, EVALUATE, **bounds)["satisfied"]
        assert service.call(who, TIGHTEN, parent={}, child={})["valid"]
        assert service.call(who, LIST)["count"] >= len(BUILT_IN)
    assert service.call("bound", EVALUATE, **bounds, agentId="refund-bot")["satisfied"]
    error = service.refusal("bound", EVALUATE, **bounds, agentId="ledger-bot")
    assert (error.status, error.code) == (403, -32001)
    assert "`refund-bot`" in error.message
    for method, params in ((EVALUATE, bounds), (TIGHTEN, {"parent": {}, "child": {}}), (LIST, {})):
        assert service.refusal("ci", method, **params).status == 403
    for who in ("olivia", "eve", "ci", "bound", "free"):
        for method in (APPROVE, REJECT):
            error = service.refusal(who, method, name="token_limit")
            assert (error.status, error.data) == (403, {"required": ["admin"]})


def test_another_tenants_habits_are_its_own(service: Service) -> None:
    """An agent of the same name elsewhere is another agent."""
    agent = service.agent()
    for _ in range(8):
        service.evaluate({"cost_limit": 1000}, {"cost_used": 50}, agentId=agent)
    assert service.evaluate({"cost_limit": 1000}, {"cost_used": 50}, who="elsewhere", agentId=agent)["antiGamingFlags"] == []
    assert service.evaluate({"cost_limit": 1000}, {"cost_used": 50}, agentId=agent)["antiGamingFlags"]


def test_names_are_taken_in_both_spellings_and_free_keys_as_they_are(service: Service) -> None:
    """`agent_id` is `agentId`; an unknown param is refused, an unknown key of the context is none of our business."""
    answer = service.call("olivia", EVALUATE, constraints={"cost_limit": 9}, context={"cost_used": 1, "an_y": {"a_b": [1]}}, agent_id="x")
    assert answer["satisfied"]
    error = service.refusal("olivia", EVALUATE, constraints={"cost_limit": 9}, contexts={})
    assert (error.code, error.data["field"]) == (-32602, "contexts")
    assert "did you mean `context`" in error.message


def test_a_check_is_held_against_the_policys_constraints(service: Service) -> None:
    """A violation has the dimension and the numbers; at the limit it passes; what is missing fails and is named."""
    assert service.check("spender", cost_used=1000)["allowed"] is True
    answer = service.check("spender", cost_used=1001)
    assert (answer["allowed"], answer["intervention"]) == (False, "block")
    (finding,) = answer["violations"]
    assert (finding["type"], finding["dimension"], finding["action"]) == ("constraint", "cost_limit", "block")
    assert (finding["used"], finding["limit"], finding["remaining"]) == (1001, 1000, 0)
    assert finding["guardrail"] == finding["guardrailId"] == finding["name"]
    (finding,) = service.check("spender")["violations"]
    assert (finding["type"], finding["dimension"]) == ("constraint", "cost_limit")
    assert "cost_used" in finding["message"]


def test_constraints_compose_to_the_most_restrictive(service: Service) -> None:
    """An agent's limit, its category's and everybody's hold at once, whichever is tighter."""
    assert service.check("spender", "frugal", cost_used=100)["allowed"] is True
    (finding,) = service.check("spender", "frugal", cost_used=101)["violations"]
    assert (finding["dimension"], finding["limit"]) == ("cost_limit", 100)
    assert service.check("reader", "files", resource_requested="data/public/a.json")["allowed"] is True
    assert service.check("reader", "files", resource_requested="logs/app.log")["allowed"] is True
    for refused in ("data/users.json", "logs/old/app.log", "secrets/api.key"):
        assert [finding["dimension"] for finding in service.check("reader", "files", resource_requested=refused)["violations"]] == [
            "resources"
        ]
    assert service.check("somebody", "files", resource_requested="data/users.json")["allowed"] is True


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("api.openai.com", True),
        ("https://a.b.example.org/x?y=1", True),
        ("example.org", False),
        ("example.org.evil.com", False),
        ("api.openai.com@evil.com", False),
        ("http://127.0.0.1/", False),
    ],
)
def test_hosts_are_compared_and_not_texts(service: Service, target: str, *, allowed: bool) -> None:
    """Everybody's constraint on whom they speak with."""
    assert service.check(service.agent(), communication_target=target)["allowed"] is allowed


def test_a_constraint_shows_in_the_record_and_among_the_guards(service: Service) -> None:
    """The stored decision has the finding as it was answered; `listGuardrails` lists the constraints of the policy."""
    answer = service.check("spender", cost_used=5000)
    stored = service.call("eve", "cstp.getDecision", id=answer["decisionId"])["decision"]
    assert stored["status"] == "blocked"
    assert stored["answer"]["violations"] == answer["violations"]
    listed = [guard for guard in service.call("eve", "cstp.listGuardrails")["guardrails"] if guard["type"] == "constraint"]
    assert any("cost_limit" in guard["id"] + guard["description"] for guard in listed)
    assert any("communication" in guard["id"] + guard["description"] for guard in listed)


def test_the_service_counts_requests_that_nobody_counts_for_it(service: Service) -> None:
    """As many as the limit in its window; a blocked check is none, and asking for the same decision again is no other one."""
    context = {"communication_target": None}
    params = {"action": {"description": "Look around", "context": context}, "agent": {"id": "hurried"}}
    first = service.call("olivia", CHECK, **params, decisionId="hurry-1")
    assert first["allowed"]
    for _ in range(3):
        assert service.call("olivia", CHECK, **params, decisionId="hurry-1") == first
        assert service.check("hurried", communication_target="evil.com")["allowed"] is False
    assert [service.check("hurried")["allowed"] for _ in range(4)] == [True, True, False, False]
    (finding,) = service.check("hurried")["violations"]
    assert (finding["type"], finding["dimension"], finding["limit"]) == ("constraint", "rate_limit", 3)
    assert service.call("olivia", CHECK, **params, decisionId="hurry-1") == first


def test_the_services_own_count_is_known_on_demand_and_nobody_talks_it_down(service: Service) -> None:
    """An evaluation tells how many were let through and counts none; a check that says it was fewer is held against what was counted."""

    def used() -> Any:
        return service.evaluate({"rate_limit": "2/hour"}, agentId="counted")["results"]["rate_limit"]["used"]

    assert [used(), used()] == [0, 0]
    assert service.check("counted")["allowed"]
    assert used() == 1
    assert service.check("counted", requests_in_period=5)["allowed"] is False
    assert service.check("counted", requests_in_period=0)["allowed"]
    assert service.check("counted", requests_in_period=0)["allowed"] is False
    assert service.evaluate({"rate_limit": "2/hour"})["results"]["rate_limit"]["missing"] == "requests_in_period"


def test_who_may_only_read_leaves_no_trace(service: Service) -> None:
    """A viewer sees what an agent's habits show, and adds nothing to them; neither does a dry run."""
    agent = service.agent()
    for _ in range(10):
        service.evaluate({"cost_limit": 1000}, {"cost_used": 50}, who="eve", agentId=agent)
        action = {"description": "Look around", "category": "frugal", "context": {"communication_target": None, "cost_used": 5}}
        service.call("olivia", CHECK, action=action, agent={"id": agent}, dryRun=True)
    assert service.evaluate({"cost_limit": 1000}, {"cost_used": 50}, agentId=agent)["antiGamingFlags"] == []


def test_a_batch_is_carried_out_in_order(service: Service) -> None:
    """Each call by itself; a bad one fails alone, and a notification is not answered."""
    agent = service.agent()
    small: dict[str, Any] = {"constraints": {"cost_limit": 1000}, "context": {"cost_used": 50}, "agentId": agent}
    calls: list[Any] = [{"jsonrpc": "2.0", "method": EVALUATE, "params": small}] * 7
    calls += [{"jsonrpc": "2.0", "id": 1, "method": EVALUATE, "params": small}]
    calls += [{"jsonrpc": "2.0", "id": 2, "method": EVALUATE, "params": {"constraints": {}}}]
    calls += [{"jsonrpc": "2.0", "id": 3, "method": TIGHTEN, "params": {"parent": {"cost_limit": 1}, "child": {"cost_limit": 2}}}]
    answers = service.server.raw(json.dumps(calls), token=service.tokens["olivia"]).json()
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert [flag.partition(" ")[0] for flag in answers[0]["result"]["antiGamingFlags"]] == ["constraint_splitting:cost_limit"]
    assert answers[1]["error"]["code"] == -32602
    assert answers[2]["result"]["valid"] is False


def test_posture_constraints_and_breaker_together(service: Service) -> None:
    """The guide's complete example: constraints first, then the breaker, then the posture; failures open it, and lower the posture."""
    agent = "agent-001"

    def execute(context: dict[str, Any], outcome: str) -> bool:
        bounds = service.evaluate({"cost_limit": 1000, "rate_limit": "100/minute"}, context, mode="conjunctive", agentId=agent)
        if not bounds["satisfied"]:
            return False
        answer = service.check(agent)
        if answer["allowed"]:
            service.call("ci", "cstp.reviewDecision", id=answer["decisionId"], outcome=outcome, severity="medium")
        return bool(answer["allowed"])

    assert execute(WITHIN, "success")
    assert not execute({"cost_used": 1500, "requests_in_period": 50}, "success")
    for _ in range(3):
        assert execute(WITHIN, "failure")
    assert service.call("eve", "cstp.getCircuitState", scope=f"agent:{agent}")["state"] in ("open", "half_open")
    posture = service.call("eve", "cstp.getPosture", agentId=agent)
    assert (posture["posture"], posture["originalPosture"]) == ("human_decides", "full_autonomy")
    assert not execute(WITHIN, "success")


@pytest.mark.parametrize(("reaction", "intervention"), [("flag", "warn"), ("escalate", "escalate"), ("block", "block")])
def test_gaming_may_be_more_than_flagged(start_server: StartServer, tmp_path: Path, reaction: str, intervention: str) -> None:
    """A check of who pushes a boundary is allowed, asks for an approval, or is refused, as the policy says."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"constraints: {{anti_gaming: {reaction}, global: {{cost_limit: 1000}}}}\n")
    server = start_server(config=policy)
    action = {"description": "Buy something", "context": {"cost_used": 960}}
    answer = server.call(CHECK, {"action": action, "agent": {"id": "bot"}})
    assert (answer["intervention"], answer["allowed"]) == (intervention, reaction == "flag")
    (finding,) = answer["violations"] if reaction != "flag" else answer["warnings"]
    assert (finding["type"], finding["message"]) == ("constraint", "boundary_pushing:cost_limit (usage_ratio=0.96)")
    if reaction == "escalate":
        approved = server.call("cstp.resolveDecision", {"id": answer["decisionId"], "resolution": "approve"})
        assert (approved["status"], approved["violations"]) == ("approved", [])


def test_ones_own_domains_are_what_the_policy_says(start_server: StartServer, tmp_path: Path) -> None:
    """In evaluations, comparisons and checks alike; the label `internal` says nothing any more."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("constraints: {internal_domains: [corp.example], global: {communication: internal_only}}\n")
    server = start_server(config=policy)
    for host, internal in (("a.corp.example", True), ("api.internal.company.com", False), ("notcorp.example", False), ("10.0.0.7", True)):
        context = {"communication_target": host}
        allowed = {"communication": {"mode": "allowed_domains", "allowed_domains": [host]}}
        evaluated = server.call(EVALUATE, {"constraints": {"communication": "internal_only"}, "context": context})
        tightened = server.call(TIGHTEN, {"parent": {"communication": "internal_only"}, "child": allowed})
        checked = server.call(CHECK, {"action": {"description": "Look around", "context": context}})
        assert (evaluated["satisfied"], tightened["valid"], checked["allowed"]) == (internal, internal, internal), host


def test_evaluations_are_counted(start_server: StartServer, tmp_path: Path) -> None:
    """On demand and at checks: passed or failed, the dimensions that failed, and what was flagged, never under a caller's own name."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("agents: {bot: {constraints: {cost_limit: 1000}}}\n")
    server = start_server(config=policy)
    server.call(EVALUATE, {"constraints": {"cost_limit": 1000}, "context": {"cost_used": 960}, "agentId": "bot"})
    server.call(EVALUATE, {"constraints": {"cost_limit": 1000, "phase_of_the_moon": 1}, "context": {"cost_used": 1001}})
    for used in (500, 1500):
        server.call(CHECK, {"action": {"description": "Buy it", "context": {"cost_used": used}}, "agent": {"id": "bot"}})
    found = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in server.http.get("/metrics").text.splitlines()
        if line.startswith("cstp_constraint") and "_bucket" not in line and "_created" not in line and "_sum" not in line
    }
    assert found == {
        'cstp_constraint_evaluations_total{result="passed"}': 2,
        'cstp_constraint_evaluations_total{result="failed"}': 2,
        'cstp_constraint_failures_total{dimension="cost_limit"}': 2,
        'cstp_constraint_failures_total{dimension="other"}': 1,
        'cstp_constraint_gaming_flags_total{kind="boundary_pushing"}': 2,
        "cstp_constraint_evaluation_duration_seconds_count": 2,
    }


def test_missing_context_passes_where_the_policy_says_so(start_server: StartServer, tmp_path: Path) -> None:
    """A check that does not speak of a dimension is then not bound by it; one that does, is."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("constraints: {missing_context: pass, global: {cost_limit: 1000, resources: ['data/**']}}\n")
    server = start_server(config=policy)

    def allowed(**context: Any) -> Any:
        return server.call(CHECK, {"action": {"description": "Look around", "context": context}, "agent": {"id": "bot"}})["allowed"]

    assert allowed() is True
    assert allowed(cost_used=500) is True
    assert allowed(cost_used=1500) is False
    assert allowed(resource_requested="secrets/api.key") is False


def test_a_shadowed_constraint_is_reported_and_blocks_nothing(start_server: StartServer, tmp_path: Path) -> None:
    """As every guard; enforced, the answer says what would help, under the name that the action uses."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("constraints: {global: {cost_limit: 1000}}\n")
    server = start_server(config=policy)
    params = {"action": {"description": "Buy something", "context": {"costUsed": 2000}}, "agent": {"id": "bot"}}
    enforced = server.call(CHECK, params)
    assert [finding["dimension"] for finding in enforced["violations"]] == ["cost_limit"]
    assert enforced["remedies"] == [{"change": "lower", "field": "action.context.costUsed", "to": 1000}]
    policy.write_text("constraints: {enforcement: shadow, global: {cost_limit: 1000}}\n")
    server.call("cstp.reloadPolicy", {})
    shadowed = server.call(CHECK, params)
    assert (shadowed["allowed"], shadowed["violations"]) == (True, [])
    assert [finding["dimension"] for finding in shadowed["shadow"] if "dimension" in finding] == ["cost_limit"]
    assert {finding["type"] for finding in shadowed["shadow"]} == {"constraint"}

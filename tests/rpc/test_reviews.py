"""Reviews of decisions that were never checked here, and of an agent's own ones (SPEC 4)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cstp_server.domain.callers import Role
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.decisions import Outcome
from cstp_server.policy.compiled import CircuitPolicies, SelfReported
from tests.rpc.edge import Edge, check_params
from tests.rpc.memory import POLICY

CHECK, REVIEW, RECORD = "cstp.checkGuardrails", "cstp.reviewDecision", "cstp.recordDecision"
STRICT = CircuitSettings("strict", "strict", failure_threshold=9 * MICRO, failure_outcomes=frozenset({Outcome.FAILURE, Outcome.PARTIAL}))
PLAIN = CircuitSettings("plain", "plain", failure_threshold=9 * MICRO)


@pytest.fixture
def shared(edge: Edge) -> Edge:
    """An edge with an agent that reviews, and with a CI; two circuits, to one of which `partial` is a failure."""
    edge.tokens.add("bot", "bot", Role.AGENT, Role.CI)
    edge.tokens.add("other", "other", Role.AGENT)
    edge.tokens.add("ci", "ci", Role.CI)
    circuits = CircuitPolicies(exact={"tag:strict": STRICT, "tag:plain": PLAIN})
    edge.store.policy = replace(POLICY, circuits=circuits, self_reported=SelfReported.FAILURES_ONLY)
    return edge


def _counted(edge: Edge, token: str, outcome: str) -> Mapping[str, int]:
    """How many outcomes each circuit has counted after the bot's decision was reviewed with this one."""
    id = edge.call(CHECK, {"action": {"description": "x", "tags": ["strict", "plain"]}}, token="bot")["decisionId"]
    answer = edge.call(REVIEW, {"id": id, "outcome": outcome}, token=token)
    assert answer["selfReported"] == (token == "bot")
    return {scope: circuit.window.reviewed for (_, scope), circuit in edge.store.circuits_of.items()}


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [("failure", {"tag:strict": 1, "tag:plain": 1}), ("partial", {"tag:strict": 1}), ("abandoned", {}), ("success", {})],
)
def test_an_agents_own_review_counts_where_it_is_a_failure(shared: Edge, outcome: str, counted: Mapping[str, int]) -> None:
    """Under `failures_only` nothing that is no failure to a circuit moves it: not its rate, and not a probe's slot."""
    assert _counted(shared, "bot", outcome) == counted


@pytest.mark.parametrize("outcome", ["failure", "partial", "abandoned", "success"])
def test_somebody_elses_review_counts_whatever_it_says(shared: Edge, outcome: str) -> None:
    """The policy's rule is about agents that grade themselves."""
    assert _counted(shared, "ci", outcome) == {"tag:strict": 1, "tag:plain": 1}


@pytest.mark.parametrize(
    ("said", "field"),
    [({"decisionId": "dec_2"}, "decision.decisionId"), ({"dryRun": True}, "decision.dryRun")],
)
def test_an_inline_context_does_not_contradict_its_review(edge: Edge, said: dict[str, Any], field: str) -> None:
    """-32602 that names the field, and nothing is stored."""
    error = edge.error(REVIEW, {"id": "dec_1", "outcome": "failure", "decision": {**check_params(), **said}})
    assert (error["code"], error["data"]["field"]) == (-32602, field)
    assert not edge.store.stored


def test_an_inline_context_may_name_the_id_once_more(edge: Edge) -> None:
    """The params of the check that never arrived are taken as they are."""
    inline = {**check_params(), "decisionId": "dec_1", "dryRun": False}
    assert edge.call(REVIEW, {"id": "dec_1", "outcome": "failure", "decision": inline})["success"]


def test_what_another_agent_recorded_is_a_conflict(shared: Edge) -> None:
    """The same words under the same id are the same decision only when they are the same agent's."""
    params = {"decision": "use a queue", "decisionId": "dec_1"}
    first = shared.call(RECORD, params, token="bot")
    assert shared.call(RECORD, params, token="bot") == first
    assert shared.error(RECORD, params, token="other")["code"] == -32011


@pytest.mark.parametrize("amend", [False, True])
def test_an_agents_own_success_does_not_keep_a_failure_from_counting(shared: Edge, amend: bool) -> None:
    """What moved nothing gives way: the CI's review is the first that counts, and is then repeated and contradicted as any other."""
    shared.tokens.add("ops", "ops", Role.OPS)
    id = shared.call(CHECK, {"action": {"description": "x", "tags": ["plain"]}}, token="bot")["decisionId"]
    shared.call(REVIEW, {"id": id, "outcome": "success"}, token="bot")
    said = {"id": id, "outcome": "failure", "amend": amend}
    answer = shared.call(REVIEW, said, token="ops" if amend else "ci")
    assert (answer["duplicate"], answer["selfReported"], [move["failureCount"] for move in answer["circuits"]]) == (False, False, [1])
    assert shared.call(REVIEW, {"id": id, "outcome": "failure"}, token="ci")["duplicate"]
    assert shared.error(REVIEW, {"id": id, "outcome": "success"}, token="bot")["code"] == -32011
    assert shared.store.circuits_of["default", "tag:plain"].window.failures == 1


def test_an_agents_own_review_that_counted_stands(shared: Edge) -> None:
    """With `self_reported: count` it is a review as any other: another outcome is a conflict."""
    shared.store.policy = replace(shared.store.policy, self_reported=SelfReported.COUNT)
    id = shared.call(CHECK, {"action": {"description": "x", "tags": ["plain"]}}, token="bot")["decisionId"]
    shared.call(REVIEW, {"id": id, "outcome": "success"}, token="bot")
    assert shared.error(REVIEW, {"id": id, "outcome": "failure"}, token="ci")["code"] == -32011


def test_an_agent_that_decides_under_another_name_still_grades_itself(shared: Edge) -> None:
    """The token that asked and the token that reviews are one: its success moves nothing under `failures_only`."""
    id = shared.call(CHECK, {"action": {"description": "x", "tags": ["plain"]}, "agent": {"id": "alias"}}, token="bot")["decisionId"]
    answer = shared.call(REVIEW, {"id": id, "outcome": "success"}, token="bot")
    assert (answer["selfReported"], answer["circuits"]) == (True, [])


def test_an_operators_own_review_is_no_self_report(shared: Edge) -> None:
    """An operator who tries something out and reports on it is nobody's agent."""
    shared.tokens.add("ops", "ops", Role.OPS)
    id = shared.call(CHECK, {"action": {"description": "x", "tags": ["plain"]}, "agent": {"id": "alias"}}, token="ops")["decisionId"]
    assert shared.call(REVIEW, {"id": id, "outcome": "success"}, token="ops")["selfReported"] is False

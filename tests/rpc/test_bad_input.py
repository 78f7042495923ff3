"""Bad input of every kind: the code, the field it names, and that nothing of it reaches the use cases (SPEC 2)."""

import json
from typing import Any

import pytest

from cstp_server.rpc.limits import Limits
from tests.rpc.edge import Edge, check_params

CHECK = "cstp.checkGuardrails"
REVIEW = "cstp.reviewDecision"
RECORD = "cstp.recordDecision"


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


BAD_PARAMS: list[tuple[str, Any, str, str]] = [
    (CHECK, None, "action", "is required"),
    (CHECK, {}, "action", "is required"),
    (CHECK, [check_params()["action"]], "params", "by name"),
    (CHECK, {"action": "go"}, "action", "must"),
    (CHECK, {"action": None}, "action", "must"),
    (CHECK, {"action": {}}, "action.description", "is required"),
    (CHECK, {"action": {"description": None}}, "action.description", "string"),
    (CHECK, check_params(description=""), "action.description", "must not be blank"),
    (CHECK, check_params(description=" \t"), "action.description", "must not be blank"),
    (CHECK, check_params(description=7), "action.description", "must be a valid string"),
    (CHECK, check_params(stakes="huge"), "action.stakes", "`low`, `medium`, `high` or `critical`"),
    (CHECK, check_params(stakes=3), "action.stakes", "`low`"),
    (CHECK, check_params(confidence="0.9"), "action.confidence", "number"),
    (CHECK, check_params(confidence=True), "action.confidence", "number"),
    (CHECK, check_params(confidence=1.01), "action.confidence", "less than or equal to 1"),
    (CHECK, check_params(confidence=-0.1), "action.confidence", "greater than or equal to 0"),
    (CHECK, check_params(tags="refund"), "action.tags", "list"),
    (CHECK, check_params(tags=["a", 1]), "action.tags[1]", "string"),
    (CHECK, check_params(tags=["a", " "]), "action.tags[1]", "must not be blank"),
    (CHECK, check_params(tags=["*"]), "action.tags[0]", "`*`"),
    (CHECK, check_params(tags=[f"t{n}" for n in range(101)]), "action.tags", "at most 100"),
    (CHECK, check_params(category="*"), "action.category", "`*`"),
    (CHECK, check_params(category=""), "action.category", "must not be blank"),
    (CHECK, check_params(category="c" * 257), "action.category", "at most 256"),
    (CHECK, check_params(type=["refund"]), "action.type", "string"),
    (CHECK, check_params(parameters=[1]), "action.parameters", "dictionary"),
    (CHECK, check_params(context="prod"), "action.context", "dictionary"),
    (CHECK, check_params(stake="high"), "action.stake", "did you mean `stakes`"),
    (CHECK, check_params(qqqq=1), "action.qqqq", "is unknown"),
    (CHECK, {**check_params(), "dryrun": True}, "dryrun", "did you mean `dryRun`"),
    (CHECK, {**check_params(), "dryRun": 1}, "dryRun", "boolean"),
    (CHECK, {**check_params(), "dryRun": True, "dry_run": True}, "dry_run", "says the same as `dryRun`"),
    (CHECK, {**check_params(), "decisionId": "a b"}, "decisionId", "A-Z a-z 0-9"),
    (CHECK, {**check_params(), "decisionId": ""}, "decisionId", "A-Z a-z 0-9"),
    (CHECK, {**check_params(), "decisionId": "dec\n"}, "decisionId", "A-Z a-z 0-9"),
    (CHECK, {**check_params(), "decisionId": "d" * 129}, "decisionId", "at most 128"),
    (CHECK, {**check_params(), "agent": "bot"}, "agent", "must"),
    (CHECK, {**check_params(), "agent": {"id": "*"}}, "agent.id", "`*`"),
    (CHECK, {**check_params(), "agent": {"id": 7}}, "agent.id", "string"),
    (CHECK, {**check_params(), "agent": {"uid": "x"}}, "agent.uid", "is unknown"),
    (CHECK, {**check_params(), "user": {"id": "u", "domain": "a/b"}}, "user.domain", "`/`"),
    (CHECK, check_params(parameters={"amount": 2**64}), "action.parameters.amount", "64 bits"),
    (CHECK, check_params(parameters={"amounts": [1, -(2**63) - 1]}), "action.parameters.amounts[1]", "64 bits"),
    (CHECK, check_params(parameters={"note": "a\x00b"}), "action.parameters.note", "NUL"),
    (CHECK, check_params(parameters={"a\x00b": 1}), "action.parameters", "names that contain NUL"),
    (CHECK, check_params(parameters={"note": "x" * 65_537}), "action.parameters.note", "65536 bytes"),
    (CHECK, check_params(parameters={"note": "ü" * 32_769}), "action.parameters.note", "65536 bytes"),
    (CHECK, check_params(parameters={"x" * 65_537: 1}), "action.parameters", "names longer than 65536 bytes"),
    (CHECK, check_params(parameters=_deep(40)), "action.parameters" + ".a" * 29, "nested more than 32"),
    (REVIEW, {"outcome": "success"}, "id", "is required"),
    (REVIEW, {"id": "d"}, "outcome", "is required"),
    (REVIEW, {"id": "d", "outcome": "ok"}, "outcome", "`success`, `partial`, `failure` or `abandoned`"),
    (REVIEW, {"id": "d", "outcome": "failure", "severity": "severe"}, "severity", "`low`"),
    (REVIEW, {"id": "d", "outcome": "failure", "actualCost": -1}, "actualCost", "greater"),
    (REVIEW, {"id": "d", "outcome": "failure", "actualCost": "1"}, "actualCost", "number"),
    (REVIEW, {"id": "d", "outcome": "failure", "affectedKpis": {"latency": "x"}}, "affectedKpis.latency", "number"),
    (REVIEW, {"id": "d", "outcome": "failure", "amend": "yes"}, "amend", "boolean"),
    (REVIEW, {"id": "d", "decision_id": "d", "outcome": "failure"}, "decision_id", "says the same as `id`"),
    (REVIEW, {"id": "d", "outcome": "failure", "decision": {"action": {}}}, "decision.action.description", "is required"),
    (REVIEW, {"id": "d", "outcome": "failure", "decision": check_params(tags=["t"] * 101)}, "decision.action.tags", "at most 100"),
    (REVIEW, {"id": "d", "outcome": "failure", "reviewer": "me"}, "reviewer", "is unknown"),
    (RECORD, {}, "decision", "is required"),
    (RECORD, {"decision": "x", "confidence": 2}, "confidence", "less than or equal"),
    (RECORD, {"decision": "x", "context": 7}, "context", "string or an object"),
    (RECORD, {"decision": "x", "agentId": "a", "agent": {"id": "b"}}, "agentId", "agree"),
    (RECORD, {"decision": "x", "confidense": 0.5}, "confidense", "did you mean `confidence`"),
    ("cstp.getDecision", {}, "id", "is required"),
    ("cstp.getDecision", {"id": 7}, "id", "string"),
    ("cstp.listDecisions", {"limit": 0}, "limit", "greater"),
    ("cstp.listDecisions", {"limit": 501}, "limit", "less"),
    ("cstp.listDecisions", {"limit": "10"}, "limit", "integer"),
    ("cstp.listDecisions", {"limit": True}, "limit", "integer"),
    ("cstp.listDecisions", {"limit": 1.5}, "limit", "integer"),
    ("cstp.listDecisions", {"since": "yesterday"}, "since", "2026-02-11T13:30:00Z"),
    ("cstp.listDecisions", {"since": "2026-02-11"}, "since", "2026-02-11T13:30:00Z"),
    ("cstp.listDecisions", {"since": "2026-02-30T00:00:00Z"}, "since", "2026-02-11T13:30:00Z"),
    ("cstp.listDecisions", {"since": "2026-02-11T13:30:00"}, "since", "2026-02-11T13:30:00Z"),
    ("cstp.listDecisions", {"since": 1770815280125}, "since", "2026-02-11T13:30:00Z"),
    ("cstp.listDecisions", {"status": "done"}, "status", "`allowed`"),
    ("cstp.listDecisions", {"cursor": "%%%"}, "cursor", "nextCursor"),
    ("cstp.listDecisions", {"cursor": "YWJj"}, "cursor", "nextCursor"),
    ("cstp.getCircuitState", {}, "scope", "is required"),
    ("cstp.getCircuitState", {"scope": ""}, "scope", "must not be blank"),
    ("cstp.getCircuitState", {"scope": "colour:red"}, "scope", "is no scope"),
    ("cstp.getCircuitState", {"scope": "agent:*"}, "scope", "template"),
    ("cstp.listCircuits", {"state": "ajar"}, "state", "`closed`, `open` or `half_open`"),
    ("cstp.resetCircuit", {"scope": "category:tooling", "probeFirst": "yes"}, "probeFirst", "boolean"),
    ("cstp.tripCircuit", {"scope": "category:tooling"}, "reason", "is required"),
    ("cstp.tripCircuit", {"scope": "category:tooling", "reason": " "}, "reason", "must not be blank"),
    ("cstp.listBreakers", {"scope": "global"}, "scope", "there are no params"),
    ("cstp.reloadPolicy", {"force": True}, "force", "there are no params"),
    ("rpc.discover", {"version": 1}, "version", "there are no params"),
]


@pytest.mark.parametrize(("method", "params", "field", "said"), BAD_PARAMS)
def test_bad_params_are_refused_by_name_and_reach_nothing(method: str, params: Any, field: str, said: str) -> None:
    """-32602, the field as the caller wrote it, what would be right; and no use case ran."""
    edge = Edge()
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, **({"params": params} if params is not None else {})})
    error = edge.post(body).json()["error"]
    assert (error["code"], error["data"]["field"]) == (-32602, field)
    assert said in error["message"]
    assert error["message"].startswith("invalid params: ")
    assert (edge.store.ran, edge.store.stored, edge.store.events) == (0, {}, [])


BAD_BODIES: list[tuple[str | bytes, int]] = [
    ("", -32700),
    ("{", -32700),
    ("nope", -32700),
    ('{"jsonrpc": "2.0",}', -32700),
    (b"\xff\xfe", -32700),
    (b'\xef\xbb\xbf{"jsonrpc": "2.0"}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": {"a": NaN}}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": {"a": Infinity}}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": {"a": -Infinity}}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": {"a": 1e400}}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": {"a": "\\ud800"}}', -32700),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": {"a": "\x01"}}', -32700),
    ("[" * 5000 + "]" * 5000, -32700),
    ('"text"', -32600),
    ("7", -32600),
    ("null", -32600),
    ("{}", -32600),
    ('{"jsonrpc": "2.0", "id": 1}', -32600),
    ('{"id": 1, "method": "cstp.listBreakers"}', -32600),
    ('{"jsonrpc": "1.0", "id": 1, "method": "cstp.listBreakers"}', -32600),
    ('{"jsonrpc": 2.0, "id": 1, "method": "cstp.listBreakers"}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": null}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": null}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "params": "x"}', -32600),
    ('{"jsonrpc": "2.0", "id": true, "method": "cstp.listBreakers"}', -32600),
    ('{"jsonrpc": "2.0", "id": 123456789012345678901, "method": "cstp.listBreakers"}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.\\u0000listBreakers"}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers", "a\\u0000": 1}', -32600),
    ('{"jsonrpc": "2.0", "id": 1, "method": "cstp.nothing"}', -32601),
    ('{"jsonrpc": "2.0", "id": 1, "method": ""}', -32601),
    ('{"jsonrpc": "2.0", "id": 1, "method": "__class__"}', -32601),
    ("[" + "[" * 900 + "123456789012345678901" + "]" * 900 + "]", -32600),
]


@pytest.mark.parametrize(("body", "code"), BAD_BODIES)
def test_what_is_no_call_has_its_code_and_reaches_nothing(edge: Edge, body: str | bytes, code: int) -> None:
    """Text that is no JSON, JSON that is no call, and a method that is not there; over HTTP all are 200."""
    response = edge.post(body)
    answer = response.json()
    answer = answer[0] if isinstance(answer, list) else answer
    assert (response.status_code, answer["error"]["code"]) == (200, code)
    assert edge.store.ran == 0


@pytest.mark.parametrize("amount", [2**63 - 1, 2**64 - 1, -(2**63), 12345678901234567890, 1.5e300, 0.1234567890123456789])
def test_numbers_of_64_bits_are_taken_as_they_are(edge: Edge, amount: float) -> None:
    """The widest integers and long fractions pass unchanged."""
    edge.call(CHECK, check_params(parameters={"amount": amount}))
    (decision,) = edge.store.stored.values()
    assert decision.facts.parameters["amount"] == amount


def test_a_number_of_any_length_is_refused_alike(edge: Edge) -> None:
    """Hundreds of digits are too wide, and what not even a float holds is no number."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": CHECK, "params": check_params(parameters={"amount": 77})})
    wide, endless = (edge.post(body.replace("77", "7" * digits)).json()["error"] for digits in (300, 50_000))
    assert (wide["code"], wide["data"]["field"]) == (-32602, "action.parameters.amount")
    assert endless["code"] == -32700
    assert edge.store.ran == 0


def test_long_digits_inside_a_text_are_no_number(edge: Edge) -> None:
    """Only numbers have a width."""
    edge.call(CHECK, check_params(description="order 123456789012345678901234567890"))
    assert edge.store.ran == 1


def test_a_backslash_before_u0000_is_no_nul(edge: Edge) -> None:
    """The text `\\u0000` with an escaped backslash is harmless."""
    edge.call(CHECK, check_params(description="\\u0000"))
    (decision,) = edge.store.stored.values()
    assert decision.facts.description == "\\u0000"


def test_what_is_just_within_the_limits_passes(edge: Edge) -> None:
    """The longest string, the deepest nesting and the most tags are still taken."""
    params = check_params(parameters={"note": "x" * 65_536, "deep": _deep(28)}, tags=[f"t{n}" for n in range(100)])
    edge.call(CHECK, params)
    assert edge.store.ran == 1


def test_a_bad_call_in_a_batch_fails_alone(edge: Edge) -> None:
    """The calls around it are carried out."""
    good = {"jsonrpc": "2.0", "method": CHECK, "params": check_params()}
    bad = {"jsonrpc": "2.0", "method": CHECK, "params": check_params(parameters={"amount": 2**70, "note": "\x00"})}
    answers = edge.post(json.dumps([{**good, "id": 1}, {**bad, "id": 2}, 7, {**good, "id": 3}])).json()
    assert [(answer["id"], answer.get("error", {}).get("code")) for answer in answers] == [
        (1, None),
        (2, -32602),
        (None, -32600),
        (3, None),
    ]
    assert edge.store.ran == 2


def test_a_batch_of_a_hundred_is_carried_out_and_one_more_is_not(edge: Edge) -> None:
    """101 calls are one -32600 with a null id, and nothing of them happens."""
    calls = [{"jsonrpc": "2.0", "id": n, "method": CHECK, "params": check_params()} for n in range(101)]
    refused = edge.post(json.dumps(calls)).json()
    assert (refused["error"]["code"], refused["id"], edge.store.ran) == (-32600, None, 0)
    assert [answer["id"] for answer in edge.post(json.dumps(calls[:100])).json()] == list(range(100))
    assert edge.store.ran == 100


def test_a_notification_is_carried_out_and_never_answered(edge: Edge) -> None:
    """204 without a body, be it right, wrong, or about nothing."""
    for method, params in ((CHECK, check_params()), (CHECK, {}), ("cstp.nothing", {}), (CHECK, check_params(parameters={"a": "\x00"}))):
        response = edge.post(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))
        assert (response.status_code, response.content) == (204, b"")
    assert edge.store.ran == 1


def test_limits_are_settings() -> None:
    """A service with tighter limits says those."""
    edge = Edge(limits=Limits(nesting=8, string_bytes=300, tags=2, batch=2))
    assert "at most 2" in edge.error(CHECK, check_params(tags=["a", "b", "c"]))["message"]
    assert "300 bytes" in edge.error(CHECK, check_params(description="x" * 301))["message"]
    assert "more than 8 deep" in edge.error(CHECK, check_params(parameters=_deep(9)))["message"]
    assert edge.post(json.dumps([{}, {}, {}])).json()["error"]["data"]["expected"] == "at most 2 calls in a batch"


def test_every_problem_is_listed(edge: Edge) -> None:
    """The message has the first, the data all of them."""
    error = edge.error(CHECK, {**check_params(stakes="huge", confidence=7), "extra": 1})
    assert [problem["field"] for problem in error["data"]["problems"]] == ["action.stakes", "action.confidence", "extra"]

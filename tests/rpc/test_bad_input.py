"""Bad input of every kind: the code, the field it names, and that nothing of it reaches the use cases (SPEC 2)."""

import json
from typing import Any

import pytest

from cstp_server.rpc.limits import Limits
from tests.rpc.edge import Edge, check_params

CHECK = "cstp.checkGuardrails"
REVIEW = "cstp.reviewDecision"
RECORD = "cstp.recordDecision"
AWAIT = "cstp.awaitDecision"
RESOLVE = "cstp.resolveDecision"
STATS = "cstp.getTripwireStats"
MOVE = "cstp.transitionPosture"
HALT = "cstp.emergencyDowngrade"
MOVES = "cstp.getPostureHistory"
EVALUATE = "cstp.evaluateConstraints"
TIGHTEN = "cstp.validateTightening"
APPROVE = "cstp.approveDimension"
REJECT = "cstp.rejectDimension"


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


BAD_PARAMS: list[tuple[str, Any, str, str]] = [
    (CHECK, None, "action", "is required"),
    (CHECK, {}, "action", "is required"),
    (CHECK, [check_params()["action"]], "params", "by name"),
    (CHECK, {"action": "go"}, "action", "must be an object"),
    (CHECK, {"action": None}, "action", "must be an object"),
    (CHECK, {"action": {}}, "action.description", "is required"),
    (CHECK, {"action": {"description": None}}, "action.description", "string"),
    (CHECK, check_params(description=""), "action.description", "must not be blank"),
    (CHECK, check_params(description=" \t"), "action.description", "must not be blank"),
    (CHECK, check_params(description=7), "action.description", "must be a string"),
    (CHECK, check_params(stakes="huge"), "action.stakes", "`low`, `medium`, `high` or `critical`"),
    (CHECK, check_params(stakes=3), "action.stakes", "`low`"),
    (CHECK, check_params(confidence="0.9"), "action.confidence", "must be a number"),
    (CHECK, check_params(confidence=True), "action.confidence", "must be a number"),
    (CHECK, check_params(confidence=1.01), "action.confidence", "at most 1"),
    (CHECK, check_params(confidence=-0.1), "action.confidence", "at least 0"),
    (CHECK, check_params(ctq="0.9"), "action.ctq", "number"),
    (CHECK, check_params(ctq=True), "action.ctq", "number"),
    (CHECK, check_params(ctq=1.01), "action.ctq", "at most 1"),
    (CHECK, check_params(ctq=-0.1), "action.ctq", "at least 0"),
    (CHECK, check_params(tags="refund"), "action.tags", "must be a list"),
    (CHECK, check_params(tags=["a", 1]), "action.tags[1]", "string"),
    (CHECK, check_params(tags=["a", " "]), "action.tags[1]", "must not be blank"),
    (CHECK, check_params(tags=["*"]), "action.tags[0]", "`*`"),
    (CHECK, check_params(tags=[f"t{n}" for n in range(101)]), "action.tags", "at most 100"),
    (CHECK, check_params(category="*"), "action.category", "`*`"),
    (CHECK, check_params(category=""), "action.category", "must not be blank"),
    (CHECK, check_params(category="c" * 257), "action.category", "at most 256 characters"),
    (CHECK, check_params(type=["refund"]), "action.type", "string"),
    (CHECK, check_params(parameters=[1]), "action.parameters", "must be an object"),
    (CHECK, check_params(context="prod"), "action.context", "must be an object"),
    (CHECK, check_params(stake="high"), "action.stake", "did you mean `stakes`"),
    (CHECK, check_params(qqqq=1), "action.qqqq", "is unknown"),
    (CHECK, {**check_params(), "dryrun": True}, "dryrun", "did you mean `dryRun`"),
    (CHECK, {**check_params(), "dryRun": 1}, "dryRun", "must be true or false"),
    (CHECK, {**check_params(), "dryRun": True, "dry_run": True}, "dry_run", "says the same as `dryRun`"),
    (CHECK, {**check_params(), "decisionId": "a b"}, "decisionId", "A-Z a-z 0-9"),
    (CHECK, {**check_params(), "decisionId": ""}, "decisionId", "A-Z a-z 0-9"),
    (CHECK, {**check_params(), "decisionId": "dec\n"}, "decisionId", "A-Z a-z 0-9"),
    (CHECK, {**check_params(), "decisionId": "d" * 129}, "decisionId", "at most 128"),
    (CHECK, {**check_params(), "agent": "bot"}, "agent", "must be an object"),
    (CHECK, {**check_params(), "agent": {"id": "*"}}, "agent.id", "`*`"),
    (CHECK, {**check_params(), "agent": {"id": 7}}, "agent.id", "string"),
    (CHECK, {**check_params(), "agent": {"uid": "x"}}, "agent.uid", "did you mean `id`"),
    (CHECK, {**check_params(), "agent": {"role": "x"}}, "agent.role", "is unknown: there are `id`, `url`, `name`, `version`"),
    (CHECK, check_params(desc="x"), "action.desc", "did you mean `description`"),
    (CHECK, {**check_params(), "user": "bob"}, "user", "must be an object"),
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
    (REVIEW, {"id": "d", "outcome": "failure", "actualCost": -1}, "actualCost", "must be at least 0"),
    (REVIEW, {"id": "d", "outcome": "failure", "actualCost": "1"}, "actualCost", "number"),
    (REVIEW, {"id": "d", "outcome": "failure", "affectedKpis": {"latency": "x"}}, "affectedKpis.latency", "number"),
    (REVIEW, {"id": "d", "outcome": "failure", "amend": "yes"}, "amend", "must be true or false"),
    (REVIEW, {"id": "d", "decision_id": "d", "outcome": "failure"}, "decision_id", "says the same as `id`"),
    (REVIEW, {"id": "d", "outcome": "failure", "decision": {"action": {}}}, "decision.action.description", "is required"),
    (REVIEW, {"id": "d", "outcome": "failure", "decision": check_params(tags=["t"] * 101)}, "decision.action.tags", "at most 100"),
    (REVIEW, {"id": "d", "outcome": "failure", "reviewer": "me"}, "reviewer", "is unknown"),
    (RECORD, {}, "decision", "is required"),
    (RECORD, {"decision": "x", "confidence": 2}, "confidence", "at most 1"),
    (RECORD, {"decision": "x", "ctq": 2}, "ctq", "at most 1"),
    (RECORD, {"decision": "x", "context": 7}, "context", "string or an object"),
    (RECORD, {"decision": "x", "agentId": "a", "agent": {"id": "b"}}, "agentId", "agree"),
    (RECORD, {"decision": "x", "confidense": 0.5}, "confidense", "did you mean `confidence`"),
    (AWAIT, {}, "id", "is required"),
    (AWAIT, {"id": "a b"}, "id", "A-Z a-z 0-9"),
    (AWAIT, {"id": None}, "id", "string"),
    (AWAIT, {"id": "d", "timeoutMs": -1}, "timeoutMs", "at least 0"),
    (AWAIT, {"id": "d", "timeoutMs": 60_001}, "timeoutMs", "at most 60000"),
    (AWAIT, {"id": "d", "timeoutMs": 1.5}, "timeoutMs", "must be a whole number"),
    (AWAIT, {"id": "d", "timeoutMs": "1000"}, "timeoutMs", "must be a whole number"),
    (AWAIT, {"id": "d", "timeoutMs": True}, "timeoutMs", "must be a whole number"),
    (AWAIT, {"id": "d", "timeout": 1}, "timeout", "did you mean `timeoutMs`"),
    (AWAIT, {"id": "d", "decision_id": "d"}, "decision_id", "says the same as `id`"),
    (RESOLVE, {}, "id", "is required"),
    (RESOLVE, {"id": "d"}, "resolution", "is required"),
    (RESOLVE, {"id": "d", "resolution": "approved"}, "resolution", "`approve`, `deny`, `cancel` or `confirm`"),
    (RESOLVE, {"id": "d", "resolution": None}, "resolution", "`approve`"),
    (RESOLVE, {"id": "d", "resolution": "deny", "note": 7}, "note", "string"),
    (RESOLVE, {"id": "d", "resolution": "deny", "note": "a\x00b"}, "note", "NUL"),
    (RESOLVE, {"id": "d", "resolution": "deny", "by": "olivia"}, "by", "is unknown"),
    (RESOLVE, {"id": "d" * 129, "resolution": "deny"}, "id", "at most 128"),
    (STATS, {"since": "yesterday"}, "since", "2026-02-11T13:30:00Z"),
    (STATS, {"since": 7}, "since", "2026-02-11T13:30:00Z"),
    (STATS, {"agent": "*"}, "agent", "`*`"),
    (STATS, {"agent": " "}, "agent", "must not be blank"),
    (STATS, {"tripwire": "max_refund"}, "tripwire", "is unknown"),
    ("cstp.getPosture", {}, "agentId", "is required"),
    ("cstp.getPosture", {"id": "a"}, "agentId", "is required"),
    ("cstp.getPosture", {"agentId": "*"}, "agentId", "`*`"),
    ("cstp.getPosture", {"agentId": "a" * 257}, "agentId", "at most 256 characters"),
    ("cstp.getPosture", {"agentId": "a", "agent_id": "a"}, "agent_id", "says the same as `agentId`"),
    (MOVE, {"agentId": "a", "toPosture": "assisted"}, "reason", "is required"),
    (MOVE, {"agentId": "a", "reason": "r"}, "toPosture", "is required"),
    (MOVE, {"agentId": "a", "toPosture": "assisted", "reason": " "}, "reason", "must not be blank"),
    (MOVE, {"agentId": "a", "toPosture": "free", "reason": "r"}, "toPosture", "`human_decides` or `blocked`"),
    (MOVE, {"agentId": "a", "toPosture": "BLOCKED", "reason": "r"}, "toPosture", "`human_decides` or `blocked`"),
    (MOVE, {"agentId": "a", "toPosture": 5, "reason": "r"}, "toPosture", "`full_autonomy`"),
    (MOVE, {"agentId": "a", "toPosture": "assisted", "fromPosture": "", "reason": "r"}, "fromPosture", "`full_autonomy`"),
    (MOVE, {"agentId": "a", "toPosture": "assisted", "reason": "r", "metadata": [1]}, "metadata", "must be an object"),
    (MOVE, {"agentId": "a", "toPosture": "assisted", "reason": "r", "metadata": {"n": 2**64}}, "metadata.n", "64 bits"),
    (MOVE, {"agentId": "a", "toPosture": "assisted", "reason": "r", "metadata": {"n": "\x00"}}, "metadata.n", "NUL"),
    (MOVE, {"agentId": "a", "posture": "assisted", "reason": "r"}, "toPosture", "is required"),
    (MOVE, {"agentId": "a", "toPosture": "assisted", "reason": "r", "requester": "root"}, "requester", "is unknown"),
    (HALT, {"agentId": "a"}, "reason", "is required"),
    (HALT, {"agentId": "a", "reason": ""}, "reason", "must not be blank"),
    (HALT, {"agentId": "a", "reason": "r", "toPosture": "supervised"}, "toPosture", "is unknown"),
    (MOVES, {"agentId": "a", "limit": 0}, "limit", "must be at least 1"),
    (MOVES, {"agentId": "a", "limit": 501}, "limit", "must be at most 500"),
    (MOVES, {}, "agentId", "is required"),
    (EVALUATE, {}, "constraints", "is required"),
    (EVALUATE, {"constraints": {}}, "constraints", 'must name at least one dimension, such as `{"cost_limit": 1000}`'),
    (EVALUATE, {"constraints": None}, "constraints", "must be an object"),
    (EVALUATE, {"constraints": ["cost_limit"]}, "constraints", "must be an object"),
    (EVALUATE, {"constraints": {f"d{n}": 1 for n in range(101)}}, "constraints", "must name at most 100 dimensions"),
    (EVALUATE, {"constraints": {"cost_limit": 2**64}}, "constraints.cost_limit", "64 bits"),
    (EVALUATE, {"constraints": {"resources": ["\x00"]}}, "constraints.resources[0]", "NUL"),
    (EVALUATE, {"constraints": {"a\x00b": 1}}, "constraints", "names that contain NUL"),
    (EVALUATE, {"constraints": {"cost_limit": _deep(40)}}, "constraints.cost_limit" + ".a" * 29, "nested more than 32"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "context": [1]}, "context", "must be an object"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "context": {"cost_used": 2**64}}, "context.cost_used", "64 bits"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "context": {"cost_used": "x" * 65_537}}, "context.cost_used", "65536 bytes"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "mode": "any"}, "mode", "`conjunctive`, `disjunctive`, `independent` or `hierarchical`"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "mode": "CONJUNCTIVE"}, "mode", "`conjunctive`"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "mode": 1}, "mode", "`conjunctive`"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "agentId": "*"}, "agentId", "`*`"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "agentId": ""}, "agentId", "must not be blank"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "agentId": "a" * 257}, "agentId", "at most 256 characters"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "agent": {"id": "a"}}, "agent", "did you mean `agentId`"),
    (EVALUATE, {"constraints": {"cost_limit": 1}, "agentId": "a", "agent_id": "a"}, "agent_id", "says the same as `agentId`"),
    (EVALUATE, {"constraint": {"cost_limit": 1}}, "constraints", "is required"),
    (TIGHTEN, {}, "parent", "is required"),
    (TIGHTEN, {"parent": {}}, "child", "is required"),
    (TIGHTEN, {"parent": {}, "child": [1]}, "child", "must be an object"),
    (TIGHTEN, {"parent": None, "child": {}}, "parent", "must be an object"),
    (TIGHTEN, {"parent": {}, "child": {f"d{n}": 1 for n in range(101)}}, "child", "must name at most 100 dimensions"),
    (TIGHTEN, {"parent": {f"d{n}": 1 for n in range(101)}, "child": {}}, "parent", "must name at most 100 dimensions"),
    (TIGHTEN, {"parent": {}, "child": {}, "strict": True}, "strict", "is unknown: there are `parent`, `child`"),
    ("cstp.listDimensions", {"status": "pending"}, "status", "there are no params"),
    (APPROVE, {}, "name", "is required"),
    (APPROVE, {"name": 7}, "name", "string"),
    (APPROVE, {"name": " "}, "name", "must not be blank"),
    (APPROVE, {"name": "n" * 257}, "name", "at most 256 characters"),
    (APPROVE, {"name": "token_limit", "version": 1}, "version", "string"),
    (APPROVE, {"name": "token_limit", "version": ""}, "version", "must not be blank"),
    (APPROVE, {"name": "token_limit", "version": "1" * 257}, "version", "at most 256 characters"),
    (APPROVE, {"name": "token_limit", "note": 7}, "note", "string"),
    (APPROVE, {"name": "token_limit", "note": "\x00"}, "note", "NUL"),
    (APPROVE, {"name": "token_limit", "reviewer": "me"}, "reviewer", "is unknown"),
    (APPROVE, {"name": "cost_limit"}, "name", "built in"),
    (REJECT, {"name": "cost_limit"}, "name", "built in"),
    (REJECT, {"name": "token_limit"}, "name", "`token_limit`"),
    ("cstp.getDecision", {}, "id", "is required"),
    ("cstp.getDecision", {"id": 7}, "id", "string"),
    ("cstp.listDecisions", {"limit": 0}, "limit", "must be at least 1"),
    ("cstp.listDecisions", {"limit": 501}, "limit", "must be at most 500"),
    ("cstp.listDecisions", {"limit": "10"}, "limit", "must be a whole number"),
    ("cstp.listDecisions", {"limit": True}, "limit", "must be a whole number"),
    ("cstp.listDecisions", {"limit": 1.5}, "limit", "must be a whole number"),
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
    ("cstp.resetCircuit", {"scope": "category:tooling", "probeFirst": "yes"}, "probeFirst", "must be true or false"),
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
    assert not any(word in error["message"] for word in ("valid dictionary", "valid string", "instance of", "Input", "should"))
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


def test_an_id_of_more_than_64_bits_is_told_how_wide_it_may_be(edge: Edge) -> None:
    """-32600 that names the id, answered with a null one; the widest that fits comes back as it is."""
    body = '{"jsonrpc": "2.0", "id": %d, "method": "rpc.discover"}'
    for id in (2**64, -(2**63) - 1, 10**40):
        answer = edge.post(body % id).json()
        assert answer["error"]["data"] == {"field": "id", "expected": "must be an integer of at most 64 bits"}
        assert (answer["error"]["code"], answer["id"]) == (-32600, None)
    assert edge.post(body % (2**64 - 1)).json()["id"] == 2**64 - 1
    assert edge.post(body.replace("%d", "true")).json()["error"]["data"]["expected"] == "must be a string, a number or null"


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

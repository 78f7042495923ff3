"""What models are told of the tools: everything that they need, and nothing that is not so."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cstp_server.mcp.advice import after_answer, after_error
from cstp_server.mcp.hosts import Hosts
from cstp_server.mcp.schemas import input_schema, output_schema
from cstp_server.mcp.tools import TOOLS, Tool
from cstp_server.rpc.methods import METHODS

_BY_NAME = {method.name: method for method in METHODS}
_EACH = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


def taken(tool: Tool) -> Any:
    return input_schema(tool, _BY_NAME[tool.method].params.model_json_schema(by_alias=True))


def answered(tool: Tool) -> Any:
    return output_schema(tool, _BY_NAME[tool.method].result.model_json_schema(by_alias=True, mode="serialization"))


def params_in(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in schema.get("properties", {}).items():
        yield path + name, inner
        yield from params_in(inner, f"{path}{name}.")


def test_the_tools_are_those_of_the_specification() -> None:
    """SPEC 11 names them."""
    assert [tool.name for tool in TOOLS] == [
        "check_guardrails",
        "review_decision",
        "await_decision",
        "get_circuit_state",
        "list_circuits",
        "get_autonomy_level",
        "get_posture",
        "reset_circuit",
        "resolve_decision",
    ]


@_EACH
def test_every_param_that_a_model_sees_is_documented(tool: Tool) -> None:
    """A param of the method that nobody has described for models fails here, until it is described or hidden."""
    for path, schema in params_in(taken(tool)):
        assert path in tool.params, f"`{tool.name}` says nothing of `{path}`"
        assert schema["description"] == tool.params[path]


@_EACH
def test_schemas_are_plain_objects_that_validators_take(tool: Tool) -> None:
    """Models and clients differ in what they understand: no references and no nulls in what is taken, and a good schema in both."""
    schema = taken(tool)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator.check_schema(answered(tool))
    assert schema["type"] == answered(tool)["type"] == "object"
    assert "$ref" not in str(schema)
    assert "null" not in str(schema)
    assert "pattern" not in str(schema)


@_EACH
def test_the_methods_own_examples_fit_the_tool(tool: Tool) -> None:
    """What the reference shows of the method can be asked of the tool, and its answer is one of the tool's."""
    example = _BY_NAME[tool.method].example
    if not any(path.split(".")[0] in tool.hidden for path in example.params):
        Draft202012Validator(taken(tool)).validate(example.params)
    Draft202012Validator(answered(tool)).validate(({"next": "…"} if tool.next else {}) | example.result)


def test_a_description_of_a_param_that_is_not_there_is_found() -> None:
    """A param that is renamed does not keep its old words."""
    stale = replace(TOOLS[0], params={**TOOLS[0].params, "action.mood": "how you feel"})
    with pytest.raises(LookupError, match=r"no `action\.mood`"):
        taken(stale)


def check(**changed: Any) -> dict[str, Any]:
    answer = {"allowed": False, "intervention": "block", "decisionId": "dec_1", "posture": "supervised", "pending": None}
    return answer | {"violations": [], "remedies": [], "warnings": []} | changed


@pytest.mark.parametrize(
    ("answer", "dry", "expected"),
    [
        (check(allowed=True), False, "go on with exactly this action"),
        (check(allowed=True, warnings=[{}]), False, "Heed `warnings`"),
        (check(allowed=True), True, "check again without `dryRun` before you act"),
        (check(), False, "no single change would let it pass"),
        (check(violations=[{"suggestion": "take the credential out"}]), False, "see `suggestion` in `violations`"),
        (check(intervention="halt"), False, "stop: do not act, and take no other action either"),
        (check(posture="blocked", violations=[{"suggestion": "ask an operator"}]), False, "You are blocked"),
        (check(remedies=[{"change": "wait", "until": "2026-02-11T13:30:00Z"}]), False, "wait until 2026-02-11T13:30:00Z"),
        (check(remedies=[{"change": "lower", "field": "action.stakes", "to": "low"}]), False, 'lower `action.stakes` to "low"'),
        (check(remedies=[{"change": "set", "field": "action.context.reviewed", "to": True}]), False, "to true"),
        (check(remedies=[{"change": "approval"}]), True, "have a person approve it"),
        (check(pending={"kind": "approval", "until": "…Z"}), False, "a person has to approve it by …Z"),
        (check(pending={"kind": "confirmation", "until": "…Z"}), False, "its user has to confirm it by …Z"),
        (check(pending={"kind": "cancel_window", "until": "…Z"}), False, "it goes on by itself"),
        (check(pending={"kind": "approval", "until": "…Z"}, intervention="halt"), True, "stop"),
    ],
)
def test_a_check_says_what_to_do_now(answer: dict[str, Any], dry: bool, expected: str) -> None:
    """Each answer leads to one thing to do, and only an allowed one, that is no dry run, to acting."""
    said = after_answer("check_guardrails", {"dryRun": dry}, answer)
    assert expected in said
    assert said.startswith("go on") is (answer["allowed"] and not dry)


@pytest.mark.parametrize(
    ("status", "allowed", "expected"),
    [
        ("approved", True, "go on with exactly the action"),
        ("reviewed", True, "its outcome is on record already"),
        ("pending", False, "Call `await_decision` again"),
        ("denied", False, "the decision is `denied`"),
    ],
)
def test_waiting_says_what_to_do_now(status: str, allowed: bool, expected: str) -> None:
    """However a wait ends, only an allowed decision leads to acting, and only as long as nobody has reported how it went."""
    said = after_answer("await_decision", {}, {"status": status, "allowed": allowed})
    assert expected in said
    assert said.startswith("go on") is (allowed and status != "reviewed")


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (-32602, {"problems": [{"field": "a", "message": "is required"}, {"field": "b", "message": "is unknown"}]}, "also: `b` is unknown"),
        (-32010, {"nearest": ["category:tooling"]}, "there is: `category:tooling`"),
        (-32002, {"retryAfterMs": 2500}, "wait 3 s"),
        (-32013, {"retryAfterMs": 1000}, "do not act, and call again in 1 s"),
        (-32012, {}, "nothing is allowed meanwhile"),
        (-32601, {"nearest": ["check_guardrails"]}, "next: call one of these tools"),
        (-32603, {"correlationId": "req-7"}, "`req-7`"),
        (-1, {}, "do not act"),
    ],
)
def test_an_error_says_what_to_do_about_it(code: int, data: dict[str, Any], expected: str) -> None:
    """Whatever goes wrong, the model is told what, and what to do; unknown errors end in not acting."""
    said = after_error(code, "it went wrong", data)
    assert said.startswith("error: it went wrong")
    assert expected in said
    assert "\nnext: " in said


@pytest.mark.parametrize(
    ("tool", "code", "expected"),
    [
        ("check_guardrails", -32001, "leave `agent` out"),
        ("get_posture", -32001, "your own id"),
        ("resolve_decision", -32001, "tell the person you work for"),
        ("check_guardrails", -32011, "leave it out"),
        ("review_decision", -32011, "what is on record stands"),
    ],
)
def test_an_error_of_one_tool_is_no_advice_for_another(tool: str, code: int, expected: str) -> None:
    """Who named another agent can call again without; who settles what was settled cannot."""
    assert expected in after_error(code, "it went wrong", {}, tool)


def test_a_decision_that_is_not_there_is_not_offered_to_be_made_up() -> None:
    """The context of a decision, which CI may send with its report, is no param of the tool."""
    said = after_error(-32007, "no decision `dec_1`: check it first, or send its context as `decision`", {}, "review_decision")
    assert said.splitlines()[0] == "error: no decision `dec_1`"


@pytest.mark.parametrize(
    ("origin", "host", "trusted"),
    [
        ("http://localhost:3000", "cstp.example.org", True),
        ("https://cstp.example.org", "10.0.0.7", True),
        ("http://10.0.0.7:9000", "10.0.0.7:8787", True),
        ("http://10.0.0.8", "10.0.0.7", False),
        ("http://[::1", "localhost", False),
        ("null", "localhost", False),
    ],
)
def test_pages_are_trusted_by_where_they_come_from(origin: str, host: str, trusted: bool) -> None:
    """A page of the service itself, of a name that it has, or of this machine may call; any other may not."""
    assert Hosts(frozenset({"cstp.example.org"})).trusts(origin, host) is trusted

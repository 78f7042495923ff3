"""JSON-RPC 2.0, section 7: every example as it is printed there."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from cstp_server.clock import SystemClock
from cstp_server.rpc.dispatch import Dispatcher, Procedure
from cstp_server.rpc.errors import Failure
from cstp_server.rpc.limits import Limits


@dataclass(frozen=True)
class Request:
    correlation_id: str = "req-1"


@dataclass
class OpenGate:
    calls: list[tuple[str, int]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)

    def admit(self, context: Any) -> Failure | None:
        return None

    def refused(self, code: int) -> None:
        self.refusals.append(code)

    def called(self, method: str, code: int, seconds: float) -> None:
        self.calls.append((method, code))


async def subtract(context: Request, /, minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


async def total(context: Request, /, *numbers: int) -> int:
    return sum(numbers)


async def ignore(context: Request, /, *values: Any) -> None:
    return None


async def get_data(context: Request, /) -> list[Any]:
    return ["hello", 5]


async def explode(context: Request, /) -> None:
    raise RuntimeError("the password is `swordfish`")


METHODS: dict[str, Procedure] = {
    "subtract": subtract,
    "sum": total,
    "update": ignore,
    "notify_sum": ignore,
    "notify_hello": ignore,
    "get_data": get_data,
    "explode": explode,
}


def _answer(body: str) -> tuple[int, Any]:
    dispatcher: Dispatcher[Request] = Dispatcher(METHODS, Limits(), OpenGate(), SystemClock())
    reply = asyncio.run(dispatcher.answer(body.encode(), Request()))
    return reply.status, json.loads(reply.body) if reply.body else None


def _result(value: Any, id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": value, "id": id}


def _error(code: int, message: str, id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id}


INVALID = _error(-32600, "Invalid Request", None)
EXAMPLES = [
    ('{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}', _result(19, 1)),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}', _result(-19, 2)),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}', _result(19, 3)),
    ('{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}', _result(19, 4)),
    ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', _error(-32601, "Method not found", "1")),
    ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', _error(-32700, "Parse error", None)),
    ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', INVALID),
    (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        _error(-32700, "Parse error", None),
    ),
    ("[]", INVALID),
    ("[1]", [INVALID]),
    ("[1,2,3]", [INVALID, INVALID, INVALID]),
    (
        """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]""",
        [
            _result(7, "1"),
            _result(19, "2"),
            INVALID,
            _error(-32601, "Method not found", "5"),
            _result(["hello", 5], "9"),
        ],
    ),
    (
        '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
]


@pytest.mark.parametrize(("sent", "printed"), EXAMPLES)
def test_every_example_of_the_specification_is_answered_as_printed(sent: str, printed: Any) -> None:
    """What the specification prints comes back, and nothing (204) where it prints nothing."""
    status, answer = _answer(sent)
    assert answer == printed
    assert status == (200 if printed is not None else 204)


@pytest.mark.parametrize("id", ['"a"', '""', "0", "7", "-1", "2.5", "null", "9007199254740993", '"ünï"'])
def test_an_id_comes_back_as_it_was_sent(id: str) -> None:
    """Strings, numbers and null are echoed, a null id is answered."""
    status, answer = _answer(f'{{"jsonrpc": "2.0", "method": "get_data", "id": {id}}}')
    assert (status, answer["id"], answer["result"]) == (200, json.loads(id), ["hello", 5])


@pytest.mark.parametrize("id", ["true", "false", "[]", "{}", "[1]", '{"a": 1}', "123456789012345678901", '"\\u0000"'])
def test_an_id_of_another_kind_is_no_id(id: str) -> None:
    """Anything but a string, a number or null is -32600 with a null id."""
    _, answer = _answer(f'{{"jsonrpc": "2.0", "method": "get_data", "id": {id}}}')
    assert (answer["error"]["code"], answer["id"]) == (-32600, None)


def test_arguments_that_do_not_fit_are_invalid_params_without_the_libraries_words() -> None:
    """A missing, a surplus and a misnamed argument are -32602, and no text of Python's reaches the caller."""
    for params in ("[1]", "[1,2,3]", '{"minuend": 1, "sub": 2}'):
        _, answer = _answer(f'{{"jsonrpc": "2.0", "method": "subtract", "params": {params}, "id": 1}}')
        assert answer == _error(-32602, "Invalid params", 1)


def test_an_exceptions_text_stays_inside() -> None:
    """What a method raises is -32603 with the correlation id, and nothing else of it."""
    _, answer = _answer('{"jsonrpc": "2.0", "method": "explode", "id": 1}')
    assert answer == {
        "jsonrpc": "2.0",
        "error": {"code": -32603, "message": "Internal error", "data": {"correlationId": "req-1"}},
        "id": 1,
    }


def test_a_batch_is_carried_out_in_order_each_call_after_the_one_before() -> None:
    """A call starts only when the one before it is done, however long that takes."""
    seen: list[str] = []

    async def step(context: Request, /, name: str, turns: int) -> str:
        seen.append(f"{name} starts")
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append(f"{name} ends")
        return name

    calls = [{"jsonrpc": "2.0", "method": "step", "params": [name, turns], "id": name} for name, turns in (("a", 5), ("b", 0), ("c", 2))]
    stepping: dict[str, Procedure] = {"step": step}
    dispatcher: Dispatcher[Request] = Dispatcher(stepping, Limits(), OpenGate(), SystemClock())
    reply = asyncio.run(dispatcher.answer(json.dumps(calls).encode(), Request()))
    assert [response["id"] for response in json.loads(reply.body)] == ["a", "b", "c"]
    assert seen == ["a starts", "a ends", "b starts", "b ends", "c starts", "c ends"]


def test_what_is_called_is_counted_by_method_and_code() -> None:
    """A success counts as 0, an error under its code, and a method that is not there under one fixed word."""
    gate = OpenGate()
    dispatcher: Dispatcher[Request] = Dispatcher(METHODS, Limits(), gate, SystemClock())
    for method in ("get_data", "explode", "nowhere", "nowhere-else"):
        asyncio.run(dispatcher.answer(json.dumps({"jsonrpc": "2.0", "method": method, "id": 1}).encode(), Request()))
    assert gate.calls == [("get_data", 0), ("explode", -32603), ("unknown", -32601), ("unknown", -32601)]
    assert gate.refusals == []


@pytest.mark.parametrize(
    ("body", "refusals"),
    [
        ("{", [-32700]),
        ("[]", [-32600]),
        ("[1, 2]", [-32600, -32600]),
        ('{"jsonrpc": "1.0", "method": "get_data", "id": 1}', [-32600]),
        ('[{"jsonrpc": "2.0", "method": "get_data", "id": 1}, {"method": 1}]', [-32600]),
        ('{"jsonrpc": "2.0", "method": "get_data", "params": ["\\u0000"]}', [-32602]),
    ],
)
def test_what_is_refused_before_a_method_is_found_is_counted_by_code(body: str, refusals: list[int]) -> None:
    """Each call of a batch by itself, notifications too; a body of which nothing is carried out once."""
    gate = OpenGate()
    dispatcher: Dispatcher[Request] = Dispatcher(METHODS, Limits(), gate, SystemClock())
    asyncio.run(dispatcher.answer(body.encode(), Request()))
    assert gate.refusals == refusals

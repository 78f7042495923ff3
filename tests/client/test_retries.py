"""What a client does when an answer does not come, or says to come back later."""

import asyncio
import pickle
from collections.abc import Callable

import pytest

from cstp_server.client import (
    NO_RETRY,
    AsyncClient,
    Check,
    CircuitNotFound,
    Client,
    Conflict,
    CstpError,
    DecisionBlocked,
    DecisionNotFound,
    Forbidden,
    InternalError,
    InvalidParams,
    MethodNotFound,
    Overloaded,
    RateLimited,
    RpcError,
    StoreUnavailable,
    Unauthorized,
    Unreachable,
    Unsendable,
)
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import Drop, Error, Plain, Reply, Result, ScriptedServer, Stall

NO_STORE = Error(-32012, "the store does not answer", status=503)
BUSY = Error(-32013, "too many calls are waiting", {"retryAfterMs": 300}, 503)
LIMITED = Error(-32002, "too many calls", {"retryAfterMs": 700}, 429)
RESET = Result({"scope": "global", "previousState": "open", "newState": "closed"})


@pytest.mark.parametrize("trouble", [Drop(), NO_STORE, BUSY, LIMITED, Plain(502, "bad gateway"), Plain(503), Plain(429)])
def test_a_check_is_repeated_under_the_same_decision_id(server: ScriptedServer, client: Client, trouble: Reply) -> None:
    """Whatever became of the first delivery, the second is the same call to the byte, so that nothing counts twice."""
    server.script.append(trouble)
    answer = client.check("Deploy")
    first, second = server.calls
    assert first == second
    assert answer.decision_id == first["params"]["decisionId"]


def test_the_async_client_repeats_under_the_same_decision_id(server: ScriptedServer, sleeper: Sleeper) -> None:
    """The async client retries like the other, and sleeps without blocking."""
    server.script.extend([Drop(), NO_STORE])

    async def story(client: AsyncClient) -> Check:
        async with client:
            return await client.check("Deploy")

    assert asyncio.run(story(async_client(server, sleeper))).allowed
    assert server.calls[0] == server.calls[1] == server.calls[2]
    assert sleeper.slept == [0.1, 0.2]


def test_a_call_that_is_not_answered_in_time_is_repeated(server: ScriptedServer, sleeper: Sleeper) -> None:
    """A server that takes the call and stalls is asked again."""
    server.script.append(Stall())
    with Client(server.url, timeout=0.2, sleep=sleeper.sleep, clock=sleeper) as client:
        assert client.check("Deploy").allowed
    assert server.calls[0] == server.calls[1]


def test_a_repeated_review_that_had_been_counted_is_told_as_a_duplicate(server: ScriptedServer, client: Client) -> None:
    """The answer to the second delivery is passed on as it is."""
    server.script.extend([Drop(), Result({"id": "dec_1", "outcome": "failure", "duplicate": True})])
    assert client.review("dec_1", "failure").duplicate
    assert server.calls[0] == server.calls[1]


def test_a_server_that_comes_up_meanwhile_is_found(idle_server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """Refused connections are tried again until somebody listens."""
    sleeper.before_waking = idle_server.start
    assert client.check("Deploy").allowed
    assert sleeper.slept == [0.1]


def test_delays_double_up_to_the_longest_and_end_with_the_total(idle_server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """The whole of it is bounded by `total_ms`, and says what to look at."""
    with pytest.raises(Unreachable, match=r"is it running, and is the url right\?") as gone:
        client.check("Deploy")
    assert sleeper.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert sum(sleeper.slept) < 10
    assert not gone.value.reached


def test_the_server_says_how_long_to_wait(server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """`retryAfterMs` is honoured, and without it the header of HTTP."""
    server.script.extend([LIMITED, BUSY, Plain(429, headers={"Retry-After": "2"})])
    client.check("Deploy")
    assert sleeper.slept == [0.7, 0.3, 2.0]


def test_a_wait_that_is_too_long_is_left_to_the_caller(server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """Asked to wait longer than the total, the client raises at once and passes the time on."""
    server.script.append(Error(-32002, "too many calls", {"retryAfterMs": 60_000}, 429))
    with pytest.raises(RateLimited) as limited:
        client.check("Deploy")
    assert limited.value.retry_after_ms == 60_000
    assert sleeper.slept == []


def test_without_retries_the_first_trouble_is_the_answer(server: ScriptedServer) -> None:
    """`NO_RETRY` means one attempt."""
    server.script.append(NO_STORE)
    with Client(server.url, retry=NO_RETRY) as client, pytest.raises(StoreUnavailable):
        client.check("Deploy")
    assert len(server.calls) == 1


@pytest.mark.parametrize("trouble", [Drop(), NO_STORE, Plain(502)])
def test_a_reset_that_may_have_been_carried_out_is_not_repeated(server: ScriptedServer, client: Client, trouble: Reply) -> None:
    """A second reset could wipe away what went wrong in between, so it is left to the operator."""
    server.script.extend([trouble, RESET])
    with pytest.raises(CstpError):
        client.reset_circuit("global")
    assert len(server.calls) == 1


@pytest.mark.parametrize("trouble", [LIMITED, BUSY])
def test_a_reset_that_was_certainly_not_carried_out_is_repeated(server: ScriptedServer, client: Client, trouble: Reply) -> None:
    """A server that says it did nothing is asked again."""
    server.script.extend([trouble, RESET])
    assert client.reset_circuit("global").new_state == "closed"


def test_a_reset_that_was_never_delivered_is_repeated(idle_server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """A refused connection has carried nothing."""
    idle_server.script.append(RESET)
    sleeper.before_waking = idle_server.start
    assert client.reset_circuit("global").new_state == "closed"


def test_a_trip_is_repeated_because_twice_is_as_safe_as_once(server: ScriptedServer, client: Client) -> None:
    """The kill switch does not give up at the first dropped connection."""
    server.script.extend([Drop(), Result({"scope": "global", "previousState": "open", "newState": "open"})])
    assert client.trip_circuit("global", reason="incident").new_state == "open"


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Error(-32600, "the JSON is no call"), RpcError, "no call"),
        (Error(-32601, "there is no method of that name"), MethodNotFound, "older than this client"),
        (Error(-32602, "invalid params: `action.stakes` must be …"), InvalidParams, "action.stakes"),
        (Error(-32603, "internal error", {"correlationId": "req_7"}), InternalError, "req_7"),
        (Error(-32001, "no token", status=401), Unauthorized, "cstp tokens create"),
        (Error(-32001, "this takes the role `ops`", {"required": ["ops"]}, 403), Forbidden, "^this takes the role `ops`$"),
        (Error(-32007, "no decision `dec_9`", {"id": "dec_9"}), DecisionNotFound, "dec_9"),
        (
            Error(-32010, "no policy covers it", {"scope": "category:toling", "nearest": ["category:tooling"]}),
            CircuitNotFound,
            "category:tooling",
        ),
        (Error(-32011, "another review is on record"), Conflict, "another review"),
        (Error(-32099, "something new"), RpcError, "something new"),
        (Plain(401), Unauthorized, "refused"),
        (Plain(403), Forbidden, "may not"),
        (Plain(413), Unsendable, "larger"),
        (Error(-32600, "Invalid Request", {"field": "body"}, 413), Unsendable, "larger"),
        (Error(-32600, "Invalid Request", {"field": "id", "expected": "must be a string"}), RpcError, "id must be a string"),
        (Error(-32001, "this token is for its own agent", {"required": ["ops"]}, 403), Forbidden, "use a token with the role `ops`"),
    ],
)
def test_a_refusal_is_an_error_of_its_own_kind_and_is_not_repeated(
    server: ScriptedServer, client: Client, reply: Reply, error: type[CstpError], words: str
) -> None:
    """Each code has its exception, whose text says what to do."""
    server.script.append(reply)
    with pytest.raises(error, match=words):
        client.check("Deploy")
    assert len(server.calls) == 1


def test_an_overload_that_does_not_end_is_raised_as_such(server: ScriptedServer, client: Client) -> None:
    """After the last attempt the server's own refusal comes out, with its data."""
    server.script.extend([BUSY] * 20)
    with pytest.raises(Overloaded) as busy:
        client.check("Deploy")
    assert busy.value.retry_after_ms == 300
    assert len(server.calls) == 10


@pytest.mark.parametrize(
    "make",
    [
        lambda: DecisionBlocked(Check(allowed=False, intervention="block", decision_id="dec_1")),
        lambda: RateLimited("slow down", -32002, {"retryAfterMs": 5}),
        lambda: Unreachable("gone", reached=False),
    ],
)
def test_errors_survive_being_sent_to_another_process(make: Callable[[], CstpError]) -> None:
    """Job queues pickle exceptions: kind, text and details stay."""
    error = make()
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made a line above
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__

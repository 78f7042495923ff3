"""What the log says: which request each line belongs to, and no secret (SPEC 11)."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog

from cstp_server.correlation import CURRENT
from cstp_server.domain.callers import DEFAULT_TENANT, Caller
from cstp_server.domain.posture_guards import TransitionRequest
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.guardians import InstalledGuardians
from cstp_server.logs import configure
from cstp_server.policy.compiled import Policy
from cstp_server.redaction import redacted
from cstp_server.services.ports import Decided, Needs, View
from cstp_server.services.tokens import mint
from cstp_server.storage.engine import database_url
from cstp_server.storage.migrating import upgrade
from tests.conftest import StartServer
from tests.services.world import World, checking, policy_of

KEY = "AKIA" + "Q3EGWXT7ZNPL5RVD"
TOKEN = mint()
PASSWORD = "vT9qLm2xZr7W"
_URL = f"https://app:{PASSWORD}@db.internal/app"
SECRETS = (KEY, TOKEN, PASSWORD)
ASK = """
guardrails:
  - {id: ask, when: action.context.ask == true, action: escalate, message: ask somebody}
"""


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Gives the lines that were written in JSON since it was last asked; logging is afterwards as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    structlog.reset_defaults()


@pytest.fixture
def world(sqlite_url: str) -> Iterator[World]:
    """A store with nothing in it."""
    upgrade(database_url(sqlite_url))
    world = World(sqlite_url, policy_of())
    yield world
    world.close()


class Broken:
    """A call whose code has a fault, after it has written a line of its own."""

    tenant: str = DEFAULT_TENANT
    caller: Caller | None = None

    def needs(self, _policy: Policy, _view: View) -> Needs:
        return Needs()

    def decide(self, _policy: Policy, _view: View, _now: int) -> Decided[None]:
        structlog.get_logger("of.a.dimension").warning("looked")
        raise RuntimeError(f"cannot reach {_URL}")


def test_lines_of_the_writing_thread_name_the_request(world: World, logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Each by the call that it was written for, however many share a transaction; what belongs to nobody names nobody."""

    configure("json", "info")

    async def asking(id: str) -> None:
        CURRENT.set(id)
        broken: Any = Broken()
        with pytest.raises(RuntimeError):
            await world.store.transactor.run(broken)

    async def story() -> None:
        check: Any = checking()
        await asyncio.gather(asking("req-1"), asking("req-2"), world.store.transactor.run(check))

    world.do(story())
    lines = logged()
    assert {line["correlation_id"] for line in lines if line["event"] == "looked"} == {"req-1", "req-2"}
    assert sorted(line["correlation_id"] for line in lines if line["event"] == "call_faulted") == ["req-1", "req-2"]
    assert all(PASSWORD not in json.dumps(line) for line in lines)
    assert "RuntimeError: cannot reach https://app:[redacted: password in a connection string]@db.internal/app" in json.dumps(lines)


def test_lines_of_reading_threads_name_the_request(world: World, logged: Callable[[], list[dict[str, Any]]]) -> None:
    """A store that fails while it is read is reported under the request that met it first."""
    configure("json", "info")

    async def story() -> None:
        CURRENT.set("req-7")
        await world.store.counts()

    world.do(story())
    Path(str(world.url.database)).unlink()
    with pytest.raises(StoreUnavailable):
        world.do(story())
    (line,) = [line for line in logged() if line["event"] == "store_unavailable"]
    assert line["correlation_id"] == "req-7"


class Talking:
    """A guard that says something, and fails."""

    name = "talking"
    applies_to = frozenset(TransitionType)

    def check(self, _request: TransitionRequest) -> str | None:
        structlog.get_logger("of.a.guard").info("asked")
        raise RuntimeError("no idea")


def test_lines_of_installed_guards_name_the_request(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """They are asked in threads of their own, and what they write belongs to who asked."""
    configure("json", "info")
    request = TransitionRequest("bot", Posture.SUPERVISED, Posture.ASSISTED, TransitionType.UPGRADE, "olivia", "x", {}, 2, 0.5, 0)

    async def story() -> None:
        CURRENT.set("req-3")
        assert await InstalledGuardians([Talking()]).ask((), request) is not None

    asyncio.run(story())
    assert [(line["event"], line["correlation_id"]) for line in logged()] == [("asked", "req-3"), ("guard_failed", "req-3")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"use {KEY}", "use [redacted: AWS access key]"),
        pytest.param(f"token {TOKEN} was sent", "token [hidden] was sent", id="a token of this service"),
        ("postgresql://app:b@db/x", "postgresql://app:[hidden]@db/x"),
        ("Authorization: Bearer abcdefgh1234", "Authorization: Bearer [hidden]"),
        ("nothing to see: decision dec_01KH5W9GZ0V6E8M1N3Q5R7T9XB", "nothing to see: decision dec_01KH5W9GZ0V6E8M1N3Q5R7T9XB"),
    ],
)
def test_credentials_are_taken_out_of_texts(text: str, shown: str) -> None:
    """By their looks, and passwords of URLs whatever they look like."""
    assert redacted(text) == shown


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_part_of_a_line_shows_a_credential(
    logged: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str], form: Literal["json", "console"]
) -> None:
    """Neither the line, nor its fields however deep, nor what was raised, of our loggers and of others'."""
    configure(form, "info")
    log = structlog.get_logger("x")
    log.info(f"sent {TOKEN}", url=_URL, deep=[{"more": (KEY, {"password": "swordfish"})}], number=1, nothing=None)
    logging.getLogger("other").warning("sent %s to %s", TOKEN, _URL)
    try:
        raise ValueError(f"no such key: {KEY}") from LookupError(TOKEN)
    except ValueError as error:
        log.exception("failed", problem=error)
    written = capsys.readouterr().err
    assert written.count("\n") >= 3
    assert "ValueError: no such key" in written
    assert [secret for secret in (*SECRETS, "swordfish") if secret in written] == []


def _lines(logs: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.splitlines() if line.startswith("{")]


def test_secrets_that_are_sent_everywhere_are_in_no_log(start_server: StartServer, tmp_path: Path) -> None:
    """In headers, texts, names, ids and tokens, in calls that succeed, that are refused, and that make no sense."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(ASK)
    server = start_server(config=policy, env={"CSTP_LOG_FORMAT": "json", "CSTP_LOG_LEVEL": "debug", "CSTP_TOKEN_KEY": PASSWORD})
    token = server.token("olivia", "admin")
    said = f"{KEY} {TOKEN} {_URL}"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("cstp.checkGuardrails", {"action": {"description": said, "parameters": {KEY: said}, "context": {"ask": True}}}),
        ("cstp.checkGuardrails", {"action": {"description": "x"}, "decisionId": KEY, KEY: said}),
        ("cstp.checkGuardrails", {"action": {"description": "x", "context": {"ask": True}}, "decisionId": KEY, "agent": {"id": said}}),
        ("cstp.reviewDecision", {"id": KEY, "outcome": "failure", "notes": said, "lessons": said}),
        ("cstp.resolveDecision", {"id": KEY, "resolution": "approve", "note": said}),
        ("cstp.tripCircuit", {"scope": "global", "reason": said}),
        ("cstp.transitionPosture", {"agentId": "bot", "toPosture": "assisted", "reason": said, "metadata": {"why": said}}),
        ("cstp.emergencyDowngrade", {"agentId": said, "reason": said}),
        ("cstp.recordDecision", {"decision": said, "context": said}),
        ("cstp.evaluateConstraints", {"constraints": {KEY: said}, "context": {KEY: said}}),
        (KEY, {}),
    ]
    for method, params in calls:
        body = {"jsonrpc": "2.0", "id": said, "method": method, "params": params}
        for presented in (token, TOKEN, said.replace(" ", "")):
            server.raw(body, token=presented, headers={"X-Request-Id": TOKEN, "User-Agent": said})
    server.raw(said.encode(), token=token, headers={"X-Correlation-Id": KEY})
    server.http.get(f"/metrics?token={TOKEN}", headers={"Authorization": f"Bearer {TOKEN}"})
    server.http.get(f"/{KEY}")
    logs = server.logs
    assert [line["event"] for line in _lines(logs)].count("decision not allowed") == 2
    assert [secret for secret in (*SECRETS, token) if secret in logs] == []


def test_every_line_of_a_call_names_it_and_so_does_its_answer(start_server: StartServer, tmp_path: Path) -> None:
    """The caller's own id where it is sane, one of the service's where it is not, or could be a credential."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(ASK)
    server = start_server(config=policy, env={"CSTP_LOG_FORMAT": "json"})
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "cstp.checkGuardrails",
        "params": {"action": {"description": "x", "context": {"ask": True}}},
    }
    sent = [{"X-Request-Id": "build-7"}, {"X-Correlation-Id": "build-8"}, {}, {"X-Request-Id": KEY}, {"X-Request-Id": "a\tb"}]
    answered = [server.raw(body, headers=headers).headers["x-request-id"] for headers in sent]
    assert answered[:2] == ["build-7", "build-8"]
    assert all(id.startswith("req_") for id in answered[2:])
    refused = [line["correlation_id"] for line in _lines(server.logs) if line["event"] == "decision not allowed"]
    assert refused == answered

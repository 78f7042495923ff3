"""The service as the tests start it: ready when they get it, gone when they are done, the same on each database."""

from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, StartServer
from tests.server import RpcError, RunningServer

_CHECK = {"action": {"description": "look whether it works", "category": "tooling"}}


def test_the_service_answers_on_each_database(server_on_each: RunningServer) -> None:
    """A check is answered and found again, whatever the store."""
    decision = server_on_each.call("cstp.checkGuardrails", _CHECK)["decisionId"]
    assert server_on_each.call("cstp.getDecision", {"id": decision})["found"] is True


def test_workers_share_one_store(start_server: StartServer, server_url: str) -> None:
    """What one of two workers stored every connection finds, through whichever worker it comes."""
    server = start_server(database_url=server_url, config=ROOT / "config", workers=2)
    decision = server.call("cstp.checkGuardrails", _CHECK)["decisionId"]
    request = {"jsonrpc": "2.0", "id": 1, "method": "cstp.getDecision", "params": {"id": decision}}
    answers = [httpx.post(f"{server.url}/cstp", json=request, trust_env=False).json() for _ in range(20)]
    assert all(answer["result"]["found"] for answer in answers)


def test_killing_takes_every_worker(start_server: StartServer, sqlite_url: str) -> None:
    """After `kill` no process of the service is left, and the service can be started again where it was."""
    server = start_server(database_url=sqlite_url, workers=2)
    decision = server.call("cstp.checkGuardrails", _CHECK)["decisionId"]
    port = server.port
    server.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health", trust_env=False)
    server.start()
    assert server.port == port
    assert server.call("cstp.getDecision", {"id": decision})["found"] is True


@pytest.mark.parametrize("workers", [1, 2])
def test_the_service_ends_in_order(start_server: StartServer, workers: int) -> None:
    """SIGTERM ends the service and all its workers, after it has shut down in order."""
    server = start_server(workers=workers)
    server.terminate()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health", trust_env=False)


def test_a_token_speaks_for_its_roles(server: RunningServer) -> None:
    """The helper's tokens are real ones: the first one shuts out who has none, and a role may do what it may."""
    viewer = server.token("viewer", "viewer")
    assert server.call("cstp.getCircuitState", {"scope": "category:tooling"}, token=viewer)["state"] == "closed"
    with pytest.raises(RpcError) as refused:
        server.call("cstp.resetCircuit", {"scope": "category:tooling"}, token=viewer)
    assert (refused.value.status, refused.value.code) == (403, -32001)
    with pytest.raises(RpcError) as unknown:
        server.call("cstp.getCircuitState", {"scope": "category:tooling"})
    assert (unknown.value.status, unknown.value.code) == (401, -32001)


def test_without_a_token_the_service_serves_nobody_else(tmp_path: Path) -> None:
    """Asked to listen beyond loopback with no token configured, the service refuses to start and says how to go on."""
    server = RunningServer(tmp_path / "open", host="0.0.0.0")  # noqa: S104 - what must be refused
    assert server.spawn_and_wait() != 0
    assert "cstp tokens create" in server.logs

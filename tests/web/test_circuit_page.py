"""The page of one circuit."""

from pathlib import Path

from tests.conftest import StartServer
from tests.web.plain import Plain


def test_the_failure_rate_is_that_of_the_failures_beside_it(start_server: StartServer, tmp_path: Path) -> None:
    """A success takes a failure off what is held against the circuit, and none off those that there were."""
    policy = tmp_path / "one.yaml"
    policy.write_text("circuit_breakers: [{scope: 'category:billing', failure_threshold: 5, on_success: decrement}]\n")
    server = start_server(database_url=f"sqlite:///{tmp_path / 'one.db'}", config=policy)
    token = server.token("olivia", "ops", "ci")
    for outcome in ("failure", "success"):
        action = {"description": "Refund an order", "category": "billing"}
        answer = server.call("cstp.checkGuardrails", {"action": action, "agent": {"id": "refund-bot"}}, token=token)
        server.call("cstp.reviewDecision", {"id": answer["decisionId"], "outcome": outcome}, token=token)
    with Plain(server.url) as visitor:
        visitor.sign_in(token)
        page = visitor.get("/circuit?scope=category:billing").text
    assert "50 %" in page
    assert "1 failure, 1 success of 2 in" in page

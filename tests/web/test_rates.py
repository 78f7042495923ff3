"""Pages count as what they are: requests of a token, and reads of the store."""

from tests.conftest import StartServer
from tests.web.plain import Plain


def test_pages_and_calls_of_a_token_have_one_rate(start_server: StartServer, sqlite_url: str) -> None:
    """Beyond it pages, fragments, streams and forms are refused, with the time to wait; another token has its own."""
    env = {"CSTP_RATE_LIMIT_PER_SECOND": "0.01", "CSTP_RATE_LIMIT_BURST": "3"}
    server = start_server(database_url=sqlite_url, env=env)
    olivia, vera = server.token("olivia", "ops"), server.token("vera", "viewer")
    with Plain(server.url) as visitor, Plain(server.url) as other:
        visitor.sign_in(olivia)
        form_token = visitor.form_token()
        assert visitor.get("/circuits").status_code == 200
        server.call("cstp.listCircuits", token=olivia)
        refused = visitor.get("/circuits")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 100
        assert "asks too often" in refused.text
        for answer in (
            visitor.get("/circuits", **{"X-Fragment": "live"}),
            visitor.get("/live"),
            visitor.send("/agent/block?id=bot", {"form_token": form_token, "reason": "because"}),
        ):
            assert (answer.status_code, "retry-after" in answer.headers) == (429, True)
        other.sign_in(vera)
        assert other.get("/circuits").status_code == 200

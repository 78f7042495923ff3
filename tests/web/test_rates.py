"""Pages count as what they are: requests of a token, and reads of the store."""

from playwright.sync_api import Request, expect

from tests.conftest import StartServer
from tests.web.conftest import OpenBrowser
from tests.web.plain import Plain


def test_pages_and_calls_of_a_token_have_one_rate(start_server: StartServer, sqlite_url: str) -> None:
    """Beyond it pages, fragments, streams and forms are refused, with the time to wait; another token has its own."""
    env = {"CSTP_RATE_LIMIT_PER_SECOND": "0.01", "CSTP_RATE_LIMIT_BURST": "4"}
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


def test_signing_in_counts_as_a_call_of_the_token(start_server: StartServer, sqlite_url: str) -> None:
    """Beyond the rate there is no further session, which would be on record each time; another token has its own."""
    server = start_server(database_url=sqlite_url, env={"CSTP_RATE_LIMIT_PER_SECOND": "0.01", "CSTP_RATE_LIMIT_BURST": "2"})
    olivia, vera = server.token("olivia", "ops"), server.token("vera", "viewer")
    with Plain(server.url) as visitor:
        assert [visitor.sign_in(olivia).status_code for _ in range(2)] == [303, 303]
        refused = visitor.sign_in(olivia)
        assert (refused.status_code, "set-cookie" in refused.headers) == (429, False)
        assert 0 < int(refused.headers["retry-after"]) <= 100
        assert "asks too often" in refused.text
        assert visitor.sign_in(vera).status_code == 303
        assert 'cstp_sign_ins_total{result="limited"} 1.0' in server.http.get("/metrics").text


def test_a_page_that_was_refused_asks_once_more_and_says_why(start_server: StartServer, sqlite_url: str, person: OpenBrowser) -> None:
    """However much changes meanwhile: each of its requests would be refused, and each would be followed by another."""
    server = start_server(database_url=sqlite_url, env={"CSTP_RATE_LIMIT_PER_SECOND": "0.01", "CSTP_RATE_LIMIT_BURST": "4"})
    olivia, vera, mia = server.token("olivia", "viewer"), server.token("vera", "viewer"), server.token("mia", "ops")
    somebody, asked = person(server), list[Request]()
    somebody.page.on("request", lambda request: asked.append(request) if "x-fragment" in request.headers else None)
    page = somebody.sign_in(olivia).page
    expect(page.locator("#live-state")).to_have_attribute("data-state", "on")
    page.wait_for_function("document.getElementById('live').dataset.now !== document.body.dataset.now")
    with Plain(server.url) as other:
        other.sign_in(vera)
        with other.watch() as stream:
            for number in range(3):
                server.call("cstp.emergencyDowngrade", {"agentId": f"bot-{number}", "reason": "incident"}, token=mia)
                stream.until("event: change")
                expect(page.locator("#live-text")).to_have_text("this token asks too often")
    page.wait_for_timeout(300)
    assert len(asked) == 2
    assert somebody.complaints == []

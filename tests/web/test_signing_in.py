"""Who gets in, how long, and what keeps others out."""

import time
from pathlib import Path

from tests.conftest import StartServer
from tests.story.test_the_loop import wait_for
from tests.web.conftest import OpenBrowser
from tests.web.fleet import Fleet
from tests.web.plain import Plain


def test_a_good_token_leads_to_the_page_that_was_asked_for(shared_fleet: Fleet, person: OpenBrowser) -> None:
    """Who is not signed in is asked to, and then goes on to where they wanted."""
    page = person(shared_fleet.server).go("/circuit?scope=category:tooling")
    page.get_by_label("Token").fill(shared_fleet.ops)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("heading", name="category:tooling").wait_for()
    assert page.get_by_text("olivia").is_visible()


def test_a_bad_token_is_told_so_and_gives_no_session(shared_fleet: Fleet, person: OpenBrowser) -> None:
    """The page says what is wrong, and the next page asks to sign in again."""
    somebody = person(shared_fleet.server)
    page = somebody.go("/sign-in")
    page.get_by_label("Token").fill("cstp_wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    assert "unknown, revoked or expired" in page.get_by_role("alert").inner_text()
    assert somebody.context.cookies() == []
    somebody.go("/agents")
    assert "/sign-in" in page.url


def test_the_named_form_of_a_token_signs_in_too(shared_fleet: Fleet) -> None:
    """`name:secret` works as it does for calls; with another name it does not."""
    with Plain(shared_fleet.server.url) as visitor:
        assert visitor.sign_in(f"olivia:{shared_fleet.ops}").status_code == 303
        assert visitor.sign_in(f"mallory:{shared_fleet.ops}").status_code == 401


def test_a_token_that_may_not_look_is_refused(shared_fleet: Fleet) -> None:
    """An agent's token and CI's open no dashboard."""
    agent = shared_fleet.server.token("bot", "agent")
    with Plain(shared_fleet.server.url) as visitor:
        for token in (agent, shared_fleet.ci):
            answer = visitor.sign_in(token)
            assert answer.status_code == 403
            assert "that takes the role <code>viewer</code>" in answer.text
        assert not visitor.client.cookies


def test_attempts_are_limited_for_those_who_have_no_token(fleet: Fleet) -> None:
    """After ten failures of an address the answer says when to try again; who shares it and holds a good token gets in all the same."""
    with Plain(fleet.server.url) as visitor, Plain(fleet.server.url) as holder:
        assert {visitor.sign_in(f"guess-{number}").status_code for number in range(10)} == {401}
        refused = visitor.sign_in("guess-again")
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 300
        assert "try again in" in refused.text
        assert holder.sign_in(fleet.ops).status_code == 303
        assert holder.get("/circuits").status_code == 200


def test_attempts_are_counted_and_logged_by_how_they_end(fleet: Fleet) -> None:
    """Those too that a good token makes which may not look; the log says whose it is."""
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        visitor.act("/sign-out")
        assert visitor.sign_in(fleet.ci).status_code == 403
        for number in range(12):
            visitor.sign_in(f"guess-{number}")
    counted = fleet.server.http.get("/metrics").text
    for result, number in {"succeeded": 1, "refused": 1, "failed": 10, "limited": 2}.items():
        assert f'cstp_sign_ins_total{{result="{result}"}} {number}.0' in counted
    for told in ("signed_in", "signed_out", "sign_in_refused", "sign_in_failed"):
        assert told in fleet.server.logs
    (refused,) = [line for line in fleet.server.logs.splitlines() if "sign_in_refused" in line]
    assert "ci" in refused


def test_sessions_are_on_record(fleet: Fleet) -> None:
    """Who signed in and out, and that a session took the place of one before; nothing of the secret."""
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        visitor.sign_in(fleet.ops)
        visitor.act("/sign-out")
    asked = {"types": ["session.begun", "session.ended"]}
    told = fleet.server.call("cstp.listEvents", asked, token=fleet.ops)["events"]
    assert {(event["subject"], event["actor"]) for event in told} == {("olivia", "olivia")}
    assert [(event["type"], event["data"].get("cause")) for event in reversed(told)] == [
        ("session.begun", None),
        ("session.ended", "replaced"),
        ("session.begun", None),
        ("session.ended", "signed_out"),
    ]
    assert set(told[-1]["data"]) == {"roles", "expires_at"}


def test_a_session_ends_with_its_token_at_once(fleet: Fleet, person: OpenBrowser) -> None:
    """Revoked, the next request asks to sign in, and a page that is open leaves by itself."""
    viewer = fleet.server.token("vera", "viewer")
    watching = person(fleet.server).sign_in(viewer)
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(viewer)
        assert visitor.get("/").status_code == 200
        fleet.server.cli("tokens", "revoke", "vera")
        assert visitor.get("/").status_code == 303
        assert visitor.get("/", **{"X-Fragment": "live"}).status_code == 401
    watching.page.wait_for_url("**/sign-in*")


def test_a_session_ends_when_its_token_expires(fleet: Fleet) -> None:
    """A token for two seconds gives a session of no more."""
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.server.token("short", "viewer", expires="2s"))
        assert visitor.get("/").status_code == 200
        wait_for(lambda: visitor.get("/").status_code == 303)


def test_an_unused_session_ends_and_a_used_one_does_too_in_the_end(start_server: StartServer, sqlite_url: str) -> None:
    """The idle time counts from the last use; the longest time counts from the beginning."""
    server = start_server(database_url=sqlite_url, env={"CSTP_SESSION_IDLE_MS": "1500", "CSTP_SESSION_MAX_MS": "4000"})
    token = server.token("olivia", "ops")
    with Plain(server.url) as used, Plain(server.url) as unused:
        used.sign_in(token)
        unused.sign_in(token)
        began = time.monotonic()
        while time.monotonic() < began + 2.5:
            assert used.get("/circuits").status_code == 200
            time.sleep(0.2)
        assert unused.get("/circuits").status_code == 303
        wait_for(lambda: used.get("/circuits").status_code == 303)


def test_signing_out_ends_the_session_everywhere(shared_fleet: Fleet, person: OpenBrowser) -> None:
    """The cookie of a session that was ended is worth nothing any more."""
    somebody = person(shared_fleet.server).sign_in(shared_fleet.ops)
    cookies = {cookie["name"]: cookie["value"] for cookie in somebody.context.cookies()}
    somebody.page.get_by_role("button", name="sign out").click()
    somebody.page.wait_for_url("**/sign-in*")
    with Plain(shared_fleet.server.url, cookies=cookies) as thief:
        assert thief.get("/").status_code == 303


def test_a_session_holds_in_every_process(start_server: StartServer, sqlite_url: str) -> None:
    """Several processes share the port; whichever answers, the session is known."""
    server = start_server(database_url=sqlite_url, workers=2)
    with Plain(server.url) as visitor:
        visitor.sign_in(server.token("olivia", "ops"))
        assert {visitor.get("/circuits", Connection="close").status_code for _ in range(20)} == {200}


def test_the_cookie_is_out_of_reach(shared_fleet: Fleet) -> None:
    """Scripts and other sites do not get at it; where the browser speaks HTTPS it is bound to the host."""
    with Plain(shared_fleet.server.url) as visitor:
        plain = visitor.sign_in(shared_fleet.ops).headers["set-cookie"]
        proxied = visitor.send(
            "/sign-in", {"token": shared_fleet.ops}, headers={"Origin": "https://ops.example.org", "Host": "ops.example.org"}
        ).headers["set-cookie"]
    assert plain.startswith("cstp-session=")
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    assert proxied.startswith("__Host-cstp-session=")
    assert "Secure" in proxied
    assert "Path=/" in proxied
    assert "Domain" not in proxied


def test_the_plain_cookie_counts_only_where_nobody_speaks_https(shared_fleet: Fleet) -> None:
    """Over HTTPS another host of the same site could have set it; over plain HTTP, and on one's own machine, there is no other."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        cookie = f"cstp-session={visitor.client.cookies['cstp-session']}"
    named = {"Host": "ops.example.org", "Cookie": cookie}
    with Plain(shared_fleet.server.url) as browser:
        assert browser.get("/circuits", **named).status_code == 200
        assert browser.get("/circuits", **named, **{"Sec-Fetch-Site": "same-origin"}).status_code == 303
        assert browser.get("/circuits", **named, **{"X-Forwarded-Proto": "https"}).status_code == 303
        for host in ("localhost:8787", "127.0.0.1", "[::1]:8787", "cstp.localhost:8787"):
            assert browser.get("/circuits", Host=host, Cookie=cookie, **{"Sec-Fetch-Site": "none"}).status_code == 200
        bound = {"Cookie": cookie.replace("cstp-session", "__Host-cstp-session"), "Host": "ops.example.org"}
        assert browser.get("/circuits", **bound, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_only_the_digest_of_a_session_is_stored(fleet: Fleet, sqlite_url: str) -> None:
    """What the cookie says is nowhere in the database."""
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        secret = visitor.client.cookies["cstp-session"]
    fleet.server.terminate()
    assert secret.encode() not in Path(sqlite_url.removeprefix("sqlite:///")).read_bytes()


def test_without_any_token_this_machine_may_go_on_without_one(start_server: StartServer, sqlite_url: str, person: OpenBrowser) -> None:
    """The same rule as for calls: only from loopback, under a name of this machine, and until the first token is made."""
    server = start_server(database_url=sqlite_url)
    somebody = person(server)
    page = somebody.go("/")
    page.get_by_role("button", name="Go on without a token").click()
    page.wait_for_selector("#live")
    with Plain(server.url) as visitor:
        for headers in ({"X-Forwarded-For": "192.0.2.1"}, {"Host": "evil.example", "Origin": "http://evil.example"}):
            assert visitor.send("/sign-in", {"without_token": "yes"}, headers=headers).status_code == 401
    server.token("olivia", "ops")
    page.wait_for_url("**/sign-in*")
    assert page.get_by_role("button", name="Go on without a token").count() == 0


def test_nobody_is_sent_elsewhere_by_what_a_link_carries(shared_fleet: Fleet) -> None:
    """After signing in one stays on the dashboard, whatever `next` says."""
    with Plain(shared_fleet.server.url) as visitor:
        for wanted in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\tx"):
            assert visitor.send("/sign-in", {"token": shared_fleet.ops, "next": wanted}).headers["location"] == "/"
        assert visitor.send("/sign-in", {"token": shared_fleet.ops, "next": "/agents?q=a"}).headers["location"] == "/agents?q=a"


def test_a_link_from_elsewhere_finds_the_session(shared_fleet: Fleet) -> None:
    """The strict cookie does not come along from another site: the page asks for itself once more instead of for a token."""
    with Plain(shared_fleet.server.url) as visitor:
        answer = visitor.get("/circuit?scope=category:tooling", **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text

"""Open pages keep up by themselves, with what any process changes, as long as the session stands."""

import re
import time
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from cstp_server.web.streams import MOST_OF_SESSION
from tests.conftest import StartServer
from tests.story.test_the_loop import wait_for
from tests.web.conftest import OpenBrowser
from tests.web.fleet import Fleet
from tests.web.plain import Plain

STREAM = "text/event-stream"
FRAGMENT = {"X-Fragment": "live"}
_NOW = re.compile(r'data-now="([0-9]+)"')


def hide(page: Page, hidden: str) -> None:
    """Have the page believe that it is out of sight (`true`) or in sight."""
    page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def now_of(fragment: str) -> int:
    """The time that a fragment tells."""
    found = _NOW.search(fragment)
    assert found is not None
    return int(found[1])


def test_a_circuit_that_opens_shows_up_without_a_reload(fleet: Fleet, person: OpenBrowser) -> None:
    """On the overview, on the list and in the navigation of whoever looks at something else."""
    somebody = person(fleet.server).sign_in(fleet.ops)
    page = somebody.go("/")
    other = somebody.context.new_page()
    other.goto(f"{fleet.server.url}/circuits")
    elsewhere = person(fleet.server).sign_in(fleet.ops).go("/pending")
    expect(page.locator("#live-state")).to_have_attribute("data-state", "on")
    page.evaluate("window.stays = true")
    fleet.fail("refactor-bot", "tooling", 5)
    expect(page.locator(".tile").first.locator(".tile-number")).to_have_text("1")
    expect(page.get_by_role("link", name="category:tooling").first).to_be_visible()
    other.bring_to_front()
    expect(other.get_by_role("row", name="category:tooling").get_by_text("open", exact=True)).to_be_visible()
    fleet.check("refund-bot", "Refund order A-1 in full", type="issue_refund", parameters={"amount": 900})
    expect(elsewhere.get_by_text("Refund order A-1 in full")).to_be_visible()
    expect(elsewhere.locator(".badge.bad")).to_contain_text("1")
    assert page.evaluate("window.stays") is True
    assert somebody.complaints == []


def test_what_is_typed_and_focused_stays_while_the_page_changes(fleet: Fleet, person: OpenBrowser) -> None:
    """A note that is being written survives the changes around it."""
    id = fleet.check("refund-bot", "Refund order A-2 in full", type="issue_refund", parameters={"amount": 900})["decisionId"]
    page = person(fleet.server).sign_in(fleet.ops).go(f"/decision?id={id}")
    page.get_by_label("Note").fill("half a sen")
    for number in range(3):
        fleet.check("refund-bot", f"Refund order B-{number} in full", type="issue_refund", parameters={"amount": 900})
    expect(page.locator(".badge.warn")).to_contain_text("4")
    assert page.get_by_label("Note").input_value() == "half a sen"
    assert page.evaluate("document.activeElement.name") == "note"


def test_a_decision_that_somebody_else_settles_takes_the_buttons_away(fleet: Fleet, person: OpenBrowser) -> None:
    """The page tells who was faster."""
    id = fleet.check("refund-bot", "Refund order A-3 in full", type="issue_refund", parameters={"amount": 900})["decisionId"]
    page = person(fleet.server).sign_in(fleet.ops).go(f"/decision?id={id}")
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    fleet.server.call("cstp.resolveDecision", {"id": id, "resolution": "deny"}, token=fleet.ops)
    expect(page.get_by_role("button", name="Approve")).to_be_hidden()
    expect(page.locator(".tiles .pill").first).to_have_text("denied")


def test_changes_of_another_process_show_up_too(start_server: StartServer, server_url: str, person: OpenBrowser) -> None:
    """Two services on one store: who looks at one sees soon what is done at the other."""
    first = start_server("first", database_url=server_url)
    second = start_server("second", database_url=server_url)
    ops = first.token("olivia", "ops")
    page = person(first).sign_in(ops).go("/agents")
    expect(page.locator("#live-state")).to_have_attribute("data-state", "on")
    time.sleep(1)
    second.call("cstp.emergencyDowngrade", {"agentId": "rogue-agent", "reason": "it must stop"}, token=ops)
    expect(page.get_by_role("row", name="rogue-agent").get_by_text("blocked")).to_be_visible(timeout=5_000)


def test_the_stream_says_what_kind_of_thing_has_changed_and_no_more(shared_fleet: Fleet) -> None:
    """No text of anybody is in it."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        with visitor.watch() as stream:
            assert stream.kind.startswith("text/event-stream")
            assert "event: hello" in stream.until("data:")
            shared_fleet.check("streaming-bot", "Refund order A-4 in full", type="issue_refund", parameters={"amount": 900})
            told = stream.until("data:")
    assert "event: change" in told
    assert set(told[-1].removeprefix("data: ").split()) >= {"pending", "tripwires", "events"}
    assert "streaming-bot" not in "".join(told)


def test_who_reconnects_is_told_of_what_they_may_have_missed(shared_fleet: Fleet) -> None:
    """With the id of a message from before everything is to be fetched anew."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        with visitor.watch(**{"Last-Event-ID": "feed_of_another_process.7"}) as stream:
            told = stream.until("data:")
    assert "event: change" in told
    assert {"circuits", "policy"} <= set(told[-1].removeprefix("data: ").split())


def test_the_stream_ends_with_the_session(shared_fleet: Fleet) -> None:
    """Signed out in another tab, the stream says that it is over, and is."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        with visitor.watch() as stream:
            stream.until("data:")
            with Plain(shared_fleet.server.url, cookies=dict(visitor.client.cookies)) as tab:
                assert tab.act("/sign-out").status_code == 303
            assert stream.until("event: end")
            assert [line for line in stream.rest() if line.startswith("event:")] == []


def test_the_stream_is_for_those_who_are_signed_in(shared_fleet: Fleet) -> None:
    """Nobody else gets one, and a page that asks for it is told why."""
    with Plain(shared_fleet.server.url) as visitor:
        assert visitor.get("/live", Accept=STREAM).status_code == 401
        assert visitor.client.head("/live", headers={"Accept": STREAM}).status_code == 401


def test_whether_there_would_be_a_stream_is_answered_at_once(shared_fleet: Fleet) -> None:
    """To HEAD, which waits for nothing."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        answer = visitor.client.head("/live")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith(STREAM)


def test_no_two_ask_for_one_stream(shared_fleet: Fleet) -> None:
    """Fragments are shared among those who ask for the same; a stream is everybody's own, whatever the request says."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        with visitor.watch(**FRAGMENT) as one:
            assert "event: hello" in one.until("data:")
            with visitor.watch(**FRAGMENT) as other, visitor.watch(**FRAGMENT) as third:
                assert "event: hello" in other.until("data:")
                assert "event: hello" in third.until("data:")


def test_a_session_has_so_many_streams_and_no_more(fleet: Fleet) -> None:
    """Another session has its own, and one that ends makes room."""
    with Plain(fleet.server.url) as visitor, Plain(fleet.server.url) as other, ExitStack() as stack:
        visitor.sign_in(fleet.ops)
        other.sign_in(fleet.ops)
        streams = [stack.enter_context(visitor.watch()) for _ in range(MOST_OF_SESSION - 1)]
        for stream in streams:
            stream.until("data:")
        with visitor.watch() as last:
            last.until("data:")
            refused = visitor.get("/live")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
            with other.watch() as stream:
                assert "event: hello" in stream.until("data:")
        wait_for(lambda: visitor.client.head("/live").status_code == 200)


def test_streams_leave_connections_to_others(start_server: StartServer, sqlite_url: str) -> None:
    """All of them together take half of those that the process has."""
    server = start_server(database_url=sqlite_url, env={"CSTP_MAX_CONNECTIONS": "8"})
    with Plain(server.url) as one, Plain(server.url) as other, ExitStack() as stack:
        one.sign_in(server.token("olivia", "ops"))
        other.sign_in(server.token("vera", "viewer"))
        streams = [stack.enter_context(one.watch()) for _ in range(4)]
        for stream in streams:
            stream.until("data:")
        assert other.get("/live").status_code == 429
        assert other.get("/circuits").status_code == 200


def test_a_page_without_room_for_a_stream_says_so_and_shows_what_is_new(fleet: Fleet, person: OpenBrowser) -> None:
    """It asks again after a while."""
    somebody = person(fleet.server).sign_in(fleet.ops)
    expect(somebody.go("/policy").locator("#live-state")).to_have_attribute("data-state", "on")
    cookies = {cookie["name"]: cookie["value"] for cookie in somebody.context.cookies()}
    with Plain(fleet.server.url, cookies=cookies) as visitor, ExitStack() as stack:
        streams = [stack.enter_context(visitor.watch()) for _ in range(MOST_OF_SESSION - 1)]
        for stream in streams:
            stream.until("data:")
        page = somebody.context.new_page()
        page.goto(f"{fleet.server.url}/circuits")
        expect(page.locator("#live-text")).to_have_text("too many pages are open")
    assert somebody.complaints == []


def test_a_page_whose_session_ended_while_it_was_hidden_asks_to_sign_in(fleet: Fleet, person: OpenBrowser) -> None:
    """There was no stream to tell it, and its next attempt to get one does."""
    somebody = person(fleet.server).sign_in(fleet.ops)
    page = somebody.go("/circuits")
    expect(page.locator("#live-state")).to_have_attribute("data-state", "on")
    hide(page, "true")
    expect(page.locator("#live-text")).to_have_text("paused")
    cookies = {cookie["name"]: cookie["value"] for cookie in somebody.context.cookies()}
    with Plain(fleet.server.url, cookies=cookies) as tab:
        assert tab.act("/sign-out").status_code == 303
    hide(page, "false")
    page.wait_for_url("**/sign-in?next=*circuits")
    assert somebody.complaints == []


def test_a_fragment_is_no_older_than_what_the_page_shows(shared_fleet: Fleet) -> None:
    """Whoever has just reset a circuit does not see it open again because somebody else asked a moment ago."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        with visitor.watch() as stream:
            stream.until("data:")
            first = visitor.get("/circuits?state=half_open", **FRAGMENT).text
            shown = now_of(first)
            later = visitor.get("/circuits?state=half_open", **FRAGMENT, **{"X-Shown": str(shown + 1)}).text
            assert now_of(later) > shown
            again = visitor.get("/circuits?state=half_open", **FRAGMENT, **{"X-Shown": str(shown)}).text
            assert now_of(again) >= now_of(later)


def test_only_decisions_that_an_index_finds_are_live(shared_fleet: Fleet) -> None:
    """All of them, and an agent's; a rare kind would be looked for among thousands again and again."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        for query in ("", "?agent=bot"):
            assert 'data-topics="decisions"' in visitor.get(f"/decisions{query}").text
        for query in ("?status=blocked", "?category=x", "?outcome=failure", "?verdict=halt", "?q=x", "?agent=bot&status=blocked"):
            assert 'data-topics=""' in visitor.get(f"/decisions{query}").text


def test_tripwires_of_more_than_a_day_are_not_live(shared_fleet: Fleet) -> None:
    """There is too much to count it anew with every hit."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        for period, topics in (("1h", "tripwires decisions"), ("24h", "tripwires decisions"), ("7d", ""), ("30d", "")):
            assert f'data-topics="{topics}"' in visitor.get(f"/tripwires?since={period}").text


def test_open_dashboards_do_not_keep_the_service_from_ending(fleet: Fleet) -> None:
    """SIGTERM closes the streams, and the service ends in order well before the time for calls in flight is over."""
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        with visitor.watch() as stream:
            stream.until("data:")
            fleet.server.terminate()
    assert "forced" not in fleet.server.logs.lower()


def test_fifty_dashboards_are_told_of_the_same_change(shared_fleet: Fleet) -> None:
    """Every one of them hears of it, and finds it when it asks."""
    with ExitStack() as stack:
        visitors = [stack.enter_context(Plain(shared_fleet.server.url)) for _ in range(5)]
        for visitor in visitors:
            visitor.sign_in(shared_fleet.ops)
        streams = [stack.enter_context(visitor.watch()) for visitor in visitors for _ in range(10)]
        for stream in streams:
            stream.until("data:")
        shared_fleet.server.call("cstp.tripCircuit", {"scope": "tag:watched-by-many", "reason": "to be seen"}, token=shared_fleet.ops)
        for stream in streams:
            assert "circuits" in stream.until("data:")[-1]
            assert "tag:watched-by-many" in visitor.get("/circuits?state=open", **{"X-Fragment": "live"}).text


@pytest.mark.parametrize("path", ["/", "/circuits", "/agents", "/pending", "/decisions", "/trust", "/tripwires", "/events", "/policy"])
def test_a_fragment_carries_nothing_of_a_session(shared_fleet: Fleet, viewer: str, path: str) -> None:
    """Fragments are shared among people, so none has anybody's form token or name in it."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        fragment = visitor.get(path, **{"X-Fragment": "live"})
        assert fragment.status_code == 200
        assert visitor.form_token() not in fragment.text
        assert "form_token" not in fragment.text
        assert "<html" not in fragment.text

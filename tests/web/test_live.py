"""Open pages keep up by themselves, with what any process changes, as long as the session stands."""

import time
from contextlib import ExitStack

import pytest
from playwright.sync_api import expect

from tests.conftest import StartServer
from tests.web.conftest import OpenBrowser
from tests.web.fleet import Fleet
from tests.web.plain import Plain


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
    """Nobody else gets one."""
    with Plain(shared_fleet.server.url) as visitor:
        assert visitor.get("/live").status_code == 303


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
    with Plain(shared_fleet.server.url) as visitor, ExitStack() as stack:
        visitor.sign_in(shared_fleet.ops)
        streams = [stack.enter_context(visitor.watch()) for _ in range(50)]
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

"""What agents and others say is shown as they said it, and never carried out."""

from playwright.sync_api import expect

from tests.web.conftest import OpenBrowser
from tests.web.fleet import Fleet

HOSTILE = "<script>window.owned=1</script><img src=x onerror=window.owned=1>\"'><svg onload=window.owned=1>{{7*7}}"
AGENT = "bot\"><script>window.owned=1</script>&id=x#/../'"


def test_no_text_of_anybody_is_carried_out(fleet: Fleet, person: OpenBrowser) -> None:
    """In ids, descriptions, parameters, reasons, notes and names of users, on every page that shows them, live updates included."""
    server, ops = fleet.server, fleet.ops
    asked = {"type": "issue_refund", "parameters": {"amount": 900, HOSTILE[:100]: HOSTILE}, "tags": [HOSTILE], "category": HOSTILE}
    id = fleet.check(AGENT, HOSTILE, context={"why": HOSTILE}, user={"id": HOSTILE, "domain": "chat"}, **asked)["decisionId"]
    server.call("cstp.tripCircuit", {"scope": f"agent:{AGENT}", "reason": HOSTILE}, token=ops)
    server.call("cstp.transitionPosture", {"agentId": AGENT, "toPosture": "human_decides", "reason": HOSTILE}, token=ops)
    fleet.damage(HOSTILE, "chat", "wrong_answer")
    somebody = person(server).sign_in(ops)
    page = somebody.page
    paths = ["/", "/circuits", "/pending", "/decisions", "/agents", "/tripwires", "/trust", "/events", f"/decision?id={id}"]
    for path in paths:
        somebody.go(path)
        expect(page.locator("#live-state")).to_have_attribute("data-state", "on")
        page.wait_for_timeout(300)
        assert page.evaluate("window.owned") is None, path
        assert page.locator("#live img, #live script").count() == 0, path
    assert HOSTILE in page.locator(".facts").first.inner_text() or HOSTILE in page.locator("h1").inner_text()
    for section, name in (("/agents", AGENT), ("/circuits", f"agent:{AGENT}")):
        somebody.go(section)
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        assert page.evaluate("window.owned") is None
    fleet.review(id, "failure", notes=HOSTILE, lessons=HOSTILE)
    somebody.go(f"/decision?id={id}")
    assert page.evaluate("window.owned") is None
    assert somebody.complaints == []


def test_a_notice_that_somebody_has_meddled_with_is_text_too(shared_fleet: Fleet, person: OpenBrowser) -> None:
    """The cookie that carries what was done is shown, never carried out; one that is no notice shows nothing."""
    somebody = person(shared_fleet.server).sign_in(shared_fleet.ops)
    for value in ("Z29vZCA8c2NyaXB0PndpbmRvdy5vd25lZD0xPC9zY3JpcHQ-", "%%%", "AAAA"):
        somebody.context.add_cookies([{"name": "cstp-notice", "value": value, "url": shared_fleet.server.url}])
        somebody.go("/circuits")
        assert somebody.page.evaluate("window.owned") is None
        expect(somebody.page.get_by_role("heading", name="Circuits")).to_be_visible()
    assert somebody.complaints == []

"""What operators do on the dashboard, in a browser: each with its confirmation, and each on record under their name."""

import pytest
from playwright.sync_api import expect

from cstp_server.web.links import link
from tests.web.conftest import OpenBrowser
from tests.web.fleet import Fleet


def test_a_circuit_is_reset_by_hand(fleet: Fleet, person: OpenBrowser) -> None:
    """Open, then closed at once, with the reason and the name in its history."""
    fleet.fail("refactor-bot", "tooling", 5)
    page = person(fleet.server).sign_in(fleet.ops).go("/circuit?scope=category:tooling")
    expect(page.locator(".tiles .pill").first).to_have_text("open")
    page.get_by_role("link", name="Reset…").click()
    page.get_by_label("Reason").fill("the pipeline is repaired")
    page.get_by_role("button", name="Reset the circuit").click()
    expect(page.get_by_text("Circuit category:tooling is closed and its counters are cleared")).to_be_visible()
    expect(page.locator(".tiles .pill").first).to_have_text("closed")
    expect(page.get_by_text("the pipeline is repaired")).to_be_visible()
    history = fleet.server.call("cstp.getCircuitHistory", {"scope": "category:tooling"}, token=fleet.ops)["transitions"]
    assert (history[0]["actor"], history[0]["cause"], history[0]["reason"]) == ("olivia", "reset", "the pipeline is repaired")


def test_a_circuit_may_prove_itself_first(fleet: Fleet, person: OpenBrowser) -> None:
    """Half-open instead of closed: one probe goes through."""
    fleet.fail("refactor-bot", "tooling", 5)
    page = person(fleet.server).sign_in(fleet.ops).go("/circuit/reset?scope=category:tooling")
    page.get_by_label("Let it prove itself first").check()
    page.get_by_role("button", name="Reset the circuit").click()
    expect(page.locator(".tiles .pill").first).to_have_text("half-open")
    assert fleet.check("refactor-bot", "try whether it works again", category="tooling")["probes"]


def test_a_circuit_is_tripped_with_a_reason_only(fleet: Fleet, person: OpenBrowser) -> None:
    """The form does not go out without one; then every decision of the scope is refused."""
    page = person(fleet.server).sign_in(fleet.ops).go("/circuit?scope=category:billing")
    page.get_by_role("link", name="Trip…").click()
    page.get_by_role("button", name="Force it open").click()
    assert page.url.endswith("/circuit/trip?scope=category%3Abilling")
    page.get_by_label("Reason").fill("the bank is down")
    page.get_by_role("button", name="Force it open").click()
    expect(page.locator(".tiles .pill").first).to_have_text("forced open")
    assert not fleet.check("billing-bot", "send the invoices of the week", category="billing")["allowed"]


def test_an_approval_lets_one_decision_through_with_its_note(fleet: Fleet, person: OpenBrowser) -> None:
    """From the list to the reasons to the button."""
    id = fleet.check("refund-bot", "Refund order A-1140 in full", type="issue_refund", parameters={"amount": 900})["decisionId"]
    page = person(fleet.server).sign_in(fleet.ops).go("/pending")
    expect(page.get_by_text("amount exceeds max_refund of 500")).to_be_visible()
    page.get_by_role("link", name="Look and decide").click()
    expect(page.get_by_role("heading", name="Refund order A-1140 in full")).to_be_visible()
    page.get_by_label("Note").fill("the customer was right")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("it is approved and may go on")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    decision = fleet.server.call("cstp.awaitDecision", {"id": id, "timeoutMs": 0}, token=fleet.ops)
    assert (decision["status"], decision["allowed"]) == ("approved", True)
    expect(page.get_by_text("the customer was right").first).to_be_visible()


def test_a_denial_refuses_it_for_good(fleet: Fleet, person: OpenBrowser) -> None:
    """The note is the reason that the agent gets."""
    id = fleet.check("refund-bot", "Refund order A-1141 in full", type="issue_refund", parameters={"amount": 900})["decisionId"]
    page = person(fleet.server).sign_in(fleet.ops).go(f"/decision?id={id}")
    page.get_by_label("Note").fill("too much")
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_text("it is denied")).to_be_visible()
    decision = fleet.server.call("cstp.awaitDecision", {"id": id, "timeoutMs": 0}, token=fleet.ops)
    assert (decision["status"], decision["reason"]) == ("denied", "too much")


def test_an_agent_is_moved_to_another_posture(fleet: Fleet, person: OpenBrowser) -> None:
    """The page says what each posture does; afterwards checks obey the new one."""
    page = person(fleet.server).sign_in(fleet.ops).go("/agent?id=refactor-bot")
    page.get_by_role("link", name="Change posture…").click()
    page.get_by_label("Human decides").check()
    page.get_by_label("Reason").fill("it fails too often")
    page.get_by_role("button", name="Change the posture").click()
    expect(page.get_by_text("Agent refactor-bot is human_decides")).to_be_visible()
    expect(page.locator(".tiles .pill").first).to_have_text("human decides")
    expect(page.get_by_text("supervised → human decides")).to_be_visible()
    assert fleet.check("refactor-bot", "apply the next refactoring")["intervention"] == "escalate"


def test_an_agent_is_blocked_in_an_emergency(fleet: Fleet, person: OpenBrowser) -> None:
    """At once, and what it has waiting is denied."""
    waiting = fleet.check("refund-bot", "Refund order A-1142 in full", type="issue_refund", parameters={"amount": 900})["decisionId"]
    page = person(fleet.server).sign_in(fleet.ops).go("/agent?id=refund-bot")
    page.get_by_role("link", name="Emergency block…").click()
    page.get_by_label("Reason").fill("it refunds everything")
    page.get_by_role("button", name="Block the agent").click()
    expect(page.locator(".tiles .pill").first).to_have_text("blocked")
    assert fleet.check("refund-bot", "Refund order A-1143")["intervention"] == "block"
    assert fleet.server.call("cstp.awaitDecision", {"id": waiting, "timeoutMs": 5000}, token=fleet.ops)["status"] == "denied"


def test_a_stale_move_is_refused(fleet: Fleet, person: OpenBrowser) -> None:
    """Who has the page open while somebody else moves the agent does not overrule them unseen."""
    page = person(fleet.server).sign_in(fleet.ops).go("/agent/move?id=refactor-bot")
    moved = {"agentId": "refactor-bot", "toPosture": "blocked", "reason": "faster"}
    fleet.server.call("cstp.transitionPosture", moved, token=fleet.ops)
    page.get_by_label("Full autonomy").check()
    page.get_by_label("Reason").fill("it does well")
    page.get_by_role("button", name="Change the posture").click()
    expect(page.get_by_text("Agent refactor-bot is blocked, not supervised")).to_be_visible()
    assert fleet.server.call("cstp.getPosture", {"agentId": "refactor-bot"}, token=fleet.ops)["posture"] == "blocked"


def test_a_users_trust_is_made_whole(fleet: Fleet, person: OpenBrowser) -> None:
    """Reduced by damage, and whole again by hand."""
    for _ in range(3):
        fleet.damage("user_123", "billing", "repetitive_error")
    page = person(fleet.server).sign_in(fleet.ops).go("/trust")
    expect(page.get_by_role("row", name="user_123").get_by_text("reduced autonomy")).to_be_visible()
    page.get_by_role("row", name="user_123").get_by_role("link", name="Reset").click()
    page.get_by_label("Reason").fill("we made up")
    page.get_by_role("button", name="Make it whole").click()
    expect(page.get_by_role("row", name="user_123").get_by_text("full autonomy")).to_be_visible()


_ENDS = ("", "\r", "\r\n", "\n")


def alike(end: str) -> str:
    """A name that differs from others by the ends of its lines alone."""
    return f"line{end}of-bot{end}"


def standings(fleet: Fleet, what: str, domain: str) -> list[str]:
    """The `posture`, `circuit` or `trust` of each of them."""
    asked: list[str] = []
    for name in map(alike, _ENDS):
        method, key, params = {
            "posture": ("cstp.getPosture", "posture", {"agentId": name}),
            "circuit": ("cstp.getCircuitState", "state", {"scope": f"agent:{name}"}),
            "trust": ("cstp.getAutonomyLevel", "state", {"userId": name, "domain": domain}),
        }[what]
        asked.append(fleet.server.call(method, params, token=fleet.ops)[key])
    return asked


@pytest.mark.parametrize("end", _ENDS[1:], ids=["cr", "crlf", "lf"])
def test_names_with_ends_of_lines_reach_what_they_name(shared_fleet: Fleet, person: OpenBrowser, end: str) -> None:
    """Browsers change ends of lines in fields: what is done hits what the page is about, and nothing else."""
    page = person(shared_fleet.server).sign_in(shared_fleet.ops).page
    domain = f"chat{end}"

    def send(address: str, button: str, choice: str | None = None) -> None:
        page.goto(f"{shared_fleet.server.url}{address}")
        if choice is not None:
            page.get_by_label(choice).check()
        page.get_by_label("Reason").fill("because")
        page.get_by_role("button", name=button).click()
        page.wait_for_url(lambda url: address not in url)

    def only(here: str, before: list[str]) -> list[str]:
        return [here if each == end else was for each, was in zip(_ENDS, before, strict=True)]

    before = standings(shared_fleet, "posture", domain)
    send(link("/agent/move", id=alike(end)), "Change the posture", "Human decides")
    assert standings(shared_fleet, "posture", domain) == only("human_decides", before)
    send(link("/agent/block", id=alike(end)), "Block the agent")
    assert standings(shared_fleet, "posture", domain) == only("blocked", before)
    send(link("/circuit/trip", scope=f"agent:{alike(end)}"), "Force it open")
    assert standings(shared_fleet, "circuit", domain) == only("open", ["closed"] * 4)
    send(link("/circuit/reset", scope=f"agent:{alike(end)}"), "Reset the circuit")
    assert standings(shared_fleet, "circuit", domain) == ["closed"] * 4
    for each in _ENDS * 3:
        shared_fleet.damage(alike(each), domain, "repetitive_error")
    send(link("/trust/reset", user=alike(end), domain=domain), "Make it whole")
    assert standings(shared_fleet, "trust", domain) == only("full_autonomy", ["reduced_autonomy"] * 4)

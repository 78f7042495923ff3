"""What the pages list, and how it is narrowed down: what waits, decisions, tripwires, quotas and budgets."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cstp_server.domain.circuit_state import State
from cstp_server.web.pulse import Pulse
from tests.conftest import StartServer
from tests.web.fleet import POLICY, Fleet
from tests.web.plain import Plain

_QUOTAS = """    - name: all-refunds
      applies_to: {categories: [billing]}
      quota: {sum: action.parameters.amount, per: global, window: day, max: 50000}
    - {name: of-category, quota: {count: true, per: category, window: hour, max: 80}}
    - {name: of-user, quota: {count: true, per: user, window: day, max: 12}}
"""
_NEXT = re.compile(r'href="([^"]+)" rel="next"')
_TAGS = re.compile(r"<[^>]+>")


@pytest.fixture
def fleet(start_server: StartServer, sqlite_url: str, tmp_path: Path) -> Fleet:
    """A fleet with quotas of all kinds, and an agent whose decisions may be cancelled for a while."""
    policy = POLICY.replace("agents:\n", f"{_QUOTAS}agents:\n  slow-bot: {{posture: assisted}}\n")
    path = tmp_path / "policy.yaml"
    path.write_text(policy.replace("approval_ttl_ms: 3600000", "approval_ttl_ms: 3600000, assisted_delay_ms: 600000"))
    server = start_server(database_url=sqlite_url, config=path)
    return Fleet(server, server.token("olivia", "ops"), server.token("ci", "ci"))


def said(html: str) -> str:
    """The words of a page, without its tags."""
    return " ".join(_TAGS.sub(" ", html).split())


def refund(fleet: Fleet, number: int, agent: str = "refund-bot") -> None:
    """A refund that waits for an approval."""
    fleet.check(agent, f"Refund order {number} in full", type="issue_refund", category="billing", parameters={"amount": 600})


def test_what_goes_on_by_itself_waits_for_nobody() -> None:
    """A cancel window is no work for a person; approvals and confirmations are."""
    circuits = dict.fromkeys(State, 0)
    pulse = Pulse(circuits, {"approval": 3, "confirmation": 2, "cancel_window": 7})
    assert (pulse.pending, pulse.is_more) == (5, False)
    assert Pulse(circuits, {"cancel_window": 1_000}).is_more is False
    assert Pulse(circuits, {"approval": 1_000}).said.endswith("1,000+ decisions pending")
    assert Pulse({**circuits, State.OPEN: 1}, {"approval": 1}).said == "1 circuit open, 0 half-open, 1 decision pending"
    assert Pulse({**circuits, State.OPEN: 2}, {}).said == "2 circuits open, 0 half-open, 0 decisions pending"


def test_the_soonest_to_run_out_are_first_and_the_rest_on_the_next_page(fleet: Fleet) -> None:
    """Also on the overview, where what may be cancelled is no line of its own; and by what they wait for."""
    for number in range(100, 153):
        refund(fleet, number)
    fleet.check("slow-bot", "Send the newsletter at last", category="outreach")
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        first = visitor.get("/pending").text
        places = [first.index(text) for text in ("Send the newsletter at last", "Refund order 100 in full", "Refund order 101 in full")]
        assert places == sorted(places)
        assert "Refund order 149 in full" not in first
        following = _NEXT.search(first)
        assert following is not None
        second = visitor.get(following[1].replace("&amp;", "&")).text
        assert [number for number in range(100, 153) if f"Refund order {number} in full" in second] == [149, 150, 151, 152]
        assert _NEXT.search(second) is None
        approvals = visitor.get("/pending?kind=approval").text
        assert "Send the newsletter at last" not in approvals
        assert "Approval 53" in said(approvals)
        assert "unless somebody cancels it" in said(approvals)
        assert "Cancel window 1" in said(approvals)
        overview = visitor.get("/").text
        assert "53 approvals; 1 may be cancelled" in said(overview)
        waits = overview[overview.index('id="h-waiting"') :]
        assert "Refund order 100 in full" in waits
        assert "Refund order 105 in full" in waits
        assert "Refund order 106 in full" not in waits
        assert "Send the newsletter" not in waits


def test_decisions_are_narrowed_down_by_time_stakes_and_type(fleet: Fleet) -> None:
    """In UTC; what is no time is told and left out."""
    fleet.check("deploy-bot", "Deploy the search service", type="Deploy", stakes="high")
    fleet.check("docs-writer", "Describe the search service", type="write")
    today = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        for query, deployed, described in (
            ("", True, True),
            ("?type=DEPLOY", True, False),
            ("?stakes=high", True, False),
            ("?stakes=medium&type=write", False, True),
            ("?from=2020-01-01T00:00&to=2999-01-01T00:00", True, True),
            ("?to=2020-01-01T00:00", False, False),
            ("?from=2999-01-01T00:00", False, False),
            ("?from=yesterday", True, True),
        ):
            page = visitor.get(f"/decisions{query}").text
            assert ("Deploy the search service" in page, "Describe the search service" in page) == (deployed, described), query
            assert ("<code>from</code> is no time such as" in page) == ("yesterday" in query)
        assert f'value="{today}"' in visitor.get(f"/decisions?from={today}").text


def test_tripwires_may_be_those_of_one_agent(fleet: Fleet) -> None:
    """Its hits with what it was about to do, and the quotas that it draws on."""
    refund(fleet, 1, "refund-bot")
    refund(fleet, 2, "other-bot")
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        every, one = visitor.get("/tripwires").text, visitor.get("/tripwires?agent=other-bot").text
        assert "refund-bot" in every
        assert "refund-bot" not in one
        assert "Refund order 2 in full" in one
        assert "counted for all agents together" in said(one)
        assert "No hits" in visitor.get("/tripwires?agent=nobody").text


def test_quotas_say_whom_they_are_counted_for(fleet: Fleet) -> None:
    """On the page of an agent those that it draws on, on that of the tripwires all of them with who has used the most."""
    for number in range(3):
        payment = {"amount": 100 * number}
        fleet.check("payer", f"Pay the invoice {number}", category="billing", user={"id": "anna"}, parameters=payment)
    fleet.check("other", "Pay the invoice of another one", category="billing", user={"id": "anna"}, parameters={"amount": 50})
    with Plain(fleet.server.url) as visitor:
        visitor.sign_in(fleet.ops)
        agent = said(visitor.get("/agent?id=payer").text)
        assert "daily_action_limit 3 / 200" in agent
        assert "counted for it alone" in agent
        assert "all-refunds 350 / 50,000" in agent
        assert "counted for all agents together" in agent
        assert "of-category 4 / 80" in agent
        assert "counted for category billing , whoever acts" in agent
        assert "of-user 4 / 12" in agent
        every = said(visitor.get("/tripwires").text)
        assert "each user, whoever acts 12 user anna 4 / 12" in every
        assert "each agent by itself 200 agent payer 3 / 200 agent other 1 / 200" in every
        assert "all agents together 50,000 all agents together 350 / 50,000" in every

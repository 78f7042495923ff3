"""Ten thousand circuits: every page is as small as with ten, and what is wrong is on the first one."""

import re

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert

from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_row
from cstp_server.storage.engine import database_url, passing_engine
from tests.web.conftest import OpenBrowser
from tests.web.fleet import Fleet
from tests.web.plain import Plain

MANY = 10_000
OPEN = 7
A_PAGE = 50
_ROW = re.compile(r'<tr data-key="([^"]+)">')
_NEXT = re.compile(r'href="([^"]+)" rel="next"')


@pytest.fixture
def crowded(fleet: Fleet, sqlite_url: str) -> Fleet:
    """A service with that many circuits of agents, of which a few at the end of the alphabet are forced open."""
    circuits = [
        Circuit(f"agent:bot-{number:05}", State.OPEN, 1, 1, 1, forced=True, forced_by="olivia", forced_reason="a test")
        if number >= MANY - OPEN
        else Circuit(f"agent:bot-{number:05}")
        for number in range(MANY)
    ]
    with passing_engine(database_url(sqlite_url)).begin() as connection:
        connection.execute(insert(tables.circuits), [circuit_row("default", circuit) for circuit in circuits])
    return fleet


def test_every_page_is_short_and_together_they_are_all(crowded: Fleet) -> None:
    """Page by page to the end: each circuit once, the open ones first."""
    seen: list[str] = []
    with Plain(crowded.server.url) as visitor:
        visitor.sign_in(crowded.ops)
        path: str | None = "/circuits"
        while path is not None:
            answer = visitor.get(path, **{"X-Fragment": "live"})
            rows = _ROW.findall(answer.text)
            assert 0 < len(rows) <= A_PAGE
            assert len(answer.content) < 150_000
            seen += rows
            following = _NEXT.search(answer.text)
            path = following[1].replace("&amp;", "&") if following is not None else None
    assert len(seen) == len(set(seen))
    bots = [scope for scope in seen if scope.startswith("agent:bot-")]
    assert len(bots) == MANY
    assert bots[:OPEN] == [f"agent:bot-{number:05}" for number in range(MANY - OPEN, MANY)]


def test_one_of_them_is_found_and_looked_at(crowded: Fleet, person: OpenBrowser) -> None:
    """In the browser: the counts, the search, the next page, and what was opened a moment ago."""
    page = person(crowded.server).sign_in(crowded.ops).go("/circuits")
    expect(page.get_by_role("link", name=re.compile("^Open"))).to_contain_text(str(OPEN))
    expect(page.get_by_role("link", name=re.compile("^All"))).to_contain_text("10,0")
    assert page.locator("main tbody tr").count() == A_PAGE
    assert page.evaluate("document.querySelectorAll('*').length") < 4_000
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("row", name="agent:bot-00060")).to_be_visible()
    page.get_by_label("search circuits by scope").fill("BOT-04242")
    page.keyboard.press("Enter")
    expect(page.locator("main tbody tr")).to_have_count(1)
    crowded.server.call("cstp.tripCircuit", {"scope": "agent:bot-04242", "reason": "it is odd"}, token=crowded.ops)
    expect(page.locator("main tbody tr").get_by_text("forced open")).to_be_visible()
    page.get_by_role("link", name="agent:bot-04242").click()
    expect(page.get_by_text("it is odd").first).to_be_visible()

"""Addresses at which nothing is, and what cannot be found in time."""

from starlette.requests import Request
from starlette.responses import Response

from cstp_server.domain.refusals import SearchTooLong
from cstp_server.web.access import kept_inside
from tests.web.fleet import Fleet
from tests.web.loops import run_aside
from tests.web.plain import Plain

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_people_get_a_page_where_nothing_is(shared_fleet: Fleet) -> None:
    """With a way back, and the headers that every page has; signed in or not."""
    with Plain(shared_fleet.server.url) as visitor:
        for path, status in (("/nothing-like-it", 404), ("/decision/resolve", 405)):
            answer = visitor.get(path, **BROWSER)
            assert answer.status_code == status, path
            assert answer.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert 'href="/"' in answer.text


def test_programs_get_a_line(shared_fleet: Fleet) -> None:
    """As before there were pages."""
    with Plain(shared_fleet.server.url) as visitor:
        answer = visitor.get("/nothing-like-it", Accept="*/*")
        assert (answer.status_code, answer.text) == (404, "Not Found")
        refused = visitor.get("/sign-out", Accept="application/json")
        assert (refused.status_code, refused.text) == (405, "Method Not Allowed")
        assert refused.headers["allow"] == "POST"


def test_who_looks_for_too_much_is_told_to_narrow_the_search() -> None:
    """It is not the store that fails, and nobody has to wait for it."""

    async def search(_request: Request) -> Response:
        raise SearchTooLong

    async def answered() -> Response:
        return await kept_inside(search)(Request({"type": "http", "method": "GET", "path": "/decisions", "headers": []}))

    answer = run_aside(answered())
    assert (answer.status_code, b"narrow the search" in answer.body, b"the store" in answer.body) == (503, True, False)

"""Addresses at which nothing is."""

from tests.web.fleet import Fleet
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

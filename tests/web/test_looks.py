"""How every page looks to those who see little, use a phone, like it dark, or have no mouse."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import expect

from tests.conftest import ROOT
from tests.web.conftest import NARROW, WIDE, OpenBrowser, Person
from tests.web.fleet import Fleet

PAGES = (
    "/",
    "/circuits",
    "/circuits?q=nothing-like-it",
    "/circuit?scope=category:tooling",
    "/circuit/reset?scope=category:tooling",
    "/circuit/trip?scope=category:billing",
    "/pending",
    "/decisions",
    "/agents",
    "/agent?id=refactor-bot",
    "/agent/move?id=refactor-bot",
    "/agent/block?id=refactor-bot",
    "/tripwires",
    "/trust",
    "/trust/reset?user=user_123&domain=billing",
    "/events",
    "/policy",
    "/decision?id=none",
)
_PICTURE = ROOT / "docs" / "images" / "dashboard.png"


def all_pages(fleet: Fleet) -> tuple[str, ...]:
    """Every page, with a decision that waits and one that was reviewed."""
    ids = [
        fleet.server.call("cstp.listDecisions", {"status": status}, token=fleet.ops)["decisions"][0]["id"]
        for status in ("pending", "reviewed")
    ]
    return (*PAGES, *(f"/decision?id={id}" for id in ids))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page_is_accessible_and_fits(settled_fleet: Fleet, person: OpenBrowser, size: tuple[int, int], scheme: str) -> None:
    """axe finds nothing serious, nothing is wider than the screen, and the browser has nothing to complain of."""
    somebody = person(settled_fleet.server, size, color_scheme=scheme)
    page = somebody.go("/sign-in")
    paths = all_pages(settled_fleet)
    problems = [("/sign-in", found) for found in serious(somebody)]
    somebody.sign_in(settled_fleet.ops)
    for path in paths:
        page = somebody.go(path)
        problems += [(path, found) for found in serious(somebody)]
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
    assert problems == []
    assert somebody.complaints == []


def test_lists_fit_on_every_screen_between(settled_fleet: Fleet, person: OpenBrowser) -> None:
    """On tablets and small windows no column is cut off."""
    page = person(settled_fleet.server).sign_in(settled_fleet.ops).page
    cut = "[...document.querySelectorAll('.card')].some(card => card.scrollWidth > card.clientWidth + 1)"
    for path in ("/circuits", "/circuit?scope=category:tooling", "/decisions", "/agents", "/tripwires", "/trust", "/policy"):
        page.goto(f"{settled_fleet.server.url}{path}")
        for width in (540, 760, 900, 1030, 1160):
            page.set_viewport_size({"width": width, "height": 900})
            assert not page.evaluate(cut), (path, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def serious(somebody: Person) -> list[str]:
    """What axe finds serious or worse on the page that is open."""
    found = Axe().run(somebody.page)
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def test_the_overview_answers_at_one_look(settled_fleet: Fleet, person: OpenBrowser) -> None:
    """What is open, what waits, who is blocked and who misbehaves are on the first screen; and a picture of it for the documents."""
    somebody = person(settled_fleet.server, color_scheme="dark").sign_in(settled_fleet.ops)
    page = somebody.go("/")
    expect(page.locator("#live-state")).to_have_attribute("data-state", "on")
    for text in ("Circuits open", "Waiting for a person", "Agents blocked", "Tripwire hits", "Not closed", "Who is misbehaving"):
        box = page.get_by_text(text, exact=True).bounding_box()
        assert box is not None
        assert box["y"] < WIDE[1], text
    expect(page.get_by_role("link", name="category:tooling").first).to_be_in_viewport()
    picture = page.screenshot()
    if not _PICTURE.exists():
        _PICTURE.parent.mkdir(exist_ok=True)
        Path(_PICTURE).write_bytes(picture)
    assert picture.startswith(b"\x89PNG")


def test_light_and_dark_follow_the_system_until_somebody_chooses(settled_fleet: Fleet, person: OpenBrowser) -> None:
    """The choice stays in this browser."""
    somebody = person(settled_fleet.server, color_scheme="light").sign_in(settled_fleet.ops)
    page, ground = somebody.page, "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_role("button", name="light colours").click()
    expect(page.get_by_role("button", name="light colours")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(ground) == light
    somebody.go("/circuits")
    assert page.evaluate(ground) == light


def test_colour_is_never_the_only_sign(settled_fleet: Fleet, person: OpenBrowser) -> None:
    """Every state has a word and a sign beside its colour."""
    page = person(settled_fleet.server).sign_in(settled_fleet.ops).go("/circuits")
    pills = page.locator(".pill").all()
    assert pills
    for pill in pills:
        assert pill.inner_text().strip()
        assert pill.locator("svg").count() == 1


def test_everything_is_within_reach_of_the_keyboard(fleet: Fleet, person: OpenBrowser) -> None:
    """From signing in to forcing a circuit open without a mouse, the focus always to be seen."""
    somebody = person(fleet.server)
    page = somebody.go("/circuit?scope=category:tooling")
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type(fleet.ops)
    page.keyboard.press("Enter")
    page.wait_for_selector("#live")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Trip…":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/circuit/trip*")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("the pipeline burns")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("is forced open: it stays open until it is reset")).to_be_visible()


def test_the_pages_work_without_scripts(settled_fleet: Fleet, person: OpenBrowser) -> None:
    """Only being live takes the script."""
    somebody = person(settled_fleet.server, java_script_enabled=False).sign_in(settled_fleet.ops)
    page = somebody.go("/circuits")
    page.get_by_role("link", name="category:tooling").click()
    expect(page.get_by_role("heading", name="category:tooling")).to_be_visible()
    expect(page.locator("#live-text")).to_have_text("not live")


def test_an_empty_service_says_what_to_do_first(fleet: Fleet, person: OpenBrowser) -> None:
    """Every list that has nothing yet says how something gets there."""
    somebody = person(fleet.server).sign_in(fleet.ops)
    for path, first in (
        ("/", "cstp.checkGuardrails"),
        ("/pending", "Nothing waits"),
        ("/decisions", "cstp.checkGuardrails"),
        ("/agents", "first check"),
        ("/tripwires", "No hits"),
        ("/trust", "cstp.recordDamage"),
    ):
        expect(somebody.go(path).locator("#live")).to_contain_text(first)

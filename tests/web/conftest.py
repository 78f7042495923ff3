"""A browser, a service with a fleet that has worked for an hour, and people who look at it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import StartServer
from tests.server import RunningServer
from tests.shifted import ShiftedServer
from tests.web.fleet import POLICY, Fleet

_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
_PATIENCE_MS = 15_000
WIDE = (1440, 900)
NARROW = (375, 812)


class Person:
    """Somebody with a browser of their own. What the browser complained of is in `complaints`."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.complaints: list[str] = []
        self.page = self._page()

    def _page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if "Content Security Policy" in message.text else None)
        return page

    def sign_in(self, token: str) -> "Person":
        """Sign in with a token."""
        self.page.goto(f"{self.url}/sign-in")
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.page.wait_for_selector("#live")
        return self

    def go(self, path: str) -> Page:
        """Open a page."""
        self.page.goto(f"{self.url}{path}")
        return self.page


OpenBrowser = Callable[..., Person]
"""`person(server, size=WIDE, **options of a browser context)`: somebody with a fresh browser."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("the tests of the dashboard take a browser, and there is none: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def person(browser: Browser) -> Iterator[OpenBrowser]:
    """Opens browsers; each is closed when the test ends."""
    opened: list[BrowserContext] = []

    def open_one(server: RunningServer, size: tuple[int, int] = WIDE, **options: object) -> Person:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)  # type: ignore[arg-type]
        opened.append(context)
        return Person(context, server.url)

    yield open_one
    for context in opened:
        context.close()


@pytest.fixture(scope="package")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fleet's policy."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="package")
def settled_fleet(tmp_path_factory: pytest.TempPathFactory, policy_file: Path) -> Iterator[Fleet]:
    """A fleet that has worked for an hour and is at rest now; tests look at it, and change nothing."""
    folder = tmp_path_factory.mktemp("fleet")
    with ShiftedServer(folder / "server", database_url=f"sqlite:///{folder / 'cstp.db'}", config=policy_file) as server:
        fleet = Fleet(server, server.token("olivia", "ops"), server.token("ci", "ci"))
        fleet.live_through_an_hour()
        yield fleet


@pytest.fixture(scope="package")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory, policy_file: Path) -> Iterator[Fleet]:
    """A fleet that has not begun to work; tests that take it name agents, users and circuits that no other one does."""
    folder = tmp_path_factory.mktemp("shared")
    with RunningServer(folder / "server", database_url=f"sqlite:///{folder / 'cstp.db'}", config=policy_file) as server:
        yield Fleet(server, server.token("olivia", "ops"), server.token("ci", "ci"))


@pytest.fixture(scope="package")
def viewer(shared_fleet: Fleet) -> str:
    """A token of the shared fleet's service that may look and nothing else."""
    return shared_fleet.server.token("vera", "viewer")


@pytest.fixture
def fleet(start_server: StartServer, sqlite_url: str, policy_file: Path) -> Fleet:
    """A fleet of this test alone, which has not begun to work."""
    server = start_server(database_url=sqlite_url, config=policy_file)
    return Fleet(server, server.token("olivia", "ops"), server.token("ci", "ci"))

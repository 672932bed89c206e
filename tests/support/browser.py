"""Pages in a real browser, and whatever goes wrong on them.

Tests that use it are no coroutines: Playwright has an event loop of its own for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    Response,
    expect,
    sync_playwright,
)

from deployments.stack import StackState
from tests.support.chromium import CHROMIUM, COMMAND

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

_TYPES = {
    "css": ("text/css",),
    "html": ("text/html",),
    "ico": ("image/x-icon", "image/vnd.microsoft.icon"),
    "js": ("text/javascript", "application/javascript"),
    "json": ("application/json",),
    "png": ("image/png",),
    "svg": ("image/svg+xml",),
    "webmanifest": (
        "application/manifest+json",
        "application/json",
        "application/octet-stream",
        "text/plain",
    ),
    "woff2": ("font/woff2", "application/font-woff2"),
}
_LEFT_BEHIND = "net::ERR_ABORTED"
"""What is said of a request whose page was left before the answer."""


class Visitor:
    """One who looks at pages of ``origin``. ``faults`` has everything that went wrong, in words."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.origin = origin
        self.faults: list[str] = []
        self.assets: dict[str, str] = {}
        """The type of each file that was loaded, by its path."""
        self.sockets: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("requestfailed", self._on_failure)
        self.page.on("response", self._on_response)
        self.page.on("websocket", lambda socket: self.sockets.append(socket.url))

    def open(self, path: str) -> None:
        """Go to a page of this origin."""
        self.page.goto(f"{self.origin}{path}")

    def sees(self, text: str) -> None:
        """Wait until ``text`` can be seen."""
        self.page.get_by_text(text).locator("visible=true").first.wait_for()

    def sign_in(self, key: str) -> None:
        """Have a session from now on."""
        self.open("/dashboard/login")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: not url.endswith("/login"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, f"blob:{self.origin}", "data:")):
            self.faults.append(f"other origin: {request.url}")

    def _on_failure(self, request: Request) -> None:
        if request.failure != _LEFT_BEHIND:
            self.faults.append(f"failed: {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        path = urlsplit(response.url).path
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.url}")
        elif response.status == 200 and (right := _TYPES.get(path.rpartition(".")[2])):
            found = response.headers.get("content-type", "").partition(";")[0]
            self.assets[path] = found
            if found not in right:
                self.faults.append(f"wrong type {found!r}: {response.url}")


def launched(playwright: Playwright) -> Browser:
    """Chromium, without a window."""
    return playwright.chromium.launch(executable_path=COMMAND, args=list(FLAGS), timeout=PATIENCE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; skips the test where there is none."""
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, stack: StackState, scheme: str = "light") -> Iterator[Visitor]:
    """Somebody who has signed in at the gateway of ``stack`` with its own key, in a session of its own."""
    assert stack.gateway_url is not None, "nginx is not installed"
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    visitor = Visitor(context, stack.gateway_url)
    visitor.sign_in(stack.api_key)
    yield visitor
    context.close()

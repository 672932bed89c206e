"""Pictures of every page, light and dark: ``python -m tests.browser.screenshots FOLDER``.

Of a stack of its own, in which executor-3 lives in another time zone, so that there is something to see.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from tests.support.browser import launched

DRIFT = {"CRUCIBLE_EXECUTOR_3_TZ": "Asia/Tokyo"}
WIDTH, HEIGHT = 1280, 860
LONGEST = 1900
SCHEMES = ("light", "dark")
WITHIN_MS = 60_000

_PRIMES = """def primes(n):
    found = []
    for k in range(2, n):
        if all(k % p for p in found):
            found.append(k)
    return found

print(primes({}))
"""
_CLOCK = """import time
print("report of", time.strftime("%Y-%m-%d", time.localtime(1_700_000_000)))
print("made at", time.strftime("%H:%M", time.localtime(1_700_000_000)))
print("total", sum(range(100)))
"""


@contextmanager
def own_stack() -> Iterator[dict[str, Any]]:
    """The state of a stack of our own, with its API key, as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="crucible-pictures-") as home:
        environment = {**os.environ, **DRIFT, "CRUCIBLE_HOME": home}
        crucible = [str(Path(sys.executable).with_name("crucible"))]
        subprocess.run([*crucible, "up", "--detach"], env=environment, check=True, stdout=subprocess.DEVNULL)
        try:
            said = subprocess.run(
                [*crucible, "status", "--json"], env=environment, check=True, capture_output=True
            )
            key = json.loads((Path(home) / "secrets.json").read_text())["api_key"]
            yield {**json.loads(said.stdout), "key": key}
        finally:
            subprocess.run([*crucible, "down"], env=environment, check=True, stdout=subprocess.DEVNULL)


def fill(stack: dict[str, Any]) -> tuple[str, str]:
    """Submits programs, most of which agree, and a sweep; returns ids of a mismatch and of the sweep."""
    headers = {"Authorization": f"Bearer {stack['key']}"}
    with httpx.Client(base_url=stack["api_url"], headers=headers, timeout=120) as api:
        programs = [
            {"id": f"primes-below-{n}", "language": "python", "code": _PRIMES.format(n), "tags": ["nightly"]}
            for n in range(100, 160)
        ]
        api.post("/evaluations", params={"wait": 60}, json=programs).raise_for_status()
        clock = {"id": "daily-report", "language": "python", "code": _CLOCK, "tags": ["reports"]}
        mismatch = api.post("/evaluations", params={"wait": 60}, json=clock).raise_for_status().json()
        sweep = api.post("/sweeps", json={"limit": 60}).raise_for_status().json()
        with api.stream("GET", "/events", params={"kind": "sweep.finished", "after": "0-0"}) as events:
            next(line for line in events.iter_lines() if line.startswith("data:"))
        return mismatch["id"], sweep["id"]


def sign_in(page: Page, stack: dict[str, Any]) -> None:
    """The browser of ``page`` has a session from now on."""
    page.goto(f"{stack['gateway_url']}/")
    page.get_by_label("API key").fill(stack["key"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{stack['gateway_url']}/")


def pages_of(stack: dict[str, Any], mismatch: str, sweep: str) -> dict[str, str]:
    """Addresses of all pages by the names of their pictures."""
    ours = {
        "overview": "/",
        "evaluations": "/dashboard/evaluations",
        "mismatch": f"/dashboard/evaluations/{mismatch}",
        "submit": "/dashboard/evaluations/new",
        "sweeps": "/dashboard/sweeps",
        "sweep": f"/dashboard/sweeps/{sweep}",
        "rollout": "/dashboard/rollout",
        "causes": "/dashboard/causes",
        "parts": "/dashboard/parts",
        "prefect": "/prefect/runs",
        "flower": "/flower/workers",
    }
    return {name: f"{stack['gateway_url']}{path}" for name, path in ours.items()}


def take(browser: Browser, stack: dict[str, Any], folder: Path, addresses: dict[str, str]) -> None:
    """One picture of each page in each scheme."""
    for scheme in SCHEMES:
        context = browser.new_context(color_scheme=scheme, viewport={"width": WIDTH, "height": HEIGHT})
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        page.goto(f"{stack['gateway_url']}/dashboard/login")
        page.screenshot(path=folder / f"login-{scheme}.png")
        sign_in(page, stack)
        for name, address in addresses.items():
            page.goto(address, wait_until="load")
            if not address.startswith((f"{stack['gateway_url']}/dashboard", f"{stack['gateway_url']}/?")):
                page.wait_for_timeout(1500)  # pages of others draw themselves; a picture is no test
            page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True, clip=_part(page))
        context.close()


def _part(page: Page) -> FloatRect:
    """The page from its top, as far as one would read on."""
    height = page.evaluate("document.documentElement.scrollHeight")
    return {"x": 0, "y": 0, "width": WIDTH, "height": min(max(height, HEIGHT), LONGEST)}


def main() -> None:
    """Takes the pictures; says where they are."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with own_stack() as stack, sync_playwright() as playwright:
        mismatch, sweep = fill(stack)
        browser = launched(playwright)
        take(browser, stack, folder, pages_of(stack, mismatch, sweep))
        browser.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")


if __name__ == "__main__":
    main()

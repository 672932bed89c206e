"""A browser, and somebody who has signed in with it. Tests here are no coroutines."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from deployments.stack import StackState
from tests.support.browser import Visitor, chromium, visiting


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a module: while it is there, no coroutine can run in this process."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def visitor(browser: Browser, stack: StackState) -> Iterator[Visitor]:
    """Somebody at the gateway of the stack that all tests share."""
    with visiting(browser, stack) as signed_in:
        yield signed_in

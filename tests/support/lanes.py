"""Hooks of pytest: which tests need what, and which of them have to run in the same process.

Marks what needs a stack, Docker or a browser, so that ``make test-quick`` can leave it out. Under
pytest-xdist the tests of a group run in one process, in order: those of a file, or all that use the shared
stack.
"""

from collections.abc import Generator, Iterable

import pytest

from tests.support.groups import write_down

NEEDS = {"crucible": "stack", "drifted": "stack", "daemon": "docker", "browser": "browser"}
"""The mark of a test by a fixture that it uses, of those in a conftest.py."""

SHARED = {"crucible": "shared stack", "drifted": "drifted stack", "images": "images"}
"""The group of a test by such a fixture."""

_SHOWN_AT_MOST = 20
"""Bytes of a parameter, in a test's id."""

LONGEST_FIRST = (SHARED["images"], SHARED["crucible"], "test_drill", "test_parity_sweep", "test_runbook")
"""Groups that begin first, for nothing would be left to do beside one of them at the end."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Mark all tests before others choose by that, and order and group those that are chosen."""
    for item in items:
        for mark in _needs(item):
            item.add_marker(mark)
    yield
    items.sort(key=_rank)
    write_down(config, {item.nodeid: group_of(item) for item in items})


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Tests have the same ids in all processes, also where bytes say when they were packed."""
    return argname if isinstance(val, bytes) and len(val) > _SHOWN_AT_MOST else None


def group_of(item: pytest.Item) -> str:
    """The name of the group of those tests that share a process."""
    for fixture, group in SHARED.items():
        if _is_shared(item, fixture):
            return group
    return " ".join(filter(None, (item.path.stem, _backend(item))))


def _needs(item: pytest.Item) -> Iterable[str]:
    yield from (mark for fixture, mark in NEEDS.items() if _is_shared(item, fixture))
    if _backend(item) == "docker":
        yield "docker"


def _is_shared(item: pytest.Item, fixture: str) -> bool:
    """Whether a test uses the fixture of that name which is in a conftest.py, not one of its own."""
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.get(fixture) if info else None
    return bool(found) and not found[-1].baseid.endswith(".py")


def _backend(item: pytest.Item) -> str:
    """The sandbox that a test is run on, where it is run on several: each is opened once."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return str(parameters.get("sandbox", parameters.get("executor", "")))


def _rank(item: pytest.Item) -> tuple[int, int]:
    group = group_of(item)
    if group in LONGEST_FIRST:
        return 0, LONGEST_FIRST.index(group)
    order = ("docker", "stack", "browser")
    return 1, next((number for number, mark in enumerate(order) if item.get_closest_marker(mark)), len(order))

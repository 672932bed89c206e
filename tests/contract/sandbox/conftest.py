"""The sandboxes that are held to the contract.

They outlive a test: each module's tests share the session's event loop with them. To check another backend,
name what makes it (a callable that takes the number of slots) as ``CRUCIBLE_TEST_SANDBOX=module:callable``.
"""

import os
from collections.abc import AsyncIterator
from importlib import import_module

import pytest
import pytest_asyncio

from executors.sandbox.docker.sandbox import DockerSandbox
from executors.sandbox.interface import Sandbox
from executors.sandbox.process.jail import cgroup
from tests.support.programs import SLOTS, process_sandbox

WITH, WITHOUT, DOCKER = "process with cgroups", "process without cgroups", "docker"
_OPEN: list[Sandbox] = []
OTHERS = [name for name in (os.environ.get("CRUCIBLE_TEST_SANDBOX"),) if name]


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=[WITH, WITHOUT, DOCKER, *OTHERS])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """Each kind of sandbox, opened once."""
    opened = made(request)
    try:
        await opened.open()
        opened.keep_warm()
        _OPEN.append(opened)
        yield opened
        _OPEN.remove(opened)
    finally:
        await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def quiet() -> None:
    """Of the sandboxes that are open none makes or removes anything in the background any more."""
    for each in _OPEN:
        if isinstance(each, DockerSandbox):
            await each.warmed()


def made(request: pytest.FixtureRequest) -> Sandbox:
    """The sandbox that is asked for; skips where there is none."""
    if request.param in OTHERS:
        module, _, name = request.param.partition(":")
        other: Sandbox = getattr(import_module(module), name)(SLOTS)
        return other
    if request.param == DOCKER:
        request.getfixturevalue("docker_host")
        return DockerSandbox(SLOTS, "contract", warm=SLOTS)
    if request.param == WITH and not cgroup.available():
        pytest.skip(f"control groups cannot be made here (user {os.geteuid()})")
    return process_sandbox(cgroups=request.param == WITH)

"""The sandboxes that are held to the contract.

They outlive a test: each module's tests share the session's event loop with them.
"""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from executors.sandbox.docker.sandbox import DockerSandbox
from executors.sandbox.interface import Sandbox
from executors.sandbox.process.jail import cgroup
from tests.support.programs import SLOTS, process_sandbox

WITH, WITHOUT, DOCKER = "process with cgroups", "process without cgroups", "docker"


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=[WITH, WITHOUT, DOCKER])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """Each kind of sandbox, opened once."""
    opened: Sandbox
    if request.param == DOCKER:
        request.getfixturevalue("docker_host")
        opened = DockerSandbox(SLOTS, "contract", warm=SLOTS)
    else:
        if request.param == WITH and not cgroup.available():
            pytest.skip(f"control groups cannot be made here (user {os.geteuid()})")
        opened = process_sandbox(cgroups=request.param == WITH)
    try:
        await opened.open()
        opened.keep_warm()
        yield opened
    finally:
        await opened.close()

"""The sandboxes that are held to the contract.

They outlive a test: each module's tests share the session's event loop with them.
"""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from executors.sandbox.interface import Sandbox
from executors.sandbox.process.jail import cgroup
from tests.support.programs import process_sandbox

WITH, WITHOUT = "process with cgroups", "process without cgroups"


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=[WITH, WITHOUT])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """Each kind of sandbox, opened once."""
    if request.param == WITH and not cgroup.available():
        pytest.skip(f"control groups cannot be made here (user {os.geteuid()})")
    opened = process_sandbox(cgroups=request.param == WITH)
    try:
        await opened.open()
        yield opened
    finally:
        await opened.close()

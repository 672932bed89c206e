"""What holds for every test."""

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from deployments.stack import StackState
from executors.sandbox.docker.images import FAMILIES
from tests.support.command_line import CommandLine
from tests.support.docker_daemon import build_images, docker_daemon
from tests.support.groups import pytest_configure_node, pytest_xdist_make_scheduler
from tests.support.lanes import pytest_collection_modifyitems, pytest_make_parametrize_id
from tests.support.stack_times import pytest_configure
from tests.support.stacks import stack_up
from tests.support.turns import pytest_runtest_protocol

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_make_parametrize_id",
    "pytest_runtest_protocol",
    "pytest_xdist_make_scheduler",
]
"""Hooks that are not of this module."""

# Machines are shared and slow at times; no test of ours is about how long an example takes.
settings.register_profile("crucible", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crucible")

# By default Python looks for garbage so often that tests in this process take a fifth longer.
gc.set_threshold(20_000, 20, 20)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is in the background of a shell, and would be in all processes that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_OUTSIDE = "no part"
"""Said by the reason of a test that needs what is rightly not in the repository."""


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over the objects made so far, which live to the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a test that skips for want of a part has failed: nobody would miss what it no longer holds."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and _OUTSIDE not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def daemon() -> Iterator[str]:
    """A Docker daemon, named by DOCKER_HOST as long as tests run."""
    with docker_daemon() as address, pytest.MonkeyPatch.context() as environment:
        environment.setenv("DOCKER_HOST", address)
        yield address


@pytest.fixture(scope="session")
def docker_host(daemon: str) -> str:
    """The same with all of the sandbox's images."""
    build_images(*FAMILIES)
    return daemon


@pytest.fixture(scope="session")
def crucible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command line of a home whose stack is up. Stopped at the end, when nothing of it may be left."""
    with stack_up(tmp_path_factory.mktemp("shared") / "home") as command_line:
        yield command_line


@pytest.fixture(scope="session")
def stack(crucible: CommandLine) -> StackState:
    """The state of the stack that is up."""
    return crucible.state()

"""Many runs, cancelled runs, lost slots, the end."""

import asyncio
import contextlib
import operator
import os
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from crucible.models import Limits, Observation, Outcome
from executors.sandbox.interface import Sandbox
from executors.sandbox.process.jail import cgroup
from executors.sandbox.process.sandbox import ProcessSandbox
from tests.support.programs import SLOTS, Program, process_sandbox, processes_with, python, shell
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEAKY_RUNS = 300


def slots_below(process: psutil.Process) -> set[psutil.Process]:
    """The slots that ``process`` has started, by what they were started with."""
    found = set()
    for each in process.children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if "jail.slot" in " ".join(each.cmdline()):
                found.add(each)
    return found


@contextlib.asynccontextmanager
async def one_slot() -> AsyncIterator[tuple[ProcessSandbox, psutil.Process]]:
    """A sandbox of one slot, and that slot's process."""
    before = slots_below(psutil.Process())
    opened = process_sandbox(1)
    try:
        await opened.open()
        (slot,) = slots_below(psutil.Process()) - before
        yield opened, slot
    finally:
        await opened.close()


async def started(sandbox: Sandbox, program: Program, marker: str) -> "asyncio.Task[Observation]":
    """A run whose program, known by ``marker``, is seen at work."""
    run = asyncio.create_task(sandbox.run(program, marker))
    await eventually(lambda: bool(processes_with(marker)))
    return run


def sleeper(marker: str) -> Program:
    code = "import time; print('on', flush=True); time.sleep(300)"
    return python(code, limits=Limits(wall_s=300), argument=marker)


async def test_more_runs_than_slots_all_come_back_with_their_own_answers(sandbox: Sandbox) -> None:
    runs = [sandbox.run(shell(f"echo {n}; cat", b"%d" % n), f"run-{n}") for n in range(12 * SLOTS)]
    for n, seen in enumerate(await asyncio.gather(*runs)):
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"%d\n%d" % (n, n))


async def test_cancelling_ends_a_run_and_keeps_what_it_wrote(sandbox: Sandbox) -> None:
    marker = str(uuid.uuid4())
    run = await started(sandbox, sleeper(marker), marker)
    assert await sandbox.cancel(marker)
    seen = await asyncio.wait_for(run, 60)
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.CANCELLED, None, "SIGKILL")
    assert processes_with(marker) == []


async def test_cancelling_a_run_that_waits_for_a_slot_keeps_it_from_running(sandbox: Sandbox) -> None:
    markers = [str(uuid.uuid4()) for _ in range(SLOTS)]
    busy = [await started(sandbox, sleeper(marker), marker) for marker in markers]
    waiting = asyncio.create_task(sandbox.run(shell("echo ran"), "waiting"))
    await asyncio.sleep(0)
    assert await sandbox.cancel("waiting")
    for marker in markers:
        assert await sandbox.cancel(marker)
    seen = await asyncio.wait_for(waiting, 60)
    assert (seen.outcome, seen.stdout) == (Outcome.CANCELLED, b"")
    await asyncio.gather(*busy)


async def test_there_is_nothing_to_cancel_for_an_unknown_or_ended_run(sandbox: Sandbox) -> None:
    assert not await sandbox.cancel("unknown")
    await sandbox.run(shell(":"), "ended")
    assert not await sandbox.cancel("ended")


async def test_a_cancellation_that_comes_too_late_hits_nobody_else(sandbox: Sandbox) -> None:
    for n in range(40):
        run = asyncio.create_task(sandbox.run(shell("exit 3"), f"late-{n}"))
        await asyncio.sleep(random.uniform(0, 0.02))
        await sandbox.cancel(f"late-{n}")
        assert (await run).outcome in (Outcome.CANCELLED, Outcome.NONZERO_EXIT)
        seen = await sandbox.run(shell("echo whole"), f"next-{n}")
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"whole\n")


async def test_giving_up_on_a_run_ends_its_program(sandbox: Sandbox) -> None:
    marker = str(uuid.uuid4())
    run = await started(sandbox, sleeper(marker), marker)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert processes_with(marker) == []
    seen = [await sandbox.run(shell("echo fine"), f"after-{n}") for n in range(2 * SLOTS)]
    assert {each.stdout for each in seen} == {b"fine\n"}


async def test_two_runs_at_once_need_two_ids(sandbox: Sandbox) -> None:
    marker = str(uuid.uuid4())
    run = await started(sandbox, sleeper(marker), marker)
    with pytest.raises(ValueError, match=marker):
        await sandbox.run(shell(":"), marker)
    await sandbox.cancel(marker)
    assert (await run).outcome is Outcome.CANCELLED


@pytest.mark.parametrize("victim", ["slot", "cell"])
async def test_a_slot_that_is_lost_is_the_platform_s_fault_and_is_replaced(
    sandbox: Sandbox, victim: str
) -> None:
    marker = str(uuid.uuid4())
    run = await started(sandbox, sleeper(marker), marker)
    cell = processes_with(marker)[0].parent()
    assert cell is not None
    slot = cell.parent()
    assert slot is not None
    (slot if victim == "slot" else cell).kill()
    seen = await asyncio.wait_for(run, 60)
    assert seen.outcome is Outcome.SANDBOX_ERROR
    assert seen.detail
    await eventually(lambda: not processes_with(marker))
    after = [await sandbox.run(shell("echo fine"), f"after-{n}") for n in range(2 * SLOTS)]
    assert {each.stdout for each in after} == {b"fine\n"}


async def test_a_slot_that_dies_while_it_is_idle_is_replaced_unnoticed() -> None:
    async with one_slot() as (opened, slot):
        slot.kill()
        await eventually(lambda: not opened._slots[0].alive)
        seen = await opened.run(shell("echo fine"), "after")
    assert (seen.outcome, seen.stdout) == (Outcome.OK, b"fine\n")


async def test_a_cancellation_while_a_slot_is_being_replaced_is_not_forgotten() -> None:
    async with one_slot() as (opened, slot):
        slot.kill()
        await eventually(lambda: not opened._slots[0].alive)
        run = asyncio.create_task(opened.run(sleeper("replaced"), "replaced"))
        await asyncio.sleep(0)
        assert await opened.cancel("replaced")
        seen = await asyncio.wait_for(run, 60)
    assert seen.outcome is Outcome.CANCELLED


def mounts_of_this_machine() -> set[str]:
    """All mounts but Docker's, whose containers come and go meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if not any(word in line for word in ("docker", " nsfs ", " overlay "))}


def groups_of(sandbox: ProcessSandbox) -> list[Path]:
    names = [slot.group for slot in sandbox._slots if slot.group is not None]
    return [Path(folder) for name in names for folder in cgroup.folders(name)]


async def test_closing_leaves_no_process_no_control_group_and_no_mount() -> None:
    before, mounts = slots_below(psutil.Process()), mounts_of_this_machine()
    opened = process_sandbox()
    await opened.open()
    groups = groups_of(opened)
    assert all(group.is_dir() for group in groups)
    marker = str(uuid.uuid4())
    run = await started(opened, sleeper(marker), marker)
    waiting = [asyncio.create_task(opened.run(shell(":"), f"waiting-{n}")) for n in range(3)]
    await opened.close()
    assert processes_with(marker) == []
    assert slots_below(psutil.Process()) <= before
    assert not any(group.exists() for group in groups)
    # Other tests mount disks meanwhile, for a short time.
    await eventually(lambda: mounts_of_this_machine() <= mounts)
    outcomes = {(await asyncio.wait_for(each, 60)).outcome for each in (run, *waiting)}
    assert outcomes <= {Outcome.CANCELLED, Outcome.SANDBOX_ERROR, Outcome.OK}


async def test_a_sandbox_that_could_not_be_opened_can_be_closed() -> None:
    await process_sandbox().close()


@pytest.mark.usefixtures("quiet")
async def test_hundreds_of_runs_leak_nothing() -> None:
    own = psutil.Process()
    big = shell("head -c 3000000 /dev/zero", b"x" * 1_000_000, Limits(output_kb=4096))
    async with one_slot() as (opened, slot):
        for n in range(20):
            await opened.run(big, f"warm-{n}")
        start = counts(own, slot)
        for n in range(LEAKY_RUNS):
            seen = await opened.run(big if n % 10 == 0 else shell(":"), f"run-{n}")
            assert seen.outcome is Outcome.OK
        # The last cell may be on its way out, as it may have been at the start.
        await eventually(lambda: all(map(operator.le, counts(own, slot), start)))
        assert slot.memory_info().rss >> 20 < 32


def counts(own: psutil.Process, slot: psutil.Process) -> tuple[int, ...]:
    """What a run could leave behind: descriptors, processes and mounts."""
    mounts = Path(f"/proc/{slot.pid}/mountinfo")
    readable = os.access(mounts, os.R_OK)
    return (
        own.num_fds(),
        slot.num_fds() if readable else 0,
        len(slots_below(own)),
        len(mounts.read_text(encoding="utf-8").splitlines()) if readable else 0,
    )

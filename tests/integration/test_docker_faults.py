"""What goes wrong between an executor and Docker is the platform's fault, and leaves nothing behind."""

import asyncio
import gc
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import docker
import pytest

from crucible.errors import SandboxUnavailable
from crucible.models import Observation, Outcome
from executors.sandbox.docker import images, owner
from executors.sandbox.docker.containers import connected
from executors.sandbox.docker.sandbox import DockerSandbox
from executors.sandbox.interface import Program, Stage
from tests.support.docker_daemon import Daemon
from tests.support.programs import QUICK, processes_with, python, shell

_PATIENCE_S = 240
_LEAVES_A_CONTAINER = """
import asyncio, sys
from executors.sandbox.docker.sandbox import DockerSandbox
from tests.support.programs import python

async def main():
    sandbox = DockerSandbox(1, sys.argv[1], warm=2)
    await sandbox.open()
    sandbox.keep_warm()
    program = python("import time; time.sleep(200)", argument=sys.stdin.readline().strip())
    running = asyncio.create_task(sandbox.run(program, "left"))
    await sandbox.warmed()
    print("warm", flush=True)
    await running

asyncio.run(main())
"""


@asynccontextmanager
async def opened(name: str, slots: int = 1, warm: int = 0) -> AsyncIterator[DockerSandbox]:
    sandbox = DockerSandbox(slots, name, warm=warm)
    try:
        await sandbox.open()
        yield sandbox
    finally:
        await sandbox.close()


def containers_of(name: str, *, orphaned: bool = False) -> set[str]:
    """The containers of executors of that name, or those only whose executor is dead."""
    client = connected()
    try:
        found = client.api.containers(all=True, filters={"label": f"{owner.NAME_LABEL}={name}"})
        return {
            each["Id"] for each in found if not orphaned or owner.is_dead(each["Labels"][owner.OWNER_LABEL])
        }
    finally:
        client.close()


async def running(marker: str, *, wanted: bool = True) -> None:
    """Returns when a program that carries ``marker`` runs, or when none does any more."""
    async with asyncio.timeout(_PATIENCE_S):
        while bool(processes_with(marker)) is not wanted:  # noqa: ASYNC110 (nobody tells of it)
            await asyncio.sleep(0.02)


def kill_an_executor_at_work(name: str, marker: str) -> None:
    """Starts an executor of that name with a program that carries ``marker``, and kills the executor."""
    script = (sys.executable, "-c", _LEAVES_A_CONTAINER, name)
    pipe, root = subprocess.PIPE, Path(__file__).parents[2]
    with subprocess.Popen(script, cwd=root, stdin=pipe, stdout=pipe, text=True) as left:
        assert left.stdin is not None
        assert left.stdout is not None
        left.stdin.write(f"{marker}\n")
        left.stdin.close()
        # All its containers are there: one that the daemon still makes would come after their removal.
        assert "warm\n" in left.stdout
        asyncio.run(running(marker))
        left.kill()


def fill(folder: Path) -> Path:
    """Fills the file system of ``folder`` with the file it returns."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"\0" * (1 << 20))
            except OSError:
                return filler


@pytest.mark.usefixtures("docker_host")
async def test_after_a_killed_executor_the_next_of_its_name_removes_its_containers_and_no_others() -> None:
    name, marker = f"left-{uuid.uuid4()}", f"marker-{uuid.uuid4()}"
    async with opened(f"{name}-other", warm=1) as other, opened(name, warm=1) as namesake:
        for alive in (other, namesake):
            alive.keep_warm()
            assert (await alive.run(shell("echo up"), "up")).stdout == b"up\n"
        await asyncio.to_thread(kill_an_executor_at_work, name, marker)
        assert containers_of(name, orphaned=True)
        async with opened(name):
            await running(marker, wanted=False)
            assert not containers_of(name, orphaned=True)
        for alive in (other, namesake):
            assert (await alive.run(shell("echo still"), "still")).stdout == b"still\n"
    assert containers_of(name) == containers_of(f"{name}-other") == set()


@pytest.mark.usefixtures("docker_host")
async def test_an_image_that_is_gone_is_the_platform_s_fault() -> None:
    client = connected()
    name = f"crucible/throwaway-{uuid.uuid4()}"
    empty = client.api.import_image_from_data(b"\0" * 10240, repository=name)
    image_id = client.images.get(name).id
    client.images.remove(image_id, force=True)
    client.close()
    assert empty
    async with opened(f"gone-{uuid.uuid4()}") as sandbox:
        sandbox._images["throwaway"] = image_id
        program = Program("throwaway", (), b"", {}, Stage(("/bin/true",), QUICK))
        seen = await sandbox.run(program, "gone")
        assert seen.outcome is Outcome.SANDBOX_ERROR
        assert "No such image" in str(seen.detail)
        unknown = await sandbox.run(Program("nothing", (), b"", {}, Stage(("/bin/true",), QUICK)), "none")
        assert unknown.outcome is Outcome.SANDBOX_ERROR


@pytest.mark.usefixtures("docker_host")
async def test_without_images_nothing_is_run_and_the_remedy_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "FAMILIES", {"script": f"package-{uuid.uuid4()}"})
    with pytest.raises(SandboxUnavailable, match="crucible images build"):
        async with opened("no-images"):
            pass


async def test_without_a_daemon_nothing_is_run_and_the_remedy_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(SandboxUnavailable, match="DOCKER_HOST"):
        async with opened("no-daemon"):
            pass


@pytest.fixture(scope="module")
def own_daemon(docker_host: str) -> Iterator[Daemon]:
    """A daemon that may be harmed, with the script image, all on a file system of its own."""
    folder = Path(tempfile.mkdtemp(prefix="crucible-docker-"))  # a socket's path must be short
    (folder / "data").mkdir()
    mounted = ("/usr/bin/mount", "-t", "tmpfs", "-o", "size=1200m", "data", str(folder / "data"))
    subprocess.run(mounted, check=True)
    daemon = Daemon(folder, apart=True)
    try:
        daemon.start()
        _copy_image(docker_host, daemon.address, "script")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DOCKER_HOST", daemon.address)
            yield daemon
    finally:
        daemon.stop()
        _unmount(folder)
        shutil.rmtree(folder)


# Docker's client forgets to close a socket that nobody listens to.
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
async def test_a_daemon_that_dies_takes_its_programs_along_and_is_not_held_against_them(
    own_daemon: Daemon,
) -> None:
    marker = f"marker-{uuid.uuid4()}"
    sandbox = DockerSandbox(1, "mortal", warm=0)
    await sandbox.open()
    program = python("import time; print('begun', flush=True); time.sleep(200)", argument=marker)
    dying = asyncio.create_task(sandbox.run(program, "dies"))
    await running(marker)
    own_daemon.kill()
    seen = await dying
    assert (seen.outcome, seen.exit_code, seen.signal) == (Outcome.SANDBOX_ERROR, None, None)
    await running(marker, wanted=False)
    away = await sandbox.run(shell("echo never"), "away")
    assert away.outcome is Outcome.SANDBOX_ERROR
    own_daemon.start()
    back = await sandbox.run(shell("echo back"), "back")
    assert (back.outcome, back.stdout) == (Outcome.OK, b"back\n")
    await sandbox.close()
    del dying
    gc.collect()


async def test_a_full_disk_under_docker_is_the_platform_s_fault_and_passes(
    own_daemon: Daemon,
) -> None:
    async with opened("full") as sandbox:
        filler = fill(own_daemon.folder / "data")
        assert (await sandbox.run(shell("echo never"), "full")).outcome is Outcome.SANDBOX_ERROR
        filler.unlink()
        seen: Observation = await sandbox.run(shell("echo room"), "room")
        assert (seen.outcome, seen.stdout) == (Outcome.OK, b"room\n")


def _copy_image(source: str, target: str, family: str) -> None:
    there, here = docker.DockerClient(source), docker.DockerClient(target)
    try:
        found = next(image for image in images.listed(there) if image.family == family)
        base = there.images.get(images.BASE)
        for tagged in (base, there.images.get(found.tag)):
            here.images.load(tagged.save(named=True))
    finally:
        there.close()
        here.close()


def _unmount(folder: Path) -> None:
    """What a killed daemon has left mounted goes too; a mount lets go a moment after its last user."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    deadline = time.monotonic() + _PATIENCE_S
    for mount in sorted((each for each in mounts if each.startswith(str(folder))), reverse=True):
        while subprocess.run(("/usr/bin/umount", mount), check=False, capture_output=True).returncode:
            assert time.monotonic() < deadline, mount
            time.sleep(0.1)

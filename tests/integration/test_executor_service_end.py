"""The executor service's end: asked for, by force, and what the next one does about that."""

import asyncio
import contextlib
import json
import signal
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from executors.sandbox.process.jail import cgroup
from tests.support.executor_service import (
    TOKEN,
    ExecutorService,
    batch_of,
    executor_service,
    groups_of,
    seen_at_work,
    seen_gone,
    sleeper,
)
from tests.support.programs import processes_with
from tests.support.waiting import eventually


def test_at_sigterm_it_finishes_what_it_has_and_leaves_nothing() -> None:
    marker = f"drain-{uuid.uuid4()}"
    with executor_service(slots="1", drain_s="60") as draining, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(draining.execute, marker, f"exec -a {marker} sleep 5")
        seen_at_work(marker)
        below = draining.descendants()
        assert draining.stop() == 0
        assert asked.result(30).json()["outcome"] == "ok"
        assert not any(process.is_running() for process in below)
        assert groups_of(draining.process.pid) == []
        assert draining.process.stderr.read() == ""


def test_while_it_drains_nothing_new_is_taken_and_what_runs_may_end() -> None:
    marker = f"drains-{uuid.uuid4()}"
    with executor_service(slots="1", drain_s="60") as draining, ThreadPoolExecutor(2) as callers:
        asked = callers.submit(draining.sleep, marker)
        seen_at_work(marker)
        begin_drain(draining)
        for refused in (draining.execute("new", ":"), draining.batch("new", [":"])):
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "60")
        with also_waiting_for(draining, marker) as joined:
            processes_with(marker)[0].kill()
            answers = [asked.result(30).json(), json.loads(joined.getresponse().read())]
        assert [each["outcome"] for each in answers] == ["signalled"] * 2
        assert draining.process.wait(30) == 0
        assert groups_of(draining.process.pid) == []


@contextlib.contextmanager
def also_waiting_for(service: ExecutorService, run_id: str) -> Iterator[HTTPConnection]:
    """Another caller who has asked for a run under way, and of whom the service knows."""
    order = json.dumps({"id": run_id, "language": "bash", "code": ":"})
    with contextlib.closing(HTTPConnection("127.0.0.1", service.port, timeout=60)) as caller:
        caller.request("POST", "/execute", order, {"Authorization": f"Bearer {TOKEN}"})
        for _ in range(2):  # it takes a connection in first, and reads from it the next time round
            service.health()
        yield caller


def begin_drain(service: ExecutorService) -> None:
    service.process.send_signal(signal.SIGTERM)
    asyncio.run(eventually(lambda: service.health()["draining"]))
    assert service.health()["status"] == "draining"


@pytest.mark.parametrize("signals", [1, 2])
def test_what_does_not_end_in_time_or_at_a_second_sigterm_is_ended(signals: int) -> None:
    running, waiting = f"running-{uuid.uuid4()}", f"waiting-{uuid.uuid4()}"
    drain_s = "5" if signals == 1 else "600"
    with executor_service(slots="1", drain_s=drain_s) as draining, ThreadPoolExecutor(2) as callers:
        asked = [callers.submit(draining.sleep, running)]
        seen_at_work(running)
        asked.append(callers.submit(draining.sleep, waiting))
        asyncio.run(eventually(lambda: draining.health()["queue"]["waiting"] == 1))
        below = draining.descendants()
        begin_drain(draining)
        if signals == 2:
            draining.process.send_signal(signal.SIGTERM)
        for answer in (each.result(60) for each in asked):
            assert answer.status_code == 503
            assert "the program is not to blame" in answer.json()["detail"]
        assert draining.process.wait(60) == 0
        assert not any(process.is_running() for process in below)
        assert groups_of(draining.process.pid) == []


def test_a_stream_that_does_not_end_in_time_ends_with_a_problem() -> None:
    marker = f"stream-{uuid.uuid4()}"
    with (
        executor_service(slots="1", drain_s="0.5") as draining,
        draining.stream(batch_of("stream", ["echo first", sleeper(marker), ":"])) as answer,
    ):
        seen_at_work(marker)
        draining.process.send_signal(signal.SIGTERM)
        first, last = map(json.loads, answer.iter_lines())
        assert (first["outcome"], last["status"]) == ("ok", 503)
        assert draining.process.wait(60) == 0
    assert processes_with(marker) == []


def test_a_run_nobody_waits_for_any_more_does_not_hold_up_the_end() -> None:
    marker = f"abandoned-{uuid.uuid4()}"
    body = json.dumps({"id": "a", "language": "bash", "code": sleeper(marker), "limits": {"wall_s": 300}})
    with executor_service(slots="1", drain_s="600") as draining:
        with socket.create_connection(("127.0.0.1", draining.port)) as caller:
            head = ("POST /execute HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}")
            caller.sendall("\r\n".join((*head, f"Content-Length: {len(body)}", "", body)).encode())
            seen_at_work(marker)
        assert draining.stop() == 0
    assert processes_with(marker) == []


def test_sigterm_while_it_starts_ends_it_in_order() -> None:
    starting = ExecutorService(slots="2")
    asyncio.run(eventually(lambda: bool(starting.descendants())))
    assert starting.stop() == 0
    starting.http.close()
    starting.process.close()
    assert groups_of(starting.process.pid) == []


def test_killing_it_leaves_no_slot_no_cell_and_no_program() -> None:
    marker = f"orphan-{uuid.uuid4()}"
    with executor_service(slots="2") as killed, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(killed.sleep, marker)
        seen_at_work(marker)
        below = killed.descendants()
        assert len(below) >= 4
        killed.stop(signal.SIGKILL)
        asyncio.run(eventually(lambda: not any(is_alive(process) for process in below)))
        assert processes_with(marker) == []
        assert asked.exception(30) is not None


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_next_service_removes_the_control_groups_of_a_killed_one_and_no_others() -> None:
    with executor_service(slots="1") as living, foreign_groups() as foreign:
        with executor_service(slots="1") as killed, ThreadPoolExecutor(1) as caller:
            marker = f"killed-{uuid.uuid4()}"
            asked = caller.submit(killed.sleep, marker)
            seen_at_work(marker)
            killed.stop(signal.SIGKILL)
            assert asked.exception(30) is not None
            seen_gone(marker)
            left, kept = groups_of(killed.process.pid), groups_of(living.process.pid)
        with executor_service(slots="1"):
            assert groups_of(killed.process.pid) == []
            assert groups_of(living.process.pid) == kept
            assert all(group.is_dir() for group in foreign)
        assert living.execute("still-there", "echo now").json()["outcome"] == "ok"
    assert (left and kept) or not cgroup.available()


@contextlib.contextmanager
def foreign_groups() -> Iterator[list[Path]]:
    """Control groups beside those of executors, where such can be made."""
    parents = cgroup.parents() if cgroup.available() else ()
    groups = [Path(parent).parent / f"foreign-{uuid.uuid4()}" for parent in parents]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        for group in groups:
            group.rmdir()

"""The executor service as callers meet it: its HTTP, its start, its end."""

import asyncio
import base64
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import psutil
import pytest

from executors.sandbox.process.jail import cgroup
from executors.service.app import MAX_BODY_BYTES
from tests.support.executor_service import TOKEN, ExecutorService, executor_service, spawn
from tests.support.programs import processes_with
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    with executor_service(slots="2", queue_limit="2") as ready:
        yield ready


def sleep(service: ExecutorService, marker: str) -> httpx.Response:
    """A run that lasts until it is ended; its process is known by ``marker``."""
    return service.execute(marker, f"echo on; exec -a {marker} sleep 300", limits={"wall_s": 300})


def wait_for(condition: Callable[[], bool]) -> None:
    asyncio.run(eventually(condition))


def seen_at_work(marker: str) -> None:
    wait_for(lambda: bool(processes_with(marker)))


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/execute"), ("GET", "/languages"), ("DELETE", "/executions/a")]
)
def test_nobody_gets_in_without_the_token(
    service: ExecutorService, method: str, path: str, authorization: str
) -> None:
    answer = service.http.request(method, path, headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"


def test_its_health_can_be_asked_by_anyone(service: ExecutorService) -> None:
    answer = service.http.get("/health", headers={"Authorization": ""}).json()
    assert (answer["status"], answer["name"]) == ("ok", "under-test")
    assert answer["isolation_level"].startswith("namespaces+")
    assert {"python", "bash"} <= set(answer["languages"])


def test_it_names_the_languages_that_work_here_with_their_versions(service: ExecutorService) -> None:
    languages = service.http.get("/languages").json()
    assert {"python", "bash"} <= set(languages)
    assert all(version[0].isdigit() for version in languages.values()), languages


def test_a_run_comes_back_as_an_observation(service: ExecutorService) -> None:
    answer = service.execute("ok", "cat; echo -n err >&2; exit 3", stdin="ein ü\n")
    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["outcome"], seen["exit_code"], seen["signal"]) == ("nonzero_exit", 3, None)
    assert base64.b64decode(seen["stdout_b64"]).decode() == "ein ü\n"
    assert base64.b64decode(seen["stderr_b64"]) == b"err"
    assert seen["executor"] == "under-test"


def test_every_language_it_names_runs(service: ExecutorService) -> None:
    hello = {
        "python": "print('hello')",
        "bash": "echo hello",
        "javascript": "console.log('hello')",
        "c": '#include <stdio.h>\nint main(void) { puts("hello"); }',
        "cpp": '#include <iostream>\nint main() { std::cout << "hello\\n"; }',
        "java": 'public class Main { public static void main(String[] a) { System.out.println("hello"); } }',
    }
    roomy = {"memory_mb": 1024, "processes": 256, "wall_s": 60, "cpu_s": 30}
    for language in service.http.get("/languages").json():
        seen = service.execute(f"hello-{language}", hello[language], language, limits=roomy).json()
        assert (language, seen["outcome"], seen["stdout_b64"]) == (language, "ok", "aGVsbG8K")


def test_a_language_nobody_runs_is_rejected(service: ExecutorService) -> None:
    seen = service.execute("cobol", "", "cobol").json()
    assert seen["outcome"] == "rejected"
    assert "python" in seen["detail"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"[]", "body"),
        (b'{"id": "a", "language": "bash"}', "code"),
        (b'{"id": "a", "language": "bash", "code": 1}', "code"),
        (b'{"id": "a", "language": "bash", "code": "", "limits": {"wall_s": 1e9}}', "limits.wall_s"),
        (b'{"id": "a", "language": "bash", "code": "", "surprise": 1}', "surprise"),
        (b'{"id": "a", "language": "bash", "code": "\\ud800"}', "body"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_the_key(
    service: ExecutorService, body: bytes, named: str
) -> None:
    answer = service.http.post("/execute", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(named)


def test_a_body_past_the_limit_is_refused(service: ExecutorService) -> None:
    answer = service.http.post("/execute", content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert str(MAX_BODY_BYTES) in answer.json()["detail"]


def test_a_program_of_five_megabytes_runs(service: ExecutorService) -> None:
    seen = service.execute("large", "#" * (5 << 20) + "\necho ran").json()
    assert base64.b64decode(seen["stdout_b64"]) == b"ran\n"


def test_the_same_id_joins_the_run_under_way_and_gets_the_kept_answer(service: ExecutorService) -> None:
    code = "cat /proc/sys/kernel/random/uuid 2>/dev/null; date +%N; sleep 0.3"
    with ThreadPoolExecutor(3) as callers:
        answers = {each.content for each in callers.map(lambda _: service.execute("twice", code), range(3))}
    answers.add(service.execute("twice", code).content)
    assert len(answers) == 1
    assert service.execute("another", code).content not in answers


def test_deleting_ends_a_run(service: ExecutorService) -> None:
    marker = f"cancel-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(sleep, service, marker)
        seen_at_work(marker)
        assert service.http.delete(f"/executions/{marker}").status_code == 202
        seen = asked.result(30).json()
    assert (seen["outcome"], base64.b64decode(seen["stdout_b64"])) == ("cancelled", b"on\n")
    assert processes_with(marker) == []
    assert service.http.delete(f"/executions/{marker}").status_code == 404


def test_a_run_goes_on_when_its_caller_hangs_up(service: ExecutorService) -> None:
    marker = f"hangs-up-{uuid.uuid4()}"
    body = b'{"id": "%s", "language": "bash", "code": "exec -a %s sleep 1"}' % ((marker.encode(),) * 2)
    with socket.create_connection(("127.0.0.1", service.port)) as caller:
        head = ("POST /execute HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}")
        caller.sendall("\r\n".join((*head, f"Content-Length: {len(body)}", "", "")).encode() + body)
        seen_at_work(marker)
    assert service.execute(marker, "echo not run").json()["stdout_b64"] == ""


def test_a_lost_slot_is_answered_so_that_callers_ask_again(service: ExecutorService) -> None:
    marker = f"lost-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(sleep, service, marker)
        seen_at_work(marker)
        slot = processes_with(marker)[0].parents()[1]
        slot.kill()
        answer = asked.result(30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert service.execute(marker, "echo now").json()["stdout_b64"] == "bm93Cg=="


def test_past_the_queue_callers_are_asked_to_come_again(service: ExecutorService) -> None:
    markers = [f"queue-{uuid.uuid4()}" for _ in range(5)]  # one more than run and wait here
    with ThreadPoolExecutor(5) as callers:
        asked = {callers.submit(sleep, service, marker): marker for marker in markers}
        refused = next(as_completed(asked, timeout=30))
        assert (refused.result().status_code, refused.result().headers["retry-after"]) == (429, "1")
        del asked[refused]
        for marker in asked.values():
            assert service.http.delete(f"/executions/{marker}").status_code == 202
        assert {each.result(30).json()["outcome"] for each in asked} == {"cancelled"}
    assert service.execute("one-more", "echo now").status_code == 200


def groups_of(pid: int) -> list[str]:
    """The control groups that a service has made."""
    folders = cgroup.mounted_controllers().values()
    return [group.name for folder in folders for group in Path(folder, "crucible").glob(f"{pid}-*")]


def test_at_sigterm_it_finishes_what_it_has_and_leaves_nothing() -> None:
    marker = f"drain-{uuid.uuid4()}"
    with executor_service(slots="1") as draining, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(draining.execute, marker, f"exec -a {marker} sleep 0.5")
        seen_at_work(marker)
        below = draining.descendants()
        assert draining.stop() == 0
        assert asked.result(30).json()["outcome"] == "ok"
        assert not any(process.is_running() for process in below)
        assert groups_of(draining.process.pid) == []
        assert draining.process.stderr is not None
        assert draining.process.stderr.read() == ""


def test_sigterm_while_it_starts_ends_it_in_order() -> None:
    starting = ExecutorService(slots="2")
    wait_for(lambda: bool(starting.descendants()))
    assert starting.stop() == 0
    starting.http.close()
    starting.process.communicate()
    assert groups_of(starting.process.pid) == []


def test_killing_it_leaves_no_slot_no_cell_and_no_program() -> None:
    marker = f"orphan-{uuid.uuid4()}"
    with executor_service(slots="2") as killed, ThreadPoolExecutor(1) as caller:
        asked = caller.submit(sleep, killed, marker)
        seen_at_work(marker)
        below = killed.descendants()
        assert len(below) >= 4
        killed.stop(signal.SIGKILL)
        wait_for(lambda: not any(is_alive(process) for process in below))
        assert processes_with(marker) == []
        assert asked.exception(30) is not None


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_next_service_removes_the_control_groups_of_a_killed_one() -> None:
    with executor_service(slots="1") as killed:
        killed.stop(signal.SIGKILL)
        left = groups_of(killed.process.pid)
    with executor_service(slots="1"):
        assert groups_of(killed.process.pid) == []
    assert left or not cgroup.available()


def test_two_services_do_not_disturb_each_other(service: ExecutorService) -> None:
    marker = f"neighbour-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(sleep, service, marker)
        seen_at_work(marker)
        with executor_service(slots="1", name="neighbour") as neighbour:
            assert neighbour.execute("a", "echo b").json()["executor"] == "neighbour"
            assert neighbour.http.delete(f"/executions/{marker}").status_code == 404
            assert neighbour.stop() == 0
        assert len(processes_with(marker)) == 1
        service.http.delete(f"/executions/{marker}")
        assert asked.result(30).json()["outcome"] == "cancelled"


def refusal(**settings: str) -> tuple[int, list[str]]:
    """Exit code and lines on standard error of a service that does not start."""
    environment = os.environ | {
        f"CRUCIBLE_EXECUTOR_{name.upper()}": value for name, value in settings.items()
    }
    process = spawn(environment)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr.splitlines()


def test_without_a_token_it_does_not_start() -> None:
    code, (line,) = refusal(token="")
    assert code == 2
    assert "CRUCIBLE_EXECUTOR_TOKEN" in line


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, (line,) = refusal(token=TOKEN, port=str(port))
    assert code == 2
    assert f"127.0.0.1:{port}" in line
    assert "CRUCIBLE_EXECUTOR_PORT" in line


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"slots": "0"}, 2, "CRUCIBLE_EXECUTOR_SLOTS"),
        ({"host": "256.256.256.256"}, 2, "CRUCIBLE_EXECUTOR_HOST"),
        ({"python": "/nowhere/python"}, 2, "CRUCIBLE_EXECUTOR_PYTHON"),
        ({"sandbox": "none"}, 4, "process"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line(
    settings: dict[str, str], code: int, named: str
) -> None:
    ended, (line,) = refusal(token=TOKEN, port="0", **settings)
    assert ended == code
    assert named in line

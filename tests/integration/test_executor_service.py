"""The executor service as callers meet it: its HTTP, single runs and their ids."""

import base64
import json
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from executors.languages import LANGUAGES
from executors.service.orders import MAX_BODY_BYTES
from tests.support.executor_service import (
    TOKEN,
    ExecutorService,
    executor_service,
    kill_slot_of,
    seen_at_work,
    sleeper,
)
from tests.support.programs import processes_with


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    with executor_service(slots="2", queue_limit="2") as ready:
        yield ready


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
    assert (answer["environment"]["TZ"], answer["environment"]["PYTHONHASHSEED"]) == ("UTC", "0")
    assert answer["draining"] is False
    assert answer["queue"] == {"slots": 2, "running": 0, "waiting": 0, "orders": 0, "limit": 4}


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
    roomy = {"memory_mb": 1024, "processes": 256, "wall_s": 60, "cpu_s": 30}
    for language in service.http.get("/languages").json():
        seen = service.execute(f"hello-{language}", LANGUAGES[language].hello, language, limits=roomy).json()
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


def test_a_run_goes_on_when_its_caller_hangs_up(service: ExecutorService) -> None:
    marker = f"hangs-up-{uuid.uuid4()}"
    body = json.dumps({"id": marker, "language": "bash", "code": sleeper(marker), "limits": {"wall_s": 300}})
    with socket.create_connection(("127.0.0.1", service.port)) as caller:
        head = ("POST /execute HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}")
        caller.sendall("\r\n".join((*head, f"Content-Length: {len(body)}", "", body)).encode())
        seen_at_work(marker)
    service.health()  # by its answer the service knows that nobody listens any more
    with ThreadPoolExecutor(1) as callers:
        joined = callers.submit(service.execute, marker, "echo not run")
        processes_with(marker)[0].kill()
        seen = joined.result(30).json()
    assert (seen["outcome"], seen["stdout_b64"]) == ("signalled", "")


def test_a_lost_slot_is_answered_so_that_callers_ask_again(service: ExecutorService) -> None:
    marker = f"lost-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.sleep, marker)
        seen_at_work(marker)
        kill_slot_of(marker)
        answer = asked.result(30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "the program is not to blame: the slot was lost" in answer.json()["detail"]
    assert service.execute(marker, "echo now").json()["stdout_b64"] == "bm93Cg=="


def test_two_services_do_not_disturb_each_other(service: ExecutorService) -> None:
    marker = f"neighbour-{uuid.uuid4()}"
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(service.sleep, marker)
        seen_at_work(marker)
        with executor_service(slots="1", name="neighbour") as neighbour:
            assert neighbour.execute("a", "echo b").json()["executor"] == "neighbour"
            assert neighbour.http.delete(f"/executions/{marker}").status_code == 404
            assert neighbour.stop() == 0
        assert len(processes_with(marker)) == 1
        service.http.delete(f"/executions/{marker}")
        assert asked.result(30).json()["outcome"] == "cancelled"

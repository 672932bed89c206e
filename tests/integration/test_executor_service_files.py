"""Files beside a program, and the tricks that their names are not to play."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from executors.service.orders import MAX_FILES, MAX_FILES_BYTES
from tests.support.executor_service import ExecutorService, batch_of, executor_service

TRICKS = [
    "",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/..",
    "/etc/passwd",
    "//x",
    "a//b",
    "a/",
    "./a",
    "a\0b",
    "a\nb",
    "a\x1bb",
    "x" * 300,
    "ü" * 101,
    "/".join("x" * 150),
]


@pytest.fixture(scope="module")
def service() -> Iterator[ExecutorService]:
    with executor_service(slots="1") as ready:
        yield ready


def with_files(service: ExecutorService, files: object, **more: Any) -> httpx.Response:
    order = {"id": "files", "language": "bash", "code": ":", "files": files}
    return service.http.post("/execute", json=order | more)


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_files_lie_beside_the_program_byte_for_byte(service: ExecutorService) -> None:
    content = bytes(range(256))
    files = {"data.bin": in_base64(content), "deep/er/ü.txt": in_base64(b"text"), "empty": ""}
    code = "cat data.bin deep/er/*.txt empty; stat -c %s empty"
    seen = service.execute("beside", code, files=files).json()
    assert base64.b64decode(seen["stdout_b64"]) == content + b"text0\n"


def test_files_are_there_anew_for_every_case(service: ExecutorService) -> None:
    files = {"data": in_base64(b"as sent\n")}
    answer = service.batch("anew", ["cat data; echo changed > data"] * 3, files=files).json()
    assert [base64.b64decode(seen["stdout_b64"]) for seen in answer["observations"]] == [b"as sent\n"] * 3


def test_a_compiler_finds_the_files_and_the_program_as_well(service: ExecutorService) -> None:
    files = {"answer.h": in_base64(b"#define ANSWER 42\n")}
    code = (
        '#include <stdio.h>\n#include "answer.h"\n'
        'int main() { printf("%d %d", ANSWER, !!fopen("answer.h", "r")); }'
    )
    seen = service.execute("header", code, "c", files=files).json()
    assert base64.b64decode(seen["stdout_b64"]) == b"42 1"


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_that_leads_elsewhere_is_refused(service: ExecutorService, name: str) -> None:
    single = with_files(service, {"fine": "", name: ""})
    batch = service.http.post("/execute", json=batch_of("files", [":"], files={name: ""}))
    for answer in (single, batch):
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"].startswith("files: file name")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.sh": ""}, "the program's own file"),
        ({"main.sh/x": ""}, "which is a file itself"),
        ({"a": "", "a/b": ""}, "which is a file itself"),
        ({"a": "?"}, "'a' is not base64"),
        ({"a": "YQ"}, "'a' is not base64"),
        ({"a": "Y Q=="}, "'a' is not base64"),
        ({"a": 1}, "'a' must be text in base64"),
        (["a"], "must be an object"),
        (None, "must be an object"),
        ({f"f{n}": "" for n in range(MAX_FILES + 1)}, str(MAX_FILES)),
        ({"a": in_base64(bytes(MAX_FILES_BYTES)), "b": in_base64(b"x")}, str(MAX_FILES_BYTES)),
    ],
)
def test_files_that_do_not_fit_are_refused_with_the_reason(
    service: ExecutorService, files: object, said: str
) -> None:
    answer = with_files(service, files)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("files: ")
    assert said in answer.json()["detail"]


def test_as_many_bytes_as_are_allowed_arrive(service: ExecutorService) -> None:
    seen = service.execute("most", "stat -c %s a", files={"a": in_base64(bytes(MAX_FILES_BYTES))}).json()
    assert base64.b64decode(seen["stdout_b64"]) == b"%d\n" % MAX_FILES_BYTES

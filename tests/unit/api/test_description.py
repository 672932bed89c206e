"""The description of the API holds: whatever is sent, what comes back is in it, and its examples run."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crucible.models.access import Scope
from tests.support.api import KEY, Api
from tests.support.serving import served

_ENDLESS = "/events"
"""A stream without end: a tool that reads answers would wait for ever."""
_ELSEWHERE = "POST /sweeps"
"""What it accepts is for the Prefect server, which is not here."""
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,"
    "allow_header_conformance,ensure_resource_availability,ignored_auth"
)
_CONFIG = """
[[operations]]
include-path = "/ready"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 503]
"""


async def explore(url: str, key: str, folder: Path, *more: str) -> str:
    """What schemathesis says of the API at ``url``; fails with it when it is not content."""
    config = folder / "schemathesis.toml"
    config.write_text(_CONFIG)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
        *(str(folder / "openapi.json"), "--url", url, "--header", f"Authorization: Bearer {key}"),
        *("--checks", _CHECKS, "--seed", "1", "--generation-database", "none", "--continue-on-failure"),
        *("--no-color", "--request-timeout", "60", *more),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said[-8000:]
    return said


async def write_description(api: Api, folder: Path) -> dict[str, Any]:
    response = await api.client.get("/openapi.json")
    (folder / "openapi.json").write_bytes(response.content)
    document: dict[str, Any] = response.json()
    return document


async def test_whatever_is_sent_the_answer_is_in_the_description(api: Api, tmp_path: Path) -> None:
    _, text = await api.new_key(Scope.ADMIN)
    await write_description(api, tmp_path)
    phases = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "5")
    async with served(api.app) as url:
        said = await explore(
            url, text, tmp_path, *phases, "--exclude-path", _ENDLESS, "--exclude-name", _ELSEWHERE
        )
    assert "No issues found" in said or "passed" in said


@pytest.mark.parametrize("which", [("--include-path", _ENDLESS), ("--include-name", _ELSEWHERE)])
async def test_what_does_not_fit_is_refused_as_described(
    api: Api, tmp_path: Path, which: tuple[str, str]
) -> None:
    _, text = await api.new_key(Scope.ADMIN)
    await write_description(api, tmp_path)
    async with served(api.app) as url:
        await explore(
            *(url, text, tmp_path, *which),
            *("--mode", "negative", "--phases", "fuzzing", "--max-examples", "10"),
        )


async def test_so_it_is_for_those_whose_key_is_wrong(api: Api, tmp_path: Path) -> None:
    await write_description(api, tmp_path)
    async with served(api.app) as url:
        await explore(
            *(url, "a-guess", tmp_path, "--phases", "fuzzing"),
            *("--mode", "positive", "--max-examples", "3"),
        )


async def test_each_endpoint_is_told_in_full(api: Api, tmp_path: Path) -> None:
    document = await write_description(api, tmp_path)
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                [(media_type, content)] = response["content"].items()
                assert media_type == "application/problem+json", (where, status)
                assert content["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
        if not is_open(path):
            assert operation["security"] == [{"key": []}], where
            assert {"401", "403", "422", "429", "503"} <= set(operation["responses"]), where
        if "requestBody" in operation:
            assert {"413", "415", "422"} <= set(operation["responses"]), where
            assert operation["requestBody"]["content"]["application/json"]["examples"], where
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}


async def test_every_example_of_a_body_is_taken(api: Api, tmp_path: Path) -> None:
    document = await write_description(api, tmp_path)
    tried = 0
    for path, method, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if f"{method.upper()} {path}" == _ELSEWHERE:
            continue
        for name, example in content.get("examples", {}).items():
            response = await api.client.request(method, path, json=example["value"])
            assert response.is_success, (name, response.text)
            assert str(response.status_code) in operation["responses"]
            tried += 1
    assert tried >= 4


async def test_strangers_see_no_description(api: Api) -> None:
    assert (await api.stranger.get("/openapi.json")).status_code == 401
    assert KEY not in (await api.client.get("/openapi.json")).text


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def is_open(path: str) -> bool:
    return path == "/health" or path.startswith("/sweeps/{sweep_id}/plots")

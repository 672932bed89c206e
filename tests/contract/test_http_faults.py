"""Servers that are asked over HTTP: one that is away or answers nonsense is unavailable, in one line."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import httpx
import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from crucible.errors import ServiceUnavailable
from flows.flow_runs import prefect_client, prefect_faults, start_parity_sweep
from tasks.http_faults import http_faults
from tests.support.valkey import free_port


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The URL of a server that answers everything with ``status`` and two lines."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"detail":\n "database is locked"}')

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def prefect_at(url: str) -> Iterator[None]:
    """Have Prefect's client ask there, once."""
    with temporary_settings({PREFECT_API_URL: f"{url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


async def ask_prefect() -> None:
    """What the janitor and the others do."""
    async with prefect_client() as client:
        await client.read_flow_run(uuid4())


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503])
async def test_a_prefect_that_serves_nobody_is_unavailable(status: int) -> None:
    with answering(status) as url, prefect_at(url):
        pattern = (
            f"^Prefect's server at {url}/api answers {status} .*database is locked.*; see whether it runs"
        )
        with pytest.raises(ServiceUnavailable, match=pattern) as caught:
            await ask_prefect()
        assert "\n" not in str(caught.value)
        with pytest.raises(ServiceUnavailable, match=pattern):
            await start_parity_sweep("sw-1", {})


async def test_a_prefect_that_is_away_is_unavailable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        prefect_at(url),
        pytest.raises(ServiceUnavailable, match=f"at {url}/api does not answer: .*CRUCIBLE_PREFECT"),
    ):
        await ask_prefect()


async def test_what_prefect_refuses_for_good_is_for_the_caller() -> None:
    with answering(404) as url, prefect_at(url), pytest.raises(ObjectNotFound):
        await ask_prefect()
    with answering(422) as url, prefect_at(url), pytest.raises(PrefectHTTPStatusError):
        await ask_prefect()


def test_faults_within_groups_are_ours_as_well() -> None:
    with pytest.raises(ExceptionGroup) as caught, prefect_faults():
        raise ExceptionGroup("legs", [httpx.ReadTimeout(""), ValueError("another")])
    away, other = caught.value.exceptions
    assert isinstance(away, ServiceUnavailable)
    assert isinstance(other, ValueError)


def test_other_servers_are_named_as_their_callers_call_them() -> None:
    def ask(url: str) -> None:
        with http_faults("the API", "see its log"):
            httpx.get(url, trust_env=False).raise_for_status()

    with pytest.raises(ServiceUnavailable, match=r"^the API does not answer: .*; see its log$"):
        ask(f"http://127.0.0.1:{free_port()}")
    with answering(500) as url, pytest.raises(ServiceUnavailable, match=r"^the API answers 500 .*database"):
        ask(url)

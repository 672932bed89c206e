"""A Prefect server as a stack runs it, in a folder of its own, for tests that need no more of a stack."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from deployments.stack.environment import prefect_folder, prefect_server_environment
from tests.support.command_line import ROOT
from tests.support.valkey import free_port
from tests.support.waiting import patiently


@contextmanager
def prefect_server(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of the API of a server with ``settings``, which answers."""
    port = free_port()
    prefect_folder(folder).mkdir()
    environment = os.environ | prefect_server_environment(folder, port) | settings
    words = [sys.executable, "-m", "deployments.stack.prefect_server"]
    server = subprocess.Popen(words, cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}/prefect/api"
    try:
        patiently(lambda: _answers(url))
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=60, trust_env=False).is_success
    except httpx.TransportError:
        return False

"""The local stack beside which the cluster is laid: the same parts, told the same."""

import os
from pathlib import Path

import pytest

from crucible.settings import Settings
from deployments.stack.home import Home
from deployments.stack.plan import plan_stack
from deployments.stack.service import ServiceSpec

OF_OTHERS = {"HOME", "DO_NOT_TRACK", "FORWARDED_ALLOW_IPS", "CRUCIBLE_SECRETS_DIR"}
"""Variables that are nobody's settings: uvicorn and the gateway's image read the last two."""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ServiceSpec]:
    """The services of the local stack by name, of a user who has set nothing."""
    clean(monkeypatch)
    home = Home.at(tmp_path)
    home.create()
    return {each.name: each for each in plan_stack(Settings(home=tmp_path), home).services}


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes our settings out of the environment."""
    for name in list(filter(ours, os.environ)):
        monkeypatch.delenv(name)


def ours(name: str) -> bool:
    """Whether a variable is one of those that matter here."""
    return name.startswith(("CRUCIBLE_", "PREFECT_")) or name in OF_OTHERS - {"HOME"}

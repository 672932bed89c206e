"""Hooks of pytest-xdist: the tests of a group run in one process; the group of the first test begins first.

xdist's own groups are a part of the tests' ids, which this pytest lets nobody change. So the first process
writes down who belongs where, and whoever hands out the tests reads that.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_KEY = "groups of tests"
_FOLDER = pytest.StashKey[str]()
_FIRST = "gw0"


class Groups(LoadScopeScheduling):
    """Hands out whole groups, one after the other."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # which would take the groups of most tests first

    def _split_scope(self, nodeid: str) -> str:
        return self._groups[nodeid]

    @cached_property
    def _groups(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(_file(self.config.stash[_FOLDER]).read_text())
        return found


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process where to write the groups down."""
    config: pytest.Config = node.config
    if _FOLDER not in config.stash:
        config.stash[_FOLDER] = tempfile.mkdtemp(prefix="crucible-groups-")
        config.add_cleanup(partial(shutil.rmtree, config.stash[_FOLDER]))
    node.workerinput[_KEY] = config.stash[_FOLDER]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Whatever ``--dist`` says."""
    return Groups(config, log)


def write_down(config: pytest.Config, groups: Mapping[str, str]) -> None:
    """Say, if this is the first of several processes, to which group each test belongs."""
    told = getattr(config, "workerinput", {})
    if told.get("workerid") == _FIRST:
        _file(told[_KEY]).write_text(json.dumps(groups))


def _file(folder: str) -> Path:
    return Path(folder) / "groups.json"

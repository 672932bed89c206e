"""The home folder: what it takes, what it refuses, what it keeps secret."""

import stat
from pathlib import Path

import pytest

from crucible.errors import SettingsError
from deployments.stack import read_state
from deployments.stack.home import Home, HomeLock, credentials_of, is_held


def made(folder: Path) -> Home:
    home = Home.at(folder)
    home.create()
    return home


def test_a_home_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match=r"^CRUCIBLE_HOME='.*file' cannot be used: it is no folder; .*$"):
        Home.at(file).create()


@pytest.mark.parametrize("folder", ["/proc/home", "/dev/null/home"])
def test_a_home_that_cannot_be_written_is_refused(folder: str) -> None:
    with pytest.raises(SettingsError, match=f"CRUCIBLE_HOME='{folder}'"):
        Home.at(Path(folder)).create()


def test_secrets_are_made_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    home = made(tmp_path / "home")
    first = credentials_of(home)
    assert credentials_of(home) == first
    assert len({first.executor_token, first.api_key, first.redis_password}) == 3
    assert stat.S_IMODE(home.secrets.stat().st_mode) == 0o600


def test_damaged_secrets_are_reported_with_the_remedy(tmp_path: Path) -> None:
    home = made(tmp_path)
    home.secrets.write_text("{")
    with pytest.raises(SettingsError, match=r"secrets\.json .* delete it"):
        credentials_of(home)


def test_the_lock_lets_one_in_and_the_next_after_its_release(tmp_path: Path) -> None:
    home = made(tmp_path)
    first, second = HomeLock(home), HomeLock(home)
    assert first.acquire()
    assert is_held(home)
    assert not second.acquire()
    first.release()
    assert not is_held(home)
    assert second.acquire()
    second.release()


def test_what_a_dead_stack_left_is_no_state(tmp_path: Path) -> None:
    home = made(tmp_path)
    home.state.write_text("{}")
    assert read_state(tmp_path) is None
    lock = HomeLock(home)
    assert lock.acquire()
    assert not home.state.exists()
    lock.release()


def test_looking_for_a_state_creates_nothing(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()

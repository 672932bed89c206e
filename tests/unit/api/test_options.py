"""What the API takes from its environment, and how it says what is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from api.options import options_from_environment
from crucible.errors import SettingsError
from flows.host import Endpoints

WHOLE = {
    "CRUCIBLE_API_PORT": "8200",
    "CRUCIBLE_API_KEY": "key",
    "CRUCIBLE_DATABASE_URL": "sqlite:////store",
    "CRUCIBLE_REDIS_URL": "redis://one",
    "CRUCIBLE_CELERY_REDIS_URL": "redis://two",
    "CRUCIBLE_PREFECT_API_URL": "http://prefect/api/",
    "CRUCIBLE_EXECUTOR_1_URL": "http://one",
    "CRUCIBLE_EXECUTOR_2_URL": "http://two",
    "CRUCIBLE_EXECUTOR_3_URL": "http://three",
    "CRUCIBLE_EXECUTOR_TOKEN": "token",
}


@pytest.fixture(autouse=True)
def whole_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything is set."""
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_API_URL: "http://prefect/api"}):
        yield


def test_everything_is_taken_from_the_environment() -> None:
    options = options_from_environment()
    assert (options.host, options.port, options.key.get_secret_value()) == ("127.0.0.1", 8200, "key")
    executor_urls = ("http://one", "http://two", "http://three")
    assert options.endpoints == Endpoints(
        "sqlite:////store", "redis://one", "redis://two", executor_urls, "token"
    )
    assert (options.prefect_api_url, options.prefect_url) == ("http://prefect/api", "http://prefect")


def test_links_go_where_browsers_reach_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_PREFECT_URL", "https://crucible.example/prefect/")
    assert options_from_environment().prefect_url == "https://crucible.example/prefect"


def test_what_is_in_no_variable_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CRUCIBLE_API_KEY", "CRUCIBLE_EXECUTOR_TOKEN"):
        monkeypatch.delenv(name)
        (tmp_path / name.lower()).write_text(f"{name} from a file\n")
    (tmp_path / "crucible_redis_url").write_text("redis://from-a-file")
    monkeypatch.setenv("CRUCIBLE_SECRETS_DIR", str(tmp_path))
    options = options_from_environment()
    assert options.key.get_secret_value() == "CRUCIBLE_API_KEY from a file"
    assert options.endpoints.executor_token == "CRUCIBLE_EXECUTOR_TOKEN from a file"
    assert options.endpoints.redis_url == "redis://one"


def test_a_folder_of_secrets_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CRUCIBLE_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"^CRUCIBLE_SECRETS_DIR='.*none': is no folder"):
        options_from_environment()


@pytest.mark.parametrize("name", sorted(set(WHOLE) - {"CRUCIBLE_API_PORT"}))
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_or_empty_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        options_from_environment()


def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_API_PORT", "many")
    with pytest.raises(SettingsError, match=r"^CRUCIBLE_API_PORT='many'"):
        options_from_environment()


def test_flows_must_not_go_to_another_prefect_than_the_one_that_is_watched() -> None:
    with temporary_settings({PREFECT_API_URL: "http://elsewhere/api"}), pytest.raises(SettingsError):
        options_from_environment()


def test_the_secrets_do_not_show() -> None:
    shown = repr(options_from_environment())
    assert "'key'" not in shown
    assert "'token'" not in shown

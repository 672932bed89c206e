"""Looks at every setting before anything is started: a wrong one is then told at once, and by its name."""

from pydantic_settings import BaseSettings

from crucible import settings as of_parts
from crucible.errors import SettingsError
from crucible.settings import ExecutorSettings, Settings, load
from crucible.store.database import parse
from crucible.telemetry import settings as of_telemetry
from deployments.stack.parts import EXECUTORS, without_password

_KINDS = [
    kind
    for module in (of_parts, of_telemetry)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind not in (BaseSettings, Settings)
]
_REDIS_URLS = ("redis://", "rediss://", "unix://")
_HTTP_URLS = ("http://", "https://")


def check_settings(settings: Settings) -> None:
    """Raises ``SettingsError`` naming the variable of the first setting that some service would refuse."""
    for kind in _KINDS:
        load(kind)
    for number in range(1, len(EXECUTORS) + 1):
        load(ExecutorSettings, f"CRUCIBLE_EXECUTOR_{number}_")
    if settings.database_url:
        parse(settings.database_url)
    for name in ("redis_url", "celery_redis_url"):
        _check_url(name, getattr(settings, name), _REDIS_URLS)
    executors = (f"executor_{number}_url" for number in range(1, len(EXECUTORS) + 1))
    for name in ("prefect_api_url", "prefect_url", "gateway_url", *executors):
        _check_url(name, getattr(settings, name), _HTTP_URLS)


def _check_url(name: str, url: str | None, beginnings: tuple[str, ...]) -> None:
    if url and not url.startswith(beginnings):
        shown = without_password(url)
        raise SettingsError(f"CRUCIBLE_{name.upper()}={shown}: must begin with {' or '.join(beginnings)}")

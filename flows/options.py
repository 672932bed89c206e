"""What a process that runs flows is told by its environment."""

from dataclasses import dataclass
from pathlib import Path

from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from crucible.errors import SettingsError
from crucible.settings import Settings
from flows.host import Endpoints


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """Where everything is. ``prefect_url`` and ``api_url`` are for links alone; the latter may be unknown."""

    home: Path
    endpoints: Endpoints
    prefect_api_url: str
    prefect_url: str
    executor_urls: tuple[str, str, str]
    executor_token: SecretStr
    api_url: str | None


def flow_options(settings: Settings) -> FlowOptions:
    """The options of this process. Raises ``SettingsError`` naming what is missing or wrong."""
    executor_urls = (
        needed(settings, "executor_1_url"),
        needed(settings, "executor_2_url"),
        needed(settings, "executor_3_url"),
    )
    token = needed(settings, "executor_token")
    prefect_api_url = _prefect_api_url(settings)
    return FlowOptions(
        home=settings.home,
        endpoints=Endpoints(
            needed(settings, "database_url"),
            needed(settings, "redis_url"),
            needed(settings, "celery_redis_url"),
            executor_urls,
            token,
        ),
        prefect_api_url=prefect_api_url,
        prefect_url=(settings.prefect_url or prefect_api_url.removesuffix("/api")).rstrip("/"),
        executor_urls=executor_urls,
        executor_token=SecretStr(token),
        api_url=settings.api_url.rstrip("/") if settings.api_url else None,
    )


def needed(settings: Settings, name: str) -> str:
    """The setting ``name``; raises ``SettingsError`` with its variable when it is not set."""
    value = getattr(settings, name)
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not plain:
        raise SettingsError(
            f"CRUCIBLE_{name.upper()} is not set; this process needs it (`crucible up` sets it by itself)"
        )
    return str(plain)


def _prefect_api_url(settings: Settings) -> str:
    url = needed(settings, "prefect_api_url").rstrip("/")
    used = (PREFECT_API_URL.value() or "").rstrip("/")
    if used != url:
        # Flows would go to another server than the one that readiness asks and links point to.
        raise SettingsError(
            f"PREFECT_API_URL={used!r} is not CRUCIBLE_PREFECT_API_URL={url!r}; set both to the same server"
        )
    return url

"""What this process is told by its environment."""

from dataclasses import dataclass

from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from crucible.errors import SettingsError
from crucible.settings import Settings, load
from flows.host import Endpoints


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Where everything is, and the key that callers show. ``port`` 0 is a free one."""

    port: int
    key: SecretStr
    endpoints: Endpoints
    prefect_api_url: str
    executor_urls: tuple[str, str, str]
    executor_token: SecretStr


def options_from_environment() -> ApiOptions:
    """The options of this process. Raises ``SettingsError`` naming what is missing or wrong."""
    settings = load(Settings)
    return ApiOptions(
        port=settings.api_port,
        key=SecretStr(_needed(settings, "api_key")),
        endpoints=Endpoints(
            _needed(settings, "database_url"),
            _needed(settings, "redis_url"),
            _needed(settings, "celery_redis_url"),
        ),
        prefect_api_url=_prefect_api_url(settings),
        executor_urls=(
            _needed(settings, "executor_1_url"),
            _needed(settings, "executor_2_url"),
            _needed(settings, "executor_3_url"),
        ),
        executor_token=SecretStr(_needed(settings, "executor_token")),
    )


def _needed(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not plain:
        raise SettingsError(
            f"CRUCIBLE_{name.upper()} is not set; the API needs it (`crucible up` sets it by itself)"
        )
    return str(plain)


def _prefect_api_url(settings: Settings) -> str:
    url = _needed(settings, "prefect_api_url").rstrip("/")
    used = (PREFECT_API_URL.value() or "").rstrip("/")
    if used != url:
        # Flows would go to another server than the one that readiness asks and links point to.
        raise SettingsError(
            f"PREFECT_API_URL={used!r} is not CRUCIBLE_PREFECT_API_URL={url!r}; set both to the same server"
        )
    return url

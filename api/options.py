"""What this process is told by its environment."""

from dataclasses import dataclass

from pydantic import SecretStr

from crucible.settings import Settings, load
from flows.host import Endpoints
from flows.process import flow_options, needed


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Where everything is, and the key that callers show. ``port`` 0 is a free one."""

    host: str
    port: int
    key: SecretStr
    endpoints: Endpoints
    prefect_api_url: str
    prefect_url: str
    executor_urls: tuple[str, str, str]
    executor_token: SecretStr
    gateway_url: str | None = None
    with_controller: bool = False
    """Whether this process is also a controller."""


def options_from_environment(*, with_controller: bool = False) -> ApiOptions:
    """The options of this process. Raises ``SettingsError`` naming what is missing or wrong."""
    settings = load(Settings)
    flows = flow_options(settings)
    return ApiOptions(
        host=settings.api_host,
        port=settings.api_port,
        key=SecretStr(needed(settings, "api_key")),
        endpoints=flows.endpoints,
        prefect_api_url=flows.prefect_api_url,
        prefect_url=flows.prefect_url,
        executor_urls=flows.executor_urls,
        executor_token=flows.executor_token,
        gateway_url=settings.gateway_url.rstrip("/") if settings.gateway_url else None,
        with_controller=with_controller,
    )

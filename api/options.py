"""What this process is told by its environment."""

from dataclasses import dataclass, fields

from pydantic import SecretStr

from crucible.settings import Settings, load
from flows.process import FlowOptions, flow_options, needed


@dataclass(frozen=True, slots=True)
class ApiOptions(FlowOptions):
    """Those of flows, and of the server. ``key`` is the one that callers show; ``port`` 0 is a free one."""

    host: str
    port: int
    key: SecretStr
    gateway_url: str | None
    with_controller: bool


def options_from_environment(*, with_controller: bool = False) -> ApiOptions:
    """The options of this process. Raises ``SettingsError`` naming what is missing or wrong."""
    settings = load(Settings)
    flows = flow_options(settings)
    return ApiOptions(
        **{each.name: getattr(flows, each.name) for each in fields(flows)},
        host=settings.api_host,
        port=settings.api_port,
        key=SecretStr(needed(settings, "api_key")),
        gateway_url=settings.gateway_url.rstrip("/") if settings.gateway_url else None,
        with_controller=with_controller,
    )

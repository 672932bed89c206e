"""Where each server of the stack is: where a setting says, or on a port of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass

from crucible.errors import ServiceUnavailable
from crucible.settings import Settings
from deployments.stack.ports import LOOPBACK, choose_ports
from deployments.stack.readiness import fault_of
from deployments.stack.valkey import valkey_url

REDISES = ("redis", "celery-redis")
EXECUTORS = ("executor-1", "executor-2", "executor-3")


@dataclass(frozen=True, slots=True)
class External:
    """A part that a setting names: nobody here starts it. ``probe`` is the URL that shows it is there."""

    name: str
    variable: str
    url: str
    probe: str

    async def check(self) -> None:
        """Raises ``ServiceUnavailable`` with the remedy when it does not answer."""
        fault = await fault_of(self.probe)
        if fault is not None:
            raise ServiceUnavailable(
                f"{self.variable}={without_password(self.url)}: no {self.name} answers there ({fault});"
                f" start it, correct the URL, or unset {self.variable} to have one started here"
            )


@dataclass(frozen=True, slots=True)
class Parts:
    """URLs of all parts by name; ``ports`` has those that are to be started here."""

    urls: Mapping[str, str]
    ports: Mapping[str, int]
    externals: tuple[External, ...]


def find_parts(settings: Settings, redis_password: str) -> Parts:
    """Raises ``SettingsError`` naming the variable when a port that is set cannot be had."""
    wishes = _wishes(settings)
    externals = tuple(
        External(name, _url_variable(name), url, _probe(name, url))
        for name, (url, _) in wishes.items()
        if url
    )
    own = {name: port for name, (url, port) in wishes.items() if not url}
    chosen = choose_ports({f"CRUCIBLE_{_variable(name)}_PORT": port for name, port in own.items()})
    ports = dict(zip(own, chosen.values(), strict=True))
    urls = {name: _own_url(name, port, redis_password) for name, port in ports.items()}
    return Parts({**urls, **{each.name: each.url for each in externals}}, ports, externals)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _wishes(settings: Settings) -> dict[str, tuple[str | None, int]]:
    return {
        "redis": (settings.redis_url, settings.redis_port),
        "celery-redis": (settings.celery_redis_url, settings.celery_redis_port),
        "prefect": (_trimmed(settings.prefect_api_url), settings.prefect_port),
        "executor-1": (_trimmed(settings.executor_1_url), settings.executor_1_port),
        "executor-2": (_trimmed(settings.executor_2_url), settings.executor_2_port),
        "executor-3": (_trimmed(settings.executor_3_url), settings.executor_3_port),
        "api": (None, settings.api_port),
    }


def _url_variable(name: str) -> str:
    return "CRUCIBLE_PREFECT_API_URL" if name == "prefect" else f"CRUCIBLE_{_variable(name)}_URL"


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()


def _trimmed(url: str | None) -> str | None:
    return url.rstrip("/") if url else None


def _probe(name: str, url: str) -> str:
    return url if name in REDISES else f"{url}/health"


def _own_url(name: str, port: int, redis_password: str) -> str:
    if name in REDISES:
        return valkey_url(port, redis_password)
    return f"http://{LOOPBACK}:{port}" + ("/api" if name == "prefect" else "")

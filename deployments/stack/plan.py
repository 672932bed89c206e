"""The stack as a value: which services there are, and the state to begin with."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_settings import BaseSettings

from crucible import settings as of_parts
from crucible.errors import SettingsError
from crucible.settings import ExecutorSettings, Settings, load
from crucible.store.database import parse
from crucible.telemetry import settings as of_telemetry
from deployments.stack.catalogue import Wiring, services_of
from deployments.stack.environment import inherited
from deployments.stack.home import Credentials, Home, ServiceState, ServiceStatus, StackState, credentials_of
from deployments.stack.parts import EXECUTORS, External, find_parts, numbered, without_password, worker_sets
from deployments.stack.servers import find_nginx
from deployments.stack.service import ServiceSpec

_KINDS = [
    kind
    for module in (of_parts, of_telemetry)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind not in (BaseSettings, Settings)
]
_REDIS_URLS = ("redis://", "rediss://", "unix://")
_HTTP_URLS = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that must be there, and the state to begin with."""

    services: tuple[ServiceSpec, ...]
    externals: tuple[External, ...]
    state: StackState


MakePlan = Callable[[Settings, Home], Plan]


def plan_stack(settings: Settings, home: Home) -> Plan:
    """The whole stack for these settings; configuration files in ``home`` are written.

    Raises ``SettingsError`` for a setting that some service would refuse, a port that is taken or secrets
    that cannot be read, ``StackError`` when this machine cannot run a part.
    """
    return _planned(settings, home, passing=False)


def plan_passing_stack(settings: Settings, home: Home) -> Plan:
    """As ``plan_stack``, for one that ends with a command: without what only a lasting one is for."""
    return _planned(settings, home, passing=True)


def _planned(settings: Settings, home: Home, *, passing: bool) -> Plan:
    _check(settings)
    credentials = _own_or_set(settings, credentials_of(home))
    nginx = None if passing else find_nginx()
    parts = find_parts(settings, credentials.redis_password, _lasting_parts(nginx, passing=passing))
    wiring = Wiring(
        home=home,
        urls=parts.urls,
        ports=parts.ports,
        credentials=credentials,
        database_url=settings.database_url or home.database_url,
        inherited=inherited(home, own_prefect="prefect" in parts.ports),
        nginx=nginx,
        sets=worker_sets(settings),
        apis=numbered("api", settings.api_processes),
        flows=numbered("flows", settings.flow_processes),
    )
    services = services_of(wiring, passing=passing)
    statuses = [_status(spec.name, ServiceState.STARTING, spec.url) for spec in services]
    statuses += [
        _status(each.name, ServiceState.EXTERNAL, without_password(each.url)) for each in parts.externals
    ]
    return Plan(services, parts.externals, _first_state(wiring, tuple(statuses)))


def _check(settings: Settings) -> None:
    """Look at every setting before anything is started: a wrong one is told at once, and by its name."""
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


def _lasting_parts(nginx: str | None, *, passing: bool) -> tuple[str, ...]:
    if passing:
        return ()
    return ("flower", "gateway") if nginx else ("flower",)


def _own_or_set(settings: Settings, made: Credentials) -> Credentials:
    token, key = settings.executor_token, settings.api_key
    return Credentials(
        executor_token=token.get_secret_value() if token else made.executor_token,
        api_key=key.get_secret_value() if key else made.api_key,
        redis_password=made.redis_password,
    )


def _first_state(wiring: Wiring, services: tuple[ServiceStatus, ...]) -> StackState:
    urls = wiring.urls
    first, second, third = (urls[name] for name in EXECUTORS)
    return StackState(
        pid=os.getpid(),
        started_at=datetime.now(UTC),
        ephemeral=False,
        gateway_url=wiring.gateway_url,
        api_url=urls["api"],
        prefect_url=urls["prefect"].removesuffix("/api"),
        prefect_api_url=urls["prefect"],
        flower_url=wiring.flower_url,
        redis_url=urls["redis"],
        celery_redis_url=urls["celery-redis"],
        executor_urls=(first, second, third),
        executor_token=wiring.credentials.executor_token,
        api_key=wiring.credentials.api_key,
        database_url=wiring.database_url,
        services=services,
    )


def _status(name: str, state: ServiceState, url: str | None) -> ServiceStatus:
    return ServiceStatus(name=name, state=state, pid=None, url=url)

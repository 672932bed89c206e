"""Which services the stack starts, and what each of them is told."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deployments.stack.credentials import Credentials
from deployments.stack.environment import for_executor
from deployments.stack.gateway import Behind, gateway_service
from deployments.stack.home import Home
from deployments.stack.parts import EXECUTORS, REDISES, WorkerSet
from deployments.stack.ports import LOOPBACK
from deployments.stack.prefect_environment import (
    prefect_client_environment,
    prefect_folder,
    prefect_server_environment,
)
from deployments.stack.readiness import Answers, Prints
from deployments.stack.service import ServiceSpec, Tier
from deployments.stack.valkey import valkey_service

_PASSWORD_BYTES = 24

_WITH_CONTROLLER = "--with-controller"
"""Has a process be a controller as well. One of its own would cost 100 MB, and seconds at the start."""

_WORKERS_NICENESS = 5
_PROGRAMS_NICENESS = 10
"""On one machine what people wait for goes first: what comes in is accepted before more of it is run."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What services must know of each other. ``ports`` has the parts to start here, ``urls`` has all."""

    home: Home
    urls: Mapping[str, str]
    ports: Mapping[str, int]
    credentials: Credentials
    database_url: str
    inherited: Mapping[str, str]
    nginx: str | None
    sets: tuple[WorkerSet, ...]
    apis: tuple[str, ...]
    flows: tuple[str, ...]

    @property
    def own_redises(self) -> tuple[str, ...]:
        """The Redis servers to start here."""
        return tuple(name for name in REDISES if name in self.ports)

    @property
    def gateway_url(self) -> str | None:
        """The gateway; none in a stack without one."""
        return self.urls.get("gateway")

    @property
    def flower_url(self) -> str | None:
        """Flower as people reach it; none in a stack without it."""
        return f"{self.gateway_url}/flower" if self.gateway_url else self.urls.get("flower")


def services_of(wiring: Wiring, *, passing: bool) -> tuple[ServiceSpec, ...]:
    """Those to start here, in the order in which to start them: Prefect takes longest.

    A ``passing`` stack ends with one command and lives to see no schedule.
    """
    return tuple(_services(wiring, passing=passing)) + (() if passing else tuple(_lasting(wiring)))


def _services(wiring: Wiring, *, passing: bool) -> Iterator[ServiceSpec]:
    if "prefect" in wiring.ports:
        yield _prefect(wiring)
    for name in wiring.own_redises:
        password = wiring.credentials.redis_password
        yield valkey_service(name, wiring.home.root / name, wiring.ports[name], password)
    for each in wiring.sets:
        yield from _worker_set(wiring, each)
    for name in wiring.apis:
        yield _api(wiring, name, passing=passing)


def _worker_set(wiring: Wiring, names: WorkerSet) -> Iterator[ServiceSpec]:
    for number, name in enumerate(names.executors, 1):
        if name in wiring.ports:
            yield _executor(wiring, number, name)
    first, second, third = (wiring.urls[name] for name in names.executors)
    legacy, other_legacy, celery = names.workers
    yield _legacy_worker(wiring, legacy, f"{first},{second}")
    yield _legacy_worker(wiring, other_legacy, f"{second},{first}")
    yield _celery_worker(wiring, celery, third)


def _lasting(wiring: Wiring) -> Iterator[ServiceSpec]:
    for name in wiring.flows:
        yield _flows(wiring, name)
    # Made anew at each start: both who need it are started here.
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    yield _flower(wiring, password if wiring.nginx else "")
    if wiring.nginx:
        yield _gateway(wiring, wiring.nginx, password)


def _prefect(wiring: Wiring) -> ServiceSpec:
    folder = prefect_folder(wiring.home.root)
    folder.mkdir(mode=0o700, exist_ok=True)
    return ServiceSpec(
        name="prefect",
        argv=_module("deployments.stack.prefect_server"),
        environment={
            **wiring.inherited,
            **prefect_server_environment(wiring.home.root, wiring.ports["prefect"]),
        },
        ready=Answers(f"{wiring.urls['prefect']}/health"),
        tier=Tier.SERVERS,
        url=wiring.urls["prefect"].removesuffix("/api"),
        # Prefect reads settings from files of the folder it runs in; the user's are not meant for it.
        folder=folder,
    )


def _executor(wiring: Wiring, number: int, name: str) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        argv=_module("executors.service"),
        environment={
            **wiring.inherited,
            **for_executor(number),
            "CRUCIBLE_EXECUTOR_NAME": name,
            "CRUCIBLE_EXECUTOR_HOST": LOOPBACK,
            "CRUCIBLE_EXECUTOR_PORT": str(wiring.ports[name]),
            "CRUCIBLE_EXECUTOR_TOKEN": wiring.credentials.executor_token,
        },
        ready=Answers(f"{wiring.urls[name]}/health"),
        tier=Tier.EXECUTORS,
        niceness=_PROGRAMS_NICENESS,
        url=wiring.urls[name],
    )


def _legacy_worker(wiring: Wiring, name: str, executor_urls: str) -> ServiceSpec:
    settings = {"CRUCIBLE_LEGACY_EXECUTOR_URLS": executor_urls}
    return _worker(wiring, name, "tasks.legacy_leg.worker", settings)


def _celery_worker(wiring: Wiring, name: str, executor_url: str) -> ServiceSpec:
    settings = {
        "CRUCIBLE_CELERY_REDIS_URL": wiring.urls["celery-redis"],
        "CRUCIBLE_CELERY_EXECUTOR_URL": executor_url,
    }
    if "flower" in wiring.ports:
        settings["CRUCIBLE_CELERY_EVENTS"] = wiring.inherited.get("CRUCIBLE_CELERY_EVENTS", "true")
    return _worker(wiring, name, "tasks.celery_leg.worker", settings)


def _worker(wiring: Wiring, name: str, module: str, settings: dict[str, str]) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        argv=_module(module),
        environment={
            **wiring.inherited,
            **settings,
            **_executor_urls(wiring),
            "CRUCIBLE_REDIS_URL": wiring.urls["redis"],
            "CRUCIBLE_TRACE_URL": wiring.urls["api"],
            "CRUCIBLE_EXECUTOR_TOKEN": wiring.credentials.executor_token,
            "CRUCIBLE_WORKER_NAME": name,
            **_metrics(wiring, name),
        },
        ready=Prints(),
        tier=Tier.WORKERS,
        niceness=_WORKERS_NICENESS,
        url=wiring.urls[name],
        after=wiring.own_redises,
    )


def _api(wiring: Wiring, name: str, *, passing: bool) -> ServiceSpec:
    """Of a stack without ``flows`` it is also the controller."""
    return ServiceSpec(
        name=name,
        argv=_module("api", *([_WITH_CONTROLLER] if passing else [])),
        environment={
            **_flow_environment(wiring),
            "CRUCIBLE_API_PORT": str(wiring.ports[name]),
            "CRUCIBLE_API_KEY": wiring.credentials.api_key,
            "CRUCIBLE_TRACE_URL": wiring.urls[name],
        },
        ready=Answers(f"{wiring.urls[name]}/health"),
        tier=Tier.DOORS,
        url=wiring.urls[name],
        # What executors are made of decides where the migration stands when the first evaluation comes.
        after=(*wiring.own_redises, *(name for name in EXECUTORS if name in wiring.ports)),
    )


def _flows(wiring: Wiring, name: str) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        argv=_module("flows.serving", _WITH_CONTROLLER),
        environment={
            "CRUCIBLE_API_URL": f"{wiring.gateway_url}/api" if wiring.gateway_url else wiring.urls["api"],
            **_flow_environment(wiring),
            "CRUCIBLE_WORKER_NAME": name,
            **_metrics(wiring, name),
        },
        ready=Prints(),
        tier=Tier.DOORS,
        url=wiring.urls[name],
        after=wiring.own_redises,
    )


def _flower(wiring: Wiring, password: str) -> ServiceSpec:
    """Behind a gateway it asks for a password that the gateway alone knows."""
    (wiring.home.root / "flower").mkdir(mode=0o700, exist_ok=True)
    return ServiceSpec(
        name="flower",
        argv=_module("tasks.celery_leg.flower_server"),
        environment={
            **wiring.inherited,
            "CRUCIBLE_CELERY_REDIS_URL": wiring.urls["celery-redis"],
            "CRUCIBLE_FLOWER_PORT": str(wiring.ports["flower"]),
            "CRUCIBLE_FLOWER_PASSWORD": password,
        },
        ready=Answers(f"{wiring.urls['flower']}/healthcheck"),
        tier=Tier.DOORS,
        url=wiring.flower_url,
        after=wiring.own_redises,
    )


def _gateway(wiring: Wiring, nginx: str, flower_password: str) -> ServiceSpec:
    urls = wiring.urls
    own_prefect = "prefect" in wiring.ports
    behind = Behind(
        apis=[urls[name] for name in wiring.apis],
        prefect=urls["prefect"],
        flower=urls["flower"],
        flower_password=flower_password,
        prefect_elsewhere="" if own_prefect else urls["prefect"].removesuffix("/api"),
    )
    return gateway_service(nginx, wiring.home.root / "gateway", wiring.ports["gateway"], behind)


def _flow_environment(wiring: Wiring) -> dict[str, str]:
    """What every process is told that runs flows."""
    urls = wiring.urls
    links = {"CRUCIBLE_GATEWAY_URL": wiring.gateway_url} if wiring.gateway_url else {}
    return {
        **links,
        **wiring.inherited,
        **prefect_client_environment(wiring.home.root, urls["prefect"]),
        "CRUCIBLE_DATABASE_URL": wiring.database_url,
        "CRUCIBLE_REDIS_URL": urls["redis"],
        "CRUCIBLE_CELERY_REDIS_URL": urls["celery-redis"],
        "CRUCIBLE_PREFECT_API_URL": urls["prefect"],
        "CRUCIBLE_TRACE_URL": urls["api"],
        "CRUCIBLE_EXECUTOR_TOKEN": wiring.credentials.executor_token,
        **_executor_urls(wiring),
    }


def _metrics(wiring: Wiring, name: str) -> dict[str, str]:
    """Where a service that serves nothing else shows its metrics."""
    return {"CRUCIBLE_METRICS_HOST": LOOPBACK, "CRUCIBLE_METRICS_PORT": str(wiring.ports[name])}


def _executor_urls(wiring: Wiring) -> dict[str, str]:
    """Which executor is where, so that messages call them by their names."""
    return {f"CRUCIBLE_EXECUTOR_{number}_URL": wiring.urls[name] for number, name in enumerate(EXECUTORS, 1)}


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    # -P: a folder named "api" or "tasks" where the user happens to be must not be taken for ours.
    return (sys.executable, "-P", "-m", name, *arguments)

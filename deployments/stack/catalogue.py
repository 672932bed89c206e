"""Which services the stack starts, and what each of them is told."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deployments.stack.environment import (
    for_executor,
    prefect_client_environment,
    prefect_folder,
    prefect_server_environment,
)
from deployments.stack.home import Credentials, Home
from deployments.stack.parts import EXECUTORS, REDISES, WorkerSet
from deployments.stack.servers import Behind, gateway_service, valkey_service
from deployments.stack.service import LOOPBACK, Answers, Prints, ServiceSpec, Tier

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
    for name, executor_urls in ((legacy, f"{first},{second}"), (other_legacy, f"{second},{first}")):
        settings = {"CRUCIBLE_LEGACY_EXECUTOR_URLS": executor_urls}
        yield _worker(wiring, name, "tasks.legacy_leg.worker", settings)
    settings = {
        "CRUCIBLE_CELERY_REDIS_URL": wiring.urls["celery-redis"],
        "CRUCIBLE_CELERY_EXECUTOR_URL": third,
    }
    if "flower" in wiring.ports:
        settings["CRUCIBLE_CELERY_EVENTS"] = wiring.inherited.get("CRUCIBLE_CELERY_EVENTS", "true")
    yield _worker(wiring, celery, "tasks.celery_leg.worker", settings)


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


def _worker(wiring: Wiring, name: str, module: str, settings: dict[str, str]) -> ServiceSpec:
    environment = {**wiring.inherited, **settings, **_servers(wiring)}
    return _watched(wiring, name, _module(module), environment, Tier.WORKERS, _WORKERS_NICENESS)


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
    api_url = f"{wiring.gateway_url}/api" if wiring.gateway_url else wiring.urls["api"]
    environment = {"CRUCIBLE_API_URL": api_url, **_flow_environment(wiring)}
    return _watched(wiring, name, _module("flows.serving", _WITH_CONTROLLER), environment, Tier.DOORS)


def _watched(
    wiring: Wiring,
    name: str,
    argv: tuple[str, ...],
    environment: Mapping[str, str],
    tier: Tier,
    niceness: int = 0,
) -> ServiceSpec:
    """A service that says when it is ready, and serves nothing but its metrics."""
    return ServiceSpec(
        name=name,
        argv=argv,
        environment={
            **environment,
            "CRUCIBLE_WORKER_NAME": name,
            "CRUCIBLE_METRICS_HOST": LOOPBACK,
            "CRUCIBLE_METRICS_PORT": str(wiring.ports[name]),
        },
        ready=Prints(),
        tier=tier,
        niceness=niceness,
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
        **_servers(wiring),
        "CRUCIBLE_DATABASE_URL": wiring.database_url,
        "CRUCIBLE_CELERY_REDIS_URL": urls["celery-redis"],
        "CRUCIBLE_PREFECT_API_URL": urls["prefect"],
    }


def _servers(wiring: Wiring) -> dict[str, str]:
    """What everybody is told who works on evaluations: of executors, so that messages call them by name."""
    return {
        **{f"CRUCIBLE_EXECUTOR_{number}_URL": wiring.urls[name] for number, name in enumerate(EXECUTORS, 1)},
        "CRUCIBLE_REDIS_URL": wiring.urls["redis"],
        "CRUCIBLE_TRACE_URL": wiring.urls["api"],
        "CRUCIBLE_EXECUTOR_TOKEN": wiring.credentials.executor_token,
    }


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    # -P: a folder named "api" or "tasks" where the user happens to be must not be taken for ours.
    return (sys.executable, "-P", "-m", name, *arguments)

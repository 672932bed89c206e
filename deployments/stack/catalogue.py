"""Which services the stack starts, and what each of them is told."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deployments.stack.credentials import Credentials
from deployments.stack.environment import for_executor
from deployments.stack.home import Home
from deployments.stack.parts import EXECUTORS, REDISES
from deployments.stack.ports import LOOPBACK
from deployments.stack.prefect_environment import (
    prefect_client_environment,
    prefect_folder,
    prefect_server_environment,
)
from deployments.stack.readiness import Answers, Prints
from deployments.stack.service import ServiceSpec, Tier
from deployments.stack.valkey import valkey_service


@dataclass(frozen=True, slots=True)
class Wiring:
    """What services must know of each other. ``ports`` has the parts to start here, ``urls`` has all."""

    home: Home
    urls: Mapping[str, str]
    ports: Mapping[str, int]
    credentials: Credentials
    database_url: str
    inherited: Mapping[str, str]

    @property
    def own_redises(self) -> tuple[str, ...]:
        """The Redis servers to start here."""
        return tuple(name for name in REDISES if name in self.ports)


def services_of(wiring: Wiring, *, passing: bool) -> tuple[ServiceSpec, ...]:
    """Those to start here, in the order in which to start them: Prefect takes longest.

    A ``passing`` stack ends with one command and lives to see no schedule.
    """
    return tuple(_services(wiring)) + (() if passing else (_flows(wiring),))


def _services(wiring: Wiring) -> Iterator[ServiceSpec]:
    if "prefect" in wiring.ports:
        yield _prefect(wiring)
    for name in wiring.own_redises:
        password = wiring.credentials.redis_password
        yield valkey_service(name, wiring.home.root / name, wiring.ports[name], password)
    for number, name in enumerate(EXECUTORS, 1):
        if name in wiring.ports:
            yield _executor(wiring, number, name)
    first, second, third = (wiring.urls[name] for name in EXECUTORS)
    yield _legacy_worker(wiring, "legacy-worker-1", f"{first},{second}")
    yield _legacy_worker(wiring, "legacy-worker-2", f"{second},{first}")
    yield _celery_worker(wiring, third)
    yield _api(wiring)


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
        url=wiring.urls[name],
    )


def _legacy_worker(wiring: Wiring, name: str, executor_urls: str) -> ServiceSpec:
    settings = {"CRUCIBLE_LEGACY_EXECUTOR_URLS": executor_urls}
    return _worker(wiring, name, "tasks.legacy_leg.worker", settings)


def _celery_worker(wiring: Wiring, executor_url: str) -> ServiceSpec:
    settings = {
        "CRUCIBLE_CELERY_REDIS_URL": wiring.urls["celery-redis"],
        "CRUCIBLE_CELERY_EXECUTOR_URL": executor_url,
    }
    return _worker(wiring, "celery-worker", "tasks.celery_leg.worker", settings)


def _worker(wiring: Wiring, name: str, module: str, settings: dict[str, str]) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        argv=_module(module),
        environment={
            **wiring.inherited,
            **settings,
            **_executor_urls(wiring),
            "CRUCIBLE_REDIS_URL": wiring.urls["redis"],
            "CRUCIBLE_EXECUTOR_TOKEN": wiring.credentials.executor_token,
            "CRUCIBLE_WORKER_NAME": name,
        },
        ready=Prints(),
        tier=Tier.WORKERS,
        after=wiring.own_redises,
    )


def _api(wiring: Wiring) -> ServiceSpec:
    return ServiceSpec(
        name="api",
        argv=_module("api"),
        environment={
            **_flow_environment(wiring),
            "CRUCIBLE_API_PORT": str(wiring.ports["api"]),
            "CRUCIBLE_API_KEY": wiring.credentials.api_key,
        },
        ready=Answers(f"{wiring.urls['api']}/health"),
        tier=Tier.DOORS,
        url=wiring.urls["api"],
        after=wiring.own_redises,
    )


def _flows(wiring: Wiring) -> ServiceSpec:
    return ServiceSpec(
        name="flows",
        argv=_module("flows.serving"),
        environment={
            "CRUCIBLE_API_URL": wiring.urls["api"],
            **_flow_environment(wiring),
            # As -P, for the processes that Prefect starts from this one.
            "PYTHONSAFEPATH": "1",
        },
        ready=Prints(),
        tier=Tier.DOORS,
    )


def _flow_environment(wiring: Wiring) -> dict[str, str]:
    """What every process is told that runs flows."""
    urls = wiring.urls
    return {
        **wiring.inherited,
        **prefect_client_environment(wiring.home.root, urls["prefect"]),
        "CRUCIBLE_DATABASE_URL": wiring.database_url,
        "CRUCIBLE_REDIS_URL": urls["redis"],
        "CRUCIBLE_CELERY_REDIS_URL": urls["celery-redis"],
        "CRUCIBLE_PREFECT_API_URL": urls["prefect"],
        "CRUCIBLE_EXECUTOR_TOKEN": wiring.credentials.executor_token,
        **_executor_urls(wiring),
    }


def _executor_urls(wiring: Wiring) -> dict[str, str]:
    """Which executor is where, so that messages call them by their names."""
    return {f"CRUCIBLE_EXECUTOR_{number}_URL": wiring.urls[name] for number, name in enumerate(EXECUTORS, 1)}


def _module(name: str) -> tuple[str, ...]:
    # -P: a folder named "api" or "tasks" where the user happens to be must not be taken for ours.
    return (sys.executable, "-P", "-m", name)

"""Where each server of the stack is: where a setting says, or on a port of this machine."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from crucible.errors import ServiceUnavailable
from crucible.settings import Settings, load
from crucible.telemetry.settings import MetricsSettings
from deployments.stack.servers import valkey_url
from deployments.stack.service import LOOPBACK, choose_ports, fault_of

REDISES = ("redis", "celery-redis")
EXECUTORS = ("executor-1", "executor-2", "executor-3")
WORKERS = ("legacy-worker-1", "legacy-worker-2", "celery-worker")

_PATHS = {"prefect": "/prefect/api", "flower": "/flower"}
"""Under which servers of ours are: the same as behind the gateway."""


@dataclass(frozen=True, slots=True)
class WorkerSet:
    """The names of two legacy workers and a Celery worker with three executors of their own."""

    number: int

    @property
    def executors(self) -> tuple[str, ...]:
        """Two for legacy, one for Celery."""
        return tuple(map(self._of_this_set, EXECUTORS))

    @property
    def workers(self) -> tuple[str, ...]:
        """Two of legacy, one of Celery."""
        return tuple(map(self._of_this_set, WORKERS))

    def _of_this_set(self, name: str) -> str:
        return name if self.number == 1 else f"{name}-set-{self.number}"


def worker_sets(settings: Settings) -> tuple[WorkerSet, ...]:
    """As many as are set; names in the first carry no number."""
    return tuple(WorkerSet(number) for number in range(1, settings.worker_sets + 1))


def numbered(name: str, number: int) -> tuple[str, ...]:
    """The names of so many processes of one kind; that of the first carries no number."""
    return (name, *(f"{name}-{each}" for each in range(2, number + 1)))


def watched(settings: Settings) -> tuple[str, ...]:
    """What serves nothing but its metrics, on ports one after the other where the first is set."""
    first, *others = (each.workers for each in worker_sets(settings))
    first_flows, *other_flows = numbered("flows", settings.flow_processes)
    return (*first, first_flows, *chain.from_iterable(others), *other_flows)


@dataclass(frozen=True, slots=True)
class External:
    """A part that a setting names: nobody here starts it."""

    name: str
    variable: str
    url: str

    async def check(self) -> None:
        """Raises ``ServiceUnavailable`` with the remedy when it does not answer."""
        fault = await fault_of(self.url if self.name in REDISES else f"{self.url}/health")
        if fault is not None:
            raise ServiceUnavailable(
                f"{self.variable}={without_password(self.url)}: no {self.name} works there ({fault});"
                f" start it, correct the URL, or unset {self.variable} to have one started here"
            )


@dataclass(frozen=True, slots=True)
class Parts:
    """URLs of all parts by name; ``ports`` has those that are to be started here."""

    urls: Mapping[str, str]
    ports: Mapping[str, int]
    externals: tuple[External, ...]


@dataclass(frozen=True, slots=True)
class _Wish:
    """Where a part is to be, by settings. ``port`` is 0 for any free one."""

    url: str | None
    port: int
    port_variable: str


def find_parts(settings: Settings, redis_password: str, lasting: Collection[str] = ()) -> Parts:
    """Where everything is; ``lasting`` names what only a stack that stays has, of ``flower`` and ``gateway``.

    Raises ``SettingsError`` naming the variable when a port that is set cannot be had.
    """
    wishes = dict(_wishes(settings, lasting))
    externals = tuple(
        External(name, _url_variable(name), wish.url) for name, wish in wishes.items() if wish.url
    )
    own = {name: wish for name, wish in wishes.items() if not wish.url}
    chosen = choose_ports({each.port_variable: each.port for each in own.values()})
    ports = {name: chosen[each.port_variable] for name, each in own.items()}
    shown = watched(settings)
    urls = {
        name: f"http://{LOOPBACK}:{port}/metrics" if name in shown else _own_url(name, port, redis_password)
        for name, port in ports.items()
    }
    return Parts({**urls, **{each.name: each.url for each in externals}}, ports, externals)


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _wishes(settings: Settings, lasting: Collection[str]) -> Iterator[tuple[str, _Wish]]:
    for name in (*REDISES, "prefect", *EXECUTORS):
        url = getattr(settings, _url_variable(name).removeprefix("CRUCIBLE_").lower())
        yield name, _wish(settings, name, url if name in REDISES or not url else url.rstrip("/"))
    for name in ("api", *lasting):
        yield name, _wish(settings, name, None)
    of_other_sets = chain.from_iterable(each.executors for each in worker_sets(settings)[1:])
    for name in (*of_other_sets, *numbered("api", settings.api_processes)[1:]):
        yield name, _Wish(None, 0, name)
    first = load(MetricsSettings).port
    for number, name in enumerate(watched(settings)):
        yield name, _Wish(None, first and first + number, f"CRUCIBLE_METRICS_PORT + {number}")


def _wish(settings: Settings, name: str, url: str | None) -> _Wish:
    variable = f"{_variable(name)}_PORT"
    return _Wish(url, getattr(settings, variable.lower()), f"CRUCIBLE_{variable}")


def _url_variable(name: str) -> str:
    return "CRUCIBLE_PREFECT_API_URL" if name == "prefect" else f"CRUCIBLE_{_variable(name)}_URL"


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()


def _own_url(name: str, port: int, redis_password: str) -> str:
    if name in REDISES:
        return valkey_url(port, redis_password)
    return f"http://{LOOPBACK}:{port}{_PATHS.get(name, '')}"

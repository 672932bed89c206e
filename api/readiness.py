"""Whether everything the API stands on answers and takes work now, and whether all processes do theirs."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from redis.asyncio import Redis

from crucible.errors import PlatformError, ServiceUnavailable
from crucible.store import Store
from flows.host import Endpoints
from tasks.connections import connect_async
from tasks.http_faults import http_faults
from tasks.service_reports import ProcessReport, ServiceReports, read_reports

_WITHIN_S = 2.0
_WRITE_KEY = "crucible:ready"


@dataclass(frozen=True, slots=True)
class Health:
    """``faults`` says what is at fault, by name, and why: empty when all is well."""

    faults: dict[str, str]
    reports: list[ProcessReport]


class Readiness:
    """Asks Redis, Celery's Redis, the store and Prefect, and reads what processes report of themselves."""

    def __init__(
        self, endpoints: Endpoints, prefect_api_url: str, store: Store, reports: ServiceReports
    ) -> None:
        self._redis = connect_async(endpoints.redis_url, connections=2)
        self._celery_redis = connect_async(endpoints.celery_redis_url, connections=1)
        # Proxies are for servers elsewhere.
        elsewhere = urlsplit(prefect_api_url).scheme == "https"
        self._http = httpx.AsyncClient(timeout=_WITHIN_S, trust_env=elsewhere)
        self._prefect_health_url = f"{prefect_api_url}/health"
        self._store = store
        self._reports = reports

    async def health(self) -> Health:
        """How all is now, within seconds; raises nothing that a server causes."""
        questions: dict[str, Awaitable[object]] = {
            "redis": _write(self._redis),
            "celery-redis": _write(self._celery_redis),
            "store": self._store.evaluation_state(""),
            "prefect": self._ask_prefect(),
        }
        reports, found = await asyncio.gather(
            self._all_reports(), asyncio.gather(*(_fault(question) for question in questions.values()))
        )
        faults = {name: fault for name, fault in zip(questions, found, strict=True) if fault is not None}
        for report in reports:
            for each in report.services:
                if each.required and each.overdue:
                    faults[f"{each.name} of {report.process}"] = each.overdue
        return Health(faults, reports)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._celery_redis.aclose()
        await self._http.aclose()

    async def _all_reports(self) -> list[ProcessReport]:
        own = self._reports.own
        try:
            async with asyncio.timeout(_WITHIN_S):
                others = await read_reports(self._redis)
        except (TimeoutError, ServiceUnavailable):
            return [own]
        return [own, *(each for each in others if each.process != own.process)]

    async def _ask_prefect(self) -> None:
        with http_faults(f"Prefect's server ({self._prefect_health_url})", "see whether it runs"):
            (await self._http.get(self._prefect_health_url)).raise_for_status()


async def _write(client: Redis) -> None:
    """One that is full, or a replica, answers questions and takes no work."""
    await client.set(_WRITE_KEY, 1, ex=1)


async def _fault(question: Awaitable[object]) -> str | None:
    try:
        async with asyncio.timeout(_WITHIN_S):
            await question
    except TimeoutError:
        return f"no answer within {_WITHIN_S:g} s"
    except PlatformError as error:
        return str(error)
    return None

"""Whether everything the API stands on answers now."""

import asyncio
from collections.abc import Awaitable
from urllib.parse import urlsplit

import httpx
from redis import RedisError

from crucible.errors import PlatformError
from crucible.store import Store
from flows.host import Endpoints
from tasks.connections import connect_async

_WITHIN_S = 2.0


class Readiness:
    """Asks Redis, Celery's Redis, the store and Prefect."""

    def __init__(self, endpoints: Endpoints, prefect_api_url: str, store: Store) -> None:
        self._redis = connect_async(endpoints.redis_url, connections=1)
        self._celery_redis = connect_async(endpoints.celery_redis_url, connections=1)
        # Proxies are for servers elsewhere.
        elsewhere = urlsplit(prefect_api_url).scheme == "https"
        self._http = httpx.AsyncClient(timeout=_WITHIN_S, trust_env=elsewhere)
        self._prefect_health_url = f"{prefect_api_url}/health"
        self._store = store

    async def faults(self) -> dict[str, str]:
        """What does not answer, by name, and why; empty when all is well."""
        questions: dict[str, Awaitable[object]] = {
            "redis": self._redis.ping(),
            "celery-redis": self._celery_redis.ping(),
            "store": self._store.evaluation_state(""),
            "prefect": self._ask_prefect(),
        }
        found = await asyncio.gather(*(_fault(question) for question in questions.values()))
        return {name: fault for name, fault in zip(questions, found, strict=True) if fault is not None}

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
        await self._celery_redis.aclose()
        await self._http.aclose()

    async def _ask_prefect(self) -> None:
        (await self._http.get(self._prefect_health_url)).raise_for_status()


async def _fault(question: Awaitable[object]) -> str | None:
    try:
        async with asyncio.timeout(_WITHIN_S):
            await question
    except TimeoutError:
        return f"no answer within {_WITHIN_S:g} s"
    except (RedisError, httpx.HTTPError, PlatformError, OSError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return None

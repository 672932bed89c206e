"""The reply stream: where both legs' workers report, and where one flow host reads."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import structlog

from crucible.models import LEGS, Leg
from tasks.claims import claim_key, done_key
from tasks.connections import connect_async, place_in

_READ_AT_ONCE = 500
_BLOCK_MS = 5_000
_TRIM_AFTER = 256

Entry = tuple[bytes, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker reported of one run on one leg.

    An ``answer`` has the JSON of an observation, untouched; a ``fault`` has one line saying why the
    platform has none. ``taken_at`` and ``finished_at`` are the worker's clock, in ms since 1970.
    """

    run_id: str
    leg: Leg
    kind: Literal["answer", "fault"]
    observation: bytes | None
    fault: str | None
    worker: str
    taken_at: int
    finished_at: int


class ReplyReader:
    """The one reader of ``stream``. Whatever the legs report there is handed out once, in order."""

    def __init__(self, redis_url: str, stream: str) -> None:
        self._redis = connect_async(redis_url)
        self._stream = stream
        self._last = "0-0"
        self._handed_out = 0

    async def read(self) -> list[Reply]:
        """The replies after the last one seen, as soon as there are any; none after 5 s without.

        What was handed out is deleted from the stream soon after, so that it stays short. An entry that
        cannot be read is logged and passed over: whoever waits for it asks again. Raises
        ``ServiceUnavailable`` when Redis cannot be reached.
        """
        entries = await self._read()
        if entries:
            self._last = entries[-1][0].decode()
            self._handed_out += len(entries)
        return [reply for _, fields in entries if (reply := _reply(fields)) is not None]

    async def claims_alive(self, run_ids: Iterable[str], leg: Leg) -> set[str]:
        """Which of ``run_ids`` a worker has in hand on ``leg``; the others may be sent again.

        Raises ``ServiceUnavailable`` when Redis cannot be used.
        """
        asked = list(run_ids)
        if not asked:
            return set()
        held = await self._redis.mget([claim_key(run_id, leg) for run_id in asked])
        return {run_id for run_id, holder in zip(asked, held, strict=True) if holder is not None}

    async def forgotten(self, run_ids: Iterable[str], leg: Leg) -> set[str]:
        """Which of ``run_ids`` were answered on ``leg`` and settled, so that Redis keeps no answer of them.

        No worker reports these again. Raises ``ServiceUnavailable`` when Redis cannot be used.
        """
        asked = list(run_ids)
        if not asked:
            return set()
        answers = await self._redis.mget([done_key(run_id, leg) for run_id in asked])
        return {run_id for run_id, answer in zip(asked, answers, strict=True) if answer == b""}

    async def aclose(self) -> None:
        """Closes the connections; a ``read`` under way must have been cancelled."""
        await self._redis.aclose()

    async def forget(self, run_ids: Iterable[str]) -> None:
        """Let Redis drop the kept answers of runs; that they were answered it remembers.

        Raises ``ServiceUnavailable`` when Redis cannot be used; the answers are then kept until they expire.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for run_id in run_ids:
            for leg in LEGS:
                pipeline.set(done_key(run_id, leg), "", xx=True, keepttl=True)
        await pipeline.execute()

    async def _read(self) -> list[Entry]:
        """Waits for replies after the last one; empty when none came in time."""
        if self._handed_out >= _TRIM_AFTER:
            await self._trim()
        found = await self._redis.xread({self._stream: self._last}, count=_READ_AT_ONCE, block=_BLOCK_MS)
        if not found:
            await self._trim()
            self._last = await place_in(self._redis, self._stream, self._last)
            return []
        ((_, entries),) = cast("list[tuple[bytes, list[Entry]]]", found)
        return entries

    async def _trim(self) -> None:
        if self._handed_out:
            await self._redis.xtrim(self._stream, minid=_after(self._last), approximate=False)
            self._handed_out = 0


def _after(entry_id: str) -> str:
    milliseconds, number = entry_id.split("-")
    return f"{milliseconds}-{int(number) + 1}"


def _reply(fields: Mapping[bytes, bytes]) -> Reply | None:
    try:
        fault = fields.get(b"fault")
        return Reply(
            run_id=fields[b"id"].decode(),
            leg=_leg(fields[b"leg"].decode()),
            kind="answer" if fault is None else "fault",
            observation=fields.get(b"observation"),
            fault=None if fault is None else fault.decode(),
            worker=fields[b"worker"].decode(),
            taken_at=int(fields[b"taken_at"]),
            finished_at=int(fields[b"finished_at"]),
        )
    except (KeyError, ValueError) as error:
        structlog.get_logger().error("reply cannot be read", reason=repr(error), entry=dict(fields))
        return None


def _leg(name: str) -> Leg:
    if name not in LEGS:
        raise ValueError(f"no leg is called {name!r}")
    return name

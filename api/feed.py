"""What happens, handed on to those who follow it, from where each of them left off."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from api.problems import Problem
from crucible.errors import ServiceUnavailable
from tasks.background import BackgroundServices
from tasks.connections import connect_async, place_in
from tasks.events import EVENTS_KEY

MOST_FOLLOWERS = 200
"""Of one process."""
EVENT_ID = re.compile(r"[0-9]{1,16}-[0-9]{1,16}")

_SERVICE = "event feed"
_AT_ONCE = 200
_BLOCK_MS = 5_000
_PAUSE_S = 1.0

Entry = tuple[bytes, Mapping[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``data`` is JSON; kind ``reset`` says that events before this one are gone unread."""

    id: str
    kind: str
    data: str


RESET = "reset"


OnEvent = Callable[[str, bytes], None]
"""Hears the kind of every event that comes in, and its JSON."""


def _ignore(_kind: str, _data: bytes) -> None:
    """Nobody listens."""


class Feed:
    """The reading end of the events, one connection for all followers.

    A follower that is slow is told the same later: nothing is kept for it but its place.
    """

    def __init__(self, redis_url: str, on_event: OnEvent = _ignore) -> None:
        self._on_event = on_event
        self._redis = connect_async(redis_url, connections=8)
        self._news = asyncio.Event()
        self._is_closed = False
        self._knows_place = False
        self._background: BackgroundServices | None = None
        self.followers = 0
        self.place = "0-0"
        """The newest event known here: who reads the store now has seen what came before it."""

    def open(self, background: BackgroundServices) -> None:
        """Have ``background`` wake the followers from now on when there is news."""
        self._background = background
        background.every(0, _SERVICE, self._read_news, required=False)

    async def _read_news(self) -> None:
        if not self._knows_place:
            self.place = await self._ask_newest()
            self._knows_place = True
        found = await self._redis.xread({EVENTS_KEY: self.place}, count=_AT_ONCE, block=_BLOCK_MS)
        if not found:
            self.place = await place_in(self._redis, EVENTS_KEY, self.place)
            return
        ((_, entries),) = cast("list[tuple[bytes, list[Entry]]]", found)
        self.place = entries[-1][0].decode()
        for _, fields in entries:
            self._on_event(fields[b"kind"].decode(), fields[b"data"])
        self._wake()

    async def follow(self, after: str | None) -> AsyncIterator[Event]:
        """Events after the one of id ``after``, or from now on, until the process ends.

        The first is a ``reset`` where events after ``after`` are not kept any more: whoever follows has to
        read anew what it shows. While Redis is away, nothing comes.
        """
        newest = await self._newest()
        self.followers += 1
        try:
            last = newest or await self._newest_there()
            if after is not None and await self._keeps_what_follows(after, last):
                last = after
            elif after is not None:
                yield Event(last, RESET, "{}")
            while not self._is_closed:
                news = self._news
                entries = await self._read(last)
                for entry_id, fields in entries:
                    last = entry_id.decode()
                    yield Event(last, fields[b"kind"].decode(), fields[b"data"].decode())
                if entries:
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(_BLOCK_MS / 1000):
                        await news.wait()
                    continue
                newest = await self._newest()
                if newest is not None and _place(newest) < _place(last):
                    last = newest
                    yield Event(last, RESET, "{}")
        finally:
            self.followers -= 1

    def close(self) -> None:
        """Let all followers end."""
        self._is_closed = True
        self._wake()

    async def aclose(self) -> None:
        """Let all followers end, and close the connections."""
        self.close()
        if self._background is not None:
            await self._background.end(_SERVICE)
        await self._redis.aclose()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _newest_there(self) -> str:
        """The id of the newest event, as soon as Redis tells it; of none at the end of the process."""
        while (newest := await self._newest()) is None:
            if self._is_closed:
                return self.place
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_S):
                    await self._news.wait()
        return newest

    async def _newest(self) -> str | None:
        """The id of the newest event; null while Redis is away."""
        with suppress(ServiceUnavailable):
            return await self._ask_newest()
        return None

    async def _ask_newest(self) -> str:
        newest = cast("list[Entry]", await self._redis.xrevrange(EVENTS_KEY, count=1))
        return newest[0][0].decode() if newest else "0-0"

    async def _keeps_what_follows(self, after: str, newest: str) -> bool:
        """Whether no event between ``after`` and ``newest`` is gone."""
        if _place(after) > _place(newest):
            return False  # of another life of Redis
        try:
            oldest = cast("list[Entry]", await self._redis.xrange(EVENTS_KEY, count=1))
            if not oldest or _place(oldest[0][0].decode()) <= _place(after):
                return True
            stream: dict[str, int] = await self._redis.xinfo_stream(EVENTS_KEY)
        except ServiceUnavailable:
            return True
        return stream["entries-added"] == stream["length"]  # none was ever forgotten

    async def _read(self, last: str) -> list[Entry]:
        try:
            return cast("list[Entry]", await self._redis.xrange(EVENTS_KEY, f"({last}", count=_AT_ONCE))
        except ServiceUnavailable:
            return []


def refuse_crowd(feed: Feed) -> None:
    """Raise a 503 ``Problem`` when so many follow ``feed`` that there is no room for another."""
    if feed.followers >= MOST_FOLLOWERS:
        detail = f"{MOST_FOLLOWERS} follow the events of this process, and it has room for no more"
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)


def _place(event_id: str) -> tuple[int, int]:
    milliseconds, number = event_id.split("-")
    return int(milliseconds), int(number)

"""What the commands of the migration share: the store, who asks, and rules as words."""

import getpass
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import ValidationError

from cli import foreground
from crucible.errors import InputError
from crucible.rollout.stage import RouteRule
from crucible.settings import Settings, load
from crucible.store import Store
from deployments.stack import Home, read_state

T = TypeVar("T")

_RULE = "write it as share=0,language=perl with any of share, language, tag, priority and tenant"
_KEYS = {"language": "languages", "tag": "tags", "priority": "priorities", "tenant": "tenants"}


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The store that is set, else the running stack's, else the one in the home folder; closed at the end."""
    url, home = store_url(settings), Home.at(settings.home)
    if url == home.database_url:
        home.create()
    store = await Store.open(url)
    try:
        yield store
    finally:
        await store.close()


def on_store(work: Callable[[Store], Awaitable[T]]) -> T:
    """What ``work`` gives with that store; raises what it raises, and ``StoreError`` where there is none."""

    async def done() -> T:
        async with opened_store(load(Settings)) as store:
            return await work(store)

    return foreground.run(done())


def store_url(settings: Settings) -> str:
    """The URL of the store that is set, else of the running stack's, else of the one in the home folder."""
    home = Home.at(settings.home)
    running = read_state(home.root)
    return settings.database_url or (running.database_url if running else home.database_url)


def operator() -> str:
    """The name of whoever is logged in, as the log of changes shows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "operator"


def parse_rule(text: str) -> RouteRule:
    """The rule in ``share=0,language=perl``; a key may stand more than once. Raises ``InputError``."""
    share: str | None = None
    found: dict[str, list[str]] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if equals and value and key == "share" and share is None:
            share = value
        elif equals and value and key in _KEYS:
            found.setdefault(_KEYS[key], []).append(value)
        else:
            raise InputError(f"--rule {text!r}: {part.strip()!r} does not fit; {_RULE}")
    if share is None:
        raise InputError(f"--rule {text!r}: names no share; {_RULE}")
    return _rule(text, {"share": share, **found})


def _rule(text: str, values: Mapping[str, object]) -> RouteRule:
    try:
        return RouteRule.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][:1]))
        raise InputError(f"--rule {text!r}: {where} {first['input']!r}: {first['msg']}; {_RULE}") from None

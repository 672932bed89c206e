"""The epoch follows what executors say they are made of, and the rules in force. The store is real."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from crucible.errors import ExecutorUnavailable
from crucible.rollout.stage import Stage
from crucible.store import Store, sqlite_url
from flows.duties.epochs import Epochs
from flows.host import Endpoints
from flows.rules import Rules
from tests.support.traffic import at_stage

RULE = """[[rule]]
name = "addresses"
kind = "memory_addresses"
owner = "ada"
expires = 2999-01-01
"""


class Health:
    """What an executor says of itself; nothing at all where ``said`` is null."""

    def __init__(self) -> None:
        self.said: dict[str, Any] | None = {
            "version": "1",
            "isolation_level": "namespaces",
            "languages": {"python": "3.11"},
        }

    @contextmanager
    def served(self) -> Iterator[str]:
        health = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(health.said).encode()
                self.send_response(503 if health.said is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Requests are not logged."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(sqlite_url(tmp_path / "store.db"))
    yield opened
    await opened.close()


@pytest.fixture
def health() -> list[Health]:
    return [Health() for _ in range(3)]


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    return written(tmp_path / "rules.toml", "")


def written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pytest.fixture
def epochs(store: Store, health: list[Health], rules_file: Path) -> Iterator[Epochs]:
    with ExitStack() as exits:
        urls = tuple(exits.enter_context(each.served()) for each in health)
        opened = Epochs(store, Rules(store, rules_file), Endpoints("", "", "", urls, "token"))
        yield opened
        opened.close()


async def test_what_stays_the_same_stays_one_epoch(store: Store, epochs: Epochs) -> None:
    await epochs.round()
    await epochs.round()

    assert (await store.rollout.state()).epoch == 1
    assert len(await store.rollout.history()) == 1


@pytest.mark.parametrize(
    ("who", "what", "value", "changed"),
    [
        (2, "version", "2", "celery_build"),
        (2, "environment", {"TZ": "Asia/Tokyo"}, "celery_build"),
        (2, "memory_limit_mb", 64, "celery_build"),
        (0, "languages", {"python": "3.12"}, "legacy_build"),
    ],
)
async def test_whatever_programs_could_notice_opens_one(
    store: Store,
    epochs: Epochs,
    health: list[Health],
    who: int,
    what: str,
    value: object,
    changed: str,
) -> None:
    await epochs.round()
    await at_stage(store, Stage.CANARY)

    health[who].said = {**(health[who].said or {}), what: value}
    await epochs.round()

    now = await store.rollout.state()
    assert (now.epoch, now.stage) == (2, Stage.SHADOW)
    (entry,) = await store.rollout.history(1)
    assert entry.grounds == {"changed": [changed]}


async def test_rules_open_one_and_an_expired_one_does_when_its_day_comes(
    store: Store, epochs: Epochs, rules_file: Path
) -> None:
    await epochs.round()
    written(rules_file, RULE)
    await epochs.round()
    assert [rule.name for rule in (await store.rollout.epoch()).key.rules.rules] == ["addresses"]

    written(rules_file, RULE.replace("2999", "1999"))
    await epochs.round()

    assert (await store.rollout.epoch()).key.rules.rules == ()
    assert (await store.rollout.state()).epoch == 3


async def test_that_an_executor_is_away_is_no_new_build(
    store: Store, epochs: Epochs, health: list[Health]
) -> None:
    await epochs.round()
    health[2].said = None

    with pytest.raises(ExecutorUnavailable):
        await epochs.round()

    assert (await store.rollout.state()).epoch == 1

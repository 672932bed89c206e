"""Notifications reach a real receiver, signed; one that is away is asked again, and not for ever."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from socket import socket

import httpx
import orjson
import pytest
from pydantic import SecretStr

from crucible.errors import SettingsError
from crucible.settings import WebhookSettings, load
from crucible.signature import verify_signature
from flows import notify as notify_module
from flows.notify import SIGNATURE_HEADER, notify
from tests.support.valkey import free_port
from tests.support.webhook import Receiver

SECRET = "a long random text"
EVENT = {"event": "parity-sweep", "verdict": "fail", "counts": {"submitted": 3}}

MakeReceiver = Callable[..., Receiver]


@pytest.fixture
def receiver() -> Iterator[MakeReceiver]:
    """Makes receivers that answer as told."""
    made: list[Receiver] = []

    def make(*answers: int, status: int = 204) -> Receiver:
        made.append(Receiver(*answers, status=status))
        return made[-1]

    yield make
    for each in made:
        each.close()


def to(url: str | None, within_s: float = 30, *, allow_private: bool = True) -> WebhookSettings:
    return WebhookSettings(url=url, secret=SecretStr(SECRET), within_s=within_s, allow_private=allow_private)


async def test_what_is_posted_is_the_event_signed(receiver: MakeReceiver) -> None:
    there = receiver()
    delivery = await notify(to(there.url), EVENT)
    assert delivery.delivered, delivery.note
    [posted] = there.posted
    signature = posted.headers[SIGNATURE_HEADER.lower()]
    assert verify_signature(SECRET.encode(), signature, posted.body, time.time())
    assert posted.headers["content-type"] == "application/json"
    event = orjson.loads(posted.body)
    sent_at = datetime.fromisoformat(event.pop("sent_at"))
    assert abs((datetime.now(UTC) - sent_at).total_seconds()) < 60
    assert event == EVENT


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_receiver_at_fault_is_asked_again_until_it_takes_it(
    receiver: MakeReceiver, status: int
) -> None:
    there = receiver(status, status)
    assert (await notify(to(there.url), EVENT)).delivered
    assert len(there.posted) == 3
    assert all(
        verify_signature(SECRET.encode(), each.headers[SIGNATURE_HEADER.lower()], each.body, time.time())
        for each in there.posted
    )


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
async def test_a_refusal_is_not_argued_with(receiver: MakeReceiver, status: int) -> None:
    there = receiver(status=status)
    delivery = await notify(to(there.url), EVENT)
    assert not delivery.delivered
    assert str(status) in delivery.note
    assert len(there.posted) == 1


async def test_a_receiver_that_stays_at_fault_is_given_up_and_the_note_says_why(
    receiver: MakeReceiver,
) -> None:
    there = receiver(status=503)
    delivery = await notify(to(there.url, within_s=0.8), EVENT)
    assert not delivery.delivered
    assert "503" in delivery.note
    assert there.posted


async def test_a_receiver_that_is_not_there_raises_nothing() -> None:
    delivery = await notify(to(f"http://127.0.0.1:{free_port()}/hook", within_s=0.3), EVENT)
    assert not delivery.delivered
    assert "does not answer" in delivery.note


@contextmanager
def silent(port: int) -> Iterator[str]:
    """An address at whose ``port`` nobody says whether there is anybody: its queue of callers is full."""
    with ExitStack() as sockets:
        listening = sockets.enter_context(socket())
        listening.bind(("127.0.0.2", port))
        listening.listen(0)
        for _ in range(5):
            calling = sockets.enter_context(socket())
            calling.setblocking(False)
            calling.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


async def test_after_an_address_that_says_nothing_the_next_is_tried(
    receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = receiver()
    port = httpx.URL(there.url).port
    assert port is not None
    with silent(port) as first:

        async def both(*_: object, **__: object) -> list[str]:
            return [first, "127.0.0.1"]

        monkeypatch.setattr(notify_module, "addresses_of", both)
        monkeypatch.setattr(notify_module, "_ANSWER_S", 0.5)
        assert (await notify(to(there.url, within_s=5), EVENT)).delivered


async def test_an_address_that_is_none_raises_nothing() -> None:
    assert not (await notify(to("http://[", within_s=0.3), EVENT)).delivered
    assert not (await notify(to("http://", within_s=0.3), EVENT)).delivered


async def test_without_an_address_nobody_is_told_and_the_note_names_the_setting() -> None:
    delivery = await notify(to(None), EVENT)
    assert not delivery.delivered
    assert "CRUCIBLE_WEBHOOK_URL" in delivery.note


async def test_notes_do_not_show_the_secret(receiver: MakeReceiver) -> None:
    there = receiver(status=400)
    assert SECRET not in (await notify(to(there.url), EVENT)).note


def test_an_address_without_a_secret_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_URL", "http://receiver.example/hook")
    with pytest.raises(SettingsError, match=r"^CRUCIBLE_WEBHOOK_SECRET="):
        load(WebhookSettings)
    monkeypatch.setenv("CRUCIBLE_WEBHOOK_SECRET", SECRET)
    assert SECRET not in repr(load(WebhookSettings))

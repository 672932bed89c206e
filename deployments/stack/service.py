"""One service of the stack, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from deployments.stack.readiness import Ready


class Tier(IntEnum):
    """Services of a higher tier use those of lower ones, and so are stopped before them."""

    SERVERS = 0
    EXECUTORS = 1
    WORKERS = 2
    DOORS = 3


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What to run, and how to know that it is ready.

    ``environment`` is all that the process sees. It is started once the services named in ``after``
    are ready. Its readable standard output goes to its log. ``url`` is for people and shows no secret.
    ``niceness`` is how far it stands back for others when the CPU is short, as ``nice`` says it.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Ready
    tier: Tier
    url: str | None = None
    after: tuple[str, ...] = ()
    folder: Path | None = None
    niceness: int = 0

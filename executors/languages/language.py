"""What is needed to know to run programs of one language."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crucible.models import Limits


@dataclass(frozen=True)
class Language:
    r"""A declaration. In commands the first word is looked up on the sandbox's PATH, unless it is a path.

    ``family`` is the toolchain it belongs to: languages of one family share what they need. ``hello`` is a
    program that prints ``hello\n``: each executor runs it at its start, and leaves out a language whose
    program does not. ``compile_limits`` and ``compile_environment`` are the compiler's own; what it leaves
    in ``/box`` is what runs.
    """

    name: str
    family: str
    source: str
    run: tuple[str, ...]
    version: tuple[str, ...]
    hello: str
    compile: tuple[str, ...] | None = None
    compile_limits: Limits = field(
        default=Limits(wall_s=60, cpu_s=30, memory_mb=1024, processes=256, output_kb=1024, disk_mb=256)
    )
    compile_environment: Mapping[str, str] = field(default_factory=dict)
    minimum: Limits = field(default=Limits())
    """What its own runtime needs before any program does anything; used for version and self-test."""

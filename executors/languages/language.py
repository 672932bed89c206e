"""What is needed to know to run programs of one language."""

from dataclasses import dataclass, field

from crucible.models import Limits


@dataclass(frozen=True)
class Language:
    r"""A declaration. In commands the first word is looked up on the sandbox's PATH.

    ``hello`` is a program that prints ``hello\n``: each executor runs it at its start, and leaves out a
    language whose program does not. ``compile_limits`` are the compiler's own.
    """

    name: str
    source: str
    run: tuple[str, ...]
    version: tuple[str, ...]
    hello: str
    compile: tuple[str, ...] | None = None
    compile_limits: Limits = field(
        default=Limits(wall_s=60, cpu_s=30, memory_mb=1024, processes=256, output_kb=1024, disk_mb=256)
    )
    minimum: Limits = field(default=Limits())
    """What its own runtime needs before any program does anything; used for version and self-test."""

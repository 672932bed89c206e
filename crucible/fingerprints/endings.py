"""What changed in how a program ended."""

import re

from crucible.fingerprints.streams import Change, template_of
from crucible.fingerprints.tokens import tokens
from crucible.models import Observation, Outcome

_LIMITS = {
    Outcome.CPU_LIMIT,
    Outcome.WALL_LIMIT,
    Outcome.MEMORY_LIMIT,
    Outcome.OUTPUT_LIMIT,
    Outcome.PROCESS_LIMIT,
    Outcome.DISK_LIMIT,
}
_NO_MEMORY = re.compile(
    rb"MemoryError|bad_alloc|OutOfMemoryError|NoMemoryError|OUT_OF_MEMORY|heap out of memory"
    rb"|[Oo]ut of memory|[Cc]annot allocate memory|memory allocation of \d+ bytes failed|ENOMEM"
)
_LOOKED_AT = 256 << 10


def of_memory(legacy: Observation, celery: Observation) -> str | None:
    """The leg on which memory was shorter, as a phrase; null where neither shows that.

    A program ended at its limit was shorter of memory than one that says itself that there was none, and
    that one than one which says nothing of it.
    """
    left, right = _want_of_memory(legacy), _want_of_memory(celery)
    if left == right:
        return None
    return "celery has less" if right > left else "legacy has less"


def of_limits(legacy: Observation, celery: Observation) -> str | None:
    """The limit that one leg met and the other did not; of two different ones Celery's, which is on trial."""
    if legacy.outcome is celery.outcome:
        return None
    for leg, seen in (("celery", celery), ("legacy", legacy)):
        if seen.outcome in _LIMITS:
            return f"{seen.outcome} on {leg}"
    return None


def of_ending(legacy: Observation, celery: Observation) -> tuple[Change, str]:
    """Change and template of a difference in outcome, exit code or signal that no limit explains."""
    reason = _last_words(celery) or _last_words(legacy)
    said = f": {reason}" if reason else ""
    return Change.ENDING, f"{_ended(legacy)} → {_ended(celery)}{said}"


def _want_of_memory(seen: Observation) -> int:
    if seen.outcome is Outcome.MEMORY_LIMIT:
        return 2
    said = (seen.stdout[-_LOOKED_AT:], seen.stderr[-_LOOKED_AT:])
    return int(any(_NO_MEMORY.search(stream) for stream in said))


def _ended(seen: Observation) -> str:
    if seen.signal is not None:
        return seen.signal
    return seen.outcome.value if seen.exit_code is None else f"exit {seen.exit_code}"


def _last_words(seen: Observation) -> str:
    """The beginning of what a program that failed said last: the name of an exception, mostly."""
    lines = [] if seen.outcome is Outcome.OK else seen.stderr[-_LOOKED_AT:].split()
    if not lines:
        return ""
    last = seen.stderr[-_LOOKED_AT:].rstrip().splitlines()[-1].decode(errors="backslashreplace")
    return template_of(tokens(last.partition(":")[0]))

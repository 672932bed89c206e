"""The fingerprint of a mismatch: what it has in common with others of the same cause.

It is told from the two observations alone, never from the program. Two families of changes are known:

* Changes of the surroundings (zone, clock, hash seed, memory, another limit, lost output): a program of
  any language shows them, wherever it prints what depends on them. Their digest holds the change and its
  direction, and neither language nor field, so that one drifted executor is one cause.
* All others are known by what was said on either side, masked. The same words in two languages are no sign
  of one cause, so their digest holds language, field and template.

The first differing field decides, and in a stream the first place that differs: a program that shows two
causes at once counts for the one it shows first.

What cannot be told apart from outside has one digest: another hash seed and another order of folders both
give the same words in another order. What does not show its cause has the digest of its words: an hour
printed as a bare number is a number.
"""

import json
from hashlib import sha256

from crucible.fingerprints import endings
from crucible.fingerprints.streams import Change, Found, change_of
from crucible.models import Comparison, Field, Observation
from crucible.models.frozen import Frozen

_DIGITS = 12
_IN_WORDS = {
    Change.ZONE: "another time zone",
    Change.CLOCK: "another time on the clock",
    Change.HASHING: "another hash seed or order",
    Change.MEMORY: "another limit on memory",
    Change.LIMIT: "another limit",
    Change.ADDRESS: "other addresses in memory",
    Change.ROUNDING: "another rounding",
    Change.SWAPPED: "stdout and stderr swapped",
    Change.CUT: "output cut off",
    Change.SPACING: "other spaces or line ends",
    Change.ENDING: "another ending",
    Change.VALUE: "another value",
    Change.TEXT: "other words",
}
_OWN_WORDS = {Change.ENDING, Change.VALUE, Change.TEXT}
_DIRECTED = {Change.MEMORY, Change.LIMIT, Change.CUT, Change.SPACING}


class Fingerprint(Frozen):
    """What is known of the cause of a mismatch.

    Mismatches with equal ``digest`` (12 hex digits, the same in every process and version of Python) are
    taken to have one cause. ``language`` is the evaluation's; whether the digest depends on it is told above.
    ``path`` is the first differing field, and for a stream where in it. ``template`` is the difference,
    masked: a few short words of the program's own at most. ``summary`` is one line for people, the same for
    all mismatches with this digest.
    """

    digest: str
    language: str
    kind: Change
    path: str
    template: str
    summary: str


def fingerprint(comparison: Comparison) -> Fingerprint | None:
    """The fingerprint of ``comparison``; null unless both sides are there and differ."""
    legacy, celery = comparison.legacy, comparison.celery
    if legacy is None or celery is None or not comparison.differences:
        return None
    field = comparison.differences[0].field
    found = _found(field, legacy, celery)
    path = f"{field}, {found.where}" if found.where else field.value
    return Fingerprint(
        digest=_digest(found, comparison.language, field),
        language=comparison.language,
        kind=found.change,
        path=path,
        template=found.template,
        summary=_summary(found, comparison.language, field),
    )


def _found(field: Field, legacy: Observation, celery: Observation) -> Found:
    if (memory := endings.of_memory(legacy, celery)) is not None:
        return Found(Change.MEMORY, memory, "")
    if (limit := endings.of_limits(legacy, celery)) is not None:
        return Found(Change.LIMIT, limit, "")
    if field not in (Field.STDOUT, Field.STDERR):
        return Found(*endings.of_ending(legacy, celery), "")
    if (legacy.stdout, legacy.stderr) == (celery.stderr, celery.stdout):
        return Found(Change.SWAPPED, "stdout ↔ stderr", "")
    if field is Field.STDOUT:
        return change_of(legacy.stdout, celery.stdout)
    return change_of(legacy.stderr, celery.stderr)


def _digest(found: Found, language: str, field: Field) -> str:
    key = [found.change.value]
    if found.change in _DIRECTED | _OWN_WORDS:
        key.append(found.template)
    if found.change in _OWN_WORDS:
        key += [language, field.value]
    return sha256(json.dumps(key).encode()).hexdigest()[:_DIGITS]


def _summary(found: Found, language: str, field: Field) -> str:
    said = _IN_WORDS[found.change]
    if found.change in _DIRECTED | _OWN_WORDS:
        said = f"{said}: {found.template}"
    return f"{said} ({language}, {field})" if found.change in _OWN_WORDS else said

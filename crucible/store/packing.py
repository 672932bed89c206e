"""Observations as the store keeps them: what is large is compressed, and what both legs printed is kept once.

Small ones stay plain JSON. A packed one begins with ``z:``, followed by compressed JSON in base 64. One with
``as_legacy`` has no output of its own, but that of legacy's observation of the same run.
"""

import zlib
from base64 import b64decode, b64encode

import orjson

from crucible.models import Observation

_PACKED = "z:"
_LARGE = 4096
"""Characters from which it pays: below, compressing costs more time than it saves pages."""

_OUTPUT = {"stdout_b64", "stderr_b64"}


def packed(seen: Observation, twin: Observation | None = None) -> str:
    """``seen`` as text; ``twin`` is legacy's observation where that is written in the same transaction."""
    body = seen.model_dump_json(exclude_defaults=True)
    if len(body) < _LARGE:
        return body
    if twin is not None and all(getattr(seen, name) == getattr(twin, name) for name in _OUTPUT):
        document = seen.model_dump(mode="json", exclude_defaults=True, exclude=_OUTPUT)
        return orjson.dumps({**document, "as_legacy": True}).decode()
    short = _PACKED + b64encode(zlib.compress(body.encode(), 1)).decode()
    return short if len(short) < len(body) else body


def unpacked(body: str, legacy: Observation | None = None) -> Observation:
    """What was packed into ``body``; ``legacy`` is needed where that has the output.

    Raises ``ValueError`` where no version of Crucible wrote that.
    """
    if body.startswith(_PACKED):
        try:
            body = zlib.decompress(b64decode(body.removeprefix(_PACKED))).decode()
        except zlib.error as error:
            raise ValueError(f"does not unpack: {error}") from error
    document = orjson.loads(body)
    if isinstance(document, dict) and document.pop("as_legacy", False):
        if legacy is None:
            raise ValueError("has the output of legacy's observation, which is missing")
        document |= {name: getattr(legacy, name) for name in _OUTPUT}
    return Observation.model_validate(document)

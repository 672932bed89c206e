"""The legacy queue's payload: one JSON object with the field names of the system it belongs to."""

import re

import orjson

from crucible.errors import InputError
from crucible.settings import LegacySettings
from tasks.dispatch import Dispatch, Run, trace_fields, traced

PRIORITIES = range(9, -1, -1)
"""Most urgent first."""


def encode(dispatch: Dispatch, settings: LegacySettings) -> bytes:
    """The payload of ``dispatch``; the same one each time it is sent."""
    evaluation = dispatch.evaluation
    about = trace_fields(dispatch)
    return orjson.dumps(
        {
            settings.id_field: dispatch.run_id,
            **({settings.trace_field: about} if about else {}),
            settings.language_field: evaluation.language,
            settings.code_field: evaluation.code,
            settings.stdin_field: evaluation.stdin,
            settings.limits_field: evaluation.limits.model_dump(),
            settings.reply_field: dispatch.reply_to,
        }
    )


def id_pattern(settings: LegacySettings) -> str:
    """Lua's pattern of payloads made by ``encode``, for the queue's scripts; it captures the run id."""
    name = re.sub(r"(\W)", r"%\1", settings.id_field)
    return f'^{{"{name}":"([^"]+)"'


def decode(payload: bytes, settings: LegacySettings) -> Run:
    """The run that ``payload`` describes. Raises ``InputError`` when it is none; the sender's fault."""
    try:
        fields = orjson.loads(payload)
        run = Run(
            run_id=fields[settings.id_field],
            language=fields[settings.language_field],
            code=fields[settings.code_field],
            stdin=fields.get(settings.stdin_field) or "",
            limits=fields.get(settings.limits_field) or {},
            reply_to=fields[settings.reply_field],
            payload=payload,
        )
        about = fields.get(settings.trace_field)
        return traced(run, about) if isinstance(about, dict) else run
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"payload {payload[:80]!r} cannot be read: {error!r}") from error


def queue_keys(settings: LegacySettings) -> dict[int, str]:
    """The list of each priority, most urgent first."""
    return {priority: settings.queue_key.format(priority=priority) for priority in PRIORITIES}

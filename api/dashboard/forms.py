"""Forms of the dashboard: plain text only."""

from http import HTTPStatus
from urllib.parse import parse_qsl

from fastapi import Request

from api.problems import Problem
from api.requests import MAX_SMALL_BODY_BYTES, Intake
from crucible.models.evaluation import MAX_PROGRAM_BYTES

_PROGRAM_FORM_BYTES = 6 * MAX_PROGRAM_BYTES
"""A program and its input, each byte written as three characters."""
_MOST_FIELDS = 32


def small_forms() -> Intake:
    """Takes forms that hand in no programs."""
    return Intake(body_bytes=MAX_SMALL_BODY_BYTES)


def program_forms() -> Intake:
    """Takes forms that hand in a program."""
    return Intake(body_bytes=_PROGRAM_FORM_BYTES)


async def read_form(request: Request, intake: Intake) -> dict[str, str]:
    """The fields of a form; of two of one name the last. Raises a 413, 422 or 429 ``Problem``."""
    async with intake.body(request) as body:
        try:
            text = body.decode("ascii")
            return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS))
        except ValueError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the form cannot be read: {error}") from None

"""Ids that callers name: which could be one, and what is said of those that nothing has."""

import re
from http import HTTPStatus

from api.problems import Problem

_SHOWN = 60
_EVALUATION = re.compile(r"ev-[0-9A-Z]{26}")
_SWEEP = re.compile(r"sw-[0-9A-Z]{26}")


def is_evaluation_id(text: str) -> bool:
    """Whether an evaluation could have that id; no other text is looked up in the store."""
    return _EVALUATION.fullmatch(text) is not None


def is_sweep_id(text: str) -> bool:
    """Whether a sweep could have that id."""
    return _SWEEP.fullmatch(text) is not None


def unknown_evaluation(evaluation_id: str) -> Problem:
    """What is said of an evaluation that there is not."""
    return Problem(HTTPStatus.NOT_FOUND, f"no evaluation has the id {evaluation_id[:_SHOWN]!r}")


def unknown_sweep(sweep_id: str) -> Problem:
    """What is said of a sweep that there is not."""
    return Problem(HTTPStatus.NOT_FOUND, f"no sweep has the id {sweep_id[:_SHOWN]!r}")

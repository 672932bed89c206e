"""Cheap programs, each of which prints what is its own alone and says what is expected of it."""

import json
from pathlib import Path
from random import Random
from typing import Any

_SLEEPERS = 25
"""One in so many sleeps for a second, so that there is always one under way when something strikes."""
_FAILS = 11
_LEAVES_A_CHILD = 40
QUICK = 20
"""The number of a program that does nothing but print and end well."""


def write_corpus(path: Path, number: int, marker: str, seed: int) -> Path:
    """A corpus of ``number`` evaluations; long-lived processes are known by ``marker``."""
    chance = Random(seed)
    lines = [evaluation(f"{marker}/{each}", each, marker, chance) for each in range(number)]
    chance.shuffle(lines)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def evaluation(name: str, number: int, marker: str, chance: Random) -> dict[str, Any]:
    """One of them. Standard output is its name, whatever else it does."""
    status = number % 200 + 1 if number % _FAILS == 0 else 0
    language, code = _program(name, number, marker, status)
    return {
        "id": name,
        "language": language,
        "code": code,
        "priority": chance.randrange(10),
        "expect": {"stdout": f"{name}\n", "exit_code": status},
    }


def _program(name: str, number: int, marker: str, status: int) -> tuple[str, str]:
    if number % _SLEEPERS == 1:
        return "bash", f"(exec -a {marker} sleep 1)\necho {name}\nexit {status}"
    if number % _LEAVES_A_CHILD == 2:
        # Ended with the program, or it would be found by its name afterwards.
        return (
            "bash",
            f"(exec -a {marker} sleep 300) > /dev/null 2>&1 < /dev/null &\necho {name}\nexit {status}",
        )
    if number % 8 == 3:
        return "python", f"print({name!r})\nraise SystemExit({status})"
    return "bash", f"echo {name}\nexit {status}"

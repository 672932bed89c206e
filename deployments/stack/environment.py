"""What the processes of the stack see of the user's environment."""

import os
import re
import sysconfig
from pathlib import Path

import crucible
from deployments.stack.home import Home

_FOR_ONE_EXECUTOR = re.compile(r"CRUCIBLE_EXECUTOR_(\d+)_(.+)")


def inherited(home: Home, *, own_prefect: bool) -> dict[str, str]:
    """The user's environment with the home made absolute and this very Crucible importable.

    With a Prefect server of our own, settings for another one (a key for Prefect Cloud, say) are left out.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (own_prefect and name.startswith("PREFECT_")) and not _FOR_ONE_EXECUTOR.fullmatch(name)
    }
    return {**kept, **import_path(), "CRUCIBLE_HOME": str(home.root)}


def for_executor(number: int) -> dict[str, str]:
    """What is set for this executor alone: ``CRUCIBLE_EXECUTOR_3_TZ`` is its ``CRUCIBLE_EXECUTOR_TZ``."""
    matches = ((_FOR_ONE_EXECUTOR.fullmatch(name), value) for name, value in os.environ.items())
    return {
        f"CRUCIBLE_EXECUTOR_{match[2]}": value
        for match, value in matches
        if match and int(match[1]) == number
    }


def import_path() -> dict[str, str]:
    """``PYTHONPATH`` for a process that must import this Crucible, from wherever it is started.

    Needed when it runs from its source tree without being installed.
    """
    root = Path(crucible.__file__).parent.parent
    if root == Path(sysconfig.get_path("purelib")):
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}

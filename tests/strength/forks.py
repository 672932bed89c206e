"""A pytest plugin that collects tests once and runs some of them for each fault, in a fork that has it.

A fault lies within a function, so that its code can be changed where everything is imported already. Orders
and answers are lines of JSON through the pipes that ``STRENGTH_PIPES`` names.
"""

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import TextIO

import pytest
from _pytest.runner import runtestprotocol

PIPES = "STRENGTH_PIPES"
NOT_ENDED = "tests did not end"
_LOOK_EVERY_S = 0.05


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Obey until there are no more orders."""
    reading, writing = map(int, os.environ.pop(PIPES).split(","))
    items = {item.nodeid: item for item in session.items}
    with os.fdopen(reading) as orders, os.fdopen(writing, "w") as answers:
        print("collected", file=answers, flush=True)
        for line in orders:
            order = json.loads(line)
            pid = os.fork()
            if not pid:
                _run([items[each] for each in order["tests"] if each in items], order, answers)
            if not _has_ended(pid, order["within_s"]):
                print(json.dumps(NOT_ENDED), file=answers, flush=True)
    return True


def _run(items: list[pytest.Item], order: dict[str, str], answers: TextIO) -> None:
    """Answer with the first of ``items`` that fails, or null, and end this process."""
    failed = None
    try:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        _plant(Path(order["module"]).resolve(), order["source"])
        for item, following in zip(items, [*items[1:], None], strict=True):
            reports = runtestprotocol(item, log=False, nextitem=following)
            if wrong := [each for each in reports if each.failed]:
                failed = f"{item.nodeid}: {wrong[0].longreprtext.strip().splitlines()[-1]}"
                item.session._setupstate.teardown_exact(None)
                break
    except BaseException as error:  # noqa: BLE001 (whatever a fault leads to, it has been seen)
        failed = failed or repr(error)
    finally:
        print(json.dumps(failed), file=answers, flush=True)
        os._exit(0)


def _plant(path: Path, before: str) -> None:
    """Give all functions of the module in ``path`` the code that is there now, where it was ``before``."""
    pairs = zip(
        _functions(compile(before, str(path), "exec")),
        _functions(compile(path.read_text(), str(path), "exec")),
        strict=True,
    )
    now = {(old.co_qualname, old.co_firstlineno): new for old, new in pairs}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and Path(each.__code__.co_filename) == path:
            code = now.get((each.__code__.co_qualname, each.__code__.co_firstlineno))
            if code is not None and len(code.co_freevars) == len(each.__code__.co_freevars):
                each.__code__ = code


def _functions(code: CodeType) -> Iterator[CodeType]:
    """The code of all functions and classes within, in their order; what has no name is part of them."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if not each.co_name.startswith("<"):
                yield each
            yield from _functions(each)


def _has_ended(pid: int, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return False
        time.sleep(_LOOK_EVERY_S)
    return True

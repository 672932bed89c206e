"""Imported first by every Python process whose PYTHONPATH names this folder: fails background services.

A file ``{process id}.{service}`` in the folder that ``TEST_PLANTED`` names makes that service of that process
raise a ``LookupError``, once each time that it is touched: one of an event loop wherever it waits just then,
one of a thread at the end of its round, which comes every second at the latest.
"""

import asyncio
import importlib.util
import os
import sys
import threading
import time
from importlib.abc import MetaPathFinder
from pathlib import Path

_MODULE = "tasks.background"
_EVERY_S = 1.0
_LOOK_EVERY_S = 0.2


class _Planting(MetaPathFinder):
    """Waits for the one module, and changes it as soon as it is there."""

    def find_spec(self, fullname, *_):
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            _plant_in(module)

        spec.loader.exec_module = exec_module
        return spec


def _plant_in(module):
    folder, begun = Path(os.environ["TEST_PLANTED"]), time.time_ns()
    service_class, services_class = module.BackgroundService, module.BackgroundServices
    supervise, done, in_thread = (
        service_class.supervise,
        service_class.round_done,
        services_class.every_in_thread,
    )

    def fail_if_planted(service):
        planted = folder / f"{os.getpid()}.{service.name}"
        at = planted.stat().st_mtime_ns if planted.exists() else 0
        if at > getattr(service, "planted_at", begun):
            service.planted_at = at
            raise LookupError(f"planted in {service.name}")

    async def supervise_planted(self, loop):
        async def failing_loop():
            running = asyncio.ensure_future(loop())
            try:
                while not running.done():
                    fail_if_planted(self)
                    await asyncio.wait({running}, timeout=_LOOK_EVERY_S)
                return running.result()
            finally:
                running.cancel()
                await asyncio.wait({running})

        await supervise(self, failing_loop)

    def round_done(self):
        if threading.current_thread() is not threading.main_thread():
            fail_if_planted(self)
        done(self)

    def often(self, seconds, name, work, **options):
        options["bound_s"] = options.get("bound_s") or module._bound_s(seconds)
        in_thread(self, min(seconds, _EVERY_S), name, work, **options)

    service_class.supervise, service_class.round_done = supervise_planted, round_done
    services_class.every_in_thread = often


if "TEST_PLANTED" in os.environ:
    sys.meta_path.insert(0, _Planting())

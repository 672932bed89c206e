"""Imported first by every Python process whose PYTHONPATH names this folder: fails background services.

A file ``{process id}.{service}`` in the folder that ``TEST_PLANTED`` names makes the next round of that
service of that process raise a ``LookupError``, once. Rounds come every second at the latest.
"""

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

_MODULE = "tasks.background"
_EVERY_S = 1.0


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
    folder = Path(os.environ["TEST_PLANTED"])
    service_class, services_class = module.BackgroundService, module.BackgroundServices
    done, every, in_thread = service_class.round_done, services_class.every, services_class.every_in_thread

    def round_done(self):
        planted = folder / f"{os.getpid()}.{self.name}"
        if planted.exists():
            planted.unlink()
            raise LookupError(f"planted in {self.name}")
        done(self)

    def often(original):
        def replaced(self, seconds, name, work, **options):
            options["bound_s"] = options.get("bound_s") or module._bound_s(seconds)
            original(self, min(seconds, _EVERY_S), name, work, **options)

        return replaced

    service_class.round_done = round_done
    services_class.every, services_class.every_in_thread = often(every), often(in_thread)


if "TEST_PLANTED" in os.environ:
    sys.meta_path.insert(0, _Planting())

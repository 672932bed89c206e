"""Plants errors in the background services of any process that is started with ``environment``."""

import os
from pathlib import Path
from typing import NamedTuple

_PLANTING = Path(__file__).parent / "planting"
_ROOT = _PLANTING.parents[2]


class Planted(NamedTuple):
    """A background service, by the process that reports it (as ``/ready`` has it) and its name."""

    process: str
    service: str

    @property
    def message(self) -> str:
        """What the error says."""
        return f"planted in {self.service}"


class PlantedFaults:
    """Errors to come, as files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.environment = {
            "PYTHONPATH": os.pathsep.join((str(_PLANTING), str(_ROOT))),
            "TEST_PLANTED": str(folder),
        }
        """What processes need to have errors planted in them."""

    def plant(self, fault: Planted) -> None:
        """Have the next round of that service fail with an error that nobody expects, once."""
        process_id = fault.process.rpartition(":")[2]
        (self._folder / f"{process_id}.{fault.service}").touch()

"""Plants errors in the background services of any process that is started with ``environment``."""

from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "planting"


class Planted(NamedTuple):
    """A background service, by the process that reports it (as ``/ready`` has it) and its name."""

    process: str
    service: str

    @property
    def message(self) -> str:
        """What the error says."""
        return f"planted in {self.service}"


class PlantedFaults:
    """Errors to come, as files in ``folder``, which must be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {"PYTHONPATH": str(_FOLDER), "TEST_PLANTED": str(folder)}
        """What processes need to have errors planted in them."""

    def plant(self, fault: Planted) -> None:
        """Have the next round of that service fail with an error that nobody expects, once."""
        process_id = fault.process.rpartition(":")[2]
        (self._folder / f"{process_id}.{fault.service}").touch()

"""Clocks that jump while processes run, by libfaketime: the time of day; waiting takes as long as ever."""

from pathlib import Path

_LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/faketime/libfaketimeMT.so.1"),
)


def library() -> Path | None:
    """libfaketime, where it is installed."""
    return next((each for each in _LIBRARIES if each.exists()), None)


class Clocks:
    """Clocks by the group of processes that has one in common. They are right until they jump."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._offsets: dict[str, int] = {}

    def environment(self, whose: str) -> dict[str, str]:
        """What a process needs to have the clock of that group."""
        self.jump(whose, 0)
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file(whose)),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def jump(self, whose: str, by_s: int) -> None:
        """Have a clock jump by so many seconds from what it shows."""
        self._offsets[whose] = self._offsets.get(whose, 0) + by_s
        file = self._file(whose)
        draft = file.with_suffix(".new")
        draft.write_text(f"{self._offsets[whose]:+d}\n")
        draft.replace(file)

    def _file(self, whose: str) -> Path:
        return self._folder / whose

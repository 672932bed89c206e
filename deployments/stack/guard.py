"""The stack's end of the guardian."""

import subprocess
import sys
from contextlib import suppress

from deployments.stack import guardian


class Guard:
    """A process that kills the groups it was told of, should this process end without having done so."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, group: int) -> None:
        """From now on ``group`` must not outlive this process."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Nothing is left of ``group``; its number may become somebody else's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Ends the guardian, and with it the groups it still watches."""
        self._process.communicate()

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        # Should someone kill the guardian, the services themselves still end with this process.
        with suppress(BrokenPipeError):
            if pipe is not None:
                pipe.write(line.encode())
                pipe.flush()

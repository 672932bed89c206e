"""``python -m deployments.stack``: the stack without a terminal, until SIGTERM; it reports in lines."""

import asyncio
import sys

from crucible.errors import CrucibleError, InputError
from crucible.settings import Settings, load
from deployments.stack.home import StackState
from deployments.stack.running import EXIT_BAD_INPUT, EXIT_FAULT, serve_stack


def main() -> int:
    """Exit 0 after SIGTERM, 2 for wrong settings, 4 for a fault; the fault is the last line printed."""
    try:
        asyncio.run(serve_stack(load(Settings), _say_ready, _say))
    except CrucibleError as error:
        _print(str(error))
        return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAULT
    return 0


def _say(name: str, state: str) -> None:
    _print(f"{name} {state}")


def _say_ready(state: StackState) -> None:
    _print(f"up: {state.api_url}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""``python -m api``: the trigger API, set by ``CRUCIBLE_*``."""

import asyncio
import sys

from api.options import options_from_environment
from api.server import serve
from crucible.errors import CrucibleError, InputError
from crucible.logging import configure_logging
from crucible.telemetry.process import api_of_process, tracing
from flows.embedding import is_controller
from flows.endings import block_endings

_EXIT_BAD_INPUT = 2
_EXIT_FAULT = 4


def main() -> int:
    """Serve until SIGTERM; exit 2 on a setting that cannot be used, 4 when a needed server is away."""
    block_endings()
    configure_logging(service="api")
    try:
        options = options_from_environment(with_controller=is_controller(__doc__))
        with tracing("api", api_of_process()):
            asyncio.run(serve(options))
    except CrucibleError as error:
        sys.stderr.write(f"{error}\n")
        return _EXIT_BAD_INPUT if isinstance(error, InputError) else _EXIT_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m api``: the trigger API, set by ``CRUCIBLE_*``."""

import sys

from api.options import options_from_environment
from api.server import serve
from flows.process import is_controller, run_process


def main() -> int:
    """Serve until SIGTERM; exits as ``run_process`` says."""
    with_controller = is_controller(__doc__)

    async def serve_as_set() -> None:
        await serve(options_from_environment(with_controller=with_controller))

    return run_process("api", serve_as_set)


if __name__ == "__main__":
    sys.exit(main())

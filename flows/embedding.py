"""The command line of processes that can be a controller besides: those of the local stack."""

import argparse

WITH_CONTROLLER = "--with-controller"


def is_controller(about: str | None) -> bool:
    """Whether the command line of a process, which is ``about`` that, asks for a controller in it.

    Exits with 2 on anything else.
    """
    parser = argparse.ArgumentParser(description=about, allow_abbrev=False)
    parser.add_argument(
        WITH_CONTROLLER, action="store_true", help="be a controller as well, as python -m flows.controller is"
    )
    return bool(parser.parse_args().with_controller)

"""What begins a trace."""

from enum import StrEnum

from opentelemetry.context import Context, get_value, set_value

_KEY = "crucible-root"


class Root(StrEnum):
    """What a trace is of; whether it is recorded depends on that."""

    TRAFFIC = "traffic"
    SWEEP = "sweep"
    ALWAYS = "always"
    """Of something that is recorded because something else in it is."""


def root_context(of: Root) -> Context:
    """The context in which to begin a trace of that kind."""
    return set_value(_KEY, of, Context())


def root_in(context: Context | None) -> Root | None:
    """What a trace that begins in ``context`` is of; null where none is meant to begin."""
    found = get_value(_KEY, context)
    return found if isinstance(found, Root) else None

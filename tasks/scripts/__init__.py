"""The Lua scripts that make claiming, answering and queue-keeping atomic."""

from importlib.resources import files


def source(name: str) -> str:
    """Text of the script ``name``, with the queue's shared functions in front of it."""
    folder = files(__name__)
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("queue", name))

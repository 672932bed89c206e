"""The Lua scripts that make claiming, answering and queue-keeping atomic."""

from importlib.resources import files


def source(name: str, *shared: str) -> str:
    """Text of the script ``name``, with the functions of ``shared`` in front of it, else the queue's."""
    folder = files(__name__)
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in (*(shared or ("queue",)), name))

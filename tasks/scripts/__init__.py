"""The Lua scripts that make claiming, answering and queue-keeping atomic."""

from importlib.resources import files


def source(name: str, shared: str = "queue") -> str:
    """Text of the script ``name``, with the functions of the script ``shared`` in front of it."""
    folder = files(__name__)
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in (shared, name))

"""The names that files of a program may have."""

from crucible.errors import InputError

_LONGEST = 200


def checked(path: str) -> str:
    """``path``, if it names a file within the working folder; raises ``InputError`` with what is wrong.

    Allowed is a relative path of plain names: none is empty, ``.`` or ``..``, none holds a NUL or another
    control character, and the whole has at most 200 bytes of UTF-8.
    """
    parts = path.split("/")
    if not path or len(path.encode(errors="replace")) > _LONGEST:
        raise InputError(f"file name {path[:60]!r}: must have 1 to {_LONGEST} bytes")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        raise InputError(f"file name {path!r}: must be relative and stay within its folder")
    if not path.isprintable():
        raise InputError(f"file name {path!r}: holds a control character")
    return path

"""Program files named on the command line."""

from pathlib import Path

from crucible.errors import InputError
from crucible.models.evaluation import MAX_PROGRAM_BYTES

_LANGUAGE_OF = {
    ".py": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".sh": "bash",
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".java": "java",
}


def read_text(path: Path) -> str:
    """The text of a program or input file; raises ``InputError`` in one line for whatever is wrong with it."""
    try:
        size = path.stat().st_size
        if path.is_file() and size > MAX_PROGRAM_BYTES:
            raise InputError(f"{path} has {size} bytes; the limit is {MAX_PROGRAM_BYTES}")
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name a file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def language_of(path: Path, chosen: str | None) -> str:
    """The language chosen, else the one that the file's ending tells."""
    language = chosen or _LANGUAGE_OF.get(path.suffix)
    if language is None:
        raise InputError(f"the language of {path} is not told by its name; say it with --language")
    return language

"""Program files named on the command line."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from crucible.errors import InputError
from crucible.models import Evaluation, Limits
from crucible.models.evaluation import MAX_PROGRAM_BYTES
from executors.languages import LANGUAGES

Language = Annotated[
    str | None, typer.Option(metavar="NAME", help="Its language; told by the file's ending when not given.")
]
Stdin = Annotated[Path | None, typer.Option(metavar="FILE", help="File to give it as standard input.")]

_LANGUAGE_OF = {Path(language.source).suffix: name for name, language in LANGUAGES.items()}
_LANGUAGE_OF |= {".mjs": "javascript", ".cc": "cpp", ".cxx": "cpp"}
_NAME_LENGTH = 200


def read_evaluation(
    file: Path, language: str | None, stdin: Path | None, limits: str | None = None
) -> Evaluation:
    """The program in ``file`` as an evaluation of that name; ``limits`` is a JSON object as corpora have it.

    Raises ``InputError`` in one line for whatever is wrong with the files, the language or the limits.
    """
    code = read_text(file)
    try:
        return Evaluation(
            id=file.name.encode(errors="replace").decode()[:_NAME_LENGTH] or "program",
            language=language_of(file, language),
            code=code,
            stdin=read_text(stdin) if stdin else "",
            limits=_limits(limits) if limits is not None else Limits(),
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, fault['loc']))} of {file}: {fault['msg']}") from None


def _limits(text: str) -> Limits:
    try:
        return Limits.model_validate_json(text, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        where = "".join(f" {part}" for part in fault["loc"])
        raise InputError(f'--limits{where}: {fault["msg"]}; give an object as {{"memory_mb": 64}}') from None


def read_text(path: Path) -> str:
    """The text of a program or input file; raises ``InputError`` for whatever is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PROGRAM_BYTES + 1)
        if len(data) > MAX_PROGRAM_BYTES:
            raise InputError(f"{path} is too large; the limit is {MAX_PROGRAM_BYTES} bytes")
        return data.decode()
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

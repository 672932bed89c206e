"""The smallest program found that shows a mismatch, and the files that let anyone run it."""

import json
import shlex
from pathlib import Path

from crucible.errors import InputError
from crucible.fingerprints import Fingerprint
from crucible.models import Evaluation, Limits
from crucible.models.frozen import Frozen

AT_MOST = 300
"""Programs that are tried for one reproducer, unless told otherwise."""

_ENDINGS = {
    "python": ".py",
    "javascript": ".js",
    "bash": ".sh",
    "c": ".c",
    "cpp": ".cpp",
    "java": ".java",
    "go": ".go",
    "rust": ".rs",
    "ruby": ".rb",
    "perl": ".pl",
}
_STDIN = "stdin.txt"
_COMMAND = "command.txt"
_TEST = '''"""Both legs must agree on a program that was reduced from evaluation {evaluation_id}.

It fails as long as they do not. Needs the crucible command on PATH, and the environment (CRUCIBLE_HOME and
so on) of the executors in question: with those of one machine alone there may be nothing to see.
"""

import json
import subprocess
from pathlib import Path

CAUSE = {cause}
FOLDER = Path(__file__).parent
COMMAND = [
{command}
]


def test_both_legs_agree():
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    differing = [difference["field"] for difference in found["differences"]]
    assert found["classification"] == "match", f"{{CAUSE}}; the legs differ in {{differing}}"
'''


class Size(Frozen):
    """How long a program and its standard input are; bytes are those of UTF-8."""

    lines: int
    bytes: int
    stdin_lines: int
    stdin_bytes: int


class Reproducer(Frozen):
    """A mismatch, reduced. ``reduced`` is what is left of ``evaluation_id``'s program and standard input.

    ``programs`` counts the candidates that were tried, ``runs`` how often any of them ran on both legs.
    ``minimal`` is false when the cap on programs came before the end of the reduction.
    """

    evaluation_id: str
    fingerprint: Fingerprint
    reduced: Evaluation
    before: Size
    after: Size
    programs: int
    runs: int
    minimal: bool


def size_of(evaluation: Evaluation) -> Size:
    """The size of a program and its standard input."""
    code, stdin = evaluation.code, evaluation.stdin
    return Size(
        lines=len(code.splitlines()),
        bytes=len(code.encode()),
        stdin_lines=len(stdin.splitlines()),
        stdin_bytes=len(stdin.encode()),
    )


def write_reproducer(reproducer: Reproducer, folder: Path) -> tuple[Path, ...]:
    """Write the program, its standard input if any, a pytest file and the command line into ``folder``.

    The folder is made when it is not there; files of these names are replaced. Returns the files' paths, the
    pytest file's first. Raises ``InputError`` when the folder cannot be written: the caller's fault.
    """
    reduced = reproducer.reduced
    program = f"program{_ENDINGS.get(reduced.language, '.txt')}"
    contents = {
        f"test_{reproducer.fingerprint.digest}.py": _test(reproducer, program),
        program: reduced.code,
        _COMMAND: shlex.join(_words(reduced, program)) + "\n",
    }
    if reduced.stdin:
        contents[_STDIN] = reduced.stdin
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content.encode())
    except OSError as error:
        problem = error.strerror or str(error)
        raise InputError(
            f"the reproducer cannot be written to {str(folder)!r} ({problem}); "
            "name a writable folder with --out"
        ) from error
    return tuple(folder / name for name in contents)


def _words(reduced: Evaluation, program: str) -> list[str]:
    """The command line, to be given in the folder of the files."""
    words = ["crucible", "evaluate", program, "--language", reduced.language]
    if reduced.stdin:
        words += ["--stdin", _STDIN]
    if reduced.limits != Limits():
        words += ["--limits", json.dumps(reduced.limits.model_dump(mode="json", exclude_defaults=True))]
    return words


def _test(reproducer: Reproducer, program: str) -> str:
    # Names of files are made absolute, and not the folder changed: a relative CRUCIBLE_HOME stays what it is.
    words = [
        f"str(FOLDER / {word!a})" if word in (program, _STDIN) else ascii(word)
        for word in [*_words(reproducer.reduced, program), "--json"]
    ]
    return _TEST.format(
        evaluation_id=reproducer.evaluation_id,
        cause=ascii(reproducer.fingerprint.summary),
        command="\n".join(f"    {word}," for word in words),
    )

"""All languages, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crucible.models import Limits


@dataclass(frozen=True)
class Language:
    r"""A declaration. In commands the first word is looked up on the sandbox's PATH, unless it is a path.

    ``family`` is the toolchain it belongs to: languages of one family share what they need. ``hello`` is a
    program that prints ``hello\n``: each executor runs it at its start, and leaves out a language whose
    program does not. ``compile_limits`` and ``compile_environment`` are the compiler's own; what it leaves
    in ``/box`` is what runs.
    """

    name: str
    family: str
    source: str
    run: tuple[str, ...]
    version: tuple[str, ...]
    hello: str
    compile: tuple[str, ...] | None = None
    compile_limits: Limits = field(
        default=Limits(wall_s=60, cpu_s=30, memory_mb=1024, processes=256, output_kb=1024, disk_mb=256)
    )
    compile_environment: Mapping[str, str] = field(default_factory=dict)
    minimum: Limits = field(default=Limits())
    """What its own runtime needs before any program does anything; used for version and self-test."""


_NOT_KEPT = "/tmp"  # noqa: S108 (the sandbox's own; what a compiler leaves there goes with it)
_ROOMY = Limits(memory_mb=1024, processes=256, wall_s=30, cpu_s=20)

_ALL = (
    Language(
        name="python",
        family="script",
        source="main.py",
        run=("python3", "/box/main.py"),
        version=("python3", "--version"),
        hello="print('hello')",
    ),
    Language(
        name="javascript",
        family="node",
        source="main.js",
        run=("node", "/box/main.js"),
        version=("node", "--version"),
        hello="console.log('hello')",
        minimum=_ROOMY,
    ),
    Language(
        name="bash",
        family="script",
        source="main.sh",
        run=("bash", "/box/main.sh"),
        version=("bash", "--version"),
        hello="echo hello",
    ),
    Language(
        name="c",
        family="native",
        source="main.c",
        compile=("gcc", "-O1", "-o", "/box/main", "/box/main.c", "-lm", "-pthread"),
        run=("/box/main",),
        version=("gcc", "--version"),
        hello='#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n',
    ),
    Language(
        name="cpp",
        family="native",
        source="main.cpp",
        compile=("g++", "-O1", "-o", "/box/main", "/box/main.cpp", "-pthread"),
        run=("/box/main",),
        version=("g++", "--version"),
        hello='#include <cstdio>\nint main() { std::puts("hello"); }\n',
    ),
    Language(
        name="java",
        family="java",
        source="Main.java",
        compile=("javac", "-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-d", "/box", "/box/Main.java"),
        run=("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/box", "Main"),
        version=("java", "--version"),
        hello='public class Main { public static void main(String[] a) { System.out.println("hello"); } }',
        minimum=_ROOMY,
    ),
    Language(
        name="go",
        family="go",
        source="main.go",
        compile=("go", "build", "-ldflags=-s -w", "-o", "/box/main", "/box/main.go"),
        # Distributions no longer bring a compiled standard library: then it is compiled with each program.
        compile_limits=Limits(
            wall_s=120, cpu_s=120, memory_mb=1024, processes=256, output_kb=1024, disk_mb=512
        ),
        compile_environment={"HOME": _NOT_KEPT, "CGO_ENABLED": "0", "GOPROXY": "off"},
        run=("/box/main",),
        version=("go", "version"),
        hello='package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n',
    ),
    Language(
        name="rust",
        family="rust",
        source="main.rs",
        compile=(
            *("rustc", "--edition=2021", "-O", "-C", "strip=debuginfo"),
            *("-o", "/box/main", "/box/main.rs"),
        ),
        run=("/box/main",),
        version=("rustc", "--version"),
        hello='fn main() { println!("hello"); }\n',
    ),
    Language(
        name="ruby",
        family="ruby",
        source="main.rb",
        run=("ruby", "/box/main.rb"),
        version=("ruby", "--version"),
        hello="puts 'hello'",
    ),
    Language(
        name="perl",
        family="script",
        source="main.pl",
        run=("perl", "/box/main.pl"),
        version=("perl", "--version"),
        hello="print qq(hello\\n);",
    ),
)

LANGUAGES = {language.name: language for language in _ALL}
"""Every language Crucible knows; an executor offers those whose toolchain works in its sandbox."""

"""The cache of compiled programs."""

import dataclasses
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from crucible.models import Limits
from executors.compiled import Compiled
from executors.sandbox.interface import Program, Stage
from executors.sandbox.supervision.files import File

TEXT = st.text("ab[]", max_size=2)
CONTENT = st.sampled_from([b"", b"a", b"ab", b"b", b"[]"])
PROGRAMS = st.builds(
    Program,
    family=TEXT,
    files=st.lists(st.builds(File, TEXT, CONTENT, st.booleans()), max_size=3).map(tuple),
    stdin=st.just(b""),
    environment=st.dictionaries(TEXT, TEXT, max_size=2),
    stage=st.builds(Stage, st.lists(TEXT, max_size=3).map(tuple), st.just(Limits())),
)


def source(name: str) -> Program:
    """A compiler's run that differs from others by ``name``."""
    return Program("native", (File("main.c", name.encode()),), b"", {}, Stage(("cc",), Limits()))


def made(size: int) -> tuple[File, ...]:
    return (File("main", b"x" * size, executable=True),)


def what_a_compiler_sees(program: Program) -> tuple[object, ...]:
    return (program.family, program.stage.argv, dict(program.environment), sorted(program.files))


@given(PROGRAMS, PROGRAMS)
def test_only_what_is_the_same_for_the_compiler_is_found(kept: Program, asked: Program) -> None:
    compiled = Compiled()
    compiled.keep(kept, made(1))
    same = what_a_compiler_sees(kept) == what_a_compiler_sees(asked)
    assert (compiled.find(asked) is not None) == same


@given(PROGRAMS, PROGRAMS, st.sampled_from(["family", "files", "environment", "stage"]))
def test_what_differs_in_one_thing_alone_is_not_found(kept: Program, other: Program, changed: str) -> None:
    asked = dataclasses.replace(kept, **{changed: getattr(other, changed)})
    compiled = Compiled()
    compiled.keep(kept, made(1))
    same = what_a_compiler_sees(kept) == what_a_compiler_sees(asked)
    assert (compiled.find(asked) is not None) == same


def test_an_argument_does_not_pass_for_a_file() -> None:
    stages = [Stage(("cc", *more), Limits()) for more in ((), ("[]", "a"))]
    compiled = Compiled()
    compiled.keep(Program("native", (File("a", b"[]"),), b"", {}, stages[0]), made(1))
    assert compiled.find(Program("native", (), b"", {}, stages[1])) is None


def test_a_file_that_may_be_run_is_another_file() -> None:
    compiled = Compiled()
    compiled.keep(source("same"), made(1))
    asked = dataclasses.replace(source("same"), files=(File("main.c", b"same", executable=True),))
    assert compiled.find(asked) is None


@given(PROGRAMS, st.randoms())
def test_the_order_of_files_and_variables_does_not_matter(program: Program, random: Random) -> None:
    files, variables = list(program.files), list(program.environment.items())
    random.shuffle(files)
    random.shuffle(variables)
    compiled = Compiled()
    compiled.keep(program, made(1))
    asked = dataclasses.replace(program, files=tuple(files), environment=dict(variables))
    assert compiled.find(asked) == made(1)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=30))
def test_it_never_keeps_more_bytes_than_it_may_and_drops_the_least_lately_used(
    steps: list[tuple[str, int]],
) -> None:
    room, compiled = 20, Compiled(20)
    expected: dict[str, int] = {}  # least lately used first
    for name, size in steps:
        compiled.keep(source(name), made(size))
        expected.pop(name, None)
        expected[name] = size
        while sum(expected.values()) > room:
            del expected[next(iter(expected))]
        assert {each for each in "abcdef" if _kept(compiled, each)} == set(expected)
        expected = dict(sorted(expected.items()))  # looking has used them, in this order


def _kept(compiled: Compiled, name: str) -> bool:
    return compiled.find(source(name)) is not None


def test_what_is_larger_than_all_room_is_not_kept_and_takes_nothing_with_it_for_good() -> None:
    compiled = Compiled(10)
    compiled.keep(source("large"), made(11))
    assert compiled.find(source("large")) is None
    compiled.keep(source("small"), made(10))
    assert compiled.find(source("small")) == made(10)

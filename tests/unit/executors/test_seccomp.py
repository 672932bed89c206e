"""The system call filter, walked as the kernel walks it."""

import errno
import os
import struct

import pytest

from executors.sandbox.supervision import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
X86_64, I386 = 0xC000003E, 0x40000003
READ, SOCKET, SOCKETPAIR, CLONE, CLONE3, MEMFD_CREATE, SHMGET = 0, 41, 53, 56, 435, 319, 29
THREAD = 0x00010000
LONGEST_WALK = 16

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are x86_64's, no part of other machines"
)


def refused(number: int) -> int:
    """The filter's answer that lets a call fail with an errno."""
    return 0x00050000 | number


def instructions(*, accounted: bool = True) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", seccomp.build(accounted=accounted)))


def walk(
    number: int, argument: int = 0, architecture: int = X86_64, *, accounted: bool = True
) -> tuple[int, int]:
    """The answer for a call, and after how many instructions."""
    call = struct.pack("=IIQQ", number, architecture, 0, argument)
    program = instructions(accounted=accounted)
    at, value, steps = 0, 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        steps += 1
        at += 1
        if code == 0x06:
            return operand, steps
        if code == 0x20:
            (value,) = struct.unpack_from("=I", call, operand)
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += if_true if holds else if_false


def answer(number: int, argument: int = 0, *, accounted: bool = True) -> int:
    return walk(number, argument, accounted=accounted)[0]


@pytest.mark.parametrize("name", seccomp.DENIED)
def test_what_leads_out_fails_and_the_program_goes_on(name: str) -> None:
    assert answer(seccomp.DENIED[name][0]) == refused(errno.EPERM)


@pytest.mark.parametrize("name", seccomp.KILLED)
def test_what_takes_over_machines_ends_the_program(name: str) -> None:
    assert answer(seccomp.KILLED[name][0]) == KILL


def test_everything_else_is_allowed() -> None:
    special = {numbers[0] for table in (seccomp.DENIED, seccomp.KILLED) for numbers in table.values()}
    special |= {SOCKET, SOCKETPAIR, CLONE, CLONE3}
    assert {answer(number) for number in range(600) if number not in special} == {ALLOW}


def test_other_architectures_and_x32_get_nowhere() -> None:
    assert walk(READ, architecture=I386)[0] == KILL
    assert {answer(0x40000000 + number) for number in (READ, SOCKET, 0x1FF)} == {refused(errno.EPERM)}


@pytest.mark.parametrize("number", [SOCKET, SOCKETPAIR])
def test_sockets_are_local_or_internet_only(number: int) -> None:
    assert {family for family in range(64) if answer(number, family) == ALLOW} == {1, 2, 10}
    assert answer(number, 40) == refused(errno.EAFNOSUPPORT)


def test_processes_and_threads_may_be_made_but_no_namespaces() -> None:
    assert answer(CLONE, 17) == answer(CLONE, THREAD | 17) == ALLOW
    for bit in (7, 17, 25, 26, 27, 28, 29, 30):
        assert answer(CLONE, 1 << bit | 17) == refused(errno.EPERM)
    assert answer(CLONE3) == refused(errno.ENOSYS)


def test_memory_that_nobody_counts_is_denied_only_where_nobody_counts_it() -> None:
    for number in (MEMFD_CREATE, SHMGET):
        assert answer(number) == ALLOW
        assert answer(number, accounted=False) == refused(errno.EPERM)


def test_every_call_is_answered_after_a_short_walk() -> None:
    assert max(walk(number)[1] for number in range(600)) <= LONGEST_WALK

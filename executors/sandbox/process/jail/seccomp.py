"""The system call filter of a program: native architecture only, escapes and exotica denied.

Denied calls fail with an errno and the program goes on; calls that only ever serve to take over a
machine kill it (SIGSYS).
"""

import ctypes
import errno
import platform
import struct

from executors.sandbox.process.jail import syscalls

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENT_0 = 0, 4, 16
_X32_BIT = 0x40000000
_ALL_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag
_ALLOWED_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64)
_DENIED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "syslog": (103, 116),
}
_KILLED = {
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _answer(number: int, action: int) -> bytes:
    return _instruction(_JUMP_EQUAL, number, 0, 1) + _instruction(_RETURN, action)


def build() -> bytes:
    """The filter for this machine's architecture, as the kernel's instructions.

    Raises ``KeyError`` with the architecture's name where none was written.
    """
    machine = platform.machine()
    column = tuple(_AUDIT_ARCHITECTURE).index(machine) if machine in _AUDIT_ARCHITECTURE else -1
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, _AUDIT_ARCHITECTURE[machine], 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        program += [
            _instruction(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1),
            _instruction(_RETURN, _ERRNO | errno.EPERM),
        ]
    program += [_answer(numbers[column], _ERRNO | errno.EPERM) for numbers in _DENIED.values()]
    program += [_answer(numbers[column], _KILL) for numbers in _KILLED.values()]
    # Its flags are behind a pointer where no filter can look; callers then fall back to clone.
    program.append(_answer(_CLONE3[column], _ERRNO | errno.ENOSYS))
    program += [
        _instruction(_JUMP_EQUAL, _CLONE[column], 0, 3),
        _instruction(_LOAD, _ARGUMENT_0),
        _instruction(_JUMP_ANY_BIT, _ALL_NAMESPACES, 0, 1),
        _instruction(_RETURN, _ERRNO | errno.EPERM),
        _instruction(_LOAD, _NUMBER),
        _instruction(_JUMP_EQUAL, _SOCKET[column], 0, 5),
        _instruction(_LOAD, _ARGUMENT_0),
        _instruction(_JUMP_EQUAL, _ALLOWED_FAMILIES[0], 3, 0),
        _instruction(_JUMP_EQUAL, _ALLOWED_FAMILIES[1], 2, 0),
        _instruction(_JUMP_EQUAL, _ALLOWED_FAMILIES[2], 1, 0),
        _instruction(_RETURN, _ERRNO | errno.EAFNOSUPPORT),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def install(instructions: bytes) -> None:
    """Put the filter over this process and all it will start; needs no_new_privs. Cannot be undone."""
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = syscalls.FilterProgram(len(instructions) // 8, ctypes.addressof(buffer))
    syscalls.prctl(syscalls.PR_SET_SECCOMP, syscalls.SECCOMP_MODE_FILTER, program)

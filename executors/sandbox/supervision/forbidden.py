"""The system calls no program may make. Each sandbox turns these tables into a filter of its own kind.

Each name comes with its number on x86_64 and on aarch64.
"""

DENIED = {
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
"""Denied with EPERM; the program goes on."""

KILLED = {
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
}
"""Calls that only ever serve to take over a machine: they end the program with SIGSYS."""

UNACCOUNTED = {
    # Memory that belongs to no process: only a control group counts it.
    "memfd_create": (319, 279),
    "shmget": (29, 194),
}
"""Denied as well where no control group counts a program's memory."""

ALL_NAMESPACES = 0x7E020080
"""Every flag of clone(2) that asks for a namespace; clone3, whose flags no filter can see, is ENOSYS."""

SOCKET_FAMILIES = (1, 2, 10)
"""The families of sockets that may be made: local, IPv4 and IPv6."""

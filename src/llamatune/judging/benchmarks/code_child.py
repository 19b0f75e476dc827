"""The process that runs one program: it gives up all that it does not need, then runs it.

It imports nothing of llamatune, and is started with `python -I -S`.
"""

import ctypes
import json
import os
import platform
import resource
import struct
import sys

# SECCOMP_RET_*: a refusal is EPERM; of `clone3` ENOSYS, after which libc takes `clone`, whose flags can be looked at.
_ALLOW, _REFUSE, _UNKNOWN, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = (
    0x20,
    0x15,
    0x45,
    0x06,
)  # BPF: load a word, jump if equal, if a bit is set, return
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# Numbers of system calls: (x86-64, ARM). Refused are those of the network, of other programs and processes, and those
# that change files; `open` and `openat` are refused where they would write.
_REFUSED = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "sendto": (44, 206),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "kill": (62, 129), "tkill": (200, 130), "ptrace": (101, 117), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "prlimit64": (302, 261),
    "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33),
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "creat": (85, None),
    "openat2": (437, 437), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "utimensat": (280, 88), "mount": (165, 40), "umount2": (166, 39), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "bpf": (321, 280), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "finit_module": (313, 273), "reboot": (169, 142),
    "memfd_create": (319, 279),
}  # fmt: skip
_OPENS = {"open": ((2, None), 1), "openat": ((257, 56), 2)}
"""With the place of their flags among the arguments."""
_CLONE, _CLONE3 = (56, 220), 435
_THREAD = 0x00010000
"""The flag of `clone` that makes a thread, and no process."""


def shut_in() -> None:
    """Read a job, shut this process in, run the program, and say the word."""
    job = json.load(sys.stdin)
    say = os.dup(1)
    # What the program prints is heard by nobody.
    for number, how in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        os.dup2(os.open(os.devnull, how), number)
    try:
        _limit(job["seconds"], job["mebibytes"])
        _filter()
    except Exception as error:
        os.write(say, f"unconfined: {error}".encode())
        return
    exec(compile(job["program"], "program", "exec"), {"__name__": "program"})
    os.write(say, job["word"].encode())


def _limit(seconds: float, mebibytes: int) -> None:
    limits = {
        resource.RLIMIT_CPU: max(1, round(seconds)),
        resource.RLIMIT_AS: mebibytes << 20,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))


def _filter() -> None:
    """No system call of the list from here on, in this process and all that it may start."""
    at, architecture = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}[platform.machine()]
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if at == 0:
        # Numbers of the x32 interface have a bit of their own.
        program += [(_ANY_BIT, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]
    for numbers in _REFUSED.values():
        if (number := numbers[at]) is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    for numbers, argument in _OPENS.values():
        if (number := numbers[at]) is not None:
            program += [
                (_EQUAL, 0, 4, number),
                (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
                (_ANY_BIT, 0, 1, _WRITES),
                (_RETURN, 0, 0, _REFUSE),
                (_LOAD, 0, 0, _NUMBER),
            ]
    program += [
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _UNKNOWN),
        (_EQUAL, 0, 3, _CLONE[at]),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_ANY_BIT, 1, 0, _THREAD),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    held = ctypes.create_string_buffer(code)
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    # PR_SET_NO_NEW_PRIVS, then PR_SET_SECCOMP with SECCOMP_MODE_FILTER.
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(described)), 0, 0):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    shut_in()

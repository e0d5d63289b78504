"""Whether the kernel lets us use io_uring, and how to be without it. As a program: runs its arguments, without."""

import ctypes
import functools
import os
import struct
import sys

SYSTEM_CALLS = (425, 426, 427)  # io_uring_setup, _enter and _register, on every architecture
SINGLE_ISSUER, DEFER_TASKRUN = 1 << 12, 1 << 13  # what pgveil asks for


@functools.cache
def why_not() -> str:
    """The kernel's answer; empty where io_uring may be used."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(struct.pack("=III", 0, 0, SINGLE_ISSUER | DEFER_TASKRUN), 120)
    descriptor = libc.syscall(SYSTEM_CALLS[0], 8, parameters)
    if descriptor < 0:
        return os.strerror(ctypes.get_errno())
    os.close(descriptor)
    return ""


def without() -> tuple[str, ...]:
    """What to put in front of a command so that the kernel refuses io_uring to it."""
    return (sys.executable, "-B", __file__)


def forbid() -> None:
    """As containers do: a seccomp filter that answers EPERM (linux/seccomp.h, linux/bpf_common.h)."""
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    allow, refuse = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM
    steps = [(load, 0, 0, 0)]
    steps += [(equal, len(SYSTEM_CALLS) - index, 0, number) for index, number in enumerate(SYSTEM_CALLS)]
    steps += [(answer, 0, 0, allow), (answer, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, filtered = 38, 22, 2
    libc.prctl(set_no_new_privileges, 1, 0, 0, 0)
    if libc.prctl(set_seccomp, filtered, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    forbid()
    os.execvp(sys.argv[1], sys.argv[1:])

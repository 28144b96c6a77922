"""What a child may no longer do once it is about to run something that may harm the device.

For processes made for one such thing: nothing here can be taken back, but for ``memory_bounded``.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import platform
import resource
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILE_BYTES = 1 << 20
"""The runtimes write no files; what they print is held back in one of these."""
_CPU_SPARE_S = 5
"""Where soft and hard limit are the same the kernel sends SIGKILL at once, which tells nothing."""
_SOCKET_CALLS = {
    "x86_64": (0xC000_003E, 317, 41),
    "aarch64": (0xC000_00B7, 277, 198),
    "armv7l": (0x4000_0028, 383, 281),
}
"""By machine: its name in linux/audit.h, the numbers of the system calls seccomp and socket."""
_NO_NEW_PRIVS = 38
_FILTER_MODE, _FILTER_ALL_THREADS = 1, 1
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ALLOW, _REFUSE = 0x7FFF_0000, 0x0005_000D  # linux/seccomp.h; the errno is EACCES


@dataclass(frozen=True, slots=True)
class Confinement:
    """Bounds of what is still to come, beside what the process has used already."""

    memory_bytes: int
    """Address space beyond what is taken now."""
    seconds: float
    """Then the process ends by SIGALRM, whatever it is doing."""
    cpu_seconds: float
    """Processor time of all its threads; then it ends by SIGXCPU."""


def confine(confinement: Confinement) -> None:
    """Let this process from here on only compute, within bounds, and be the first to go.

    No core file onto an SD card, no file above 1 MB, no socket where the kernel can refuse them.
    """
    obey_timers()
    give_way(1000)
    _refuse_sockets()
    used_s = time_used_s()
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_CPU, math.ceil(used_s + confinement.cpu_seconds), spare=_CPU_SPARE_S)
    bound_memory(confinement.memory_bytes)
    signal.setitimer(signal.ITIMER_REAL, confinement.seconds)


def bound_memory(memory_bytes: int) -> None:
    """Let this process reserve at most so many bytes of address space beyond what is taken now."""
    _limit(resource.RLIMIT_AS, address_space_bytes() + memory_bytes)


@contextlib.contextmanager
def memory_bounded(memory_bytes: int) -> Iterator[None]:
    """Do the same for what is done meanwhile; for processes that go on with something else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = address_space_bytes() + memory_bytes
    if soft != resource.RLIM_INFINITY and soft <= bound:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def obey_timers() -> None:
    """Let a timer of the kernel's end this process, whatever it is doing and its parent did about signals."""
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def give_way(likelihood: int) -> None:
    """Be a process that the system can do without: it writes no core file onto an SD card when it crashes.

    Where memory runs out, it is the one to lose the more likely, the nearer ``likelihood`` is to 1000.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(likelihood), encoding="ascii")
    _limit(resource.RLIMIT_CORE, 0)


def address_space_bytes() -> int:
    """Return what this process has reserved."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def time_used_s() -> float:
    """Return the processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _limit(what: int, value: int, spare: int = 0) -> None:
    """Lower both limits: the hard one too, so that nothing raises it again."""
    _, hard = resource.getrlimit(what)
    top = value + spare if hard == resource.RLIM_INFINITY else min(value + spare, hard)
    resource.setrlimit(what, (min(value, top), top))


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def _refuse_sockets() -> None:
    """Let the kernel refuse new sockets to every thread. Old or bare kernels cannot: then nothing happens."""
    if platform.machine() not in _SOCKET_CALLS:
        return
    machine, seccomp, call = _SOCKET_CALLS[platform.machine()]
    code = b"".join(
        struct.pack("=HBBI", *line)
        for line in (
            (_LOAD, 0, 0, 4),  # the machine that the call was made for
            (_JUMP_EQUAL, 0, 3, machine),
            (_LOAD, 0, 0, 0),  # the number of the call
            (_JUMP_EQUAL, 0, 1, call),
            (_RETURN, 0, 0, _REFUSE),
            (_RETURN, 0, 0, _ALLOW),
        )
    )
    library = _c_library()
    library.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _Program(len(code) // 8, code)
    library.syscall(seccomp, _FILTER_MODE, _FILTER_ALL_THREADS, ctypes.byref(program))


def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)

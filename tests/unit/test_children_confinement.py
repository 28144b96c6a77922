"""What a confined child can do no more."""

from __future__ import annotations

import signal
import subprocess
import sys

CONFINED = """
import resource, signal, socket, tempfile
from galago_edge.children.confinement import Confinement, address_space_bytes, confine
confine(Confinement(memory_bytes=64_000_000, seconds=30, cpu_seconds=30))
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert resource.getrlimit(resource.RLIMIT_AS)[0] <= address_space_bytes() + 64_000_000
try:
    bytearray(80_000_000)
    print("memory")
except MemoryError:
    pass
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(2 << 20))
    print("file")
except OSError:
    pass
try:
    socket.socket()
    print("socket")
except PermissionError:
    pass
print("confined")
"""


def test_a_confined_process_has_little_memory_no_core_no_large_file_and_no_socket() -> None:
    done = subprocess.run([sys.executable, "-c", CONFINED], capture_output=True, text=True, check=True)
    assert done.stdout == "confined\n"


BOUNDED = """
import resource
from galago_edge.children.confinement import memory_bounded
before = resource.getrlimit(resource.RLIMIT_AS)
with memory_bounded(64_000_000):
    with memory_bounded(1 << 40):  # a wider one inside changes nothing
        try:
            bytearray(80_000_000)
            print("memory")
        except MemoryError:
            pass
assert resource.getrlimit(resource.RLIMIT_AS) == before
bytearray(80_000_000)
print("bounded")
"""


def test_a_bound_of_memory_for_a_while_is_taken_back() -> None:
    done = subprocess.run([sys.executable, "-c", BOUNDED], capture_output=True, text=True, check=True)
    assert done.stdout == "bounded\n"


def test_a_confined_process_ends_when_its_time_is_up() -> None:
    code = (
        "from galago_edge.children.confinement import Confinement, confine\n"
        "confine(Confinement(memory_bytes=1 << 30, seconds={}, cpu_seconds={}))\n"
        "while True: pass"
    )
    for seconds, cpu_seconds, number in ((0.2, 60, signal.SIGALRM), (60, 0.2, signal.SIGXCPU)):
        done = subprocess.run([sys.executable, "-c", code.format(seconds, cpu_seconds)], check=False)
        assert done.returncode == -number


GIVES_WAY = """
import os, resource, signal
from pathlib import Path
from galago_edge.children.confinement import give_way, obey_timers
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGXCPU])
give_way(700)
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert Path("/proc/self/oom_score_adj").read_text() == "700\\n"
obey_timers()
signal.setitimer(signal.ITIMER_REAL, 0.05)
while True: pass
"""


def test_a_timer_ends_a_child_whose_parent_had_blocked_and_ignored_its_signal() -> None:
    assert subprocess.run([sys.executable, "-c", GIVES_WAY], check=False).returncode == -signal.SIGALRM

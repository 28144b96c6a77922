"""Child processes: told how they ended, never waited for without end, and gone with their parent."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from galago_edge.children import stragglers
from galago_edge.children.child import Child
from galago_edge.children.child_environment import FEW_RESERVES
from galago_edge.children.ending import Ending
from galago_edge.children.output import Output
from real_parts import wait_for

FOREVER_S = 60.0
"""A deadline that is met only when something is broken."""
TIED = "from galago_edge.children.lifeline import die_with_parent; die_with_parent()\n"
NO_CORE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
HANGS = "import time; time.sleep(1000)\n"
HANGS_HOLDING_EVERYTHING = "import ctypes; ctypes.PyDLL(None).sleep(1000)\n"  # no other thread runs
HANGS_DEAF = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
time.sleep(1000)
"""


@pytest.fixture
def output() -> Iterator[Output]:
    with Output("test-output") as output:
        yield output


def started(code: str, output: Output | None = None, **options: object) -> Child:
    kept = {"stdout": output.fileno(), "stderr": output.fileno()} if output else {}
    return Child(("-c", code), **kept, **options)  # type: ignore[arg-type]


def said(code: str, output: Output, **options: object) -> str:
    """Everything that a child wrote that ended well."""
    with started(code, output, **options) as child:
        assert child.wait(FOREVER_S) == Ending(0, None), output.text()
    return output.text().strip()


def is_there(pid: int) -> bool:
    """Whether a process lives; one that ended and that nobody looked after yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def open_files() -> int:
    gc.collect()  # what tests before this one left is not closed in the middle of it
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("code", [0, 1, 7])
def test_an_exit_code_is_told(code: int) -> None:
    with started(f"raise SystemExit({code})") as child:
        ending = child.wait(FOREVER_S)
        assert ending == child.ending == Ending(code, None)
        assert str(ending) == f"ended with exit code {code}"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGALRM])
def test_a_signal_is_told_by_its_name(number: signal.Signals) -> None:
    with started(f"{NO_CORE}import os; os.kill(os.getpid(), {number:d})") as child:
        ending = child.wait(FOREVER_S)
        assert ending == Ending(None, number.name)
        assert str(ending) == f"was ended by {number.name}"


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert Ending.of(-40) == Ending(None, "signal 40")
    assert Ending.of(-int(signal.SIGRTMIN)).signal == "SIGRTMIN"


def test_a_wait_ends_with_its_deadline_and_the_child_lives_on() -> None:
    with started(HANGS) as child:
        assert child.wait(0.05) is None and child.wait(0) is None and child.ending is None
        assert is_there(child.pid)
    assert child.ending == Ending(None, "SIGKILL")
    assert not is_there(child.pid)


def test_any_thread_may_end_what_another_one_waits_for() -> None:
    with started(HANGS) as child:
        timer = threading.Timer(0.1, child.kill)
        timer.start()
        assert child.wait(FOREVER_S) == Ending(None, "SIGKILL")
        timer.join()
        child.kill()  # harmless


def test_who_ends_when_asked_is_not_killed() -> None:
    """Asked by what they share: here a pipe that closes."""
    theirs, ours = os.pipe()
    code = "import os, sys; os.read(int(sys.argv[1]), 1); raise SystemExit(3)"
    child = started(code, shared=(theirs,))
    os.close(theirs)
    os.close(ours)
    child.close(polite_s=FOREVER_S)
    assert child.ending == Ending(3, None)


PARENT = """
import os, sys
from galago_edge.children.child import Child
child = Child(("-c", sys.argv[1]), stdout=1)
sys.stdout.write(f"{child.pid}\\n")  # at once: the child writes into the same pipe
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize(
    "hang",
    [HANGS, HANGS_HOLDING_EVERYTHING, HANGS_DEAF],
    ids=["sleeps", "holds the interpreter", "blocks all signals"],
)
def test_a_child_dies_with_its_parent_whatever_both_do(hang: str, number: signal.Signals) -> None:
    code = f"{TIED}print('tied\\n', end='', flush=True)\n{hang}"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        told = {parent.stdout.readline() for _ in range(2)}  # by parent and child, whoever comes first
        assert b"tied\n" in told
        (pid,) = map(int, told - {b"tied\n"})
        assert is_there(pid)
        parent.send_signal(number)
        parent.wait(FOREVER_S)
    try:
        wait_for(lambda: not is_there(pid), "the child outlives its parent")
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise


def test_a_child_whose_parent_went_before_it_was_tied_ends_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", f"{TIED}{HANGS}"], stdin=subprocess.PIPE) as orphan:
        assert orphan.stdin is not None
        orphan.stdin.close()
        try:
            assert orphan.wait(FOREVER_S) in (1, -signal.SIGKILL)
        finally:
            orphan.kill()


def test_a_child_outlives_the_thread_that_started_it() -> None:
    children: list[Child] = []
    with Output("test-output") as output:
        thread = threading.Thread(
            target=lambda: children.append(started(f"{TIED}print('tied', flush=True)\n{HANGS}", output))
        )
        thread.start()
        thread.join()
        (child,) = children
        with child:
            wait_for(lambda: output.text() == "tied\n", "the child")
            assert child.wait(0.2) is None


def test_a_child_that_nobody_holds_any_more_dies(output: Output) -> None:
    """Whoever forgets ``close`` leaks no process."""
    child = started(f"{TIED}print('tied', flush=True)\n{HANGS}", output)
    wait_for(lambda: output.text() == "tied\n", "the child")
    pid = child.pid
    assert child._process.stdin is not None
    child._process.stdin.close()  # as the collector does
    wait_for(lambda: not is_there(pid), "the child outlives its lifeline")
    child.close()


def test_foreign_code_that_reads_standard_input_gets_nothing_and_goes_on(output: Output) -> None:
    assert said(f"{TIED}import sys; print(repr(sys.stdin.read()))", output) == "''"


def test_what_asks_a_whole_group_to_end_is_left_to_the_parent(output: Output) -> None:
    code = (
        "from galago_edge.children.lifeline import leave_signals_to_parent\n"
        "leave_signals_to_parent()\n"
        "import os\n"
        "for number in (1, 2, 15):\n"
        "    os.kill(os.getpid(), number)\n"
        "print('lives')"
    )
    assert said(code, output) == "lives"


def test_a_child_has_a_session_of_its_own_unless_a_terminal_is_to_reach_it(output: Output) -> None:
    code = "import os; print(os.getsid(0), os.getpgid(0), os.getpid(), flush=True)"
    session, group, pid = said(code, output).split()
    assert session == group == pid
    with Output("test-output") as other:
        session, group, pid = said(code, other, own_session=False).split()
    assert (int(session), int(group)) == (os.getsid(0), os.getpgid(0))


def test_a_child_gets_the_descriptors_that_are_shared_and_no_others(output: Output) -> None:
    mine, theirs = os.pipe()
    os.set_inheritable(mine, True)  # as a careless library leaves it
    listing = (
        "import os, sys\n"
        "there = [n for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}')]\n"
        "print(sys.argv[1], *there)"
    )
    number, *there = said(listing, output, shared=(theirs,)).split()
    os.close(mine)
    os.close(theirs)
    assert int(number) == theirs
    assert sorted(map(int, there)) == [0, 1, 2, theirs]


def test_numbers_of_descriptors_come_before_the_arguments(output: Output) -> None:
    number = output.fileno()
    code = "import sys; print(*sys.argv[1:])"
    child = Child(("-c", code), ("one", b"two"), shared=(number,), stdout=number)
    with child:
        child.wait(FOREVER_S)
    assert output.text() == f"{number} one two\n"


def test_a_child_finds_this_copy_of_the_package_and_nothing_in_its_folder(
    output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import galago_edge

    (tmp_path / "galago_edge").mkdir()
    (tmp_path / "galago_edge/__init__.py").write_text("raise SystemExit('the wrong copy')")
    (tmp_path / "stray.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    code = (
        "import importlib.util, galago_edge\nprint(galago_edge.__file__, importlib.util.find_spec('stray'))"
    )
    assert said(code, output) == f"{galago_edge.__file__} None"


def test_more_of_an_environment_is_added_to_the_usual_one(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GALAGO_TEST", "usual")
    code = "import os; print(os.environ['GALAGO_TEST'], os.environ['OMP_NUM_THREADS'])"
    assert said(code, output, more_environment=FEW_RESERVES) == "usual 1"
    assert "MALLOC_ARENA_MAX" not in os.environ


def test_memory_is_told_while_there_is_any() -> None:
    with started(HANGS) as child:
        wait_for(lambda: 1e6 < child.rss_bytes() < 200e6, "a process of Python's size")
    assert child.rss_bytes() == 0


def test_children_that_came_and_went_leave_nothing_behind() -> None:
    files, threads = open_files(), threading.active_count()
    for code in ("pass", "raise SystemExit(1)", "import os; os.abort()", HANGS) * 2:
        child = started(NO_CORE + code)
        child.wait(0.1)
        child.close()
        child.close()
        assert not is_there(child.pid)
    assert open_files() <= files  # tests before this one may have left what ends meanwhile
    wait_for(lambda: threading.active_count() <= threads, "as few threads")
    wait_for(lambda: stragglers.reap() == 0, "those that were slow to end")


def test_a_child_that_cannot_be_started_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    files = open_files()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(FileNotFoundError):
        started("pass")
    assert open_files() == files


def test_what_the_kernel_does_not_end_is_left_once_and_reaped_when_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = started(HANGS)
    monkeypatch.setattr(child._process, "kill", lambda: None)  # as if stuck inside a driver
    begun = time.monotonic()
    child.close(killed_s=0.01)
    child.close(killed_s=0.01)
    assert time.monotonic() - begun < FOREVER_S
    assert child.ending is None
    assert stragglers.reap() == 1
    os.kill(child.pid, signal.SIGKILL)
    wait_for(lambda: stragglers.reap() == 0, "the child is not looked after")
    assert child.ending == Ending(None, "SIGKILL")
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)  # nobody is left to be reaped

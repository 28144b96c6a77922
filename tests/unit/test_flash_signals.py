"""Whoever presses Ctrl+C twice in a hurry ends a run; nobody waits for himself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from galago_workstation.commands.flash import on_signals
from real_parts import wait_for


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_the_handling_of_another_waits_for_its_turn(second: signal.Signals) -> None:
    lock, calls = threading.Lock(), []  # a lock such as an Event has inside

    def interrupt() -> None:
        assert lock.acquire(timeout=60), "the second call stands within the first"
        try:
            if not calls:
                os.kill(os.getpid(), second)
                for _ in range(1000):  # time for a handler to be called here
                    pass
            calls.append(threading.current_thread())
        finally:
            lock.release()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with on_signals(interrupt):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: len(calls) == 2, "both")
    assert {number: signal.getsignal(number) for number in before} == before


def test_no_signal_is_lost_at_the_end_of_a_run() -> None:
    calls: list[int] = []
    with on_signals(lambda: calls.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(calls) == 2


def test_of_two_signals_that_come_together_none_waits_for_the_main_thread() -> None:
    """The second may be given to another thread, and then nothing wakes the main one."""
    program = """
import os, signal, sys, threading
from galago_workstation.commands.flash import on_signals
both, calls = threading.Event(), []
def interrupt():
    calls.append(1)
    if len(calls) == 2:
        both.set()
others = [threading.Thread(target=both.wait, daemon=True) for _ in range(4)]
for other in others:
    other.start()
with on_signals(interrupt):
    print("ready", flush=True)
    both.wait()
"""
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as waiting:
            try:
                assert waiting.stdout is not None and waiting.stdout.readline() == b"ready\n"
                waiting.send_signal(signal.SIGINT)
                waiting.send_signal(signal.SIGTERM)
                assert waiting.wait(60) == 0
            finally:
                waiting.kill()

"""An accelerated model in a process of its own, with the delegate of tests/data/test_delegate.c."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from galago_edge.children.channel import Channel, channel_ends
from galago_edge.contract.errors import Reason
from galago_edge.contract.profile import Accelerator
from galago_edge.engine import AcceleratorError, Engine, Fault, RemoteEngine, probe_delegate, remote
from galago_edge.engine.worker_messages import WorkerAnswer
from real_parts import wait_for

Start = Callable[..., RemoteEngine]


@pytest.fixture
def start(delegate_library: Path, tiny_image_model: bytes) -> Iterator[Start]:
    """Returns what starts an engine whose delegate has these options; all are closed after the test."""
    engines = []

    def make(model: bytes | None = None, *, invoke_s: float = 600.0, **options: Any) -> RemoteEngine:
        accelerator = Accelerator(
            library=str(delegate_library), options={name: str(value) for name, value in options.items()}
        )
        engine = RemoteEngine("test", model or tiny_image_model, accelerator, probe_s=600, invoke_s=invoke_s)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


def open_files() -> set[str]:
    gc.collect()  # what tests before this one left is not closed in the middle of it
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def loaded(engine: RemoteEngine) -> RemoteEngine:
    engine.load()
    return engine


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("name", ["tiny_image_model", "tiny_audio_model", "block_model"])
def test_a_model_gives_the_same_answers_in_its_own_process(
    start: Start, name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    engine, cpu = loaded(start(model)), Engine(model)
    assert (engine.input, engine.output, engine.parts) == (cpu.input, cpu.output, 1)
    random = np.random.default_rng(3)
    for _ in range(20):
        window = random.integers(0, 128, cpu.input.shape[1:]).astype(cpu.input.dtype)
        for backend in (engine, cpu):
            backend.input_view()[...] = window
            backend.invoke()
        difference = engine.logits().astype(int) - cpu.logits()
        assert np.abs(difference).max() <= 1  # the test's kernel rounds in floating point


@pytest.mark.parametrize(
    ("mode", "fault", "told"),
    [
        ("create_fails", Fault.DELEGATE_LOAD_FAILED, "no accelerator"),
        ("prepare_fails", Fault.DELEGATE_PREPARE_FAILED, "does not know this model"),
        ("prepare_crashes", Fault.DELEGATE_CRASHED, "SIGSEGV while loading"),
        ("takes_nothing", Fault.NOT_APPLIED, "no operator"),
        ("invoke_fails", Fault.INVOKE_FAILED, "the accelerator is gone"),
        ("crashes", Fault.DELEGATE_CRASHED, "SIGSEGV while loading"),
    ],
)
def test_a_delegate_that_fails_to_load_is_told_by_its_fault(
    start: Start, mode: str, fault: Fault, told: str
) -> None:
    with pytest.raises(AcceleratorError, match=told) as caught:
        start(mode=mode).load()
    assert (caught.value.fault, caught.value.reason) == (fault, Reason.ACCELERATOR_FAILED)


def test_a_delegate_that_hangs_while_it_loads_is_ended(
    delegate_library: Path, tiny_image_model: bytes
) -> None:
    accelerator = Accelerator(library=str(delegate_library), options={"mode": "prepare_hangs"})
    engine = RemoteEngine("test", tiny_image_model, accelerator, probe_s=0.5)
    with pytest.raises(AcceleratorError, match=r"0\.5 s of loading") as caught:
        engine.load()
    engine.close()
    assert caught.value.fault is Fault.DELEGATE_HUNG
    assert engine.gone


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("invoke_fails", Fault.INVOKE_FAILED),
        ("crashes", Fault.DELEGATE_CRASHED),
        ("hangs", Fault.DELEGATE_HUNG),
    ],
)
def test_the_input_is_still_there_when_the_nth_run_fails(start: Start, mode: str, fault: Fault) -> None:
    engine = loaded(start(mode=mode, at=4, invoke_s=4.0))  # run 1 was part of loading
    for level in (10, 20):
        engine.input_view()[...] = level
        engine.invoke()
    engine.input_view()[...] = 30
    with pytest.raises(AcceleratorError) as caught:
        engine.invoke()
    assert caught.value.fault is fault
    engine.close()
    assert (engine.input_view() == 30).all()  # readable even when the process and its files are gone


def test_a_process_that_was_killed_between_two_windows_is_noticed_at_the_next(start: Start) -> None:
    engine = loaded(start())
    os.kill(engine.pid, signal.SIGKILL)
    wait_for(lambda: not alive(engine.pid), "the end of the worker")
    engine.input_view()[...] = 7
    with pytest.raises(AcceleratorError, match="SIGKILL while running") as caught:
        engine.invoke()
    assert caught.value.fault is Fault.DELEGATE_CRASHED


def test_loading_can_be_broken_off_from_another_thread(start: Start) -> None:
    engine = start(mode="prepare_hangs")
    timer = threading.Timer(0.3, engine.kill)
    timer.start()
    with pytest.raises(AcceleratorError) as caught:
        engine.load()  # would wait ten minutes
    timer.join()
    assert caught.value.fault is Fault.DELEGATE_CRASHED


def test_a_process_that_is_not_the_worker_is_refused(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_WORKER", "galago_edge.no_such_worker")
    with pytest.raises(AcceleratorError, match=r"exit code 1 .*No module named") as caught:
        start().load()
    assert caught.value.fault is Fault.DELEGATE_CRASHED


@pytest.mark.parametrize(
    "answer", [b"no JSON", b"no JSON\n", b'{"type":"failed","fault":"new","message":""}\n', b"{}\n"]
)
def test_an_answer_that_is_none_is_a_fault_and_no_traceback(start: Start, answer: bytes) -> None:
    engine = loaded(start())
    ours, theirs = channel_ends()
    engine._channel.close()
    engine._channel = Channel(ours, WorkerAnswer)
    with theirs:
        theirs.send(answer)
        with pytest.raises(AcceleratorError, match="no answer") as caught:
            engine.invoke()
    assert caught.value.fault is Fault.WORKER_FAILED


def test_an_answer_to_another_question_is_a_fault_too(start: Start) -> None:
    engine = start()
    ours, theirs = channel_ends()
    engine._channel.close()
    engine._channel = Channel(ours, WorkerAnswer)
    with theirs:
        theirs.send(b'{"type":"done"}\n')
        with pytest.raises(AcceleratorError, match="out of turn") as caught:
            engine.load()
    assert caught.value.fault is Fault.WORKER_FAILED


def test_without_memory_for_a_process_the_fault_says_so(
    delegate_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    before = open_files()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        with pytest.raises(AcceleratorError, match="Cannot allocate memory") as caught:
            RemoteEngine("test", b"model", Accelerator(library=str(delegate_library)))
    assert caught.value.fault is Fault.WORKER_FAILED
    assert open_files() == before


def test_the_worker_leaves_the_signals_of_a_service_to_the_service(start: Start) -> None:
    engine = loaded(start())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(engine.pid, number)
    engine.input_view()[...] = 250
    engine.invoke()
    assert engine.logits().argmax() == 2


def test_the_worker_writes_no_core_file_and_is_the_first_to_lose_memory(start: Start) -> None:
    engine = loaded(start())
    limits = Path(f"/proc/{engine.pid}/limits").read_text().splitlines()
    assert next(line for line in limits if line.startswith("Max core")).split()[4] == "0"
    assert int(Path(f"/proc/{engine.pid}/oom_score_adj").read_text()) == 800
    assert 10e6 < engine.rss_bytes() < 300e6
    engine.close()
    assert engine.rss_bytes() == 0


PARENT = """
import os, sys
from galago_edge.contract.profile import Accelerator
from galago_edge.engine import RemoteEngine
library, model, mode = sys.argv[1:]
accelerator = Accelerator(library=library, options={"mode": mode})
engine = RemoteEngine("test", open(model, "rb").read(), accelerator, probe_s=30.0 if mode == "good" else 1.0)
if mode == "good":
    engine.load()
print(engine.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("mode", ["good", "prepare_hangs"])
def test_the_worker_ends_when_the_runtime_was_killed_even_if_the_delegate_hangs(
    delegate_library: Path, mode: str
) -> None:
    model = Path(__file__).parents[1] / "data" / "tiny_image.tflite"
    command = [sys.executable, "-c", PARENT, str(delegate_library), str(model), mode]
    parent = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pid = int(parent.stdout)
    wait_for(lambda: not alive(pid), "the end of a worker without a runtime")


def test_engines_that_came_and_went_leave_nothing_behind(
    delegate_library: Path, tiny_image_model: bytes
) -> None:
    gc.collect()  # what earlier tests left
    files, threads = len(open_files()), threading.active_count()
    for mode in ("good", "crashes", "create_fails", "good", "prepare_crashes", "takes_nothing") * 2:
        accelerator = Accelerator(library=str(delegate_library), options={"mode": mode})
        engine = RemoteEngine("test", tiny_image_model, accelerator)
        with contextlib.suppress(AcceleratorError):
            engine.load()
            assert mode == "good"
        engine.close()
        assert engine.gone
        assert not alive(engine.pid)
    del engine  # the mapped memory goes with the object, because views may still show it
    assert len(open_files()) <= files  # what earlier tests left may end meanwhile
    wait_for(lambda: threading.active_count() <= threads, "as few threads")


def test_a_delegate_can_be_tried_without_a_model(delegate_library: Path) -> None:
    probe_delegate("test", Accelerator(library=str(delegate_library)))
    missing = Accelerator(library="libgalago-no-such-accelerator.so.1")
    for accelerator, told in [
        (missing, "cannot open shared object file"),
        (Accelerator(library=str(delegate_library), options={"mode": "create_fails"}), "no accelerator"),
        (Accelerator(library="libc.so.6"), "tflite_plugin_create_delegate"),
    ]:
        with pytest.raises(AcceleratorError, match=told) as caught:
            probe_delegate("test", accelerator)
        assert caught.value.fault is Fault.DELEGATE_LOAD_FAILED


def test_both_runtimes_run_the_delegate(delegate_library: Path, tflite_runtime_python: Path) -> None:
    probe = """
import sys
from galago_edge.contract.profile import Accelerator
from galago_edge.engine import AcceleratorError, RemoteEngine, runtime
library, model = sys.argv[1:]
told = [runtime().package]
for mode in ("good", "create_fails", "prepare_fails", "prepare_crashes", "takes_nothing", "invoke_fails"):
    accelerator = Accelerator(library=library, options={"mode": mode})
    engine = RemoteEngine("test", open(model, "rb").read(), accelerator)
    try:
        engine.load()
        engine.input_view()[...] = 250
        engine.invoke()
        told.append(f"label {engine.logits().argmax()}")
    except AcceleratorError as error:
        told.append(str(error.fault))
    engine.close()
print(*told, sep=",")
"""
    model = Path(__file__).parents[1] / "data" / "tiny_image.tflite"
    answers = []
    for python in (sys.executable, str(tflite_runtime_python)):
        command = [python, "-c", probe, str(delegate_library), str(model)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        answers.append(ran.stdout.strip().split(","))
    assert [packages := answer.pop(0) for answer in answers] == ["ai-edge-litert", "tflite-runtime"], packages
    assert (
        answers[0]
        == answers[1]
        == [
            "label 2",
            "delegate_load_failed",
            "delegate_prepare_failed",
            "delegate_crashed",
            "not_applied",
            "invoke_failed",
        ]
    )

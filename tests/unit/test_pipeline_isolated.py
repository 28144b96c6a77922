"""The first load of a model: whatever it does, this process lives on and says what it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import Bundle, open_bundle
from galago_edge.contract.errors import BundleError, DeviceError, GalagoError, LinkError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.profile import DeviceProfile, Runtime
from galago_edge.pipeline import isolated_load
from galago_edge.pipeline.golden_run import run_golden
from galago_edge.pipeline.isolated_load import Limits, first_load, judge, limits_for, note
from test_kit import changed, make_bundle, set_numbers, with_model

LABELS = ["dark", "mid", "bright"]
LIMITS = Limits(memory_bytes=256_000_000, seconds=60, window_ms=5_000)
"""Of the time generous, for a busy machine; a test that is about one limit lowers it."""
ENDLESS = 2**31 - 1


@pytest.fixture
def good(tmp_path: Path, tiny_image_model: bytes) -> Bundle:
    return open_bundle(make_bundle(tmp_path / "eyes.galago", tiny_image_model, LABELS))


@pytest.fixture
def bad(good: Bundle, bad_models: dict[str, bytes]) -> Callable[..., Bundle]:
    def make(kind: str, **numbers: int) -> Bundle:
        model = set_numbers(bad_models[kind], **numbers)
        return open_bundle(with_model(good.path, model, good.path.with_name(f"{kind}.galago")))

    return make


def refusal(bundle: Bundle, limits: Limits = LIMITS) -> GalagoError:
    with pytest.raises(GalagoError) as caught:
        first_load(bundle, limits)
    assert "\n" not in str(caught.value) and caught.value.hint
    return caught.value


def test_a_good_model_gives_the_same_answers_as_here(good: Bundle) -> None:
    done = first_load(good, LIMITS)
    assert list(done.golden) == run_golden(good)
    assert 0 < done.invoke_p50_ms <= done.invoke_max_ms and done.load_ms > 0


def test_what_is_noted_of_it_can_be_read_by_people_and_programs(good: Bundle) -> None:
    noted = note(judge(good, None), None)
    assert [sample["label"] for sample in noted["golden"]] == LABELS
    assert {"galago_edge", "runtime", "profile", "load_ms", "invoke_p50_ms", "memory_bytes"} <= set(noted)


def test_sound_is_loaded_so_too(tmp_path: Path, tiny_audio_model: bytes) -> None:
    labels = ["quiet", "low", "high"]
    path = make_bundle(tmp_path / "ears.galago", tiny_audio_model, labels, modality="microphone")
    assert len(first_load(open_bundle(path), LIMITS).golden) == 3


def test_threads_do_not_count_as_memory_of_the_model(tmp_path: Path, block_model: bytes) -> None:
    path = make_bundle(
        tmp_path / "blocks.galago",
        block_model,
        [f"label {number}" for number in range(11)],
        preprocess=ImagePreprocess(width=32, height=32),
    )
    tight = replace(LIMITS, memory_bytes=32_000_000, threads=8)
    assert len(first_load(open_bundle(path), tight).golden) == 3


def test_the_bad_models_are_good_while_their_numbers_are_small(bad: Callable[..., Bundle]) -> None:
    """So that the refusals below are about what they do, not about what they are."""
    for bundle in (bad("loop", turns=5, turns_bright=ENDLESS), bad("memory", bytes=1_000)):
        assert len(first_load(bundle, LIMITS).golden) == 3


def test_a_model_that_crashes_its_process_is_refused_with_the_signal(bad: Callable[..., Bundle]) -> None:
    error = refusal(bad("crash"))
    assert (error.reason, type(error)) == (Reason.LOAD_CRASH, BundleError)
    assert "SIGSEGV while loading" in str(error)


def test_a_model_that_never_ends_is_ended(bad: Callable[..., Bundle]) -> None:
    start = time.monotonic()
    error = refusal(bad("loop", turns=ENDLESS), replace(LIMITS, seconds=5.0))
    assert (error.reason, type(error)) == (Reason.LOAD_TIMEOUT, BundleError)
    assert "running after 5 s" in str(error)
    assert time.monotonic() - start < isolated_load._START_S  # by its own clock, not by the last resort


def test_a_model_that_takes_more_memory_than_it_may_is_refused(bad: Callable[..., Bundle]) -> None:
    for size in (400_000_000, 2_000_000_000):
        error = refusal(bad("memory", bytes=size))
        assert (error.reason, type(error)) == (Reason.MEMORY, DeviceError)
        assert "256 MB" in str(error)


def test_memory_within_the_limit_is_measured(bad: Callable[..., Bundle]) -> None:
    done = first_load(bad("memory", bytes=100_000_000), LIMITS)
    assert 100_000_000 <= done.memory_bytes < LIMITS.memory_bytes


def test_a_model_slower_than_its_windows_is_refused_with_both_times(bad: Callable[..., Bundle]) -> None:
    bundle = bad("loop", turns=100_000)
    error = refusal(bundle, replace(LIMITS, window_ms=1.0))
    assert (error.reason, type(error)) == (Reason.TOO_SLOW, DeviceError)
    assert " 1 ms are allowed" in str(error)
    assert first_load(bundle, LIMITS).invoke_p50_ms > 1.0


def test_a_refusal_of_the_other_process_is_raised_as_it_was_there(good: Bundle, block_model: bytes) -> None:
    first, *others = good.manifest.golden
    best, *rest = first.expected.logits
    wrong = (changed(first, expected__logits=(best, *(code - 9 for code in rest))), *others)
    model = good.read("model.tflite")
    error = refusal(open_bundle(with_model(good.path, model, good.path.with_name("x"), golden=wrong)))
    with pytest.raises(BundleError) as caught:
        run_golden(open_bundle(good.path.with_name("x")))
    assert (error.reason, str(error), error.hint) == (
        Reason.GOLDEN_FAIL, str(caught.value), caught.value.hint)  # fmt: skip
    other = refusal(open_bundle(with_model(good.path, block_model, good.path.with_name("y"))))
    assert (other.reason, type(other)) == (Reason.TENSOR_MISMATCH, BundleError)


def test_a_file_that_is_no_model_costs_no_process(good: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(with_model(good.path, b"\x18\0\0\0TFL3", good.path.with_name("x.galago")))
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert refusal(bundle).reason == Reason.MODEL_BAD


def test_a_model_that_says_the_same_to_all_its_samples_is_refused(
    tmp_path: Path, bad_models: dict[str, bytes]
) -> None:
    deaf = open_bundle(make_bundle(tmp_path / "deaf.galago", bad_models["deaf"], LABELS))
    with pytest.raises(BundleError) as caught:
        judge(deaf, None)
    assert caught.value.reason == Reason.CONSTANT_ANSWER and caught.value.hint


def test_one_golden_sample_alone_says_nothing_about_others(good: Bundle) -> None:
    only = changed(good.manifest, golden=good.manifest.golden[:1])
    isolated_load._check_answers_differ(only)


def test_a_bundle_that_is_changed_meanwhile_is_not_loaded(good: Bundle, bad: Callable[..., Bundle]) -> None:
    bad("crash").path.replace(good.path)  # ``good`` still has the old file open
    assert refusal(good).reason == Reason.FILE_HASH


def test_an_installation_that_cannot_start_a_process_is_not_the_bundle_s_fault(
    good: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert isinstance(refusal(good), LinkError)
    for program, said in (("/bin/false", "exit code 1 while starting"), ("/bin/true", "without an answer")):
        monkeypatch.setattr(sys, "executable", program)
        error = refusal(good)
        assert (error.reason, type(error)) == (Reason.LOAD_CRASH, DeviceError)
        assert said in str(error)


def test_a_process_that_the_system_takes_for_its_memory_counts_as_too_large(
    bad: Callable[..., Bundle],
) -> None:
    bundle = bad("loop", turns=ENDLESS)
    ended: list[int] = []

    def out_of_memory() -> None:
        for _ in range(6000):
            for child in first_loads_of(os.getpid()):
                if Path(f"/proc/{child}/oom_score_adj").read_text() == "1000\n":  # it is confined
                    os.kill(child, signal.SIGKILL)
                    ended.append(child)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=out_of_memory)
    killer.start()
    error = refusal(bundle)
    killer.join()
    assert ended and error.reason == Reason.MEMORY


LOADING = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
from pathlib import Path
from galago_edge.bundle import open_bundle
from galago_edge.pipeline.isolated_load import Limits, first_load
first_load(open_bundle(Path(sys.argv[1])), Limits(memory_bytes=256_000_000, seconds=600, window_ms=5_000))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_with_the_one_that_waits_for_it(
    bad: Callable[..., Bundle], number: signal.Signals
) -> None:
    bundle = bad("loop", turns=ENDLESS)
    parent = subprocess.Popen([sys.executable, "-c", LOADING, str(bundle.path)], stderr=subprocess.DEVNULL)
    try:
        (child,) = waited(lambda: first_loads_of(parent.pid))
        parent.send_signal(number)
        parent.wait(60)
        waited(lambda: not Path(f"/proc/{child}").exists() or state_of(child) == "Z")
    finally:
        parent.kill()
        parent.wait()


def first_loads_of(parent: int) -> list[int]:
    """Return the processes of a first load below ``parent``."""
    found = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"first_load" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def waited(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)
    return met


def board(ram_mb: int, threads: int = 1) -> DeviceProfile:
    here = Runtime(package="ai-edge-litert", min_version="1.0.0", ops={})
    return DeviceProfile(
        id="board", title="Board", arch="x86_64", ram_mb=ram_mb, cores=4, threads=threads, runtime=here
    )


def test_the_limits_come_from_manifest_and_board(good: Bundle) -> None:
    manifest = good.manifest
    assert limits_for(manifest, board(8_000, 3)).memory_bytes == isolated_load.BASE_MEMORY_BYTES
    assert limits_for(manifest, board(8_000, 3)).threads == 3
    assert limits_for(manifest, board(200)).memory_bytes == 100_000_000
    big = changed(manifest, resources__rss_peak_bytes=300_000_000)
    assert limits_for(big, board(8_000)).memory_bytes == 600_000_000
    assert limits_for(manifest, None).memory_bytes > 0


def test_a_window_may_take_what_the_trial_allows_and_no_longer_than_until_the_next(good: Bundle) -> None:
    manifest = changed(good.manifest, health__live__max_p99_ms=400)
    assert limits_for(manifest, None).window_ms == 400
    spec = changed(manifest.preprocess.spec, hop_ms=100)
    assert limits_for(changed(manifest, preprocess__spec=spec), None).window_ms == 100
    sound = AudioPreprocess(hop_frames=25, frame_hop_samples=160)
    assert limits_for(changed(manifest, preprocess__spec=sound), None).window_ms == 250
    slow, quick = (
        limits_for(changed(good.manifest, health__live__max_p99_ms=ms), None).seconds for ms in (5_000, 5)
    )
    assert slow > quick >= isolated_load.BASE_S
    absurd = changed(good.manifest, health__live__max_p99_ms=2**50)
    assert limits_for(absurd, None).seconds == isolated_load.LONGEST_S

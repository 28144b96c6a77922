"""When an accelerator gets a stream and when it loses it, with the delegate of tests/data/test_delegate.c."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.profile import Accelerator
from galago_edge.contract.settings import AcceleratorSettings
from galago_edge.engine import AcceleratorError, BackendChange, Fault
from galago_edge.pipeline import LoadedBundle, failover, load
from galago_edge.pipeline.failover import AcceleratedModel, FailoverEngine
from real_parts import wait_for
from test_kit import SteppedClock, make_bundle

LABELS = ("dark", "mid", "bright")
AFTER = 13
"""Run of the accelerator that decides its first window: 1 while loading, 3 golden samples, 8 timed ones."""

PATIENT = {"probes": 1, "cool_down_s": 3600.0, "probe_s": 600.0, "invoke_s": 600.0}
"""A busy machine is no accelerator that hangs."""

Make = Callable[..., FailoverEngine]


@pytest.fixture
def make(delegate_library: Path, tiny_image_model: bytes, tmp_path: Path) -> Iterator[Make]:
    """Returns what makes an engine whose accelerator has this mode; all are closed after the test."""
    made: list[LoadedBundle] = []
    bundle = open_bundle(
        make_bundle(tmp_path / "t.galago", tiny_image_model, LABELS, accelerated={"fast": tiny_image_model})
    )

    def engine(mode: str = "good", at: int = 1, ratio: float = 1e6, **settings: Any) -> FailoverEngine:
        accelerator = Accelerator(
            library=str(delegate_library), options={"mode": mode, "at": str(at)}, max_latency_ratio=ratio
        )
        loaded = load(
            bundle,
            accelerators={"absent": accelerator, "fast": accelerator},
            accelerator_settings=AcceleratorSettings(**{**PATIENT, **settings}),
        )
        made.append(loaded)
        return loaded.engine

    yield engine
    for loaded in made:
        loaded.close()


def decide(engine: FailoverEngine, level: int = 240) -> int:
    engine.input_view()[...] = level
    engine.invoke()
    return int(engine.logits().argmax())


def until(engine: FailoverEngine, state: str) -> BackendChange:
    """Decide windows until the engine tells this state."""

    def found() -> BackendChange | None:
        assert decide(engine) == 2
        return next((change for change in engine.changes() if change.state == state), None)

    return wait_for(found, state)


def test_without_an_accelerated_model_the_cpu_decides_and_nothing_is_wanted(tiny_image_model: bytes) -> None:
    engine = FailoverEngine(tiny_image_model)
    assert [decide(engine, level) for level in (10, 128, 240)] == [0, 1, 2]
    status = engine.status()
    assert (status.backend, status.reason, status.wanted, engine.changes()) == ("cpu", None, "cpu", [])
    assert 0 <= status.invoke_p50_us <= status.invoke_max_us
    engine.close()
    engine.close()


@pytest.mark.parametrize(
    ("accelerators", "enabled"), [({}, True), ({"other": Accelerator(library="x")}, True), (None, False)]
)
def test_an_accelerator_that_is_not_there_or_switched_off_is_not_tried(
    accelerators: dict[str, Accelerator] | None, enabled: bool, tiny_image_model: bytes, tmp_path: Path
) -> None:
    path = make_bundle(tmp_path / "t.galago", tiny_image_model, LABELS, accelerated={"fast": b"TFL3"})
    given = {"fast": Accelerator(library="x")} if accelerators is None else accelerators
    settings = AcceleratorSettings(enabled=enabled)
    loaded = load(open_bundle(path), accelerators=given, accelerator_settings=settings)
    assert (loaded.engine.status().wanted, loaded.engine.reason) == ("cpu", None)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("try-")]
    loaded.close()


def test_the_accelerator_is_not_even_started_before_the_first_window_is_decided(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    decided: list[int] = []

    class Recorded(failover.RemoteEngine):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            decided.append(len(times))
            begun.set()
            super().__init__(*arguments, **options)

    times: list[int] = []
    monkeypatch.setattr(failover, "_FIRST_WINDOW_S", 3600.0)
    monkeypatch.setattr(failover, "RemoteEngine", Recorded)
    engine = make()
    assert (engine.backend, engine.reason) == ("cpu", "probing")
    engine.input_view()[...] = 240
    assert not begun.is_set()
    times.append(1)
    engine.invoke()
    wait_for(begun.is_set, "the accelerator to be tried")
    assert decided == [1]


def test_an_accelerator_takes_over_and_says_how_fast_it_is(make: Make) -> None:
    engine = make()
    change = until(engine, "promoted")
    assert change.detail["backend"] == engine.backend == "fast"
    assert change.detail["parts"] == 1
    assert change.detail["p50_us"] > 0
    status = engine.status()
    assert (status.backend, status.reason, status.wanted) == ("fast", None, "fast")
    assert (status.falls, status.promotions) == (0, 1)
    assert [decide(engine, level) for level in (10, 128, 240)] == [0, 1, 2]


def test_an_accelerator_takes_over_between_two_windows_never_within_one(make: Make) -> None:
    engine = make()
    assert decide(engine) == 2
    view = engine.input_view()
    view[...] = 240
    wait_for(lambda: engine._ready is not None, "an accelerator that is ready")
    assert engine.input_view()[0, 0, 0] == 240  # asked again, for the same window
    engine.invoke()
    assert (engine.backend, engine.logits().argmax()) == ("cpu", 2)
    decide(engine)
    assert engine.backend == "fast"


def test_the_window_that_an_accelerator_failed_with_is_decided_by_a_new_cpu_interpreter(make: Make) -> None:
    engine = make("crashes", at=AFTER + 3)
    before = engine._cpu
    until(engine, "promoted")
    assert engine._cpu is None  # its memory is given back meanwhile
    change = until(engine, "fallback")
    assert engine._cpu is not before
    assert change.detail["reason"] == engine.reason == "delegate_crashed"
    assert (change.detail["backend"], change.detail["wanted"]) == ("cpu", "fast")
    assert "SIGSEGV" in change.detail["message"]
    assert engine.status().falls == 1


def test_the_pause_before_the_next_try_doubles_with_every_fall(make: Make) -> None:
    engine = make("crashes", at=AFTER + 1, cool_down_s=0.05)
    pauses = []
    for _ in range(3):
        until(engine, "promoted")
        pauses.append(until(engine, "fallback").detail["retry_s"])
    assert pauses == [0.05, 0.1, 0.2]
    assert (engine.status().falls, engine.status().promotions) == (3, 3)


def test_an_accelerator_that_held_for_a_day_has_its_falls_forgiven(make: Make) -> None:
    engine = make("crashes", at=AFTER + 2, cool_down_s=0.05, recheck_s=86_400)
    clock = engine._clock_ns = SteppedClock()
    for held_s, pause in ((10, 0.05), (10, 0.1), (90_000, 0.05)):
        until(engine, "promoted")
        engine._checked_ns = clock.now_ns + held_s * 10**9
        clock.now_ns += held_s * 10**9
        assert until(engine, "fallback").detail["retry_s"] == pause


def test_a_fault_that_stays_is_told_once_and_counted_every_time(make: Make) -> None:
    engine = make("create_fails", cool_down_s=0.02)
    change = until(engine, "fallback")
    assert change.detail["reason"] == "delegate_load_failed"
    wait_for(lambda: engine.status().falls >= 3, "three rounds")
    decide(engine)
    assert engine.changes() == []


def test_several_attempts_are_made_before_the_cpu_is_accepted(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    class Late(failover.RemoteEngine):
        def load(self) -> None:
            tried.append(self.pid)
            if len(tried) < 3:
                raise AcceleratorError(Fault.DELEGATE_LOAD_FAILED, "not yet")
            super().load()

    monkeypatch.setattr(failover, "RemoteEngine", Late)
    engine = make(probes=3, retry_s=0.01)
    until(engine, "promoted")
    assert len(set(tried)) == 3
    assert engine.status().falls == 0


def test_wrong_numbers_are_not_asked_for_again_a_second_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    class Counted(failover.RemoteEngine):
        def load(self) -> None:
            tried.append(self.pid)
            super().load()

    monkeypatch.setattr(failover, "RemoteEngine", Counted)
    change = until(make("wrong", probes=5, retry_s=0.01), "fallback")
    assert change.detail["reason"] == "parity_failed"
    assert len(tried) == 1


def test_a_model_for_the_accelerator_with_other_tensors_is_refused(
    delegate_library: Path, tiny_image_model: bytes, block_model: bytes
) -> None:
    accelerator = Accelerator(library=str(delegate_library))
    other = AcceleratedModel("fast", block_model, accelerator, list)
    engine = FailoverEngine(tiny_image_model, other)
    try:
        change = until(engine, "fallback")
    finally:
        engine.close()
    assert change.detail["reason"] == "model_mismatch"
    assert "[1, 32, 32, 3]" in change.detail["message"]
    assert "[1, 16, 16, 3]" in change.detail["message"]


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (BundleError(Reason.GOLDEN_FAIL, "golden sample 0 cannot be decoded"), "cannot be decoded"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
    ],
)
def test_whatever_goes_wrong_while_it_is_tried_the_stream_goes_on(
    raised: Exception, told: str, delegate_library: Path, tiny_image_model: bytes
) -> None:
    def golden() -> list[Any]:
        raise raised

    accelerated = AcceleratedModel(
        "fast", tiny_image_model, Accelerator(library=str(delegate_library)), golden
    )
    engine = FailoverEngine(tiny_image_model, accelerated, settings=AcceleratorSettings(probes=1))
    try:
        change = until(engine, "fallback")
        assert change.detail["reason"] == "probe_failed"
        assert told in change.detail["message"]
        assert decide(engine) == 2
    finally:
        engine.close()


def test_while_a_process_hangs_in_a_driver_no_second_one_is_started(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Unkillable(failover.RemoteEngine):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

        gone = False  # type: ignore[assignment]

    monkeypatch.setattr(failover, "RemoteEngine", Unkillable)
    engine = make("create_fails", cool_down_s=0.02)
    assert until(engine, "fallback").detail["reason"] == "delegate_load_failed"
    change = until(engine, "fallback")
    assert change.detail["reason"] == "delegate_hung"
    assert "hangs in a driver" in change.detail["message"]
    assert len(started) == 1


def test_an_accelerator_that_goes_wrong_is_found_when_it_is_asked_again(make: Make) -> None:
    engine = make("wrong", at=AFTER + 3, recheck_s=600)
    clock = engine._clock_ns = SteppedClock()
    until(engine, "promoted")  # its run 13
    for _ in range(2):  # runs 14 and 15
        assert decide(engine) == 2
    clock.now_ns += 601 * 10**9
    assert decide(engine, 10) == 0  # run 16 was the golden sample; the CPU decided the window
    (change,) = engine.changes()
    assert (change.state, change.detail["reason"]) == ("fallback", "parity_failed")


def test_a_run_in_progress_can_be_seen_from_outside(
    tiny_image_model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteppedClock(5_000)
    engine = FailoverEngine(tiny_image_model, clock_ns=clock)
    seen = []
    assert engine._cpu is not None
    run = engine._cpu.invoke

    def watched() -> None:
        seen.append(engine.busy_since_ns())
        clock.now_ns += 7_000_000
        run()

    monkeypatch.setattr(engine._cpu, "invoke", watched)
    assert engine.busy_since_ns() is None
    decide(engine)
    assert seen == [5_000]
    assert engine.busy_since_ns() is None
    assert engine.status().invoke_max_us == 7_000


def test_closing_does_not_wait_for_a_delegate_that_hangs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[failover.RemoteEngine] = []

    class Recorded(failover.RemoteEngine):
        def load(self) -> None:
            begun.append(self)
            super().load()

    monkeypatch.setattr(failover, "RemoteEngine", Recorded)
    engine = make("prepare_hangs", probe_s=3600)
    decide(engine)
    wait_for(lambda: begun, "the accelerator to be tried")
    engine.close()
    assert begun[0].gone
    assert engine._thread is not None
    assert not engine._thread.is_alive()


@pytest.mark.parametrize("mode", ["good", "create_fails", "crashes"])
def test_closing_ends_process_and_thread_in_every_state(make: Make, mode: str) -> None:
    engine = make(mode, at=AFTER + 2, cool_down_s=3600)
    until(engine, "fallback" if mode == "create_fails" else "promoted")
    if mode == "crashes":
        until(engine, "fallback")
    probed = engine._probed
    engine.close()
    assert engine._thread is not None
    assert not engine._thread.is_alive()
    assert probed is None or probed.engine.gone
    assert not engine._ended


def test_every_reason_and_every_key_is_explained(make: Make) -> None:
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text(encoding="utf-8")
    for word in (failover.PROBING, *Fault, *AcceleratorSettings.__struct_fields__):
        assert f"`{word}`" in page, word


def test_falls_and_promotions_leave_no_files_threads_or_processes_behind(make: Make) -> None:
    def held() -> tuple[int, int, int]:
        gc.collect()
        children = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), sum(map(len, children))

    before = held()
    engine = make("crashes", at=AFTER + 1, cool_down_s=0.01)
    clock = engine._clock_ns = SteppedClock()
    for _ in range(8):
        until(engine, "promoted")
        clock.now_ns += 90_000 * 10**9  # it held for a day: the pause does not double
        until(engine, "fallback")
    engine.close()

    def as_before() -> bool:  # what has just ended may still be there for a moment
        return all(now <= then for now, then in zip(held(), before, strict=True))

    wait_for(as_before, f"as little to be held as before: {before}, not {held()}")

"""The fallback table: a stream on an accelerator that fails in every way, with a real external delegate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from campaigns import fallback
from galago_edge.bundle import open_bundle
from galago_edge.contract.profile import Accelerator
from galago_edge.contract.records import GapRecord, Record, ScoresRecord, StateRecord
from galago_edge.contract.settings import AcceleratorSettings
from galago_edge.contract.streams import AudioBlock
from galago_edge.pipeline import DecidingStream, load
from real_parts import wait_for
from test_kit import TINY_AUDIO, make_bundle


@pytest.mark.parametrize("case", fallback.CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_no_window_is_lost_whatever_the_accelerator_does(
    case: fallback.Case, delegate_library: Path, tmp_path: Path
) -> None:
    row = fallback.run_case(case, fallback.bundle_in(tmp_path), delegate_library, tmp_path)
    assert tuple(row.states) == case.states
    assert (row.lost, row.otherwise) == (0, 0)
    assert row.by_backend["cpu"] >= 1  # the stream began at once
    last = case.states[-1].split()
    now = fallback.NAME if last[0] == "promoted" else f"cpu ({last[1]})"
    assert row.events[now] >= 1  # and every event says what decided it and why
    assert row.events.get("cpu (probing)", 0) >= 1 or row.by_backend["cpu"] < 4


def test_a_microphone_goes_over_and_back_without_a_gap(
    delegate_library: Path, tiny_audio_model: bytes, tmp_path: Path
) -> None:
    bundle = open_bundle(
        make_bundle(
            tmp_path / "ears.galago",
            tiny_audio_model,
            ("quiet", "low", "high"),
            modality="microphone",
            accelerated={"ear": tiny_audio_model},
        )
    )
    options = {"mode": "crashes", "at": str(fallback.AT + 10)}
    accelerators = {
        "ear": Accelerator(library=str(delegate_library), options=options, max_latency_ratio=100_000)
    }
    settings = AcceleratorSettings(**fallback.PATIENT)
    random = np.random.default_rng(5)
    sound = random.integers(-3000, 3000, 16_000 * 4).astype(np.int16)
    alone = DecidingStream("mic", load(bundle), scores=True)
    with_ear = load(bundle, accelerators=accelerators, accelerator_settings=settings)
    stream = DecidingStream("mic", with_ear, scores=True)
    hop = TINY_AUDIO.hop_frames * TINY_AUDIO.frame_hop_samples
    wanted: list[Record] = []
    given: list[Record] = []
    position = 0

    def push() -> None:
        nonlocal position
        block = sound[position % len(sound) :][:hop]
        item = AudioBlock(block, position, position * 62_500, 16_000)
        wanted.extend(alone.push(item))
        given.extend(stream.push(item))
        position += len(block)

    def states() -> list[str]:
        return [record.state for record in given if isinstance(record, StateRecord)]

    def pushed_until(state: str) -> bool:
        push()
        return state in states()

    try:
        wait_for(lambda: pushed_until("promoted"), "the accelerator")
        wait_for(lambda: pushed_until("fallback"), "the fall")
        for _ in range(20):
            push()
    finally:
        with_ear.close()
    assert not [record for record in given if isinstance(record, GapRecord)]
    decided, truth = (
        [record for record in records if isinstance(record, ScoresRecord)] for records in (given, wanted)
    )
    assert [record.window for record in decided] == [record.window for record in truth]
    assert [record.start_index for record in decided] == [record.start_index for record in truth]
    off = np.array([record.logits for record in decided]) - np.array([record.logits for record in truth])
    assert np.abs(off).max() <= 1

"""From a running stream to a data set: what the device keeps is what ``galago train`` reads."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.bundle import open_bundle
from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.settings import SamplesSettings
from galago_edge.contract.streams import AudioBlock, Frame, samples_to_ns
from galago_edge.pipeline import DecidingStream, LoadedBundle, load
from galago_edge.recording import SampleCollector, SampleFolder
from galago_edge.recording.sample_layout import CONTEXT
from galago_workstation.data.sample_reader import AudioReader, ImageReader, open_reader
from galago_workstation.data.splits import split
from galago_workstation.training_config import read_config
from test_kit import make_bundle

POLICY = LabelPolicy(on=0.7, off=0.5, smoothing_windows=1, min_count=1, refractory_ms=0)

CONFIG = """
[data]
kind = "{kind}"
folder = "samples/{bundle}"
group = '/([0-9]{{8}}T[0-9]{{9}}Z)'
[preprocess]
{preprocess}
[model]
kind = "resnet"
"""


def labels(*names: str) -> tuple[Label, ...]:
    return tuple(Label(name=name, policy=POLICY) for name in names)


class Device:
    """A stream that decides, and a collector beside it, as the service joins them."""

    def __init__(self, root: Path, loaded: LoadedBundle) -> None:
        self.ticks = 0
        settings = SamplesSettings(
            dir=str(root / "samples"), min_interval_s=0.0, pre_roll_s=0.4, post_roll_s=0.4, keep_free_mb=0
        )
        self.folder = SampleFolder(settings, device="porch", wall_ns=self.wall_ns)
        self.stream = DecidingStream("door", loaded)
        self.collector = SampleCollector(self.folder, "door", loaded)
        self.stream.observe = self.collector.window

    def wall_ns(self) -> int:
        self.ticks += 1
        return 1_795_348_800_000_000_000 + self.ticks * 1_000_000

    def push(self, item: Frame | AudioBlock) -> None:
        self.collector.item(item)
        self.stream.push(item)
        deadline = time.monotonic() + 60  # a recording comes faster than any camera: give the disk its time
        while self.folder.status()["waiting"]:
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def close(self) -> None:
        self.collector.close()
        self.folder.close(60.0)


def write_config(root: Path, kind: str, bundle: str, preprocess: str) -> Path:
    path = root / "config.toml"
    path.write_text(CONFIG.format(kind=kind, bundle=bundle, preprocess=preprocess), encoding="utf-8")
    return path


def gradient(level: int, number: int) -> npt.NDArray[np.uint8]:
    """Even enough for the tiny model, and no two alike for the collector."""
    pixels = np.full((48, 64, 3), level, np.int16)
    column = number * 3 % 60
    pixels[:, column : column + 4] += 40
    return pixels.clip(0, 255).astype(np.uint8)


def test_pictures_that_a_camera_stream_kept_are_a_data_set(tmp_path: Path, tiny_image_model: bytes) -> None:
    bundle = make_bundle(
        tmp_path / "b.galago", tiny_image_model, labels("dark", "mid", "bright"), name="light"
    )
    loaded = load(open_bundle(bundle))
    device = Device(tmp_path, loaded)
    # at the borders between the classes the tiny model is not sure
    levels = [30, 82, 84, 86, 128, 166, 168, 170, 225, 84, 83, 168, 167, 30, 225, 128]
    for index in range(6 * len(levels)):
        pixels = gradient(levels[index % len(levels)], index)
        encoded = cv2.imencode(".jpg", pixels)[1].tobytes() if index % 2 else None
        if encoded is not None:  # what the model sees is what the camera's JPEG holds
            decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
            assert decoded is not None
            pixels = decoded.astype(np.uint8)
        device.push(Frame(pixels, index, index * 100_000_000, encoded))
    device.close()
    status = device.folder.status()
    assert not status["fault"] and status["kept"] >= 12, status
    home = tmp_path / "samples" / "light"
    assert list((home / CONTEXT).glob("*-pre1.jpg")) and list((home / CONTEXT).glob("*.json"))

    config = read_config(write_config(tmp_path, "images", "light", 'kind = "image"\nwidth = 16\nheight = 16'))
    reader = open_reader(config, tmp_path)
    assert isinstance(reader, ImageReader)
    listing = reader.listing()  # refuses anything in a class folder that is no sample
    assert set(listing.labels) <= {"dark", "mid", "bright"} and len(listing.labels) >= 2
    assert len(listing.pool) == status["kept"] and listing.duplicates_left_out == 0
    assert {path.suffix for path in (sample.path for sample in listing.pool) if path} == {".jpg", ".png"}
    parts = split(listing, validation_share=0.2, test_share=0.2)
    assert all(parts.values())
    assert reader.inputs(listing.pool).shape == (len(listing.pool), 16, 16, 3)


def test_sounds_that_a_microphone_stream_kept_are_a_data_set_and_the_model_hears_the_same(
    tmp_path: Path, tiny_audio_model: bytes
) -> None:
    bundle = make_bundle(
        tmp_path / "b.galago",
        tiny_audio_model,
        labels("quiet", "low", "high"),
        modality="microphone",
        name="tones",
    )
    loaded = load(open_bundle(bundle))
    device = Device(tmp_path, loaded)
    rate, block, position = 16_000, 320, 0
    heard: dict[int, npt.NDArray[np.int16]] = {}
    rng = np.random.default_rng(2)
    for number in range(24):
        count = rate // 2
        time_s = np.arange(count) / rate
        low, high = rng.uniform(0, 1, 2)
        wave = low * np.sin(2 * np.pi * (300 + 40 * number) * time_s)
        wave += high * np.sin(2 * np.pi * (3_000 + 90 * number) * time_s)
        sound = np.rint(4_000 * wave * (number % 3 > 0) + rng.integers(-20, 20, count)).astype(np.int16)
        heard[position] = sound
        for start in range(0, count, block):
            part = sound[start : start + block]
            device.push(AudioBlock(part, position, samples_to_ns(position, rate), rate))
            position += len(part)
    device.close()
    status = device.folder.status()
    assert not status["fault"] and status["kept"] >= 4, status

    preprocess = 'kind = "logmel"\nmel_bands = 10\nwindow_frames = 20\nhop_frames = 5'
    config = read_config(write_config(tmp_path, "audio", "tones", preprocess))
    reader = open_reader(config, tmp_path)
    assert isinstance(reader, AudioReader)
    listing = reader.listing()
    assert len(listing.labels) >= 2 and len(listing.pool) == status["kept"]
    whole = np.concatenate([heard[at] for at in sorted(heard)])
    windows = np.lib.stride_tricks.sliding_window_view(whole, reader.spec.window_samples)
    for sample in listing.pool:
        clip = reader.clip(sample)
        # exactly one window long, so that training sees nothing but what got this label
        assert len(clip) == reader.spec.window_samples
        assert (windows[:: reader.spec.frame_hop_samples] == clip).all(axis=1).sum() == 1
    assert reader.inputs(listing.pool).shape == (len(listing.pool), 20, 10)


@pytest.mark.parametrize("block", [160, 4_000])
def test_which_sounds_are_kept_does_not_depend_on_how_they_came(
    tmp_path: Path, tiny_audio_model: bytes, block: int
) -> None:
    kept = []
    for folder, size in (("one", 320), ("other", block)):
        root = tmp_path / folder
        root.mkdir()
        bundle = make_bundle(
            root / "b.galago", tiny_audio_model, labels("quiet", "low", "high"), modality="microphone"
        )
        device = Device(root, load(open_bundle(bundle)))
        sound = np.random.default_rng(4).integers(-2_000, 2_000, 48_000)
        sound = np.rint(sound * np.abs(np.sin(np.arange(48_000) / 4_000))).astype(np.int16)
        for start in range(0, len(sound), size):
            part = sound[start : start + size]
            device.push(AudioBlock(part, start, samples_to_ns(start, 16_000), 16_000))
        device.close()
        files = (root / "samples" / "tiny").glob("[!.]*/*.wav")
        kept.append(sorted((path.parent.name, path.read_bytes()) for path in files))
    assert kept[0] == kept[1] and kept[0]

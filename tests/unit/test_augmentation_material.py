"""Somebody's own noise and backgrounds: listed, hashed, read when needed, and kept out of the tests' way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.recording.sample_media import wav_bytes
from galago_edge.sources.audio_file import read_audio
from galago_workstation.data.augmentation.augment_options import AudioAugment, ImageAugment
from galago_workstation.data.augmentation.background_pictures import BackgroundPictures
from galago_workstation.data.augmentation.noise_recordings import NoiseRecordings
from galago_workstation.data.augmentation.own_material import OwnFolder, list_own_folder, own_folders
from galago_workstation.data.augmentation_samples import augmentation_samples
from galago_workstation.data.feed import ClipFeed, PictureFeed
from galago_workstation.data.sample import Part, Sample
from galago_workstation.data.sample_reader import AudioReader, ImageReader
from galago_workstation.training_config import AudioFolders, ImageFolders, read_config

RATE = 16_000


def sound(path: Path, samples: npt.NDArray[np.int16], rate: int = RATE) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(samples, rate))
    return path.name


def picture(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


def noises(root: Path) -> OwnFolder:
    return list_own_folder("noise_folder", "noise", root, ())


def test_a_folder_is_listed_with_every_content_once_and_what_is_left_out(tmp_path: Path) -> None:
    sound(tmp_path / "noise" / "street.wav", np.arange(100, dtype=np.int16))
    sound(tmp_path / "noise" / "deep" / "same.wav", np.arange(100, dtype=np.int16))
    sound(tmp_path / "noise" / "deep" / "rain.wav", np.arange(50, dtype=np.int16))
    (tmp_path / "noise" / "notes.txt").write_text("rain")
    (tmp_path / "noise" / ".hidden.wav").write_text("no sound")

    found = noises(tmp_path)

    assert sorted(file.path.name for file in found.files) == ["rain.wav", "same.wav"]
    assert [file.sha256 for file in found.files] == sorted(file.sha256 for file in found.files)
    assert found.said() == "noise_folder noise: 2 files; left out: 1 as copies of others, 1 .txt"
    (tmp_path / "noise" / "street.wav").rename(tmp_path / "noise" / "zebra.wav")
    assert noises(tmp_path).sha256 == found.sha256  # names do not count
    sound(tmp_path / "noise" / "more.wav", np.arange(7, dtype=np.int16))
    assert noises(tmp_path).sha256 != found.sha256


def test_samples_that_judge_the_model_are_left_out_of_its_noise(tmp_path: Path) -> None:
    for number in range(4):
        sound(tmp_path / "noise" / f"{number}.wav", np.full(20, number, np.int16))
    all_of_it = {file.path.name: file.sha256 for file in noises(tmp_path).files}
    parts: dict[Part, list[Sample]] = {
        "train": [Sample("0", None, all_of_it["0.wav"], 0)],
        "validation": [Sample("1", None, all_of_it["1.wav"], 0)],
        "test": [Sample("2", None, all_of_it["2.wav"], 0)],
    }

    found = own_folders(AudioAugment(noise_folder="noise"), tmp_path, parts)["noise_folder"]

    assert {file.path.name for file in found.files} == {"0.wav", "3.wav"}
    assert found.said() == "noise_folder noise: 2 files; left out: 2 as validation or test samples"
    assert own_folders(ImageAugment(), tmp_path, parts) == {}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "noise is not a folder"),
        (["noise/notes.txt"], "noise_folder holds no recordings"),
        (["noise/.a.wav"], "noise_folder holds no recordings"),
    ],
)
def test_a_folder_of_nothing_is_refused_in_one_line(files: list[str], said: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=said) as caught:
        noises(tmp_path)
    assert caught.value.reason == Reason.DATA_BAD
    assert "\n" not in str(caught.value)


def test_what_is_no_sound_is_said_before_training_and_named(tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "a.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"a\.wav") as caught:
        noises(tmp_path)
    assert caught.value.reason == Reason.AUDIO_UNREADABLE


def test_pieces_of_noise_come_from_anywhere_and_short_recordings_are_repeated(tmp_path: Path) -> None:
    sound(tmp_path / "noise" / "long.wav", np.arange(20_000, dtype=np.int16))
    sound(tmp_path / "noise" / "short.wav", np.array([30_000, 30_001, 30_002], np.int16))
    recordings = NoiseRecordings(noises(tmp_path), RATE, tmp_path)

    pieces = [recordings.piece(np.random.default_rng(number), 1_000) for number in range(60)]

    assert all(piece.shape == (1_000,) and piece.dtype == np.float32 for piece in pieces)
    long = [piece for piece in pieces if piece[0] < 30_000]
    assert 15 < len(long) < 45
    assert all((np.diff(piece) == 1).all() for piece in long)
    starts = [float(piece[0]) for piece in long]
    assert min(starts) < 3_000 and max(starts) > 16_000
    short = [piece for piece in pieces if piece[0] >= 30_000]
    assert all({*piece.tolist()} == {30_000.0, 30_001.0, 30_002.0} for piece in short)
    assert list(tmp_path.iterdir()) == [tmp_path / "noise"]  # the decoded sound has no name


def test_noise_of_another_rate_is_converted(tmp_path: Path) -> None:
    time = np.arange(8_000) / 8_000
    sound(tmp_path / "noise" / "a.wav", (9_000 * np.sin(2 * np.pi * 500 * time)).astype(np.int16), 8_000)
    piece = NoiseRecordings(noises(tmp_path), RATE).piece(np.random.default_rng(1), 8_000)
    assert int(np.abs(np.fft.rfft(piece)).argmax()) == 250  # bins of 2 Hz


def test_a_recording_is_decoded_when_it_is_first_needed_and_only_then(tmp_path: Path) -> None:
    sound(tmp_path / "noise" / "a.wav", np.arange(5_000, dtype=np.int16))
    recordings = NoiseRecordings(noises(tmp_path), RATE)
    first = recordings.piece(np.random.default_rng(1), 100)
    (tmp_path / "noise" / "a.wav").unlink()
    assert np.array_equal(recordings.piece(np.random.default_rng(1), 100), first)


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_recording_that_cannot_be_used_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "noise" / "a.wav"
    sound(path, np.arange(5_000, dtype=np.int16))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1_000])
    recordings = NoiseRecordings(noises(tmp_path), RATE)
    if damage == "changed":
        sound(path, np.arange(4_000, dtype=np.int16))
    if damage == "gone":
        path.unlink()
    with pytest.raises(Exception, match=r"a\.wav") as caught:
        recordings.piece(np.random.default_rng(1), 100)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1)])
def test_parts_of_backgrounds_have_the_shape_and_colours_of_inputs(
    color: Any, channels: int, tmp_path: Path
) -> None:
    wide = np.zeros((60, 400, 3), np.uint8)
    wide[:, :, 2] = np.linspace(0, 255, 400).astype(np.uint8)  # red grows to the right
    picture(tmp_path / "b" / "wide.png", wide)
    folder = list_own_folder("background_folder", "b", tmp_path, ())
    backgrounds = BackgroundPictures(folder, ImagePreprocess(width=20, height=16, color=color), tmp_path)

    parts = [backgrounds.part(np.random.default_rng(number)) for number in range(40)]

    assert all(part.shape == (16, 20, channels) and part.dtype == np.uint8 for part in parts)
    means = [float(part[:, :, 0].mean()) for part in parts]
    highest = 255.0 if channels == 3 else 0.299 * 255
    assert min(means) < 0.25 * highest and max(means) > 0.75 * highest
    assert all((np.diff(part[0, :, 0].astype(int)) >= 0).all() for part in parts)


def test_a_background_smaller_than_the_input_and_one_that_is_damaged(tmp_path: Path) -> None:
    picture(tmp_path / "b" / "tiny.png", np.full((2, 3, 3), 90, np.uint8))
    folder = list_own_folder("background_folder", "b", tmp_path, ())
    spec = ImagePreprocess(width=32, height=32)
    assert (BackgroundPictures(folder, spec).part(np.random.default_rng(1)) == 90).all()
    picture(tmp_path / "b" / "tiny.png", np.full((2, 3, 3), 91, np.uint8))
    with pytest.raises(InputError, match=r"tiny\.png has changed"):
        BackgroundPictures(folder, spec).part(np.random.default_rng(1))


def test_any_number_of_threads_takes_the_same_pieces_and_parts(tmp_path: Path) -> None:
    for number in range(4):
        sound(tmp_path / "noise" / f"{number}.wav", np.arange(number, 3_000 + number, dtype=np.int16))
        picture(tmp_path / "b" / f"{number}.png", np.full((40, 40, 3), 10 * number, np.uint8))
    folder = list_own_folder("background_folder", "b", tmp_path, ())

    def taken(workers: int) -> list[bytes]:
        recordings = NoiseRecordings(noises(tmp_path), RATE)
        backgrounds = BackgroundPictures(folder, ImagePreprocess(width=16, height=16))
        with ThreadPoolExecutor(workers) as pool:
            rngs = [np.random.default_rng(number) for number in range(24)]
            return list(
                pool.map(
                    lambda rng: recordings.piece(rng, 50).tobytes() + backgrounds.part(rng).tobytes(), rngs
                )
            )

    assert taken(1) == taken(5)


# ---- feeds


def clip_samples(root: Path) -> list[Sample]:
    """Two tones and a hum, a tenth of a second each."""
    time = np.arange(1_600) / RATE
    samples = []
    for label, (name, hz) in enumerate((("a", 700.0), ("b", 1_500.0), ("background", 100.0))):
        path = root / f"{name}.wav"
        sound(path, (8_000 * np.sin(2 * np.pi * hz * time)).astype(np.int16))
        listed = list_own_folder("noise_folder", ".", root, ())
        sha256 = next(file.sha256 for file in listed.files if file.path.name == path.name)
        samples.append(Sample(path.name, path, sha256, label))
    return samples


TENTH_S = AudioPreprocess(window_frames=8)
"""A window of 1,600 samples, as the clips have."""


def clip_feed(
    root: Path, samples: list[Sample], spec: AudioPreprocess | None = None, **options: Any
) -> ClipFeed:
    reader = AudioReader(AudioFolders(folder="."), spec or AudioPreprocess(), root)
    return ClipFeed(reader, samples, AudioAugment(**options), seed=3, background={2})


def test_clips_are_changed_alike_in_any_batch_and_tell_with_whom_they_were_mixed(tmp_path: Path) -> None:
    feed = clip_feed(tmp_path, clip_samples(tmp_path), mixup=0.6, context=1.0, time_mask=0.2, share=1.0)

    together = feed.augmented(4, np.array([0, 1, 2]))

    for row in range(3):
        alone = feed.augmented(4, np.array([row]))
        assert np.array_equal(alone.inputs[0], together.inputs[row])
        assert (alone.partners[0], alone.shares[0]) == (together.partners[row], together.shares[row])
    epochs = [feed.augmented(epoch, np.array([0])) for epoch in range(30)]
    mixed = [one for one in epochs if one.shares[0] < 1.0]
    assert 8 < len(mixed) < 28
    assert all(one.partners[0] in (1, 2) for one in mixed)
    assert all(one.partners[0] == 0 for one in epochs if one.shares[0] == 1.0)


def test_features_of_clips_that_nothing_changes_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, everyone = clip_samples(tmp_path), np.array([2, 0, 1])
    computed: list[int] = []
    features = AudioReader.features

    def counted(reader: AudioReader, window: Any) -> Any:
        computed.append(len(window))
        return features(reader, window)

    monkeypatch.setattr(AudioReader, "features", counted)
    feed = clip_feed(tmp_path, samples, TENTH_S, time_mask=0.3, share=0.5)
    always = clip_feed(tmp_path, samples, TENTH_S, time_mask=0.3, share=0.5)
    always.costly = True  # features are not kept then

    epochs = [feed.augmented(epoch, everyone).inputs for epoch in range(8)]
    assert computed == [TENTH_S.window_samples] * 3
    assert all(
        np.array_equal(one, always.augmented(epoch, everyone).inputs) for epoch, one in enumerate(epochs)
    )
    assert not all(np.array_equal(one, epochs[0]) for one in epochs)  # parts of them are blanked


@pytest.mark.parametrize(
    "options",
    [
        {"shift_ms": 5}, {"gain_db": 3.0}, {"speed": 0.1}, {"tempo": 0.1}, {"pitch_semitones": 1.0},
        {"room_s": 0.3}, {"noise_snr_db": (10.0, 20.0)}, {"clipping_db": 6.0}, {"codecs": ("telephone",)},
        {"mixup": 0.3},
    ],
)  # fmt: skip
def test_features_are_not_kept_where_the_sound_changes(tmp_path: Path, options: dict[str, Any]) -> None:
    assert clip_feed(tmp_path, clip_samples(tmp_path), TENTH_S, **options).costly


def test_features_are_not_kept_of_clips_that_lie_anywhere_in_the_window(tmp_path: Path) -> None:
    assert clip_feed(tmp_path, clip_samples(tmp_path)).costly  # clips of a tenth of a window


def test_clips_of_background_are_heard_around_short_ones(tmp_path: Path) -> None:
    feed = clip_feed(tmp_path, clip_samples(tmp_path), context=1.0, context_snr_db=(0.0, 0.0))
    window, mixing = feed.window(0, 0)
    spectrum = np.abs(np.fft.rfft(window.astype(float), RATE))
    assert mixing is None
    assert spectrum[80:120].max() > 5 * spectrum[200:600].max()  # the hum, repeated, beside the tone


def test_pictures_are_changed_alike_in_any_batch_with_backgrounds_and_mixing(tmp_path: Path) -> None:
    samples = []
    for label in range(3):
        picture(tmp_path / f"{label}.png", np.full((20, 20, 3), 60 + 60 * label, np.uint8))
    listed = list_own_folder("background_folder", ".", tmp_path, ())
    for label, file in enumerate(sorted(listed.files, key=lambda file: file.path.name)):
        samples.append(Sample(file.path.name, file.path, file.sha256, label))
    picture(tmp_path / "b" / "checks.png", np.indices((64, 64, 3)).sum(axis=0).astype(np.uint8) % 2 * 255)
    own = list_own_folder("background_folder", "b", tmp_path, ())
    spec = ImagePreprocess(width=16, height=16)
    options = ImageAugment(scale=(0.5, 0.6), mixup=0.4, cutmix=0.4, noise=3.0)
    feed = PictureFeed(
        ImageReader(ImageFolders(folder="."), spec, tmp_path),
        samples,
        options,
        seed=1,
        folder=None,
        backgrounds=BackgroundPictures(own, spec),
    )

    together = feed.augmented(2, np.array([2, 0, 1]))

    for row, index in enumerate((2, 0, 1)):
        alone = feed.augmented(2, np.array([index]))
        assert np.array_equal(alone.inputs[0], together.inputs[row])
        assert (alone.partners[0], alone.shares[0]) == (together.partners[row], together.shares[row])
    assert np.array_equal(feed.plain(np.array([1]))[0], np.full((16, 16, 3), 120, np.uint8))
    many = [feed.augmented(epoch, np.array([0])) for epoch in range(30)]
    assert 12 < sum(one.shares[0] < 1.0 for one in many) < 30


# ---- to look at and to listen to


def test_samples_are_shown_before_and_after_of_all_labels_in_turn(tmp_path: Path) -> None:
    samples = clip_samples(tmp_path)
    (tmp_path / "c.toml").write_text(
        '[data]\nkind = "audio"\nfolder = "."\nbackground = ["background"]\n[preprocess]\nkind = "logmel"\n'
        '[model]\nkind = "ds_cnn"\n[augment]\nstrength = "strong"\nmixup = 0.6\n'
    )
    parts: dict[Part, list[Sample]] = {"train": [*samples[:1], *samples], "validation": [], "test": []}
    config = read_config(tmp_path / "c.toml")

    found = augmentation_samples(config, tmp_path, parts, ("a", "b", "background"), 3, epochs=8)

    assert [one.sample.label for one in found] == [0, 1, 2]
    spec = AudioPreprocess()
    for one in found:
        assert one.plain.shape == (spec.window_samples,) and one.plain.dtype == np.int16
        assert one.plain_input.shape == (spec.window_frames, spec.mel_bands)
        assert all(changed.shape == one.plain.shape for changed in one.changed)
        assert len({changed.tobytes() for changed in one.changed_inputs}) == 8
    mixed = [each for one in found for each in one.mixed if each is not None]
    assert 5 < len(mixed) < 20
    assert all(name in ("a.wav", "b.wav", "background.wav") and 0.0 < share <= 0.5 for name, share in mixed)
    assert augmentation_samples(config, tmp_path, {**parts, "train": []}, ("a", "b", "background"), 3) == []


@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1)])
def test_the_command_shows_pictures_side_by_side(color: str, channels: int, tmp_path: Path) -> None:
    for label, level in (("dark", 60), ("light", 180)):
        for number in range(4):
            picture(
                tmp_path / "data" / label / f"{number}.png", np.full((20, 20, 3), level + number, np.uint8)
            )
    (tmp_path / "c.toml").write_text(
        '[data]\nkind = "images"\nfolder = "data"\n[preprocess]\nkind = "image"\nwidth = 16\nheight = 12\n'
        f'color = "{color}"\n[model]\nkind = "resnet"\n[augment]\nstrength = "strong"\n'
        "mixup = 0.8\ncutmix = 0.0\n"
    )
    arguments = ["data", "augmentations", str(tmp_path / "c.toml"), "--out", str(tmp_path / "look")]

    done = CliRunner().invoke(main, [*arguments, "--samples", "3"])

    assert done.exit_code == 0, done.output
    assert "3 samples, each as it is and as 3 epochs change it" in done.output
    row = cv2.imread(str(tmp_path / "look" / "000.png"), cv2.IMREAD_UNCHANGED)
    assert row is not None and row.shape == (12, 4 * 16, 3)[: 2 + (channels == 3)]
    assert 60 <= row[0, 0].max() < 70  # as it is
    told = (tmp_path / "look" / "augmentations.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in told] == ["000 dark", "001 light", "002 dark"]
    assert sum("% of" in line for line in told) >= 2


def test_the_command_writes_sounds_to_listen_to(tmp_path: Path) -> None:
    for label, level in (("a", 1_000), ("b", 2_000)):
        for number in range(4):
            sound(tmp_path / "data" / label / f"{number}.wav", np.full(1_600, level + number, np.int16))
    (tmp_path / "c.toml").write_text(
        '[data]\nkind = "audio"\nfolder = "data"\n[preprocess]\nkind = "logmel"\n[model]\nkind = "ds_cnn"\n'
        "[augment]\ngain_db = 6\n"
    )
    arguments = ["data", "augmentations", str(tmp_path / "c.toml"), "--out", str(tmp_path / "look")]
    done = CliRunner().invoke(main, [*arguments, "--samples", "1", "--epochs", "2"])
    assert done.exit_code == 0, done.output
    names = ["000-1.wav", "000-2.wav", "000-before.wav", "augmentations.txt"]
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == names
    plain = read_audio(tmp_path / "look" / "000-before.wav", RATE)
    assert len(plain) == AudioPreprocess().window_samples and 1_000 <= plain.max() <= 1_003

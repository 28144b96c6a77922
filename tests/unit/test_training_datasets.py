from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import GalagoError, InputError, LinkError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.preprocess.audio import log_mel
from galago_edge.preprocess.image import ImagePreprocessor
from galago_workstation.data.class_folders import list_folders
from galago_workstation.data.clip_window import middle_window
from galago_workstation.data.idx import IdxSet, parse_idx, read_idx
from galago_workstation.data.listing import check_labels
from galago_workstation.data.sample_reader import AudioReader, ImageReader, allocate, real_inputs
from galago_workstation.run_folder import encode_split, sample_path
from galago_workstation.training_config import AudioFolders, IdxFiles, ImageFolders
from test_kit.pictures import claimed_jpeg

IMAGE = ImagePreprocess(width=12, height=10, resize="crop")
AUDIO = AudioPreprocess(window_frames=20, mel_bands=10)


def pixels(number: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)


def make_pictures(folder: Path, labels: tuple[str, ...] = ("cat", "dog"), count: int = 3) -> Path:
    for index, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / label / f"ann_{number}.png"), pixels(100 * index + number))
    return folder


def refusal(folder: Path, data: ImageFolders | None = None) -> GalagoError:
    with pytest.raises(GalagoError) as caught:
        list_folders(data or ImageFolders(folder="."), folder)
    assert "\n" not in str(caught.value)
    return caught.value


def test_labels_are_the_sorted_folder_names_and_ids_are_relative(tmp_path: Path) -> None:
    make_pictures(tmp_path / "in", ("dog", "cat"))
    (tmp_path / "in" / "README").write_text("beside the classes")
    (tmp_path / "in" / ".cache").mkdir()
    (tmp_path / "in" / "cat" / ".DS_Store").write_text("hidden")
    (tmp_path / "in" / "cat" / "deeper").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "cat" / "deeper" / "x.jpg"), pixels(50))
    listing = list_folders(ImageFolders(folder="in"), tmp_path)
    assert listing.labels == ("cat", "dog")
    assert [sample.id for sample in listing.pool] == [
        "in/cat/ann_0.png",
        "in/cat/ann_1.png",
        "in/cat/ann_2.png",
        "in/cat/deeper/x.jpg",
        "in/dog/ann_0.png",
        "in/dog/ann_1.png",
        "in/dog/ann_2.png",
    ]
    assert [sample.label for sample in listing.pool] == [0, 0, 0, 0, 1, 1, 1]


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    (tmp_path / "cow").mkdir()
    error = refusal(tmp_path)
    assert error.reason == Reason.CLASS_EMPTY
    assert "cow" in str(error)


def test_a_class_of_copies_only_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    (tmp_path / "test" / "dog").mkdir()
    for label in ("cat", "dog"):
        for path in (tmp_path / label).iterdir():
            (tmp_path / "test" / label / path.name).write_bytes(path.read_bytes())
    make_pictures(tmp_path / "train", ("cat",))
    (tmp_path / "train" / "dog").mkdir()
    (tmp_path / "train" / "dog" / "x.png").write_bytes((tmp_path / "dog" / "ann_0.png").read_bytes())
    error = refusal(tmp_path, ImageFolders(folder="train", test_folder="test"))
    assert error.reason == Reason.CLASS_EMPTY


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path, ("cat",))
    error = refusal(tmp_path)
    assert error.reason == Reason.CLASS_SINGLE
    assert "'cat'" in str(error)


@pytest.mark.parametrize("twin", ["Cat", "ｃat"])
def test_labels_that_differ_only_in_form_are_refused(tmp_path: Path, twin: str) -> None:
    make_pictures(tmp_path, ("cat", twin, "dog"))
    error = refusal(tmp_path)
    assert error.reason == Reason.LABELS_REPEAT
    assert twin in str(error)


@pytest.mark.parametrize("label", ["", " cat", "cat\n", "x" * 65, "c\u200bat", "c\U000e0061at", "c\x1bat"])
def test_what_a_bundle_cannot_call_a_label_is_refused(label: str) -> None:
    with pytest.raises(InputError) as caught:
        check_labels(["dog", label], "[data] label_names")
    assert caught.value.reason == Reason.DATA_BAD


def test_files_that_are_no_samples_are_left_out_and_counted(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    whole = list_folders(ImageFolders(folder="."), tmp_path)
    for name in ("notes.txt", "more.TXT", "Makefile"):
        (tmp_path / "dog" / name).write_text("woof")

    found = list_folders(ImageFolders(folder="."), tmp_path)

    assert found.pool == whole.pool
    assert found.strays == {".txt": 2, "": 1}


def test_a_class_of_files_that_are_no_samples_is_empty(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "notes.txt").write_text("ring")
    error = refusal(tmp_path)
    assert error.reason == Reason.CLASS_EMPTY
    assert "fox holds 1 files that are no samples" in str(error)


def test_missing_folders_and_other_classes_in_the_test_folder_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").reason == Reason.DATA_BAD
    make_pictures(tmp_path / "train")
    make_pictures(tmp_path / "test", ("cat", "cow"))
    error = refusal(tmp_path, ImageFolders(folder="train", test_folder="test"))
    assert error.reason == Reason.DATA_BAD
    assert "cow" in str(error)


def test_group_is_what_the_expression_captures(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    cv2.imwrite(str(tmp_path / "cat" / "bob_7.png"), pixels(77))
    listing = list_folders(ImageFolders(folder=".", group="/([a-z]+)_"), tmp_path)
    assert {sample.group for sample in listing.pool} == {"ann", "bob"}
    cv2.imwrite(str(tmp_path / "cat" / "7.png"), pixels(78))
    error = refusal(tmp_path, ImageFolders(folder=".", group="/([a-z]+)_"))
    assert error.reason == Reason.DATA_BAD
    assert "7.png" in str(error)


def test_pictures_become_inputs_through_the_device_code(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    listing = list_folders(ImageFolders(folder="."), tmp_path)
    reader = ImageReader(ImageFolders(folder="."), IMAGE, tmp_path)
    inputs = reader.inputs(listing.pool)
    assert inputs.shape == (6, 10, 12, 3)
    assert np.array_equal(reader.raw(listing.pool[0]), pixels(0))
    assert np.array_equal(inputs[0], ImagePreprocessor(IMAGE)(pixels(0)))
    assert real_inputs(inputs).dtype == np.float32
    assert np.array_equal(real_inputs(inputs), inputs)


def test_an_unreadable_picture_is_refused_by_name(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    (tmp_path / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    listing = list_folders(ImageFolders(folder="."), tmp_path)
    with pytest.raises(InputError, match=r"broken\.png") as caught:
        ImageReader(ImageFolders(folder="."), IMAGE, tmp_path).inputs(listing.pool)
    assert caught.value.reason == Reason.IMAGE_UNREADABLE


def test_a_picture_that_claims_too_much_is_refused_when_the_data_is_listed(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    (tmp_path / "cat" / "bomb.jpg").write_bytes(claimed_jpeg(32_000, 32_000))
    with pytest.raises(InputError, match=r"bomb\.jpg claims 32000 x 32000") as caught:
        list_folders(ImageFolders(folder="."), tmp_path)
    assert caught.value.reason is Reason.IMAGE_TOO_BIG


def test_names_that_are_no_utf8_are_escaped_and_found_again(tmp_path: Path) -> None:
    data = make_pictures(tmp_path / "in")
    (data / "cat" / "ann_0.png").rename(data / "cat" / os.fsdecode(b"caf\xe9_0.png"))
    config = ImageFolders(folder="in", group=r"(caf.|ann)_")
    listing = list_folders(config, tmp_path)
    (sample,) = [sample for sample in listing.pool if "caf" in sample.id]
    assert (sample.id, sample.group) == ("in/cat/caf\\xe9_0.png", "caf\\xe9")
    assert ImageReader(config, IMAGE, tmp_path).raw(sample).shape == (20, 30, 3)
    assert b"caf" in encode_split({"train": [sample], "validation": [], "test": []})
    assert sample_path(tmp_path, sample.id).read_bytes() == sample.path.read_bytes()  # type: ignore[union-attr]


def test_a_label_that_is_no_utf8_is_refused_in_one_line(tmp_path: Path) -> None:
    (make_pictures(tmp_path) / "cat").rename(tmp_path / os.fsdecode(b"b\xe9"))
    error = refusal(tmp_path)
    assert error.reason is Reason.DATA_BAD
    assert "b\\xe9 cannot be a label: it is not UTF-8" in str(error)


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    sample = list_folders(ImageFolders(folder="."), tmp_path).pool[0]
    cv2.imwrite(str(tmp_path / sample.id), pixels(99))
    reader = ImageReader(ImageFolders(folder="."), IMAGE, tmp_path)
    with pytest.raises(InputError, match="has changed"):
        reader.raw(sample)
    (tmp_path / sample.id).unlink()
    with pytest.raises(InputError, match="is gone"):
        reader.raw(sample)


def noise(seconds: float, seed: int, rate: int = 16_000) -> npt.NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-9_000, 9_000, int(seconds * rate), np.int16)


def make_clips(folder: Path) -> Path:
    for index, label in enumerate(("hiss", "hum")):
        (folder / label).mkdir(parents=True)
        for number, seconds in enumerate((0.1, 0.5)):
            soundfile.write(folder / label / f"{number}.wav", noise(seconds, 10 * index + number), 16_000)
    return folder


def test_clips_become_inputs_from_their_middle_through_the_device_code(tmp_path: Path) -> None:
    make_clips(tmp_path)
    reader = AudioReader(AudioFolders(folder="."), AUDIO, tmp_path)
    short, long = reader.listing().pool[:2]
    inputs = reader.inputs([short, long])
    assert inputs.shape == (2, 20, 10)
    assert inputs.dtype == np.int8
    start = (8_000 - AUDIO.window_samples) // 2
    middle = noise(0.5, 1)[start : start + AUDIO.window_samples]
    assert np.array_equal(reader.raw(long), middle)
    silence = (AUDIO.window_samples - 1_600) // 2
    assert np.array_equal(reader.raw(short), np.pad(noise(0.1, 0), silence))
    assert np.array_equal(inputs[1], log_mel(AUDIO, middle))
    assert np.array_equal(real_inputs(inputs), inputs / 64.0)


def test_other_audio_formats_are_converted_as_on_the_device(tmp_path: Path) -> None:
    make_clips(tmp_path)
    stereo = np.repeat(noise(0.5, 30, rate=48_000)[:, None], 2, axis=1)
    soundfile.write(tmp_path / "hum" / "stereo.flac", stereo, 48_000)
    soundfile.write(tmp_path / "hum" / "coarse.wav", noise(0.5, 31), 16_000, subtype="PCM_U8")
    reader = AudioReader(AudioFolders(folder="."), AUDIO, tmp_path)
    samples = reader.listing().pool
    flac = next(sample for sample in samples if sample.id.endswith(".flac"))
    assert len(reader.clip(flac)) == pytest.approx(8_000, abs=2)
    assert reader.inputs(samples).shape == (6, 20, 10)


@pytest.mark.parametrize(
    ("name", "reason"), [("empty.wav", Reason.AUDIO_UNREADABLE), ("cut.wav", Reason.AUDIO_TRUNCATED)]
)
def test_a_bad_clip_is_refused_by_name(tmp_path: Path, name: str, reason: Reason) -> None:
    make_clips(tmp_path)
    whole = (tmp_path / "hum" / "1.wav").read_bytes()
    (tmp_path / "hum" / name).write_bytes(b"" if name == "empty.wav" else whole[:4_000])
    reader = AudioReader(AudioFolders(folder="."), AUDIO, tmp_path)
    with pytest.raises(InputError, match=name) as caught:
        reader.inputs(reader.listing().pool)
    assert caught.value.reason == reason


@given(length=st.integers(0, 50), window=st.integers(1, 50))
def test_a_window_has_its_length_and_the_clip_in_order(length: int, window: int) -> None:
    cut = middle_window(np.arange(1, length + 1, dtype=np.int16), window)
    assert len(cut) == window
    kept = cut[cut > 0]
    assert len(kept) == min(length, window)
    assert (np.diff(kept) == 1).all()
    before = int(kept[0]) - 1 if len(kept) else 0
    after = length - int(kept[-1]) if len(kept) else 0
    assert after - before in (0, 1)


def idx_bytes(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(shape=st.lists(st.integers(0, 4), min_size=3, max_size=3), cut=st.integers(-3, 3))
def test_an_idx_file_must_hold_what_its_header_promises(shape: list[int], cut: int) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.uint8).reshape(shape)
    whole = idx_bytes(array)
    damaged = whole[:cut] if cut < 0 else whole + bytes(cut)
    if cut == 0:
        assert np.array_equal(parse_idx(damaged, 3, Path("x")), array)
    else:
        with pytest.raises(InputError) as caught:
            parse_idx(damaged, 3, Path("x"))
        assert caught.value.reason == Reason.DATA_BAD


@given(st.binary(max_size=40))
def test_any_bytes_are_an_idx_file_or_refused(content: bytes) -> None:
    try:
        array = parse_idx(content, 1, Path("x"))
    except InputError as error:
        assert error.reason == Reason.DATA_BAD
    else:
        assert idx_bytes(array) == content


def make_idx(folder: Path) -> IdxFiles:
    pictures = np.random.default_rng(5).integers(0, 256, (6, 10, 12), np.uint8)
    (folder / "images.gz").write_bytes(gzip.compress(idx_bytes(pictures)))
    (folder / "labels").write_bytes(idx_bytes(np.array([1, 0, 1, 0, 1, 0], np.uint8)))
    return IdxFiles(images="images.gz", labels="labels", label_names=("odd", "even"))


def test_idx_pictures_reach_the_model_as_they_are(tmp_path: Path) -> None:
    data = make_idx(tmp_path)
    reader = ImageReader(data, ImagePreprocess(width=12, height=10, color="gray"), tmp_path)
    listing = reader.listing()
    assert [sample.id for sample in listing.pool] == [f"images.gz#{index}" for index in range(6)]
    assert [listing.labels[sample.label] for sample in listing.pool] == ["even", "odd"] * 3
    pictures = read_idx(tmp_path / "images.gz", 3)
    assert np.array_equal(reader.inputs(listing.pool)[..., 0], pictures)
    assert np.array_equal(reader.raw(listing.pool[2]), np.repeat(pictures[2][:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(5, np.uint8), "5 labels for 6 images"),
        (np.array([0, 1, 2, 0, 1, 0], np.uint8), "holds label 2"),
        (np.zeros((6, 1), np.uint8), "magic number 2050; expected 2049"),
    ],
)
def test_idx_labels_that_do_not_fit_are_refused(
    tmp_path: Path, labels: npt.NDArray[np.uint8], said: str
) -> None:
    data = make_idx(tmp_path)
    (tmp_path / "labels").write_bytes(idx_bytes(labels))
    with pytest.raises(InputError, match=said):
        IdxSet(data, tmp_path).listing()


def test_an_idx_file_that_is_missing_or_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    data = make_idx(tmp_path)
    (tmp_path / "images.gz").write_bytes(gzip.compress(bytes(1_000))[:-9])
    with pytest.raises(InputError, match="cannot be unpacked"):
        IdxSet(data, tmp_path).listing()
    (tmp_path / "images.gz").unlink()
    with pytest.raises(InputError, match="does not exist"):
        IdxSet(data, tmp_path).listing()


def test_large_inputs_live_in_a_file_that_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galago_workstation.data.sample_reader.IN_MEMORY_BYTES", 1_000)
    small, large = allocate((10,), np.uint8, tmp_path), allocate((50, 30), np.int8, tmp_path)
    large[:] = 7
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    assert int(large.sum()) == 7 * 1_500
    assert list(tmp_path.iterdir()) == []


def test_inputs_that_no_disk_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LinkError):
        allocate((1 << 50, 1 << 8), np.uint8, tmp_path)
    assert list(tmp_path.iterdir()) == []

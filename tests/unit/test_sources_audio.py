from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import DeviceError, GalagoError, InputError, LinkError, Reason
from galago_edge.contract.streams import AudioBlock, Gap, Item, Notice
from galago_edge.sources import AudioFile, read_audio

RATE_HZ = 16_000


def noise(samples: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(1).integers(-30_000, 30_000, samples, dtype=np.int16)


def write_wav(path: Path, data: bytes, *, width: int = 2, channels: int = 1, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setsampwidth(width)
        file.setnchannels(channels)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


def walk(source: AudioFile) -> tuple[list[Item], GalagoError | None]:
    items: list[Item] = []
    try:
        items.extend(source)  # extend keeps what came before an error
    except GalagoError as error:
        return items, error
    return items, None


def samples_of(items: list[Item]) -> npt.NDArray[np.int16]:
    return np.concatenate([item.samples for item in items if isinstance(item, AudioBlock)])


@pytest.mark.parametrize("block", [1, 7, 160, 4096, 16_384])
def test_blocks_are_the_file_whatever_their_length(block: int, tmp_path: Path) -> None:
    samples = noise(9_001)
    path = write_wav(tmp_path / "a.wav", samples.tobytes())
    items, error = walk(AudioFile(path, RATE_HZ, block))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples)
    blocks = [item for item in items if isinstance(item, AudioBlock)]
    assert {len(item.samples) for item in blocks[:-1]} <= {block}
    assert all(item.captured_ns == item.first_sample * 62_500 for item in blocks)


def test_8_bit_stereo_at_48_khz_is_converted_and_says_so(tmp_path: Path) -> None:
    raw = np.random.default_rng(2).integers(0, 256, (48_000, 2), dtype=np.uint8)
    path = write_wav(tmp_path / "a.wav", raw.tobytes(), width=1, channels=2, rate_hz=48_000)
    source = AudioFile(path, RATE_HZ)
    conversion = source.conversion()
    assert conversion is not None
    assert conversion["from"] == {"encoding": "u8", "channels": 2, "rate_hz": 48_000}
    assert conversion["resampler"] == "polyphase/1 1/3"
    items, error = walk(source)
    assert error is None
    assert len(samples_of(items)) == RATE_HZ


@pytest.mark.parametrize("width", [3, 4])
def test_wide_pcm_gives_the_high_16_bits(width: int, tmp_path: Path) -> None:
    samples = noise(1_000)
    wide = samples.astype("<i4") << (16 if width == 4 else 8)
    raw = wide.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    path = write_wav(tmp_path / "a.wav", raw, width=width)
    np.testing.assert_array_equal(read_audio(path, RATE_HZ), samples)


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.flac", "PCM_16"), ("a.flac", "PCM_24"), ("a.wav", "FLOAT")]
)
def test_what_wave_cannot_read_libsndfile_reads_alike(name: str, subtype: str, tmp_path: Path) -> None:
    samples = noise(3_000)
    soundfile.write(tmp_path / name, samples / 32768, RATE_HZ, subtype=subtype)
    np.testing.assert_array_equal(read_audio(tmp_path / name, RATE_HZ), samples)


def test_lossy_sound_is_read(tmp_path: Path) -> None:
    seconds = np.arange(RATE_HZ) / RATE_HZ
    soundfile.write(tmp_path / "a.ogg", 0.5 * np.sin(2 * np.pi * 440 * seconds), RATE_HZ)
    got = read_audio(tmp_path / "a.ogg", RATE_HZ)
    assert len(got) == RATE_HZ
    assert 15_000 < np.abs(got[2_000:-2_000]).max() < 18_000


@pytest.mark.parametrize("kept", [4_001, 6_000])  # in the middle of a sample, and between two
def test_a_truncated_wav_gives_what_it_holds_then_a_gap_then_an_error(kept: int, tmp_path: Path) -> None:
    samples = noise(10_000)
    path = write_wav(tmp_path / "a.wav", samples.tobytes())
    path.write_bytes(path.read_bytes()[: 44 + kept])
    items, error = walk(AudioFile(path, RATE_HZ))
    whole = kept // 2
    np.testing.assert_array_equal(samples_of(items), samples[:whole])
    assert items[-2:] == [
        Notice("truncated", whole, whole * 62_500, {"frames": whole, "promised_frames": 10_000}),
        Gap(whole * 62_500, 10_000 * 62_500, "truncated"),
    ]
    assert error is not None
    assert error.reason is Reason.AUDIO_TRUNCATED
    assert f"holds {whole} of the 10000 samples" in str(error)


def test_a_wav_cut_off_right_behind_its_header_is_truncated_too(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(100).tobytes())
    path.write_bytes(path.read_bytes()[:44])
    items, error = walk(AudioFile(path, RATE_HZ))
    assert [type(item) for item in items] == [Notice, Gap]
    assert error is not None and error.reason is Reason.AUDIO_TRUNCATED


def test_the_gap_of_a_truncated_recording_at_another_rate_ends_where_its_header_says(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(96_000).tobytes(), rate_hz=48_000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 48_000])
    items, _ = walk(AudioFile(path, RATE_HZ))
    assert items[-1] == Gap(1_000_000_000, 2_000_000_000, "truncated")


@pytest.mark.parametrize("stated", [0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_wav_that_was_written_to_a_pipe_knows_no_length_and_is_whole(stated: int, tmp_path: Path) -> None:
    samples = noise(1_000)
    path = write_wav(tmp_path / "a.wav", samples.tobytes())
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", min(stated + 36, 0xFFFFFFFF))
    data[40:44] = struct.pack("<I", stated)
    path.write_bytes(data)
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples)


def test_a_truncated_flac_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(50_000), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is not None and error.reason is Reason.AUDIO_TRUNCATED
    assert isinstance(items[-1], Gap)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.wav", b""),
        ("a.wav", b"RIFF"),
        ("a.wav", b"hello, I am a text file, not a sound"),
        ("a.wav", b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x00\x00\x80\x3e\x00\x00"),
        ("a.flac", b"fLaC" + bytes(40)),
        ("a.mp3", b"hello"),
    ],
)
def test_what_is_no_sound_is_one_input_error(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        AudioFile(tmp_path / name, RATE_HZ)
    assert caught.value.reason is Reason.AUDIO_UNREADABLE
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wav_without_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no samples"):
        AudioFile(write_wav(tmp_path / "a.wav", b""), RATE_HZ)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_missing_file_is_a_missing_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(LinkError) as caught:
        AudioFile(tmp_path / name, RATE_HZ)
    assert caught.value.reason is Reason.SOURCE_MISSING


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    path = write_wav(tmp_path / "a.wav", noise(100).tobytes(), rate_hz=47_999)
    with pytest.raises(DeviceError, match="47999 Hz to 16000 Hz needs the Python module soxr") as caught:
        AudioFile(path, RATE_HZ)
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert "galago-edge[recording]" in caught.value.hint


def test_stop_ends_after_the_current_block(tmp_path: Path) -> None:
    source = AudioFile(write_wav(tmp_path / "a.wav", noise(1_000).tobytes()), RATE_HZ, 100)
    items = iter(source)
    next(items)
    source.stop()
    assert list(items) == []


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(at=st.integers(0, 43), value=st.integers(0, 255))
def test_a_wav_with_a_changed_header_byte_is_read_or_refused_but_never_crashes(
    at: int, value: int, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "a.wav", noise(200).tobytes())
    data = bytearray(path.read_bytes())
    data[at] = value
    path.write_bytes(data)
    try:
        items = list(AudioFile(path, RATE_HZ))
    except GalagoError as error:
        assert "\n" not in str(error)
    else:
        told = [item for item in items if not isinstance(item, AudioBlock)]
        assert all(isinstance(item, Notice) and item.state in ("unclaimed", "unfinished") for item in told)

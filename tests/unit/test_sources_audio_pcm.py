"""Uncompressed sound by its content, whatever wrote it: our own readers, without any library."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.streams import AudioBlock, Gap, Item, Notice
from galago_edge.sources import AudioFile, open_source, read_audio
from galago_edge.sources.pcm_header import PcmLayout, read_header
from real_parts.media import ffmpeg

RATE_HZ = 16_000
FRAMES = 4_000


def noise(samples: int = FRAMES, channels: int = 1) -> npt.NDArray[np.int16]:
    return np.random.default_rng(1).integers(-30_000, 30_000, (samples, channels), dtype=np.int16)


def walk(source: object) -> tuple[list[Item], GalagoError | None]:
    items: list[Item] = []
    try:
        items.extend(source)  # type: ignore[call-overload]  # extend keeps what came before an error
    except GalagoError as error:
        return items, error
    return items, None


def samples_of(items: list[Item]) -> npt.NDArray[np.int16]:
    return np.concatenate([item.samples for item in items if isinstance(item, AudioBlock)])


@pytest.fixture(autouse=True)
def _no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither PyAV nor soxr is needed for any of it."""
    for name in ("av", "soxr"):
        monkeypatch.setitem(__import__("sys").modules, name, None)


FORMATS = [
    ("WAV", "PCM_U8", "u8"),
    ("WAV", "PCM_16", "s16"),
    ("WAV", "PCM_24", "s24"),
    ("WAV", "PCM_32", "s32"),
    ("WAV", "FLOAT", "float"),
    ("WAV", "DOUBLE", "double"),
    ("WAV", "ALAW", "alaw"),
    ("WAV", "ULAW", "ulaw"),
    ("WAVEX", "PCM_24", "s24"),
    ("WAVEX", "FLOAT", "float"),
    ("RF64", "PCM_24", "s24"),
    ("W64", "PCM_16", "s16"),
    ("W64", "FLOAT", "float"),
    ("AIFF", "PCM_S8", "s8"),
    ("AIFF", "PCM_16", "s16"),
    ("AIFF", "PCM_24", "s24"),
    ("AIFF", "FLOAT", "float"),
    ("AIFF", "ULAW", "ulaw"),
    ("CAF", "PCM_24", "s24"),
    ("CAF", "FLOAT", "float"),
    ("CAF", "ALAW", "alaw"),
    ("AU", "PCM_16", "s16"),
    ("AU", "PCM_24", "s24"),
    ("AU", "DOUBLE", "double"),
    ("AU", "ALAW", "alaw"),
]


def written(path: Path, kind: str, subtype: str, channels: int = 1, endian: str = "FILE") -> Path:
    data = noise(channels=channels) / 32768
    soundfile.write(path, data, RATE_HZ, format=kind, subtype=subtype, endian=endian)
    return path


def wanted(path: Path, encoding: str) -> npt.NDArray[np.int16]:
    """What libsndfile reads, by the rules of the conversion; it has full scale 2^31 for integers."""
    if encoding in ("float", "double", "alaw", "ulaw"):
        real, _ = soundfile.read(path, dtype="float64", always_2d=True)
        return np.rint(real * 32768).clip(-32768, 32767).astype(np.int16)[:, 0]
    whole, _ = soundfile.read(path, dtype="int32", always_2d=True)
    return ((whole.astype(np.int64) + 0x8000) >> 16).clip(-32768, 32767).astype(np.int16)[:, 0]


@pytest.mark.parametrize(("kind", "subtype", "encoding"), FORMATS)
def test_every_encoding_is_read_as_libsndfile_reads_it(
    kind: str, subtype: str, encoding: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "no-name-of-its-kind.wav", kind, subtype)
    source = AudioFile(path, RATE_HZ)
    assert source.description()["encoding"] == encoding
    assert source.description()["promised_frames"] == FRAMES
    items, error = walk(source)
    assert error is None
    np.testing.assert_array_equal(samples_of(items), wanted(path, encoding))


@pytest.mark.parametrize(("kind", "subtype", "encoding"), FORMATS)
def test_what_is_cut_off_is_decided_to_its_end_and_told_with_what_was_promised(
    kind: str, subtype: str, encoding: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.wav", kind, subtype, channels=6)
    whole = read_audio(path, RATE_HZ)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    items, error = walk(AudioFile(path, RATE_HZ))
    found = len(samples_of(items))
    assert FRAMES * 0.5 < found < FRAMES * 0.61
    np.testing.assert_array_equal(samples_of(items), whole[:found])
    assert items[-2:] == [
        Notice("truncated", found, found * 62_500, {"frames": found, "promised_frames": FRAMES}),
        Gap(found * 62_500, FRAMES * 62_500, "truncated"),
    ]
    assert error is not None and error.reason is Reason.AUDIO_TRUNCATED
    assert f"{found} of the {FRAMES}" in str(error)
    with pytest.raises(InputError, match=f"{found} of the {FRAMES}"):  # training data is never cut off
        read_audio(path, RATE_HZ)


def test_samples_in_the_other_byte_order_are_read(tmp_path: Path) -> None:
    plain = read_audio(written(tmp_path / "a.wav", "WAV", "PCM_16"), RATE_HZ)
    other = read_audio(written(tmp_path / "b.wav", "WAV", "PCM_16", endian="BIG"), RATE_HZ)
    np.testing.assert_array_equal(other, plain)


@pytest.mark.parametrize(
    "arguments",
    [("wav",), ("wav", "-rf64", "always"), ("w64",), ("aiff",), ("au",), ("caf",)],
    ids=lambda arguments: arguments[0] + "-rf64" * (len(arguments) > 2),
)
@pytest.mark.parametrize("channels", [1, 6])
def test_what_ffmpeg_writes_is_read(arguments: tuple[str, ...], channels: int, tmp_path: Path) -> None:
    samples = noise(channels=channels)
    (tmp_path / "a.raw").write_bytes(samples.tobytes())
    ffmpeg(
        *("-f", "s16le", "-ar", RATE_HZ, "-ac", channels, "-i", tmp_path / "a.raw"),
        *("-c:a", "pcm_s24be" if arguments[0] in ("aiff", "au") else "pcm_s24le"),
        *("-f", *arguments, tmp_path / "a.bin"),
    )
    items, error = walk(AudioFile(tmp_path / "a.bin", RATE_HZ, channel=channels))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples[:, channels - 1])


@pytest.mark.parametrize("kind", ["WAV", "W64", "AIFF", "AU"])
def test_a_recorder_that_was_killed_left_no_length_and_its_samples_are_read(
    kind: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.wav", kind, "PCM_16")
    whole = read_audio(path, RATE_HZ)
    data = bytearray(path.read_bytes())
    at, length = {"WAV": (40, 4), "W64": (96 + 16, 8), "AIFF": (22, 4), "AU": (8, 4)}[kind]
    if kind == "W64":
        at = data.index(b"data\xf3\xac") + 16
    elif kind == "AIFF":
        at = data.index(b"COMM") + 10
        data[data.index(b"SSND") + 4 : data.index(b"SSND") + 8] = bytes(4)
    elif kind == "WAV":
        at = data.index(b"data") + 4
    data[at : at + length] = bytes(length)
    path.write_bytes(data)
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is None
    assert items[0] == Notice("unfinished", 0, 0, {"frames": FRAMES, "promised_frames": 0})
    np.testing.assert_array_equal(samples_of(items), whole)


@pytest.mark.parametrize("kind", ["WAV", "AIFF"])
def test_two_gigabytes_that_gstreamer_states_until_it_knows_better_are_no_missing_samples(
    kind: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.wav", kind, "PCM_16")
    whole = read_audio(path, RATE_HZ)
    data = bytearray(path.read_bytes())
    if kind == "WAV":
        at = data.index(b"data") + 4
        data[at : at + 4] = struct.pack("<I", 0x7FFF_0000)
    else:
        at = data.index(b"COMM") + 10
        data[at : at + 4] = struct.pack(">I", 0x7FFF_0000 // 2)
        at = data.index(b"SSND") + 4
        data[at : at + 4] = struct.pack(">I", 0x7FFF_0008)
    path.write_bytes(data)
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is None
    detail = {"frames": FRAMES, "promised_frames": 0x7FFF_0000 // 2}
    assert [item for item in items if isinstance(item, Notice)] == [Notice("unfinished", 0, 0, detail)]
    np.testing.assert_array_equal(samples_of(items), whole)


def test_a_wav_without_samples_is_refused_though_other_chunks_follow(tmp_path: Path) -> None:
    head = b"WAVE" + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    tail = b"data" + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(head + tail)) + head + tail)
    with pytest.raises(InputError, match="holds no samples"):
        AudioFile(path, RATE_HZ)


@pytest.mark.parametrize(
    ("bits", "block", "message"),
    [(16, 4, "do not make 4 bytes"), (40, 5, "its samples have 40 bits"), (0, 0, "its samples have 0 bits")],
)
def test_a_header_that_contradicts_itself_is_refused(
    bits: int, block: int, message: str, tmp_path: Path
) -> None:
    head = b"WAVE" + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, block, bits)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + bytes(4) + head + b"data" + struct.pack("<I", 100) + bytes(100))
    with pytest.raises(InputError, match=message):
        AudioFile(path, RATE_HZ)


def riff(*chunks: tuple[bytes, bytes], tag: int = 1, bits: int = 16, more: bytes = b"") -> bytes:
    """A WAV of one channel with these chunks behind its format."""
    width = bits // 8
    fmt = struct.pack("<HHIIHH", tag, 1, RATE_HZ, width * RATE_HZ, width, bits) + more
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        for name, data in ((b"fmt ", fmt), *chunks)
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def told(items: list[Item]) -> list[tuple[str, dict[str, object]]]:
    return [(item.state, item.detail) for item in items if isinstance(item, Notice)]


def test_samples_behind_a_length_that_was_never_brought_up_to_date_are_decided_and_told(
    tmp_path: Path,
) -> None:
    """A recorder writes its header anew each minute, and is killed."""
    samples = noise(3 * RATE_HZ)
    data = bytearray(riff((b"data", samples.tobytes())))
    struct.pack_into("<I", data, data.index(b"data") + 4, 2 * RATE_HZ)
    (tmp_path / "a.wav").write_bytes(data)
    items, error = walk(AudioFile(tmp_path / "a.wav", RATE_HZ))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples[:, 0])
    assert told(items) == [("unfinished", {"frames": 3 * RATE_HZ, "promised_frames": RATE_HZ})]


def test_a_second_data_chunk_is_told(tmp_path: Path) -> None:
    samples = noise(2 * RATE_HZ)
    halves = samples[:RATE_HZ].tobytes(), samples[RATE_HZ:].tobytes()
    (tmp_path / "a.wav").write_bytes(riff((b"data", halves[0]), (b"LIST", b"INFO"), (b"data", halves[1])))
    items, error = walk(AudioFile(tmp_path / "a.wav", RATE_HZ))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples[:RATE_HZ, 0])
    assert told(items) == [("unclaimed", {"bytes": 2 * RATE_HZ})]


@pytest.mark.parametrize(
    ("behind", "unclaimed"),
    [
        (b"", 0), (b"LIST\4\0\0\0INFO", 0), (b"LIST\x40\0\0\0INFO", 0), (b"TAG" + bytes(125), 0),
        (bytes(4_000), 0), (b"APETAGEX" + b"x" * 100, 0), (bytes(3 * RATE_HZ), 3 * RATE_HZ),
        (b"\1\xfe" * 500, 1_000),
        (b"LIST\4\0\0\0INFO" + b"\1\xfe" * 50, 100),
    ],
)  # fmt: skip
def test_what_lies_behind_the_samples_is_told_unless_it_is_none_for_sure(
    behind: bytes, unclaimed: int, tmp_path: Path
) -> None:
    samples = noise(RATE_HZ)
    (tmp_path / "a.wav").write_bytes(riff((b"data", samples.tobytes())) + behind)
    items, error = walk(AudioFile(tmp_path / "a.wav", RATE_HZ))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples[:, 0])
    assert told(items) == ([("unclaimed", {"bytes": unclaimed})] if unclaimed else [])


@pytest.mark.parametrize("kind", ["wav", "rifx", "au"])
@pytest.mark.parametrize("behind", [b"", b"LIST\4\0\0\0INFO"], ids=["alone", "with-a-chunk"])
def test_a_recording_of_more_than_4_gib_whose_length_began_anew_is_as_long_as_it_is(
    kind: str, behind: bytes, tmp_path: Path
) -> None:
    length = (1 << 32) + (1 << 32) + 2 * RATE_HZ
    mark = ">" if kind == "rifx" else "<"
    if kind == "au":
        head = b".snd" + struct.pack(">IIIII", 24, length % (1 << 32), 3, RATE_HZ, 1)
        behind = b""
    else:
        fmt = struct.pack(mark + "HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
        head = (b"RIFX" if kind == "rifx" else b"RIFF") + bytes(4) + b"WAVE"
        head += b"fmt " + struct.pack(mark + "I", 16) + fmt
        head += b"data" + struct.pack(mark + "I", length % (1 << 32))
        behind = behind if mark == "<" else behind.replace(b"\4\0\0\0", b"\0\0\0\4")
    with (tmp_path / "a.wav").open("wb") as file:  # a hole in the file: it takes no room
        file.write(head)
        file.truncate(len(head) + length)
        file.seek(0, os.SEEK_END)
        file.write(behind)
    with (tmp_path / "a.wav").open("rb") as file:
        layout = read_header(file)
    assert isinstance(layout, PcmLayout)
    assert (layout.promised, layout.stated, layout.unclaimed) == (length // 2, RATE_HZ, 0)


def test_a_length_that_no_time_can_hold_leaves_a_gap_without_length(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", "W64", "PCM_16")
    data = bytearray(path.read_bytes())
    at = data.index(b"data\xf3\xac") + 16
    data[at : at + 8] = (1 << 60).to_bytes(8, "little")
    path.write_bytes(data)
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is not None and error.reason is Reason.AUDIO_TRUNCATED
    assert items[-1] == Gap(FRAMES * 62_500, FRAMES * 62_500, "truncated")


def test_24_valid_bits_in_32_are_read_from_the_upper_end(tmp_path: Path) -> None:
    samples = noise()
    tail = struct.pack("<HHI", 22, 24, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
    wide = samples.astype("<i4") << 16
    data = riff((b"data", wide.tobytes()), tag=0xFFFE, bits=32, more=tail)
    (tmp_path / "a.wav").write_bytes(data)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", RATE_HZ), samples[:, 0])


def test_an_extensible_wav_of_four_ambisonic_channels_is_read_and_an_unknown_one_promises_nothing(
    tmp_path: Path,
) -> None:
    samples = noise()
    for guid, frames in (("010000002107d3118644c8c1ca000000", FRAMES), ("01000000" + "ab" * 12, None)):
        tail = struct.pack("<HHI", 22, 16, 4) + bytes.fromhex(guid)
        (tmp_path / "a.wav").write_bytes(riff((b"data", samples.tobytes()), tag=0xFFFE, more=tail))
        with (tmp_path / "a.wav").open("rb") as file:
            layout = read_header(file)
        assert layout is not None and layout.promised == frames


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    form=st.sampled_from([("WAV", "PCM_24"), ("WAVEX", "FLOAT"), ("RF64", "PCM_16"), ("W64", "PCM_16")])
    | st.sampled_from([("AIFF", "PCM_16"), ("AIFF", "ULAW"), ("AU", "ALAW"), ("CAF", "PCM_16")]),
    changes=st.lists(st.tuples(st.integers(0, 140), st.integers(0, 255)), max_size=6),
    kept=st.integers(0, 500),
)
def test_changed_headers_are_read_or_refused_in_one_line(
    form: tuple[str, str], changes: list[tuple[int, int]], kept: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(50) / 32768, RATE_HZ, format=form[0], subtype=form[1])
    data = bytearray(path.read_bytes())
    for at, value in changes:
        if at < len(data):
            data[at] = value
    path.write_bytes(data[:kept])
    try:
        for item in AudioFile(path, RATE_HZ):
            assert isinstance(item, AudioBlock | Notice | Gap)
    except GalagoError as error:
        assert "\n" not in str(error)


@given(content=st.binary(max_size=300))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    for head in (b"", b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b".snd"):
        (tmp_path / "a.wav").write_bytes(head + content)
        try:
            list(AudioFile(tmp_path / "a.wav", RATE_HZ))
        except GalagoError as error:
            assert "\n" not in str(error)


# Raw samples


def opened(text: str) -> object:
    return open_source(text, AudioPreprocess(sample_rate_hz=RATE_HZ))


@pytest.mark.parametrize("name", ["a.raw", "a.pcm"])
def test_raw_samples_are_read_as_their_address_says(name: str, tmp_path: Path) -> None:
    samples = noise(channels=2)
    (tmp_path / name).write_bytes(samples.tobytes())
    items, error = walk(opened(f"{tmp_path / name}?rate=16000&channels=2&channel=2"))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), samples[:, 1])


def test_an_odd_byte_at_the_end_of_raw_samples_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(noise().tobytes() + b"x")
    items, error = walk(opened(f"{tmp_path / 'a.raw'}?rate=16000"))
    assert error is None
    assert Notice("odd_byte", FRAMES, FRAMES * 62_500, {"ignored_bytes": 1}) in items


def test_raw_samples_without_a_rate_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(noise().tobytes())
    with pytest.raises(CallerError, match="is not known: it holds raw samples") as caught:
        opened(str(tmp_path / "a.raw"))
    assert caught.value.reason is Reason.CONFIG_BAD
    assert "?rate=16000" in caught.value.hint


@pytest.mark.parametrize("name", ["a.wav", "a.raw"])
def test_a_file_that_says_its_rate_is_not_told_another(name: str, tmp_path: Path) -> None:
    written(tmp_path / name, "WAV", "PCM_16")
    with pytest.raises(CallerError, match="says itself what its samples are") as caught:
        opened(f"{tmp_path / name}?rate=8000")
    assert caught.value.reason is Reason.CONFIG_BAD


def test_a_wav_that_is_called_raw_is_a_wav(tmp_path: Path) -> None:
    written(tmp_path / "a.raw", "WAV", "PCM_16")
    items, error = walk(opened(str(tmp_path / "a.raw")))
    assert error is None
    np.testing.assert_array_equal(samples_of(items), noise()[:, 0])


# One channel


def test_one_channel_is_taken_and_declared(tmp_path: Path) -> None:
    samples = noise(channels=6)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    source = open_source(f"{tmp_path / 'a.wav'}?channel=5", AudioPreprocess(sample_rate_hz=RATE_HZ))
    conversion = source.conversion()
    assert conversion is not None and conversion["channel"] == 5
    items, _ = walk(source)
    np.testing.assert_array_equal(samples_of(items), samples[:, 4])


def test_what_the_settings_say_counts_before_the_address(tmp_path: Path) -> None:
    samples = noise(channels=2)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    spec = AudioPreprocess(sample_rate_hz=RATE_HZ)
    items, _ = walk(open_source(f"{tmp_path / 'a.wav'}?channel=1", spec, channel=2))
    np.testing.assert_array_equal(samples_of(items), samples[:, 1])


def test_a_channel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", "WAV", "PCM_16", channels=2)
    with pytest.raises(InputError, match=r"channel 3 is asked for, but .*a\.wav has 2") as caught:
        opened(f"{tmp_path / 'a.wav'}?channel=3")
    assert caught.value.reason is Reason.SOURCE_MISMATCH

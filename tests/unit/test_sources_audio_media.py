"""Compressed sound, and sound in containers: files as ffmpeg writes them, whole, cut off and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import GalagoError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Gap, Item, Notice
from galago_edge.sources import AudioFile, open_source, read_audio
from real_parts.media import ffmpeg, ffmpeg_output

RATE_HZ = 16_000
SECONDS = 6
SOURCE_HZ = 48_000

CODECS = {
    "flac": ("-f", "flac"),
    "mp3": ("-f", "mp3"),
    "vorbis": ("-c:a", "libvorbis", "-f", "ogg"),
    "opus": ("-c:a", "libopus", "-f", "ogg"),
    "m4a": ("-c:a", "aac", "-f", "ipod", "-movflags", "+faststart"),
    "fragments": ("-c:a", "aac", "-f", "mp4", "-movflags", "+empty_moov", "-frag_duration", 1_000_000),
    "alac": ("-c:a", "alac", "-f", "ipod", "-movflags", "+faststart"),
    "aac": ("-f", "adts"),
    "wma": ("-f", "asf"),
    "mka": ("-c:a", "aac", "-f", "matroska"),
    "webm": ("-c:a", "libopus", "-f", "webm"),
    "ts": ("-c:a", "aac", "-f", "mpegts"),
    "mpeg": ("-c:a", "mp2", "-f", "mpeg"),
    "flv": ("-c:a", "aac", "-f", "flv"),
    "3gp": ("-c:a", "aac", "-f", "3gp", "-movflags", "+faststart"),
    "ac3": ("-f", "ac3"),
    "caf": ("-f", "caf"),
    "caf_alac": ("-c:a", "alac", "-f", "caf"),
    "tta": ("-f", "tta"),
    "eac3": ("-f", "eac3"),
    "dts": ("-c:a", "dca", "-strict", "-2", "-f", "dts"),
    "mlp": ("-strict", "-2", "-f", "mlp"),
    "latm": ("-c:a", "aac", "-f", "latm"),
    "ircam": ("-f", "ircam"),
    "s302m": ("-c:a", "s302m", "-strict", "-2", "-ac", 2, "-f", "mpegts"),
    "wavpack": ("-f", "wv"),
    "adpcm": ("-c:a", "adpcm_ima_wav", "-f", "wav"),
    "adpcm_ms": ("-c:a", "adpcm_ms", "-f", "wav"),
    "mp3_in_wav": ("-c:a", "libmp3lame", "-f", "wav"),
    "mov_pcm": ("-c:a", "pcm_s16le", "-f", "mov", "-movflags", "+faststart"),
    "mkv_pcm": ("-c:a", "pcm_s24le", "-f", "matroska"),
}
LOSSLESS = frozenset(
    {"flac", "alac", "caf", "caf_alac", "wavpack", "tta", "mlp", "ircam", "mov_pcm", "mkv_pcm"}
)
DELAYED = frozenset(
    {"aac", "latm", "ac3", "eac3", "dts", "ts", "mpeg", "flv", "mka", "fragments", "mp3_in_wav", "wma"}
)
"""Formats that do not say how many samples the encoder put in front, or whose writer does not."""
UNPROMISING = frozenset({"aac", "latm", "ac3", "eac3", "dts", "mlp", "ts", "s302m", "mpeg", "vorbis", "opus"})
"""They do not say how long they are, and end inside a packet, or without a mark of the end."""
UNCHECKED = frozenset(
    {"caf", "adpcm", "adpcm_ms", "mov_pcm", "mkv_pcm", "wma", "mp3_in_wav", "flv", "mpeg", "webm"}
    | {"dts", "ircam"}
)
"""Nothing in them shows that bytes in their middle were changed."""


def sound(seconds: float = SECONDS, rate_hz: int = SOURCE_HZ) -> npt.NDArray[np.int16]:
    """Return a sweep under noise, which fits onto itself in one place only."""
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    sweep = np.sin(2 * np.pi * (200 * at + 300 * at * at / seconds))
    hiss = np.random.default_rng(3).normal(0, 0.05, len(at))
    return np.rint(9_000 * (sweep + hiss)).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    (folder / "a.pcm").write_bytes(sound().tobytes())
    return folder


def encoded(folder: Path, codec: str) -> Path:
    """Return the sound in another form, under a name that says nothing; it is made once."""
    path = folder / f"{codec}.bin"
    if not path.exists():
        ffmpeg("-f", "s16le", "-ar", SOURCE_HZ, "-ac", 1, "-i", folder / "a.pcm", *CODECS[codec], path)
    return path


def walk(source: AudioFile) -> tuple[list[Item], GalagoError | None]:
    items: list[Item] = []
    try:
        items.extend(source)  # extend keeps what came before an error
    except GalagoError as error:
        return items, error
    return items, None


def blocks(items: list[Item]) -> list[AudioBlock]:
    return [item for item in items if isinstance(item, AudioBlock)]


def samples_of(items: list[Item]) -> npt.NDArray[np.int16]:
    return np.concatenate([block.samples for block in blocks(items)])


def placed(items: list[Item]) -> npt.NDArray[np.int16]:
    """Return the samples in their places, as long as the recording; silence is where they are missing."""
    result = np.zeros(SECONDS * RATE_HZ, np.int16)
    for block in blocks(items):
        fitting = block.samples[: max(0, len(result) - block.first_sample)]
        result[block.first_sample : block.first_sample + len(fitting)] = fitting
    return result


def gaps(items: list[Item]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def lag(one: npt.NDArray[np.int16], other: npt.NDArray[np.int16]) -> int:
    """Return by how many samples ``one`` comes later than ``other``."""
    size = 1 << 18
    product = np.fft.rfft(one[:100_000], size) * np.conj(np.fft.rfft(other[:100_000], size))
    at = int(np.fft.irfft(product).argmax())
    return at - size if at > size // 2 else at


@pytest.mark.parametrize("codec", CODECS)
def test_sound_is_read_by_its_content_and_stands_where_it_was_recorded(codec: str, folder: Path) -> None:
    items, error = walk(AudioFile(encoded(folder, codec), SOURCE_HZ))
    assert error is None
    assert {type(item) for item in items} <= {AudioBlock, Notice}
    got = samples_of(items)
    if codec in LOSSLESS:
        np.testing.assert_array_equal(got, sound())
        return
    assert abs(len(got) - SECONDS * SOURCE_HZ) < 5_000
    late = lag(got, sound())
    assert late == 0 or (codec in DELAYED and 0 < abs(late) < 3_000)


@pytest.mark.parametrize("codec", ["mp3", "m4a", "opus", "wma", "ts"])
def test_two_readings_give_the_same_items(codec: str, folder: Path) -> None:
    one, other = (walk(AudioFile(encoded(folder, codec), RATE_HZ))[0] for _ in range(2))
    np.testing.assert_array_equal(samples_of(one), samples_of(other))


@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"ircam", "caf_alac"}))  # no length; no table left
def test_what_is_cut_off_is_decided_to_its_end_and_told(codec: str, folder: Path) -> None:
    whole = encoded(folder, codec).read_bytes()
    path = folder / f"cut-{codec}.bin"
    path.write_bytes(whole[: len(whole) * 6 // 10 + 150])
    items, error = walk(AudioFile(path, RATE_HZ))
    found_s = len(samples_of(items)) / RATE_HZ
    assert 0.45 * SECONDS < found_s < 0.7 * SECONDS
    assert error is not None
    with pytest.raises(InputError):  # training data is never cut off
        read_audio(path, RATE_HZ)
    (gap,) = gaps(items)[-1:]
    if codec in UNPROMISING - {"vorbis", "opus"}:
        assert error.reason in (Reason.AUDIO_TRUNCATED, Reason.AUDIO_UNREADABLE)
        return
    assert error.reason is Reason.AUDIO_TRUNCATED
    assert gap.cause == "truncated"
    notice = next(item for item in items if isinstance(item, Notice) and item.state == "truncated")
    if codec in UNPROMISING:
        assert notice.detail["promised_frames"] is None
        return
    if codec == "fragments":  # each says how long it is itself
        assert notice.detail["frames"] < notice.detail["promised_frames"]
        return
    assert abs(gap.to_ns - SECONDS * NS_PER_S) < 0.2 * NS_PER_S
    assert abs(notice.detail["promised_frames"] - SECONDS * SOURCE_HZ) < 0.2 * SOURCE_HZ
    assert notice.detail["frames"] < notice.detail["promised_frames"]


@pytest.mark.parametrize("codec", sorted(set(CODECS) - UNCHECKED))
@pytest.mark.parametrize("zeros", [300, 5_000])
def test_a_damaged_place_is_told_and_the_rest_is_decided_at_its_time(
    codec: str, zeros: int, folder: Path
) -> None:
    whole = walk(AudioFile(encoded(folder, codec), RATE_HZ))[0]
    data = bytearray(encoded(folder, codec).read_bytes())
    data[len(data) // 2 : len(data) // 2 + zeros] = bytes(zeros)
    path = folder / f"damaged-{codec}.bin"
    path.write_bytes(data)
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is not None
    assert error.reason is Reason.AUDIO_UNREADABLE or codec == "fragments"  # their heads may be hit
    if error.reason is Reason.AUDIO_UNREADABLE:
        assert "damaged in " in str(error)
        assert "unreadable" in {gap.cause for gap in gaps(items)}
        assert any(isinstance(item, Notice) and item.state == "unreadable" for item in items)
    if error.reason is Reason.AUDIO_UNREADABLE and codec != "aac":  # what comes behind is where it was
        late = lag(placed(items)[-2 * RATE_HZ :], placed(whole)[-2 * RATE_HZ :])
        assert abs(late) < 0.05 * RATE_HZ
    again, _ = walk(AudioFile(path, RATE_HZ))
    np.testing.assert_array_equal(samples_of(again), samples_of(items))


def test_a_frame_that_is_cut_off_is_not_made_up(folder: Path, tmp_path: Path) -> None:
    path = encoded(folder, "ac3")
    whole = len(read_audio(path, SOURCE_HZ))
    (tmp_path / "a.ac3").write_bytes(path.read_bytes()[:-100])
    items, error = walk(AudioFile(tmp_path / "a.ac3", SOURCE_HZ))
    assert error is not None and error.reason is Reason.AUDIO_TRUNCATED
    assert len(samples_of(items)) == whole - 1536


def test_short_frames_that_share_a_packet_of_a_transport_stream_are_all_decoded(tmp_path: Path) -> None:
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=sample_rate=44100:duration=1.3", "-ar", 48_000, "-ac", 2),
        *("-c:a", "s302m", "-strict", -2, tmp_path / "a.ts"),
    )
    items, error = walk(AudioFile(tmp_path / "a.ts", 48_000))
    assert error is None
    assert gaps(items) == []
    assert len(samples_of(items)) == 62_400


@pytest.mark.parametrize("kind", ["alac", "flac"])
def test_a_core_audio_file_is_whole_although_its_table_counts_whole_packets(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    """FFmpeg writes any number for how long a packet of FLAC is; some it refuses to read again."""
    path = tmp_path / "a.caf"
    ffmpeg(
        *("-f", "s16le", "-ar", SOURCE_HZ, "-ac", 1, "-i", folder / "a.pcm"),
        *("-t", 5.3, "-c:a", kind, "-f", "caf", path),
    )
    if kind == "flac":
        data = path.read_bytes()
        at, table = data.index(b"desc") + 12 + 20, data.index(b"pakt") + 12 + 8
        sane = (0x7D7D7D7E).to_bytes(4, "big")
        data = data[:at] + sane + data[at + 4 : table] + bytes(4) + sane + data[table + 8 :]
        path.write_bytes(data)
    items, error = walk(AudioFile(path, SOURCE_HZ))
    assert error is None
    assert {type(item) for item in items} <= {AudioBlock, Notice}
    np.testing.assert_array_equal(samples_of(items), sound()[: round(5.3 * SOURCE_HZ)])


def test_a_core_audio_file_whose_table_is_cut_off_says_so(folder: Path, tmp_path: Path) -> None:
    data = encoded(folder, "caf_alac").read_bytes()
    (tmp_path / "a.caf").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"its packet table \(pakt\) is missing"):
        AudioFile(tmp_path / "a.caf", RATE_HZ)


def test_a_voice_file_that_is_cut_off_or_damaged_in_a_block_s_head_is_told(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=sample_rate=22050:duration=2", "-c:a", "pcm_u8", tmp_path / "a.voc")
    data = (tmp_path / "a.voc").read_bytes()
    assert walk(AudioFile(tmp_path / "a.voc", RATE_HZ))[1] is None
    middle = len(data) // 2
    for damaged in (data[:middle], data[:middle] + bytes(5_000) + data[middle + 5_000 :]):
        (tmp_path / "b.voc").write_bytes(damaged)
        _, error = walk(AudioFile(tmp_path / "b.voc", RATE_HZ))
        assert error is not None and error.reason is Reason.AUDIO_TRUNCATED


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_what_aac_puts_in_front_is_left_out_and_what_fills_its_last_frame_is_kept(
    rate_hz: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.m4a"
    ffmpeg("-f", "lavfi", "-i", f"sine=sample_rate={rate_hz}:duration=2.2", "-c:a", "aac", path)
    found = len(samples_of(walk(AudioFile(path, rate_hz))[0]))
    assert found == len(ffmpeg_output("-i", path, "-f", "s16le")) // 2
    assert 0 <= found - round(2.2 * rate_hz) < 1_024


@pytest.mark.parametrize("codec", ["webm", "mka"])
def test_damage_behind_which_the_container_does_not_find_on_is_told(
    codec: str, folder: Path, tmp_path: Path
) -> None:
    """A cluster whose head is gone ends what FFmpeg reads of some files, without a word."""
    data = encoded(folder, codec).read_bytes()
    for at in range(len(data) // 4, len(data) * 3 // 4, 777):
        (tmp_path / "a.mka").write_bytes(data[:at] + bytes(600) + data[at + 600 :])
        items, error = walk(AudioFile(tmp_path / "a.mka", RATE_HZ))
        length = (
            len(samples_of(items)) / RATE_HZ + sum(gap.to_ns - gap.from_ns for gap in gaps(items)) / NS_PER_S
        )
        assert error is not None or length > 0.9 * SECONDS


def test_two_sounds_chained_in_one_ogg_are_both_read_and_a_change_of_format_is_told(folder: Path) -> None:
    path = folder / "chained.bin"
    first, second = encoded(folder, "vorbis"), folder / "second.ogg"
    ffmpeg(
        *("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm", "-ar", 22_050, "-ac", 2),
        *("-c:a", "libvorbis", "-f", "ogg", second),
    )
    path.write_bytes(first.read_bytes() + second.read_bytes() + encoded(folder, "opus").read_bytes())
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is None
    assert abs(len(samples_of(items)) - 3 * SECONDS * RATE_HZ) <= 3
    changes = [item for item in items if isinstance(item, Notice)]
    assert [change.state for change in changes] == ["converted", "converted"]
    assert changes[0].detail["from"] == {"encoding": "vorbis", "channels": 2, "rate_hz": 22_050}
    assert changes[1].detail["from"] == {"encoding": "opus", "channels": 1, "rate_hz": 48_000}
    assert gaps(items) == []


def test_a_chained_ogg_that_is_cut_off_in_its_second_sound_is_told(folder: Path) -> None:
    path = folder / "chained-cut.bin"
    one = encoded(folder, "vorbis").read_bytes()
    path.write_bytes(one + one[: len(one) // 2])
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is not None and error.reason is Reason.AUDIO_TRUNCATED
    assert len(samples_of(items)) > 1.3 * SECONDS * RATE_HZ


def test_an_ogg_that_fits_in_one_page_is_as_long_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "a.pcm").write_bytes(sound(0.3).tobytes())
    ffmpeg("-f", "s16le", "-ar", SOURCE_HZ, "-i", tmp_path / "a.pcm", "-c:a", "libvorbis", tmp_path / "a.ogg")
    assert len(read_audio(tmp_path / "a.ogg", SOURCE_HZ)) == len(sound(0.3))


@pytest.mark.parametrize(("container", "codec"), [("matroska", "aac"), ("mp4", "aac"), ("matroska", "flac")])
def test_a_hole_in_the_stamps_is_a_gap_and_what_follows_has_its_true_time(
    container: str, codec: str, folder: Path
) -> None:
    path = folder / f"hole-{container}-{codec}.bin"
    ffmpeg(
        *("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm", "-af", "aselect='lt(t,3)+gte(t,5)'"),
        *("-c:a", codec, "-f", container, path),
    )
    items, error = walk(AudioFile(path, RATE_HZ))
    assert error is None
    (gap,) = gaps(items)
    assert gap.cause == "missing"
    assert abs(gap.from_ns - 3 * NS_PER_S) < 0.1 * NS_PER_S
    assert abs(gap.to_ns - 5 * NS_PER_S) < 0.1 * NS_PER_S
    behind = next(block for block in blocks(items) if block.captured_ns >= gap.to_ns)
    assert abs(lag(behind.samples, sound(rate_hz=RATE_HZ)[behind.first_sample :])) < 0.03 * RATE_HZ
    with pytest.raises(InputError, match="missing"):  # training data has no holes
        read_audio(path, RATE_HZ)


def test_one_lost_packet_is_noticed_though_stamps_may_jitter(folder: Path, tmp_path: Path) -> None:
    ffmpeg(
        *("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm", "-c:a", "aac"),
        *("-bsf:a", "noise=drop=eq(n\\,100)", "-f", "matroska", tmp_path / "a.bin"),
    )
    items, _ = walk(AudioFile(tmp_path / "a.bin", RATE_HZ))
    (gap,) = gaps(items)
    assert gap.cause == "missing"
    assert abs((gap.to_ns - gap.from_ns) - 1024 * NS_PER_S // SOURCE_HZ) < 0.003 * NS_PER_S


def test_sound_that_begins_later_than_its_picture_begins_at_0_and_says_by_how_much(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=32x32:rate=5:duration=8", "-itsoffset", 1.5),
        *("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm", "-map", "0:v", "-map", "1:a"),
        *("-c:v", "mjpeg", "-c:a", "flac", "-f", "matroska", path),
    )
    items, error = walk(AudioFile(path, SOURCE_HZ))
    assert error is None
    assert items[0] == Notice("offset", 0, 0, {"offset_ns": 1_500_000_000})
    np.testing.assert_array_equal(samples_of(items), sound())


def test_a_recording_that_begins_at_an_hour_begins_at_0(folder: Path, tmp_path: Path) -> None:
    ffmpeg(
        *("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm", "-output_ts_offset", 3_600),
        *("-c:a", "flac", "-f", "matroska", tmp_path / "a.bin"),
    )
    items, error = walk(AudioFile(tmp_path / "a.bin", SOURCE_HZ))
    assert error is None
    assert all(isinstance(item, AudioBlock) for item in items)
    np.testing.assert_array_equal(samples_of(items), sound())


def test_of_several_sounds_one_is_taken_and_named(folder: Path, tmp_path: Path) -> None:
    one = ("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm")
    both = ("-map", "0:a", "-map", "1:a", "-c:a", "flac", "-f", "matroska")
    ffmpeg(*one, *one, *both, tmp_path / "a.bin")
    source = AudioFile(tmp_path / "a.bin", RATE_HZ)
    described = source.description()
    walk(source)
    assert (described["sounds"], described["sound"]) == (2, 0)


def test_a_picture_without_sound_is_refused(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=32x32:rate=5:duration=1", "-c:v", "mjpeg", tmp_path / "a.mkv")
    with pytest.raises(InputError, match="it holds no sound") as caught:
        AudioFile(tmp_path / "a.mkv", RATE_HZ)
    assert caught.value.reason is Reason.AUDIO_UNREADABLE


def test_a_microphones_bundle_on_a_video_without_sound_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=32x32:rate=5:duration=1", path)
    with pytest.raises(InputError, match="a video without sound") as caught:
        open_source(str(path), AudioPreprocess(sample_rate_hz=RATE_HZ))
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="its index \\(moov\\) is missing or damaged") as caught:
        open_source(str(path), AudioPreprocess(sample_rate_hz=RATE_HZ))
    assert caught.value.reason is Reason.VIDEO_UNREADABLE


def test_an_index_that_was_never_written_is_named(folder: Path, tmp_path: Path) -> None:
    ffmpeg("-f", "s16le", "-ar", SOURCE_HZ, "-i", folder / "a.pcm", "-c:a", "aac", tmp_path / "a.m4a")
    data = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"its index \(moov\) is missing") as caught:
        AudioFile(tmp_path / "a.m4a", RATE_HZ)
    assert "record or copy it again" in caught.value.hint and "raw" not in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {other}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["hls", "concat", "sdp"],
)
def test_a_list_of_other_files_is_not_followed(content: str, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_text(content.format(other=encoded(folder, "ts")))
    with pytest.raises(InputError) as caught:
        AudioFile(path, RATE_HZ)
    assert caught.value.reason is Reason.AUDIO_UNREADABLE


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    codec=st.sampled_from(["flac", "mp3", "vorbis", "m4a", "fragments", "ts", "mka", "adpcm"]),
    changes=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), max_size=30),
    kept=st.integers(0, 30_000),
)
def test_any_damage_is_read_or_refused_in_one_line_and_time_never_goes_back(
    codec: str, changes: list[tuple[int, int]], kept: int, folder: Path
) -> None:
    data = bytearray(encoded(folder, codec).read_bytes()[:kept])
    for at, value in changes:
        if at < len(data):
            data[at] = value
    path = folder / "any.bin"
    path.write_bytes(data)
    now_ns = 0
    try:
        for item in AudioFile(path, RATE_HZ):
            from_ns = item.from_ns if isinstance(item, Gap) else getattr(item, "captured_ns", now_ns)
            assert from_ns >= now_ns
            now_ns = from_ns
    except GalagoError as error:
        assert error.reason in (Reason.AUDIO_TRUNCATED, Reason.AUDIO_UNREADABLE)
        assert "\n" not in str(error)


def test_two_hours_need_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    import tracemalloc

    from galago_edge.sources.sample_conversion import PcmFormat

    path = tmp_path / "a.raw"
    with path.open("wb") as file:
        file.truncate(2 * 3600 * RATE_HZ * 2)  # a file with nothing on the disk
    tracemalloc.start()
    try:
        heard = sum(len(item.samples) for item in AudioFile(path, RATE_HZ, raw=PcmFormat("s16", 1, RATE_HZ)))  # type: ignore[union-attr]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert heard == 2 * 3600 * RATE_HZ
    assert most < 16 << 20


def test_eight_channels_in_planes_of_their_own_are_read(tmp_path: Path) -> None:
    """PyAV shows nine planes of them."""
    eight = "pan=7.1|" + "|".join(f"c{channel}=c0" for channel in range(8))
    path = tmp_path / "eight.wv"
    ffmpeg("-f", "lavfi", "-i", "sine=f=440:r=48000:d=1", "-af", eight, "-c:a", "wavpack", path)
    assert len(read_audio(path, RATE_HZ)) == RATE_HZ

from __future__ import annotations

import os
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.streams import AudioBlock, Frame
from galago_edge.sources import AudioFile, VideoFile, open_source, read_image
from galago_edge.sources.address import parse_source
from galago_edge.sources.file_content import content_of, modalities_of
from real_parts.media import ffmpeg
from test_kit.videos import H264, MJPEG, make_video

SHORT = "testsrc2=size=64x48:rate=10:duration=1"


CODECS = {"a.dts": ("-c:a", "dca"), "a.latm": ("-c:a", "aac"), "a.voc": ("-c:a", "pcm_u8")}


def tone(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((1_000 * np.sin(np.arange(16_000) / 9)).astype("<i2").tobytes())
    return path


def filmed(path: Path, *arguments: object) -> Path:
    """A second of pictures and sound."""
    ffmpeg("-f", "lavfi", "-i", SHORT, "-f", "lavfi", "-i", "sine=duration=1", *arguments, "-shortest", path)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.avi", MJPEG), ("a.mkv", MJPEG), ("a.webm", ("-c:v", "libvpx")), ("a.mp4", H264), ("a.mov", H264),
        ("a.ts", H264), ("a.m2ts", H264), ("a.flv", H264), ("a.gif", ()), ("a.wmv", ()), ("a.h264", H264),
        ("a.mpg", ("-c:v", "mpeg2video", "-r", 25)), ("a.ogv", ("-c:v", "libtheora")), ("a.y4m", ()),
        ("a.ivf", ("-c:v", "libvpx")), ("a.nut", H264), ("a.m4v", ("-c:v", "mpeg4", "-f", "m4v")),
    ],
)  # fmt: skip
def test_a_video_is_one_whatever_its_name(name: str, codec: tuple[object, ...], tmp_path: Path) -> None:
    path = make_video(tmp_path / name, *codec, source=SHORT)
    assert parse_source(str(path)).kind == "video"
    for other in ("night.dat", "night", "night.wav", "night.mp4"):
        renamed = shutil.copy(path, tmp_path / other)
        assert content_of(renamed) == "container"
        address = parse_source(str(renamed)).seen_as("camera")
        assert address is not None
        assert address.kind == "video"


@pytest.mark.parametrize(
    "name",
    [
        *("a.wav", "a.w64", "a.flac", "a.aiff", "a.au", "a.mp3", "a.aac", "a.caf", "a.wv", "a.mp2"),
        *("a.ac3", "a.eac3", "a.dts", "a.thd", "a.mlp", "a.latm", "a.tta", "a.voc", "a.sf"),
    ],
)
def test_sound_is_sound_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    rate_hz = 8_000 if name == "a.voc" else 44_100
    ffmpeg("-i", tone(tmp_path / "tone.wav"), "-ar", rate_hz, "-strict", -2, *CODECS.get(name, ()), path)
    for other in ("night.dat", "night", "night.mp4", name):
        renamed = path if other == name else shutil.copy(path, tmp_path / other)
        assert content_of(Path(renamed)) == "sound"
        assert parse_source(str(renamed)).kind == "audio"
    assert sum(
        len(block.samples)
        for block in open_source(str(path), AudioPreprocess())
        if isinstance(block, AudioBlock)
    )


@pytest.mark.parametrize("name", ["a.m4a", "a.mka", "a.wma", "a.ogg"])
def test_sound_in_a_container_is_sound_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    ffmpeg("-i", tone(tmp_path / "tone.wav"), path)
    assert parse_source(str(path)).kind == "audio"
    assert parse_source(str(shutil.copy(path, tmp_path / "night.dat"))).kind == "audio"
    assert modalities_of(path) == {"microphone"}


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi", "a.ts", "a.flv", "night.dat"])
def test_a_container_gives_pictures_to_one_bundle_and_sound_to_another(name: str, tmp_path: Path) -> None:
    made = filmed(tmp_path / ("a.mkv" if name == "night.dat" else name), *H264, "-c:a", "aac")
    path = made.rename(tmp_path / name)
    pictures = list(open_source(str(path), ImagePreprocess(width=8, height=8)))
    assert sum(isinstance(item, Frame) for item in pictures) == 10
    sound = list(open_source(str(path), AudioPreprocess()))
    samples = sum(len(item.samples) for item in sound if isinstance(item, AudioBlock))
    assert 14_000 <= samples <= 18_000
    address = parse_source(str(path))
    assert address.gives("camera")
    assert address.gives("microphone")


def test_pictures_alone_are_no_sound_and_sound_alone_no_pictures(tmp_path: Path) -> None:
    silent = make_video(tmp_path / "a.mp4", *H264, source=SHORT)
    with pytest.raises(InputError, match=r"is for a microphone, but .*a\.mp4 is a video") as caught:
        open_source(str(silent), AudioPreprocess())
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    spoken = tmp_path / "spoken.mp4"
    ffmpeg("-i", tone(tmp_path / "tone.wav"), spoken)
    with pytest.raises(InputError, match="holds sound and no pictures") as caught:
        open_source(str(spoken), ImagePreprocess(width=8, height=8))
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    assert list(open_source(str(spoken), AudioPreprocess()))


def test_an_option_of_the_pictures_is_none_of_the_sound(tmp_path: Path) -> None:
    path = filmed(tmp_path / "a.mp4", *H264, "-c:a", "aac")
    for text, wanted in (
        (f"{path}?fps=5", AudioPreprocess()),
        (f"{path}?channel=1", ImagePreprocess(width=8, height=8)),
    ):
        with pytest.raises(CallerError, match="= is not for") as caught:
            open_source(text, wanted)
        assert caught.value.reason is Reason.CONFIG_BAD
    assert list(open_source(f"{path}?fps=5", ImagePreprocess(width=8, height=8)))
    with pytest.raises(CallerError, match="damaged=hide: expected skip or conceal"):
        parse_source(f"{path}?damaged=hide")


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    cover = make_video(tmp_path / "cover.jpg", "-frames:v", 1, source=SHORT)
    song = tmp_path / "song.m4a"
    ffmpeg("-i", tone(tmp_path / "tone.wav"), "-i", cover, "-map", 0, "-map", 1,
           "-disposition:v", "attached_pic", "-c:v", "copy", song)  # fmt: skip
    assert modalities_of(song) == {"microphone"}
    assert parse_source(str(song.rename(tmp_path / "song.dat"))).kind == "audio"


def test_a_single_picture_is_no_source_whatever_its_name(tmp_path: Path) -> None:
    picture = make_video(tmp_path / "a.png", "-frames:v", 1, source=SHORT)
    for name in ("a.png", "night", "night.dat"):
        path = picture if name == "a.png" else Path(shutil.copy(picture, tmp_path / name))
        with pytest.raises(CallerError, match="is no kind of source") as caught:
            parse_source(str(path))
        assert "galago classify takes single images" in caught.value.hint


def test_a_named_pipe_is_not_read_to_find_out_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dat")
    assert content_of(tmp_path / "pipe.dat") is None
    with pytest.raises(InputError, match="is neither a file nor a folder"):
        parse_source(str(tmp_path / "pipe.dat"))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_stumble(data: bytes) -> None:
    fd = os.memfd_create("content")
    try:
        os.write(fd, data)
        assert content_of(Path(f"/proc/self/fd/{fd}")) in (None, "sound", "container", "picture")
    finally:
        os.close(fd)


WITHOUT_NAMES: dict[str, tuple[str, ...]] = {
    "avi": ("-c:v", "mjpeg"),
    "matroska": H264,
    "webm": ("-c:v", "libvpx"),
    "mov": H264,
    "3gp": ("-c:v", "h263", "-s", "176x144"),
    "mpegts": H264,
    "mpeg": ("-c:v", "mpeg1video", "-r", "25"),
    "mpeg1video": ("-r", "25"),
    "mpeg2video": ("-r", "25"),
    "flv": ("-c:v", "flv"),
    "asf": ("-c:v", "wmv2"),
    "gif": (),
    "ogg": ("-c:v", "libtheora"),
    "ivf": ("-c:v", "libvpx"),
    "nut": ("-c:v", "mpeg4"),
    "mxf": ("-c:v", "mpeg2video", "-r", "25"),
    "dv": ("-s", "720x576", "-r", "25", "-pix_fmt", "yuv420p"),
    "rm": ("-c:v", "rv10", "-s", "176x144"),
    "wtv": ("-c:v", "mpeg2video", "-r", "25"),
    "yuv4mpegpipe": ("-pix_fmt", "yuv420p"),
    "mpjpeg": ("-c:v", "mjpeg"),
    "h264": H264,
    "hevc": ("-c:v", "libx265", "-x265-params", "log-level=none"),
    "obu": ("-c:v", "libaom-av1", "-cpu-used", "8"),
    "m4v": ("-c:v", "mpeg4"),
    "h263": ("-c:v", "h263", "-s", "176x144"),
}


@pytest.mark.parametrize("kind", WITHOUT_NAMES)
def test_every_kind_of_video_is_known_without_its_name(kind: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / "recording", *WITHOUT_NAMES[kind], "-f", kind, source=SHORT)
    address = parse_source(f"{path}?fps=10")
    assert (address.kind, address.target) == ("video", str(path))
    wanted = ImagePreprocess(width=8, height=8)
    frames = [item for item in open_source(f"{path}?fps=10", wanted) if isinstance(item, Frame)]
    assert len(frames) in (10, 25, 50)


@pytest.mark.parametrize("name", ["clip.mp4", "night.wav", "samples.raw", "thing"])
def test_pipes_devices_and_sockets_are_one_error_and_nothing_waits(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is neither a file nor a folder") as caught:
        parse_source(f"{tmp_path / name}?fps=10")
    assert caught.value.reason is Reason.SOURCE_MISMATCH
    (tmp_path / f"zero_{name}").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is neither a file nor a folder"):
        parse_source(str(tmp_path / f"zero_{name}"))


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.flac", "a.mp4", "a.avi"])
@pytest.mark.parametrize("special", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_recording_and_is_not_waited_for(
    name: str, special: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if special == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a pipe or a device, expected a file") as caught:
        VideoFile(path) if name in ("a.mp4", "a.avi") else AudioFile(path, 16_000)
    assert caught.value.reason is Reason.SOURCE_MISMATCH


@pytest.mark.parametrize("special", ["pipe", "device"])
def test_a_pipe_or_a_device_is_no_picture_and_is_not_waited_for(special: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if special == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a pipe or a device") as caught:
        read_image(path)
    assert caught.value.reason is Reason.IMAGE_UNREADABLE

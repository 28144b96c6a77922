from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.sources import open_source
from galago_edge.sources.address import STDIN, parse_source


@pytest.mark.parametrize(
    ("text", "kind", "modality", "options"),
    [
        ("pipe:-", "pipe", "microphone", {}),
        ("pipe:-?rate=48000&live=no", "pipe", "microphone", {"rate": 48_000, "live": False}),
        ("pipe:/run/hall?rate=44100", "pipe", "microphone", {"rate": 44_100}),
        ("microphone:default", "microphone", "microphone", {}),
        (
            "microphone:/dev/snd/by-id/usb-C-Media-00?rate=48000&channels=2",
            "microphone",
            "microphone",
            {"rate": 48_000, "channels": 2},
        ),
        ("camera:0", "camera", "camera", {}),
        ("camera:/dev/video2?width=640&height=480", "camera", "camera", {"width": 640, "height": 480}),
        ("camera:rtsp://u:p@host/live?width=7", "camera", "camera", {}),
        ("frames", "folder", "camera", {}),
        ("frames?fps=30000/1001", "folder", "camera", {"fps": Fraction(30_000, 1001)}),
        ("clip.AVI?fps=12.5", "video", "camera", {"fps": Fraction(25, 2)}),
        ("night.wav", "audio", "microphone", {}),
        ("night.flac", "audio", "microphone", {}),
    ],
)
def test_each_form_is_read(
    text: str,
    kind: str,
    modality: str,
    options: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("frames").mkdir()
    for name in ("clip.AVI", "night.wav", "night.flac"):
        Path(name).touch()
    address = parse_source(text)
    assert (address.kind, address.modality, address.options) == (kind, modality, options)


@contextmanager
def standard_input(fd: int) -> Iterator[None]:
    """Let ``fd`` be standard input."""
    before = os.dup(STDIN)
    os.dup2(fd, STDIN)
    try:
        yield
    finally:
        os.dup2(before, STDIN)
        os.close(before)


@pytest.mark.parametrize(
    ("text", "live", "reopens"),
    [
        ("camera:0", True, True),
        ("camera:rtsp://u:p@host/live", True, True),
        ("microphone:default", True, True),
        ("pipe:/run/hall", True, True),
        ("pipe:/run/hall?live=no", True, True),
        ("pipe:-", True, False),
        ("pipe:-?live=yes", True, False),
        ("pipe:-?live=no", False, False),
        ("night.wav", False, False),
        (".", False, False),
    ],
)
def test_what_is_live_and_what_is_opened_anew(
    text: str, live: bool, reopens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("night.wav").touch()
    read, write = os.pipe()
    with standard_input(read):
        address = parse_source(text)
        assert (address.live, address.reopens) == (live, reopens)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("text", ["pipe:-", "pipe:-?live=yes", "pipe:-?rate=8000&live=no"])
def test_a_file_that_is_redirected_to_standard_input_is_a_recording_whatever_is_said(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "night.raw"
    path.touch()
    with path.open("rb") as file, standard_input(file.fileno()):
        assert not parse_source(text).live


def test_a_url_keeps_its_own_query() -> None:
    assert parse_source("camera:http://host/video?channel=2").target == "http://host/video?channel=2"


def test_a_file_whose_name_holds_a_question_mark_is_found(tmp_path: Path) -> None:
    path = tmp_path / "who?.wav"
    path.touch()
    assert parse_source(str(path)).target == str(path)


@pytest.mark.parametrize(
    "text",
    [
        "pipe:-?rate=0",
        "pipe:-?rate=16e3",
        "pipe:-?rate=²",
        "pipe:-?rate=16000&rate=8000",
        "pipe:-?speed=16000",
        "pipe:-?rate",
        "pipe:",
        "pipe:?rate=16000",
        "microphone:",
        "microphone:2",
        "microphone:default?rate=1",
        "microphone:default?fps=5",
        "camera:",
        "camera:0?zoom=2",
        "camera:0?gap_ms=500",
        "pipe:-?live=maybe",
        ".?fps=0",
        ".?fps=-1",
        ".?fps=1/0",
        ".?fps=fast",
        ".?fps=1001",
    ],
)
def test_a_bad_option_is_one_caller_error(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_source(text)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pipe:-&live=no", "did you mean pipe:-?live=no"),
        ("pipe:-live=no", "did you mean pipe:-?live=no"),
        ("pipe:-&live=no?rate=8000", "did you mean pipe:-?live=no&rate=8000"),
        ("pipe:-hall", "a FIFO of that name is pipe:./-hall"),
        ("pipe:--?rate=8000", "a FIFO of that name is pipe:./--"),
    ],
)
def test_what_begins_as_standard_input_does_is_no_named_pipe_to_wait_for(text: str, hint: str) -> None:
    with pytest.raises(CallerError, match="is neither pipe:-, which is standard input, nor") as caught:
        parse_source(text)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert caught.value.hint == hint
    assert parse_source("pipe:./-hall").target == "./-hall"


def test_a_missing_path_is_a_missing_source() -> None:
    with pytest.raises(LinkError, match=r"no/such\.wav does not exist") as caught:
        parse_source("no/such.wav?fps=5")
    assert caught.value.reason is Reason.SOURCE_MISSING
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["notes.txt", "picture.png", "no_suffix"])
def test_a_file_of_no_known_kind_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CallerError, match="no kind of source"):
        parse_source(str(tmp_path / name))


def test_a_url_without_camera_before_it_is_refused_without_its_password() -> None:
    with pytest.raises(CallerError, match=r"rtsp://\*\*\*@cam/live is not a file") as caught:
        parse_source("rtsp://admin:hunter2@cam/live?token=hunter2")
    assert caught.value.hint == "camera:URL"


@pytest.mark.parametrize(
    "text",
    [
        "camera:http://admin:hunter2@127.0.0.1:9/x?pwd=hunter2",
        "microphone:default",
        "pipe:/run/mic?rate=8000",
    ],
)
def test_what_is_live_is_no_recording_and_saying_so_holds_no_credentials(text: str) -> None:
    with pytest.raises(CallerError, match="is live, expected a recording") as caught:
        open_source(text, ImagePreprocess(width=8, height=8))
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_a_source_of_the_other_kind_is_a_mismatch(tmp_path: Path) -> None:
    (tmp_path / "night.wav").touch()
    with pytest.raises(
        Exception, match=r"bundle is for a camera, but .*night\.wav is a sound file"
    ) as caught:
        open_source(str(tmp_path / "night.wav"), ImagePreprocess(width=8, height=8))
    assert getattr(caught.value, "reason", None) is Reason.SOURCE_MISMATCH
    with pytest.raises(Exception, match=r"for a microphone, but .* is a folder of images") as caught:
        open_source(str(tmp_path), AudioPreprocess())
    assert getattr(caught.value, "reason", None) is Reason.SOURCE_MISMATCH


@pytest.mark.parametrize("text", ["microphone:default", "pipe:/run/galago/hall"])
def test_what_is_live_is_no_recording(text: str) -> None:
    with pytest.raises(CallerError, match="is live, expected a recording") as caught:
        open_source(text, AudioPreprocess())
    assert caught.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize(
    "fps", ["0", "1e-300", "1/1001", "1001", "1/0", "nan", "inf", "-1", "1e3", "1e1000000000", "\u0661"]
)
def test_a_frame_rate_whose_times_would_fit_nothing_is_refused(fps: str, tmp_path: Path) -> None:
    with pytest.raises(CallerError) as caught:
        parse_source(f"{tmp_path}?fps={fps}")
    assert caught.value.reason is Reason.CONFIG_BAD


@pytest.mark.parametrize("text", ["", "?", "?fps=5"])
def test_nothing_is_no_source(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CallerError, match="the source is empty") as caught:
        parse_source(text)
    assert caught.value.reason is Reason.CONFIG_BAD


def test_options_may_be_longer_than_a_name_of_a_file(tmp_path: Path) -> None:
    shapes = ";".join(["0,0,0.5,0.5"] * 1_000)
    assert len(parse_source(f"{tmp_path}?mask={shapes}").options["mask"]) == 1_000
    with pytest.raises(LinkError, match="does not exist"):
        parse_source("x" * 5_000)

"""A file that is played like a camera is that file and no other."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from galago_edge.contract.errors import LinkError, Reason
from galago_edge.sources.capture.capture_messages import Order
from galago_edge.sources.capture.network_stream import NetworkStream
from test_kit.videos import H264, MJPEG, make_video


def stream(path: Path) -> NetworkStream:
    order = Order(
        kind="network", target=f"file:{path}", shown="file:x", options={}, fps=None, rate_hz=None,
        open_s=5, stall_s=5,
    )  # fmt: skip
    return NetworkStream(av, order)


def test_a_list_of_other_files_opens_none_of_them(tmp_path: Path) -> None:
    make_video(tmp_path / "other.mp4", *H264, source="testsrc=size=64x48:rate=10:duration=1")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(LinkError, match="is no video or sound") as caught:
        stream(tmp_path / "list.mp4")
    assert caught.value.reason is Reason.SOURCE_MISMATCH


def test_a_row_of_jpegs_and_a_name_with_a_colon_are_played(tmp_path: Path) -> None:
    source = "testsrc=size=64x48:rate=10:duration=1"
    for path in (
        make_video(tmp_path / "a.mjpeg", *MJPEG, "-f", "mjpeg", source=source),
        make_video(tmp_path / "a.mp4", *H264, source=source).rename(tmp_path / "http:a.mp4"),
    ):
        opened = stream(path)
        assert next(opened.packets()).size
        opened.close()

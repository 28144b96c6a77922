"""``[recording]`` in ``galago.toml``: what is refused at the start, and where recordings lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.settings import RecordingSettings, Settings
from galago_edge.service.configuration import read_config

MASKED = "mask = [[0.0, 0.0, 0.5, 0.5]]"
CONFIG = """
[source.yard]
address = "camera:0"
{source}
[source.hall]
address = "microphone:default"
[[stream]]
name = "gate"
source = "yard"
{stream}
[[stream]]
name = "glass"
source = "hall"
[recording]
{recording}
"""


def read(tmp_path: Path, recording: str, *, source: str = "", stream: str = "") -> Settings:
    path = tmp_path / "galago.toml"
    path.write_text(CONFIG.format(recording=recording, source=source, stream=stream))
    return read_config(path)


def refused(tmp_path: Path, recording: str, *, source: str = "", stream: str = "") -> str:
    with pytest.raises(CallerError) as caught:
        read(tmp_path, recording, source=source, stream=stream)
    assert caught.value.reason is Reason.CONFIG_BAD
    return str(caught.value)


def test_nothing_is_recorded_without_the_table(tmp_path: Path) -> None:
    (tmp_path / "galago.toml").write_text(CONFIG.partition("[recording]")[0].format(source="", stream=""))
    assert read_config(tmp_path / "galago.toml").recording is None


def test_a_folder_starts_at_that_of_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, 'mode = "always"').recording == RecordingSettings(mode="always")
    table = read(tmp_path, 'mode = "events"\ndir = "kept"\nlabels = ["dog"]').recording
    assert table is not None and table.dir == str(tmp_path / "kept") and table.labels == ("dog",)


@pytest.mark.parametrize("where", ["source", "stream"])
def test_a_camera_with_a_mask_is_recorded_only_where_that_is_said(where: str, tmp_path: Path) -> None:
    view = {where: MASKED}
    told = refused(tmp_path, 'mode = "always"', **view)
    assert "[recording] would keep what the mask of stream gate hides" in told
    assert read(tmp_path, 'mode = "always"\nsources = ["hall"]', **view).recording is not None
    table = read(tmp_path, 'mode = "always"\nunmasked = true', **view).recording
    assert table is not None and table.unmasked


def test_a_stream_that_takes_the_mask_of_its_source_away_hides_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, 'mode = "always"', source=MASKED, stream="mask = []").recording is not None


@pytest.mark.parametrize(
    ("recording", "told"),
    [
        ('mode = "sometimes"', "[recording] mode"),
        ("", "[recording] lacks mode"),
        ('mode = "always"\nsources = ["yrad"]', "names yrad, which no stream is on"),
        ('mode = "events"\nstreams = ["gaet"]', "[recording] streams names gaet, which is no stream"),
        ('mode = "always"\nlabels = ["dog"]', 'labels with mode = "always": they choose events'),
        ('mode = "events"\nbefore_s = 301', "[recording] before_s"),
    ],
    ids=["mode", "none", "source", "stream", "labels", "too long"],
)
def test_what_would_never_be_recorded_is_refused(recording: str, told: str, tmp_path: Path) -> None:
    assert told in refused(tmp_path, recording)

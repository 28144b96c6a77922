"""The fingerprint: what a runtime compares before it trusts its own preprocessing."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from msgspec import UNSET

from galago_edge import preprocess
from galago_edge.contract.errors import CallerError
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess, Preprocess
from galago_edge.preprocess import FrontendTables, fingerprint

IMAGE = ImagePreprocess(width=96, height=96)
POWER = AudioPreprocess(version="logmel/2", mel_scale="slaney", spectrum="power", floor_db=-100.0)


@pytest.mark.parametrize(
    ("spec", "change"),
    [
        (IMAGE, {"width": 97}),
        (IMAGE, {"height": 97}),
        (IMAGE, {"color": "gray"}),
        (IMAGE, {"resize": "crop"}),
        (IMAGE, {"pad_value": 0}),
        (AudioPreprocess(), {"frame_hop_samples": 161}),
        (AudioPreprocess(), {"window_frames": 99}),
        (AudioPreprocess(), {"fmin_hz": 61.0}),
        (POWER, {"mel_scale": "htk"}),
        (POWER, {"spectrum": "magnitude"}),
        (POWER, {"floor_db": -91.0}),
    ],
)
def test_any_change_of_the_specification_changes_it(spec: Preprocess, change: dict[str, object]) -> None:
    assert fingerprint(msgspec.structs.replace(spec, **change)) != fingerprint(spec)


def test_it_names_equal_specifications_equally() -> None:
    assert fingerprint(AudioPreprocess()) == fingerprint(AudioPreprocess(fmin_hz=60, fmax_hz=7600))
    assert len(fingerprint(IMAGE)) == 64


@pytest.mark.parametrize("name", ["mel_scale", "spectrum", "floor_db"])
def test_a_version_has_its_own_fields_and_all_of_them(name: str) -> None:
    fields = {field: getattr(POWER, field) for field in POWER.__struct_fields__}
    without = {**fields, name: UNSET}
    with pytest.raises(ValueError, match=f"logmel/2 needs {name}"):
        AudioPreprocess(**without)
    with pytest.raises(ValueError, match=f"logmel/1 has no {name}"):
        AudioPreprocess(**{name: fields[name]})
    plain = {**msgspec.to_builtins(POWER), "version": "logmel/1"}
    with pytest.raises(msgspec.ValidationError, match="logmel/1 has no mel_scale"):
        msgspec.convert(plain, Preprocess)


def test_the_implementation_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(IMAGE), fingerprint(AudioPreprocess())
    monkeypatch.setattr(preprocess, "_IMPLEMENTATION", {"image/1": 2, "logmel/1": 2, "logmel/2": 2})
    assert fingerprint(IMAGE) != before[0]
    assert fingerprint(AudioPreprocess()) != before[1]


def test_the_tables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(AudioPreprocess())
    other = FrontendTables.build(AudioPreprocess(mel_bands=39))
    monkeypatch.setattr(preprocess, "built_tables", lambda spec: other)
    assert fingerprint(AudioPreprocess()) != before


def test_a_specification_that_cannot_work_has_none() -> None:
    with pytest.raises(CallerError):
        fingerprint(AudioPreprocess(fmin_hz=7_700.0))


def test_tables_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = AudioPreprocess(mel_bands=23)
    first = fingerprint(spec)
    monkeypatch.setattr(FrontendTables, "build", None)  # a second build would fail
    assert fingerprint(spec) == first


def test_it_needs_no_opencv() -> None:
    """A microphone-only device has none."""
    script = (
        "import sys; sys.modules['cv2'] = None\n"
        "from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess\n"
        "from galago_edge.preprocess import fingerprint\n"
        "print(fingerprint(ImagePreprocess(width=96, height=96)), fingerprint(AudioPreprocess()))"
    )
    shown = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert shown == [fingerprint(IMAGE), fingerprint(AudioPreprocess())]

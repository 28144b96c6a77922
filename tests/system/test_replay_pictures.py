"""``galago replay`` and ``galago classify`` on folders of pictures as people have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.contract.records import EventRecord, GapRecord, Record, StateRecord, decode_record
from test_kit import make_bundle
from test_kit.pictures import claimed_jpeg, claimed_png

GALAGO = (sys.executable, "-m", "galago_edge")
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    names = [Label(name=name, background=name == "dark", policy=POLICY) for name in ("dark", "mid", "bright")]
    return make_bundle(tmp_path_factory.mktemp("cam") / "cam.galago", tiny_image_model, names)


def picture(level: int) -> bytes:
    encoded: bytes = cv2.imencode(".png", np.full((48, 64, 3), level, np.uint8))[1].tobytes()
    return encoded


def galago(*args: str | Path) -> tuple[int, bytes, str, int]:
    """Return exit code, output, errors and the largest memory in KiB."""
    command = [*GALAGO, *(os.fspath(arg) for arg in args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, out, err.decode(), usage.ru_maxrss


def records(data: bytes) -> list[Record]:
    return [decode_record(line) for line in data.splitlines()]


def test_a_folder_as_people_have_it_is_decided_in_the_order_of_its_numbers(
    tmp_path: Path, camera: Path
) -> None:
    """120 pictures without leading zeros, thirty of them missing, and a thumbnail beside them."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for number in range(1, 121):
        if not 31 <= number <= 60:
            bright = 10 <= number < 20 or 100 <= number < 110
            (folder / f"img{number}.png").write_bytes(picture(225 if bright else 30))
    (folder / "Thumbs.jpg").write_bytes(b"no picture at all")
    exit_code, out, err, _ = galago("replay", f"{folder}?fps=10", "--bundle", camera)
    assert (exit_code, err) == (0, "")
    found = records(out)
    started, strays = found[:2]
    assert isinstance(started, StateRecord) and started.detail["source"]["name"] == "caf\\xe9"
    assert isinstance(strays, StateRecord) and strays.state == "stray_files"
    assert strays.detail == {"files": ["Thumbs.jpg"], "count": 1}
    assert [record for record in found if isinstance(record, GapRecord)] == [
        GapRecord(stream="replay", from_ns=3 * 10**9, to_ns=6 * 10**9, cause="missing")
    ]
    events = [record for record in found if isinstance(record, EventRecord)]
    assert [(event.label, event.end_index) for event in events] == [("bright", 12), ("bright", 102)]
    assert galago("replay", f"{folder}?fps=10", "--bundle", camera)[1] == out


@pytest.mark.parametrize("command", ["replay", "classify"])
@pytest.mark.parametrize("content", [b"", b"RIFF", b"oops"])
def test_a_name_that_is_no_utf8_is_escaped_in_every_message(
    command: str, content: bytes, tmp_path: Path, camera: Path
) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(content)
    exit_code, out, err, _ = galago(command, path, "--bundle", camera)
    assert exit_code in (1, 2) and "Traceback" not in err and "caf\\xe9.png" in err
    path.write_bytes(picture(225))
    exit_code, out, err, _ = galago(command, path, "--bundle", camera)
    if command == "classify":
        assert exit_code == 0 and b"caf" in out and err == ""
    else:
        assert "caf\\xe9.png" in err and len(err.splitlines()) == 2


def test_pictures_that_claim_too_much_are_named_and_cost_no_memory(tmp_path: Path, camera: Path) -> None:
    for number in (1, 2, 4, 5):
        (tmp_path / f"{number}.png").write_bytes(picture(225))
    exit_code, _, _, usual_kb = galago("replay", tmp_path, "--bundle", camera)
    assert exit_code == 0
    (tmp_path / "3.jpg").write_bytes(claimed_jpeg(32_000, 32_000))
    (tmp_path / "6.png").write_bytes(claimed_png(30_000))
    exit_code, out, err, bomb_kb = galago("replay", tmp_path, "--bundle", camera)
    assert exit_code == 1
    assert "IMAGE_TOO_BIG" in err and "3.jpg claims 32000 x 32000" in err and len(err.splitlines()) == 2
    told = [record.detail for record in records(out) if isinstance(record, StateRecord)]
    assert {"file": "3.jpg", "reason": "IMAGE_TOO_BIG"} in told
    assert {"file": "6.png", "reason": "IMAGE_TOO_BIG"} in told
    assert [record.cause for record in records(out) if isinstance(record, GapRecord)] == ["unreadable"] * 2
    assert bomb_kb < usual_kb + 50_000
    exit_code, _, err, bomb_kb = galago("classify", tmp_path / "3.jpg", "--bundle", camera)
    assert exit_code == 1 and "IMAGE_TOO_BIG" in err
    assert bomb_kb < usual_kb + 50_000

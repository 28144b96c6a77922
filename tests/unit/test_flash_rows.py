"""What is shown while devices are flashed."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from galago_edge.contract.flash_messages import Step
from galago_edge.intake.flash_pipe import Pipe
from galago_workstation.flashing.device_session import Session
from galago_workstation.flashing.order import FlashOptions, Package
from galago_workstation.flashing.results import Result
from galago_workstation.flashing.rows import LiveRows, LoggedRows, PlainRows, result_line
from galago_workstation.flashing.targets import parse_target
from test_kit import make_bundle


def drawn(rows: LiveRows) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(rows)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_has_one_row_for_each_device() -> None:
    rows = LiveRows(["pi@porch", "/media/[card]"])
    rows.step("pi@porch", "connecting")
    rows.still("pi@porch", "sending")
    rows.sent("pi@porch", 500, 1_000)
    rows.ended(Result(target="/media/[card]", outcome="failed", exit=3, reason="NO_SPACE"))
    title, porch, card = drawn(rows).splitlines()
    assert title.split() == ["device", "state", "MB/s", "code"]
    assert porch.split() == ["pi@porch", "sending", "50", "%"]
    assert card.split() == ["/media/[card]", "failed", "NO_SPACE"]


def test_a_log_has_one_line_for_each_step_and_no_bar() -> None:
    lines: list[str] = []
    rows = PlainRows(lines.append, 6)
    rows.step("porch", "sending")
    rows.sent("porch", 500, 1_000)
    rows.still("porch", "sending, for 5 s more")  # the same step
    rows.ended(Result(target="porch", outcome="committed", exit=0, active="1.4.0"))
    assert lines == ["porch   sending", "porch   committed, 1.4.0 is active"]


def test_what_the_device_repeats_while_it_waits_is_one_line(tmp_path: Path, tiny_image_model: bytes) -> None:
    incoming, outgoing = os.pipe()
    lines: list[str] = []
    package = Package.of(make_bundle(tmp_path / "eyes.galago", tiny_image_model, ["dark", "mid", "bright"]))
    session = Session(parse_target("porch"), package, FlashOptions(), PlainRows(lines.append, 0))
    device, link = Pipe(-1, outgoing), SimpleNamespace(pipe=Pipe(incoming, -1))
    steps = [Step(name="waiting", detail=f"{left} s more") for left in range(9, 0, -1)]
    for step in (*steps, Step(name="installing"), *steps):
        device.send(step)
        assert session._one(link, 1.0) is None  # type: ignore[arg-type]
    assert lines == ["porch  waiting 9 s more", "porch  installing", "porch  waiting 9 s more"]
    os.close(incoming)
    os.close(outgoing)


def test_every_device_has_a_log_of_its_own(tmp_path: Path) -> None:
    lines: list[str] = []
    rows = LoggedRows(PlainRows(lines.append, 0), tmp_path / "logs")
    rows.step("pi@porch:/data", "sending")
    rows.said("pi@porch:/data", "Warning: slow\nline\n")
    rows.ended(Result(target="/media/card", outcome="staged", exit=0, active="1.0.0"))
    logs = {path.name: path.read_text().splitlines() for path in (tmp_path / "logs").iterdir()}
    said = [line.split(" ", 1)[1] for line in logs["pi@porch_data.log"]]
    assert said == ["sending", "| Warning: slow", "| line"]
    assert [line.split(" ", 1)[1] for line in logs["media_card.log"]] == ["staged, 1.0.0 is active"]
    assert len(lines) == 2


def test_what_is_not_known_is_said() -> None:
    lost = Result(target="x", outcome="failed", exit=3, reason="TRANSPORT", message="m", known=False)
    assert result_line(lost) == "failed, what is active there is unknown: m [TRANSPORT]"
    was = Result(target="x", outcome="failed", exit=3, before="1.3.0", known=False)
    assert result_line(was) == "failed, last known active: 1.3.0"

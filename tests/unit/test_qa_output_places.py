"""Where a command of QA cannot write is told before its work, not behind it, and nothing is left there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from galago_edge.commands.cli import main
from galago_edge.commands.output_places import check_outputs
from galago_edge.contract.errors import CallerError, GalagoError, LinkError, Reason

CALLS = {
    "diff --junit": ("diff", "old", "new", "corpus", "--junit", "PLACE.xml"),
    "diff --markdown": ("diff", "old", "new", "corpus", "--markdown", "PLACE.md"),
    "diff --html, a file": ("diff", "old", "new", "corpus", "--html", "PLACE.html"),
    "diff --html, a folder": ("diff", "old", "new", "corpus", "--html", "PLACE"),
    "score --markdown": ("score", "corpus", "--bundle", "new", "--markdown", "PLACE.md"),
    "score --results": ("score", "corpus", "--bundle", "new", "--results", "PLACE"),
    "baseline --out": ("baseline", "corpus", "--bundle", "new", "--out", "PLACE"),
    "tune --out": ("tune", "corpus", "--bundle", "new", "--false-per-day", "1", "--out", "PLACE"),
    "golden record --out": ("golden", "record", "corpus", "--bundle", "new", "--out", "PLACE"),
    "golden verify --junit": ("golden", "verify", "f", "corpus", "--bundle", "new", "--junit", "PLACE.xml"),
    "label --out": ("label", "corpus", "--bundle", "new", "--out", "PLACE"),
    "labels import --out": ("labels", "import", "f", "--format", "audacity", "--out", "PLACE"),
    "labels confirm --out": ("labels", "confirm", "f", "--out", "PLACE"),
    "labels export --out": ("labels", "export", "f", "--format", "audacity", "--out", "PLACE"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_command_tells_of_a_place_it_cannot_write_before_it_reads_anything(
    call: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither corpus nor bundles are there: the place is told of first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    words = [word.replace("PLACE", "file/x") for word in call]
    result = CliRunner().invoke(main, ["qa", *words])
    assert result.exit_code in (2, 3), result.output
    assert result.stderr.startswith("Error: ") and "file" in result.stderr.splitlines()[0]
    assert len(result.stderr.splitlines()) == 2 and result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_file_for_two_reports_is_refused_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").symlink_to(tmp_path)
    for other in ("x", "./x", str(tmp_path / "x"), "here/x"):
        result = CliRunner().invoke(main, ["qa", "diff", "a", "b", "c", "--junit", "x", "--markdown", other])
        assert result.exit_code == 2
        assert f"--junit and --markdown both name {other.removeprefix('./')}" in result.stderr


@pytest.mark.parametrize("command", [("baseline",), ("tune", "--false-per-day", "1")], ids=" ".join)
def test_the_bundle_that_is_read_is_not_written_over_not_even_with_replace(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    bundle = tmp_path / "b.galago"
    bundle.write_bytes(b"signed")
    call = ["qa", *command, str(tmp_path), "--bundle", str(bundle), "--out", str(bundle), "--replace"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 2 and "would be written over, and it is read" in result.stderr
    assert bundle.read_bytes() == b"signed"


@pytest.mark.parametrize("leads", ["to a former output", "nowhere"])
@pytest.mark.parametrize("call", [one for name, one in CALLS.items() if "--results" not in name])
def test_a_link_is_no_output_of_any_command_and_what_it_leads_to_stays(
    call: tuple[str, ...], leads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if leads == "to a former output":
        (tmp_path / "file").write_text("")
    words = [word.replace("PLACE", "link") for word in call]
    name = next(word for word in words if word.startswith("link"))
    (tmp_path / name).symlink_to("file")
    result = CliRunner().invoke(main, ["qa", *words])
    assert result.exit_code in (2, 3), result.output
    assert f"{name} " in result.stderr.splitlines()[0] and "Traceback" not in result.output
    assert {path.name for path in tmp_path.iterdir()} - {"file"} == {name}


def refused(**places: Path) -> GalagoError:
    with pytest.raises(GalagoError) as caught:
        check_outputs({"--out": places.get("file")}, {"--keep": places.get("folder")})
    assert caught.value.hint
    return caught.value


def test_what_is_no_place_for_a_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert isinstance(refused(file=tmp_path), CallerError)
    assert "is a device or a pipe" in str(refused(file=Path("/dev/null")))
    assert isinstance(refused(file=tmp_path / "nowhere" / "x"), LinkError)
    assert isinstance(refused(file=tmp_path / ("x" * 254)), LinkError)
    assert refused(folder=tmp_path / "file").reason == Reason.EXISTS
    assert refused(folder=tmp_path / "file" / "x").reason == Reason.EXISTS
    assert isinstance(refused(folder=Path("/proc/nowhere")), LinkError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_can_be_written_passes_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    check_outputs({"--out": tmp_path / "old", "--junit": None}, {"--keep": tmp_path / "a" / "b"})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]

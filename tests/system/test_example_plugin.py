"""What other distributions bring: installed beside Galago, and run through its real commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from galago_edge.contract.manifest import Label, LabelPolicy
from galago_edge.intake.receiver import receive
from real_parts.processes import Child
from test_kit import make_bundle, trust

PROJECT = Path(__file__).parents[1] / "support/example_plugin"
GROUPS = ("sinks", "sources", "doctor", "networks", "boards")
POLICY = LabelPolicy(on=0.6, off=0.4, smoothing_windows=2, min_count=2, refractory_ms=500)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example distribution is installed into, as pip does it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copytree(PROJECT, source / "project", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source / "project")], check=True, capture_output=True)
    return target


def bring(site: Path, code: str, **points: str) -> Path:
    """Make ``site`` hold a distribution ``strange`` whose one module has this code: group to name."""
    site.mkdir(parents=True, exist_ok=True)
    (site / "strange.py").write_text(code, encoding="utf-8")
    info = site / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"[galago.{group}]\n{name} = strange:THING\n" for group, name in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    return site


def environment(site: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path}


def galago(site: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "galago_edge", *map(str, args)],
        env=environment(site),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Path:
    """A bundle and a device that has it: made once, and only copied."""
    shelf = tmp_path_factory.mktemp("shelf")
    labels = [
        Label(name=name, background=name == "dark", policy=POLICY) for name in ("dark", "mid", "bright")
    ]
    receive(make_bundle(shelf / "a.galago", tiny_image_model, labels, name="light"), trust(shelf / "root"))
    return shelf


@pytest.fixture
def root(tmp_path: Path, shelf: Path) -> Path:
    """A device with one camera bundle, which lies beside it."""
    shutil.copytree(shelf, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path / "root"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """One stream on ten bright pictures, a log, and whatever a test adds."""
    (tmp_path / "pictures").mkdir()
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), np.full((48, 64, 3), 225, np.uint8))
    path = tmp_path / "galago.toml"
    path.write_text(
        '[[stream]]\nname = "door"\nsource = "pictures"\n[log]\npath = "log.jsonl"\n', encoding="utf-8"
    )
    return path


def add(config: Path, text: str) -> None:
    with config.open("a", encoding="utf-8") as file:
        file.write(text)


def kinds(lines: list[str]) -> list[tuple[str, str]]:
    records = [json.loads(line) for line in lines]
    return [(record["kind"], record.get("label", record.get("state", ""))) for record in records]


# what works


def test_a_source_and_a_sink_of_another_distribution_run_together(
    site: Path, root: Path, config: Path, tmp_path: Path
) -> None:
    text = config.read_text(encoding="utf-8").replace('"pictures"', '"counter:250"')
    config.write_text(text + '[lines]\npath = "lines.jsonl"\n', encoding="utf-8")
    done = galago(site, "run", "--root", root, "--config", config)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()
    labels = [label for kind, label in kinds(lines) if kind == "event"]
    assert labels == ["mid", "bright"], "it grows brighter with every frame"


def test_a_recording_of_another_distribution_gives_the_same_bytes_in_every_replay(
    site: Path, root: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "a.galago"
    (key,) = (root / "trust").glob("*.pub")
    args = ("replay", "counter:250?fps=25", "--bundle", bundle, "--trust", key)
    first, second = galago(site, *args), galago(site, *args)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout and '"label":"bright"' in first.stdout
    live = galago(site, "replay", "counter:live", "--bundle", bundle, "--trust", key)
    assert live.returncode == 2 and "counter:live is live, expected a recording" in live.stderr
    strange = galago(site, "replay", "counter:many", "--bundle", bundle, "--trust", key)
    assert strange.returncode == 2 and "counter:many is no number of frames" in strange.stderr
    option = galago(site, "replay", "counter:5?speed=2", "--bundle", bundle, "--trust", key)
    assert option.returncode == 2 and "unknown option: speed" in option.stderr


def test_a_device_of_another_distribution_is_captured_and_watched_as_ours_are(
    site: Path, root: Path, config: Path, tmp_path: Path
) -> None:
    text = config.read_text(encoding="utf-8").replace('"pictures"', '"counter:live?fps=100"')
    config.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "galago_edge", "run", "--root", root, "--config", config]
    service = Child([*map(str, command)], tmp_path / "service.log", env=environment(site))
    try:
        log = tmp_path / "log.jsonl"
        service.wait_until(lambda: log.exists() and '"label":"bright"' in log.read_text(), "an event")
        status = json.loads(galago(site, "status", "--root", root, "--json").stdout)
        (source,) = status["service"]["sources"]
        assert (source["kind"], source["liveness"]) == ("counter", "healthy")
        assert re.search(
            r"counter:live.* \(counter\): healthy .* fps", galago(site, "status", "--root", root).stdout
        )
    finally:
        service.end()
    assert "Traceback" not in service.said()


def test_a_sink_of_another_distribution_gets_every_record_that_is_delivered(
    site: Path, root: Path, config: Path, tmp_path: Path
) -> None:
    add(config, '[lines]\npath = "lines.jsonl"\n')
    done = galago(site, "run", "--root", root, "--config", config)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()
    logged = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert kinds(lines) == kinds(logged)
    assert ("event", "bright") in kinds(lines)
    assert all("key" in json.loads(line) for line in lines)


def test_its_table_is_checked_by_its_own_type(site: Path, root: Path, config: Path) -> None:
    add(config, "[lines]\npath = 5\n")
    done = galago(site, "run", "--root", root, "--config", config)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.endswith("[CONFIG_BAD]") and "[lines] path:" in error and hint.startswith("Hint: ")


def test_the_doctor_runs_its_checks_where_they_belong_and_asks_its_sink(
    site: Path, root: Path, config: Path, tmp_path: Path
) -> None:
    add(config, '[lines]\npath = "lines.jsonl"\n')
    done = galago(site, "doctor", "--root", root, "--config", config, "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["load"]["level"] == "ok" and "1 streams configured" in found["load"]["met"]
    assert found["lines"] == {
        "name": "lines",
        "level": "ok",
        "met": f"{tmp_path}/lines.jsonl is written",
        "fix": "",
    }
    assert found["disk lines"]["level"] in ("ok", "warn")
    names = list(found)
    assert names.index("memory") < names.index("load") < names.index("clock")


def test_its_board_is_in_the_catalogue(site: Path, tmp_path: Path) -> None:
    listed = galago(site, "devices", "list")
    assert listed.returncode == 0, listed.stderr
    assert any(
        line.startswith("example-board ") and line.endswith("Example board")
        for line in listed.stdout.splitlines()
    )
    shown = galago(site, "devices", "show", "example-board", "-o", tmp_path / "profile.toml")
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "profile.toml").read_bytes() == (
        PROJECT / "galago_example/boards/example-board.toml"
    ).read_bytes()


TRAINING = """
[data]
kind = "images"
folder = "data"
[preprocess]
kind = "image"
width = 16
height = 16
color = "gray"
[model]
kind = "tiny_cnn"
filters = 4
[train]
min_steps = 0
epochs = 2
batch_size = 8
"""


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Two labels, dark and bright, of which each is easily told."""
    rng = np.random.default_rng(1)
    for label, level in (("bright", 200), ("dark", 40)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(24):
            noise = rng.integers(0, 40, (16, 16, 3))
            cv2.imwrite(str(tmp_path / "data" / label / f"{number}.png"), (level + noise).astype(np.uint8))
    path = tmp_path / "light.toml"
    path.write_text(TRAINING, encoding="utf-8")
    return path


@pytest.mark.slow
def test_its_network_trains_and_becomes_int8(site: Path, training: Path, tmp_path: Path) -> None:
    trained = galago(site, "train", training, "--out", tmp_path / "run")
    assert trained.returncode == 0, trained.stderr
    converted = galago(site, "convert", tmp_path / "run")
    assert converted.returncode in (0, 1), converted.stderr  # 1: two epochs are few, and say so
    assert "OP_NOT_INT8" not in converted.stderr and "FLOAT_INSIDE" not in converted.stderr


def test_its_network_is_checked_by_its_own_type(site: Path, training: Path, tmp_path: Path) -> None:
    training.write_text(TRAINING.replace("filters = 4", "filters = 3"), encoding="utf-8")
    refused = galago(site, "train", training, "--out", tmp_path / "run")
    assert refused.returncode == 2 and "[model] filters" in refused.stderr
    unknown = galago(tmp_path, "train", training, "--out", tmp_path / "run")
    assert unknown.returncode == 2 and "tiny_cnn" in unknown.stderr and "ds_cnn" in unknown.stderr


# what does not


def test_an_option_that_no_network_can_have_is_one_line(training: Path, tmp_path: Path) -> None:
    code = (PROJECT / "galago_example/tiny_cnn.py").read_text(encoding="utf-8")
    code = code.replace("NETWORK = ", "THING = ").replace("Annotated[int, msgspec.Meta(ge=4, le=64)]", "int")
    site = bring(tmp_path / "site", code, networks="tiny_cnn")
    training.write_text(TRAINING.replace("filters = 4", "filters = -4"), encoding="utf-8")
    refused = galago(site, "train", training, "--out", tmp_path / "run")
    assert refused.returncode == 1, refused.stderr
    error, hint = refused.stderr.splitlines()[-2:]
    assert error.startswith("Error: network tiny_cnn cannot be built from TinyCnn(") and "filters=-4" in error
    assert error.endswith("[PLUGIN_BAD]") and hint.startswith("Hint: ")


def test_nothing_is_imported_that_nothing_names(root: Path, config: Path, tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    code = f"open({str(mark)!r}, 'w').close()\nraise RuntimeError('imported')\n"
    site = bring(
        tmp_path / "site", code, sinks="strange", doctor="strange", networks="strange", boards="strange"
    )
    for args in (
        ("--help",),
        ("run", "--help"),
        ("run", "--root", root, "--config", config),
        ("devices", "show", "raspberry-pi-5"),
    ):
        assert galago(site, *args).returncode == 0, args
    assert not mark.exists()
    assert galago(site, "doctor", "--root", root).returncode == 1
    assert mark.exists()


def test_a_broken_sink_is_one_line_and_the_others_go_on(root: Path, config: Path, tmp_path: Path) -> None:
    site = bring(tmp_path / "site", "import nothing_of_this_name\n", sinks="strange")
    add(config, "[strange]\n[limits]\ndrain_s = 0.1\n")
    done = galago(site, "run", "--root", root, "--config", config)
    assert done.returncode == 0, done.stderr
    error, hint, end = done.stderr.splitlines()
    assert re.fullmatch(r"sink strange: \d+ records wait in the spool: .*\[PLUGIN_BAD\]", end)
    assert error.startswith("Error: sink strange of strange (strange:THING) cannot be used: ")
    assert "nothing_of_this_name" in error and error.endswith("[PLUGIN_BAD]") and hint.startswith("Hint: ")
    assert ("event", "bright") in kinds((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    looked = galago(site, "doctor", "--root", root, "--config", config, "--json")
    found = {finding["name"]: finding for finding in json.loads(looked.stdout)["findings"]}
    assert found["strange"]["level"] == "fail" and "[PLUGIN_BAD]" in found["strange"]["met"]
    assert found["config"]["level"] == found["stream door"]["level"] == "ok"


def test_the_last_line_of_a_run_says_which_sink_has_not_got_its_records(
    site: Path, root: Path, config: Path, tmp_path: Path
) -> None:
    code = """
import msgspec
from galago_edge.sinks.each_record import each_record
from galago_edge.sinks.sink_kind import ReceiverKind
class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass
class Sink:
    def __init__(self, settings, parts): pass
    def deliver(self, delivery): raise KeyError("label")
    def close(self): pass
THING = ReceiverKind(settings=Settings, build=each_record(Sink), records=("event",))
"""
    bring(tmp_path / "site", code, sinks="strange")
    add(config, '[strange]\n[lines]\npath = "away/lines.jsonl"\n')
    both = Path(os.pathsep.join((str(site), str(tmp_path / "site"))))
    done = galago(both, "run", "--root", root, "--config", config)
    assert done.returncode == 0, done.stderr
    lines, strange = done.stderr.splitlines()
    assert re.fullmatch(r"sink lines: \d+ records wait in the spool: .*away/lines.jsonl'", lines)
    assert strange == "sink strange: 1 record waits in the spool: KeyError: 'label'"


def test_a_stream_on_a_broken_source_says_so_and_the_others_go_on(
    root: Path, config: Path, tmp_path: Path
) -> None:
    site = bring(tmp_path / "site", "1 / 0\n", sources="strange")
    add(config, '[[stream]]\nname = "other"\nsource = "strange:1"\nbundle = "light"\n')
    done = galago(site, "run", "--root", root, "--config", config)
    assert done.returncode == 1
    error = done.stderr.splitlines()[0]
    assert error.startswith("Error: stream other: source strange of strange (strange:THING) cannot be used: ")
    assert "ZeroDivisionError" in error and error.endswith("[PLUGIN_BAD]")
    assert ("event", "bright") in kinds((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    looked = galago(site, "doctor", "--root", root, "--config", config, "--json")
    found = {finding["name"]: finding for finding in json.loads(looked.stdout)["findings"]}
    assert found["source strange:1"]["level"] == "fail" and "[PLUGIN_BAD]" in found["source strange:1"]["met"]
    assert found["stream other"]["level"] == "fail" and found["stream door"]["level"] == "ok"


@pytest.mark.parametrize("where", ["opens", "frames", "options"])
def test_a_mistake_in_a_source_is_one_line(root: Path, tmp_path: Path, where: str) -> None:
    code = f"""
from galago_edge.contract.streams import Frame
from galago_edge.sources.source_kind import SourceKind
import numpy as np
class Source:
    modality, live = "camera", False
    def description(self): return {{"kind": "strange"}}
    def conversion(self): return None
    def summary(self): return {{}}
    def stop(self): pass
    def __iter__(self):
        yield Frame(np.zeros((48, 64, 3), np.uint8), 0, 0)
        raise KeyError("in its frames")
def split(rest):
    return (rest, "") if {where != "options"} else 1 / 0
def opens(address, opening):
    return Source() if {where != "opens"} else 1 / 0
THING = SourceKind(modality="camera", what="x", form="x", split=split, open=opens)
"""
    site = bring(tmp_path / "site", code, sources="strange")
    (key,) = (root / "trust").glob("*.pub")
    done = galago(site, "replay", "strange:1", "--bundle", tmp_path / "a.galago", "--trust", key)
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    fault = "KeyError: 'in its frames'" if where == "frames" else "ZeroDivisionError: division by zero"
    assert error == f"Error: source strange has made a mistake: {fault} [PLUGIN_BAD]"
    assert hint.startswith("Hint: ")


def test_the_records_of_a_broken_sink_wait_until_it_is_mended(
    site: Path, root: Path, config: Path, tmp_path: Path
) -> None:
    add(config, '[lines]\npath = "lines.jsonl"\n[limits]\ndrain_s = 0.1\n')
    away = bring(tmp_path / "site", "", sinks="lines")
    assert "[PLUGIN_BAD]" in galago(away, "run", "--root", root, "--config", config).stderr
    config.write_text(config.read_text(encoding="utf-8").replace("0.1", "60.0"), encoding="utf-8")
    assert galago(site, "run", "--root", root, "--config", config).stderr == ""
    lines = (tmp_path / "lines.jsonl").read_text(encoding="utf-8").splitlines()
    assert kinds(lines).count(("event", "bright")) == 2
    assert [json.loads(line)["seq"] for line in lines if '"kind":"event"' in line] == [0, 0]


def test_a_broken_check_board_or_network_is_one_line(root: Path, training: Path, tmp_path: Path) -> None:
    site = bring(
        tmp_path / "site", "import nothing\n", doctor="strange", networks="strange", boards="strange"
    )
    looked = galago(site, "doctor", "--root", root, "--json")
    found = {finding["name"]: finding for finding in json.loads(looked.stdout)["findings"]}
    assert found["strange"]["level"] == "fail" and "[PLUGIN_BAD]" in found["strange"]["met"]
    assert found["python"]["level"] == found["store"]["level"] == "ok"
    listed = galago(site, "devices", "list")
    assert listed.returncode == 0 and "raspberry-pi-5" in listed.stdout
    assert listed.stderr.splitlines()[0].endswith("[PLUGIN_BAD]")
    shown = galago(site, "devices", "show", "strange")
    assert shown.returncode == 1 and shown.stderr.splitlines()[0].endswith("[PLUGIN_BAD]")
    training.write_text(TRAINING.replace("tiny_cnn", "strange"), encoding="utf-8")
    refused = galago(site, "train", training, "--out", tmp_path / "run")
    assert refused.returncode == 1 and refused.stderr.splitlines()[0].endswith("[PLUGIN_BAD]")
    training.write_text(
        TRAINING.replace("tiny_cnn", "resnet").replace("filters = 4", "filters = 0"), encoding="utf-8"
    )
    assert "[model] filters" in galago(site, "train", training, "--out", tmp_path / "run").stderr

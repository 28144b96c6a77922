"""What other distributions bring is found by name, and what is wrong with it is one line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import msgspec
import numpy as np
import pytest
from setuptools import find_packages

from galago_devices import profile
from galago_edge.contract.errors import DeviceError, InputError, LinkError, Reason
from galago_edge.contract.records import GapRecord, StateRecord
from galago_edge.contract.settings import Settings, SourceSettings
from galago_edge.contract.streams import NS_PER_S, Frame, Gap, Notice
from galago_edge.doctor import Case, DoctorCheck
from galago_edge.host.plugins import Registry
from galago_edge.sinks import Outbox
from galago_edge.sinks.each_record import RecordRefusedError
from galago_edge.sinks.sink_kind import SINKS, SinkKind
from galago_edge.sinks.sink_tables import anchored, settings_of
from galago_edge.sources.address import anchored_source, parse_source
from galago_edge.sources.capture import open_capture
from galago_edge.sources.foreign_source import ForeignCapture
from galago_edge.sources.recordings import open_source
from galago_edge.sources.source_kind import Address, Opening, SourceKind
from galago_edge.sources.supervised_source import Supervised
from galago_workstation.training.network_kind import NetworkKind, build_network, find_network
from real_parts import wait_for
from test_kit import TINY_IMAGE, ScriptedCapture, SteppedClock

ROOT = Path(__file__).parents[2]
STREAM = {"stream": [{"name": "hall", "source": "x"}]}
Bring = Callable[..., str]
_numbers = itertools.count()


@pytest.fixture
def bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Returns what makes a distribution with one module of this code, and the name of that module."""

    def make(code: str, group: str, *names: str, distribution: str = "strange") -> str:
        module = f"strange_{next(_numbers)}"
        site = tmp_path / module
        info = site / f"{distribution}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{module}.py").write_text(code, encoding="utf-8")
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        lines = "".join(f"{name} = {module}:THING\n" for name in names)
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}", encoding="utf-8")
        monkeypatch.syspath_prepend(site)
        return module

    return make


SINK = """
import msgspec
from galago_edge.sinks.sink_kind import ReceiverKind, WriterKind
class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 1
def build(settings, parts):
    raise RuntimeError("no such thing")
THING = ReceiverKind(settings=Settings, build=build)
"""
LOOSE = SINK.replace(", forbid_unknown_fields=True", "")


def test_names_are_known_without_an_import(bring: Bring) -> None:
    bring("raise RuntimeError('imported')\n", "galago.sinks", "tidings", "alarm")
    assert SINKS.names() == ("log", "mqtt", "program", "webhook", "alarm", "tidings")
    assert SINKS.own() == ("log", "mqtt", "program", "webhook")


def test_what_is_brought_is_found_by_its_name(bring: Bring) -> None:
    bring(SINK, "galago.sinks", "tidings")
    found = SINKS.find("tidings")
    assert found is not None and found.settings.__struct_fields__ == ("size",)
    assert SINKS.find("nothing") is None


def test_our_own_win_over_their_namesakes(bring: Bring) -> None:
    bring("raise RuntimeError('imported')\n", "galago.sinks", "mqtt")
    found = SINKS.find("mqtt")
    assert found is not None and found.settings.__name__ == "MqttSettings"
    assert SINKS.offered() == ()


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("", "AttributeError"),
        ("def broken(:\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("raise RuntimeError('one\\n  two')\n", "RuntimeError: one two"),
        ("THING = 'text'\n", "it is a str, expected a SinkKind"),
        (
            SINK.replace("build=build", "build=build, records=('event', 'score')"),
            "ValueError: records is ('event', 'score'), expected some of event, state, gap, attachment",
        ),
        (
            SINK.replace("build=build", "build=build, records='event'"),
            "ValueError: records is 'event', expected",
        ),
        (SINK.replace("build=build", "build=build, records=None"), "ValueError: records is None, expected"),
        (LOOSE, "ValueError: Settings is no msgspec.Struct with forbid_unknown_fields=True"),
        (
            "from galago_edge.sinks.sink_kind import ReceiverKind as THING\n",
            "it is a type, expected a SinkKind",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line_with_a_code(bring: Bring, code: str, fault: str) -> None:
    module = bring(code, "galago.sinks", "tidings")
    with pytest.raises(DeviceError) as caught:
        SINKS.find("tidings")
    assert caught.value.reason is Reason.PLUGIN_BAD
    assert str(caught.value).startswith(f"sink tidings of strange ({module}:THING) cannot be used: {fault}")
    assert "\n" not in str(caught.value) and "strange" in caught.value.hint


def test_two_distributions_with_one_name_are_refused_because_nobody_knows_which_is_meant(
    bring: Bring,
) -> None:
    bring(SINK, "galago.sinks", "tidings")
    bring(SINK, "galago.sinks", "tidings", distribution="other")
    with pytest.raises(DeviceError, match="other and strange bring one of this name"):
        SINKS.find("tidings")


def test_distributions_that_do_not_say_their_name_are_refused_in_one_line_too(
    bring: Bring, tmp_path: Path
) -> None:
    for name in ("here", "there"):
        module = bring(SINK, "galago.sinks", "tidings", distribution=name)
        (tmp_path / module / f"{name}-1.0.dist-info" / "METADATA").unlink()
    with pytest.raises(DeviceError, match="an unknown distribution") as caught:
        SINKS.find("tidings")
    assert caught.value.reason is Reason.PLUGIN_BAD


def test_a_board_whose_entry_point_names_no_package_is_one_line(bring: Bring) -> None:
    bring("THING = 1\n", "galago.boards", "shed")
    with pytest.raises(DeviceError, match="expected the package that holds the profile") as caught:
        profile("shed")
    assert caught.value.reason is Reason.PLUGIN_BAD


def test_a_name_that_no_table_can_have_is_refused(bring: Bring) -> None:
    bring(SINK, "galago.sinks", "My-Sink")
    with pytest.raises(DeviceError, match="small letters, digits and _"):
        SINKS.find("My-Sink")


@pytest.mark.parametrize(
    ("tables", "met"),
    [
        ({"tidings": {"size": "2"}}, r"\[tidings\] size: expected a whole number, got a text"),
        ({"tidings": {"seize": 2}}, r"\[tidings\] has no setting 'seize'; did you mean size\?"),
        ({"tidigns": {}}, r"no table or setting 'tidigns'; did you mean tidings\?"),
        ({"tidings": 5}, "tidings: expected a table, got a whole number"),
    ],
)
def test_a_table_is_checked_by_its_sinks_own_type_and_an_unknown_one_is_refused(
    bring: Bring, tables: dict[str, Any], met: str
) -> None:
    bring(SINK, "galago.sinks", "tidings")
    with pytest.raises(msgspec.ValidationError, match=met):
        settings_of(STREAM | tables)


def test_no_plugin_takes_the_name_of_a_table_that_is_there(bring: Bring) -> None:
    bring(SINK, "galago.sinks", "limits", "stream")
    assert settings_of(STREAM | {"limits": {"hang_s": 3.0}}).limits.hang_s == 3.0


def test_a_table_whose_sink_cannot_be_used_keeps_its_place(bring: Bring) -> None:
    bring("1 / 0\n", "galago.sinks", "tidings")
    assert settings_of(STREAM | {"tidings": {"anything": 5}}).sinks == {"tidings": None}


def status(settings: Settings, folder: Path) -> dict[str, tuple[str, str]]:
    box = Outbox(settings, folder, "porch")
    box.start()
    wait_for(lambda: box.status(), "the status")
    found = {one.name: (one.state, one.fault) for one in box.status()}
    box.stop(0.0)
    return found


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("1 / 0\n", "ZeroDivisionError"),
        (SINK, "RuntimeError: no such thing [PLUGIN_BAD]"),
        (SINK.replace("build=build", "build=build, records=len"), "RuntimeError: no such thing [PLUGIN_BAD]"),
        (
            SINK.replace("raise RuntimeError('no such thing')", "return None").replace(
                'raise RuntimeError("no such thing")', "return None"
            ),
            "expected a DeliveryThread [PLUGIN_BAD]",
        ),
        (SINK.replace('raise RuntimeError("no such thing")', "raise SystemExit(3)"), "SystemExit: 3"),
        (SINK.replace("size: int = 1", "size: 'Nowhere' = 1"), "settings could not be read [PLUGIN_BAD]"),
        (SINK.replace("build=build", "build=build, paths=('nope',)"), "no such thing [PLUGIN_BAD]"),
    ],
    ids=["import", "build", "records", "builds nothing", "exits", "settings", "paths"],
)
def test_the_outbox_goes_on_without_a_sink_that_cannot_be_used_and_says_so(
    bring: Bring, tmp_path: Path, code: str, fault: str
) -> None:
    bring(code, "galago.sinks", "tidings")
    log = {"log": {"path": str(tmp_path / "log.jsonl")}}
    settings = settings_of(STREAM | log | {"tidings": {}})
    assert set(anchored(settings.sinks, tmp_path)) == {"log", "tidings"}
    found = status(settings, tmp_path)
    assert found["log"] == found["spool"] == ("ok", "")
    assert found["tidings"][0] == "failed" and fault in found["tidings"][1]


TAKER = """
import msgspec
from galago_edge.sinks.each_record import each_record
from galago_edge.sinks.sink_kind import ReceiverKind
class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
class Taker:
    def __init__(self, settings, parts):
        self.path = settings.path
    def deliver(self, delivery):
        with open(self.path, "ab") as file:
            file.write(delivery.line + b"\\n")
    def close(self):
        pass
THING = ReceiverKind(settings=Settings, build=each_record(Taker), records=RECORDS)
"""


@pytest.mark.parametrize("wanted", ["('gap',)", "['gap']", "lambda settings: {'gap'}"])
def test_a_sink_gets_the_kinds_of_records_that_it_names_or_that_its_function_names(
    bring: Bring, tmp_path: Path, wanted: str
) -> None:
    bring(TAKER.replace("RECORDS", wanted), "galago.sinks", "tidings")
    taken = tmp_path / "taken"
    box = Outbox(settings_of(STREAM | {"tidings": {"path": str(taken)}}), tmp_path, "porch")
    box.start()
    box.emit([StateRecord(stream="hall", subject="stream", state="started", index=0, ns=0)])
    box.emit([GapRecord(stream="hall", from_ns=0, to_ns=1, cause="drop")])
    wait_for(lambda: box.status()[-1].delivered, "the gap")
    box.stop(5.0)
    assert [msgspec.json.decode(line)["kind"] for line in taken.read_bytes().splitlines()] == ["gap"]


@pytest.mark.parametrize("wanted", ["lambda settings: 'event'", "lambda settings: ('score',)", "len"])
def test_a_sink_whose_function_names_no_kinds_is_told_and_gets_nothing(
    bring: Bring, tmp_path: Path, wanted: str
) -> None:
    bring(TAKER.replace("RECORDS", wanted), "galago.sinks", "tidings")
    tables = STREAM | {"tidings": {"path": str(tmp_path / "taken")}}
    state, fault = status(settings_of(tables), tmp_path)["tidings"]
    assert state == "failed" and fault.endswith("[PLUGIN_BAD]")
    assert not (tmp_path / "taken").exists()


SOURCE = """
from galago_edge.contract.modality import Modality
from galago_edge.sources.source_kind import SourceKind
class Odd:
    modality, live = "camera", False
    def description(self): return {"kind": ODD}
    def conversion(self): return None
    def summary(self): return {}
    def stop(self): pass
    def __iter__(self): yield 5
THING = SourceKind(what="odd", form="odd:X", modality="camera", open=lambda address, opening: OPENED)
"""


@pytest.mark.parametrize(
    ("opened", "odd", "fault"),
    [
        ("None", "1", "AttributeError"),
        ("Odd()", "1", "it gave a int, expected a Frame or an AudioBlock"),
        ("Odd()", "{1}.__class__", "TypeError"),
    ],
    ids=["opens nothing", "gives a number", "describes itself by a type"],
)
def test_a_source_that_gives_what_no_source_gives_is_one_line(
    bring: Bring, opened: str, odd: str, fault: str
) -> None:
    bring(SOURCE.replace("OPENED", opened).replace("ODD", odd), "galago.sources", "odd")

    def walk() -> None:
        source = open_source("odd:x", TINY_IMAGE)
        source.description()
        list(source)

    with pytest.raises(DeviceError) as caught:
        walk()
    assert caught.value.reason is Reason.PLUGIN_BAD and fault in str(caught.value)


def test_a_source_whose_address_cannot_be_cut_is_one_line(bring: Bring) -> None:
    split = SOURCE.replace('what="odd"', 'what="odd", split=lambda rest: (1, 2)').replace("OPENED", "None")
    for code in (split, split.replace("lambda rest: (1, 2)", "lambda rest: exit(3)")):
        bring(code.replace("ODD", "1"), "galago.sources", f"odd{len(code)}")
        with pytest.raises(DeviceError) as caught:
            parse_source(f"odd{len(code)}:x")
        assert caught.value.reason is Reason.PLUGIN_BAD


def test_a_writer_that_cannot_be_built_counts_what_it_does_not_write(bring: Bring, tmp_path: Path) -> None:
    bring(SINK.replace("ReceiverKind(", "WriterKind("), "galago.sinks", "tidings")
    log = {"log": {"path": str(tmp_path / "log.jsonl")}}
    box = Outbox(settings_of(STREAM | log | {"tidings": {}}), tmp_path, "porch")
    box.start()
    gap = GapRecord(stream="hall", from_ns=0, to_ns=1, cause="drop")
    box.emit([gap, gap])
    wait_for(lambda: all(one.delivered or one.lost for one in box.status()), "the records")
    box.stop(0.0)
    log_status, tidings = box.status()
    assert (log_status.name, log_status.delivered, log_status.fault) == ("log", 2, "")
    assert (tidings.state, tidings.lost) == ("failed", 2)
    assert tidings.fault == "RuntimeError: no such thing [PLUGIN_BAD]"


def test_a_registry_finds_its_own_by_the_names_of_its_modules() -> None:
    sinks: Registry[SinkKind] = Registry(
        what="sink", group="galago.none", package="galago_edge.sinks.kinds", suffix="_sink",
        attribute="SINK", type=SinkKind,
    )  # fmt: skip
    assert sinks.names() == SINKS.own()
    assert all(isinstance(sinks.find(name), SinkKind) for name in sinks.own())


def fenced(language: str) -> list[str]:
    """The examples of docs/extending.md in this language."""
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def blocks() -> dict[str, str]:
    """The Python examples of docs/extending.md, by what they describe; a source's device is ``DEVICE``."""
    found = [block for block in fenced("python") if not re.search(r"^raise ", block, re.MULTILINE)]
    names = [re.findall(r"^([A-Z]+) = ", block, re.MULTILINE)[-1] for block in found]
    described = {
        "DEVICE" if "capture=" in block else name: block for name, block in zip(names, found, strict=True)
    }
    assert len(described) == len(found)
    return described


@pytest.mark.parametrize(
    ("name", "kind"),
    [("SINK", SinkKind), ("SOURCE", SourceKind), ("CHECK", DoctorCheck), ("NETWORK", NetworkKind)],
)
def test_the_examples_of_the_page_are_what_they_say(name: str, kind: type) -> None:
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(blocks()[name], name, "exec"), module)
    described = module[name]
    assert isinstance(described, kind)
    if isinstance(described, SourceKind):
        source = described.open(Address("counter", "3", {"fps": 5}), Opening(None))
        assert [item.captured_ns for item in source] == [0, 200_000_000, 400_000_000]
    if isinstance(described, DoctorCheck):
        assert [finding.name for finding in described.look(Case(Path("/")))] == ["load"]


DEVICE = """
from galago_edge.contract.streams import Frame
from galago_edge.sources.source_kind import SourceKind
import numpy as np
import time
class Capture:
    def __init__(self, address, settings, rate_hz): self.began = time.monotonic()
    def description(self): return {}
    def read(self, timeout_s): return Frame(np.zeros((48, 64, 3), np.uint8), 0, CLOCK)
    def close(self): pass
THING = SourceKind(modality="camera", what="x", form="x", capture=Capture)
"""


def test_the_errors_of_the_page_can_be_raised_as_it_says() -> None:
    (block,) = [block for block in fenced("python") if block not in blocks().values()]
    begin, *raises = re.split(r"^(?=raise )", block, flags=re.MULTILINE)
    names: dict[str, Any] = {}
    for statement, kind in zip(raises, (LinkError, InputError, RecordRefusedError), strict=True):
        with pytest.raises(kind):
            exec(begin + statement, names)


def test_the_distribution_of_the_page_is_the_example_distribution() -> None:
    (page, real) = (ConfigParser(), ConfigParser())
    page.read_string(fenced("ini")[0])
    real.read(ROOT / "tests/support/example_plugin/setup.cfg", encoding="utf-8")
    for section in ("options.entry_points", "options.package_data"):
        assert dict(page[section]) == dict(real[section])
    assert page["options"]["packages"] == "find:"
    packages = find_packages(str(ROOT / "tests/support/example_plugin"))
    assert sorted(packages) == real["options"]["packages"].split()
    pyproject = (ROOT / "tests/support/example_plugin/pyproject.toml").read_text(encoding="utf-8")
    assert fenced("toml")[0].removeprefix("# pyproject.toml\n") == pyproject


def test_the_device_of_the_page_is_captured() -> None:
    module: dict[str, Any] = {"__name__": "example"}
    exec(compile(blocks()["DEVICE"], "DEVICE", "exec"), module)
    address = Address("ticks", "gray", {}, module["SOURCE"])
    capture = open_capture(address, SourceSettings(address="ticks:gray"))
    frames = [capture.read(0.01) for _ in range(3)]
    assert [frame.index for frame in frames if isinstance(frame, Frame)] == [0, 1, 2]
    capture.close()


@pytest.mark.parametrize(
    "clock",
    ["int(1e9 * (time.monotonic() - self.began))", "time.time_ns()", "-1"],
    ids=["own", "wall", "none"],
)
def test_a_device_that_tells_the_time_by_another_clock_is_refused_in_one_line(
    bring: Bring, clock: str
) -> None:
    bring(DEVICE.replace("CLOCK", clock), "galago.sources", "strange")
    settings = SourceSettings(address="strange:x", backoff_s=0.001)
    source = Supervised("x", lambda: open_capture(parse_source("strange:x"), settings), "camera", settings)
    notice = next(item for item in source if not isinstance(item, Gap))
    source.stop()
    assert isinstance(notice, Notice) and notice.state == "alarmed"
    fault = notice.detail["fault"]
    assert fault.startswith("source strange gave a frame with captured_ns at ") and "\n" not in fault
    assert fault.endswith("take captured_ns from time.monotonic_ns() [PLUGIN_BAD]") and "expected" in fault
    assert source.status().fault == fault and source.status().items == 0


def test_times_of_a_device_may_be_as_old_as_what_it_had_buffered_and_no_older() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    frames = [Frame(pixels, number, at_s * NS_PER_S) for number, at_s in enumerate((6, 4, 16, 17))]
    scripted = ScriptedCapture(SteppedClock(0), frames)
    capture = ForeignCapture("strange", lambda: scripted, clock_ns=lambda: 11 * NS_PER_S)
    assert capture.read(1.0) is frames[0]
    with pytest.raises(DeviceError, match=r"at 4\.000 s, expected 11\.000 to 11\.000 s"):
        capture.read(1.0)
    assert capture.read(1.0) is frames[2]
    with pytest.raises(DeviceError, match=r"at 17\.000 s"):
        capture.read(1.0)


NETWORK = """
from galago_workstation.training.network_kind import NetworkKind, NetworkOptions
class Options(NetworkOptions, frozen=True, kw_only=True, tag="strange"):
    filters: int = 8
def body(layers, x, options):
    return layers.conv(x, options.filters)
THING = NetworkKind(options=Options, body=body, inputs=("image",))
"""


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        (
            'tag="strange"',
            'tag="other"',
            "network strange has the tag 'other' in its options, expected 'strange'",
        ),
        (', tag="strange"', "", "network strange has the tag .* in its options"),
        ('("image",)', '"image"', "ValueError: inputs is 'image', expected some of image, audio, as a tuple"),
        ('("image",)', '("film",)', r"ValueError: inputs is \('film',\), expected some of image, audio"),
        ("options=Options", "options=dict", "ValueError: options is .*dict.*, expected a subclass"),
    ],
)
def test_a_network_that_no_configuration_can_name_is_one_line(
    bring: Bring, was: str, becomes: str, fault: str
) -> None:
    bring(NETWORK.replace(was, becomes), "galago.networks", "strange")
    with pytest.raises(DeviceError, match=fault) as caught:
        find_network("strange")
    assert caught.value.reason is Reason.PLUGIN_BAD and "\n" not in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("raise ValueError('filters:\\n  must be positive')", "ValueError: filters: must be positive"),
    ],
)
def test_a_mistake_in_the_body_of_a_network_is_one_line_that_shows_the_options(
    bring: Bring, monkeypatch: pytest.MonkeyPatch, body: str, fault: str
) -> None:
    monkeypatch.setattr("galago_workstation.training.network_kind.import_tensorflow", MagicMock)
    bring(NETWORK.replace("return layers.conv(x, options.filters)", body), "galago.networks", "strange")
    found = find_network("strange")
    assert found is not None
    with pytest.raises(DeviceError) as caught:
        build_network(found.options(filters=-4), (16, 16, 1), 2, seed=1)
    assert caught.value.reason is Reason.PLUGIN_BAD
    line = str(caught.value)
    assert line.startswith("network strange cannot be built from Options(") and line.endswith(fault)
    assert "filters=-4" in line


def test_a_file_of_a_brought_kind_is_found_by_its_ending(bring: Bring, tmp_path: Path) -> None:
    code = (
        "from galago_edge.sources.source_kind import SourceKind\n"
        "THING = SourceKind(modality='camera', what='x', form='x', suffixes=frozenset({'.tape'}))\n"
    )
    bring(code, "galago.sources", "tape")
    (tmp_path / "night.tape").touch()
    address = parse_source(str(tmp_path / "night.tape"))
    assert (address.kind, address.modality, address.live, address.reopens) == ("tape", "camera", False, False)


@pytest.mark.parametrize(
    ("text", "anchored"),
    [
        ("tape:reel", "tape:/etc/galago/reel"),
        ("reel:5", "reel:5"),
        ("night.wav", "/etc/galago/night.wav"),
        ("strange:x", "/etc/galago/strange:x"),
        ("/data/strange:x", "/data/strange:x"),
    ],
)
def test_only_what_is_written_as_a_path_starts_at_the_folder(bring: Bring, text: str, anchored: str) -> None:
    code = (
        "from galago_edge.sources.source_kind import SourceKind\n"
        "THING = SourceKind(modality='camera', what='x', form='x', path_target=lambda rest: rest == 'reel')\n"
    )
    bring(code, "galago.sources", "tape", "reel")
    assert anchored_source(text, Path("/etc/galago")) == anchored

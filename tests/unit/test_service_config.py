from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, inspect

import galago_edge.contract.settings as settings_module
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.profile import DeviceProfile
from galago_edge.contract.settings import OwnTables, Settings, SourceSettings, StreamSettings
from galago_edge.service.configuration import (
    checked,
    read_config,
    read_option,
    real_path,
    source_of,
    told_with_file,
)
from galago_edge.sinks.sink_kind import SINKS
from galago_workstation.flashing.fleet import Fleet


def test_a_config_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        """
        [[stream]]
        name = "door"
        source = "clips/door.avi?fps=10"
        bundle = "digits"
        [stream.thresholds.seven]
        on = 0.9
        [stream.thresholds."two words"]
        on = 0.8
        off = 0.3

        [[stream]]
        name = "hall"
        source = "pipe:-?rate=48000"
        """
    )
    door, hall = read_config(path).stream
    assert (door.name, door.bundle, door.source) == (
        "door",
        "digits",
        str(tmp_path / "clips/door.avi?fps=10"),
    )
    assert door.threshold_overrides() == {"seven": {"on": 0.9}, "two words": {"on": 0.8, "off": 0.3}}
    assert door.thresholds["seven"].off is UNSET
    assert (hall.source, hall.bundle, hall.threshold_overrides()) == ("pipe:-?rate=48000", None, {})


def test_absolute_paths_and_cameras_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        '[[stream]]\nname = "a"\nsource = "/data/a.wav"\n[[stream]]\nname = "b"\nsource = "camera:0"\n'
        '[[stream]]\nname = "c"\nsource = "rtsp://cam/live"\n'
    )
    assert [stream.source for stream in read_config(path).stream] == [
        "/data/a.wav",
        "camera:0",
        "rtsp://cam/live",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "stream"),
        ("stream = []", "stream"),
        ('[[stream]]\nname = "a"', "source"),
        ('[[stream]]\nname = "a"\nsource = ""', "source"),
        ('[[stream]]\nname = "a b"\nsource = "x"', "name"),
        ('[[stream]]\nname = "a"\nsource = "x"\nbundel = "y"', "bundel"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[stream.thresholds.up]\non = 1.5', "up|thresholds"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[stream.thresholds.up]\nover = 0.5', "over"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[[stream]]\nname = "a"\nsource = "y"', "two streams"),
        ('[[stream]]\nname = "a"\nsource = "pipe:-"\n[[stream]]\nname = "b"\nsource = "pipe:-"', "input"),
        ("[[stream]\n", "galago.toml"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[mqtt]\nport = 1', "host"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[mqtt]\nhost = "h"\nport = 0', "port"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[webhook]\nurl = "ftp://x"', "url"),
        ('[[stream]]\nname = "a"\nsource = "x"\n[limits]\nhang = 1', "hang"),
        ('[[stream]]\nname = "a"\nsource = "${NOT_SET}"', "NOT_SET"),
        (
            '[source.a]\naddress = "camera:0"\n[source.b]\naddress = "camera:0"\n'
            '[[stream]]\nname = "a"\nsource = "a"',
            "same address",
        ),
    ],
)
def test_a_bad_config_is_one_line_that_names_what_is_wrong(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(text)
    with pytest.raises(CallerError, match=told) as caught:
        read_config(path)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert "\n" not in str(caught.value)


TWO = """
[source.yard]
address = "camera:0"
[source.door]
address = "camera:1"
{source}
[[stream]]
name = "first"
source = "yard"
[[stream]]
name = "second"
source = "door"
{stream}
"""


@pytest.mark.parametrize(
    ("source", "stream", "told"),
    [
        ("rotat = 180", "", "[source.door] has no setting 'rotat'; did you mean rotate?"),
        ("zzz = 180", "", "[source.door] has no setting 'zzz'"),
        ('fps = "fast"', "", "[source.door] fps: expected a number, got a text"),
        (
            "region = [0, 0, 2, 1]",
            "",
            "[source.door] region: expected a fraction of the picture from 0.0 to 1.0, not pixels",
        ),
        ("", 'bundel = "digits"', "[[stream]] second has no setting 'bundel'; did you mean bundle?"),
        (
            "",
            "[stream.thresholds.zz]\nonn = 0.5",
            "[[stream]] second: [stream.thresholds.zz] has no setting 'onn'; did you mean on?",
        ),
        (
            "[source.door.plausibility]\nfrozn_s = 1",
            "",
            "[source.door.plausibility] has no setting 'frozn_s'; did you mean frozen_s?",
        ),
        ("", "[[stream]]\nname = 'third'", "[[stream]] third lacks source, which must be given"),
        ("", "[limit]\nhang_s = 1", "it has no table or setting 'limit'; did you mean limits?"),
        (
            "",
            "[source.'a b']\naddress = 'camera:2'",
            "the name of [source.a b]: expected 1 to 64 letters, digits, dots, _ and -, without spaces",
        ),
        (
            "mask = [0, 0, 0.3, 0.25]",
            "",
            "[source.door] mask: expected a list, got a whole number; such as mask = [[0.0, 0.0, 0.3, 0.25]]",
        ),
        (
            "mask = [[0, 0, 100, 60]]",
            "",
            "[source.door] mask: expected a fraction of the picture from 0.0 to 1.0, not pixels; such",
        ),
        (
            "",
            "[[attachments]]",
            "[attachments] can be there only once: write [attachments], not [[attachments]]",
        ),
        ("", "[[log]]\npath = 'x'", "[log] can be there only once: write [log], not [[log]]"),
        (
            "",
            "[webhook]\nurl = '127.0.0.1:18903/bad'",
            "[webhook] url: expected a URL that begins with http://",
        ),
        (
            "",
            "[[webhook]]\nurl = 'http://h/'\nname = 'my porch'",
            "[[webhook]] my porch name: expected at most 32 letters, digits, _ and -, without spaces",
        ),
        ("", "[device]\nname = 'my porch'", "[device] name: expected 1 to 64 letters, digits"),
        (
            "",
            "[program]\ncommand = './store.sh x'",
            '[program] command: expected a list, got a text; such as command = ["./store.sh", "its',
        ),
        ("", "[mqtt]\nhost = 'h'\ntopic = 'a/#'", "[mqtt] topic: expected"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_the_table_in_plain_words(
    source: str, stream: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(TWO.format(source=source, stream=stream))
    with pytest.raises(CallerError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert "$" not in str(caught.value)


def test_one_stream_in_single_brackets_is_told_to_be_one_of_several(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text('[stream]\nname = "a"\nsource = "x"\n')
    with pytest.raises(CallerError, match=r"write \[\[stream\]\], not \[stream\]"):
        read_config(path)


def patterns(type_: Any, about: str = "") -> Iterator[tuple[str, str]]:
    """Every pattern below a type, with what is said about it."""
    if isinstance(type_, inspect.Metadata):
        yield from patterns(type_.type, (type_.extra_json_schema or {}).get("description", about))
    elif isinstance(type_, inspect.UnionType):
        for each in type_.types:
            yield from patterns(each)
    elif isinstance(type_, inspect.StructType):
        for field in type_.fields:
            yield from patterns(field.type)
    elif isinstance(type_, inspect.DictType):
        yield from patterns(type_.key_type)
        yield from patterns(type_.value_type)
    elif isinstance(type_, inspect.VarTupleType | inspect.ListType):
        yield from patterns(type_.item_type)
    elif isinstance(type_, inspect.StrType) and type_.pattern is not None:
        yield type_.pattern, about


def test_every_pattern_of_a_setting_is_described_in_words() -> None:
    kinds = [SINKS.find(name) for name in SINKS.names()]
    types = [OwnTables, Fleet, DeviceProfile, *(kind.settings for kind in kinds if kind is not None)]
    found = [each for one in types for each in patterns(inspect.type_info(one))]
    assert len(found) > 8
    assert [pattern for pattern, about in found if not about] == []


def test_a_config_that_does_not_exist_is_a_caller_error(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="does not exist"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "name", "bundle", "source"),
    [
        ("door=camera:0", "door", None, "camera:0"),
        ("door:digits=a.avi?fps=5", "door", "digits", "a.avi?fps=5"),
        ("hall=a=b.wav", "hall", None, "a=b.wav"),
    ],
)
def test_a_stream_option_is_read(text: str, name: str, bundle: str | None, source: str) -> None:
    assert read_option(text) == StreamSettings(name=name, bundle=bundle, source=source)


@pytest.mark.parametrize("text", ["door", "=x.wav", "do or=x.wav", "door:=x.wav", "door:Big=x.wav", "door="])
def test_a_bad_stream_option_is_one_line(text: str) -> None:
    with pytest.raises(CallerError, match="--stream") as caught:
        read_option(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["do or=camera:rtsp://admin:hunter2@cam/live", "camera:rtsp://admin:hunter2@cam/live"]
)
def test_a_bad_option_never_shows_a_password(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_option(text)
    assert "hunter2" not in str(caught.value)


def test_names_are_unique() -> None:
    with pytest.raises(CallerError, match="two streams are called a"):
        checked([read_option("a=x.wav"), read_option("a=y.wav")])


WHOLE = """
[device]
name = "porch"

[source.cam]
address = "camera:rtsp://${CAM_USER}:${CAM_PASSWORD}@10.0.0.7/live"
stall_s = 2

[[stream]]
name = "door"
source = "cam"
bundle = "digits"

[[stream]]
name = "gate"
source = "cam"
bundle = "people"

[spool]
dir = "spool"
[log]
path = "log/events.jsonl"
[samples]
dir = "/data/samples"
[mqtt]
host = "broker"
password = "${CAM_PASSWORD}"
[webhook]
url = "https://example.org/${CAM_USER}"
[page]
[governor]
ladder = [1, 3]
[limits]
[accelerator]
"""


def test_secrets_come_from_the_environment_and_never_stand_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(WHOLE)
    settings = read_config(path, {"CAM_USER": "anna", "CAM_PASSWORD": 'p"${CAM_USER}\\'})
    assert settings.source["cam"].address == 'camera:rtsp://anna:p"${CAM_USER}\\@10.0.0.7/live'
    assert settings.sinks["mqtt"].password == 'p"${CAM_USER}\\'
    assert settings.sinks["webhook"].url == "https://example.org/anna"


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(WHOLE.replace("${CAM_USER}", "u").replace("${CAM_PASSWORD}", "p"))
    settings = read_config(path, {})
    assert settings.spool.dir == str(tmp_path / "spool")
    assert settings.sinks["log"].path == str(tmp_path / "log/events.jsonl")
    assert settings.samples is not None and settings.samples.dir == "/data/samples"


_EVERY_PATH = """
spool.dir = "./spool"
samples.dir = "samples"
log.path = "./events.jsonl"
[program]
command = ["./store.sh", "./argument"]
[mqtt]
host = "mqtts://broker"
user = "porch"
password_file = "./mqtt.password"
ca_file = "ca.pem"
client_cert_file = "./client.pem"
client_key_file = "client.key"
[[webhook]]
url = "https://server/"
password_file = "webhook.password"
user = "porch"
ca_file = "./server.pem"
[source.cam]
address = "camera:https://cam/live"
user = "porch"
password_file = "cam.password"
ca_file = "./cam.pem"
[source.loop]
address = "camera:file:./loop.mp4?loop=yes"
[source.fifo]
address = "pipe:./-"
"""


@pytest.mark.parametrize(
    "written", ["galago.toml", "./galago.toml", "sub/galago.toml", "../here/galago.toml", "absolute"]
)
def test_every_path_starts_at_the_folder_of_the_file_however_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / "here/sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "here/galago.toml" if written == "absolute" else Path(written)
    streams = ["cam", "loop", "fifo", "camera:file:hall.mp4", "./camera:odd.avi", "./plain", "pipe:./-x"]
    path.write_text(
        _EVERY_PATH
        + "".join(f'[[stream]]\nname = "s{n}"\nsource = "{source}"\n' for n, source in enumerate(streams))
    )
    folder = path.absolute().parent.resolve()
    settings = read_config(path)
    monkeypatch.chdir("/")  # what was read holds wherever a process runs

    def there(name: str, head: str = "") -> str:
        assert name.startswith(head)
        return str(Path(name.removeprefix(head)).resolve())

    def at(name: str) -> str:
        return str(folder / name)

    sinks, source = settings.sinks, settings.source
    assert there(settings.spool.dir) == at("spool") and there(sinks["log"].path) == at("events.jsonl")
    assert settings.samples is not None and there(settings.samples.dir) == at("samples")
    assert (
        there(sinks["program"].command[0]) == at("store.sh") and sinks["program"].command[1] == "./argument"
    )
    mqtt, webhook = sinks["mqtt"], sinks["webhook"]
    assert there(mqtt.password_file) == at("mqtt.password") and there(mqtt.ca_file) == at("ca.pem")
    assert there(mqtt.client_cert_file) == at("client.pem") and there(mqtt.client_key_file) == at(
        "client.key"
    )
    assert there(webhook.password_file) == at("webhook.password") and there(webhook.ca_file) == at(
        "server.pem"
    )
    assert there(source["cam"].password_file) == at("cam.password")
    assert there(source["cam"].ca_file) == at("cam.pem")
    assert there(source["loop"].address, "camera:file:") == at("loop.mp4?loop=yes")
    assert there(source["fifo"].address, "pipe:") == at("-")
    found = [settings.source[stream.source].address for stream in settings.stream[3:]]
    assert there(found[0], "camera:file:") == at("hall.mp4")
    assert there(found[1]) == at("camera:odd.avi"), "a file of that name, no camera"
    assert there(found[2]) == at("plain") and there(found[3], "pipe:") == at("-x")


def test_a_path_with_a_variable_is_found_however_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("galago.toml")
    path.write_text('log.path = "${PLACE}/x.jsonl"\n[[stream]]\nname = "a"\nsource = "camera:0"\n')
    log = read_config(path, None).sinks["log"].path
    assert real_path(log, {"PLACE": "logs"}, path) == str(tmp_path / "logs/x.jsonl")
    assert real_path(log, {"PLACE": "/var/log"}, path) == "/var/log/x.jsonl"


def test_files_of_certificates_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    table = 'host = "mqtts://broker"\nca_file = "ca.pem"\nclient_cert_file = "own/us.pem"\n'
    path.write_text(
        f'[[stream]]\nname = "a"\nsource = "camera:0"\n[mqtt]\n{table}client_key_file = "/etc/us.key"\n'
    )
    mqtt = read_config(path, {}).sinks["mqtt"]
    assert mqtt.ca_file == str(tmp_path / "ca.pem")
    assert mqtt.client_cert_file == str(tmp_path / "own/us.pem")
    assert mqtt.client_key_file == "/etc/us.key"


@pytest.mark.parametrize(
    "line", ['host = "http://b"', 'host = "b/way"', 'host = "u:hunter2@b"', 'host = "b:x"', 'host = " "']
)
def test_a_broker_that_can_be_nowhere_is_one_line_at_the_start(tmp_path: Path, line: str) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(f'[[stream]]\nname = "a"\nsource = "x"\n[mqtt]\n{line}\n')
    with pytest.raises(CallerError, match=r"\[mqtt\]: ") as caught:
        read_config(path, {})
    assert caught.value.reason is Reason.CONFIG_BAD
    assert "hunter2" not in caught.value.line and "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("cma", "source cma is no [source.cma] and no file or folder; did you mean cam?"),
        ("hall", "source hall is no [source.hall] and no file or folder"),
    ],
)
def test_a_source_that_is_a_misspelt_name_is_refused_with_the_file_and_the_nearest(
    tmp_path: Path, source: str, told: str
) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(f'[source.cam]\naddress = "camera:0"\n[[stream]]\nname = "door"\nsource = "{source}"\n')
    with pytest.raises(CallerError) as caught:
        read_config(path)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert str(caught.value) == f"{path}: [[stream]] door: {told}"
    assert "[source.NAME]" in caught.value.hint
    read_config(path, None)  # whoever reads it elsewhere does not have the device's files
    (tmp_path / source).mkdir()
    assert read_config(path).stream[0].source == str(tmp_path / source), "a folder of images"


def test_a_path_that_is_not_there_yet_is_no_misspelt_name(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    for source in ("card/night", "night.wav", "night.mkv?fps=5"):
        path.write_text(f'[[stream]]\nname = "door"\nsource = "{source}"\n')
        assert read_config(path).stream[0].source == str(tmp_path / source)


def test_streams_share_a_named_source_and_others_get_the_usual_settings(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(WHOLE.replace("${CAM_USER}", "u").replace("${CAM_PASSWORD}", "p"))
    settings = read_config(path, {})
    door, gate = (source_of(stream, settings.source) for stream in settings.stream)
    assert door is gate and door.stall_s == 2
    plain = StreamSettings(name="x", source="camera:0")
    assert source_of(plain, settings.source) == SourceSettings(address="camera:0")


def test_a_named_pipe_starts_at_the_folder_of_the_file_and_standard_input_does_not(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        '[[stream]]\nname = "a"\nsource = "pipe:mic?rate=8000"\n[[stream]]\nname = "b"\nsource = "pipe:-"\n'
    )
    assert [stream.source for stream in read_config(path).stream] == [
        f"pipe:{tmp_path}/mic?rate=8000",
        "pipe:-",
    ]


def test_the_document_names_every_table_and_every_key() -> None:
    text = (Path(__file__).parents[2] / "docs/configuration.md").read_text(encoding="utf-8")
    tables = [kind for kind in vars(settings_module).values() if isinstance(kind, type)]
    tables += [kind.settings for name in SINKS.own() if (kind := SINKS.find(name))]
    structs = [kind for kind in tables if issubclass(kind, msgspec.Struct) and kind.__struct_fields__]
    assert len(structs) > 10
    structs.remove(Settings)  # OwnTables, and the sinks of any name
    for kind in structs:
        for name in kind.__struct_fields__:
            assert re.search(rf"[`.\[\]]{name}\b", text) or f"\n{name} = " in text, f"{kind.__name__}.{name}"


@pytest.mark.parametrize("kind", ['webhook]]\nurl = "http://h/"', 'program]]\ncommand = ["x"]'])
def test_a_sink_that_asks_for_a_stream_that_there_is_not_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "galago.toml"
    path.write_text(
        f'[[{kind}\nname = "a"\nstreams = ["hal"]\n[[stream]]\nname = "hall"\nsource = "camera:0"\n'
    )
    with pytest.raises(
        CallerError, match=r"\.a\] streams names hal, which is no stream; did you mean hall\? There is hall$"
    ) as caught:
        read_config(path)
    assert caught.value.reason is Reason.CONFIG_BAD
    path.write_text(path.read_text().replace('"hal"', '"hall"'))
    assert len(read_config(path).sinks) == 1


def test_what_a_part_finds_wrong_in_its_settings_is_told_with_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "galago.toml"
    for text in ("[page] host is none", f"{path}: [page] host is none"):
        with pytest.raises(CallerError, match=f"^{path}: \\[page\\] host is none$"), told_with_file(path):
            raise CallerError(Reason.CONFIG_BAD, text, hint="look")
    with pytest.raises(CallerError, match=r"^\[page\]"), told_with_file(None):
        raise CallerError(Reason.CONFIG_BAD, "[page] host is none")

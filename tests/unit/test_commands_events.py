"""``galago events``: what is chosen, how it is shown, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id
from galago_edge.commands.cli import main
from galago_edge.contract.printable import on_one_line
from galago_edge.contract.records import (
    AttachmentRecord,
    EventRecord,
    GapRecord,
    Record,
    ScoresRecord,
    StateRecord,
    encode_record,
)
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.spool_writer import Entry
from galago_edge.store import Store, install_bundle
from test_kit import TEST_KEY, accepted_here, make_bundle, trust

NS = 1_000_000_000
NOON_NS = 1_793_188_800 * NS  # 2026-10-28T12:00:00Z


def event(number: int, wall_ns: int, label: str = "smoke", stream: str = "hall") -> EventRecord:
    return EventRecord(
        stream=stream, seq=number, label=label, score=0.912, start_index=0, end_index=1, start_ns=5, end_ns=9,
        bundle="b1", backend="cpu", wall_ns=wall_ns, clock_synced=True,
    )  # fmt: skip


RECORDS: tuple[Record, ...] = (
    event(0, NOON_NS),
    StateRecord(
        stream="hall", subject="label:smoke", state="off", index=1, ns=3,
        wall_ns=NOON_NS + NS, clock_synced=True,
    ),
    GapRecord(
        stream="door", from_ns=0, to_ns=2_500_000_000, cause="disconnect", wall_ns=NOON_NS + 2 * NS,
        clock_synced=False,
    ),
    StateRecord(
        stream="door", subject="source", state="alarmed", index=1, ns=3,
        detail={"fault": 'no, "route"', "n": 2}, wall_ns=NOON_NS + 3 * NS, clock_synced=True,
    ),
    event(0, NOON_NS + 60 * NS, "person", "door"),
    ScoresRecord(
        stream="door", window=7, start_index=0, end_index=1, start_ns=0, end_ns=1, logits=[1], scores=[0.5],
        warm_up=False, wall_ns=NOON_NS + 61 * NS,
    ),
    event(1, NOON_NS + 3_600 * NS),
)  # fmt: skip


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A configuration whose log has records, in a file and a renamed one."""
    (tmp_path / "log.jsonl.1").write_bytes(b"".join(map(encode_record, RECORDS[:3])))
    (tmp_path / "log.jsonl").write_bytes(b"".join(map(encode_record, RECORDS[3:])))
    config = tmp_path / "galago.toml"
    config.write_text('[[stream]]\nname = "hall"\nsource = "x"\n[log]\npath = "log.jsonl"\n')
    return config


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["events", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert not result.exception or isinstance(result.exception, SystemExit)
    return result


def chosen(device: Path, *arguments: object) -> list[Record]:
    lines = run("--config", device, "--json", *arguments).stdout.splitlines()
    return [
        next(record for record in RECORDS if encode_record(record).decode().rstrip() == line)
        for line in lines
    ]


def test_a_table_shows_events_with_their_time_the_oldest_first(device: Path) -> None:
    assert run("--config", device).stdout.splitlines() == [
        "2026-10-28 12:00:00Z       hall         event  smoke, score 0.91",
        "2026-10-28 12:01:00Z       door         event  person, score 0.91",
        "2026-10-28 13:00:00Z       hall         event  smoke, score 0.91",
    ]


def test_every_kind_is_shown_in_words_and_a_doubtful_time_is_marked(device: Path) -> None:
    lines = run("--config", device, "--kind", "all").stdout.splitlines()
    assert [each.split(None, 2)[2].split(None, 1)[-1].strip() for each in lines[1:4]] == [
        "state  label:smoke off",
        "gap    disconnect, 2.5 s",
        'state  source alarmed (fault no, "route", n 2)',
    ]
    assert lines[2].startswith("2026-10-28 12:00:02Z? ") and "?" not in lines[1]
    assert lines[5].endswith("window 7")


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        ((), [0, 4, 6]),
        (("--kind", "all"), [0, 1, 2, 3, 4, 5, 6]),
        (("--kind", "gap", "--kind", "scores"), [2, 5]),
        (("--stream", "door"), [4]),
        (("--stream", "door", "--stream", "hall"), [0, 4, 6]),
        (("--label", "smoke"), [0, 6]),
        (("--label", "smoke", "--kind", "all"), [0, 1, 6]),
        (("--since", "2026-10-28T12:01"), [4, 6]),
        (("--since", "2026-10-28T14:01:00+02:00"), [4, 6]),
        (("--until", "2026-10-28 13:00"), [0, 4]),
        (("--since", "2026-10-28", "--until", "2026-10-29"), [0, 4, 6]),
        (("--since", "2026-10-29"), []),
        (("--until", "2026-10-28"), []),
    ],
)
def test_records_are_chosen_by_time_stream_label_and_kind(
    device: Path, arguments: tuple[str, ...], places: list[int]
) -> None:
    assert chosen(device, *arguments) == [RECORDS[place] for place in places]


@pytest.mark.parametrize(
    ("ago", "found"),
    [("90s", 1), ("1.5m", 1), ("2min", 1), ("2h", 2), ("3d", 3), ("1w", 3), ("30s", 0)],
)
def test_a_duration_counts_back_from_now(tmp_path: Path, device: Path, ago: str, found: int) -> None:
    now_ns = time.time_ns()
    ages_s = (60, 3_600, 2 * 86_400)
    written = [event(number, now_ns - age * NS) for number, age in enumerate(ages_s)]
    (tmp_path / "log.jsonl").write_bytes(b"".join(map(encode_record, written)))
    assert len(run("--config", device, "--json", "--since", ago).stdout.splitlines()) == found


def test_csv_has_a_header_and_quotes_what_it_must(device: Path) -> None:
    text = run("--config", device, "--csv", "--kind", "all").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(RECORDS)
    assert rows[0]["time"] == "2026-10-28 12:00:00Z" and rows[0]["clock_synced"] == "True"
    assert [row["seq"] for row in rows if row["kind"] == "event"] == ["0", "0", "1"]
    assert (rows[0]["label"], rows[0]["score"], rows[0]["start_ns"], rows[0]["end_ns"]) == (
        "smoke", "0.912", "5", "9",
    )  # fmt: skip
    assert json.loads(rows[3]["detail"]) == {"fault": 'no, "route"', "n": 2}
    assert (rows[2]["cause"], rows[2]["end_ns"]) == ("disconnect", "2500000000")
    assert (rows[1]["subject"], rows[1]["state"], rows[1]["start_ns"]) == ("label:smoke", "off", "3")


def attachment(of: EventRecord, file: str, **fields: object) -> AttachmentRecord:
    same = {name: getattr(of, name) for name in ("stream", "seq", "label", "start_index", "end_index")}
    rest = {"start_ns": of.start_ns, "end_ns": of.end_ns, "media_type": "image/jpeg", "sha256": "5b" * 32}
    spans = {"bytes": 3, "from_ns": 9, "to_ns": 9, "wall_ns": of.wall_ns, "clock_synced": True}
    return msgspec.convert(same | rest | spans | {"file": file} | fields, AttachmentRecord)


KEPT, GONE = "20261028T120000000Z-hall-0.jpg", "20261028T130000000Z-hall-1.wav"


@pytest.fixture
def attached(tmp_path: Path, device: Path) -> Path:
    """The root of a device whose first event has a picture, whose last had a sound."""
    first, last = RECORDS[0], RECORDS[6]
    assert isinstance(first, EventRecord) and isinstance(last, EventRecord)
    picture = attachment(first, KEPT, wall_ns=NOON_NS + 2 * NS)
    sound = attachment(last, GONE, media_type="audio/wav", wall_ns=NOON_NS + 3_605 * NS)
    records = (*RECORDS[:3], picture, *RECORDS[3:], sound)
    (tmp_path / "log.jsonl.1").unlink()
    (tmp_path / "log.jsonl").write_bytes(b"".join(map(encode_record, records)))
    root = tmp_path / "root"
    (root / "attachments").mkdir(parents=True)
    (root / "attachments" / KEPT).write_bytes(b"abc")
    return root


def test_a_table_shows_the_picture_or_sound_with_its_event_and_whether_it_is_still_kept(
    device: Path, attached: Path
) -> None:
    lines = run("--config", device, "--root", attached).stdout.splitlines()
    assert [line.partition("event  ")[2] for line in lines] == [
        f"smoke, score 0.91, picture {attached}/attachments/{KEPT}",
        "person, score 0.91",
        f"smoke, score 0.91, sound {GONE}, gone",
    ]
    alone = run("--config", device, "--stream", "hall").stdout.splitlines()  # nobody knows where it would be
    assert [line.rpartition(", ")[2] for line in alone] == [f"picture {KEPT}", f"sound {GONE}"]


def test_attachments_are_records_that_can_be_asked_for(device: Path, attached: Path) -> None:
    lines = run("--config", device, "--root", attached, "--kind", "attachment").stdout.splitlines()
    assert [line.split(None, 2)[2] for line in lines] == [
        f"hall         attachment of smoke, event 0, picture {attached}/attachments/{KEPT}",
        f"hall         attachment of smoke, event 1, sound {GONE}, gone",
    ]
    data = run("--config", device, "--root", attached, "--kind", "attachment", "--json").stdout.splitlines()
    written = [line for line in device.with_name("log.jsonl").read_text().splitlines() if "attach" in line]
    assert data == written, "as it was written"
    assert len(run("--config", device, "--json").stdout.splitlines()) == 3
    smoke = run("--config", device, "--label", "smoke", "--kind", "all", "--json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in smoke] == [
        "event", "state", "attachment", "event", "attachment",
    ]  # fmt: skip


def test_csv_has_the_file_of_a_picture_or_sound_and_its_path_or_that_it_is_gone(
    device: Path, attached: Path
) -> None:
    def columns(*arguments: object) -> list[tuple[str, str]]:
        text = run("--config", device, "--csv", *arguments).stdout
        return [(row["attachment"], row["attachment_path"]) for row in csv.DictReader(io.StringIO(text))]

    path = str(attached / "attachments" / KEPT)
    assert columns("--root", attached) == [(KEPT, path), ("", ""), (GONE, "gone")]
    assert columns() == [(KEPT, ""), ("", ""), (GONE, "")]
    assert columns("--root", attached, "--kind", "attachment") == [(KEPT, path), (GONE, "gone")]


def test_a_name_that_no_attachment_has_is_looked_for_nowhere(
    tmp_path: Path, device: Path, attached: Path
) -> None:
    first = RECORDS[0]
    assert isinstance(first, EventRecord)
    (attached / "secret").write_bytes(b"x")
    strange = attachment(first, "../secret")
    (tmp_path / "log.jsonl").write_bytes(encode_record(first) + encode_record(strange))
    assert run("--config", device, "--root", attached).stdout.endswith("picture ../secret\n")
    assert run("--config", device, "--root", attached, "--csv").stdout.endswith(",../secret,\n")


def test_an_event_gets_its_own_attachment_when_numbers_begin_again(
    tmp_path: Path, device: Path, attached: Path
) -> None:
    """After a restart an event of the same number is another one, and what comes late belongs to none."""
    lives = [event(0, NOON_NS + life * 600 * NS) for life in range(3)]
    records: list[Record] = [*lives[:1], attachment(lives[0], KEPT), *lives[1:]]
    late = attachment(lives[2], GONE, wall_ns=NOON_NS + 7_200 * NS)
    (tmp_path / "log.jsonl").write_bytes(
        b"".join(map(encode_record, [*records, event(9, NOON_NS * 2), late]))
    )
    lines = run("--config", device, "--root", attached).stdout.splitlines()
    assert [KEPT in line for line in lines] == [True, False, False, False]
    assert not any(GONE in line for line in lines)


def test_the_spool_alone_and_with_the_log(tmp_path: Path, device: Path) -> None:
    root = tmp_path / "root"
    spool = Spool(root / "spool", "porch", {"mqtt": ("event",)}, max_bytes=1 << 20, sync_s=1)
    root.mkdir()
    spool.lock()
    spool.load()
    late = event(2, NOON_NS + 7_200 * NS)
    spool.append([Entry("event", encode_record(each), True) for each in (RECORDS[6], late)])
    result = run("--root", root, "--json")  # while the service has it
    assert result.stdout.encode() == encode_record(RECORDS[6]) + encode_record(late)
    assert "only the spool is read" in result.stderr
    both = run("--root", root, "--config", device, "--json")
    assert [json.loads(each)["seq"] for each in both.stdout.splitlines()] == [0, 0, 1, 2]
    assert both.stderr == ""
    spool.close()


def test_damage_is_counted_on_standard_error_and_in_the_exit_code(tmp_path: Path, device: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"v":1', b'"v:1', 1) + b"torn\n")
    result = run("--config", device, code=1)
    assert result.stderr == "2 lines are damaged and left out\n"
    assert len(result.stdout.splitlines()) == 3
    log.write_bytes(b"torn\n" + b"".join(map(encode_record, RECORDS[3:])))
    assert run("--config", device, code=1).stderr == "1 line is damaged and left out\n"
    later = run("--config", device, "--since", "2026-10-28T12:30", code=0)
    assert later.stderr == "", "damage of another time is not this answer's"


@pytest.mark.parametrize("depth", [900, 5_000, 100_000])
def test_a_line_that_is_nested_too_deeply_is_damaged_like_any_other(
    tmp_path: Path, device: Path, depth: int
) -> None:
    nested = b"[" * depth + b"]" * depth
    line = encode_record(RECORDS[3]).replace(b'"n":2', b'"n":' + nested)
    assert nested in line
    (tmp_path / "log.jsonl").write_bytes(line + b"".join(map(encode_record, RECORDS[3:])))
    for form in ((), ("--csv",), ("--json",)):
        result = run("--config", device, "--kind", "all", *form, code=1)
        assert result.stderr == "1 line is damaged and left out\n"
        assert len(result.stdout.splitlines()) == len(RECORDS) + (form == ("--csv",))


def test_times_are_those_of_the_devices_zone(device: Path) -> None:
    device.write_text(device.read_text() + '[device]\ntimezone = "Europe/Berlin"\n')
    lines = run("--config", device, "--since", "2026-10-28 14:00").stdout.splitlines()
    assert lines == ["2026-10-28 14:00:00+01:00  hall         event  smoke, score 0.91"]
    assert len(run("--config", device, "--since", "2026-10-28T13:00Z", "--json").stdout.splitlines()) == 1
    rows = list(csv.DictReader(io.StringIO(run("--config", device, "--csv").stdout)))
    assert rows[0]["time"] == "2026-10-28 13:00:00+01:00"


def test_what_a_record_holds_moves_no_terminal(tmp_path: Path, device: Path) -> None:
    fault = "\x1b[2J\u202egnp.exe\nx"
    record = StateRecord(
        stream="door",
        subject="source",
        state="alarmed",
        index=1,
        ns=3,
        detail={"fault": fault},
        wall_ns=NOON_NS,
    )
    (tmp_path / "log.jsonl").write_bytes(encode_record(record))
    table = run("--config", device, "--kind", "state").stdout.splitlines()[-1]
    data = run("--config", device, "--kind", "state", "--json").stdout.splitlines()[-1]
    for text in (table, data):
        assert not {"\x1b", "\u202e"} & set(text)
    assert json.loads(data)["detail"]["fault"] == fault


FORMULAS = ["=1+1", "+1", "-2+3", "@SUM(1)", " =1+1", "\uff1d1+1", "a;=1+1", "a; -1", '=cmd|" /C calc"!A0']


@pytest.mark.parametrize("label", FORMULAS)
def test_no_cell_of_csv_is_a_formula(tmp_path: Path, device: Path, label: str) -> None:
    (tmp_path / "log.jsonl.1").unlink()
    picture = attachment(event(0, NOON_NS), label)
    records = (event(0, NOON_NS, label), picture, StateRecord(
        stream="", subject=label, state=label, index=1, ns=-3, detail={"fault": label, "n": [1, -2]},
        wall_ns=NOON_NS, clock_synced=True,
    ))  # fmt: skip
    (tmp_path / "log.jsonl").write_bytes(b"".join(map(encode_record, records)))
    text = run("--config", device, "--csv", "--kind", "all").stdout
    found = list(csv.DictReader(io.StringIO(text)))
    assert len(found) == 3
    for row in found:
        for name, cell in row.items():
            for part in cell.split(";") if name != "end_ns" and name != "start_ns" else ():
                assert not part.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), cell
    assert found[0]["label"].replace("'", "", 1) == label
    assert found[2]["start_ns"] == "-3", "a number stays one"
    assert json.loads(found[2]["detail"])["n"] == [1, -2]
    shown = run("--config", device, "--json").stdout.splitlines()
    assert json.loads(shown[0])["label"] == label, "JSON has it as it is"


def test_a_row_of_csv_is_one_line_that_moves_no_terminal(tmp_path: Path, device: Path) -> None:
    (tmp_path / "log.jsonl.1").unlink()
    nasty = 'a\x1b[2J\x07\x9b2J\u202egpj\r\n"b",c\u2028\x7f'
    records = (
        event(0, NOON_NS, nasty),
        attachment(event(0, NOON_NS), nasty),
        StateRecord(
            stream="", subject=nasty, state=nasty, index=1, ns=3, detail={nasty: nasty},
            wall_ns=NOON_NS, clock_synced=True,
        ),
    )  # fmt: skip
    (tmp_path / "log.jsonl").write_bytes(b"".join(map(encode_record, records)))
    text = run("--config", device, "--csv", "--kind", "all").stdout
    assert text == on_one_line(text.replace("\n", "|")).replace("|", "\n")
    assert len(text.splitlines()) == 1 + 3
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["label"] == rows[1]["attachment"] == rows[2]["subject"] == on_one_line(nasty)
    assert json.loads(rows[2]["detail"]) == {nasty: nasty}


def test_nothing_to_show_is_said_and_is_no_failure(device: Path) -> None:
    assert run("--config", device, "--since", "1s").stdout == "no such record\n"
    assert run("--config", device, "--since", "1s", "--json").stdout == ""
    assert run("--config", device, "--since", "1s", "--csv").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--root, --config or both"),
        (("--config", "{}", "--csv", "--json"), "exclude each other"),
        (("--config", "{}", "--since", "yesterday"), "'yesterday' is no time"),
        (("--config", "{}", "--until", "99999-01-01"), "is no time"),
        (("--config", "{}", "--since", "5 parsecs"), "is no time"),
        (("--config", "{}", "--kind", "alarm"), "alarm"),
    ],
)
def test_a_wrong_call_is_a_usage_error(device: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in run(*(each.format(device) for each in arguments), code=2).stderr


def test_what_cannot_be_read_is_one_line_and_exit_3(tmp_path: Path, device: Path) -> None:
    for file in tmp_path.glob("log.jsonl*"):
        file.unlink()
    assert "SOURCE_MISSING" in run("--config", device, code=3).stderr
    (tmp_path / "log.jsonl").mkdir()
    assert "is no file" in run("--config", device, code=3).stderr
    assert "SOURCE_MISSING" in run("--root", tmp_path / "nowhere", code=3).stderr


def test_secrets_need_not_be_there_to_read_the_log(
    tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = device.read_text().replace('"log.jsonl"', '"${LOGS}/log.jsonl"')
    device.write_text(text + '[mqtt]\nhost = "b"\nuser = "u"\npassword = "${SECRET}"\n')
    monkeypatch.setenv("LOGS", str(tmp_path))
    assert len(run("--config", device).stdout.splitlines()) == 3
    monkeypatch.delenv("LOGS")
    assert "LOGS" in run("--config", device, code=2).stderr


def test_a_configuration_without_a_log_is_told(tmp_path: Path) -> None:
    config = tmp_path / "galago.toml"
    config.write_text('[[stream]]\nname = "hall"\nsource = "x"\n')
    assert "has no [log]" in run("--config", config, "--root", tmp_path, code=3).stderr


@pytest.mark.parametrize("how", [(), ("--json",), ("--csv",)], ids=["table", "json", "csv"])
def test_a_stream_that_there_is_not_is_a_wrong_option_with_the_name_that_was_meant(
    device: Path, how: tuple[str, ...]
) -> None:
    result = run("--config", device, "--stream", "hal", *how, code=2)
    assert "--stream" in result.output
    assert "did you mean hall? There are door, hall" in " ".join(result.output.split())
    run("--config", device, "--stream", "hall", "--since", "1s", *how)


def test_a_label_that_no_record_is_about_is_said_and_refused_where_every_label_is_known(
    device: Path, tmp_path: Path, tiny_image_model: bytes
) -> None:
    result = run("--config", device, "--label", "smok")
    assert "did you mean smoke?" in result.output  # a bundle may have it all the same
    bundle = make_bundle(tmp_path / "small.galago", tiny_image_model, ["dark", "mid", "bright"])
    store = Store(trust(tmp_path / "store"))
    install_bundle(store, open_bundle(bundle), TrustedKeys({key_id(TEST_KEY): "test"}), accepted_here)
    result = run("--config", device, "--root", store.root, "--label", "brigt", code=2)
    assert "did you mean bright?" in " ".join(result.output.split())
    run("--config", device, "--root", store.root, "--label", "bright")  # never seen, and yet known

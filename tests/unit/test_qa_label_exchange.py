"""Labels of other programs: what each format means, what it refuses, and that a round trip keeps all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, GalagoError, InputError
from galago_workstation.qa.frame_times import FrameTimes
from galago_workstation.qa.label_exchange import FORMATS, ImportedLabels, export_labels, import_labels
from galago_workstation.qa.label_formats.subject import LabelSubject
from galago_workstation.qa.label_rows import LabelRow, rows_of
from galago_workstation.qa.replayed import Truth, TruthList

S, MS = 1_000_000_000, 1_000_000
UNEVEN = FrameTimes([0, 100 * MS, 250 * MS, 300 * MS, 1000 * MS], 1040 * MS)
"""Five frames, at no fixed rate."""
IN_FRAMES = ("cvat", "label-studio")


def read(
    folder: Path,
    kind: str,
    text: str | bytes,
    *,
    recording: str | None = None,
    frames: FrameTimes | None = None,
    column: str | None = None,
    duration_ns: int | None = None,
) -> ImportedLabels:
    path = folder / "labels"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return import_labels(
        path, kind, LabelSubject("labels", recording, frames, column), duration_ns=duration_ns
    )


def test_audacity_has_seconds_points_and_lines_of_frequencies(tmp_path: Path) -> None:
    text = "0.500000\t1.250000\tsmoke\n\\\t1000.000000\t2000.000000\n3.000001\t3.000001\tdog bark\n"
    found = read(tmp_path, "audacity", text)
    assert found.truth.events == (
        Truth(500 * MS, 1250 * MS, "smoke"),
        Truth(3_000_001_000, 3_000_001_000, "dog bark"),
    )
    assert found.left_out == {"range of frequencies": 1}


def test_a_tab_in_a_label_of_audacity_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 1: has 4 columns, expected start, end and label"):
        read(tmp_path, "audacity", "1.0\t2.0\tsmo\tke\n")


def test_what_rounding_moved_behind_the_end_is_cut_off_and_nothing_more(tmp_path: Path) -> None:
    end_ns = 1_249_999_600
    found = read(tmp_path, "audacity", "0.5\t1.250000\tsmoke\n", duration_ns=end_ns)
    assert found.truth.events == (Truth(500 * MS, end_ns, "smoke"),)
    with pytest.raises(InputError, match="line 1: smoke ends at 1250000000 ns, behind the recording's end"):
        read(tmp_path, "audacity", "0.5\t1.250000\tsmoke\n", duration_ns=end_ns - 1_000_000)


def test_raven_counts_a_selection_once_whatever_its_views(tmp_path: Path) -> None:
    text = (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tAnnotation\n"
        "1\tWaveform 1\t1\t1.0\t2.5\t0.0\t8000.0\towl\n"
        "1\tSpectrogram 1\t1\t1.0\t2.5\t0.0\t8000.0\towl\n"
        "2\tSpectrogram 1\t1\t4.0\t4.25\t0.0\t8000.0\t(ignore)\n"
    )
    found = read(tmp_path, "raven", text)
    assert found.truth == TruthList((Truth(S, 2500 * MS, "owl"),), ((4 * S, 4250 * MS),))
    assert found.left_out == {"second view of a selection": 1}


def test_raven_has_the_labels_in_the_column_that_is_named(tmp_path: Path) -> None:
    text = "Begin Time (s)\tEnd Time (s)\tCall Type\n1\t2\thoot\n"
    assert read(tmp_path, "raven", text, column="Call Type").truth.events == (Truth(S, 2 * S, "hoot"),)
    with pytest.raises(InputError, match="has no column 'annotation or label"):
        read(tmp_path, "raven", text)


def test_raven_tables_over_several_files_are_refused(tmp_path: Path) -> None:
    text = "Begin Time (s)\tEnd Time (s)\tLabel\tBegin File\n1\t2\ta\ta.wav\n3\t4\ta\tb.wav\n"
    with pytest.raises(InputError, match="is about 2 recordings"):
        read(tmp_path, "raven", text)
    with pytest.raises(InputError, match=r"line 3: is about 'b.wav', expected 'a.wav'"):
        read(tmp_path, "raven", text, recording="a.wav")


@pytest.mark.parametrize(
    "text",
    [
        "onset\toffset\tevent_label\n1.0\t2.0\tdog\n",
        "1.0\t2.0\tdog\n",
        "filename\tonset\toffset\tevent_label\na.wav\t1.0\t2.0\tdog\n",
        "a.wav\t1.0\t2.0\tdog\n",
        "event_label\tonset\toffset\ndog\t1.0\t2.0\n",
    ],
    ids=["names", "no names", "file", "file, no names", "other order"],
)
def test_sed_tables_are_read_in_each_of_their_forms(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "sed", text).truth.events == (Truth(S, 2 * S, "dog"),)


def test_a_sed_table_of_many_recordings_gives_those_of_ours(tmp_path: Path) -> None:
    text = "filename\tonset\toffset\tevent_label\nx/a.wav\t1\t2\tdog\nb.wav\t1\t2\tcat\nc.wav\t\t\t\n"
    found = read(tmp_path, "sed", text, recording="a.wav")
    assert found.truth.events == (Truth(S, 2 * S, "dog"),)
    assert found.left_out == {"event of another recording": 1}
    with pytest.raises(InputError, match="is about 3 recordings, expected one"):
        read(tmp_path, "sed", text)
    with pytest.raises(InputError, match=r"and other recordings, expected 'd.wav'"):
        read(tmp_path, "sed", text, recording="d.wav")
    assert read(tmp_path, "sed", text, recording="c.wav").truth.events == ()


def task(*regions: dict[str, Any], **data: str) -> str:
    return json.dumps([{"id": 7, "data": data, "annotations": [{"result": list(regions)}]}])


def test_label_studio_has_sound_in_seconds(tmp_path: Path) -> None:
    region = {"type": "labels", "value": {"start": 0.1, "end": 1.5, "labels": ["dog"], "channel": 0}}
    other = {"type": "choices", "value": {"choices": ["loud"]}}
    found = read(tmp_path, "label-studio", task(region, other, audio="/data/upload/1/0a1b2c3d-a.wav"))
    assert found.truth.events == (Truth(100 * MS, 1500 * MS, "dog"),)
    assert found.left_out == {"region of the type 'choices'": 1}


def test_label_studio_counts_frames_from_1_and_includes_the_last(tmp_path: Path) -> None:
    region = {
        "type": "timelinelabels",
        "value": {"ranges": [{"start": 1, "end": 2}, {"start": 5, "end": 5}], "timelinelabels": ["car"]},
    }
    found = read(tmp_path, "label-studio", task(region), frames=UNEVEN)
    assert found.truth.events == (Truth(0, 250 * MS, "car"), Truth(1000 * MS, 1040 * MS, "car"))
    region["value"] = {"ranges": [{"start": 0, "end": 2}], "timelinelabels": ["car"]}
    with pytest.raises(
        InputError, match="frames 0 to 2, but the recording has frames 1 to 5, counted from 1"
    ):
        read(tmp_path, "label-studio", task(region), frames=UNEVEN)


def test_label_studio_boxes_are_there_between_their_key_frames(tmp_path: Path) -> None:
    sequence = [{"frame": 2, "enabled": True}, {"frame": 3, "enabled": False}, {"frame": 5, "enabled": True}]
    region = {"type": "videorectangle", "value": {"sequence": sequence, "labels": ["car"], "framesCount": 5}}
    found = read(tmp_path, "label-studio", task(region), frames=UNEVEN)
    assert found.truth.events == (Truth(100 * MS, 300 * MS, "car"), Truth(1000 * MS, 1040 * MS, "car"))


def test_label_studio_takes_the_task_of_the_recording_and_one_annotation_of_it(tmp_path: Path) -> None:
    def one(audio: str, label: str) -> dict[str, Any]:
        region = {"type": "labels", "value": {"start": 1, "end": 2, "labels": [label]}}
        skipped = {"result": [], "was_cancelled": True}
        return {"data": {"audio": audio}, "annotations": [skipped, {"result": [region]}], "predictions": [{}]}

    text = json.dumps([one("s3://x/a.wav", "dog"), one("s3://x/b.wav", "cat")])
    found = read(tmp_path, "label-studio", text, recording="b.wav")
    assert found.truth.events == (Truth(S, 2 * S, "cat"),)
    assert found.left_out == {"task of another recording": 1, "prediction": 1}
    with pytest.raises(InputError, match="has 2 tasks, 0 of them about the recording; expected one"):
        read(tmp_path, "label-studio", text)
    doubled = [one("a.wav", "dog") | {"annotations": [{"result": []}, {"result": []}]}]
    with pytest.raises(InputError, match="task 1: has 2 annotations, expected one"):
        read(tmp_path, "label-studio", json.dumps(doubled))


TRACKS = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><start_frame>0</start_frame><frame_filter></frame_filter></task></meta>
<track id="0" label="car">
 <box frame="0" outside="0" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"><attribute name="a"/></box>
 <box frame="2" outside="1" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"></box>
 <box frame="4" outside="0" keyframe="1" xtl="1" ytl="1" xbr="2" ybr="2"></box>
</track></annotations>
"""


def test_cvat_counts_frames_from_0_and_a_track_ends_where_it_is_outside(tmp_path: Path) -> None:
    found = read(tmp_path, "cvat", TRACKS, frames=UNEVEN)
    assert found.truth.events == (Truth(0, 250 * MS, "car"), Truth(1000 * MS, 1040 * MS, "car"))


def test_cvat_images_that_are_neighbours_are_one_stretch(tmp_path: Path) -> None:
    images = "".join(
        f'<image id="{number}" name="f"><box label="car"/><tag label="rain"/></image>' for number in (3, 1, 2)
    )
    found = read(tmp_path, "cvat", f"<annotations>{images}</annotations>", frames=UNEVEN)
    assert found.truth.events == (Truth(100 * MS, 1000 * MS, "car"), Truth(100 * MS, 1000 * MS, "rain"))


@pytest.mark.parametrize("setting", ["<frame_filter>step=5</frame_filter>", "<start_frame>9</start_frame>"])
def test_cvat_tasks_that_leave_frames_out_are_refused(tmp_path: Path, setting: str) -> None:
    text = f"<annotations><meta><task>{setting}</task></meta></annotations>"
    with pytest.raises(InputError, match=r"line 1: its task has .* expected all frames"):
        read(tmp_path, "cvat", text, frames=UNEVEN)


@pytest.mark.parametrize(("kind", "text"), [("cvat", TRACKS), ("label-studio", None)])
def test_frames_without_a_time_table_are_refused(tmp_path: Path, kind: str, text: str | None) -> None:
    region = {
        "type": "timelinelabels",
        "value": {"ranges": [{"start": 1, "end": 2}], "timelinelabels": ["x"]},
    }
    with pytest.raises(InputError, match="expected times or a recording with a time table"):
        read(tmp_path, kind, text or task(region))


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>
<annotations>&b;&c;</annotations>
"""


def test_xml_with_a_document_type_is_refused_before_any_entity(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: has a document type or an entity, expected plain XML"):
        read(tmp_path, "cvat", BOMB, frames=UNEVEN)


REFUSED = [
    ("audacity", "1.0 2.0 a\n", "line 1: has 1 column,"),
    ("audacity", "1,5\t2\ta\n", "'1,5' is no number of seconds"),
    ("audacity", "\\\t1\t2\n", "frequencies stand before"),
    ("audacity", "nan\tinf\ta\n", "'nan' is no number"),
    ("raven", "", "has no column 'begin time"),
    ("raven", "Begin Time (s)\tEnd Time (s)\tLabel\n1\t2\n", "line 2: has no"),
    ("sed", "dog barks\n", "expected the columns onset"),
    ("sed", "1\t2\ta\n3\t4\n", "line 2: has 2 columns"),
    ("sed", "2\t1\ta\n", "line 1: a ends at 1000000000 ns, before"),
    ("label-studio", "{}", "is no JSON export"),
    ("label-studio", "[", "is no JSON export"),
    ("label-studio", "[]", "has 0 tasks"),
    ("label-studio", "[" * 9999, "nested too deeply"),
    ("cvat", "<x/>", "line 1: begins with <x>"),
    ("cvat", "<annotations>", "is no XML"),
    ("cvat", "", "is no XML"),
    ("cvat", "<annotations>" + "<a>" * 99, "nested more than"),
    ("cvat", '<annotations><track label="a"><box/>', "no frame"),
    ("cvat", '<annotations><track id="1"/>', "<track> has no label"),
    ("cvat", '<?xml version="1.0" encoding="rot13"?><annotations/>', "is no XML"),
]


@pytest.mark.parametrize(("kind", "text", "told"), REFUSED)
def test_a_damaged_file_is_one_line(tmp_path: Path, kind: str, text: str, told: str) -> None:
    with pytest.raises(InputError) as failure:
        read(tmp_path, kind, text, frames=UNEVEN)
    assert told in str(failure.value), str(failure.value)


def test_an_unknown_format_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="no format is called 'audacty'") as failure:
        read(tmp_path, "audacty", "")
    assert "did you mean audacity?" in failure.value.hint


def test_frame_numbers_cannot_be_written_without_a_time_table(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="this format has frame numbers"):
        export_labels([], tmp_path / "x", "cvat", LabelSubject("x"))


def test_an_export_writes_nothing_over_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("mine")
    with pytest.raises(CallerError, match="exists"):
        export_labels([], path, "sed", LabelSubject("x"))
    assert path.read_text() == "mine"


WORDS = st.sampled_from(["dog", "smoke alarm", "<&\"'>", "grün", "a\\b"])


@st.composite
def timed_truth(draw: st.DrawFn) -> TruthList:
    events = []
    for label in draw(st.sets(WORDS, max_size=3)):
        marks = sorted(draw(st.sets(st.integers(0, 10**14), max_size=6)))
        events += [Truth(start, end, label) for start, end in zip(marks[::2], marks[1::2], strict=False)]
    marks = sorted(draw(st.sets(st.integers(0, 10**14), max_size=4)))
    events.sort(key=lambda event: (event.start_ns, event.end_ns, event.label))
    return TruthList(tuple(events), tuple(zip(marks[::2], marks[1::2], strict=False)))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "cvat"])
@given(truth=timed_truth())
@settings(max_examples=50)
def test_what_is_written_in_seconds_is_read_again_to_the_nanosecond(
    tmp_path_factory: pytest.TempPathFactory, kind: str, truth: TruthList
) -> None:
    path = tmp_path_factory.mktemp("round") / "labels"
    export_labels(rows_of(truth), path, kind, LabelSubject("x", "a.wav"))
    if kind != "raven" or truth.events or truth.ignored:
        assert import_labels(path, kind, LabelSubject("x", "a.wav")).truth == truth


@pytest.mark.parametrize("kind", IN_FRAMES)
@given(cuts=st.sets(st.integers(0, 5), max_size=6), labels=st.sets(WORDS, min_size=1, max_size=2))
@settings(max_examples=50)
def test_what_is_written_in_frames_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cuts: set[int], labels: set[str]
) -> None:
    edges = [*UNEVEN.starts_ns, UNEVEN.end_ns]
    marks = sorted(cuts)
    truth = TruthList(
        tuple(
            Truth(edges[first], edges[last], label)
            for first, last in zip(marks[::2], marks[1::2], strict=False)
            for label in sorted(labels)
        )
    )
    path = tmp_path_factory.mktemp("round") / "labels"
    subject = LabelSubject("x", "a.mkv", UNEVEN)
    export_labels(rows_of(truth), path, kind, subject)
    assert import_labels(path, kind, subject).truth == truth


FRAGMENTS = [
    *("1.0", "\t", "\n", "dog", "-1", "1e999", "onset\toffset\tevent_label", "Begin Time (s)", "\\"),
    *("<annotations>", "<track label='a'>", "</track>", "<box frame='1'/>", "&a;", "<!DOCTYPE a>"),
    *("<?xml version='1.0' encoding='utf-16'?>", '[{"data":', "{}", "]"),
]
PIECES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=10).map(
    lambda pieces: "".join(pieces).encode(errors="replace")
)


@pytest.mark.parametrize("kind", FORMATS)
@given(data=st.binary(max_size=60) | PIECES)
@settings(max_examples=200)
def test_no_bytes_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"bytes-{kind}"
    path.write_bytes(data)
    try:
        import_labels(path, kind, LabelSubject("x", None, UNEVEN))
    except GalagoError as error:
        assert "\n" not in str(error)


PROPOSALS = (
    LabelRow("", 100 * MS, 300 * MS, "smoke", proposed=True, score=0.834),
    LabelRow("", 500 * MS, 900 * MS, "door"),
)
"""One proposed, one confirmed."""


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "label-studio"])
def test_a_proposal_is_no_label_until_a_person_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "labels"
    subject = LabelSubject("labels", "a.wav", UNEVEN if kind in IN_FRAMES else None)
    export_labels(PROPOSALS, path, kind, subject)
    with pytest.raises(InputError, match=r"smoke at .* is a proposal that nobody has confirmed, one of 1"):
        import_labels(path, kind, subject)
    found = import_labels(path, kind, subject, confirmed=True)
    assert [event.label for event in found.truth.events] == ["smoke", "door"]


@pytest.mark.parametrize("kind", ["audacity", "raven", "sed"])
def test_a_person_confirms_one_by_taking_the_mark_off_its_text(tmp_path: Path, kind: str) -> None:
    path, subject = tmp_path / "labels", LabelSubject("labels", "a.wav")
    export_labels(PROPOSALS, path, kind, subject)
    assert "smoke (proposed 0.83)" in path.read_text()
    path.write_text(path.read_text().replace(" (proposed 0.83)", ""))
    assert [event.label for event in import_labels(path, kind, subject).truth.events] == ["smoke", "door"]


def test_cvat_calls_the_source_of_a_proposal_auto_and_what_a_person_changed_otherwise(tmp_path: Path) -> None:
    path, subject = tmp_path / "labels", LabelSubject("labels", None, UNEVEN)
    export_labels(PROPOSALS, path, "cvat", subject)
    text = path.read_text()
    assert '<tag label="smoke" source="auto">' in text and '<tag label="door" source="manual">' in text
    path.write_text(text.replace('source="auto"', 'source="semi-auto"'))
    assert len(import_labels(path, "cvat", subject).truth.events) == 2


@pytest.mark.parametrize("frames", [None, UNEVEN])
def test_label_studio_gets_predictions_which_are_never_taken_over(
    tmp_path: Path, frames: FrameTimes | None
) -> None:
    path, subject = tmp_path / "labels", LabelSubject("labels", "a.wav", frames)
    export_labels(PROPOSALS[:1], path, "label-studio", subject)
    (task,) = json.loads(path.read_text())
    assert "annotations" not in task
    (region,) = task["predictions"][0]["result"]
    assert region["score"] == 0.834 and region["id"]
    for confirmed in (False, True):  # a person confirms by submitting: then it is an annotation
        found = import_labels(path, "label-studio", subject, confirmed=confirmed)
        assert found.truth.events == () and found.left_out == {"prediction": 1}
    submitted = task | {"annotations": task.pop("predictions")}
    path.write_text(json.dumps([submitted]))
    assert [event.label for event in import_labels(path, "label-studio", subject).truth.events] == ["smoke"]


def test_what_is_written_is_in_the_form_that_the_readers_of_others_take(tmp_path: Path) -> None:
    """sed_eval reads three columns without names, DCASE's four with them; Datumaro asks for the labels."""
    path, there = tmp_path / "labels", [LabelRow("", 500 * MS, 900 * MS, "door & <gate>")]
    export_labels(there, path, "sed", LabelSubject("labels"))
    assert path.read_text() == "0.500\t0.900\tdoor & <gate>\n"
    export_labels(there, path, "sed", LabelSubject("labels", "a.wav"), replace=True)
    assert path.read_text().splitlines()[0] == "filename\tonset\toffset\tevent_label"
    export_labels(there, path, "cvat", LabelSubject("labels", None, UNEVEN), replace=True)
    assert "<meta>" in path.read_text() and "<name>door &amp; &lt;gate&gt;</name>" in path.read_text()

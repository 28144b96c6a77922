"""A corpus says what it holds and leaves out, and refuses in one line what would be judged wrongly."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, GalagoError, InputError, LinkError, Reason
from galago_edge.contract.manifest import AudioPreprocess, ImagePreprocess
from galago_edge.contract.modality import Modality
from galago_edge.sources.recording_digest import recording_sha256
from galago_edge.sources.recordings import open_source
from galago_workstation.qa.content_hashes import ContentHashes
from galago_workstation.qa.corpus import Corpus, corpus_of, is_corpus, read_corpus
from galago_workstation.qa.corpus_manifest import ListedRecording, read_corpus_manifest
from test_kit.corpora import write_night


def pictures(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), 40 * number, np.uint8))
    return folder


def names(corpus: Corpus) -> list[str]:
    return [one.name for one in corpus.recordings]


def refused(path: Path, kind: type[GalagoError], reason: Reason) -> str:
    with pytest.raises(kind) as caught:
        read_corpus(path)
    assert caught.value.reason == reason and caught.value.hint
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sounds and a folder of pictures."""
    top = tmp_path / "corpus"
    write_night(top / "porch" / "b.wav", 500)
    write_night(top / "barn" / "a.wav", 400)
    pictures(top / "door")
    return top


def test_a_folder_gives_its_recordings_by_name_whatever_the_disk_says_first(folder: Path) -> None:
    corpus = read_corpus(folder)
    assert names(corpus) == ["barn/a.wav", "door", "porch/b.wav"]
    assert corpus.notes == ()
    for one in corpus.recordings:
        assert one.path == folder / one.name
        assert one.sha256 == recording_sha256(one.path)
        assert (one.labels, dict(one.tags), one.started_ns) == (None, {}, None)


def test_what_a_folder_holds_beside_recordings_is_left_out_and_told(folder: Path) -> None:
    (folder / ".cache").mkdir()
    write_night(folder / ".cache" / "hidden.wav")
    (folder / "notes.txt").write_text("nothing")
    (folder / "stray.png").write_bytes(b"\x89PNG")
    (folder / "porch" / "x.raw").write_bytes(b"\1\0\2\0")
    (folder / "barn" / "gone.wav.labels.tsv").write_text("")
    (folder / "list.toml").write_text("")
    corpus = read_corpus(folder)
    assert names(corpus) == ["barn/a.wav", "door", "porch/b.wav"]
    assert corpus.notes == (
        "hidden, left out: 1 (.cache)",
        "no recordings, left out: 2 (notes.txt, stray.png)",
        "raw samples, whose rate only a list of recordings can say, left out: 1 (porch/x.raw)",
        "labels without a recording, left out: 1 (barn/gone.wav.labels.tsv)",
    )


def kept_result(folder: Path) -> Path:
    """What a replay leaves, as far as names and marks go."""
    digest = "5a" * 32
    (folder / "5a" / digest).mkdir(parents=True)
    (folder / "5a" / digest / "job.json").write_text("{}")
    write_night(folder / "5a" / digest / "logits.i8")  # whatever a result holds
    (folder / "recordings.json").write_text('{\n  "schema": "galago.recordings/1",\n  "recordings": {}\n}\n')
    return folder


def test_what_galago_has_written_among_recordings_is_none_and_is_told(folder: Path) -> None:
    kept_result(folder / "galago-results")
    kept_result(folder / "runs" / "one" / "results")
    (folder / "runs" / "one" / "run.json").write_text('{"schema": "galago.replays/1"}')
    page = folder / "barn" / "page"
    write_night(page / "media" / "event-1.wav")
    pictures(page / "more")
    (page / "galago-page.json").write_text('{"schema":"galago.page/1","media":[]}')
    kept_result(folder / "door" / "results")  # beside pictures, which are one recording all the same
    corpus = read_corpus(folder)
    assert names(corpus) == ["barn/a.wav", "door", "porch/b.wav"]
    assert corpus.notes == (
        "written by Galago, left out: 4 (barn/page, door/results, galago-results and 1 more)",
    )


def test_results_that_lie_strewn_among_recordings_are_left_out_and_the_recordings_are_not(
    folder: Path,
) -> None:
    kept_result(folder / "barn")
    (folder / "porch" / "01").mkdir()  # a day, and no shelf
    write_night(folder / "porch" / "01" / "c.wav", 600)
    (folder / "porch" / "run.json").write_text("{}")
    corpus = read_corpus(folder)
    assert names(corpus) == ["barn/a.wav", "door", "porch/01/c.wav", "porch/b.wav"]
    assert corpus.notes == (
        "no recordings, left out: 1 (porch/run.json)",
        "written by Galago, left out: 1 (barn)",
    )


@pytest.mark.parametrize("results", ["", "barn", "door"], ids=["the corpus", "a part", "a recording"])
def test_results_among_recordings_are_refused_and_nothing_is_written(folder: Path, results: str) -> None:
    before = sorted(folder.rglob("*"))
    (folder / "list.csv").write_text("path\nbarn/a.wav\ndoor\n")
    calls = [
        lambda hashes: read_corpus(folder, hashes=hashes),
        lambda hashes: read_corpus(folder / "list.csv", hashes=hashes),
        lambda hashes: corpus_of([str(folder / "barn" / "a.wav"), str(folder / "door")], hashes=hashes),
    ]
    for call in calls:
        with pytest.raises(CallerError, match="results would lie among recordings") as caught:
            call(ContentHashes(folder / results))
        assert caught.value.reason == Reason.USAGE and "--results" in caught.value.hint
    (folder / "list.csv").unlink()
    assert sorted(folder.rglob("*")) == before


def test_results_beside_the_recordings_of_a_corpus_are_taken(folder: Path) -> None:
    for place in (folder / "results", folder.parent):
        assert len(names(read_corpus(folder, hashes=ContentHashes(place)))) == 3


def test_a_link_to_a_folder_above_leads_nowhere(folder: Path) -> None:
    (folder / "barn" / "up").symlink_to(folder)
    corpus = read_corpus(folder)
    assert names(corpus) == ["barn/a.wav", "door", "porch/b.wav"]
    assert corpus.notes == ("no recordings, left out: 1 (barn/up)",)


def test_many_left_out_are_counted_and_three_named(folder: Path) -> None:
    for number in range(5):
        (folder / f"n{number}.txt").write_text("")
    assert read_corpus(folder).notes == ("no recordings, left out: 5 (n0.txt, n1.txt, n2.txt and 2 more)",)


def test_a_recording_is_known_by_its_first_bytes_where_its_name_says_nothing(tmp_path: Path) -> None:
    write_night(tmp_path / "night")
    assert names(read_corpus(tmp_path)) == ["night"]


def test_labels_lie_beside_a_recording_under_its_whole_name(folder: Path) -> None:
    beside = folder / "barn" / "a.wav.labels.tsv"
    beside.write_text("")
    of_pictures = folder / "door.labels.tsv"
    of_pictures.write_text("")
    corpus = read_corpus(folder)
    assert [one.labels for one in corpus.recordings] == [beside, of_pictures, None]
    assert corpus.notes == ()


def test_a_folder_of_pictures_is_a_recording_and_a_folder_of_recordings_is_a_corpus(folder: Path) -> None:
    assert is_corpus(folder) and not is_corpus(folder / "door")
    assert not is_corpus(folder / "barn" / "a.wav") and not is_corpus(folder / "nothing.toml")
    assert names(read_corpus(folder / "door")) == ["door"]


def test_an_empty_corpus_is_refused_and_says_what_it_met(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    text = refused(tmp_path, InputError, Reason.DATA_BAD)
    assert text == f"{tmp_path} holds no recordings; 1 (notes.txt) there are none"
    (tmp_path / "list.toml").write_text("")
    assert "holds no recordings" in refused(tmp_path / "list.toml", InputError, Reason.DATA_BAD)


def test_the_same_content_twice_is_refused_because_it_would_count_twice(folder: Path) -> None:
    (folder / "copy.wav").write_bytes((folder / "barn" / "a.wav").read_bytes())
    text = refused(folder, InputError, Reason.DATA_BAD)
    assert "copy.wav and barn/a.wav hold the same recording" in text


def test_two_empty_files_are_said_to_be_empty(folder: Path) -> None:
    for name in ("x.wav", "y.wav"):
        (folder / name).write_bytes(b"")
    text = refused(folder, InputError, Reason.DATA_BAD)
    assert text == f"{folder}: y.wav and x.wav are empty, of 0 bytes, expected recordings"


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "gone", LinkError, Reason.SOURCE_MISSING)
    write_night(tmp_path / "a.wav")
    assert "is no corpus" in refused(tmp_path / "a.wav", CallerError, Reason.CONFIG_BAD)


TOML = """
[[recording]]
path = "porch/b.wav"
start_time = 2026-05-01T22:00:00+02:00
tags = { site = "porch", night = "1" }

[[recording]]
path = "barn/a.wav"
sha256 = "%s"
labels = "truth.tsv"

[[recording]]
path = "door?fps=5"
"""


def test_a_list_in_toml_gives_what_it_says_in_its_order(folder: Path) -> None:
    (folder / "truth.tsv").write_text("")
    path = folder / "list.toml"
    path.write_text(TOML % recording_sha256(folder / "barn" / "a.wav"))
    porch, barn, door = read_corpus(path).recordings
    assert (porch.name, dict(porch.tags)) == ("porch/b.wav", {"site": "porch", "night": "1"})
    assert porch.started_ns == 1_777_665_600_000_000_000  # date -u -d 2026-05-01T20:00:00 +%s
    assert (barn.name, barn.labels) == ("barn/a.wav", folder / "truth.tsv")
    assert (door.name, door.query, door.address) == ("door", "fps=5", f"{folder / 'door'}?fps=5")


def test_labels_that_are_said_to_be_of_two_recordings_are_refused(folder: Path) -> None:
    (folder / "truth.tsv").write_text("")
    (folder / "list.csv").write_text("path,labels\nporch/b.wav,truth.tsv\nbarn/a.wav,barn/../truth.tsv\n")
    with pytest.raises(InputError, match=r"porch/b.wav and barn/a.wav have the same labels") as caught:
        read_corpus(folder / "list.csv")
    assert caught.value.reason is Reason.DATA_BAD


def test_a_list_in_csv_says_the_same(folder: Path) -> None:
    (folder / "truth.tsv").write_text("")
    sha256 = recording_sha256(folder / "barn" / "a.wav")
    (folder / "list.toml").write_text(TOML % sha256)
    (folder / "list.csv").write_text(
        "path,start_time,tags.site,tags.night,sha256,labels\n"
        "porch/b.wav,2026-05-01T22:00:00+02:00,porch,1,,\n"
        f"barn/a.wav,,,,{sha256},truth.tsv\n"
        "door?fps=5,,,,,\n"
    )
    assert read_corpus(folder / "list.csv").recordings == read_corpus(folder / "list.toml").recordings


@pytest.mark.parametrize(
    ("name", "content", "kind", "reason", "said"),
    [
        ("x.toml", '[[recording]]\npth = "a"\n', CallerError, Reason.CONFIG_BAD, "did you mean path"),
        ("x.toml", '[[recordings]]\npath = "a"\n', CallerError, Reason.CONFIG_BAD, "did you mean recording"),
        ("x.toml", "[[recording]]\n", CallerError, Reason.CONFIG_BAD, "path"),
        ("x.toml", "[[[", CallerError, Reason.CONFIG_BAD, "x.toml"),
        ("x.toml", '[[recording]]\npath = "a"\nsha256 = "12"\n', CallerError, Reason.CONFIG_BAD, "SHA-256"),
        ("x.csv", "pth\na.wav\n", CallerError, Reason.CONFIG_BAD, "no column is called path"),
        ("x.csv", "path,lables\na.wav,b\n", CallerError, Reason.CONFIG_BAD, "did you mean labels"),
        ("x.csv", "path,site\na.wav,b\n", CallerError, Reason.CONFIG_BAD, "tags.NAME"),
        ("x.csv", "path,path\na.wav,b\n", CallerError, Reason.CONFIG_BAD, "2 columns path"),
        ("x.csv", "path,labels\na.wav\n", CallerError, Reason.CONFIG_BAD, "line 2: met 1 field, expected 2"),
        ("x.csv", "path\n\xff\n", InputError, Reason.DATA_BAD, "no CSV in UTF-8"),
        ("x.csv", "", CallerError, Reason.CONFIG_BAD, "no column is called path"),
        ("x.csv", "path,start_time\na,2026-05-01T22:00:00\n", CallerError, Reason.CONFIG_BAD, "no zone"),
        (
            "x.csv",
            "path,start_time\na,May\n",
            CallerError,
            Reason.CONFIG_BAD,
            "start_time 'May' is no moment",
        ),
        ("x.csv", "path\ngone.wav\n", LinkError, Reason.SOURCE_MISSING, "gone.wav does not exist"),
        (
            "x.csv",
            "path,sha256\na,12\n",
            CallerError,
            Reason.CONFIG_BAD,
            "expected the 64 hexadecimal digits",
        ),
        ("x.csv", "path\na.wav\na.wav\n", CallerError, Reason.CONFIG_BAD, "a.wav is listed more than once"),
        ("x.csv", "path,labels\na.wav,b.tsv\n", LinkError, Reason.SOURCE_MISSING, "b.tsv, do not exist"),
        ("x.csv", f"path,sha256\na.wav,{'0' * 64}\n", InputError, Reason.DATA_BAD, "a.wav was changed"),
        ("x.csv", "path,start_time\na.wav,1950-05-01T22:00:00Z\n", CallerError, Reason.CONFIG_BAD, "1970"),
    ],
)
def test_a_bad_list_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str, kind: type[GalagoError], reason: Reason, said: str
) -> None:
    write_night(tmp_path / "a.wav")
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    text = refused(tmp_path / name, kind, reason)
    assert said in text and "\n" not in text


LINES = "[[recording]]\npath = 'a.wav'\n\n[[ recording ]]  # the next\npath = '{}'\n"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('start_time = "May"', "start_time 'May' is no moment, expected 2026-05-01T22:00:00+02:00"),
        ("start_time = 2026-05-01", "start_time '2026-05-01' is no moment, expected 2026-"),
        ("start_time = 2026-05-01T22:00:00", "start_time 2026-05-01T22:00:00 has no zone, expected 2026-"),
        ('sha256 = "12"', "sha256: expected the 64 hexadecimal digits of a SHA-256"),
        ("tags = { site = 1 }", "[tags] site: expected a text"),
        ('tag = "x"', "it has no table or setting 'tag'; did you mean tags?"),
    ],
)
def test_a_key_of_a_listed_recording_that_cannot_be_is_told_with_its_line(
    tmp_path: Path, key: str, said: str
) -> None:
    (tmp_path / "x.toml").write_text(f"[[recording]]\npath = 'a'\n\n[[recording]]\npath = 'b'\n{key}\n")
    text = refused(tmp_path / "x.toml", CallerError, Reason.CONFIG_BAD)
    assert text.startswith(f"{tmp_path / 'x.toml'}, line 4: {said}")


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("x.toml", LINES, "line 4"),
        ("x.toml", "recording = [{{ path = 'a.wav' }}, {{ path = '{}' }}]\n", "recording 2"),
        ("x.csv", 'path,tags.site\n\na.wav,"a\nb"\n{},c\n', "line 5"),
    ],
)
def test_what_is_wrong_with_a_listed_recording_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, place: str
) -> None:
    write_night(tmp_path / "a.wav")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    for other in ("x.mcap.sha256", "notes.txt"):
        (tmp_path / other).write_text(f"{'0' * 64}  x.mcap\n")
    for listed, said in (
        ("x.mcap.sha256", "x.mcap.sha256 is the hash of a recording, expected the recording"),
        ("notes.txt", f"{tmp_path / 'notes.txt'} is no kind of source"),
        ("gone.wav", "the recording gone.wav does not exist"),
        ("copy.wav", "copy.wav and a.wav hold the same recording"),
        ("a.wav", "a.wav is listed more than once"),
    ):
        (tmp_path / name).write_text(content.format(listed))
        with pytest.raises(GalagoError) as caught:
            read_corpus(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}, {place}: {said}") and caught.value.hint


def test_a_list_may_name_recordings_elsewhere_and_says_so(tmp_path: Path) -> None:
    write_night(tmp_path / "elsewhere" / "a.wav")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "x.csv").write_text("path\n../elsewhere/a.wav\n")
    corpus = read_corpus(lists / "x.csv")
    assert names(corpus) == ["../elsewhere/a.wav"]
    assert corpus.notes == ("outside the folder of x.csv: 1 (../elsewhere/a.wav)",)


def test_recordings_named_one_by_one_are_called_by_what_differs(folder: Path) -> None:
    a, b = folder / "barn" / "a.wav", folder / "porch" / "b.wav"
    assert names(corpus_of([str(b), str(a), f"{folder / 'door'}?fps=3"])) == [
        "porch/b.wav",
        "barn/a.wav",
        "door",
    ]
    assert names(corpus_of([os.path.relpath(a)])) == ["a.wav"]
    with pytest.raises(CallerError, match="listed more than once"):
        corpus_of([str(a), str(a)])
    with pytest.raises(CallerError, match="is a corpus"):
        corpus_of([str(a), str(folder)])
    with pytest.raises(CallerError, match="is no file"):
        corpus_of([str(a), "camera:0"])


def test_recordings_of_the_other_modality_are_left_out_and_told(folder: Path) -> None:
    corpus = read_corpus(folder)
    heard = corpus.of_modality("microphone")
    assert names(heard) == ["barn/a.wav", "porch/b.wav"]
    assert heard.notes == ("not of a microphone, left out: 1 (door)",)
    assert names(corpus.of_modality("camera")) == ["door"]
    with pytest.raises(InputError, match="none of 1 recording is of a microphone"):
        read_corpus(folder / "door").of_modality("microphone")


CUT_OFF = {
    "a.mcap": b"\x89MCAP0\r\n",
    "b.mcap": b"\x89MCA",
    "c.mp4": b"\0\0\0\x20ftypisom" + bytes(20),
    "d.avi": b"RIFF",
    "e.mkv": b"\x1aE\xdf\xa3" + bytes(16),
}


@pytest.mark.parametrize("modality", ["camera", "microphone"])
def test_what_nobody_can_read_is_of_no_other_modality_and_stays(tmp_path: Path, modality: Modality) -> None:
    for name, content in CUT_OFF.items():
        (tmp_path / name).write_bytes(content)
    corpus = read_corpus(tmp_path).of_modality(modality)
    assert (names(corpus), corpus.notes) == (list(CUT_OFF), ())
    spec = ImagePreprocess(width=16, height=16) if modality == "camera" else AudioPreprocess()
    for one in corpus.recordings:
        with pytest.raises(InputError) as caught:
            list(open_source(one.address, spec))
        wanted = "RECORDING_UNREADABLE" if one.name.endswith(".mcap") else "VIDEO_UNREADABLE"
        assert (caught.value.reason, one.path.name in str(caught.value)) == (wanted, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'path,tags.who\na.wav,x\n"b.wav,y\nc.wav,z\n', "line 3: no CSV in UTF-8: the row that begins here"),
        (b"path,tags.who\na.wav,x\nb.wav,J\xfcrgen\n", "line 3: no CSV in UTF-8: byte 0xfc is no UTF-8"),
        (
            b"path\na.wav\n" + b"x" * 200_000 + b"\n",
            "line 3: no CSV in UTF-8: the row that begins here: field",
        ),
    ],
    ids=["an open quote", "Latin-1", "a huge field"],
)
def test_what_is_no_csv_is_told_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"list\.csv, line 3") as caught:
        read_corpus_manifest(tmp_path / "list.csv")
    assert said in str(caught.value) and len(str(caught.value)) < 300


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.lists(st.tuples(FIELD.filter(bool), FIELD, st.just("") | DIGEST)))
def test_whatever_stands_in_a_csv_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "tags.site", "sha256"])
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert tuple(row.said for row in read_corpus_manifest(path)) == tuple(
        ListedRecording(path=name, tags={"site": site} if site else {}, sha256=sha256 or None)
        for name, site, sha256 in rows
    )


@given(st.binary(max_size=200), st.sampled_from([".csv", ".toml"]))
def test_any_bytes_are_a_list_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
    path.write_bytes(content)
    try:
        read_corpus_manifest(path)
    except GalagoError as error:
        assert error.hint and "\n" not in str(error)

"""``galago qa golden``: recorded, verified on the same machine, and what is different is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from galago_edge.commands.cli import main
from galago_edge.decision import Activation, Decider
from galago_edge.pipeline.failover import FailoverEngine
from galago_edge.preprocess import LogMelFrontend
from galago_workstation.qa import replay_runner
from galago_workstation.qa.golden_file import GoldenFile, encode_golden, read_golden
from galago_workstation.qa.replay_work import ReplayOrder, ReplayOutcome, fulfil
from test_kit import make_bundle
from test_kit.corpora import camera_bundle, microphone_bundle, policy_labels, write_night

STEP = 3


def galago(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    assert not result.exception or isinstance(result.exception, SystemExit)
    return result


def answer(*arguments: object, code: int = 0) -> Any:
    return json.loads(galago(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_audio_model: bytes) -> Path:
    return microphone_bundle(tmp_path_factory.mktemp("mic") / "mic.galago", tiny_audio_model)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone from 1 s to 2 s, and silence."""
    top = tmp_path_factory.mktemp("corpus") / "nights"
    write_night(top / "a.wav", 300, seconds=4)
    write_night(top / "b.wav", 0)
    return top


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, corpus: Path, bundle: Path) -> Path:
    path = tmp_path_factory.mktemp("golden") / "mic.golden.json"
    galago("qa", "golden", "record", corpus, "--bundle", bundle, "--out", path, "--by", "ann", "--jobs", 1)
    return path


@pytest.fixture
def golden(recorded: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copy(recorded, tmp_path / "mic.golden.json")


def verify(golden: Path, corpus: Path, bundle: Path, *more: object, code: int = 0) -> Any:
    return answer("qa", "golden", "verify", golden, corpus, "--bundle", bundle, "--jobs", 1, *more, code=code)


def edited(path: Path, **changes: Any) -> GoldenFile:
    """Write the golden with something else in it."""
    found = msgspec.structs.replace(read_golden(path), **changes)
    path.write_bytes(encode_golden(found))
    return found


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str, Callable[[Any], Any]], None]:
    """Let replays run in this process, and let a part of it answer otherwise."""

    def here(orders: Sequence[ReplayOrder], jobs: int) -> Iterator[ReplayOutcome]:
        yield from map(fulfil, orders)

    def tamper(part: type, method: str, change: Callable[[Any], Any]) -> None:
        right = getattr(part, method)
        monkeypatch.setattr(replay_runner, "replay_here", here)
        monkeypatch.setattr(part, method, lambda self, *args: change(right(self, *args)))

    return tamper


def test_the_same_machine_gives_the_same_to_the_byte(golden: Path, corpus: Path, bundle: Path) -> None:
    before = golden.read_bytes()
    found = verify(golden, corpus, bundle)
    assert (found["tier"], found["verdict"], found["exit"]) == ("T0", "pass", 0)
    assert [(one["recording"], one["first"]) for one in found["recordings"]] == [
        ("a.wav", None),
        ("b.wav", None),
    ]
    assert golden.read_bytes() == before


def test_two_recordings_of_a_golden_differ_in_their_history_alone(
    golden: Path, corpus: Path, bundle: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.json"
    galago("qa", "golden", "record", corpus, "--bundle", bundle, "--out", again, "--jobs", 2)
    one, other = (msgspec.structs.replace(read_golden(path), history=()) for path in (golden, again))
    assert one == other


def test_a_camera_has_a_golden_too(tmp_path: Path, tiny_image_model: bytes) -> None:
    eyes = camera_bundle(tmp_path / "eyes.galago", tiny_image_model)
    for number in range(8):
        path = tmp_path / "corpus" / "door" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((48, 64, 3), 30 * number, np.uint8))
    corpus = tmp_path / "list.toml"
    corpus.write_text('[[recording]]\npath = "corpus/door?fps=4"\n')
    golden = tmp_path / "eyes.golden.json"
    galago("qa", "golden", "record", corpus, "--bundle", eyes, "--out", golden, "--jobs", 1)
    assert verify(golden, corpus, eyes)["verdict"] == "pass"
    cv2.imwrite(str(tmp_path / "corpus" / "door" / "5.png"), np.full((48, 64, 3), 151, np.uint8))
    result = galago("qa", "golden", "verify", golden, corpus, "--bundle", eyes, code=1)
    assert "changed: corpus/door" in result.stderr


def test_a_damaged_recording_has_a_golden_that_holds_how_it_ended(tmp_path: Path, bundle: Path) -> None:
    path = write_night(tmp_path / "corpus" / "cut.wav", 300)
    path.write_bytes(path.read_bytes()[:60_000])
    golden = tmp_path / "cut.golden.json"
    galago("qa", "golden", "record", tmp_path / "corpus", "--bundle", bundle, "--out", golden, "--jobs", 1)
    assert read_golden(golden).recordings[0].failure == "AUDIO_TRUNCATED"
    assert verify(golden, tmp_path / "corpus", bundle)["verdict"] == "pass"


@pytest.mark.parametrize(
    ("part", "method", "change", "stage"),
    [
        (LogMelFrontend, "push", lambda frames: np.bitwise_xor(frames, 1), "tensors"),
        (FailoverEngine, "logits", lambda codes: codes - np.int8(1), "logits"),
        (Activation, "scores", lambda scores: scores // 2, "scores"),
        (Decider, "smoothed", lambda scores: scores + 1, "smoothed"),
        (Decider, "step", lambda _: [], "events"),
    ],
)
def test_a_stage_that_was_tampered_with_is_the_first_that_is_named(
    part: type,
    method: str,
    change: Callable[[Any], Any],
    stage: str,
    golden: Path,
    corpus: Path,
    bundle: Path,
    tampered: Callable[[type, str, Callable[[Any], Any]], None],
) -> None:
    tampered(part, method, change)
    found = verify(golden, corpus, bundle, code=1)
    first = found["recordings"][0]["first"]
    assert (found["tier"], first["stage"]) == ("T0", stage)
    assert first["expected"] != first["found"]


def test_one_output_that_moved_is_told_with_its_moment_and_allowed_on_another_processor(
    golden: Path,
    corpus: Path,
    bundle: Path,
    tmp_path: Path,
    tampered: Callable[[type, str, Callable[[Any], Any]], None],
) -> None:
    calls = iter(range(1_000_000))

    def moved(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        codes[1] += STEP * (next(calls) == 40)  # two calls a window: the stream's and the hashes'
        return codes

    tampered(FailoverEngine, "logits", moved)
    junit = tmp_path / "golden.xml"
    result = galago("qa", "golden", "verify", golden, corpus, "--bundle", bundle, "--junit", junit, code=1)
    told = next(line for line in result.stdout.splitlines() if line.startswith("a.wav: differs"))
    assert told.startswith("a.wav: differs first in logits, 0:00:01.000 to ") and ", window 20: " in told
    assert "differs: 2 recordings, 1 equal to the byte, 1 not as T0 asks for" in result.stdout
    (suite,) = ElementTree.parse(junit).getroot().iter("testsuite")
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "1")

    environment = read_golden(golden).environment
    edited(golden, environment=msgspec.structs.replace(environment, cpu="another"))
    calls = iter(range(1_000_000))
    found = verify(golden, corpus, bundle)
    assert (found["tier"], found["verdict"]) == ("T1", "pass")
    assert found["reasons"][0].startswith("processor: another -> ")
    assert found["recordings"][0]["outputs"] == {"compared": 228, "most_steps": STEP, "beyond": 1}


def test_other_decoders_are_compared_by_events(golden: Path, corpus: Path, bundle: Path) -> None:
    environment = read_golden(golden).environment
    computing = msgspec.structs.replace(environment.computing, decoders={"av": "1"})
    edited(golden, environment=msgspec.structs.replace(environment, computing=computing))
    assert verify(golden, corpus, bundle)["tier"] == "T2"


def test_one_changed_threshold_is_another_bundle_and_differs_in_its_events_when_asked(
    golden: Path, corpus: Path, tmp_path: Path, tiny_audio_model: bytes
) -> None:
    quiet, low, high = policy_labels("quiet", "low", "high")
    deaf = msgspec.structs.replace(low, policy=msgspec.structs.replace(low.policy, on=1.0))
    other = make_bundle(tmp_path / "o.galago", tiny_audio_model, [quiet, deaf, high], modality="microphone")
    assert verify(golden, corpus, other, code=7)["verdict"] == "inconclusive"
    found = verify(golden, corpus, other, "--tier", "T0", code=1)
    first = found["recordings"][0]["first"]
    assert (found["tier_asked"], first["stage"], first["found"]) == (True, "events", "no event")
    assert first["expected"].startswith("low ")
    assert found["recordings"][1]["first"] is None


def test_one_changed_recording_is_refused_and_nothing_is_replayed(
    golden: Path, corpus: Path, bundle: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(corpus, tmp_path / "other")
    write_night(other / "b.wav", 900)
    result = galago("qa", "golden", "verify", golden, other, "--bundle", bundle, code=1)
    assert result.stderr.splitlines()[0].endswith("changed: b.wav [SOURCE_MISMATCH]")
    assert "windows" not in result.stderr


def test_recording_again_needs_a_reason_and_keeps_all_reasons(
    golden: Path, corpus: Path, bundle: Path, tmp_path: Path
) -> None:
    first = read_golden(golden)
    again = ("qa", "golden", "rerecord", golden, corpus, "--bundle", bundle, "--jobs", 1)
    galago(*again, code=2)
    galago(*again, "--why", "  ", code=2)
    result = galago(*again, "--why", "to be sure")
    assert "nothing is different, and it stays as it is" in result.stdout
    assert read_golden(golden) == first
    more = shutil.copytree(corpus, tmp_path / "more")
    write_night(more / "c.wav", 900)
    galago(*again[:4], more, *again[5:], "--why", "a third night", "--by", "bob")
    second = read_golden(golden)
    assert second.history[0] == first.history[0]
    told = second.history[1]
    assert (told.by, told.why) == ("bob", "a third night")
    assert told.what == "2 of 2 recordings equal to the byte, new: c.wav"
    assert verify(golden, more, bundle)["verdict"] == "pass"


def test_nothing_is_written_over_and_bad_calls_are_one_line(
    golden: Path, corpus: Path, bundle: Path, tmp_path: Path
) -> None:
    before = golden.read_bytes()
    record = ("qa", "golden", "record", corpus, "--bundle", bundle)
    assert "[EXISTS]" in galago(*record, "--out", golden, code=2).stderr
    assert "[SOURCE_MISSING]" in galago(*record, "--out", tmp_path / "no" / "g.json", code=3).stderr
    twice = shutil.copytree(corpus, tmp_path / "twice")
    shutil.copy(twice / "a.wav", twice / "z.wav")
    again = ("qa", "golden", "rerecord", golden, twice, "--bundle", bundle, "--why", "more")
    assert "hold the same recording" in galago(*again, code=1).stderr
    check = ("qa", "golden", "verify", golden, corpus, "--bundle", bundle)
    assert "[EXISTS]" in galago(*check, "--keep", corpus, code=2).stderr
    assert golden.read_bytes() == before
    golden.write_bytes(before.replace(b"galago.golden/1", b"galago.golden/9"))
    for call in (check, (*again[:4], corpus, *again[5:])):
        assert "is a golden of version 9" in galago(*call, code=1).stderr
    assert golden.read_bytes() == before.replace(b"galago.golden/1", b"galago.golden/9")


def test_kept_results_hold_every_stage_and_are_never_taken_again(
    golden: Path, corpus: Path, bundle: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    verify(golden, corpus, bundle, "--keep", kept)
    jobs = [json.loads(path.read_text()) for path in kept.rglob("job.json")]
    wanted = [one.stages for one in read_golden(golden).recordings]
    assert all({key: job["stages"][key] for key in wanted[0]} in wanted for job in jobs) and len(jobs) == 2
    galago("qa", "golden", "verify", golden, corpus, "--bundle", bundle, "--keep", kept, code=2)

"""What cut_recordings.py does to recordings, and how each mutant is judged."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from click.testing import CliRunner

from campaigns.recording_subjects import (
    KEY_EVERY,
    NO_SAMPLE,
    SOURCE,
    Given,
    Message,
    Subject,
    messages_of,
    read,
)
from galago_edge.bundle import open_bundle
from galago_edge.commands.cli import main as galago
from galago_edge.contract.errors import GalagoError, Reason
from galago_workstation.qa.corpus import read_corpus

UNREADABLE = {str(Reason.RECORDING_UNREADABLE), str(Reason.SOURCE_MISMATCH)}
"""Why a mutant may be refused, and then only if no chunk of it is whole."""
DAMAGED = {
    "jpeg": {str(Reason.VIDEO_TRUNCATED), str(Reason.VIDEO_UNREADABLE)},
    "h264": {str(Reason.VIDEO_TRUNCATED), str(Reason.VIDEO_UNREADABLE)},
    "sound": {str(Reason.AUDIO_TRUNCATED), str(Reason.AUDIO_UNREADABLE)},
}
"""How a replay of one ends that does not give everything."""
_MAGIC_BYTES, _HEAD_BYTES, _CHUNK, _DATA_END = 8, 9, 0x06, 0x0F
_RECORDS = {
    0x01: "header", 0x05: "message", 0x06: "chunk", 0x07: "index of a chunk", 0x0C: "metadata",
    0x0F: "end of the data", 0x02: "footer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the file ends at ``place``, or the byte there is XORed with ``flip``."""

    how: Literal["cut", "flip"]
    place: int
    flip: int = 0
    asked: bool = False
    """Whether the model is asked about it, too."""

    def applied(self, data: bytes) -> bytes:
        """Return the file as it is then."""
        if self.how == "cut":
            return data[: self.place]
        return data[: self.place] + bytes((data[self.place] ^ self.flip,)) + data[self.place + 1 :]


@dataclass
class Verdict:
    """What became of mutants: of one, or of many."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By what was done, and what came of it."""
    unnoticed: Counter[str] = field(default_factory=Counter)
    """Flips of which ``info`` and replay see nothing, by what they are in."""
    violations: list[str] = field(default_factory=list)
    valid: list[tuple[int, int]] = field(default_factory=list)
    """Of cuts: place, and nanoseconds that the rest says were watched."""

    def add(self, other: Verdict) -> None:
        """Take in what another process found."""
        self.counts += other.counts
        self.unnoticed += other.unnoticed
        self.violations += other.violations
        self.valid += other.valid


def record_places(data: bytes) -> list[tuple[int, int, int]]:
    """Return place, end and kind of each record of a whole file, those within chunks not."""
    at, found = _MAGIC_BYTES, []
    while at + _HEAD_BYTES <= len(data) - _MAGIC_BYTES:
        end = at + _HEAD_BYTES + struct.unpack_from("<Q", data, at + 1)[0]
        found.append((at, end, data[at]))
        at = end
    return found


def boundaries(data: bytes) -> list[int]:
    """Return the ends of all records, those within chunks, too: each is a place to cut at."""
    found = {0, _MAGIC_BYTES}
    for at, end, kind in record_places(data):
        found |= {at, end}
        if (
            kind == _CHUNK
        ):  # times, size and checksum, then name and size of what is in it: our chunks are plain
            inner = at + _HEAD_BYTES + 28 + 4 + 8
            while inner + _HEAD_BYTES <= end:
                found.add(inner)
                inner += _HEAD_BYTES + struct.unpack_from("<Q", data, inner + 1)[0]
    return sorted(found - {len(data)})


def mutants(data: bytes, cuts: int, flips: int, rng: random.Random, every: int = 1) -> Iterator[Mutant]:
    """Yield cuts at every (or each ``every``-th) boundary, then at random places, then flips of bytes."""
    for number, place in enumerate(boundaries(data)[::every]):
        yield Mutant("cut", place, asked=number % 10 == 0)
    for number in range(cuts):
        yield Mutant("cut", rng.randrange(len(data)), asked=number % 10 == 0)
    for number in range(flips):
        yield Mutant("flip", rng.randrange(len(data)), rng.randrange(1, 256), asked=number % 10 == 0)


def head_flips(data: bytes, flips: int, rng: random.Random) -> list[Mutant]:
    """Return flips of single bits in kinds and lengths of records: no checksum of a chunk protects these.

    Each bit is taken once at most.
    """
    bits = [
        Mutant("flip", at + byte, 1 << bit)
        for at, _, _ in record_places(data)
        for byte in range(_HEAD_BYTES)
        for bit in range(8)
    ]
    return rng.sample(bits, min(flips, len(bits)))


class Judge:
    """Knows one recording, and judges its mutants; ends with ``close``."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._folder = Path(tempfile.mkdtemp(prefix="galago-cut-"))
        self._path = self._folder / "mutant.mcap"
        self._records = record_places(subject.data)
        self._data_end = next(end for _, end, kind in self._records if kind == _DATA_END)
        self._bundle = open_bundle(subject.bundle)
        self._in_chunk = self._messages_by_chunk()
        self._path.write_bytes(subject.data)
        self._full_ns = _watched_ns(json.loads(_invoke("check", self._path).stdout))

    def close(self) -> None:
        """Remove what lies on the disk."""
        shutil.rmtree(self._folder)

    def judge(self, mutant: Mutant) -> Verdict:
        """Give a mutant to everything that reads recordings."""
        verdict = Verdict()
        found = _Findings(f"{self._subject.kind}: {mutant}", verdict)
        data = mutant.applied(self._subject.data)
        try:
            self._path.write_bytes(data)
            self._look(mutant, found)
        except GalagoError as error:
            found.wrong(f"ended in {error}")
        except Exception as error:  # noqa: BLE001 - the very thing that is looked for
            found.wrong(f"ended in {error!r}")
        finally:
            for path in self._folder.iterdir():
                path.unlink()
        return verdict

    def _look(self, mutant: Mutant, found: _Findings) -> None:
        messages = messages_of(self._path)
        must = [
            message
            for (at, end), inside in self._in_chunk.items()
            if not (mutant.place < end if mutant.how == "cut" else at <= mutant.place < end)
            for message in inside
        ]
        found.expect(_is_part(messages, self._subject.messages), "a message is read that nobody wrote")
        found.expect(_is_part(must, messages), "messages of whole chunks are not read")
        lost = len(messages) < len(self._subject.messages)
        found.count(mutant.how, "nothing lost" if not lost else "some lost" if messages else "nothing left")
        info = self._command("info", found, {0} if messages else {1})
        if info and not info["faults"]:
            found.expect(not lost, "info says nothing of what is lost")
            found.verdict.unnoticed[self._region(mutant.place)] += 1
        self._checked(mutant, found)
        self._recovered(messages, lost or (mutant.how == "cut" and mutant.place < self._data_end), found)
        self._replayed(mutant, lost, found)
        if messages:
            found.expect(len(read_corpus(self._folder).recordings) == 1, "a corpus does not hold it")

    def _checked(self, mutant: Mutant, found: _Findings) -> None:
        """Without the .sha256 beside it ``check`` must notice every change."""
        report = self._command("check", found, {1})
        if not report:
            return
        found.expect(bool(report["faults"]), "check notices nothing")
        watched_ns = _watched_ns(report)
        found.expect(watched_ns <= self._full_ns, "it says that more was watched than in the whole recording")
        if mutant.how == "cut":
            found.verdict.valid.append((mutant.place, watched_ns))

    def _recovered(self, messages: list[Message], lossy: bool, found: _Findings) -> None:
        items = [message for message in messages if not message[0].startswith(("/out/", "/drops/"))]
        target = self._folder / "recovered" / "new.mcap"
        target.parent.mkdir()
        try:
            report = self._command("recover", found, {0, 1} if items else {1}, target)
            if not report:
                found.expect(not target.exists(), "recover leaves a file of nothing")
                return
            told = ("missing", "damaged_bytes", "ended_early", "about_lost")
            found.expect(not lossy or any(report[key] for key in told), "recover says that all is there")
            copied = [message for message in messages_of(target) if not _is_told_damage(message)]
            due = self._decodable(messages)
            same = [(topic, ns, data) for topic, _, ns, data in copied] == [
                (topic, ns, data) for topic, _, ns, data in due
            ]
            found.expect(same, "the copy holds other messages than were read")
            left_out = len(messages) - len(due)
            found.expect(report["missing"] >= left_out, "pictures are left out that nobody counts")
            checked = _invoke("check", target)
            found.expect(checked.exit_code == 0, f"check does not accept the copy: {checked.stdout[-200:]}")
        finally:
            shutil.rmtree(target.parent)

    def _decodable(self, messages: list[Message]) -> list[Message]:
        """Return what a copy must hold: no pictures that lean on a key frame which is not there."""
        if self._subject.kind != "h264":
            return messages
        pictures = [message for message in self._subject.messages if message[0].startswith("/cam/")]
        keys = set(pictures[::KEY_EVERY])
        first = next((number for number, message in enumerate(messages) if message in keys), len(messages))
        return [
            message
            for number, message in enumerate(messages)
            if number >= first or not message[0].startswith("/cam/")
        ]

    def _replayed(self, mutant: Mutant, lost: bool, found: _Findings) -> None:
        kind, whole = self._subject.kind, self._subject.given
        try:
            given = read(self._path, kind, self._bundle if mutant.asked else None)
        except GalagoError as error:
            found.count(mutant.how, f"replay: {error.reason}")
            found.expect(str(error.reason) in UNREADABLE, f"replay refuses it with {error.reason}")
            return
        found.count(mutant.how, f"replay: {given.error or 'as the whole'}")
        found.expect(not given.error or given.error in DAMAGED[kind], f"replay ends with {given.error}")
        self._nothing_invented(mutant, given, found)
        if given.count < whole.count:
            found.expect(bool(given.error), "replay is silent about what is not there")
        elif not lost:
            found.expect(given.gaps >= whole.gaps, "a gap is not told any more")

    def _nothing_invented(self, mutant: Mutant, given: Given, found: _Findings) -> None:
        whole = self._subject.given
        invented = [index for index, frame in given.frames.items() if whole.frames.get(index) != frame]
        found.expect(not invented, f"frames {invented[:3]} are none that were recorded")
        there = given.samples != NO_SAMPLE
        found.expect(bool((given.samples[there] == whole.samples[there]).all()), "samples are invented")
        if mutant.asked:
            found.count(mutant.how, "the model was asked")
            spans = given.logits.keys() & whole.logits.keys()
            same = all(given.logits[span] == whole.logits[span] for span in spans)
            found.expect(same, "the model says something else to the same frames or samples")
            new = given.logits.keys() - whole.logits.keys()
            # behind a hole in sound windows begin anew, between those of the whole recording
            found.expect(not new or (self._subject.kind == "sound" and mutant.how == "flip"), "new windows")

    def _messages_by_chunk(self) -> dict[tuple[int, int], list[Message]]:
        """Return the messages of each chunk: the file is cut behind each, and what came to it is that."""
        found: dict[tuple[int, int], list[Message]] = {}
        before = 0
        for at, end, kind in self._records:
            if kind == _CHUNK:
                self._path.write_bytes(self._subject.data[:end])
                messages = messages_of(self._path)
                found[at, end] = messages[before:]
                before = len(messages)
        assert before == len(self._subject.messages)
        return found

    def _region(self, place: int) -> str:
        for at, end, kind in self._records:
            if at <= place < end:
                name = _RECORDS.get(kind, "summary")
                return f"{name}: times" if kind == _CHUNK and 9 <= place - at < 25 else name
        return "magic bytes"

    def _command(self, name: str, found: _Findings, codes: set[int], *more: Path) -> dict[str, Any]:
        """Return what a command says of the mutant; empty when it refuses it, which it may do in one line."""
        done = _invoke(name, self._path, *more)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            found.wrong(f"{name} ends in {done.exception!r}")
            return {}
        found.expect(done.exit_code in codes, f"{name} ends with {done.exit_code}, not one of {codes}")
        said: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        if "error" in said or not said:
            reason = said.get("error", {}).get("reason", "")
            found.expect(reason in UNREADABLE, f"{name} refuses it with {reason or done.stderr}")
            return {}
        return said


class _Findings:
    """Where a judgement is written down."""

    def __init__(self, what: str, verdict: Verdict) -> None:
        self._what, self.verdict = what, verdict

    def wrong(self, why: str) -> None:
        self.verdict.violations.append(f"{self._what}: {why}")

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong(otherwise)

    def count(self, how: str, what: str) -> None:
        self.verdict.counts[how, what] += 1


def shrinks(valid: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a file that is cut earlier never says that more was watched."""
    ordered = [watched_ns for _, watched_ns in sorted(valid)]
    return all(before <= after for before, after in itertools.pairwise(ordered))


def _invoke(name: str, *paths: Path) -> Any:
    return CliRunner().invoke(galago, ["recording", name, *map(str, paths), "--json"])


def _watched_ns(report: dict[str, Any]) -> int:
    """Return how much of the recording was watched, by what ``check --json`` says."""
    source = report["sources"].get(SOURCE)
    if source is None or source["from_ns"] is None:
        return 0
    return int(source["to_ns"] - source["from_ns"] - source["gap_ns"])


def _is_part(found: Sequence[Message], written: Sequence[Message]) -> bool:
    """Tell whether messages are some of those that were written, in their order."""
    rest = iter(written)
    return all(message in rest for message in found)


def _is_told_damage(message: Message) -> bool:
    """Tell whether a message of a copy is what ``recover`` says of the original."""
    if not message[0].startswith("/gaps/"):
        return False
    mark = json.loads(message[3])
    return "lost_items" in mark or mark.get("cause", mark.get("state")) in ("unreadable", "truncated")

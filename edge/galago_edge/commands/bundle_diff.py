"""``galago bundle diff``: what a new bundle does otherwise than an old one."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, opened_bundle

if TYPE_CHECKING:
    from galago_edge.bundle import Bundle
    from galago_edge.bundle.comparison import Difference, ManifestDifference

_SUCCESSION = {
    "the same bundle": "the same bundle",
    "newer": "newer: a device that has OLD takes it",
    "older": "OLDER: a device that has OLD refuses it [DOWNGRADE]",
    "same counter": "ANOTHER BUNDLE WITH THE SAME COUNTER: a device that has OLD refuses it [REPLAY]",
    "another name": "another name: a device keeps both",
}
_ENTRY = re.compile(
    r"(?:labels|golden|files)\.(?P<name>.+)\.(?P<key>(?:policy|expected)\.\w+|place|label|role|size|sha256)"
)
"""Where the values of a label, sample or file stand in the flat manifest."""
_SHORT = 72
_DIGITS = 16  # of a hash or key id


@click.command()
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Show every difference between the bundles OLD and NEW.

    Labels added, removed and moved to another output of the model, thresholds, preprocessing, tensors,
    operators, sizes, accuracy and everything else that is signed. Every byte of both is checked on the
    way.

    \b
    Example:
      galago bundle diff alarms-1.3.0.galago alarms-1.4.0.galago
    """
    from galago_edge.bundle.comparison import compare_bundles, objections
    from galago_edge.store.admission import COUNTER_JUMP

    before, after = opened_bundle(old, ()), opened_bundle(new, ())
    difference, refused = compare_bundles(before, after), objections(before, after, COUNTER_JUMP)
    if as_json:
        data = _data(before, after, difference)
        data["refused"] = [{"reason": why.reason, "message": why.text} for why in refused]
        say_data(data)
        return
    say(f"{before} -> {after}")
    say(f"id          {before.id[:_DIGITS]}… -> {after.id[:_DIGITS]}…")
    counters = " -> ".join(str(side.manifest.bundle.release_counter) for side in (before, after))
    said = _SUCCESSION[difference.succession]
    if difference.succession == "newer" and refused:
        said = "newer: a device that has OLD takes it, but for what stands under refused"
    say(f"counter     {counters}, {said}")
    by_counter = ("DOWNGRADE", "REPLAY")  # said already
    told = [f"{why.text} [{why.reason}]" for why in refused if why.reason not in by_counter]
    for title, lines in (("refused", told), *_sections(difference).items()):
        for number, line in enumerate(lines):
            say(f"{title if number == 0 else '':<12}{line}")
    if difference.is_empty:
        say("nothing differs")


def _sections(difference: Difference) -> dict[str, list[str]]:
    from galago_edge.bundle.comparison import SECTIONS

    sections = {section: list(_lines(difference.of(section))) for section in SECTIONS}
    sections["labels"] = [*_labels(difference), *_other_label_changes(difference)]
    if difference.old_bytes != difference.new_bytes:
        told = f"{difference.new_bytes - difference.old_bytes:+} bytes"
        total = f"{difference.old_bytes} -> {difference.new_bytes} bytes together ({told})"
        sections["files"] = [total, *sections["files"]]
    return {section: lines for section, lines in sections.items() if lines}


def _labels(difference: Difference) -> Iterator[str]:
    old = {change.what: change.old for change in difference.of("labels")}
    new = {change.what: change.new for change in difference.of("labels")}
    yield from (f"+ {_label(name, new)}" for name in difference.added)
    yield from (f"- {_label(name, old)}" for name in difference.removed)
    for moved in difference.moved:
        yield f"MOVED {moved.name}: output {moved.old_index} -> {moved.new_index}"


def _label(name: str, values: Mapping[str, Any]) -> str:
    background = ", background" if values[f"labels.{name}.background"] else ""
    return f"{name}: output {values[f'labels.{name}.index']}{background}"


def _other_label_changes(difference: Difference) -> Iterator[str]:
    """Yield what else changed of labels that both have, such as becoming the background."""
    gone = {*difference.added, *difference.removed}
    for change in difference.of("labels"):
        name, _, key = change.what.removeprefix("labels.").rpartition(".")
        if name not in gone and key != "index":
            yield _line(change)


def _lines(changes: Sequence[ManifestDifference]) -> Iterator[str]:
    """Yield a line for every change, and one for all the values of what only one of the two has."""
    for (name, _), group in itertools.groupby(changes, _only_in_one):
        same = list(group)
        if name is None:
            yield from map(_line, same)
            continue
        sign = "+" if same[0].old is None else "-"
        values = (change.new if sign == "+" else change.old for change in same)
        told = (f"{_key(change)} {_value(value)}" for change, value in zip(same, values, strict=True))
        yield f"{sign} {name}: {', '.join(told)}"


def _only_in_one(change: ManifestDifference) -> tuple[str | None, bool]:
    """Return which label, file or sample only one of the two has, and whether that is the new one."""
    match = _ENTRY.fullmatch(change.what)
    one_sided = (change.old is None) != (change.new is None)
    return (match["name"] if match and one_sided else None, change.old is None)


def _key(change: ManifestDifference) -> str:
    match = _ENTRY.fullmatch(change.what)
    return match["key"].rpartition(".")[2] if match else change.what


def _line(change: ManifestDifference) -> str:
    what = change.what.removeprefix("labels.").replace(".policy.", ": ")
    if change.section not in ("labels", "thresholds", "metrics", "data", "other"):  # its name is its section
        what = what.partition(".")[2] or what
    if change.section == "signatures":
        return f"{'+' if change.new else '-'} {_value(what)}"
    if change.old is None:
        return f"+ {what}: {_value(change.new)}"
    if change.new is None:
        return f"- {what}: {_value(change.old)}"
    points, old, new = "", _value(change.old), _value(change.new)
    if old == new:  # as short as this they look the same
        old, new = (json.dumps(value, ensure_ascii=False) for value in (change.old, change.new))
    if change.section == "metrics" and isinstance(change.new, float):
        points = f" ({100 * (change.new - change.old):+.2f} points)"
    return f"{what}: {old} -> {new}{points}"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:_DIGITS]}…"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _data(before: Bundle, after: Bundle, difference: Difference) -> dict[str, Any]:
    from galago_edge.bundle.comparison import SECTIONS

    def side(bundle: Bundle, size: int) -> dict[str, Any]:
        info = bundle.manifest.bundle
        return {
            "id": bundle.id,
            "name": info.name,
            "version": info.version,
            "release_counter": info.release_counter,
            "bytes": size,
        }

    return {
        "same": difference.is_empty,
        "succession": difference.succession,
        "old": side(before, difference.old_bytes),
        "new": side(after, difference.new_bytes),
        "labels": {
            "added": list(difference.added),
            "removed": list(difference.removed),
            "moved": [
                {"name": moved.name, "old_index": moved.old_index, "new_index": moved.new_index}
                for moved in difference.moved
            ],
        },
        "changes": {
            section: [
                {"what": change.what, "old": change.old, "new": change.new}
                for change in difference.of(section)
            ]
            for section in SECTIONS
            if difference.of(section)
        },
    }

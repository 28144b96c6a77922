"""Retraining: what is taken of new samples, how they are divided, what is trained, how two runs compare."""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_workstation.data.class_folders import file_sha256
from galago_workstation.data.sample import PARTS, Part, Sample
from galago_workstation.data.sample_manifest import list_manifest, manifest_rows
from galago_workstation.progress_lines import PlainReport
from galago_workstation.retraining.new_samples import NewSample, NewSamples, find_new_samples
from galago_workstation.retraining.new_split import divide_new
from galago_workstation.retraining.retrain_plan import plan_of, write_plan
from galago_workstation.retraining.run_comparison import compared_set, comparison_lines, verdict
from galago_workstation.toml_text import toml_text
from galago_workstation.training_config import Config, read_config

CONFIG = """
[data]
kind = "images"
folder = "old"
background = ["a"]
group = '^([ab])'
[preprocess]
kind = "image"
width = 16
height = 16
[model]
kind = "resnet"
weights = "https://example.org/weights.h5"
weights_sha256 = "{sha256}"
[augment]
background_folder = "scenes"
[train]
epochs = 7
[decision.label."b c"]
on = 0.9
"""
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def picture(path: Path, seed: int, shift: int = 0) -> Path:
    """A picture of its own; with ``shift`` the same one, a little brighter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 200, (16, 16, 1)).repeat(3, axis=2)
    cv2.imwrite(str(path), (pixels + shift).astype(np.uint8))
    return path


@dataclass
class FinishedRun:
    """A run with three samples of two labels in each part, as far as retraining asks for it."""

    path: Path
    data_root: Path
    config: Config
    labels: tuple[str, ...] = ("a", "b c")
    modality: str = "camera"
    parts: dict[Part, list[Sample]] = field(default_factory=dict)
    record: Any = None

    def samples(self, part: Part) -> list[Sample]:
        return self.parts[part]


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    root = tmp_path / "data"
    parts: dict[Part, list[Sample]] = {part: [] for part in PARTS}
    for number, part in enumerate(PARTS):
        for place in range(3):
            label = place % 2
            path = picture(root / "old" / ("a", "b c")[label] / f"{part}{place}.png", 10 * number + place)
            name = path.relative_to(root).as_posix()
            parts[part].append(Sample(name, path, file_sha256(path, pictures=True), label, f"{part} group"))
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG.format(sha256="0" * 64))
    return FinishedRun(folder, root, read_config(folder / "config.toml"), parts=parts)


def found_in(run: FinishedRun, *places: Path) -> NewSamples:
    return find_new_samples(places, run, PlainReport())  # type: ignore[arg-type]


# ---- what is taken


def test_a_table_and_class_folders_are_taken_together(run: FinishedRun, tmp_path: Path) -> None:
    picture(tmp_path / "folders" / "a" / "1.png", 91), picture(tmp_path / "reviewed" / "2.png", 92)
    (tmp_path / "folders" / "notes.txt").write_text("x")
    table = tmp_path / "reviewed" / "samples.csv"
    table.write_text("path,label,group,reviewer,reviewed_utc\n2.png,b c,porch,ada,2026-11-22T11:43:00Z\n")
    found = found_in(run, tmp_path / "folders", tmp_path / "reviewed")
    assert [(one.label, one.group) for one in found.samples] == [("a", ""), ("b c", "porch")]
    assert "no samples: 1 file" in "; ".join(found.left_out())


def test_what_the_run_has_or_nearly_has_is_left_out_and_told(run: FinishedRun, tmp_path: Path) -> None:
    new = tmp_path / "new" / "a"
    picture(new / "own.png", 90), picture(new / "train.png", 0), picture(new / "test.png", 20)
    picture(new / "brighter test.png", 22, 9), picture(new / "brighter train.png", 2, 9)
    picture(new / "broken.png", 95).write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (new / "twin.png").write_bytes((new / "own.png").read_bytes())
    found = found_in(run, tmp_path / "new")
    assert sorted(one.path.name for one in found.samples) == ["brighter train.png", "own.png"]
    assert found.known == {"train": 1, "test": 1} and found.copies == 1 and len(found.failed) == 1
    assert list(found.near_held.values()) == ["old/a/test2.png"]
    told = "; ".join(found.left_out())
    assert "run's test part already: 1" in told and "nearly the same as what the run is tested" in told


def test_new_ones_that_are_nearly_the_same_are_known_to_be(run: FinishedRun, tmp_path: Path) -> None:
    picture(tmp_path / "new" / "a" / "1.png", 90), picture(tmp_path / "new" / "a" / "2.png", 90, 5)
    picture(tmp_path / "new" / "a" / "3.png", 91)
    assert found_in(run, tmp_path / "new").alike == [(1, 0)]


@pytest.mark.parametrize("seed", [0, 20, 90])
def test_one_content_under_two_labels_is_refused(run: FinishedRun, tmp_path: Path, seed: int) -> None:
    picture(tmp_path / "new" / "b c" / "1.png", seed)
    if seed == 90:
        picture(tmp_path / "new" / "a" / "2.png", seed)
    with pytest.raises(InputError) as refused:
        found_in(run, tmp_path / "new")
    assert refused.value.reason is Reason.LABELS_REPEAT


def test_nothing_new_no_place_and_a_changed_test_are_refused(run: FinishedRun, tmp_path: Path) -> None:
    picture(tmp_path / "known" / "a" / "1.png", 0)
    for place in (tmp_path / "known", tmp_path / "nowhere"):
        with pytest.raises(InputError) as refused:
            found_in(run, place)
        assert refused.value.reason is Reason.DATA_BAD
    picture(tmp_path / "new" / "a" / "1.png", 90)
    picture(run.data_root / "old" / "a" / "test0.png", 77)
    with pytest.raises(InputError, match="tested or validated with, is gone or has changed"):
        found_in(run, tmp_path / "new")


def test_labels_that_differ_in_case_alone_are_refused(run: FinishedRun, tmp_path: Path) -> None:
    picture(tmp_path / "new" / "A" / "1.png", 90)
    with pytest.raises(InputError) as refused:
        found_in(run, tmp_path / "new")
    assert refused.value.reason is Reason.LABELS_REPEAT


def test_a_devices_own_answers_are_told_to_be_no_labels_yet(run: FinishedRun, tmp_path: Path) -> None:
    picture(tmp_path / "samples" / "light" / "on%2Foff" / "1.png", 90)
    (tmp_path / "samples" / "light" / ".context").mkdir()
    found = found_in(run, tmp_path / "samples" / "light")
    assert [one.label for one in found.samples] == ["on/off"]
    assert "device's own answers" in "; ".join(found.left_out())
    with pytest.raises(InputError, match="holds folders of bundles"):
        found_in(run, tmp_path / "samples")


def test_a_name_that_is_no_utf_8_goes_the_whole_way(run: FinishedRun, tmp_path: Path) -> None:
    path = picture(tmp_path / "new" / "a" / "1.png", 90)
    path = path.rename(path.with_name(os.fsdecode(b"caf\xe9.png")))
    table = tmp_path / "new" / "samples.csv"
    table.write_text("path,label\na/caf\\xe9.png,a\n")
    (sample,) = found_in(run, table).samples
    assert sample.path == path
    plan = plan_of(run, None)  # type: ignore[arg-type]
    write_plan(plan, run, [sample], ["train"], epochs=None)  # type: ignore[arg-type]
    listing = list_manifest(read_config(plan.config).data, plan.config.parent)  # type: ignore[arg-type]
    assert sample.sha256 in {one.sha256 for one in listing.pool}


# ---- how they are divided


def new(number: int, label: str = "a", group: str = "", part: Part | None = None) -> NewSample:
    return NewSample(Path(f"{number}.png"), f"{number:064}", label, group, part)


def divided(samples: list[NewSample], alike: list[tuple[int, int]] | None = None, **more: Any) -> list[Part]:
    options: dict[str, Any] = {"known_labels": ("a", "b"), "known_groups": {}, "hold_out": 0.25}
    return divide_new(samples, alike or [], validation_share=0.15, **{**options, **more})


def test_each_label_is_held_out_by_its_share_whatever_the_order() -> None:
    samples = [new(number, "ab"[number % 2]) for number in range(40)]
    parts = divided(samples)
    for label in "ab":
        own = [part for part, sample in zip(parts, samples, strict=True) if sample.label == label]
        assert [own.count(part) for part in PARTS] == [12, 3, 5]
    backwards = divided(samples[::-1])
    assert parts == backwards[::-1]


def test_few_are_learned_from_first_then_tested_then_validated() -> None:
    assert divided([new(1)]) == ["train"]
    assert sorted(divided([new(1), new(2)])) == ["test", "train"]
    assert sorted(divided([new(1), new(2), new(3)])) == ["test", "train", "validation"]


def test_groups_and_what_looks_alike_stay_together() -> None:
    samples = [new(number, group=f"g{number % 3}") for number in range(9)] + [new(9), new(10)]
    parts = divided(samples, [(9, 0), (10, 9)])
    for number, part in enumerate(parts):
        assert part == parts[number % 3 if number < 9 else 0]
    assert set(parts) == set(PARTS)


def test_groups_of_several_labels_are_divided_among_themselves() -> None:
    nights = [new(number, "ab"[number % 2], group=f"night {number // 4}") for number in range(12)]
    parts = divided(nights)
    assert {parts[number] for number in (0, 4, 8)} == set(PARTS)
    assert all(parts[number] == parts[number // 4 * 4] for number in range(12))


def test_of_few_groups_the_largest_is_learned_from_and_the_smallest_validated_with() -> None:
    for nights in ("aaaaabbbc", "cbbbaaaaa", "bbbaaaaac"):
        parts = divided([new(number, group=night) for number, night in enumerate(nights)])
        assert dict(zip(nights, parts, strict=True)) == {"a": "train", "b": "test", "c": "validation"}
    assert divided([new(1, group="a"), new(2, group="a"), new(3, group="b")]) == ["train", "train", "test"]


def test_a_group_of_the_run_and_a_part_of_the_table_are_kept() -> None:
    samples = [
        new(1, group="old"),
        new(2, group="old"),
        new(3, part="validation"),
        new(4, part="test", group="x"),
        new(5),
    ]
    assert divided(samples, known_groups={"old": "test"}) == ["test", "test", "validation", "test", "train"]


def test_a_group_of_the_run_stays_in_its_part_though_it_looks_like_one_of_another() -> None:
    samples = [new(1, group="learned"), new(2, group="tested"), new(3)]
    parts = divided(samples, [(1, 0), (2, 1)], known_groups={"learned": "train", "tested": "test"})
    assert parts == ["train", "test", "test"]


@pytest.mark.parametrize(
    "samples", [[new(1, "z"), new(2, "z")], [new(n, "z", "one night") for n in range(9)]]
)
def test_a_label_that_the_run_lacks_needs_three_groups(samples: list[NewSample]) -> None:
    with pytest.raises(InputError, match="has no new sample for validation") as refused:
        divided(samples)
    assert refused.value.reason is Reason.CLASS_EMPTY and "three samples" in refused.value.hint
    assert sorted(divided([new(1, "z"), new(2, "z"), new(3, "z")])) == ["test", "train", "validation"]


# ---- what is trained


def test_the_table_leaves_old_samples_where_they_are_and_is_one_that_training_takes(
    run: FinishedRun, tmp_path: Path
) -> None:
    (run.data_root / "scenes").mkdir()
    fresh = [new(1, "a"), new(2, "b c", "night"), new(3, "z"), new(4, "z"), new(5, "z")]
    samples = [
        NewSample(picture(tmp_path / "new" / f"{n}.png", 90 + n), one.sha256, one.label, one.group)
        for n, one in enumerate(fresh)
    ]
    plan = plan_of(run, None)  # type: ignore[arg-type]
    assert plan.out == run.path.with_name("one-2")
    parts: list[Part] = ["train", "train", "train", "validation", "test"]
    write_plan(plan, run, samples, parts, epochs=None)  # type: ignore[arg-type]
    config = read_config(plan.config)
    listing = list_manifest(config.data, plan.config.parent)  # type: ignore[arg-type]
    assert listing.labels == ("a", "b c", "z") and len(listing.pool) == 14
    told = {
        sample.sha256: (sample.part, listing.labels[sample.label], sample.group) for sample in listing.pool
    }
    for part in PARTS:
        for sample in run.samples(part):
            assert told[sample.sha256] == (part, run.labels[sample.label], sample.group)
    assert (
        config.model.weights == "./one" and config.model.keep_logits and config.model.weights_sha256 is None
    )
    assert config.augment.background_folder == "../data/scenes"  # type: ignore[union-attr]
    assert config.data.background == ("a",) and config.train.epochs == 7
    assert config.decision.label == {"b c": {"on": 0.9}}
    before = plan.config.read_bytes(), plan.table.read_bytes()
    write_plan(plan, run, samples, parts, epochs=None)  # type: ignore[arg-type]
    assert (plan.config.read_bytes(), plan.table.read_bytes()) == before, "so a killed training goes on"


def test_logits_that_are_kept_need_no_epochs_of_their_own_unless_a_label_is_new(
    run: FinishedRun, tmp_path: Path
) -> None:
    plan = plan_of(run, tmp_path / "runs" / "two")  # type: ignore[arg-type]
    for label, head in (("a", 0), ("z", 5)):
        sample = NewSample(picture(tmp_path / "1.png", 90), "0" * 64, label)
        write_plan(plan, run, [sample], ["train"], epochs=3)  # type: ignore[arg-type]
        options = read_config(plan.config).train
        assert (options.head_epochs, options.epochs) == (head, 3)


def test_where_the_body_stays_as_it_is_the_logits_are_solved_anew(run: FinishedRun, tmp_path: Path) -> None:
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("[train]\n", "[train]\nbody_rate = 0.0\n"))
    plan = plan_of(run, tmp_path / "runs" / "two")  # type: ignore[arg-type]
    sample = NewSample(picture(tmp_path / "1.png", 90), "0" * 64, "a")
    write_plan(plan, run, [sample], ["train"], epochs=None)  # type: ignore[arg-type]
    found = read_config(plan.config)
    assert found.train.body_rate == 0 and not found.model.keep_logits
    plan.config.write_text(plan.config.read_text().replace("keep_logits = false", "keep_logits = true"))
    with pytest.raises(CallerError, match="leave nothing that could learn"):
        read_config(plan.config)


def test_nothing_that_somebody_else_made_is_written_over(run: FinishedRun, tmp_path: Path) -> None:
    for name in ("two", "two.toml", "two.csv"):
        place = tmp_path / name / "two"
        place.parent.mkdir()
        (place.parent / name).write_text("mine")
        with pytest.raises(CallerError) as refused:
            plan_of(run, place)  # type: ignore[arg-type]
        assert refused.value.reason is Reason.EXISTS and (place.parent / name).read_text() == "mine"
    with pytest.raises(CallerError, match="the run itself"):
        plan_of(run, run.path)  # type: ignore[arg-type]


def test_idx_files_hold_no_files_that_a_table_could_name(run: FinishedRun) -> None:
    config = SimpleNamespace(data=read_idx())
    with pytest.raises(GalagoError, match="idx files"):
        plan_of(SimpleNamespace(config=config, path=run.path), None)  # type: ignore[arg-type]


def read_idx() -> Any:
    from galago_workstation.training_config import IdxFiles

    return IdxFiles(images="i", labels="l", label_names=("0", "1"))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_tables_are_written_as_toml_that_says_the_same(tables: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(tables)) == tables


def test_a_table_row_has_who_said_it_and_training_does_not_ask(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label,reviewer,reviewed_utc\na.png,x,ada,2026-11-22T11:43:00Z\n")
    ((_, row),) = manifest_rows(tmp_path / "t.csv")
    assert (row.reviewer, row.reviewed_utc) == ("ada", "2026-11-22T11:43:00Z")


# ---- how two runs compare


def test_a_comparison_worked_out_by_hand() -> None:
    """Of 20 samples 2 are lost and 6 gained: of 8 that differ, 6 were won, Clopper-Pearson 0.349 to 0.968."""
    truth = ["a"] * 10 + ["b"] * 10
    old = ["a"] * 10 + ["b"] * 4 + ["a"] * 6
    given_new = ["b"] * 2 + ["a"] * 8 + ["b"] * 10
    found = compared_set("old test set", ("a", "b", "z"), truth, old, given_new)
    assert (found.all.both, found.all.only_old, found.all.only_new, found.all.neither) == (12, 2, 6, 0)
    assert (found.all.old, found.all.new, found.points) == (0.7, 0.9, pytest.approx(20))
    assert [(one.label, one.samples, one.old, one.new) for one in found.labels] == [
        ("a", 10, 1.0, 0.8),
        ("b", 10, 0.4, 1.0),
    ]
    # twice the binomial tail: (1 + 8 + 28) / 256
    assert found.chance == pytest.approx(2 * 37 / 256)
    assert found.low_points == pytest.approx(40 * (2 * 0.34914 - 1), abs=0.01)
    assert found.high_points == pytest.approx(40 * (2 * 0.96815 - 1), abs=0.01)
    lines = list(comparison_lines(found))
    assert lines[1].split() == ["accuracy", "70.00", "%", "90.00", "%", "2", "6"]
    assert len({len(line) for line in lines[:-1]}) == 1
    assert "better by 20.0 points" in lines[-1] and "may make so much (p = 0.29)" in lines[-1]


def test_a_run_that_is_worse_is_told_to_be() -> None:
    found = compared_set("old test set", ("a",), ["a"] * 30, ["a"] * 30, ["b"] * 9 + ["a"] * 21)
    assert "WORSE by 30.0 points" in verdict(found)
    assert f"seldom makes so much (p = {2 / 2**9:.2g})" in verdict(found)
    assert found.high_points < 0


def test_runs_that_answer_alike_or_trade_samples_are_neither_better_nor_worse() -> None:
    alike = compared_set("old test set", ("a",), ["a", "a"], ["a", "b"], ["a", "z"])
    assert verdict(alike) == "on the old test set: both have the same samples right"
    assert alike.chance == 1 and math.isclose(alike.low_points, 0) and math.isclose(alike.high_points, 0)
    traded = compared_set("new samples held out", ("a",), ["a", "a"], ["a", "b"], ["b", "a"])
    assert "as many right as before, though not the same" in verdict(traded)

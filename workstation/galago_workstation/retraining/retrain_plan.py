"""What is trained: a configuration and a table of samples beside the new run, as anybody could write them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.contract.printable import printable
from galago_edge.host.toml_file import load_toml
from galago_workstation.data.sample import PARTS, Part
from galago_workstation.data.sample_manifest import ManifestRow, manifest_bytes
from galago_workstation.files import write_bytes
from galago_workstation.retraining.new_samples import NewSample
from galago_workstation.run_folder import CONFIG_FILE, Run
from galago_workstation.toml_text import toml_text
from galago_workstation.training_config import DOCS, IdxFiles

MARK = "# Written by galago retrain."
NEW_HEAD_EPOCHS = 5
"""In so many the logits alone learn, where some of them begin with chance."""
_KEPT = ("kind", "background", "validation_share")
"""Of ``[data]``: the table says everything else."""
_FOLDER_KEYS = ("background_folder", "noise_folder")
"""Of ``[augment]``: paths that start at the configuration."""


@dataclass(frozen=True, slots=True)
class RetrainPlan:
    """Where it lies."""

    config: Path
    table: Path
    out: Path
    """The new run."""


def plan_of(run: Run, out: Path | None) -> RetrainPlan:
    """Return where the new run and what it is made of shall lie.

    Without ``out`` beside the run, under its name with the next number: ``alarms-2`` after ``alarms``.

    Raises:
        CallerError: EXISTS; something else lies there. USAGE; the run cannot be trained further.
    """
    if isinstance(run.config.data, IdxFiles):
        raise CallerError(
            Reason.USAGE,
            f"{run.path} was trained on idx files, whose samples are no files that a table could name",
            hint="unpack them into class folders, train on these, and retrain that run",
        )
    if out is None:
        home = run.path if run.path.name not in ("", "..") else run.path.resolve()
        out = home.with_name(next_name(home.name))
    plan = RetrainPlan(out.with_name(f"{out.name}.toml"), out.with_name(f"{out.name}.csv"), out)
    if out.exists() and out.samefile(run.path):
        text = f"{out} is the run itself, which the new one is compared with"
        raise CallerError(Reason.EXISTS, text, hint="choose another folder with --out")
    if not _is_ours(plan.config):
        for path in (plan.config, plan.table, out):
            if path.exists():
                text = f"{path} exists, and galago retrain did not write it"
                raise CallerError(Reason.EXISTS, text, hint="choose another folder with --out")
    return plan


def next_name(name: str) -> str:
    """Return the name of the run that comes after one.

    >>> next_name("alarms"), next_name("alarms-2")
    ('alarms-2', 'alarms-3')
    """
    found = re.fullmatch(r"(.*)-([0-9]{1,6})", name)
    return f"{found[1]}-{int(found[2]) + 1}" if found else f"{name}-2"


def write_plan(
    plan: RetrainPlan, run: Run, samples: Sequence[NewSample], parts: Sequence[Part], *, epochs: int | None
) -> None:
    """Write configuration and table. Same run, same samples: same bytes, so a killed training goes on.

    Raises:
        CallerError: CONFIG_BAD; the run's configuration is damaged.
        LinkError: The disk.
    """
    try:
        plan.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, f"create {plan.out.parent}") from error
    text = f"{MARK} {run.path.name} with new samples; galago train takes it as any other.\n\n"
    new_labels = {sample.label for sample in samples} - set(run.labels)
    tables = retrain_tables(run, plan, epochs=epochs, new_head=bool(new_labels))
    write_bytes(plan.table, manifest_bytes(_rows(plan, run, samples, parts)))
    write_bytes(plan.config, (text + toml_text(tables)).encode())


def retrain_tables(run: Run, plan: RetrainPlan, *, epochs: int | None, new_head: bool) -> dict[str, Any]:
    """Return the run's configuration, which takes its samples from the table and begins with the run.

    Logits go on where they were. That needs no epochs of their own, unless there are new ones among them
    (``new_head``) or the configuration says it. Where the body stays as it is they are solved anew.
    """
    tables = load_toml(run.path / CONFIG_FILE, dict[str, Any], docs=DOCS)
    data = {key: tables["data"][key] for key in _KEPT if key in tables["data"]}
    model = {key: value for key, value in tables["model"].items() if key != "weights_sha256"}
    augment = {
        key: _relative(run.data_root / value, plan) if key in _FOLDER_KEYS else value
        for key, value in tables.get("augment", {}).items()
    }
    train = dict(tables.get("train", {}))
    if run.config.model.keep_logits and train.get("head_epochs") == NEW_HEAD_EPOCHS:
        del train["head_epochs"]  # of the labels that were new in the training before
    if new_head:
        train.setdefault("head_epochs", NEW_HEAD_EPOCHS)
    if epochs is not None:
        train["epochs"] = epochs
    return {
        **tables,
        "data": {**data, "manifest": plan.table.name},
        "model": {
            **model,
            "weights": f"./{_relative(run.path, plan)}",
            "keep_logits": train.get("body_rate") != 0,
        },
        **({"augment": augment} if augment else {}),
        **({"train": train} if train else {}),
    }


def _rows(
    plan: RetrainPlan, run: Run, samples: Sequence[NewSample], parts: Sequence[Part]
) -> list[ManifestRow]:
    rows = [
        ManifestRow(
            path=_relative(sample.path, plan),
            label=run.labels[sample.label],
            group=sample.group or "",
            part=part,
        )
        for part in PARTS
        for sample in run.samples(part)
        if sample.path is not None
    ]
    rows += [
        ManifestRow(path=_relative(one.path, plan), label=one.label, group=one.group, part=part)
        for one, part in zip(samples, parts, strict=True)
    ]
    return rows


def _relative(path: Path, plan: RetrainPlan) -> str:
    return printable(Path(os.path.relpath(path, plan.config.parent)).as_posix())


def _is_ours(config: Path) -> bool:
    try:
        with config.open("rb") as file:
            return file.read(len(MARK)) == MARK.encode()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error, f"read {config}") from error

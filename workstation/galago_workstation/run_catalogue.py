"""Runs side by side: what each came to, and in what two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from galago_edge.contract.errors import GalagoError, InputError, Reason, disk_error
from galago_edge.host.toml_file import load_toml
from galago_workstation.evaluation.evaluation_record import EVALUATION_FILE, Evaluation
from galago_workstation.files import read_json
from galago_workstation.run_folder import CONFIG_FILE, RUN_FILE, RunRecord
from galago_workstation.training_config import DOCS

ABSENT = "-"


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    path: str
    created_utc: str
    network: str
    begins_with: str
    """Whose weights it began with; empty for none."""
    labels: tuple[str, ...]
    samples: dict[str, int]
    """By part."""
    data_sha256: dict[str, str]
    """Hash over the samples' contents, by part."""
    epochs: int
    best_epoch: int
    interrupted: bool
    validation_accuracy: float
    validation_balanced: float | None
    """Mean of all labels' recalls; None for a run from before it was kept."""
    stream_recall: float | None
    """Of what is in the validation recordings; None where epochs were not chosen by them."""
    stream_false_alarms_per_hour: float | None
    test_accuracy: float | None
    """Of the int8 model; None for a run that was not evaluated."""
    test_accuracy_keras: float | None
    int8_bytes: int | None
    latency_us: int | None
    """Median of one inference of the int8 model on the workstation, one thread."""
    parameters: int
    seconds: float


class RunDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in which runs differ: the values in the order of the runs."""

    what: str
    values: tuple[str, ...]


def summarised(path: Path) -> RunSummary:
    """Return the summary of a run folder.

    Raises:
        InputError: RUN_BAD; it is none, or a file of it is damaged.
        LinkError: It cannot be read.
    """
    record = read_json(path / RUN_FILE, RunRecord, hint=f"{path} is not a run folder; run galago train")
    model = _tables(path).get("model", {})
    evaluated = (path / EVALUATION_FILE).exists()
    found = read_json(path / EVALUATION_FILE, Evaluation, hint="run galago evaluate") if evaluated else None
    int8 = None if found is None else found.tflite_int8
    result = record.result
    return RunSummary(
        path=str(path),
        created_utc=record.created_utc,
        network=str(model.get("kind", "")),
        begins_with="" if record.weights is msgspec.UNSET else record.weights.source,
        labels=record.labels,
        samples=record.samples,
        data_sha256=record.samples_sha256,
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        interrupted=result.interrupted,
        validation_accuracy=result.validation_accuracy,
        validation_balanced=_or_none(result.validation_balanced),
        stream_recall=_or_none(result.stream_recall),
        stream_false_alarms_per_hour=_or_none(result.stream_false_alarms_per_hour),
        test_accuracy=None if int8 is None else int8.accuracy,
        test_accuracy_keras=None if found is None else found.keras.accuracy,
        int8_bytes=None if int8 is None else int8.bytes,
        latency_us=None if int8 is None else int8.p50_us,
        parameters=result.parameters,
        seconds=result.seconds,
    )


def runs_in(folder: Path) -> Iterator[RunSummary | GalagoError]:
    """Yield the runs of a folder, oldest first, and what is wrong with those that cannot be read.

    Raises:
        InputError: DATA_BAD; it is no folder.
        LinkError: It cannot be read.
    """
    if not folder.is_dir():
        raise InputError(Reason.DATA_BAD, f"{folder} is not a folder", hint="name a folder of runs")
    try:
        paths = sorted(path.parent for path in folder.glob(f"*/{RUN_FILE}"))
    except OSError as error:
        raise disk_error(error, f"read {folder}") from error
    good: list[RunSummary] = []
    for path in paths:
        try:
            good.append(summarised(path))
        except GalagoError as error:
            yield error
    yield from sorted(good, key=lambda run: (run.created_utc, run.path))


def differences(paths: Sequence[Path]) -> list[RunDifference]:
    """Return every setting and result in which runs are not equal.

    Raises:
        InputError: RUN_BAD; one of them is none.
        CallerError: CONFIG_BAD; the configuration of one is damaged.
        LinkError: One cannot be read.
    """
    runs = [summarised(path) for path in paths]
    settings = [settings_of(path / CONFIG_FILE) for path in paths]
    keys = sorted({key for one in settings for key in one})
    rows = [(key, [one.get(key, ABSENT) for one in settings]) for key in keys]
    rows += [("labels", [", ".join(run.labels) for run in runs])]
    for part in ("train", "validation", "test"):
        told = [f"{run.samples[part]} samples, {run.data_sha256[part][:12]}" for run in runs]
        rows.append((f"{part} data", told))
    rows += [
        ("begins with", [run.begins_with or ABSENT for run in runs]),
        ("best epoch", [f"{run.best_epoch} of {run.epochs}{interrupted(run)}" for run in runs]),
        ("validation accuracy", [share(run.validation_accuracy) for run in runs]),
        ("validation, balanced", [share(run.validation_balanced) for run in runs]),
        ("validation streams", [streams_text(run) for run in runs]),
        ("test accuracy, Keras", [share(run.test_accuracy_keras) for run in runs]),
        ("test accuracy, int8", [share(run.test_accuracy) for run in runs]),
        ("int8 bytes", [str(run.int8_bytes or ABSENT) for run in runs]),
        ("parameters", [str(run.parameters) for run in runs]),
    ]
    return [RunDifference(what=what, values=tuple(values)) for what, values in rows if len(set(values)) > 1]


def one_test_set(paths: Sequence[Path]) -> bool:
    """Tell whether the runs were tested on the same samples; else their accuracies say little together."""
    return len({summarised(path).data_sha256["test"] for path in paths}) == 1


def share(value: float | None) -> str:
    """Return a share for people.

    >>> share(0.9725), share(None)
    ('97.25 %', '-')
    """
    return ABSENT if value is None else f"{100 * value:.2f} %"


def streams_text(run: RunSummary) -> str:
    """Return what became of the validation recordings, for people."""
    if run.stream_recall is None or run.stream_false_alarms_per_hour is None:
        return ABSENT
    return f"{share(run.stream_recall)} found, {run.stream_false_alarms_per_hour:.3g} false alarms an hour"


def interrupted(run: RunSummary) -> str:
    """Return what is to be said of a run that somebody ended; else nothing."""
    return ", interrupted" if run.interrupted else ""


def settings_of(config: Path) -> dict[str, str]:
    """Return the settings of a configuration as JSON, by key: ``train.epochs``.

    Raises:
        CallerError: CONFIG_BAD; it is damaged.
        LinkError: It cannot be read.
    """
    return dict(_flat(load_toml(config, dict[str, Any], docs=DOCS)))


def _or_none(value: float | msgspec.UnsetType) -> float | None:
    return None if value is msgspec.UNSET else value


def _tables(path: Path) -> dict[str, Any]:
    return load_toml(path / CONFIG_FILE, dict[str, Any], docs=DOCS)


def _flat(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", msgspec.json.encode(value).decode()

"""The steps from a folder of samples to a signed bundle, for programs and notebooks: docs/python-training.md.

Each function is what the command of its name does, and refuses the same things in the same way. All are
silent unless they are given ``echo``, which gets the lines that the command would print while it works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from galago_converters.conversion_record import Conversion
    from galago_workstation.data.data_inspection import InspectedData
    from galago_workstation.evaluation.evaluation_record import Evaluation
    from galago_workstation.evaluation.model_doubts import ModelDoubt
    from galago_workstation.packing.bundle_build import Packed
    from galago_workstation.run_folder import Run

__all__ = ["EvaluatedRun", "build_bundle", "check_data", "convert", "evaluate", "init", "open_run", "train"]

AnyPath: TypeAlias = str | os.PathLike[str]
Echo: TypeAlias = Callable[[str], object]


def _silent(_: str) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """What ``galago evaluate`` tells and leaves."""

    evaluation: Evaluation
    """Accuracy, recall and confusions of the Keras, float and int8 form on the test part."""
    doubts: tuple[ModelDoubt, ...]
    """What speaks against the model, the worst first."""
    report: Path
    """The page."""

    def __str__(self) -> str:
        """Return the table that the command prints."""
        from galago_workstation.evaluation.scorecard import table

        return "\n".join(table(self.evaluation))


def init(data: AnyPath, out: AnyPath | None = None, *, replace: bool = False) -> Path:
    """Look at a folder of classes and write a configuration to train on it, as ``galago init``.

    Args:
        data: Has one sub-folder per class, whose name is the label, or train and test with these.
        out: File to write; None: NAME.toml for the folder NAME.
        replace: Write over a configuration that exists.

    Raises:
        CallerError: There is nothing to train on, or ``out`` exists.
        LinkError: The disk.
    """
    from galago_workstation.data.folder_survey import survey
    from galago_workstation.training.proposal_file import proposal_path, write_proposal

    file = proposal_path(Path(data), None if out is None else Path(out), replace=replace)
    write_proposal(survey(Path(data)), file)
    return file


def check_data(data: AnyPath, *, echo: Echo = _silent) -> InspectedData:
    """Look at all training data, as ``galago data check``: ``usable`` says whether training would take it.

    Args:
        data: A configuration, or a folder of classes.
        echo: Gets lines.

    Raises:
        CallerError: It is neither.
        InputError: The folder holds nothing that could be classes.
    """
    from galago_workstation.data.data_inspection import inspect_path
    from galago_workstation.progress_lines import PlainReport

    return inspect_path(Path(data), PlainReport(echo))


def train(config: AnyPath, out: AnyPath | None = None, *, fresh: bool = False, echo: Echo = _silent) -> Run:
    """Train the network that a configuration describes, in a process of its own, as ``galago train``.

    Args:
        config: The configuration.
        out: The run folder; None: runs/NAME for NAME.toml. An existing run is replaced at the end.
        fresh: Begin anew, where a training that was ended would go on.
        echo: Gets lines, those of libraries too.

    Raises:
        GalagoError: As the command: configuration, data, disk, or TRAIN_CRASHED.
        KeyboardInterrupt: Ctrl+C came twice; once ends it well, with the best epoch.
    """
    from galago_workstation.run_folder import Run
    from galago_workstation.training.progress import PlainProgress
    from galago_workstation.training.training_process import train_apart

    path = Path(config)
    run = Path(out) if out is not None else Path("runs") / path.stem
    train_apart(path, run, PlainProgress(echo), fresh=fresh, complain=echo)
    return Run.open(run)


def open_run(path: AnyPath) -> Run:
    """Open a run folder: its ``record``, ``labels``, ``config``, ``samples(part)`` and ``keras_model()``.

    Raises:
        InputError: RUN_BAD; it is none.
        LinkError: It cannot be read.
    """
    from galago_workstation.run_folder import Run

    return Run.open(Path(path))


def convert(
    run: Run,
    *,
    calibration_samples: int | None = None,
    max_loss_points: float | None = None,
    aware_epochs: int | None = None,
    echo: Echo = _silent,
) -> Conversion:
    """Convert a run's model to float and int8 TFLite, as ``galago convert``.

    Args:
        run: The run.
        calibration_samples: Instead of the configuration's, as the others.
        max_loss_points: Percentage points of accuracy that int8 may lose.
        aware_epochs: Of quantization-aware training, if int8 loses more than half a point.
        echo: Gets lines.

    Raises:
        CallerError: CONFIG_BAD; a value that cannot be.
        ModelError: The model does not convert, or a quality gate refuses it.
        InputError: The run is not what training left.
        LinkError: The disk.
    """
    from galago_workstation.conversion.conversion_run import convert_run
    from galago_workstation.progress_lines import PlainReport
    from galago_workstation.training_config import convert_options

    options = convert_options(
        run.config.convert,
        calibration_samples=calibration_samples,
        max_loss_points=max_loss_points,
        aware_epochs=aware_epochs,
    )
    return convert_run(run, now=datetime.now(UTC), report=PlainReport(echo), options=options)


def evaluate(
    run: Run, *, price_per_hour: float | None = None, watts: float | None = None, echo: Echo = _silent
) -> EvaluatedRun:
    """Score a converted run on its test part and write its report, as ``galago evaluate``.

    Args:
        run: The run.
        price_per_hour: Of the training machine, for the report.
        watts: Its power, for the report's estimate of energy.
        echo: Gets lines.

    Raises:
        InputError: RUN_BAD; it is not converted, or is not what it was.
        LinkError: The disk.
    """
    from galago_workstation.evaluation.model_doubts import doubts_of
    from galago_workstation.evaluation.page.run_report import REPORT_FILE, TrainingRates, write_report
    from galago_workstation.evaluation.scoring import evaluate_run
    from galago_workstation.progress_lines import PlainReport

    scored = evaluate_run(run, report=PlainReport(echo))
    doubts = doubts_of(run, scored.evaluation)
    write_report(run, scored, doubts, TrainingRates(price_per_hour, watts))
    return EvaluatedRun(scored.evaluation, doubts, run.path / REPORT_FILE)


def build_bundle(
    run: Run,
    keys: Sequence[AnyPath],
    out: AnyPath | None = None,
    *,
    accelerated: Sequence[str] = (),
    replace: bool = False,
    **options: object,
) -> Packed:
    """Pack and sign an evaluated run, as ``galago bundle build``.

    Args:
        run: The run.
        keys: Files of private keys.
        out: File to write; None: NAME-VERSION.galago.
        accelerated: ``NAME=FILE``, or ``NAME`` for an accelerator that takes the CPU model as it is.
        replace: Write over another bundle.
        options: ``name``, ``version``, ``release_counter``, ``channel``, ``description``, ``build_id``,
            ``allow``, ``devices``: as the command's.

    Raises:
        GalagoError: As the command: the run, the keys, the options, doubts about the model, the disk.
    """
    from galago_workstation.packing import bundle_build

    chosen = bundle_build.build_options(run.path, **options)
    file = Path(out) if out is not None else Path(f"{chosen.name}-{chosen.version}.galago")
    return bundle_build.build_bundle(
        run.path, chosen, [Path(key) for key in keys], file, accelerated=accelerated, replace=replace
    )

"""``RUN/report.html``: what a run's model answers on its test part, on one page that needs no network."""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galago_edge.contract.count_words import count_of
from galago_edge.contract.errors import GalagoError, InputError, Reason, disk_error
from galago_edge.contract.printable import on_one_line
from galago_workstation.data.augmentation_samples import augmentation_samples
from galago_workstation.data.sample import PARTS, Part
from galago_workstation.evaluation.model_doubts import ModelDoubt
from galago_workstation.evaluation.page.answer_figures import (
    calibration,
    group_figures,
    label_curves,
    label_figures,
)
from galago_workstation.evaluation.page.board_rows import board_rows, cost_note
from galago_workstation.evaluation.page.label_contradictions import (
    MOST_SHOWN,
    Contradictions,
    contradictions,
)
from galago_workstation.evaluation.page.report_content import (
    Q16,
    SCHEMA,
    AlikeSamples,
    ReportContent,
    ReportEpoch,
    ReportForm,
    ReportSample,
)
from galago_workstation.evaluation.page.report_samples import SampleMedia, spread
from galago_workstation.evaluation.scorecard import conditions, rows
from galago_workstation.evaluation.scoring import Labels, ScoredRun
from galago_workstation.files import write_bytes
from galago_workstation.qa.exact_intervals import share_interval
from galago_workstation.qa.page.offline_page import OfflinePage, page_part
from galago_workstation.run_folder import METRICS_FILE, Run

REPORT_FILE = "report.html"
MOST_ERRORS = 24
MOST_SHEET, MOST_OF_A_LABEL = 120, 6
"""Samples of the contact sheet, in all and of one label."""
AUGMENTED, AUGMENTED_EPOCHS = 4, 3
"""Training samples whose augmentation is shown, and in how many epochs."""
MOST_GROUPS = 40
MOST_LABELS = 60
"""In the matrix, and with curves."""
MOST_PAIRS = 20
SURE = 0.9
"""Score from which a wrong answer that all forms give casts doubt on the label."""
_PACKAGE = "galago_workstation.evaluation.page"


@dataclass(frozen=True, slots=True)
class TrainingRates:
    """What somebody says of the machine that trained."""

    price_per_hour: float | None = None
    watts: float | None = None


def write_report(run: Run, scored: ScoredRun, doubts: Sequence[ModelDoubt], rates: TrainingRates) -> None:
    """Write the page, in the place of a former one.

    Raises:
        InputError: RUN_BAD; metrics.csv is not what training left.
        LinkError: The disk.
    """
    content, media = report_of(run, scored, doubts, rates)
    write_bytes(run.path / REPORT_FILE, report_page(content, media))


def report_page(content: ReportContent, media: dict[str, bytes]) -> bytes:
    """Return the page as HTML."""
    page = OfflinePage(
        template=page_part("run_report.html", _PACKAGE),
        styles=(page_part("qa_page.css"), page_part("run_report.css", _PACKAGE)),
        scripts=(page_part("qa_elements.js"), page_part("run_report.js", _PACKAGE)),
        generator=f'<meta name="generator" content="{SCHEMA}">',
    )
    return page.filled(content, media)


def report_of(
    run: Run, scored: ScoredRun, doubts: Sequence[ModelDoubt], rates: TrainingRates
) -> tuple[ReportContent, dict[str, bytes]]:
    """Return what the page shows, and the media by their names.

    Samples that cannot be read any more are counted and said.

    Raises:
        InputError: RUN_BAD; metrics.csv is not what training left.
        LinkError: The disk.
    """
    found, samples = scored.evaluation, scored.samples
    truth = np.array([sample.label for sample in samples], np.intp)
    given = scored.given["int8"]
    epochs = read_epochs(run.path / METRICS_FILE)
    media = SampleMedia(run)
    errors = _errors(scored, truth, media)
    against = contradictions(run)
    alike = _alike(against, media)  # before what there is much of: all share the room of the page
    augmented = _augmented(run, media)
    sheet = _sheet(run, media)
    names = [None if sample.group is None else on_one_line(sample.group) for sample in samples]
    groups = group_figures(names, given == truth)
    curves = sorted(label_curves(truth, scored.int8_scores), key=lambda one: one.average_precision)[
        :MOST_LABELS
    ]
    forms = {"Keras float": found.keras, "TFLite float": found.tflite_float, "TFLite int8": found.tflite_int8}
    content = ReportContent(
        name=on_one_line(run.path.resolve().name),
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%MZ"),
        facts=tuple(map(on_one_line, _facts(run, scored, rates))),
        doubts=tuple(ModelDoubt(code=one.code, text=on_one_line(one.text)) for one in doubts),
        labels=tuple(map(on_one_line, run.labels)),
        side_by_side=_side_by_side(scored),
        forms=tuple(_form(name, one.confusion) for name, one in forms.items()),
        wrong=int((given != truth).sum()),
        errors=errors,
        curves=tuple(sorted(curves, key=lambda one: one.label)),
        calibration=calibration(given == truth, scored.int8_scores.max(axis=1)),
        groups=groups[:MOST_GROUPS],
        more_groups=max(0, len(groups) - MOST_GROUPS),
        alike=alike,
        alike_text=_alike_text(against),
        boards=board_rows(run.path, found),
        boards_text=on_one_line(cost_note(run.path, found)),
        epochs=epochs,
        best_epoch=run.record.result.best_epoch,
        counts=tuple((part, _counts(run, part)) for part in PARTS),
        sheet=sheet,
        augmented=augmented,
        left_out=_left_out(media, epochs),
    )
    return content, media.files


def _form(name: str, confusion: tuple[tuple[int, ...], ...]) -> ReportForm:
    counts = np.array(confusion)
    figures = label_figures(counts)
    np.fill_diagonal(counts, 0)
    worst = np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [(*divmod(place, len(counts)), int(counts.flat[place])) for place in worst.tolist()]
    return ReportForm(
        name=name,
        confusion=confusion if len(confusion) <= MOST_LABELS else (),
        pairs=tuple(pair for pair in pairs if pair[2]),
        labels=figures,
    )


def _counts(run: Run, part: Part) -> tuple[int, ...]:
    count = Counter(sample.label for sample in run.samples(part))
    return tuple(count[label] for label in range(len(run.labels)))


def _side_by_side(scored: ScoredRun) -> tuple[tuple[str, ...], ...]:
    """Return the table of the terminal, with the intervals of the accuracies behind these."""
    heads, accuracy, *others = rows(scored.evaluation)
    found, of = scored.evaluation, scored.evaluation.test_samples
    shares = (found.keras.accuracy, found.tflite_float.accuracy, found.tflite_int8.accuracy)
    bounds = [share_interval(round(share * of), of) for share in shares]
    texts = [f"{100 * low:.1f} to {100 * high:.1f} %" for low, high in bounds]
    return heads, accuracy, ("95 % interval of it", *texts), *others


def _facts(run: Run, scored: ScoredRun, rates: TrainingRates) -> list[str]:
    found, result = scored.evaluation, run.record.result
    hours = result.seconds / 3600
    facts = [
        f"{result.parameters:,} parameters; epoch {result.best_epoch} of {result.epochs} was kept"
        f"{'; somebody ended the training before its time' if result.interrupted else ''}",
        conditions(found),
        f"training took {result.seconds:.0f} s",
    ]
    if isinstance(found.engine_heap_bytes, int):
        facts.insert(2, f"of that memory the model's engine takes {found.engine_heap_bytes / 1e3:.0f} kB")
    if rates.price_per_hour is not None:
        facts.append(
            f"price of the training: {hours * rates.price_per_hour:.2f}, at {rates.price_per_hour:g} an hour"
        )
    if rates.watts is not None:
        facts.append(
            f"energy of the training, an estimate: {hours * rates.watts:.3g} Wh, the time multiplied by the "
            f"{rates.watts:g} W of --watts; nothing was measured"
        )
    if run.record.duplicates_left_out:
        facts.append(f"{run.record.duplicates_left_out} duplicates were left out of the data")
    return facts


def _errors(scored: ScoredRun, truth: Labels, media: SampleMedia) -> tuple[ReportSample, ...]:
    """Return the samples that the int8 model gets wrong, those first of which it is surest."""
    given, scores = scored.given["int8"], scored.int8_scores
    every = np.arange(len(truth))
    best, true = scores[every, given], scores[every, truth]
    wrong = np.flatnonzero(given != truth)
    agreed = (scored.given["keras"] == given) & (scored.given["float"] == given)
    found = []
    for place in wrong[np.argsort(true[wrong] - best[wrong], kind="stable")][:MOST_ERRORS].tolist():
        sample = scored.samples[place]
        if (names := media.take(sample)) is not None:
            found.append(
                ReportSample(
                    id=on_one_line(sample.id),
                    part="test",
                    label=sample.label,
                    picture=names[0],
                    sound=names[1],
                    group=on_one_line(sample.group or ""),
                    given=int(given[place]),
                    score=round(int(best[place]) / Q16, 4),
                    true_score=round(int(true[place]) / Q16, 4),
                    label_doubtful=bool(agreed[place] and best[place] >= SURE * Q16),
                )
            )
    return tuple(found)


def _alike(found: Contradictions, media: SampleMedia) -> tuple[AlikeSamples, ...]:
    shown = []
    for pair in found.pairs[:MOST_SHOWN]:
        cards = [
            ReportSample(
                id=on_one_line(sample.id),
                part=part,
                label=sample.label,
                picture=names[0],
                sound=names[1],
                group=on_one_line(sample.group or ""),
            )
            for sample, part in zip(pair.samples, pair.parts, strict=True)
            if (names := media.take(sample)) is not None
        ]
        if len(cards) == 2:
            shown.append(AlikeSamples(samples=(cards[0], cards[1]), alike=round(pair.alike, 4)))
    return tuple(shown)


def _alike_text(found: Contradictions) -> str:
    text = f"{count_of(len(found.pairs), 'pair')} among {count_of(found.compared, 'sample')}"
    if found.compared < found.of:
        text += f" of {found.of}; galago data check compares all that can be read"
    return text


def _sheet(run: Run, media: SampleMedia) -> tuple[ReportSample, ...]:
    chosen = spread(run.samples("train"), len(run.labels), MOST_SHEET, MOST_OF_A_LABEL)
    return tuple(
        ReportSample(
            id=on_one_line(sample.id),
            part="train",
            label=sample.label,
            picture=names[0],
            sound=names[1],
            group=on_one_line(sample.group or ""),
        )
        for sample in chosen
        if (names := media.take(sample)) is not None
    )


def _augmented(run: Run, media: SampleMedia) -> tuple[ReportSample, ...]:
    parts = {part: run.samples(part) for part in PARTS}
    try:
        changed = augmentation_samples(
            run.config, run.data_root, parts, run.labels, AUGMENTED, epochs=AUGMENTED_EPOCHS
        )
    except GalagoError:  # a sample, or own material for mixing
        media.unreadable += 1
        return ()
    found = []
    for one in changed:
        forms = zip((one.plain, *one.changed), (one.plain_input, *one.changed_inputs), strict=True)
        for epoch, (raw, given) in enumerate(forms):
            # pictures of the model have its colours: RGB or grey
            shown = (
                raw
                if raw.ndim == 1
                else np.repeat(raw, 3, axis=2)[..., :3]
                if raw.shape[2] == 1
                else raw[..., ::-1]
            )
            if (names := media.keep(shown, given)) is not None:
                what = f"in epoch {epoch}" if epoch else "as it is"
                name = on_one_line(f"{one.sample.id} {what}")
                found.append(
                    ReportSample(
                        id=name, part="train", label=one.sample.label, picture=names[0], sound=names[1]
                    )
                )
    return tuple(found)


def _left_out(media: SampleMedia, epochs: Sequence[ReportEpoch]) -> str:
    said = []
    if media.too_many:
        said.append(f"{media.too_many} samples were left out: the page holds 4 MiB of them")
    if media.unreadable:
        said.append(f"{media.unreadable} samples are gone, changed or damaged since the training")
    if not epochs:
        said.append(f"the run has no {METRICS_FILE}, so there are no curves of its training")
    return "; ".join(said)


def read_epochs(path: Path) -> tuple[ReportEpoch, ...]:
    """Read metrics.csv; nothing where there is none, as in a run that others put together.

    Raises:
        InputError: RUN_BAD; a column or a number is missing.
        LinkError: It cannot be read.
    """
    columns = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(
                ReportEpoch(epoch=int(line["epoch"]), **{name: float(line[name]) for name in columns})
                for line in csv.DictReader(file)
            )
    except FileNotFoundError:
        return ()
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            Reason.RUN_BAD,
            f"{path} is not the table of epochs that training writes: {error!r}",
            hint="put the old one back, or run galago train again",
        ) from None
    except OSError as error:
        raise disk_error(error, f"read {path}") from error

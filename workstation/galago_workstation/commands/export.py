"""``galago export``."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from galago_edge.commands.cli import json_option, say, say_json
from galago_edge.commands.options import PATH, trust_option
from galago_workstation.exporting.export_record import Form


@click.command()
@click.argument("source", type=PATH)
@click.option(
    "--to", "form", required=True, type=click.Choice(get_args(Form)), help="For whom the model is written."
)
@click.option("-o", "--out", type=PATH, help="Folder to write.  [default: NAME-FORM]")
@click.option(
    "--python",
    type=PATH,
    help="With mediapipe: a Python in which it is installed; it is asked whether it answers alike.",
)
@trust_option
@json_option
def export(
    source: Path, form: Form, out: Path | None, python: Path | None, trusted: tuple[Path, ...], as_json: bool
) -> None:
    """Write a model for other tools.

    SOURCE is a run that galago convert has converted, or a bundle. The folder holds the model, its labels
    and export.json, which says what it takes and gives. Before it is written, the model is read again and
    must answer as a device does, on test samples of the run or the golden samples of the bundle.

    \b
    mediapipe     .tflite with metadata for MediaPipe's ImageClassifier and AudioClassifier: RGB pixels or
                  samples in, scores out
    tflite-plain  the int8 .tflite of the device, without metadata
    c-array       the same as C source
    onnx          the float network (extra onnx); needs a run
    saved-model   the float network for TensorFlow; needs a run

    \b
    Example:
        galago export runs/digits --to mediapipe
    """
    from galago_converters.conversion_record import encode
    from galago_edge.contract.count_words import count_of
    from galago_workstation.exporting.export_run import export_model

    if python is not None and form != "mediapipe":
        raise click.UsageError("--python is for --to mediapipe.")
    out = out or Path(f"{source.resolve().name.removesuffix('.galago')}-{form}")
    record = export_model(source, form, out, trusted=trusted, python=python)
    if as_json:
        say_json(encode(record).decode())
        return
    say(f"takes {record.takes}")
    say(f"gives {record.gives}")
    for one in record.agreement:
        say(
            f"{one.reader}: the same best label as a device for {one.same_top} of "
            f"{count_of(one.samples, 'sample')}; largest difference {one.largest_difference:.3g}"
        )
    if form == "mediapipe" and python is None:
        say("MediaPipe itself was not asked: --python names a Python that has it")
    say(f"{out}: {', '.join(record.files)}")

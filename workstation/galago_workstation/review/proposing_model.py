"""A bundle's or a run's int8 model, asked about single samples as a device would ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

import galago_edge
from galago_converters.conversion_record import CONVERTED_FOLDER, INT8_FILE, read_conversion, read_file
from galago_edge.contract.manifest import AudioPreprocess
from galago_edge.decision import ONE, Activation
from galago_edge.engine import Engine
from galago_edge.pipeline import load
from galago_edge.preprocess import ImagePreprocessor, LogMelFrontend
from galago_edge.preprocess.audio import log_mel
from galago_workstation.data.clip_window import middle_window
from galago_workstation.run_folder import Run


class Int8Model(Protocol):
    """What runs an int8 model."""

    def input_view(self) -> npt.NDArray[Any]:
        """Return the input's own memory."""
        ...

    def invoke(self) -> None:
        """Run the model."""
        ...

    def logits(self) -> npt.NDArray[np.int8]:
        """Return the codes of the last run, ``(labels,)``."""
        ...


class ProposingModel:
    """What proposes labels."""

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        preprocessor: ImagePreprocessor | LogMelFrontend,
        model: Int8Model,
        activation: Activation,
    ) -> None:
        """Ask ``model``, whose logits are in the order of ``labels``. ``name`` is for people."""
        self.name = name
        self.labels = labels
        self.preprocessor = preprocessor
        self.sigmoid = activation.kind == "sigmoid"
        self._model = model
        self._activation = activation

    @property
    def sounds(self) -> bool:
        """Whether it is asked about sounds."""
        return isinstance(self.preprocessor, LogMelFrontend)

    @property
    def frontend(self) -> LogMelFrontend | None:
        """How it hears; None of a model that sees."""
        return self.preprocessor if isinstance(self.preprocessor, LogMelFrontend) else None

    def scores(self, raw: npt.NDArray[Any]) -> dict[str, float]:
        """Return the score of every label, 0 to 1, not smoothed.

        ``raw``: pixels ``(height, width, 3)`` BGR, or samples ``(n,)`` mono at the model's rate, of which the
        window in the middle counts, as in a test; what is shorter lies in the middle of silence.

        Raises:
            BundleError: MODEL_BAD; the model failed.
        """
        view = self._model.input_view()
        if isinstance(self.preprocessor, ImagePreprocessor):
            self.preprocessor.into(raw, view)
        else:
            view[...] = log_mel(self.preprocessor, middle_window(raw, self.preprocessor.spec.window_samples))
        self._model.invoke()
        found = self._activation.scores(self._model.logits())
        return {name: int(score) / ONE for name, score in zip(self.labels, found, strict=True)}


def model_of_bundle(path: Path) -> ProposingModel:
    """Return the CPU model of a bundle; nobody has to trust who signed it to be shown what it proposes.

    Raises:
        BundleError: The bundle is wrong.
        DeviceError: No TFLite runtime, or an optional library is missing.
        LinkError: It cannot be read.
    """
    loaded = load(galago_edge.open_bundle(path, unverified=True))
    labels = tuple(label.name for label in loaded.manifest.labels)
    return ProposingModel(str(path), labels, loaded.preprocessor, loaded.engine, loaded.activation)


def model_of_run(path: Path) -> ProposingModel:
    """Return the int8 model of a run that was converted.

    Raises:
        InputError: RUN_BAD; it is no run, or was not converted.
        BundleError: MODEL_BAD.
        LinkError: It cannot be read.
    """
    run = Run.open(path)
    output, decision = read_conversion(path).output, run.config.decision
    spec = run.preprocess
    return ProposingModel(
        str(path),
        run.labels,
        LogMelFrontend(spec) if isinstance(spec, AudioPreprocess) else ImagePreprocessor(spec),
        Engine(read_file(path / CONVERTED_FOLDER / INT8_FILE, remedy=f"galago convert {path}")),
        Activation(decision.activation, output.scale, output.zero_point, decision.temperature),
    )

"""A bundle, made ready to decide: its model in an engine, its preprocessing, its activation."""

from __future__ import annotations

from dataclasses import dataclass

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import AudioPreprocess, Manifest, Preprocess, PreprocessEntry, Tensor
from galago_edge.decision import Activation
from galago_edge.engine import Backend, Engine, TensorInfo
from galago_edge.preprocess import FrontendTables, ImagePreprocessor, LogMelFrontend, fingerprint


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """Everything that one stream decides with. Holds state, so each stream loads its own."""

    id: str
    manifest: Manifest
    engine: Backend
    activation: Activation
    preprocessor: ImagePreprocessor | LogMelFrontend

    @property
    def spec(self) -> Preprocess:
        """The preprocessing specification."""
        return self.manifest.preprocess.spec


def load(bundle: Bundle, *, threads: int = 1) -> LoadedBundle:
    """Load the CPU model of ``bundle`` and everything around it.

    Raises:
        BundleError: PREPROCESS_MISMATCH, this runtime prepares input otherwise; TENSOR_MISMATCH or
            MODEL_BAD, the model is not what the manifest says.
        DeviceError: No TFLite runtime, or an optional library is missing.
    """
    manifest = bundle.manifest
    model = manifest.model[0]
    preprocessor = _preprocessor(bundle, manifest.preprocess)
    engine = Engine(bundle.read(model.file), threads=threads)
    _compare("input", engine.input, model.input)
    _compare("output", engine.output, model.output)
    decision = manifest.decision
    activation = Activation(
        decision.activation, engine.output.scale, engine.output.zero_point, decision.temperature
    )
    return LoadedBundle(bundle.id, manifest, engine, activation, preprocessor)


def _preprocessor(bundle: Bundle, entry: PreprocessEntry) -> ImagePreprocessor | LogMelFrontend:
    spec = entry.spec
    computed = fingerprint(spec)
    if computed != entry.sha256:
        raise BundleError(
            Reason.PREPROCESS_MISMATCH,
            f"this runtime's {spec.version} has hash {computed[:16]}…, the bundle needs {entry.sha256[:16]}…",
            hint="install the galago-edge version that the bundle was built with, or build it again",
        )
    if not isinstance(spec, AudioPreprocess):
        return ImagePreprocessor(spec)
    if not entry.tables:
        return LogMelFrontend(spec)
    files = {path.rpartition("/")[2]: bundle.read(path) for path in entry.tables}
    return LogMelFrontend(spec, FrontendTables.from_files(spec, files))


def _compare(role: str, found: TensorInfo, stated: Tensor) -> None:
    met = (found.dtype, found.shape, found.scale, found.zero_point)
    wanted = (stated.dtype, stated.shape, stated.scale, stated.zero_point)
    if met != wanted:
        raise BundleError(
            Reason.TENSOR_MISMATCH,
            f"the model's {role} is {_words(*met)}, the manifest says {_words(*wanted)}",
            hint="build the bundle again from the run that the model comes from",
        )


def _words(dtype: str, shape: tuple[int, ...], scale: float, zero_point: int) -> str:
    return f"{dtype} {shape} with scale {scale:g} and zero point {zero_point}"

"""A bundle, made ready to decide: its model in an engine, its preprocessing, its activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from galago_edge.bundle import Bundle
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import (
    AudioPreprocess,
    Manifest,
    Model,
    Preprocess,
    PreprocessEntry,
    Tensor,
)
from galago_edge.contract.profile import Accelerator
from galago_edge.contract.settings import AcceleratorSettings
from galago_edge.decision import Activation
from galago_edge.engine import TensorInfo
from galago_edge.pipeline.failover import AcceleratedModel, FailoverEngine
from galago_edge.pipeline.parity import GoldenInput, golden_inputs
from galago_edge.preprocess import FrontendTables, ImagePreprocessor, LogMelFrontend, fingerprint


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """Everything that one stream decides with. Holds state, so each stream loads its own."""

    id: str
    manifest: Manifest
    engine: FailoverEngine
    activation: Activation
    preprocessor: ImagePreprocessor | LogMelFrontend

    @property
    def spec(self) -> Preprocess:
        """The preprocessing specification."""
        return self.manifest.preprocess.spec

    def close(self) -> None:
        """Give back what the engine holds beside memory: an accelerator's process."""
        self.engine.close()


def load(
    bundle: Bundle,
    *,
    threads: int = 1,
    accelerators: Mapping[str, Accelerator] | None = None,
    accelerator_settings: AcceleratorSettings | None = None,
) -> LoadedBundle:
    """Load the model of ``bundle`` and everything around it.

    Without ``accelerators`` the CPU decides everything: the same answers on every device, as a replay needs
    them. With the accelerators of a device's profile, the first that the bundle has a model for is tried
    beside the stream; call ``close`` then.

    Raises:
        BundleError: PREPROCESS_MISMATCH, this runtime prepares input otherwise; TENSOR_MISMATCH or
            MODEL_BAD, the model is not what the manifest says.
        DeviceError: No TFLite runtime, or an optional library is missing.
    """
    manifest = bundle.manifest
    model = manifest.model[0]
    preprocessor = _preprocessor(bundle, manifest.preprocess)
    settings = accelerator_settings or AcceleratorSettings()
    accelerated = _accelerated(bundle, accelerators) if accelerators and settings.enabled else None
    engine = FailoverEngine(bundle.read(model.file), accelerated, threads=threads, settings=settings)
    try:
        _compare("input", engine.input, model.input)
        _compare("output", engine.output, model.output)
        decision = manifest.decision
        activation = Activation(
            decision.activation, engine.output.scale, engine.output.zero_point, decision.temperature
        )
    except BaseException:  # whatever it was, the engine's process must be ended
        engine.close()
        raise
    return LoadedBundle(bundle.id, manifest, engine, activation, preprocessor)


def _accelerated(bundle: Bundle, accelerators: Mapping[str, Accelerator]) -> AcceleratedModel | None:
    """Return the model for the first accelerator that the bundle has one for."""
    models = {model.backend: model for model in bundle.manifest.model[1:]}
    for name, accelerator in accelerators.items():
        if (model := models.get(name)) is None:
            continue

        def golden(found: Model = model) -> list[GoldenInput]:
            # with a preprocessor of its own: the stream's holds the stream's state
            preprocessor = _preprocessor(bundle, bundle.manifest.preprocess)
            return golden_inputs(bundle, preprocessor, found.input)

        return AcceleratedModel(name, bundle.read(model.file), accelerator, golden)
    return None


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

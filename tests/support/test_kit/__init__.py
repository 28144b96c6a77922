"""What several parts' tests need: small bundles, made in milliseconds. Not used by the product."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET, UnsetType

from galago_edge.bundle import Bundle, file_entry, open_bundle, write_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.bundle.manifest_rules import INPUT_QUANTIZATION
from galago_edge.contract.errors import LinkError, Reason
from galago_edge.contract.manifest import (
    AudioPreprocess,
    BundleInfo,
    Compatibility,
    DataSummary,
    Decision,
    Gate,
    Golden,
    GoldenExpected,
    ImagePreprocess,
    Label,
    Manifest,
    Model,
    Operator,
    Preprocess,
    PreprocessEntry,
    Resources,
    Tensor,
)
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import EventRecord
from galago_edge.contract.status import (
    BackendStatus,
    CoverageStatus,
    GateStatus,
    LabelLevel,
    ServiceStatus,
    SinkStatus,
    SourceStatus,
    StreamStatus,
)
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap
from galago_edge.host.machine import this_arch

TINY_IMAGE = ImagePreprocess(width=16, height=16)
"""What tests/data/tiny_image.tflite takes."""
TINY_AUDIO = AudioPreprocess(mel_bands=10, window_frames=20, hop_frames=5)
"""What tests/data/tiny_audio.tflite takes."""
TEST_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Known to everybody, so never trusted outside tests."""
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

NUMBER_MARKERS = {"turns": 0x51A7_0001, "turns_bright": 0x51A7_0002, "bytes": 0x51A7_0003}
"""What stands in the models of tests/data/make_bad_models.py where a test sets a number."""

_ZERO_HASH = "0" * 64
_LEVELS = (30, 128, 225)
_TONES_HZ = ((), (150, 300, 600, 1_000, 1_500), (2_500, 3_200, 4_200, 5_500, 7_000))
"""Silence, the lower half of the bands, the upper half."""


def make_bundle(
    path: Path,
    model: bytes,
    labels: Sequence[str | Label],
    *,
    preprocess: Preprocess | None = None,
    modality: Modality = "camera",
    decision: Decision | None = None,
    gate: Gate | UnsetType = UNSET,
    golden: Mapping[str, bytes] | None = None,
    accelerated: Mapping[str, bytes] | None = None,
    keys: Sequence[Ed25519PrivateKey] = (TEST_KEY,),
    **info: Any,
) -> Path:
    """Write a bundle around a real model and return ``path``.

    ``labels``: names, or Labels with policies. ``preprocess``: that of the tiny model of this modality
    unless given. ``golden``: PNG or WAV bytes by label; even gray levels or sounds unless given. What
    the model answers to them becomes the expected value. ``accelerated``: models by backend; the CPU's own
    bytes share its file. ``info``: fields of BundleInfo, such as
    ``name``, ``version``, ``release_counter``.
    """
    from galago_edge.engine import Engine
    from galago_edge.pipeline.golden_run import GoldenRunner, expected_answer
    from galago_edge.preprocess import FrontendTables, ImagePreprocessor, LogMelFrontend, fingerprint

    spec = preprocess or (TINY_IMAGE if modality == "camera" else TINY_AUDIO)
    tables: dict[str, bytes] = {}
    if isinstance(spec, AudioPreprocess):
        tables = {f"frontend/{name}": data for name, data in FrontendTables.build(spec).files().items()}
    entry = PreprocessEntry(spec=spec, sha256=fingerprint(spec), tables=tuple(tables))
    engine = Engine(model)
    preprocessor = ImagePreprocessor(spec) if isinstance(spec, ImagePreprocess) else LogMelFrontend(spec)
    runner = GoldenRunner(engine, preprocessor)
    answers = [
        (label, data, expected_answer(runner, data, atol_steps=1))
        for label, data in (golden or golden_samples(spec, labels)).items()
    ]
    manifest, files = small_manifest(
        model,
        labels,
        entry,
        tables,
        answers,
        (engine.output.scale, engine.output.zero_point),
        decision,
        gate=gate,
        accelerated=accelerated,
        **info,
    )
    return write_bundle(path, manifest, files, keys).path


def set_numbers(model: bytes, **numbers: int) -> bytes:
    """Set what tests/data/bad_*.tflite leave open; the numbers that are not given become 0.

    ``turns``: how far a loop counts at every run, some 0.1 to 1 microsecond each. ``turns_bright``: how much
    farther for each level of the brightest pixel above 250. ``bytes``: a tensor of that size.
    """
    unknown = set(numbers) - set(NUMBER_MARKERS)
    if unknown:
        raise ValueError(f"no such numbers: {', '.join(sorted(unknown))}")
    for name, marker in NUMBER_MARKERS.items():
        model = model.replace(struct.pack("<i", marker), struct.pack("<i", numbers.get(name, 0)))
    return model


def with_model(bundle: Path, model: bytes, out: Path, /, **fields: Any) -> Path:
    """Write ``bundle`` with another model, which is not run here, and sign it; return ``out``.

    ``fields`` change the manifest as :func:`changed` does.
    """
    opened = open_bundle(bundle)
    path = opened.manifest.model[0].file
    contents = {entry.path: opened.read(entry.path) for entry in opened.manifest.files} | {path: model}
    entries = tuple(file_entry(e.path, e.role, contents[e.path]) for e in opened.manifest.files)
    manifest = changed(opened.manifest, files=entries, resources__model_bytes=len(model))
    return write_bundle(out, changed(manifest, **fields), contents, [TEST_KEY]).path


def accepted_here(bundle: Bundle) -> dict[str, Any]:
    """Accept any bundle, as if its model had run on this device: for what goes wrong only later."""
    from galago_edge.engine import runtime
    from galago_edge.pipeline.isolated_load import runtime_name

    samples = [{"file": golden.file, "difference": 0} for golden in bundle.manifest.golden]
    return {"runtime": runtime_name(runtime()), "golden": samples}


def make_hollow_bundle(
    path: Path,
    model: bytes = b"hollow",
    labels: Sequence[str | Label] = ("no", "yes"),
    *,
    keys: Sequence[Ed25519PrivateKey] = (TEST_KEY,),
    **info: Any,
) -> Path:
    """Write a valid camera bundle whose model and golden are only bytes: for tests that run no model."""
    manifest, files = hollow_manifest(model, labels, **info)
    return write_bundle(path, manifest, files, keys).path


def hollow_manifest(
    model: bytes = b"hollow", labels: Sequence[str | Label] = ("no", "yes"), **info: Any
) -> tuple[Manifest, dict[str, bytes]]:
    """Return manifest and files of a hollow bundle, to be changed before they are written."""
    logits = tuple(min(code, 127) for code in range(len(labels)))
    expected = GoldenExpected(tensor_sha256=_ZERO_HASH, argmax=len(logits) - 1, logits=logits, atol_steps=0)
    entry = PreprocessEntry(spec=TINY_IMAGE, sha256=_ZERO_HASH)
    answers = [(_name(labels[-1]), b"a picture", expected)]
    return small_manifest(model, labels, entry, {}, answers, (0.125, 0), None, **info)


def small_manifest(
    model: bytes,
    labels: Sequence[str | Label],
    preprocess: PreprocessEntry,
    tables: Mapping[str, bytes],
    golden: Sequence[tuple[str, bytes, GoldenExpected]],
    output_quantization: tuple[float, int],
    decision: Decision | None,
    *,
    gate: Gate | UnsetType = UNSET,
    accelerated: Mapping[str, bytes] | None = None,
    **info: Any,
) -> tuple[Manifest, dict[str, bytes]]:
    """Return a manifest that holds together, and the files it lists."""
    spec = preprocess.spec
    suffix = "png" if isinstance(spec, ImagePreprocess) else "wav"
    named = [(f"golden/{number}.{suffix}", *sample) for number, sample in enumerate(golden)]
    cpu = _model(spec, len(labels), output_quantization)
    others = {name: data for name, data in (accelerated or {}).items() if data != model}
    models = {cpu.file: model, **{f"model-{name}.tflite": data for name, data in others.items()}}
    files = {**models, **tables, **{path: data for path, _, data, _ in named}}
    roles: dict[str, Literal["model", "frontend", "golden"]] = dict.fromkeys(models, "model")
    roles |= dict.fromkeys(tables, "frontend")
    manifest = Manifest(
        bundle=BundleInfo(**{**_INFO, **info}),
        modality="camera" if suffix == "png" else "microphone",
        compat=Compatibility(
            device_profiles=("generic-x86-64", "generic-arm64"),
            arch=tuple(sorted({"x86_64", "aarch64", this_arch()})),
            min_runtime_version="0.1.0",
            ops=(Operator(name="CONV_2D", version=3, count=1),),
            features=(spec.version,) if gate is UNSET else (spec.version, gate.version),
        ),
        model=(
            cpu,
            *(
                changed(cpu, backend=name, file=f"model-{name}.tflite" if name in others else cpu.file)
                for name in accelerated or {}
            ),
        ),
        preprocess=preprocess,
        labels=tuple(label if isinstance(label, Label) else Label(name=label) for label in labels),
        decision=decision or Decision(),
        gate=gate,
        golden=tuple(Golden(file=path, label=label, expected=answer) for path, label, _, answer in named),
        resources=Resources(model_bytes=len(model), rss_peak_bytes=0, min_free_disk_bytes=len(model)),
        data=DataSummary(
            train_sha256=_ZERO_HASH,
            calibration_sha256=_ZERO_HASH,
            test_sha256=_ZERO_HASH,
            test_samples=0,
            accuracy_float=1.0,
            accuracy_int8=1.0,
            recall_int8={_name(label): 1.0 for label in labels},
        ),
        files=tuple(file_entry(path, roles.get(path, "golden"), data) for path, data in files.items()),
    )
    return manifest, files


def golden_samples(spec: Preprocess, labels: Sequence[str | Label]) -> dict[str, bytes]:
    """Return a PNG of an even gray level or a WAV of low or high tones for each of the first three labels."""
    make = [_png(spec, level) for level in _LEVELS] if isinstance(spec, ImagePreprocess) else []
    if isinstance(spec, AudioPreprocess):
        make = [wav_bytes(_tones(spec, tones), spec.sample_rate_hz) for tones in _TONES_HZ]
    return {_name(label): data for label, data in zip(labels, make, strict=False)}


def trust(root: Path, *keys: Ed25519PrivateKey) -> Path:
    """Let the device at ``root`` trust these keys (TEST_KEY when none is given); return ``root``."""
    folder = root / "trust"
    folder.mkdir(parents=True, exist_ok=True)
    for key in keys or (TEST_KEY,):
        keyid = key_id(key)
        (folder / f"{keyid}.pub").write_text(public_line(keyid, "test"))
    return root


def changed(part: Any, **fields: Any) -> Any:
    """Return a copy of a manifest object with other values; ``a__b=x`` changes ``part.a.b``."""
    deep: dict[str, dict[str, Any]] = {}
    flat = {}
    for name, value in fields.items():
        head, _, rest = name.partition("__")
        if rest:
            deep.setdefault(head, {})[rest] = value
        else:
            flat[head] = value
    flat |= {head: changed(getattr(part, head), **rest) for head, rest in deep.items()}
    return msgspec.structs.replace(part, **flat)


def wav_bytes(samples: npt.NDArray[np.int16], rate_hz: int) -> bytes:
    """Return a 16-bit mono WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


class SteppedClock:
    """A monotonic clock that stands still unless somebody waits."""

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        self.waits_s: list[float] = []

    def __call__(self) -> int:
        """Return the time in nanoseconds."""
        return self.now_ns

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass at once, and remember them."""
        self.waits_s.append(seconds)
        self.now_ns += round(seconds * NS_PER_S)


class ScriptedCapture:
    """A connection to a camera or microphone that does what its script says, on a stepped clock.

    The script holds frames, blocks and gaps (the clock goes on to when they are captured), seconds of
    silence, and exceptions to raise. At its end the connection breaks.
    """

    def __init__(self, clock: SteppedClock, script: Iterable[Frame | AudioBlock | Gap | float | Exception]):
        self._clock = clock
        self._script = iter(script)
        self._silence_ns = 0
        self.closed = 0

    def description(self) -> dict[str, Any]:
        """Return what a device would say of itself."""
        return {"kind": "fake", "name": "fake", "size": 4}

    def read(self, timeout_s: float) -> Frame | AudioBlock | Gap | None:
        """Do the next thing of the script."""
        if not self._silence_ns:
            step = next(self._script, LinkError(Reason.SOURCE_LOST, "the cable was pulled"))
            if isinstance(step, Exception):
                raise step
            if not isinstance(step, int | float):
                at_ns = step.to_ns if isinstance(step, Gap) else step.captured_ns
                self._clock.now_ns = max(self._clock.now_ns, at_ns)
                return step
            self._silence_ns = round(step * NS_PER_S)
        passed_ns = min(self._silence_ns, round(timeout_s * NS_PER_S))
        self._silence_ns -= passed_ns
        self._clock.now_ns += passed_ns
        return None

    def close(self) -> None:
        """Count it."""
        self.closed += 1


_INFO = {
    "name": "tiny",
    "version": "1.0.0",
    "release_counter": 1,
    "created_utc": "2026-01-01T00:00:00Z",
    "producer": "galago tests",
}


def make_service_status(**fields: Any) -> ServiceStatus:
    """Return what a healthy service with a camera and a microphone may say of itself, ``fields`` changed."""
    door = StreamStatus(
        name="door",
        source="yard",
        modality="camera",
        bundle="digits",
        version="1.4.0",
        bundle_id="5b" * 32,
        state="running",
        windows=61_203,
        skipped=48_112,
        events=17,
        gaps=3,
        dropped=5,
        levels=(
            LabelLevel(label="nothing", score=0.04, on=0.5, off=0.4, active=False, background=True),
            LabelLevel(label="seven", score=0.91, on=0.8, off=0.55, active=True),
            LabelLevel(label="three", score=0.31, on=0.75, off=0.5, active=False),
        ),
        backend=BackendStatus(backend="cpu", invoke_p50_us=7_130, invoke_max_us=9_240),
        gate=GateStatus(kind="motion", open=True, level=14.0, threshold=6.0),
        coverage=(
            CoverageStatus(day="2026-11-21", watched_s=86_310.0, gap_s={"disconnect": 90.0}),
            CoverageStatus(day="2026-11-22", watched_s=42_180.5, gap_s={"connecting": 0.5, "stall": 12.0}),
        ),
    )
    hall = changed(
        door,
        name="hall",
        source="ceiling",
        modality="microphone",
        bundle="alarms",
        version="2.0.1",
        bundle_id="c4" * 32,
        windows=421_930,
        skipped=0,
        events=2,
        gaps=1,
        dropped=0,
        levels=(
            LabelLevel(label="household", score=0.12, on=0.5, off=0.4, active=False, background=True),
            LabelLevel(label="smoke alarm", score=0.02, on=0.7, off=0.4, active=False),
        ),
        backend=BackendStatus(backend="cpu", invoke_p50_us=410, invoke_max_us=870),
        gate=None,
        coverage=(CoverageStatus(day="2026-11-22", watched_s=42_193.0, gap_s={}),),
    )
    event = EventRecord(
        stream="door",
        seq=16,
        label="seven",
        score=0.91,
        start_index=61_190,
        end_index=61_203,
        start_ns=42_180_000_000_000,
        end_ns=42_182_000_000_000,
        bundle="5b" * 32,
        backend="cpu",
        wall_ns=1_795_000_000_000_000_000,
        clock_synced=True,
    )
    status = ServiceStatus(
        device="porch",
        version="0.1.0",
        pid=4242,
        uptime_s=42_193.5,
        wall_ns=1_795_000_005_000_000_000,
        clock_synced=True,
        state="ok",
        rss_mb=143.5,
        temperature_c=54.25,
        sources=(
            SourceStatus(
                name="yard",
                kind="camera",
                liveness="healthy",
                for_s=3_600.0,
                items=210_905,
                dropped=7,
                connects=2,
                failures=1,
                rate_hz=5.0,
            ),
            SourceStatus(
                name="ceiling",
                kind="microphone",
                liveness="healthy",
                for_s=42_193.0,
                items=675_088_000,
                connects=1,
                rate_hz=16_000.0,
                level_dbfs=-43.5,
            ),
        ),
        streams=(door, hall),
        sinks=(
            SinkStatus(name="log", state="ok", delivered=1_204),
            SinkStatus(name="mqtt", state="ok", delivered=1_203, pending=1, oldest_pending_s=0.25),
        ),
        last_events=(msgspec.to_builtins(event),),
    )
    return msgspec.structs.replace(status, **fields)


def _name(label: str | Label) -> str:
    return label.name if isinstance(label, Label) else label


def _model(spec: Preprocess, labels: int, output_quantization: tuple[float, int]) -> Model:
    dtype, layout, scale, zero_point = INPUT_QUANTIZATION[spec.version]
    shape: tuple[int, ...]
    if isinstance(spec, ImagePreprocess):
        shape = (1, spec.height, spec.width, 3 if spec.color == "rgb" else 1)
    else:
        shape = (1, spec.window_frames, spec.mel_bands)
    given: dict[str, Any] = {"dtype": dtype, "layout": layout, "scale": scale, "zero_point": zero_point}
    return Model(
        file="model.tflite",
        input=Tensor(name="input", index=0, shape=shape, **given),
        output=Tensor(
            name="logits",
            index=1,
            shape=(1, labels),
            dtype="int8",
            scale=output_quantization[0],
            zero_point=output_quantization[1],
            layout="NC",
        ),
    )


def _png(spec: ImagePreprocess, level: int) -> bytes:
    import cv2

    pixels = np.full((spec.height, spec.width, 3), level, np.uint8)
    encoded: bytes = cv2.imencode(".png", pixels)[1].tobytes()
    return encoded


def _tones(spec: AudioPreprocess, frequencies_hz: Sequence[int]) -> npt.NDArray[np.int16]:
    time_s = np.arange(spec.window_samples) / spec.sample_rate_hz
    waves = [np.sin(2 * np.pi * hz * time_s) for hz in frequencies_hz]
    sound: npt.NDArray[np.int16] = np.rint(5_000 * sum(waves, np.zeros_like(time_s))).astype(np.int16)
    return sound

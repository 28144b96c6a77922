"""The bundle's manifest: everything that decides an answer, as types.

The signed bytes are JSON of :class:`Manifest`. Unknown keys are refused, except ``x-*`` at the
top level. How bytes become a Manifest, and what else is checked, is ``galago_edge.bundle``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.modality import Modality

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_SEGMENT = r"[a-z0-9._-]{0,63}[a-z0-9_-]"
BundlePath = Annotated[str, msgspec.Meta(max_length=100, pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,2}}\Z")]
"""Path inside a bundle: lower case, at most three segments, none with a dot at its end (a card's FAT drops
it, and ``.`` and ``..`` lead elsewhere); ustar holds 100 bytes."""
BundleName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9-]{0,39}\Z",
        description="1 to 40 small letters, digits and -, the first a letter",
    ),
]
BackendName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9-]{0,31}\Z",
        description="1 to 32 small letters, digits and -, the first a letter",
    ),
]
"""``cpu``, or the name of an accelerator as a device's profile lists it: ``edgetpu``, ``gpu``."""
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}\Z")]
LabelName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^\S(.*\S)?\Z")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

SCHEMA: Literal["galago.bundle/1"] = "galago.bundle/1"


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every manifest object."""


class BundleInfo(_Part, frozen=True, kw_only=True):
    """Which bundle this is."""

    name: BundleName
    version: Version
    release_counter: Natural
    """Grows with every release of this name and channel; a device never goes below its floor."""
    channel: BundleName = "stable"
    created_utc: Annotated[
        str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
    ]
    """When the model was converted (not when the file was packed: same inputs, same bytes)."""
    producer: str
    """Tool and version, such as ``galago 0.1.0``."""
    description: str = ""


class FileEntry(_Part, frozen=True, kw_only=True):
    """One file of the bundle; together they are the complete list, in archive order."""

    path: BundlePath
    role: Literal["model", "frontend", "golden", "card", "license"]
    size: Natural
    sha256: Sha256


class Operator(_Part, frozen=True, kw_only=True):
    """A builtin operator of the model, for the device's op table."""

    name: str
    version: Positive
    count: Positive


class Compatibility(_Part, frozen=True, kw_only=True):
    """Which devices may take this bundle."""

    device_profiles: tuple[str, ...]
    """Profile ids it was built for, such as ``raspberry-pi-5``."""
    arch: tuple[str, ...]
    """Machine names as ``platform.machine()`` gives them; the union over the profiles."""
    min_runtime_version: Version
    """Oldest galago-edge that knows everything this manifest says."""
    tflite_schema: Literal[3] = 3
    ops: tuple[Operator, ...]
    features: tuple[str, ...] = ()
    """Capabilities the runtime must know, such as ``image/1`` or ``logmel/1``."""


class Tensor(_Part, frozen=True, kw_only=True):
    """Input or output of the model: ``real = scale * (stored - zero_point)``."""

    name: str
    index: Natural
    shape: tuple[Positive, ...]
    dtype: Literal["uint8", "int8"]
    scale: Annotated[float, msgspec.Meta(gt=0.0)]
    zero_point: Annotated[int, msgspec.Meta(ge=-128, le=255)]
    layout: Literal["NHWC", "NTF", "NC"]


class Model(_Part, frozen=True, kw_only=True):
    """One executable form of the network.

    The first is the CPU one, on which every device can fall back. The others are the same network for an
    accelerator: same labels, same input and output tensors to the last scale and zero point.
    """

    file: BundlePath
    backend: BackendName = "cpu"
    format: Literal["tflite"] = "tflite"
    quantization: Literal["int8"] = "int8"
    input: Tensor
    output: Tensor
    """int8 logits, shape ``(1, labels)``."""


class ImagePreprocess(_Part, frozen=True, kw_only=True, tag_field="kind", tag="image"):
    """A BGR frame becomes the model's uint8 input. Implementation: ``galago_edge.preprocess.image``."""

    version: Literal["image/1"] = "image/1"
    width: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    height: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    color: Literal["rgb", "gray"] = "rgb"
    resize: Literal["stretch", "crop", "letterbox"] = "stretch"
    interpolation: Literal["linear_exact"] = "linear_exact"
    pad_value: Annotated[int, msgspec.Meta(ge=0, le=255)] = 114
    """Gray level of the letterbox bars."""
    hop_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 0
    """Stream time between decisions; 0 decides on every frame."""


class AudioPreprocess(_Part, frozen=True, kw_only=True, tag_field="kind", tag="logmel"):
    """Samples become int8 log-mel codes. Implementation: ``galago_edge.preprocess.audio``."""

    version: Literal["logmel/1", "logmel/2"] = "logmel/1"
    sample_rate_hz: Annotated[int, msgspec.Meta(ge=4_000, le=192_000)] = 16_000
    frame_samples: Annotated[int, msgspec.Meta(ge=16, le=4096)] = 480
    """Length of one analysis frame (30 ms at 16 kHz)."""
    frame_hop_samples: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 160
    mel_bands: Annotated[int, msgspec.Meta(ge=1, le=128)] = 40
    fmin_hz: Annotated[float, msgspec.Meta(ge=0.0)] = 60.0
    fmax_hz: Annotated[float, msgspec.Meta(gt=0.0)] = 7_600.0
    window_frames: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 98
    """Frames that the model sees at once."""
    hop_frames: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 25
    """Frames between two decisions."""
    mel_scale: Literal["htk", "slaney"] | UnsetType = UNSET
    """``logmel/2``: ``htk`` as in ``logmel/1``; ``slaney`` is linear up to 1 kHz, its bands of equal area."""
    spectrum: Literal["magnitude", "power"] | UnsetType = UNSET
    """``logmel/2``: what the bands sum up; ``magnitude`` in ``logmel/1``."""
    floor_db: Annotated[float, msgspec.Meta(ge=-118.0, le=0.0)] | UnsetType = UNSET
    """``logmel/2``: what is quieter has this level, in dB of a full-scale sine; -118 in ``logmel/1``."""

    def __post_init__(self) -> None:
        """Refuse fields of another version.

        Raises:
            ValueError: ``logmel/1`` has one of the fields of ``logmel/2``, or ``logmel/2`` lacks one.
        """
        # left out, not defaulted: what logmel/1 hashes never changes
        for name in ("mel_scale", "spectrum", "floor_db"):
            given = getattr(self, name) is not UNSET
            if given != (self.version == "logmel/2"):
                raise ValueError(f"{self.version} {'has no' if given else 'needs'} {name}")

    @property
    def window_samples(self) -> int:
        """Samples that one window covers."""
        return (self.window_frames - 1) * self.frame_hop_samples + self.frame_samples


Preprocess = ImagePreprocess | AudioPreprocess


class PreprocessEntry(_Part, frozen=True, kw_only=True):
    """The specification, and the hash of it together with its tables."""

    spec: Preprocess
    sha256: Sha256
    """``galago_edge.preprocess.fingerprint(spec)``; a runtime that computes another one refuses."""
    tables: tuple[BundlePath, ...] = ()
    """Files of role ``frontend``, in the order the implementation names them."""


class LabelPolicy(_Part, frozen=True, kw_only=True):
    """When a label becomes an event. Meaning and arithmetic: ``galago_edge.decision``."""

    on: Probability = 0.7
    """Smoothed score at or above which the label turns on."""
    off: Probability = 0.5
    """Smoothed score below which it turns off; at most ``on``."""
    smoothing_windows: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3
    """The smoothed score is the mean of the last so many windows."""
    min_count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2
    """Consecutive windows that the label must be on before it is an event."""
    refractory_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 1_000
    """Stream time after an event during which this label gives no other."""


class Label(_Part, frozen=True, kw_only=True):
    """One class of the model, in output order."""

    name: LabelName
    background: bool = False
    """A background label never becomes an event."""
    policy: LabelPolicy = LabelPolicy()


class Decision(_Part, frozen=True, kw_only=True):
    """How logits become scores; what scores become is each label's policy."""

    activation: Literal["softmax", "sigmoid"] = "softmax"
    temperature: Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)] = 1.0


class MotionGate(_Part, frozen=True, kw_only=True, tag_field="kind", tag="motion"):
    """Run the model on a frame only while something moves; see ``galago_edge.decision.activity_gate``."""

    version: Literal["motion/1"] = "motion/1"
    step: Annotated[int, msgspec.Meta(ge=1, le=255)] = 12
    """Gray levels by which the mean of a cell must differ from the background to count as changed."""
    cells: Annotated[int, msgspec.Meta(ge=1, le=768)] = 4
    """Changed cells, of a grid of 768, at or above which the gate opens."""
    hold_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 3_000
    """Stream time that the gate stays open after the last motion."""


class LevelGate(_Part, frozen=True, kw_only=True, tag_field="kind", tag="level"):
    """Run the model on a window only while it is loud enough; see ``galago_edge.decision.activity_gate``."""

    version: Literal["level/1"] = "level/1"
    open_dbfs: Annotated[float, msgspec.Meta(ge=-96.0, le=0.0)] = -50.0
    """Level of the newest hop, RMS against full scale, at or above which the gate opens."""
    hold_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 3_000
    """Stream time that the gate stays open after the last loud hop."""


Gate = MotionGate | LevelGate


class LatencyMeasure(_Part, frozen=True, kw_only=True):
    """Invoke-only latency on the machine that evaluated the run."""

    cpu: str
    threads: Positive
    p50_us: Natural
    p99_us: Natural


class Resources(_Part, frozen=True, kw_only=True):
    """What the model costs, measured when the run was evaluated."""

    model_bytes: Positive
    rss_peak_bytes: Natural
    """Of a process that only loads and runs the model, Python and the runtime included."""
    engine_heap_bytes: Natural | UnsetType = UNSET
    """What one engine takes of the C heap: tensors, packed weights, scratch. Not every machine can tell."""
    latency: tuple[LatencyMeasure, ...] = ()
    min_free_disk_bytes: Natural


class GoldenExpected(_Part, frozen=True, kw_only=True):
    """What the device must compute from a golden sample."""

    tensor_sha256: Sha256
    """Hash of the preprocessed input tensor: exact on every device."""
    argmax: Natural
    logits: tuple[int, ...]
    """int8 output codes."""
    atol_steps: Natural
    """Largest difference per code that still counts as the same model on another CPU."""


class Golden(_Part, frozen=True, kw_only=True):
    """A sample that travels in the bundle and is run at install."""

    file: BundlePath
    """A PNG (camera) or a 16-bit mono WAV at the model's rate (microphone)."""
    label: LabelName
    expected: GoldenExpected


class LiveHealth(_Part, frozen=True, kw_only=True):
    """What a trial must show before the bundle is committed."""

    min_inferences: Positive = 20
    within_s: Positive = 60
    max_p99_ms: Positive = 1_000


class Health(_Part, frozen=True, kw_only=True):
    """Conditions of the trial after an install."""

    golden_required: bool = True
    """Always true: a bundle that says otherwise is refused."""
    trial_s: Positive = 120
    max_trials: Positive = 3
    live: LiveHealth = LiveHealth()


class DataSummary(_Part, frozen=True, kw_only=True):
    """Where the model comes from: hashes and held-out figures."""

    train_sha256: Sha256
    calibration_sha256: Sha256
    test_sha256: Sha256
    test_samples: Natural
    accuracy_float: Probability
    accuracy_int8: Probability
    recall_int8: dict[str, Probability]
    """Per label, on the held-out test set."""


class Provenance(_Part, frozen=True, kw_only=True):
    """How the model came to be: enough to find the run, and to make it again."""

    build_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """What the builder calls this build, such as a git commit or the number of a CI run."""
    trained_utc: str
    trained_by: str
    """Tool and version."""
    seed: Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
    config_sha256: Sha256
    """Of the run's configuration file."""
    model_sha256: Sha256
    """Of the trained network before conversion."""
    float_sha256: Sha256
    """Of its float TFLite form."""
    float_delta: Annotated[float, msgspec.Meta(ge=0.0)]
    """Largest difference of a logit between the network and its float TFLite form, on calibration samples."""
    versions: dict[str, str]
    """Package name to version, for everything that had a hand in the model's bytes."""
    measured_with: str
    """TFLite runtime with which ``resources`` and ``data`` were measured, package and version."""


class Rollback(_Part, frozen=True, kw_only=True):
    """What a commit of this bundle forbids afterwards."""

    min_release_counter_after_commit: Natural = 0


class Manifest(_Part, frozen=True, kw_only=True):
    """The whole manifest, in the order it is written."""

    schema: Literal["galago.bundle/1"] = SCHEMA
    bundle: BundleInfo
    modality: Modality
    compat: Compatibility
    model: Annotated[tuple[Model, ...], msgspec.Meta(min_length=1, max_length=4)]
    preprocess: PreprocessEntry
    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=2, max_length=10_000)]
    decision: Decision
    gate: Gate | UnsetType = UNSET
    """What must happen before the model is run at all; a window that is skipped counts as score 0."""
    golden: Annotated[tuple[Golden, ...], msgspec.Meta(min_length=1, max_length=64)]
    resources: Resources
    health: Health = Health()
    rollback: Rollback = Rollback()
    data: DataSummary
    provenance: Provenance | UnsetType = UNSET
    files: Annotated[tuple[FileEntry, ...], msgspec.Meta(min_length=1, max_length=256)]

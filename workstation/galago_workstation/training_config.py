"""The training configuration: one TOML file that says what is learned, from what, and how.

Bounds live in the types, unknown keys are refused. Every key with its meaning: docs/training.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.manifest import (
    AudioPreprocess,
    Decision,
    ImagePreprocess,
    Label,
    LabelName,
    LabelPolicy,
    LevelGate,
    MotionGate,
)
from galago_edge.host.toml_file import load_toml, tables_as
from galago_workstation.data.augmentation.augment_options import (
    PICTURE_PRESETS,
    SOUND_PRESETS,
    AudioAugment,
    ImageAugment,
    check_augment,
    with_preset,
)
from galago_workstation.data.folder_rules import bad_setting, check_folders
from galago_workstation.training.network_kind import NETWORKS, Input, NetworkOptions, find_network, network_of

Share = Annotated[float, msgspec.Meta(ge=0.01, le=0.5)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]

DOCS = "docs/training.md"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the file."""


class _FolderData(_Table, frozen=True, kw_only=True, tag_field="kind"):
    """A folder with one sub-folder per class."""

    folder: str | None = None
    """Relative to the configuration file. This or ``manifest``."""
    manifest: str | None = None
    """A table of samples (CSV or JSON lines) with ``path``, ``label`` and perhaps ``group`` and ``part``."""
    test_folder: str | None = None
    """Official test set in the same shape; then nothing of ``folder`` is held out for the test."""
    validation_folder: str | None = None
    """Official validation set in the same shape; then nothing of ``folder`` is held out for validation."""
    pattern: str = "*"
    """Only files whose name, or path below ``folder``, matches this are samples."""
    ignore: tuple[str, ...] = ()
    """Files and folders whose name, or path below ``folder``, matches one of these are left out."""
    group: str | None = None
    """Regular expression searched in each path below ``folder``; the same capture stays on one side."""
    validation_groups: tuple[str, ...] = ()
    """Groups that are the validation part; then no others are held out for it."""
    test_groups: tuple[str, ...] = ()
    """Groups that are the test part; then no others are held out for it."""
    validation_share: Share = 0.15
    test_share: Share = 0.15
    background: tuple[LabelName, ...] = ()
    """Labels that never become an event."""


class ImageFolders(_FolderData, frozen=True, kw_only=True, tag="images"):
    """PNG and JPEG files."""


class AudioFolders(_FolderData, frozen=True, kw_only=True, tag="audio"):
    """WAV and FLAC files."""


class IdxFiles(_Table, frozen=True, kw_only=True, tag_field="kind", tag="idx"):
    """Gray images and labels in the MNIST file format; each file may be gzipped."""

    images: str
    labels: str
    test_images: str | None = None
    test_labels: str | None = None
    label_names: tuple[LabelName, ...]
    """Name of class 0, 1, 2 ..."""
    validation_share: Share = 0.15
    test_share: Share = 0.15
    background: tuple[LabelName, ...] = ()


class TrainOptions(_Table, frozen=True, kw_only=True):
    """How the weights are found."""

    epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 30
    min_steps: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 500
    """Fewest steps (batches) of all epochs together: an epoch goes through a small set several times."""
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 64
    learning_rate: Annotated[float, msgspec.Meta(gt=0.0, le=10.0)] = 0.002
    """Peak of the schedule: linear warm-up, then cosine down to zero at the last epoch."""
    warmup_epochs: Annotated[float, msgspec.Meta(ge=0.0, le=1_000.0)] = 1.0
    weight_decay: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1e-4
    """AdamW's; kernels only."""
    label_smoothing: Annotated[float, msgspec.Meta(ge=0.0, le=0.5)] = 0.0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """In what the network computes while it learns; its weights are float32 in any case."""
    class_weights: bool = False
    """Weigh classes by the inverse of how often they occur."""
    sampling: Literal["natural", "balanced"] = "natural"
    """Show samples as often as there are of each label, or each label equally often."""
    clip_norm: Annotated[float, msgspec.Meta(ge=0.0, le=1_000.0)] = 0.0
    """Largest norm of all gradients together; larger ones are shortened. 0: as they are."""
    average: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    """Momentum of the average of the weights (EMA) that is validated and kept, such as 0.99; 0: none."""
    best_by: Literal["balanced", "accuracy", "streams"] = "balanced"
    """What decides which epoch's weights are kept: the mean of all labels' recalls, the accuracy, or what
    becomes of the recordings of ``[validation]``."""
    patience: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    """Epochs without a better validation result before training stops; the best weights are kept."""
    head_epochs: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """With ``[model] weights``: in so many of ``epochs``, the first ones, only the solved logits learn."""
    body_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.1
    """With ``[model] weights``: learning rate of the body's last layer as a share of the logits'; 0: the body
    stays as it is, and one epoch measures what the solved logits make of it."""
    layer_decay: Annotated[float, msgspec.Meta(ge=0.5, le=1.0)] = 0.97
    """With ``[model] weights``: each convolution learns so much slower than the one behind it."""
    seed: Seed = 1


class DecisionOptions(_Table, frozen=True, kw_only=True):
    """What becomes of the logits on the device; goes into the manifest as it is."""

    activation: Literal["softmax", "sigmoid"] = "softmax"
    """``sigmoid`` also trains each label on its own (binary cross-entropy)."""
    temperature: Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)] = 1.0
    default: LabelPolicy = LabelPolicy()
    label: dict[str, dict[str, float]] = {}
    """Keys of :class:`LabelPolicy` by label; what is not named comes from ``default``."""

    def decision(self) -> Decision:
        """Return the manifest's form."""
        return Decision(activation=self.activation, temperature=self.temperature)

    def policy(self, label: str) -> LabelPolicy:
        """Return the policy of one label: its own keys over the default ones.

        Raises:
            CallerError: CONFIG_BAD; an unknown key, a value out of bounds, or ``on`` below ``off``.
        """
        merged = {**msgspec.to_builtins(self.default), **self.label.get(label, {})}
        where = f"[decision.label.{label}]" if label in self.label else "[decision.default]"
        try:
            # strict=False: TOML's 3.0 is a count of three
            policy = msgspec.convert(merged, LabelPolicy, strict=False)
        except msgspec.ValidationError as error:
            raise CallerError(Reason.CONFIG_BAD, f"{where}: {error}", hint=f"see {DOCS}") from None
        if policy.on < policy.off:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{where}: on is {policy.on}, off is {policy.off}; expected off at most as large as on",
                hint="a label turns on at or above on, and off below off",
            )
        return policy


class ConvertOptions(_Table, frozen=True, kw_only=True):
    """How ``galago convert`` quantizes, and what it refuses."""

    calibration_samples: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 300
    max_loss_points: Annotated[float, msgspec.Meta(ge=0.0, le=100.0)] = 1.0
    """Largest loss of int8 against float on held-out data, in percentage points of accuracy."""
    aware_epochs: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Epochs of quantization-aware training, if int8 loses more than half a point; 0: none."""


def convert_options(base: ConvertOptions, **given: object) -> ConvertOptions:
    """Return options with some replaced; None leaves one as it is.

    Raises:
        CallerError: CONFIG_BAD; a value that cannot be.
    """
    values = {key: value for key, value in given.items() if value is not None}
    try:
        return msgspec.convert(msgspec.to_builtins(base) | values, ConvertOptions)
    except msgspec.ValidationError as error:
        text = f"{', '.join(f'{key} = {value!r}' for key, value in values.items())}: {error}"
        raise CallerError(Reason.CONFIG_BAD, text, hint=f"see [convert] in {DOCS}") from None


class ModelGates(_Table, frozen=True, kw_only=True):
    """What the int8 model must reach on the test part; below it no bundle is built without a reason."""

    min_accuracy: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    min_recall: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0
    """Of every label that ``recall`` does not name."""
    recall: dict[str, Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]] = {}
    """By label."""


class StreamOptions(_Table, frozen=True, kw_only=True):
    """Recordings by which epochs are chosen, for ``[train] best_by = "streams"``."""

    streams: str
    """A corpus: a folder or a list of recordings with labels; relative to the configuration file."""
    false_alarms_per_hour: Annotated[float, msgspec.Meta(ge=0.0, le=100_000.0)] = 1.0
    """The limit; of the epochs that hold it the one with the most recall is kept."""
    every: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """The first epoch and every so many behind it are judged; no other can be kept."""


class _Config(_Table, frozen=True, kw_only=True):
    train: TrainOptions = TrainOptions()
    decision: DecisionOptions = DecisionOptions()
    convert: ConvertOptions = ConvertOptions()
    gates: ModelGates = ModelGates()
    validation: StreamOptions | UnsetType = UNSET


class ImageConfig(_Config, frozen=True, kw_only=True):
    """A camera classifier."""

    data: ImageFolders | IdxFiles
    preprocess: ImagePreprocess
    model: NetworkOptions
    augment: ImageAugment = ImageAugment()
    gate: MotionGate | UnsetType = UNSET
    """Goes into the manifest as it is: the device runs the model only while something moves."""


class AudioConfig(_Config, frozen=True, kw_only=True):
    """A microphone classifier."""

    data: AudioFolders
    preprocess: AudioPreprocess
    model: NetworkOptions
    augment: AudioAugment = AudioAugment()
    gate: LevelGate | UnsetType = UNSET
    """Goes into the manifest as it is: the device runs the model only while it is loud enough."""


Config = ImageConfig | AudioConfig


class _DataKind(msgspec.Struct):
    kind: Literal["images", "audio", "idx"]


class _Kind(msgspec.Struct):
    data: _DataKind


def read_config(path: Path) -> Config:
    """Read a training configuration and check what its types alone cannot say.

    Raises:
        CallerError: CONFIG_BAD; the file is missing, is not TOML, has an unknown key, a value out of
            bounds, or two keys that contradict each other.
        DeviceError: PLUGIN_BAD; the network is another distribution's, and cannot be used.
        LinkError: The file cannot be read.
    """
    refuse_folder(path)
    return checked_config(load_toml(path, dict[str, Any], docs=DOCS), str(path))


def refuse_folder(path: Path) -> None:
    """Say what makes a configuration of a folder of data.

    Raises:
        CallerError: CONFIG_BAD; it is a folder.
    """
    if path.is_dir():
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{path} is a folder, expected a training configuration",
            hint=f"galago init {path} looks at it and writes one",
        )


def checked_config(tables: dict[str, Any], where: str) -> Config:
    """Return the configuration that plain tables say; errors begin with ``where``.

    Raises:
        CallerError: CONFIG_BAD; as :func:`read_config`.
        DeviceError: PLUGIN_BAD; as :func:`read_config`.
    """
    try:
        config = _config_of(tables)
    except msgspec.ValidationError as error:
        raise CallerError(Reason.CONFIG_BAD, f"{where}: {error}", hint=f"see {DOCS} for every key") from None
    try:
        _check(config)
    except CallerError as error:
        raise CallerError(error.reason, f"{where}: {error}", hint=error.hint) from None
    return config


def _config_of(tables: dict[str, Any]) -> Config:
    """Return what plain tables say.

    Raises:
        msgspec.ValidationError: The key, and what was expected there.
    """
    # the kind of data decides which of the two types the file must have, so that errors name one table
    kind = tables_as(_Kind, tables).data.kind
    whole: type[Config] = AudioConfig if kind == "audio" else ImageConfig
    options = _options_type(tables.get("model"), "audio" if kind == "audio" else "image")
    fields = [] if options is None else [("model", options)]
    exact = msgspec.defstruct(
        "Tables", fields, bases=(whole,), frozen=True, kw_only=True, forbid_unknown_fields=True
    )
    presets = SOUND_PRESETS if kind == "audio" else PICTURE_PRESETS
    if "augment" in tables:
        tables = {**tables, "augment": with_preset(tables["augment"], presets)}
    read = tables_as(exact, tables)
    return whole(**{name: getattr(read, name) for name in whole.__struct_fields__})


def _options_type(model: Any, takes: Input) -> type[NetworkOptions] | None:
    """Return the type of the table ``[model]``; None for what is not even a table with a kind."""
    name = model.get("kind") if isinstance(model, dict) else None
    if not isinstance(name, str):
        return None
    network = find_network(name)
    if network is not None and takes in network.inputs:
        return network.options
    if network is not None:
        raise msgspec.ValidationError(f"[model] kind: {name} takes no {takes}")
    known = ", ".join(NETWORKS.names())
    raise msgspec.ValidationError(f"[model] kind: {name!r} is none; expected one of {known}")


def label_specs(config: Config, names: tuple[str, ...]) -> tuple[Label, ...]:
    """Return the manifest's labels in output order.

    Raises:
        CallerError: CONFIG_BAD; ``[data] background``, ``[decision.label]`` or ``[gates.recall]`` names none.
    """
    for key, named in (
        ("[data] background", config.data.background),
        ("[decision.label]", config.decision.label),
        ("[gates.recall]", config.gates.recall),
    ):
        for name in named:
            if name not in names:
                raise CallerError(
                    Reason.CONFIG_BAD,
                    f"{key} names {name!r}, which is not a label",
                    hint=f"labels: {', '.join(names)}",
                )
    return tuple(
        Label(name=name, background=name in config.data.background, policy=config.decision.policy(name))
        for name in names
    )


def _check(config: Config) -> None:
    data = config.data
    if isinstance(data, IdxFiles):
        if (data.test_images is None) != (data.test_labels is None):
            raise bad_setting("[data] test_images and test_labels go together", "give both or none")
    else:
        check_folders(data)
    for label in ("", *config.decision.label):
        config.decision.policy(label)
    if config.model.keep_logits and config.model.weights is None:
        raise bad_setting("[model] keep_logits needs weights", "name the run folder whose logits are kept")
    if config.model.keep_logits and config.train.body_rate == 0.0:
        text = "[model] keep_logits and [train] body_rate = 0 leave nothing that could learn"
        raise bad_setting(text, "leave keep_logits out: then the logits are solved anew")
    check_augment(config.augment)
    if config.train.sampling == "balanced" and config.train.class_weights:
        text = 'sampling = "balanced" and class_weights = true both make up for unequal labels'
        raise bad_setting(f"[train] {text}", "together they would do it twice: give one of the two")
    if (config.train.best_by == "streams") != (config.validation is not UNSET):
        text = '[train] best_by = "streams" and the table [validation] go together'
        raise bad_setting(text, "give both or none")
    if isinstance(config, AudioConfig):
        _check_frontend(config.preprocess, network_of(config.model).frontend)


def _check_frontend(given: AudioPreprocess, wanted: AudioPreprocess | None) -> None:
    """Refuse a preprocessing that the network was not made for."""
    if wanted is None:
        return
    for name in wanted.__struct_fields__:
        found, expected = getattr(given, name), getattr(wanted, name)
        if name == "window_frames" and found < expected:
            raise bad_setting(
                f"[preprocess] window_frames is {found}", f"this network takes {expected} and more"
            )
        if found != expected and name not in ("window_frames", "hop_frames"):
            shown = "missing" if found is UNSET else f"{found!r}"
            raise bad_setting(
                f"[preprocess] {name} is {shown}", f"this network takes {name} = {expected!r} only"
            )

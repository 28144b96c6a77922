"""``galago bundle build``: from a run to a bundle that a device takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from msgspec import UNSET

from galago_converters import metadata
from galago_converters.conversion_record import Conversion, HeldOut, encode
from galago_converters.inspection import report
from galago_edge.bundle import open_bundle
from galago_edge.bundle.archive import header
from galago_edge.bundle.keys import create_key_pair
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import (
    Gate,
    LevelGate,
    Manifest,
    MotionGate,
    Operator,
    Preprocess,
    Tensor,
)
from galago_edge.engine import Engine
from galago_edge.preprocess import fingerprint
from galago_workstation.data.sample import Sample, samples_sha256
from galago_workstation.evaluation.evaluation_record import Evaluation, Variant
from galago_workstation.files import write_json
from galago_workstation.packing import self_attack
from galago_workstation.run_folder import DataRoot, RunRecord, TrainResult, encode_split
from test_kit import TINY_AUDIO, TINY_IMAGE, changed, golden_samples, trust, wav_bytes

pytestmark = pytest.mark.usefixtures("few_attacks")

ALL_BYTES = self_attack.MOST_FRONT_BYTES
NO_HASH = "0" * 64
KERAS = b"the trained network"
IMAGE_LABELS = ("dark", "mid", "bright")
AUDIO_LABELS = ("quiet", "low", "high")
IMAGE_CONFIG = """
[data]
kind = "images"
folder = "data"
[preprocess]
kind = "image"
width = 16
height = 16
[model]
kind = "resnet"
[decision]
temperature = 1.5
[decision.label.bright]
on = 0.9
"""
AUDIO_CONFIG = """
[data]
kind = "audio"
folder = "data"
background = ["quiet"]
[preprocess]
kind = "logmel"
mel_bands = 10
window_frames = 20
hop_frames = 5
[model]
kind = "ds_cnn"
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sample_files(spec: Preprocess, labels: tuple[str, ...]) -> dict[str, list[bytes]]:
    """Return three files a label; the first is one of another label, which the model cannot get right."""
    good = golden_samples(spec, labels)
    wrong = dict(zip(labels, [good[label] for label in (*labels[1:], labels[0])], strict=True))
    return {label: [wrong[label], good[label], near(good[label])] for label in labels}


def near(sample: bytes) -> bytes:
    """Return nearly the same sample in another file."""
    if sample.startswith(b"RIFF"):
        samples = np.frombuffer(sample[44:], "<i2").astype(np.int16)
        return wav_bytes((samples // 2 * 2 + 1).astype(np.int16), 16_000)
    import cv2

    pixels = cv2.imdecode(np.frombuffer(sample, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    pixels[0, 0] += 1
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def make_run(folder: Path, tiny: bytes, spec: Preprocess, labels: tuple[str, ...], config: str) -> Path:
    """Write what train, convert and evaluate would, around a tiny model."""
    run = folder / "Tiny run"
    suffix = "wav" if spec is TINY_AUDIO else "png"
    samples = []
    for number, (label, files) in enumerate(sample_files(spec, labels).items()):
        for count, data in enumerate(files):
            path = folder / "data" / label / f"{count}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            samples.append(Sample(path.relative_to(folder).as_posix(), path, sha256(data), number))
    (run / "converted").mkdir(parents=True)
    (run / "config.toml").write_text(config)
    (run / "model.keras").write_bytes(KERAS)
    (run / "split.json").write_bytes(encode_split({"train": [], "validation": [], "test": samples}))
    record = RunRecord(
        created_utc="2026-01-02T03:04:05Z",
        producer="test",
        seed=1,
        labels=labels,
        config_sha256=sha256(config.encode()),
        model_sha256=sha256(KERAS),
        preprocess_sha256=fingerprint(spec),
        data_root=DataRoot(relative="..", absolute="/nowhere"),
        samples={"test": len(samples)},
        samples_sha256={"test": samples_sha256(samples)},
        duplicates_left_out=0,
        result=TrainResult(
            epochs=1, best_epoch=1, validation_accuracy=1.0, validation_loss=0.0, parameters=1,
            weights_sha256=NO_HASH, seconds=1.0,
        ),
    )  # fmt: skip
    write_json(run / "run.json", record)
    write_conversion(run, tiny, spec, labels)
    write_evaluation(run, labels, len(samples))
    return run


def write_conversion(run: Path, tiny: bytes, spec: Preprocess, labels: tuple[str, ...]) -> None:
    model = metadata.embed(tiny, name="tiny", labels=labels, preprocess=spec)
    engine = Engine(model)
    found = report(model)
    layout = "NTF" if spec is TINY_AUDIO else "NHWC"
    tensors = [
        msgspec.convert({**msgspec.to_builtins(side), "layout": layout_}, Tensor)
        for side, layout_ in ((engine.input, layout), (engine.output, "NC"))
    ]
    files = {"int8.tflite": model, "float.tflite": b"float", "calibration.json": b"{}"}
    for name, data in files.items():
        (run / "converted" / name).write_bytes(data)
    conversion = Conversion(
        created_utc="2026-02-03T04:05:06Z",
        labels=labels,
        input=tensors[0],
        output=tensors[1],
        ops=found.operators,
        per_channel=True,
        model_sha256=sha256(KERAS),
        config_sha256=sha256((run / "config.toml").read_bytes()),
        float_sha256=sha256(b"float"),
        int8_sha256=sha256(model),
        calibration_sha256=sha256(b"{}"),
        preprocess_sha256=fingerprint(spec),
        float_delta=0.0,
        held_out=HeldOut(samples=1, accuracy_float=1.0, accuracy_int8=1.0, flips=0, max_loss_points=1.0),
        versions={},
    )
    (run / "converted" / "conversion.json").write_bytes(encode(conversion))


def write_evaluation(run: Path, labels: tuple[str, ...], samples: int) -> None:
    model = (run / "converted" / "int8.tflite").read_bytes()
    right = 9 * samples // (10 * len(labels))  # of each label
    confusion = np.full((len(labels), len(labels)), 1) + np.eye(len(labels), dtype=int) * (right + 3)
    variant = Variant(
        accuracy=0.75,
        recall=dict.fromkeys(labels, 0.5),
        flips=0,
        bytes=len(model),
        p50_us=40,
        p99_us=60,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
    evaluation = Evaluation(
        labels=labels,
        test_samples=samples,
        keras=variant,
        tflite_float=variant,
        tflite_int8=variant,
        model_sha256=sha256(KERAS),
        int8_sha256=sha256(model),
        train_sha256="1" * 64,
        calibration_sha256="2" * 64,
        test_sha256="3" * 64,
        rss_peak_bytes=30_000_000,
        cpu="test",
        runtime="test",
    )
    (run / "evaluation.json").write_bytes(encode(evaluation))


def as_if_trained_so(run: Path, **fields: Any) -> None:
    """Let the run's records say that it was trained and converted with the files that are there."""
    hashes: dict[str, Any] = {
        "config_sha256": sha256((run / "config.toml").read_bytes()),
        "model_sha256": sha256((run / "model.keras").read_bytes()),
    }
    for name, type_ in (("run.json", RunRecord), ("converted/conversion.json", Conversion)):
        record: Any = msgspec.json.decode((run / name).read_bytes(), type=type_)
        (run / name).write_bytes(encode(changed(record, **(hashes | fields))))


@pytest.fixture
def camera_run(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_run(tmp_path, tiny_image_model, TINY_IMAGE, IMAGE_LABELS, IMAGE_CONFIG)


@pytest.fixture
def microphone_run(tmp_path: Path, tiny_audio_model: bytes) -> Path:
    return make_run(tmp_path, tiny_audio_model, TINY_AUDIO, AUDIO_LABELS, AUDIO_CONFIG)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    create_key_pair(tmp_path / "release.key")
    return tmp_path / "release.key"


def galago(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def build(run: Path, key: Path, *options: object) -> Result:
    return galago("bundle", "build", run, "--key", key, "-o", run.parent / "out.galago", *options)


def built(run: Path, key: Path, *options: object) -> Manifest:
    result = build(run, key, "--replace", *options)
    assert result.exit_code == 0, result.output
    return open_bundle(run.parent / "out.galago").manifest


def refused(result: Result, reason: str, exit_code: int = 1) -> str:
    lines = result.stderr.splitlines()
    assert result.exit_code == exit_code, result.output
    assert [line.partition(":")[0] for line in lines] == ["Error", "Hint"] and lines[0].endswith(
        f"[{reason}]"
    )
    return lines[0]


def test_a_camera_bundle_says_what_the_run_says(camera_run: Path, key: Path) -> None:
    manifest = built(camera_run, key, "--version", "1.4.2", "--description", "Levels")
    info = manifest.bundle
    assert (info.name, info.version, info.release_counter) == ("tiny-run", "1.4.2", 1_004_002)
    assert (info.created_utc, info.description) == ("2026-02-03T04:05:06Z", "Levels")
    assert [label.name for label in manifest.labels] == list(IMAGE_LABELS)
    assert [label.policy.on for label in manifest.labels] == [0.7, 0.7, 0.9]
    assert manifest.decision.temperature == 1.5
    assert manifest.data.recall_int8 == dict.fromkeys(IMAGE_LABELS, 0.5)
    assert (manifest.data.train_sha256, manifest.data.test_samples) == ("1" * 64, 9)
    assert manifest.resources.latency[0].p50_us == 40
    assert manifest.compat.ops == report((camera_run / "converted" / "int8.tflite").read_bytes()).operators


def test_a_bundle_says_where_its_model_comes_from(camera_run: Path, key: Path) -> None:
    origin = built(camera_run, key, "--build-id", "4f2a91c").provenance
    assert origin is not UNSET
    run = json.loads((camera_run / "run.json").read_text())
    conversion = json.loads((camera_run / "converted" / "conversion.json").read_text())
    assert (origin.build_id, origin.trained_utc, origin.seed) == ("4f2a91c", run["created_utc"], run["seed"])
    assert (origin.config_sha256, origin.float_sha256) == (run["config_sha256"], conversion["float_sha256"])
    assert origin.measured_with == "test"
    shown = galago("bundle", "inspect", camera_run.parent / "out.galago").output
    assert "build 4f2a91c" in shown and "seed 1" in shown


def test_a_conversion_that_lost_too_much_is_not_packed(camera_run: Path, key: Path) -> None:
    path = camera_run / "converted" / "conversion.json"
    record = msgspec.json.decode(path.read_bytes(), type=Conversion)
    path.write_bytes(encode(changed(record, held_out__accuracy_int8=0.5, held_out__samples=100)))
    refused(build(camera_run, key), "INT8_LOSS")


def test_a_microphone_bundle_carries_its_frontend(microphone_run: Path, key: Path) -> None:
    manifest = built(microphone_run, key)
    assert manifest.modality == "microphone" and len(manifest.preprocess.tables) >= 3
    assert [label.background for label in manifest.labels] == [True, False, False]
    assert manifest.preprocess.sha256 == fingerprint(TINY_AUDIO)


@pytest.mark.parametrize(
    ("modality", "table", "gate"),
    [
        ("camera_run", 'kind = "motion"\ncells = 9', MotionGate(cells=9)),
        ("microphone_run", 'kind = "level"\nopen_dbfs = -42.5', LevelGate(open_dbfs=-42.5)),
    ],
)
def test_a_gate_goes_from_the_configuration_into_the_manifest(
    modality: str, table: str, gate: Gate, key: Path, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(modality)
    before = built(run, key)
    assert before.gate is UNSET and len(before.compat.features) == 1
    with (run / "config.toml").open("a") as file:
        file.write(f"[gate]\n{table}\n")
    as_if_trained_so(run)
    manifest = built(run, key)
    assert manifest.gate == gate
    assert manifest.compat.features == (*before.compat.features, gate.version)
    shown = galago("bundle", "inspect", run.parent / "out.galago").output
    assert f"{gate.version}, " in shown and "hold_ms 3000" in shown


@pytest.mark.parametrize("modality", ["camera_run", "microphone_run"])
def test_golden_samples_are_test_samples_that_the_model_gets_right(
    modality: str, key: Path, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(modality)
    manifest = built(run, key)
    labels = [label.name for label in manifest.labels]
    assert [golden.label for golden in manifest.golden] == labels
    assert [golden.expected.argmax for golden in manifest.golden] == [0, 1, 2]
    for golden in manifest.golden:
        best, second, *_ = sorted(golden.expected.logits, reverse=True)
        assert best - second > 2 * golden.expected.atol_steps > 0


@pytest.mark.parametrize("modality", ["camera_run", "microphone_run"])
def test_a_device_takes_what_was_built(
    modality: str, key: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(modality)
    built(run, key)
    assert galago("keys", "trust", f"{key}.pub", "--root", tmp_path / "device").exit_code == 0
    installed = galago("install", tmp_path / "out.galago", "--root", tmp_path / "device")
    assert installed.exit_code == 0, installed.output
    assert "golden samples: 3 answered, at most 0 quantization steps off" in installed.output


@pytest.mark.parametrize("modality", ["camera_run", "microphone_run"])
def test_the_same_run_gives_the_same_bytes(
    modality: str, key: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue(modality)
    built(run, key)
    first = (tmp_path / "out.galago").read_bytes()
    moved = run.rename(run.with_name("moved"))  # neither its place nor its name is in the bundle
    built(moved, key, "--name", "tiny-run")
    assert (tmp_path / "out.galago").read_bytes() == first


def test_several_keys_sign_together(camera_run: Path, key: Path, tmp_path: Path) -> None:
    create_key_pair(tmp_path / "second.key")
    built(camera_run, key, "--key", tmp_path / "second.key")
    assert len(open_bundle(tmp_path / "out.galago").signers) == 2


def test_the_default_file_is_name_and_version(
    camera_run: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = galago(
        "bundle", "build", camera_run, "--key", key, "--name", "levels", "--version", "2.0.1", "--json"
    )
    data = json.loads(result.stdout)
    assert (
        data["path"] == "levels-2.0.1.galago" and data["bytes"] == Path("levels-2.0.1.galago").stat().st_size
    )
    assert data["id"] == open_bundle(Path("levels-2.0.1.galago")).id


def test_without_a_board_every_board_of_the_catalogue_is_meant(camera_run: Path, key: Path) -> None:
    manifest = built(camera_run, key)
    assert len(manifest.compat.device_profiles) == 4
    assert manifest.compat.arch == ("aarch64", "armv7l", "x86_64")


def test_named_boards_are_the_only_ones(camera_run: Path, key: Path) -> None:
    manifest = built(camera_run, key, "--device", "raspberry-pi-5", "--device", "generic-arm64")
    assert manifest.compat.device_profiles == ("raspberry-pi-5", "generic-arm64")
    assert manifest.compat.arch == ("aarch64",)


def with_newer_operator(run: Path, *names: str, version: int = 8) -> None:
    """The model and its record name a CONV_2D that only the newer runtime has, or other ``names``."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    path = run / "converted" / "int8.tflite"
    parts = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    for code in parts.operatorCodes:
        if code.builtinCode in [getattr(schema.BuiltinOperator, name) for name in names or ("CONV_2D",)]:
            code.version = version
    builder = flatbuffers.Builder(8192)
    builder.Finish(parts.Pack(builder), b"TFL3")
    replace_model(run, bytes(builder.Output()))


def replace_model(run: Path, model: bytes) -> None:
    (run / "converted" / "int8.tflite").write_bytes(model)
    ops = report(model).operators
    for name in ("converted/conversion.json", "evaluation.json"):
        type_: Any = Conversion if "conversion" in name else Evaluation
        record = msgspec.json.decode((run / name).read_bytes(), type=type_)
        fields = {"ops": ops} if type_ is Conversion else {"tflite_int8__bytes": len(model)}
        (run / name).write_bytes(encode(changed(record, int8_sha256=sha256(model), **fields)))


def test_a_board_that_lacks_an_operator_is_left_out_or_refused(camera_run: Path, key: Path) -> None:
    with_newer_operator(camera_run)
    result = build(camera_run, key)
    assert result.exit_code == 0, result.output
    assert "not for raspberry-pi-3-32bit: the model uses CONV_2D version 8" in result.output
    manifest = open_bundle(camera_run.parent / "out.galago").manifest
    assert "raspberry-pi-3-32bit" not in manifest.compat.device_profiles
    assert "armv7l" not in manifest.compat.arch
    line = refused(build(camera_run, key, "--device", "raspberry-pi-3-32bit"), "OP_UNSUPPORTED")
    assert "tflite-runtime 2.14.0 has version 7" in line


def test_every_operator_that_a_board_lacks_is_named(camera_run: Path, key: Path) -> None:
    names = [op.name for op in report((camera_run / "converted" / "int8.tflite").read_bytes()).operators]
    assert len(names) > 1
    with_newer_operator(camera_run, *names, version=99)
    line = refused(build(camera_run, key), "OP_UNSUPPORTED")
    for name in names:
        assert line.count(f"the model uses {name} version 99") == 4, "on each of the four boards"


def test_a_board_with_too_little_memory_is_left_out_or_refused(camera_run: Path, key: Path) -> None:
    path = camera_run / "evaluation.json"
    record = msgspec.json.decode(path.read_bytes(), type=Evaluation)
    path.write_bytes(encode(changed(record, rss_peak_bytes=1_500 << 20)))
    result = build(camera_run, key)
    assert "not for raspberry-pi-3-32bit: the model needs 1500 MB of memory" in result.output
    line = refused(build(camera_run, key, "--device", "raspberry-pi-3-32bit"), "MEMORY")
    assert "the board has 1024" in line


def test_what_the_loaded_model_takes_goes_into_the_bundle_and_decides_on_the_boards(
    camera_run: Path, key: Path
) -> None:
    assert built(camera_run, key).resources.engine_heap_bytes is UNSET, "an older evaluation has no figure"
    path = camera_run / "evaluation.json"
    record = msgspec.json.decode(path.read_bytes(), type=Evaluation)
    path.write_bytes(encode(changed(record, engine_heap_bytes=600_000_000)))
    result = build(camera_run, key, "--replace")
    assert open_bundle(camera_run.parent / "out.galago").manifest.resources.engine_heap_bytes == 600_000_000
    text = "loading the model takes 600 MB, the board allows 512"
    assert f"not for raspberry-pi-3-32bit: {text}" in result.output
    assert text in refused(build(camera_run, key, "--device", "raspberry-pi-3-32bit"), "MEMORY")


def test_a_custom_operator_is_on_no_board(camera_run: Path, key: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    path = camera_run / "converted" / "int8.tflite"
    parts = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    code = parts.operatorCodes[0]
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"FlexErf"
    builder = flatbuffers.Builder(8192)
    builder.Finish(parts.Pack(builder), b"TFL3")
    replace_model(camera_run, bytes(builder.Output()))
    assert "FlexErf" in refused(build(camera_run, key), "OP_UNSUPPORTED")


def test_a_bundle_takes_the_place_of_the_same_one_alone(camera_run: Path, key: Path) -> None:
    out = camera_run.parent / "out.galago"
    assert build(camera_run, key).exit_code == 0
    before = out.read_bytes()
    assert build(camera_run, key).exit_code == 0
    assert "expected a new file or the same bundle" in refused(
        build(camera_run, key, "--build-id", "b"), "EXISTS", 2
    )
    assert out.read_bytes() == before
    assert build(camera_run, key, "--build-id", "b", "--replace").exit_code == 0
    assert out.read_bytes() != before
    secret = key.read_bytes()
    for also in ((), ("--replace",)):
        assert "is something else" in refused(build(camera_run, key, "-o", key, *also), "EXISTS", 2)
    assert key.read_bytes() == secret


def test_the_finished_bundle_is_attacked_before_it_takes_its_place(
    camera_run: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galago_edge.bundle import signature

    monkeypatch.setattr(self_attack, "MOST_FRONT_BYTES", ALL_BYTES)
    data = json.loads(build(camera_run, key, "--json").stdout)
    assert data["attacks_refused"] > 4_000
    out = camera_run.parent / "out.galago"
    before = out.read_bytes()
    monkeypatch.setattr(signature, "is_valid", lambda *_: True)  # as if the crypto library were broken
    refused(build(camera_run, key, "--description", "changed", "--replace"), "TAMPER_MISSED")
    assert out.read_bytes() == before


def test_the_key_that_was_given_is_the_key_that_signed(
    camera_run: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galago_edge.bundle import writer
    from test_kit import TEST_KEY

    sign = writer.sign
    monkeypatch.setattr(writer, "sign", lambda manifest, keys: sign(manifest, [TEST_KEY]))
    refused(build(camera_run, key), "KEY_UNKNOWN")
    assert not (tmp_path / "out.galago").exists()


def test_an_operator_that_the_record_does_not_name_is_noticed(camera_run: Path, key: Path) -> None:
    path = camera_run / "converted" / "conversion.json"
    record = msgspec.json.decode(path.read_bytes(), type=Conversion)
    path.write_bytes(encode(changed(record, ops=(Operator(name="ADD", version=1, count=1),))))
    refused(build(camera_run, key), "MODEL_BAD")


def drop(name: str) -> Callable[[Path], object]:
    return lambda run: (run / name).unlink()


def other_labels(run: Path) -> None:
    path = run / "evaluation.json"
    record = msgspec.json.decode(path.read_bytes(), type=Evaluation)
    path.write_bytes(encode(changed(record, labels=("a", "b", "c"))))


def other_metadata(run: Path) -> None:
    model = (run.parent / "plain.tflite").read_bytes()
    replace_model(run, metadata.embed(model, name="x", labels=("x", "y", "z"), preprocess=TINY_IMAGE))


def keep_samples(run: Path, keep: Callable[[str], bool]) -> None:
    """Leave only some samples in the split, with the hashes that their files have now."""
    split = json.loads((run / "split.json").read_text())
    kept = [sample for sample in split["samples"] if keep(sample["id"])]
    for sample in kept:
        sample["sha256"] = sha256((run.parent / sample["id"]).read_bytes())
    (run / "split.json").write_text(json.dumps(split | {"samples": kept}))


def only_wrong_samples(run: Path) -> None:
    keep_samples(run, lambda name: name.endswith("/0.png"))


def changed_samples(run: Path) -> None:
    for path in (run.parent / "data" / "mid").iterdir():
        path.write_bytes(path.read_bytes() + b"?")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "not converted": (drop("converted/conversion.json"), "RUN_BAD"),
    "not evaluated": (drop("evaluation.json"), "RUN_BAD"),
    "another model": (lambda run: (run / "converted" / "int8.tflite").write_bytes(b"x"), "RUN_BAD"),
    "other labels": (other_labels, "RUN_BAD"),
    "a model of another run": (other_metadata, "LABELS_MISMATCH"),
    "no sample that is right": (only_wrong_samples, "GOLDEN_FAIL"),
    "a sample that changed": (changed_samples, "DATA_BAD"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_run_that_does_not_hold_together_gives_no_bundle_and_leaves_the_old_one(
    camera_run: Path, key: Path, tiny_image_model: bytes, damage: Callable[[Path], object], reason: str
) -> None:
    out = camera_run.parent / "out.galago"
    former = header("manifest.json", 11) + b"the old one"
    out.write_bytes(former)
    (camera_run.parent / "plain.tflite").write_bytes(tiny_image_model)
    damage(camera_run)
    refused(build(camera_run, key), reason)
    assert out.read_bytes() == former
    assert not [path for path in camera_run.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--name", "Levels"], "CONFIG_BAD"),
        (["--version", "1.0"], "CONFIG_BAD"),
        (["--version", "1.0.1000"], "CONFIG_BAD"),
        (["--channel", "not so stable"], "CONFIG_BAD"),
        (["--device", "raspbery-pi-5"], "TARGET_UNKNOWN"),
        (["--key", "none.key"], "KEY_BAD"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_options_that_cannot_be_are_refused(
    camera_run: Path, key: Path, options: list[str], reason: str
) -> None:
    refused(build(camera_run, key, *options), reason, 2)


def test_an_option_that_cannot_be_is_named_with_what_it_may_be(camera_run: Path, key: Path) -> None:
    result = build(camera_run, key, "--name", "Käfer")
    assert result.stderr.splitlines() == [
        "Error: galago bundle build: 'Käfer' cannot be the name of a bundle [CONFIG_BAD]",
        "Hint: give --name as a letter, then letters, digits and dashes, all lower-case and 40 at most",
    ]
    late = build(camera_run, key, "--release-counter", 2**60)
    assert "cannot be the release counter" in late.stderr and "--release-counter as" in late.stderr


def test_a_run_folder_whose_name_is_no_bundle_s_name_is_told_so(camera_run: Path, key: Path) -> None:
    folder = camera_run.rename(camera_run.with_name("2026"))
    assert "'2026' cannot be the name of a bundle" in refused(build(folder, key), "CONFIG_BAD", 2)


def test_a_version_that_gives_no_counter_needs_one(camera_run: Path, key: Path) -> None:
    assert built(camera_run, key, "--version", "1.0.1000", "--release-counter", 7).bundle.release_counter == 7


def test_a_folder_that_is_not_there_is_named(camera_run: Path, key: Path, tmp_path: Path) -> None:
    line = refused(build(camera_run, key, "-o", tmp_path / "none" / "x.galago"), "IO", 3)
    assert str(tmp_path / "none" / "x.galago") in line


def test_a_large_picture_travels_smaller(camera_run: Path, key: Path) -> None:
    import cv2

    path = camera_run.parent / "data" / "mid" / "1.png"
    noise = np.random.default_rng(1).integers(100, 156, (600, 1200, 3), np.uint8)
    path.write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    keep_samples(camera_run, lambda name: name not in ("data/mid/0.png", "data/mid/2.png"))
    built(camera_run, key)
    bundle = open_bundle(camera_run.parent / "out.galago")
    golden = next(golden for golden in bundle.manifest.golden if golden.label == "mid")
    pixels = cv2.imdecode(np.frombuffer(bundle.read(golden.file), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None and pixels.shape == (160, 320, 3)


def test_a_device_that_trusts_another_key_refuses(camera_run: Path, key: Path, tmp_path: Path) -> None:
    built(camera_run, key)
    refused(galago("install", tmp_path / "out.galago", "--root", trust(tmp_path / "device")), "KEY_UNKNOWN")


def test_accelerated_models_travel_beside_the_cpu_model(camera_run: Path, key: Path, tmp_path: Path) -> None:
    (tmp_path / "compiled.tflite").write_bytes((camera_run / "converted" / "int8.tflite").read_bytes())
    manifest = built(
        camera_run, key, "--accelerated", f"edgetpu={tmp_path / 'compiled.tflite'}", "--accelerated", "gpu"
    )
    assert [(model.backend, model.file) for model in manifest.model] == [
        ("cpu", "model.tflite"),
        ("edgetpu", "model-edgetpu.tflite"),
        ("gpu", "model.tflite"),
    ]
    assert len({(model.input.scale, model.output.scale) for model in manifest.model}) == 1
    shown = build(camera_run, key, "--accelerated", "gpu", "--replace")
    assert "models for cpu, gpu" in shown.output


@pytest.mark.parametrize(
    ("given", "reason", "exit_code"),
    [
        (["cpu=x"], "CONFIG_BAD", 2),
        (["Edge TPU=x"], "CONFIG_BAD", 2),
        (["gpu", "gpu"], "CONFIG_BAD", 2),
        (["edgetpu=missing.tflite"], "RUN_BAD", 1),
        (["edgetpu=broken.tflite"], "MODEL_BAD", 1),
        (["edgetpu=other.tflite"], "TENSOR_MISMATCH", 1),
    ],
)
def test_an_accelerated_model_that_does_not_fit_is_refused(
    given: list[str],
    reason: str,
    exit_code: int,
    camera_run: Path,
    key: Path,
    tmp_path: Path,
    tiny_audio_model: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.tflite").write_bytes(b"not a model")
    (tmp_path / "other.tflite").write_bytes(tiny_audio_model)
    options = [option for value in given for option in ("--accelerated", value)]
    refused(build(camera_run, key, *options), reason, exit_code)


def test_a_configuration_that_was_edited_after_training_is_refused(camera_run: Path, key: Path) -> None:
    """The manifest would carry the hash of another file than decided the policies."""
    config = camera_run / "config.toml"
    before = config.read_text()
    config.write_text(before.replace("on = 0.9", "on = 0.8"))
    line = refused(build(camera_run, key), "RUN_BAD")
    assert "config.toml is not the one that the run was trained with" in line
    assert not (camera_run.parent / "out.galago").exists()
    config.write_text(before)
    assert built(camera_run, key).labels[2].policy.on == 0.9


def test_a_network_that_was_written_over_after_training_is_refused(camera_run: Path, key: Path) -> None:
    (camera_run / "model.keras").write_bytes(b"another network")
    line = refused(build(camera_run, key), "RUN_BAD")
    assert "model.keras is not the network that was trained" in line
    (camera_run / "model.keras").unlink()
    assert "does not exist" in refused(build(camera_run, key), "RUN_BAD")


@pytest.mark.parametrize(
    ("file", "fields", "said"),
    [
        ("conversion", {"model_sha256": NO_HASH}, "was converted with another model.keras"),
        ("conversion", {"config_sha256": NO_HASH}, "was converted with another config.toml"),
        ("evaluation", {"model_sha256": NO_HASH}, "was evaluated with another model.keras"),
    ],
)
def test_what_was_converted_or_evaluated_from_something_else_is_refused(
    camera_run: Path, key: Path, file: str, fields: dict[str, str], said: str
) -> None:
    path = camera_run / ("converted/conversion.json" if file == "conversion" else "evaluation.json")
    type_: Any = Conversion if file == "conversion" else Evaluation
    path.write_bytes(encode(changed(msgspec.json.decode(path.read_bytes(), type=type_), **fields)))
    assert said in refused(build(camera_run, key), "RUN_BAD")


def test_a_conversion_from_before_the_configurations_hash_was_kept_is_taken(
    camera_run: Path, key: Path
) -> None:
    path = camera_run / "converted" / "conversion.json"
    record = msgspec.json.decode(path.read_bytes(), type=Conversion)
    path.write_bytes(encode(changed(record, config_sha256=UNSET)))
    built(camera_run, key)


def changed_confusion(run: Path, confusion: tuple[tuple[int, ...], ...]) -> None:
    """Let the int8 model have given these answers."""
    path = run / "evaluation.json"
    evaluation = msgspec.json.decode(path.read_bytes(), type=Evaluation)
    int8 = changed(evaluation.tflite_int8, confusion=confusion)
    path.write_bytes(encode(changed(evaluation, tflite_int8=int8)))


def test_a_model_that_never_finds_a_label_is_built_only_with_a_reason_that_stands_in_the_bundle(
    camera_run: Path, key: Path
) -> None:
    count = len(IMAGE_LABELS)
    answers = np.full((count, count), 1) + np.eye(count, dtype=int) * 90
    answers[-1] = [5, *[0] * (count - 1)]
    changed_confusion(camera_run, tuple(tuple(row) for row in answers.tolist()))

    line = refused(build(camera_run, key), "MODEL_DOUBTFUL")
    assert f"{IMAGE_LABELS[-1]!r} is never found: 0 of 5" in line
    assert not (camera_run.parent / "out.galago").exists()

    result = build(camera_run, key, "--allow", "a prototype for the fair")
    assert result.exit_code == 0, result.output
    assert f"allowed: {IMAGE_LABELS[-1]!r} is never found" in result.stdout
    shown = galago("bundle", "inspect", camera_run.parent / "out.galago").stdout
    assert f"against it: {IMAGE_LABELS[-1]!r} is never found: 0 of 5" in shown
    assert "built because: a prototype for the fair" in shown

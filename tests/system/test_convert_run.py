"""``galago convert`` and ``galago evaluate`` on runs whose network was set by hand: nothing is trained."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from msgspec import UNSET

from galago_converters import inspection, metadata
from galago_converters.calibration import CalibrationRecord
from galago_converters.conversion_record import Conversion, read_conversion
from galago_converters.frameworks import import_tensorflow
from galago_edge.commands.cli import main
from galago_edge.contract.errors import InputError, ModelError, Reason, disk_error
from galago_edge.engine import Engine
from galago_edge.preprocess import fingerprint
from galago_workstation.conversion import conversion_run
from galago_workstation.conversion.conversion_run import convert_run
from galago_workstation.data.sample import PARTS, samples_sha256
from galago_workstation.data.sample_reader import open_reader
from galago_workstation.data.splits import split
from galago_workstation.evaluation.evaluation_record import Evaluation, read_evaluation
from galago_workstation.evaluation.inference_cost import measure, rss_peak_bytes
from galago_workstation.run_folder import (
    DataRoot,
    Run,
    RunRecord,
    TrainResult,
    encode_split,
    weights_sha256,
)
from galago_workstation.training_config import read_config

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 saves and copies variables in a way that numpy 2.4 is about to drop
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
LEVELS = {"bright": 215, "dark": 40, "mid": 128}

CONFIG = """
[data]
kind = "images"
folder = "pictures"
validation_share = 0.3
test_share = 0.3

[preprocess]
kind = "image"
width = 8
height = 8
color = "gray"

[model]
kind = "resnet"

[convert]
calibration_samples = 12
max_loss_points = 2.0
"""


def network(keras: Any, *, unused_gain: float = 1.0, softmax: bool = False) -> Any:
    """Mean level, then a line per label over it: bright, dark, mid, with borders at 1/3 and 2/3.

    ``unused_gain`` scales a channel that nobody looks at. When it is large, the activations' common int8
    scale has no steps left for the channels that matter.
    """
    layers = keras.layers
    image = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(4, 2, strides=2, activation="relu", name="levels")(x)
    x = layers.Dense(3, name="lines", activation="softmax" if softmax else None)(
        layers.GlobalAveragePooling2D()(x)
    )
    model = keras.Model(image, x)
    patches = np.full((2, 2, 1, 4), 0.25, np.float32) * np.array([unused_gain, 1, 1, 1], np.float32)
    slopes = np.array([[0, 0, 0], [1, -1, 0], [1, -1, 0], [1, -1, 0]], np.float32)
    model.get_layer("levels").set_weights([patches, np.zeros(4, np.float32)])
    model.get_layer("lines").set_weights([8 * slopes, np.array([-16, 8, 0], np.float32)])
    return model


@pytest.fixture(scope="module")
def keras() -> Any:
    import_tensorflow()
    import keras

    return keras


@pytest.fixture(scope="module")
def made_run(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(2)
    for label, level in LEVELS.items():
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(level - 25, level + 25, (8, 8), np.uint8)
            cv2.imwrite(str(folder / "pictures" / label / f"{number}.png"), pixels)
    run = folder / "run"
    run.mkdir()
    (run / "config.toml").write_text(CONFIG, encoding="utf-8")
    config = read_config(run / "config.toml")
    listing = open_reader(config, folder).listing()
    trained = network(keras)
    parts = split(listing, validation_share=0.3, test_share=0.3)
    record = RunRecord(
        created_utc="2031-05-06T00:00:00Z",
        producer="tests",
        seed=1,
        labels=listing.labels,
        config_sha256=hashlib.sha256(CONFIG.encode()).hexdigest(),
        preprocess_sha256=fingerprint(config.preprocess),
        data_root=DataRoot(relative="..", absolute=str(folder)),
        samples={part: len(parts[part]) for part in PARTS},
        samples_sha256={part: samples_sha256(parts[part]) for part in PARTS},
        duplicates_left_out=0,
        result=TrainResult(
            epochs=1,
            best_epoch=1,
            validation_accuracy=1.0,
            validation_loss=0.0,
            parameters=0,
            weights_sha256=weights_sha256(trained),
            seconds=0.0,
        ),
    )
    (run / "run.json").write_bytes(msgspec.json.encode(record))
    (run / "split.json").write_bytes(encode_split(parts))
    trained.save(run / "model.keras")
    as_if_trained_so(run)
    return folder


def as_if_trained_so(run: Path, **fields: Any) -> None:
    """Let run.json say that the run was trained with the network and configuration that are there."""
    record = msgspec.json.decode((run / "run.json").read_bytes(), type=RunRecord)
    hashes: dict[str, Any] = {
        key: hashlib.sha256((run / name).read_bytes()).hexdigest()
        for key, name in (("config_sha256", "config.toml"), ("model_sha256", "model.keras"))
    }
    new = msgspec.structs.replace(record, **(hashes | fields))
    (run / "run.json").write_bytes(msgspec.json.encode(new))


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_run, tmp_path / "made")
    return tmp_path / "made" / "run"


@pytest.fixture(scope="module")
def converted(made_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "made"
    shutil.copytree(made_run, folder)
    convert_run(Run.open(folder / "run"), now=NOW)
    return folder


@pytest.fixture
def converted_run(converted: Path, tmp_path: Path) -> Path:
    shutil.copytree(converted, tmp_path / "made")
    return tmp_path / "made" / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def galago(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_one_line(result: Result, reason: Reason, exit_code: int = 1) -> None:
    assert result.exit_code == exit_code, result.output
    error, hint = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert error.endswith(f"[{reason}]")
    assert hint.startswith("Hint: ")


def test_the_conversion_describes_the_files_beside_it(converted_run: Path) -> None:
    found = read_conversion(converted_run)
    files = contents(converted_run / "converted")
    assert set(files) == {"float.tflite", "int8.tflite", "calibration.json", "conversion.json"}
    assert found.created_utc == "2031-05-06T07:08:09Z"
    assert found.labels == ("bright", "dark", "mid")
    engine = Engine(files["int8.tflite"])
    assert (found.input.shape, found.input.scale, found.input.zero_point) == ((1, 8, 8, 1), 1.0, 0)
    assert (found.output.index, found.output.scale) == (engine.output.index, engine.output.scale)
    assert found.ops == inspection.report(files["int8.tflite"]).operators
    assert found.held_out.accuracy_float == found.held_out.accuracy_int8 == 1.0
    embedded = metadata.read(files["int8.tflite"])
    assert embedded is not None
    assert embedded.labels == found.labels
    record = msgspec.json.decode(files["calibration.json"], type=CalibrationRecord)
    assert record.per_label == {"bright": 4, "dark": 4, "mid": 4}
    trained_on = {sample.sha256 for sample in Run.open(converted_run).samples("train")}
    assert {sample.sha256 for sample in record.samples} <= trained_on


def test_converting_again_gives_the_same_files(converted_run: Path) -> None:
    before = contents(converted_run / "converted")
    convert_run(Run.open(converted_run), now=NOW)
    assert contents(converted_run / "converted") == before


def test_a_file_that_was_changed_afterwards_is_noticed(converted_run: Path) -> None:
    model = converted_run / "converted" / "int8.tflite"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(InputError, match="its sha256 differs") as caught:
        read_conversion(converted_run)
    assert caught.value.reason is Reason.RUN_BAD


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"unused_gain": 2000.0}, Reason.INT8_LOSS),
        ({"softmax": True}, Reason.EXPORT_FAILED),
    ],
    ids=["int8 collapses", "probabilities"],
)
def test_a_refused_conversion_leaves_the_old_one(
    converted_run: Path, keras: Any, options: dict[str, Any], reason: Reason
) -> None:
    before = contents(converted_run / "converted")
    network(keras, **options).save(converted_run / "model.keras")
    as_if_trained_so(converted_run)
    result = galago("convert", converted_run)
    assert_one_line(result, reason)
    assert contents(converted_run / "converted") == before
    assert not list(converted_run.glob("*.part")) + list(converted_run.glob("*.old"))


def rewritten(data: bytes, member: str, change: Callable[[bytes], bytes | None]) -> bytes:
    """Return a ``.keras`` file, whole as an archive, of which one file is another or not there."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if (new := change(content) if name == member else content) is not None:
                target.writestr(name, new)
    return out.getvalue()


def damaged(data: bytes) -> Iterator[bytes]:
    """Yield files that a bad disk, a broken download or a hand has left."""
    for size in (0, 4, 30, len(data) // 2, len(data) - 1):
        yield data[:size]
    random_ = random.Random(1)
    for _ in range(40):
        flipped = bytearray(data)
        flipped[random_.randrange(len(data))] ^= 0xFF
        yield bytes(flipped)
    for member in ("config.json", "metadata.json", "model.weights.h5"):
        for content in (None, b"", b"[]", b"{}", b"null", b"\xff\xfe"):
            yield rewritten(data, member, lambda _, content=content: content)  # type: ignore[misc]
        yield rewritten(data, member, lambda whole: whole[: len(whole) // 2])
    for place in range(60, 4_000, 130):  # behind the signature, among the tables of HDF5
        yield rewritten(
            data, "model.weights.h5", lambda whole, at=place: whole[:at] + b"\xff" * 8 + whole[at + 8 :]
        )  # type: ignore[misc]


def test_a_damaged_model_is_refused_or_loaded_and_nothing_else(run: Path) -> None:
    opened, file = Run.open(run), run / "model.keras"
    refused = 0
    for content in damaged(file.read_bytes()):
        file.write_bytes(content)
        try:
            opened.keras_model()
        except InputError as error:
            assert error.reason is Reason.RUN_BAD and "cannot be loaded: " in error.line
            assert not error.line.endswith("loaded:  [RUN_BAD]")
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("how", ["cut", "flipped", "list for a network"])
def test_a_damaged_model_is_one_line_at_convert(run: Path, how: str) -> None:
    file = run / "model.keras"
    data = file.read_bytes()
    if how == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        file.write_bytes(data.replace(b"\x89HDF", b"\x89HDE"))
    else:
        file.write_bytes(rewritten(data, "config.json", lambda _: b"[]"))
    as_if_trained_so(run)  # it is the loader that is to notice
    assert_one_line(galago("convert", run), Reason.RUN_BAD)
    assert not (run / "converted").exists()


def test_calibration_samples_that_reach_into_the_test_part_are_refused(run: Path) -> None:
    """The same contents under another name, as when a data set is copied together."""
    split_file = run / "split.json"
    entries = json.loads(split_file.read_bytes())
    train = next(entry for entry in entries["samples"] if entry["part"] == "train")
    test = next(entry for entry in entries["samples"] if entry["part"] == "test")
    test["sha256"] = train["sha256"]
    split_file.write_text(json.dumps(entries), encoding="utf-8")
    assert_one_line(galago("convert", run, "--calibration-samples", 1000), Reason.CALIBRATION_BAD)
    assert not (run / "converted").exists()


def test_too_few_calibration_samples_for_every_label_are_refused(run: Path) -> None:
    result = galago("convert", run, "--calibration-samples", 2)
    assert_one_line(result, Reason.CALIBRATION_BAD)
    assert "at least 3" in result.stderr


def test_exporting_another_network_than_the_runs_is_noticed(
    run: Path, keras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLPerf Tiny's streaming wake word saves the float model where the quantized one was meant."""
    real = conversion_run.export
    other = network(keras)
    lines = other.get_layer("lines")
    lines.set_weights([lines.get_weights()[0] * 1.05, lines.get_weights()[1]])
    monkeypatch.setattr(conversion_run, "export", lambda _, *rest, **named: real(other, *rest, **named))
    with pytest.raises(ModelError, match=r"differs from model.keras by") as caught:
        convert_run(Run.open(run), now=NOW)
    assert caught.value.reason is Reason.EXPORT_FAILED


def test_a_full_disk_leaves_the_old_conversion(converted_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(converted_run / "converted")
    real = conversion_run.write_bytes

    def until_full(path: Path, content: bytes) -> None:
        if path.name == "conversion.json":
            raise disk_error(OSError(28, "No space left on device"), f"write {path}")
        real(path, content)

    monkeypatch.setattr(conversion_run, "write_bytes", until_full)
    assert_one_line(galago("convert", converted_run), Reason.NO_SPACE, exit_code=3)
    assert contents(converted_run / "converted") == before


def test_evaluate_needs_a_conversion(run: Path) -> None:
    result = galago("evaluate", run)
    assert_one_line(result, Reason.RUN_BAD)
    assert f"galago convert {run}" in result.stderr


def test_evaluate_compares_the_three_forms(converted_run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = galago("evaluate", converted_run)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert capfd.readouterr() == ("", "")
    rows = {line[:22].strip(): line.split() for line in result.stdout.splitlines()}
    assert rows["accuracy"][1:] == ["100.00", "%"] * 3
    for label in LEVELS:
        assert rows[f"recall {label}"][-1] == "%"
    assert rows["disagreements (flips)"][-3:] == ["0", "0", "0"]
    found = read_evaluation(converted_run)
    assert found.test_samples == len(Run.open(converted_run).samples("test"))
    assert np.sum(found.tflite_int8.confusion) == found.test_samples
    assert found.tflite_int8.bytes == (converted_run / "converted" / "int8.tflite").stat().st_size
    assert found.tflite_int8.p50_us <= found.tflite_int8.p99_us
    assert (converted_run / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    assert (converted_run / "report.html").read_bytes().startswith(b"<!doctype html>")
    summary = found.data_summary()
    assert summary.recall_int8 == {"bright": 1.0, "dark": 1.0, "mid": 1.0}
    assert (
        summary.calibration_sha256
        == hashlib.sha256((converted_run / "converted" / "calibration.json").read_bytes()).hexdigest()
    )
    assert found.resources(min_free_disk_bytes=7).latency[0].threads == 1


def test_evaluate_counts_mistakes_and_flips(converted_run: Path, keras: Any) -> None:
    """The Keras model is exchanged behind the conversion's back for one that confuses mid with dark."""
    wrong = network(keras)
    lines = wrong.get_layer("lines")
    lines.set_weights([lines.get_weights()[0], np.array([-16, 80, 0], np.float32)])
    wrong.save(converted_run / "model.keras")
    assert_one_line(galago("evaluate", converted_run), Reason.RUN_BAD)
    file = converted_run / "converted" / "conversion.json"
    record = msgspec.json.decode(file.read_bytes(), type=Conversion)
    model_sha256 = hashlib.sha256((converted_run / "model.keras").read_bytes()).hexdigest()
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, model_sha256=model_sha256)))
    result = galago("evaluate", converted_run, "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout, type=Evaluation)
    counts = {name: sum(row) for name, row in zip(found.labels, found.keras.confusion, strict=True)}
    assert found.keras.recall == {"bright": 0.0, "dark": 1.0, "mid": 0.0}
    assert found.keras.accuracy == pytest.approx(counts["dark"] / found.test_samples)
    assert found.keras.flips == 0
    assert found.tflite_int8.flips == found.tflite_float.flips == counts["bright"] + counts["mid"]
    assert found.tflite_int8.accuracy == 1.0


def test_an_evaluation_of_another_conversion_is_not_used(converted_run: Path) -> None:
    assert galago("evaluate", converted_run).exit_code == 0
    file = converted_run / "evaluation.json"
    found = msgspec.json.decode(file.read_bytes(), type=Evaluation)
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, int8_sha256="1" * 64)))
    with pytest.raises(InputError, match="the run was converted again since") as caught:
        read_evaluation(converted_run)
    assert caught.value.reason is Reason.RUN_BAD


def test_an_evaluation_says_what_the_loaded_model_takes(converted_run: Path) -> None:
    assert galago("evaluate", converted_run).exit_code == 0
    found = read_evaluation(converted_run)
    assert found.engine_heap_bytes is not UNSET
    assert found.resources(min_free_disk_bytes=1).engine_heap_bytes == found.engine_heap_bytes


def test_memory_is_the_engines_own(converted_run: Path) -> None:
    """This process holds TensorFlow; a child's ru_maxrss would report that."""
    cost = measure("int8", converted_run / "converted" / "int8.tflite")
    assert 20e6 < cost.rss_peak_bytes < 150e6 < rss_peak_bytes()
    assert cost.engine_heap_bytes is not None and 5_000 < cost.engine_heap_bytes < 10e6
    assert 0 <= cost.latency.p50_us < 1000


def test_a_configuration_that_was_edited_after_training_is_not_converted(run: Path) -> None:
    with (run / "config.toml").open("a") as file:
        file.write("[decision.default]\non = 0.9\n")
    result = galago("convert", run)
    assert_one_line(result, Reason.RUN_BAD)
    assert "galago bundle repolicy" in result.stderr
    assert not (run / "converted").exists()


def test_a_network_that_was_not_trained_is_not_converted(run: Path, keras: Any) -> None:
    network(keras, unused_gain=2.0).save(run / "model.keras")
    result = galago("convert", run)
    assert_one_line(result, Reason.RUN_BAD)
    assert "model.keras is not the network that was trained" in result.stderr


def test_a_run_from_before_the_networks_hash_was_kept_is_judged_by_its_weights(run: Path, keras: Any) -> None:
    as_if_trained_so(run, model_sha256=msgspec.UNSET)
    Run.open(run).check_untouched()
    network(keras, unused_gain=2.0).save(run / "model.keras")
    with pytest.raises(InputError, match="is not the network that was trained"):
        Run.open(run).check_untouched()


def test_options_of_convert_take_the_place_of_the_runs_and_are_recorded(run: Path) -> None:
    result = galago("convert", run, "--calibration-samples", 9, "--max-loss-points", 3.5, "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout, type=Conversion)
    assert found.held_out.max_loss_points == 3.5
    assert found.config_sha256 == hashlib.sha256((run / "config.toml").read_bytes()).hexdigest()
    assert json.loads((run / "converted" / "calibration.json").read_bytes())["requested"] == 9


def test_quantization_aware_training_is_tried_where_int8_loses_and_the_better_file_is_kept(
    run: Path, keras: Any
) -> None:
    network(keras, unused_gain=2000.0).save(run / "model.keras")
    as_if_trained_so(run)
    result = galago("convert", run, "--aware-epochs", 2, "--max-loss-points", 100, "--json")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout, type=Conversion)
    aware = found.aware
    assert not isinstance(aware, msgspec.UnsetType)
    assert aware.before.accuracy_float - aware.before.accuracy_int8 > 0.005
    assert (aware.epochs, aware.samples % 2, aware.batch_size) == (2, 0, aware.samples)
    assert len(aware.distances) == 2
    assert aware.kept is (
        (aware.after.accuracy_int8, -aware.after.flips) > (aware.before.accuracy_int8, -aware.before.flips)
    )
    assert found.held_out == (aware.after if aware.kept else aware.before)
    assert found.held_out.accuracy_int8 == max(aware.before.accuracy_int8, aware.after.accuracy_int8)
    assert all(distance > 0 for distance in aware.distances)
    assert read_conversion(run) == found
    inspection.report((run / "converted" / "int8.tflite").read_bytes())
    calibrated = galago("convert", run, "--max-loss-points", 100)
    assert calibrated.exit_code == 0, calibrated.output
    assert (read_conversion(run).int8_sha256 != found.int8_sha256) is aware.kept


def test_without_a_loss_nothing_is_trained_and_that_is_said(run: Path) -> None:
    result = galago("convert", run, "--aware-epochs", 2)
    assert result.exit_code == 0, result.output
    assert "int8 loses at most 0.5 points: no quantization-aware training" in result.stdout
    assert read_conversion(run).aware is msgspec.UNSET


def test_what_loses_too_much_is_told_of_the_training(run: Path, keras: Any) -> None:
    network(keras, unused_gain=2000.0).save(run / "model.keras")
    as_if_trained_so(run)
    assert "try --aware-epochs 8" in galago("convert", run).output


def test_a_converted_run_is_exported_for_tensorflow_and_answers_alike(
    converted_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "saved"
    result = galago("export", converted_run, "--to", "saved-model", "-o", out)
    assert result.exit_code == 0, result.output
    (agreement,) = json.loads((out / "export.json").read_bytes())["agreement"]
    assert agreement["reader"].startswith("tensorflow ")
    assert agreement["same_top"] == agreement["samples"] > 10
    tf = import_tensorflow()
    pixels = np.full((1, 8, 8, 1), 215, np.float32)
    assert int(np.argmax(tf.saved_model.load(str(out / "saved_model")).serve(pixels))) == 0  # bright
    assert (out / "labels.txt").read_text() == "bright\ndark\nmid\n"

    def broken(self: Run) -> Any:
        raise ValueError("a layer of my own")

    monkeypatch.setattr(Run, "keras_model", broken)
    refused = galago("export", converted_run, "--to", "saved-model", "-o", out)
    assert_one_line(refused, Reason.EXPORT_FAILED)
    assert (out / "export.json").exists()

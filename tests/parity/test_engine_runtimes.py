"""Both TFLite runtimes run the same models through the same engine, and agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from galago_edge.engine import Engine, runtime

DATA = Path(__file__).parents[1] / "data"
MODELS = ["tiny_image", "tiny_audio", "block_net"]

PROBE = """
import json, sys
import numpy as np
from galago_edge.decision import Activation
from galago_edge.engine import Engine, runtime

answers = {"runtime": [runtime().package, runtime().version]}
for path in sys.argv[2:]:
    engine = Engine(open(path, "rb").read())
    view = engine.input_view()
    kept, logits = view[:1], []
    for tensor in np.load(sys.argv[1])[path.rpartition("/")[2].partition(".")[0]]:
        view[...] = tensor
        engine.invoke()
        logits.append(engine.logits().tolist())
    scores = Activation("softmax", engine.output.scale, engine.output.zero_point, 1.3)
    answers[path] = {
        "input": repr(engine.input),
        "output": repr(engine.output),
        "logits": logits,
        "scores": [scores.scores(np.array(row, np.int8)).tolist() for row in logits],
    }
print(json.dumps(answers))
"""


def inputs(name: str) -> npt.NDArray[np.generic]:
    """Return 100 inputs that move the model: soft blobs, not noise that averages out."""
    random = np.random.default_rng(4)
    if name == "tiny_audio":
        bands = random.integers(-128, 128, (100, 1, 10))
        return np.clip(bands + random.integers(-30, 30, (100, 20, 10)), -128, 127).astype(np.int8)
    side = 16 if name == "tiny_image" else 32
    blobs = random.integers(0, 256, (100, 4, 4, 3)) * random.uniform(0, 1, (100, 1, 1, 1))
    return np.kron(blobs, np.ones((1, side // 4, side // 4, 1))).astype(np.uint8)


def ask(python: str | Path, folder: Path) -> dict[str, dict[str, object]]:
    """Run the probe with ``python``; return its answers by model name."""
    tensors = folder / "inputs.npz"
    np.savez(tensors, **{name: inputs(name) for name in MODELS})
    paths = [str(DATA / f"{name}.tflite") for name in MODELS]
    done = subprocess.run(
        [str(python), "-c", PROBE, str(tensors), *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {Path(path).stem: answer for path, answer in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def litert(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    return ask(sys.executable, tmp_path_factory.mktemp("litert"))


@pytest.fixture(scope="module")
def tflite(
    tmp_path_factory: pytest.TempPathFactory, tflite_runtime_python: Path
) -> dict[str, dict[str, object]]:
    return ask(tflite_runtime_python, tmp_path_factory.mktemp("tflite"))


def test_each_environment_holds_the_runtime_it_is_named_for(
    litert: dict[str, object], tflite: dict[str, object]
) -> None:
    assert litert["runtime"] == [runtime().package, runtime().version]
    assert litert["runtime"][0] == "ai-edge-litert"
    assert tflite["runtime"] == ["tflite-runtime", "2.14.0"]


@pytest.mark.parametrize("name", MODELS)
def test_runtimes_describe_the_tensors_alike(
    name: str, litert: dict[str, dict[str, object]], tflite: dict[str, dict[str, object]]
) -> None:
    for role in ("input", "output"):
        assert litert[name][role] == tflite[name][role]


@pytest.mark.parametrize("name", MODELS)
def test_runtimes_agree_within_one_step(
    name: str, litert: dict[str, dict[str, object]], tflite: dict[str, dict[str, object]]
) -> None:
    ours, theirs = np.array(litert[name]["logits"]), np.array(tflite[name]["logits"])
    assert ours.shape[0] == 100
    assert np.ptp(ours, axis=0).max() >= 20  # the inputs did move the answer
    assert np.abs(ours - theirs).max() <= 1


@pytest.mark.parametrize("name", MODELS)
def test_equal_logits_give_equal_scores_in_both_environments(
    name: str, litert: dict[str, dict[str, object]], tflite: dict[str, dict[str, object]]
) -> None:
    """Whatever NumPy is installed: the activation is integer arithmetic."""
    compared = 0
    for row in range(100):
        if litert[name]["logits"][row] == tflite[name]["logits"][row]:
            assert litert[name]["scores"][row] == tflite[name]["scores"][row]
            compared += 1
    assert compared


@pytest.mark.parametrize("name", MODELS)
def test_another_process_of_the_same_runtime_gives_the_same_bytes(
    name: str, litert: dict[str, dict[str, object]]
) -> None:
    engine = Engine((DATA / f"{name}.tflite").read_bytes())
    logits = []
    for tensor in inputs(name):
        engine.input_view()[...] = tensor
        engine.invoke()
        logits.append(engine.logits().tolist())
    assert logits == litert[name]["logits"]


@pytest.mark.parametrize("name", MODELS)
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    one, two = (Engine((DATA / f"{name}.tflite").read_bytes(), threads=threads) for threads in (1, 2))
    for tensor in inputs(name)[:20]:
        for engine in (one, two):
            engine.input_view()[...] = tensor
            engine.invoke()
        assert one.logits().tolist() == two.logits().tolist()


REFUSE = """
import sys
from galago_edge.contract.errors import GalagoError
from galago_edge.engine import Engine

model = open(sys.argv[1], "rb").read()
for damaged in (b"", b"TFL3", b"no model", model[:40], model[:-400], b"\\x1c\\0\\0\\0TFL3" + bytes(50)):
    try:
        Engine(damaged)
    except GalagoError as error:
        print(error.reason)
"""


def test_tflite_runtime_survives_what_is_no_model(tflite_runtime_python: Path) -> None:
    """It follows offsets unchecked: without the engine's own check each of these ends the process."""
    done = subprocess.run(
        [str(tflite_runtime_python), "-c", REFUSE, str(DATA / "block_net.tflite")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["MODEL_BAD"] * 6)

"""What is said of models: read from hand-made and small real files, loaded in the child that users get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner

from galago_converters.inspection import ModelReport, ModelTensor, Node
from galago_converters.model_content import arena_estimate, content_of
from galago_converters.weight_changes import real_values, structure_diff
from galago_converters.weight_forms import inside
from galago_edge.contract.errors import BundleError, LinkError
from galago_workstation.commands.model_bench import bench
from galago_workstation.commands.model_diff import diff
from galago_workstation.commands.model_inspect import inspect
from galago_workstation.looking.bench_child import BenchRound
from galago_workstation.looking.look_child import covered
from galago_workstation.looking.look_messages import ModelLook
from galago_workstation.looking.look_words import look_rows
from galago_workstation.looking.model_bench import bench_row
from galago_workstation.looking.model_look import board_verdicts, look_at

DATA = Path(__file__).parents[1] / "data"
TINY = DATA / "tiny_image.tflite"


def tensor(index: int, shape: tuple[int, ...], dtype: str = "float32", **more: Any) -> ModelTensor:
    return ModelTensor(index=index, name=f"t{index}", shape=shape, dtype=dtype, **more)


def node(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Node:
    return Node(name=name, version=1, custom=False, inputs=inputs, outputs=outputs)


def graph(tensors: list[ModelTensor], nodes: list[Node], ends: tuple[int, int]) -> ModelReport:
    return ModelReport(
        subgraphs=1,
        operators=(),
        custom=(),
        nodes=tuple(nodes),
        tensors=tuple(tensors),
        inputs=(tensors[ends[0]],),
        outputs=(tensors[ends[1]],),
        per_channel=False,
    )


@pytest.fixture(scope="module")
def tiny() -> ModelLook:
    return look_at(TINY)


@pytest.mark.parametrize(
    ("weights", "values", "ends", "phrase"),
    [
        ("float32", "float32", "float32", "float32"),
        ("float16", "float32", "float32", "float16 weights"),
        ("int8", "float32", "float32", "dynamic range"),
        ("int8", "int8", "int8", "int8 full"),
        ("int8", "int8", "float32", "int8 with float ends"),
        ("uint8", "uint8", "uint8", "uint8 full"),
        ("int8", "int16", "int16", "int8 weights, int16 activations"),
        ("int4", "float32", "float32", "int4 weights, float activations"),
        ("int4", "int8", "int8", "int4 weights, int8 activations"),
        ("int2", "int8", "int8", "int2 weights, int8 activations"),
    ],
)
def test_what_is_inside_is_told_by_the_weights_and_what_they_meet(
    weights: str, values: str, ends: str, phrase: str
) -> None:
    tensors = [tensor(0, (1, 8), ends), tensor(1, (4, 8), weights), tensor(2, (1, 8), values)]
    tensors.append(tensor(3, (1, 4), ends))
    nodes = [node("QUANTIZE", (0,), (2,)), node("FULLY_CONNECTED", (2, 1), (3,))]
    assert inside(graph(tensors, nodes, (0, 3)), frozenset((1,))) == phrase


def test_weights_that_are_unpacked_first_are_told_by_what_the_file_holds() -> None:
    tensors = [tensor(0, (1, 8)), tensor(1, (4, 8), "float16"), tensor(2, (4, 8)), tensor(3, (1, 4))]
    nodes = [node("DEQUANTIZE", (1,), (2,)), node("FULLY_CONNECTED", (0, 2), (3,))]
    assert inside(graph(tensors, nodes, (0, 3)), frozenset((1,))) == "float16 weights"


def test_several_forms_are_mixed_and_counted() -> None:
    tensors = [tensor(0, (1, 8)), tensor(1, (8, 8)), tensor(2, (1, 8)), tensor(3, (8, 8), "int8")]
    tensors += [tensor(4, (1, 8))]
    nodes = [node("FULLY_CONNECTED", (0, 1), (2,)), node("FULLY_CONNECTED", (2, 3), (4,))]
    assert inside(graph(tensors, nodes, (0, 4)), frozenset((1, 3))) == "mixed: 1 dynamic range, 1 float32"


def test_the_arena_is_the_largest_sum_of_what_lives_at_one_moment() -> None:
    # 40 bytes in, 400 in the middle, 4 out: at the first node 440 are needed, at the second 404
    tensors = [tensor(0, (1, 10)), tensor(1, (1, 100)), tensor(2, (1, 1)), tensor(3, (1000,))]
    nodes = [node("TILE", (0, 3), (1,)), node("MEAN", (1,), (2,))]
    assert arena_estimate(graph(tensors, nodes, (0, 2)), frozenset((3,))) == 440


def test_places_that_overlap_count_once() -> None:
    assert covered([(0, 10), (5, 12), (20, 30), (22, 25)]) == 22
    assert covered([]) == 0


def test_a_small_int8_model_is_told_as_it_is(tiny: ModelLook) -> None:
    content, run = tiny.content, tiny.run
    assert (content.inside, content.state.keeps, content.flex) == ("int8 full", False, ())
    assert content.bytes == TINY.stat().st_size == (
        content.weight_bytes + sum(one.bytes for one in content.metadata) + content.other_bytes
    )  # fmt: skip
    assert run.loads and run.classifier == ""
    assert run.arena_bytes >= content.arena_estimate_bytes > 0
    assert run.delegated is None or run.delegated + sum(run.left.values()) == run.nodes == len(content.nodes)
    assert all(not one.why_not for one in board_verdicts(content, run.arena_bytes))
    rows = dict(look_rows(tiny, list(board_verdicts(content, run.arena_bytes))))
    assert rows["classifier"] == "Galago's engine takes it"


def test_a_model_that_ends_its_runtime_is_told_with_what_it_holds() -> None:
    look = look_at(DATA / "bad_crash.tflite")
    assert not look.run.loads
    assert "ended by SIG" in look.run.why_not
    assert look.content.nodes


def test_an_operator_that_no_board_has_is_the_boards_reason() -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(TINY.read_bytes(), 0))
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = (
        schema.BuiltinOperator.CUSTOM
    )
    model.operatorCodes[0].customCode = "FlexThing"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    content = content_of(bytes(builder.Output()))
    assert content.flex == ("FlexThing",)
    assert all("FlexThing" in one.why_not[0] for one in board_verdicts(content, 0))
    assert any(one.operator == "FlexThing" for one in content.multiply_adds.uncounted)


@pytest.mark.parametrize("size", [0, 3, 40, 500, 1500])
def test_a_truncated_file_is_one_line(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(TINY.read_bytes()[:size])
    with pytest.raises(BundleError) as met:
        look_at(path)
    assert "\n" not in str(met.value) and str(path) in str(met.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LinkError):
        look_at(tmp_path / "none.tflite")


def test_inspect_prints_rows_and_data() -> None:
    shown = CliRunner().invoke(inspect, [str(TINY)], catch_exceptions=False)
    assert shown.exit_code == 0 and shown.output.startswith("what is inside        int8 full\n")
    data = json.loads(CliRunner().invoke(inspect, [str(TINY), "--json"], catch_exceptions=False).output)
    assert data["content"]["inside"] == "int8 full"
    assert {one["board"] for one in data["boards"]} >= {"raspberry-pi-5"}


def test_real_values_are_those_of_their_scales() -> None:
    plain = tensor(0, (2, 2), "int8", scales=(0.5,), zero_points=(1,))
    assert real_values(plain, bytes([1, 3, 5, 7]), 0).tolist() == [[0, 1], [2, 3]]  # type: ignore[union-attr]
    channels = tensor(0, (2, 2), "int8", scales=(1.0, 2.0), zero_points=(0, 0))
    assert real_values(channels, bytes([1, 2, 3, 4]), 1).tolist() == [[1, 4], [3, 8]]  # type: ignore[union-attr]
    assert real_values(channels, b"123", 1) is None
    assert real_values(tensor(0, (1,)), b"\0\0\xc0\x7f", 0) is None  # not a number


def test_a_model_does_not_differ_from_itself() -> None:
    found = structure_diff(TINY.read_bytes(), TINY.read_bytes())
    assert found.nodes[0] == found.nodes[1] == found.same_nodes
    assert (found.added, found.removed) == ((), ())
    assert len(found.weights) == found.same_weights > 0


def test_a_changed_weight_is_found_and_named() -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(TINY.read_bytes(), 0))
    content = content_of(TINY.read_bytes())
    place = next(n[1][1] for n in content.nodes if n[0] in ("CONV_2D", "FULLY_CONNECTED"))
    changed = model.subgraphs[0].tensors[place]
    data = model.buffers[changed.buffer].data.copy()
    data[0] = (int(data[0]) + 1) % 100
    model.buffers[changed.buffer].data = data
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    found = structure_diff(TINY.read_bytes(), bytes(builder.Output()))
    assert len(found.weights) - found.same_weights == 1
    assert found.weights[0].name == changed.name.decode()
    assert found.weights[0].largest > 0 and found.weights[0].snr_db is not None


def test_diff_asks_both_models_the_same() -> None:
    call = [str(TINY), str(TINY), "--random", "5", "--json"]
    answers = json.loads(CliRunner().invoke(diff, call, catch_exceptions=False).output)["answers"]
    assert answers == {"samples": 5, "same_best": 5, "largest": 0.0, "why_not": ""}


def test_bench_figures_are_percentiles_of_all_rounds() -> None:
    rounds = [
        BenchRound(init_us=10, first_us=9, runs_ns=(1000,) * 50, memory_bytes=5),
        BenchRound(init_us=30, first_us=7, runs_ns=(3000,) * 51, memory_bytes=8),
    ]
    row = bench_row("default", 1, rounds, "")
    assert (row.runs, row.p50_us, row.p99_us, row.init_us, row.first_us) == (101, 3.0, 3.0, 20, 8)
    assert row.memory_bytes == 8


def test_bench_times_every_backend_and_says_how_busy_the_machine_was() -> None:
    call = [str(TINY), "--seconds", "0.01", "--backend", "default", "--backend", "reference", "--json"]
    data = json.loads(CliRunner().invoke(bench, call, catch_exceptions=False).output)
    assert [row["backend"] for row in data["rows"]] == ["default", "reference"]
    assert all(row["runs"] >= 30 and 0 < row["p50_us"] <= row["p99_us"] for row in data["rows"])
    assert data["load_before"] >= 0


def test_bench_tells_a_model_that_does_not_run() -> None:
    call = [str(DATA / "bad_crash.tflite"), "--seconds", "0.01", "--json"]
    data = json.loads(CliRunner().invoke(bench, call, catch_exceptions=False).output)
    assert all("SIG" in row["why_not"] for row in data["rows"])

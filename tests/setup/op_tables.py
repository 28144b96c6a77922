"""Prints the operator table of a TFLite runtime as a device profile holds it.

    .venv/bin/python tests/setup/op_tables.py [PYTHON]

PYTHON is the interpreter of the environment whose runtime is asked (this one without). The table is measured:
a runtime refuses to load a model that names an operator version it has not registered, whether the model uses
it or not, so one small model for each operator and version tells. What is registered does not depend on the
CPU (core/kernels/register.cc in TensorFlow Lite and LiteRT): an x86-64 wheel answers for the Arm wheels of
the same version.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

MODEL = Path(__file__).parents[1] / "data" / "tiny_image.tflite"
HIGHEST = 24
OPERATORS = """
    ABS ADD ARG_MAX AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND CONCATENATION CONV_2D DEPTHWISE_CONV_2D
    DEPTH_TO_SPACE DEQUANTIZE ELU EXP EXPAND_DIMS FULLY_CONNECTED GATHER GELU HARD_SWISH L2_NORMALIZATION
    LEAKY_RELU LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL PACK PAD PADV2 PRELU
    QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR RSQRT SHAPE SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V
    SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNPACK
"""
"""What a classifier without state or control flow may hold and the runtimes compute in int8."""

ASK = """
import base64, json, sys
from galago_edge.engine import interpreter_class
interpreter, known = interpreter_class(), {}
for line in sys.stdin:
    name, version, model = line.split()
    try:
        interpreter(model_content=base64.b64decode(model))
    except ValueError as error:
        assert f"Didn't find op for builtin opcode '{name}' version '{version}'" in str(error), error
    else:
        known.setdefault(name, []).append(int(version))
print(json.dumps(known))
"""


def model_that_names(operator: str, version: int) -> bytes:
    """Return the tiny model with one more entry in its list of operators."""
    model = schema.ModelT.InitFromPackedBuf(MODEL.read_bytes(), 0)
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    model.operatorCodes.append(code)
    builder = flatbuffers.Builder(8192)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def op_table(python: str) -> dict[str, int]:
    """Return the highest registered version by operator; those that are not registered are left out."""
    lines = [
        f"{name} {version} {base64.b64encode(model_that_names(name, version)).decode()}"
        for name in OPERATORS.split()
        for version in range(1, HIGHEST + 1)
    ]
    answer = subprocess.run(
        [python, "-c", ASK], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    known: dict[str, list[int]] = json.loads(answer.stdout.splitlines()[-1])
    for name, versions in known.items():
        assert versions == list(range(1, len(versions) + 1)), (name, versions)
    return {name: versions[-1] for name, versions in known.items()}


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    print("[runtime.ops]")
    for name, version in op_table(python).items():
        print(f"{name} = {version}")


if __name__ == "__main__":
    main()

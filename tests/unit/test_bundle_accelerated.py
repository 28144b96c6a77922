"""Several models in one bundle: the CPU's and those of accelerators."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from galago_edge.bundle import open_bundle
from galago_edge.bundle.manifest_bytes import encode_manifest, parse_manifest
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import Manifest
from test_kit import changed, hollow_manifest, make_bundle


def with_second(**fields: object) -> Manifest:
    """Return a manifest with a model for an accelerator that shares the CPU's file, but for ``fields``."""
    manifest, _ = hollow_manifest()
    (first,) = manifest.model
    return changed(manifest, model=(first, changed(first, **{"backend": "gpu", **fields})))


def test_an_accelerator_may_share_the_file_of_the_cpu_model(tiny_image_model: bytes, tmp_path: Path) -> None:
    path = make_bundle(
        tmp_path / "one.galago",
        tiny_image_model,
        ("dark", "mid", "bright"),
        accelerated={"gpu": tiny_image_model, "edgetpu": b"compiled by a vendor"},
    )
    bundle = open_bundle(path)
    assert [(model.backend, model.file) for model in bundle.manifest.model] == [
        ("cpu", "model.tflite"),
        ("gpu", "model.tflite"),
        ("edgetpu", "model-edgetpu.tflite"),
    ]
    assert bundle.read("model-edgetpu.tflite") == b"compiled by a vendor"
    shown = CliRunner().invoke(main, ["bundle", "inspect", str(path)]).output
    assert "gpu: model.tflite" in shown
    assert "edgetpu: model-edgetpu.tflite" in shown
    assert [entry.path for entry in bundle.manifest.files if entry.role == "model"] == [
        "model.tflite",
        "model-edgetpu.tflite",
    ]


@pytest.mark.parametrize(
    ("fields", "reason", "told"),
    [
        ({"backend": "cpu"}, Reason.MANIFEST_BAD, "two models for cpu"),
        ({"file": "other.tflite"}, Reason.MANIFEST_BAD, "files lists it as nothing"),
        ({"output__scale": 0.5}, Reason.TENSOR_MISMATCH, r"model\[1\].output: scale 0.5"),
        ({"output__zero_point": 3}, Reason.TENSOR_MISMATCH, "zero point 3"),
        ({"output__shape": (1, 7)}, Reason.LABELS_MISMATCH, r"model\[1\].output"),
        ({"input__shape": (1, 8, 8, 3)}, Reason.TENSOR_MISMATCH, r"model\[1\].input"),
    ],
)
def test_an_accelerated_model_must_be_the_same_network(
    fields: dict[str, object], reason: Reason, told: str
) -> None:
    with pytest.raises(BundleError, match=told) as caught:
        parse_manifest(encode_manifest(with_second(**fields)), "x.galago")
    assert caught.value.reason is reason


def test_the_first_model_is_the_one_on_which_every_device_can_fall_back() -> None:
    manifest, _ = hollow_manifest()
    (model,) = manifest.model
    only = changed(manifest, model=(changed(model, backend="gpu"),))
    with pytest.raises(BundleError, match="the first model is the one for the cpu"):
        parse_manifest(encode_manifest(only), "x.galago")

"""The catalogue of boards."""

from __future__ import annotations

import pytest

from galago_devices import names, profile, profile_text
from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.profile import DeviceProfile
from galago_edge.host.toml_file import load_toml


def test_the_catalogue_has_these_boards() -> None:
    assert names() == ("generic-arm64", "generic-x86-64", "raspberry-pi-3-32bit", "raspberry-pi-5")


@pytest.mark.parametrize("name", names())
def test_a_profile_is_valid_and_named_as_its_file(name: str) -> None:
    found = profile(name)
    assert found.id == name
    assert found.runtime.ops["CONV_2D"] >= 3  # what per-channel int8 needs
    assert found.threads <= found.cores


def test_a_board_without_64_bit_has_the_runtime_that_has_wheels_for_it() -> None:
    packages = {name: (profile(name).arch, profile(name).runtime.package) for name in names()}
    for arch, package in packages.values():
        assert package == ("tflite-runtime" if arch == "armv7l" else "ai-edge-litert")


def test_boards_with_the_same_runtime_have_the_same_operators() -> None:
    tables: dict[tuple[str, str], list[dict[str, int]]] = {}
    for name in names():
        runtime = profile(name).runtime
        tables.setdefault((runtime.package, runtime.min_version), []).append(runtime.ops)
    for same in tables.values():
        assert all(table == same[0] for table in same)


def test_the_text_is_what_a_device_can_keep(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "profile.toml"
    path.write_text(profile_text("raspberry-pi-5"))
    assert load_toml(path, DeviceProfile) == profile("raspberry-pi-5")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("raspbery-pi-5", "did you mean raspberry-pi-5"),
        ("generic-x86_64", "did you mean generic-x86-64"),
        ("abacus", "galago devices list"),
        ("../profiles/raspberry-pi-5", "raspberry-pi-5"),
    ],
)
def test_an_unknown_board_is_refused_with_what_comes_near(name: str, hint: str) -> None:
    with pytest.raises(CallerError) as caught:
        profile(name)
    assert caught.value.reason == Reason.TARGET_UNKNOWN
    assert hint in caught.value.hint

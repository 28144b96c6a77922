"""Whether a device takes a bundle, and that a refusal names both sides."""

from __future__ import annotations

from typing import Any

import pytest

from galago_edge.bundle.compatibility import check_compat, check_runtime, unsupported_ops, version_key
from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.manifest import Manifest, Operator
from galago_edge.contract.profile import DeviceProfile, Runtime
from test_kit import changed, hollow_manifest

MANIFEST: Manifest = changed(
    hollow_manifest()[0],
    compat__device_profiles=("porch",),
    compat__arch=("aarch64", "x86_64"),
    compat__ops=(Operator(name="CONV_2D", version=3, count=2), Operator(name="MEAN", version=2, count=1)),
)
PROFILE = DeviceProfile(
    id="porch",
    title="Porch",
    arch="aarch64",
    ram_mb=512,
    cores=4,
    runtime=Runtime(package="ai-edge-litert", min_version="2.1.0", ops={"CONV_2D": 3, "MEAN": 2}),
)


def check(manifest: Manifest = MANIFEST, profile: DeviceProfile | None = PROFILE, **here: Any) -> list[str]:
    return check_compat(manifest, **{"arch": "aarch64", "edge_version": "0.1.0", "profile": profile, **here})


def refusal(*args: Any, **here: Any) -> tuple[Reason, str]:
    with pytest.raises(DeviceError) as caught:
        check(*args, **here)
    assert caught.value.hint
    return caught.value.reason, str(caught.value)


def test_what_fits_is_taken() -> None:
    check()
    check(profile=None, arch="x86_64")
    check(edge_version="1.0.0.dev1")


def test_another_profile_is_refused_with_both_names() -> None:
    reason, text = refusal(profile=changed(PROFILE, id="barn"))
    assert reason == Reason.PROFILE_MISMATCH and "porch" in text and "barn" in text
    reason, text = refusal(changed(MANIFEST, compat__device_profiles=()))
    assert reason == Reason.PROFILE_MISMATCH and "no profile" in text


def test_another_machine_is_refused_with_or_without_profile() -> None:
    reason, text = refusal(profile=None, arch="armv7l")
    assert reason == Reason.ARCH and "armv7l" in text and "aarch64" in text
    reason, text = refusal(arch="x86_64")  # the profile is not this machine's
    assert reason == Reason.ARCH and "porch" in text and "x86_64" in text


def test_a_runtime_that_is_too_old_or_lacks_a_feature_is_refused() -> None:
    reason, text = refusal(changed(MANIFEST, compat__min_runtime_version="0.2.0"))
    assert reason == Reason.RUNTIME_OLD and "0.2.0" in text and "0.1.0" in text
    reason, text = refusal(changed(MANIFEST, compat__features=("image/1", "image/2")))
    assert reason == Reason.RUNTIME_OLD and "image/2" in text


@pytest.mark.parametrize(
    ("ops", "said"), [({"CONV_2D": 2, "MEAN": 2}, "version 3"), ({"CONV_2D": 3}, "MEAN")]
)
def test_an_operator_the_profile_does_not_have_is_refused(ops: dict[str, int], said: str) -> None:
    profile = changed(PROFILE, runtime__ops=ops)
    reason, text = refusal(profile=profile)
    assert reason == Reason.OP_UNSUPPORTED and said in text and "porch" in text
    assert len(list(unsupported_ops(MANIFEST.compat.ops, profile.runtime))) == 1
    check(profile=None)  # nothing is known about the board


FOR_OTHERS: dict[str, tuple[Manifest, dict[str, Any]]] = {
    "another board": (MANIFEST, {"profile": changed(PROFILE, id="barn")}),
    "another machine": (MANIFEST, {"profile": None, "arch": "armv7l"}),
    "another machine by the bundle alone": (changed(MANIFEST, compat__arch=("riscv64",)), {}),
    "both": (MANIFEST, {"profile": changed(PROFILE, id="barn", arch="armv7l"), "arch": "armv7l"}),
}


@pytest.mark.parametrize(("manifest", "here"), FOR_OTHERS.values(), ids=FOR_OTHERS)
def test_a_bundle_for_other_boards_is_taken_with_its_own_override_which_the_hint_names(
    manifest: Manifest, here: dict[str, Any]
) -> None:
    with pytest.raises(DeviceError, match="the bundle is for") as caught:
        check(manifest, **here)
    assert caught.value.hint.endswith("or install it with --ignore-compatible")
    assert check(manifest, ignore_compatible=True, **here) == ["ignore-compatible"]


def test_the_override_is_not_told_of_where_it_was_not_needed() -> None:
    assert check() == check(ignore_compatible=True) == check(ignore_compatible=True, profile=None) == []


BARN = changed(PROFILE, id="barn")
CANNOT_RUN: dict[str, tuple[Manifest, dict[str, Any], Reason]] = {
    "a profile for another machine": (MANIFEST, {"profile": BARN, "arch": "x86_64"}, Reason.ARCH),
    "an older galago-edge": (
        changed(MANIFEST, compat__min_runtime_version="0.2.0"),
        {"profile": BARN},
        Reason.RUNTIME_OLD,
    ),
    "a feature": (
        changed(MANIFEST, compat__features=("image/2",)),
        {"profile": None, "arch": "armv7l"},
        Reason.RUNTIME_OLD,
    ),
    "an operator": (MANIFEST, {"profile": changed(BARN, runtime__ops={"MEAN": 2})}, Reason.OP_UNSUPPORTED),
}


@pytest.mark.parametrize(("manifest", "here", "reason"), CANNOT_RUN.values(), ids=CANNOT_RUN)
def test_what_cannot_run_here_is_refused_with_the_override_too(
    manifest: Manifest, here: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(DeviceError) as caught:
        check(manifest, ignore_compatible=True, **here)
    assert caught.value.reason == reason and "--ignore-compatible" not in caught.value.hint


@pytest.mark.parametrize(
    ("package", "version", "fits"),
    [
        ("ai-edge-litert", "2.1.0", True),
        ("ai-edge-litert", "2.1", True),
        ("ai-edge-litert", "2.10.1", True),
        ("ai-edge-litert", "2.0.9", False),
        ("ai-edge-litert", "unknown", False),
        ("tflite-runtime", "2.14.0", False),
    ],
)
def test_the_tflite_runtime_is_the_profile_s_or_newer(package: str, version: str, fits: bool) -> None:
    if fits:
        check_runtime(package, version, PROFILE)
        return
    with pytest.raises(DeviceError) as caught:
        check_runtime(package, version, PROFILE)
    assert caught.value.reason == Reason.RUNTIME_OLD
    assert f"{package} {version}" in str(caught.value) and "ai-edge-litert 2.1.0" in str(caught.value)


def test_versions_are_ordered_by_number() -> None:
    ordered = ["0", "0.9", "0.10", "1.0.1", "1.2rc1", "2.0.0", "2.14"]
    assert sorted(set(ordered), key=version_key) == ordered
    assert version_key("2") == version_key("2.0.0")

"""``galago install`` and ``status`` on a folder that plays the device, with real models."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import Bundle, file_entry, open_bundle, write_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.errors import GalagoError, Reason
from galago_edge.contract.manifest import Manifest, Operator
from galago_edge.engine import runtime
from galago_edge.host.machine import this_arch
from galago_edge.intake.receiver import receive
from galago_edge.store import Store, begin_boot
from galago_edge.store.filesystem import StoreFs
from test_kit import OTHER_KEY, TEST_KEY, changed, make_bundle, trust

LABELS = ["dark", "mid", "bright"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return trust(tmp_path / "device")


@pytest.fixture
def bundle(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(tmp_path / "eyes-1.0.0.galago", tiny_image_model, LABELS, name="eyes")


def galago(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def install(bundle: Path, root: Path, *options: str) -> Result:
    return galago("install", bundle, "--root", root, *options)


def status(root: Path) -> dict[str, Any]:
    result = galago("status", "--root", root, "--json")
    data: dict[str, Any] = json.loads(result.stdout)
    return data


def active_version(root: Path) -> str:
    slots = status(root)["slots"]
    return str(slots[0]["version"]) if slots else "none"


def refused(result: Result, reason: str, exit_code: int = 1) -> str:
    """Check that a failure is one line, a hint and an exit code; return the line."""
    lines = result.stderr.splitlines()
    assert result.exit_code == exit_code, result.output
    assert len(lines) == 2 and lines[0].startswith("Error: ") and lines[1].startswith("Hint: ")
    assert lines[0].endswith(f"[{reason}]")
    assert result.stdout == ""
    return lines[0]


def write_profile(root: Path, **fields: Any) -> None:
    here = runtime()
    values = {
        "id": "generic-x86-64",
        "arch": this_arch(),
        "package": here.package,
        "min_version": here.version,
        "ops": "CONV_2D = 3",
    } | fields
    (root / "profile.toml").write_text(
        'id = "{id}"\ntitle = "Test board"\narch = "{arch}"\nram_mb = 512\ncores = 1\n'
        '[runtime]\npackage = "{package}"\nmin_version = "{min_version}"\n[runtime.ops]\n{ops}\n'.format(
            **values
        )
    )


def signed(bundle: Path, change: Callable[[Manifest], Manifest], **files: bytes) -> Path:
    """Write another version of a bundle: the manifest changed, files replaced, signed again."""
    opened = open_bundle(bundle)
    contents = {entry.path: opened.read(entry.path) for entry in opened.manifest.files}
    contents |= {name.replace("_", "."): data for name, data in files.items()}
    entries = tuple(file_entry(e.path, e.role, contents[e.path]) for e in opened.manifest.files)
    manifest = changed(opened.manifest, files=entries, bundle__version="2.0.0", bundle__release_counter=2)
    manifest = changed(manifest, resources__model_bytes=len(contents["model.tflite"]))
    path = bundle.with_name("eyes-2.0.0.galago")
    return write_bundle(path, change(manifest), contents, [TEST_KEY]).path


def unchanged(manifest: Manifest) -> Manifest:
    return manifest


def test_a_bundle_is_installed_and_shown(root: Path, bundle: Path) -> None:
    result = install(bundle, root)
    assert result.exit_code == 0, result.output
    assert "eyes 1.0.0 is installed and active" in result.output
    assert "golden samples: 3 answered, at most 0 quantization steps off" in result.output
    shown = galago("status", "--root", root)
    assert shown.exit_code == 0
    assert "eyes 1.0.0" in shown.output and "store    ok" in shown.output
    assert open_bundle(bundle).id[:16] in shown.output


def test_a_camera_and_a_microphone_bundle_run_on_one_device(
    root: Path, bundle: Path, tmp_path: Path, tiny_audio_model: bytes
) -> None:
    ears = make_bundle(
        tmp_path / "ears", tiny_audio_model, ["quiet", "low", "high"], modality="microphone", name="ears"
    )
    for path in (bundle, ears):
        assert install(path, root).exit_code == 0
    assert {slot["name"]: slot["modality"] for slot in status(root)["slots"]} == {
        "ears": "microphone",
        "eyes": "camera",
    }


def test_programs_get_the_same_as_data(root: Path, bundle: Path) -> None:
    data = json.loads(install(bundle, root, "--json").stdout)
    assert (data["outcome"], data["name"], data["version"]) == ("installed", "eyes", "1.0.0")
    assert [sample["label"] for sample in data["golden"]] == LABELS
    assert Path(data["folder"]).is_dir()
    shown = status(root)
    assert shown["healthy"] is True and shown["profile"] is None
    assert shown["slots"][0]["id"] == data["id"] and shown["slots"][0]["previous"] is None
    assert shown["store"] == {"copies": {"state.a": "ok", "state.b": "ok"}, "leftovers": 0}
    again = json.loads(install(bundle, root, "--json").stdout)
    assert (again["outcome"], again["golden"]) == ("already installed", [])


def test_errors_are_data_too(root: Path, tmp_path: Path) -> None:
    result = install(tmp_path / "none.galago", root, "--json")
    error = json.loads(result.stdout)["error"]
    assert (error["reason"], error["exit"]) == ("TARGET_UNKNOWN", 2)
    assert error["hint"] and result.exit_code == 2


def test_without_a_profile_both_commands_say_so(root: Path, bundle: Path) -> None:
    assert "no profile" in install(bundle, root).output
    assert "none: board and operators are not checked" in galago("status", "--root", root).output
    write_profile(root)
    assert "no profile" not in install(bundle, root).output
    assert "generic-x86-64 (Test board)" in galago("status", "--root", root).output


def test_another_machine_s_disk_is_judged_by_its_own_profile(root: Path, bundle: Path) -> None:
    """As ``galago flash`` does with an SD card: no sample can be run here."""
    with pytest.raises(GalagoError) as caught:
        receive(bundle, root, mounted=True)
    assert caught.value.reason == Reason.TARGET_UNKNOWN
    write_profile(root, arch="riscv64")
    with pytest.raises(GalagoError) as caught:
        receive(bundle, root, mounted=True)
    assert caught.value.reason == Reason.ARCH
    write_profile(root, min_version="999.0")  # a runtime that only that machine has
    receipt = receive(bundle, root, mounted=True)
    assert (receipt.phase, receipt.golden) == ("committed", ())
    assert json.loads((receipt.folder / "accepted.json").read_text())["mounted"] is True


def test_a_device_that_trusts_nobody_takes_nothing(tmp_path: Path, bundle: Path) -> None:
    line = refused(install(bundle, tmp_path / "new"), "KEY_UNKNOWN")
    assert "no key is trusted here" in line
    assert not (tmp_path / "new").exists()


def test_a_stranger_s_bundle_is_refused(root: Path, tmp_path: Path, tiny_image_model: bytes) -> None:
    path = make_bundle(tmp_path / "x.galago", tiny_image_model, LABELS, keys=[OTHER_KEY])
    refused(install(path, root), "KEY_UNKNOWN")
    assert active_version(root) == "none"


def test_the_public_way_from_no_key_to_an_installed_bundle(tmp_path: Path, tiny_image_model: bytes) -> None:
    from galago_edge.bundle.keys import read_private_key

    assert galago("keys", "new", tmp_path / "k", "--comment", "test").exit_code == 0
    assert galago("keys", "trust", tmp_path / "k.pub", "--root", tmp_path / "device").exit_code == 0
    path = make_bundle(
        tmp_path / "x.galago", tiny_image_model, LABELS, keys=[read_private_key(tmp_path / "k")]
    )
    assert install(path, tmp_path / "device").exit_code == 0
    assert status(tmp_path / "device")["trusted"][0]["comment"] == "test"


WRONG_BOARDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "another board": ({"id": "porch"}, "PROFILE_MISMATCH", "porch"),
    "another machine": ({"arch": "riscv64"}, "ARCH", "riscv64"),
    "an older runtime": ({"min_version": "999.0"}, "RUNTIME_OLD", "999.0"),
    "another runtime": (
        {"package": "tflite-runtime", "min_version": "2.14.0"},
        "RUNTIME_OLD",
        "tflite-runtime",
    ),
    "fewer operators": ({"ops": "MEAN = 1"}, "OP_UNSUPPORTED", "CONV_2D"),
    "older operators": ({"ops": "CONV_2D = 2"}, "OP_UNSUPPORTED", "version 3"),
    "no profile at all in the file": ({"ops": "= 1"}, "CONFIG_BAD", "profile.toml"),
}


@pytest.mark.parametrize(("fields", "reason", "said"), WRONG_BOARDS.values(), ids=WRONG_BOARDS)
def test_the_profile_refuses(
    root: Path, bundle: Path, fields: dict[str, Any], reason: str, said: str
) -> None:
    if fields.get("package") == runtime().package:
        pytest.skip("that is the runtime here")
    write_profile(root, **fields)
    assert said in refused(install(bundle, root), reason, 2 if reason == "CONFIG_BAD" else 1)
    assert Store(root).state().slots == {}


def test_a_bundle_for_other_machines_is_refused_without_a_profile_too(root: Path, bundle: Path) -> None:
    other = signed(bundle, lambda manifest: changed(manifest, compat__arch=("riscv64",)))
    assert this_arch() in refused(install(other, root), "ARCH")


def another_board(root: Path, **fields: Any) -> Path:
    write_profile(root, **{"id": "porch"} | fields)
    return root


def for_other_machines(bundle: Path) -> Path:
    return signed(bundle, lambda manifest: changed(manifest, compat__arch=("riscv64",)))


def test_a_bundle_for_other_boards_is_taken_when_that_is_said_and_history_and_status_tell_of_it(
    root: Path, bundle: Path
) -> None:
    another_board(root)
    assert "--ignore-compatible" in install(bundle, root).stderr
    assert install(bundle, root, "--ignore-compatible").exit_code == 0
    assert "installed with --ignore-compatible" in galago("status", "--root", root).output
    shown = status(root)
    assert shown["slots"][0]["overrides"] == ["ignore-compatible"]
    assert [(event["version"], event["reason"]) for event in shown["overrides"]] == [
        ("1.0.0", "ignore-compatible")
    ]
    told = galago("history", "--root", root).output.splitlines()
    assert any("override" in line and "ignore-compatible" in line for line in told)


def test_a_bundle_for_other_machines_is_taken_when_that_is_said(root: Path, bundle: Path) -> None:
    assert install(bundle, root).exit_code == 0
    other = for_other_machines(bundle)
    assert "--ignore-compatible" in install(other, root).stderr
    assert install(other, root, "--ignore-compatible").exit_code == 0
    assert active_version(root) == "2.0.0" and status(root)["slots"][0]["trial"] is not None


def test_an_override_that_was_not_needed_is_not_told_of(root: Path, bundle: Path) -> None:
    write_profile(root)
    assert install(bundle, root, "--ignore-compatible").exit_code == 0
    assert status(root)["overrides"] == [] and "--ignore" not in galago("status", "--root", root).output


def test_what_was_staged_with_the_override_is_activated_and_told_of_once(root: Path, bundle: Path) -> None:
    assert install(bundle, another_board(root), "--ignore-compatible").exit_code == 0
    other = for_other_machines(bundle)
    assert install(other, root, "--ignore-compatible", "--stage-only").exit_code == 0
    assert galago("activate", "--root", root).exit_code == 0
    assert status(root)["slots"][0]["overrides"] == ["ignore-compatible"]
    assert active_version(root) == "2.0.0"


def test_what_was_taken_with_the_override_is_what_a_start_loads_and_a_rollback_goes_back_to(
    root: Path, bundle: Path
) -> None:
    assert install(bundle, another_board(root), "--ignore-compatible").exit_code == 0
    store = Store(root)
    assert begin_boot(store, store.trusted())["eyes"].part == "active"
    later = signed(bundle, lambda manifest: changed(manifest, compat__device_profiles=("porch",)))
    assert install(later, root).exit_code == 0
    assert status(root)["slots"][0]["overrides"] == []
    assert galago("rollback", "--root", root).exit_code == 0
    assert begin_boot(store, store.trusted())["eyes"].part == "active"
    assert (active_version(root), status(root)["slots"][0]["overrides"]) == ("1.0.0", ["ignore-compatible"])


REFUSED_ALL_THE_SAME: dict[str, tuple[dict[str, Any], str]] = {
    "the profile of another machine": ({"arch": "riscv64"}, "ARCH"),
    "an older runtime": ({"min_version": "999.0"}, "RUNTIME_OLD"),
    "fewer operators": ({"ops": "MEAN = 1"}, "OP_UNSUPPORTED"),
}


@pytest.mark.parametrize(("fields", "reason"), REFUSED_ALL_THE_SAME.values(), ids=REFUSED_ALL_THE_SAME)
def test_a_board_that_cannot_run_it_is_refused_with_the_override_too(
    root: Path, bundle: Path, fields: dict[str, Any], reason: str
) -> None:
    another_board(root, **fields)
    refused(install(bundle, root, "--ignore-compatible"), reason)
    assert Store(root).state().slots == {}


def test_a_board_that_computes_other_answers_is_refused_with_the_override_too(
    root: Path, bundle: Path
) -> None:
    another_board(root)
    refused(install(signed(bundle, other_logits), root, "--ignore-compatible"), "GOLDEN_FAIL")
    assert Store(root).state().slots == {}


def with_golden(manifest: Manifest, **fields: Any) -> Manifest:
    first, *others = manifest.golden
    return changed(manifest, golden=(changed(first, **fields), *others))


def other_logits(manifest: Manifest) -> Manifest:
    logits = manifest.golden[0].expected.logits
    return with_golden(manifest, expected__logits=(*logits[:2], logits[2] - 5))


def no_lower_output_scale(manifest: Manifest) -> Manifest:
    model = manifest.model[0]
    return changed(manifest, model=(changed(model, output__scale=model.output.scale * 2),))


def later_runtime(manifest: Manifest) -> Manifest:
    return changed(manifest, compat__min_runtime_version="99.0.0")


SIGNED_BUT_BAD: dict[str, tuple[Callable[[Manifest], Manifest], dict[str, bytes], str]] = {
    "a model that is none": (unchanged, {"model_tflite": b"not a model"}, "MODEL_BAD"),
    "eight bytes of a model": (unchanged, {"model_tflite": b"\x18\0\0\0TFL3"}, "MODEL_BAD"),
    "another answer": (other_logits, {}, "GOLDEN_FAIL"),
    "another tensor": (lambda m: with_golden(m, expected__tensor_sha256="0" * 64), {}, "PREPROCESS_MISMATCH"),
    "another preprocessing": (
        lambda m: changed(m, preprocess__sha256="0" * 64), {}, "PREPROCESS_MISMATCH"),
    "another output scale": (no_lower_output_scale, {}, "TENSOR_MISMATCH"),
    "a later runtime": (later_runtime, {}, "RUNTIME_OLD"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "files", "reason"), SIGNED_BUT_BAD.values(), ids=SIGNED_BUT_BAD)
def test_a_signed_bundle_that_does_not_work_here_leaves_the_old_one(
    root: Path, bundle: Path, change: Callable[[Manifest], Manifest], files: dict[str, bytes], reason: str
) -> None:
    assert install(bundle, root).exit_code == 0
    refused(install(signed(bundle, change, **files), root), reason)
    assert active_version(root) == "1.0.0"
    assert len(list((root / "bundles").iterdir())) == 1 and list((root / "incoming").iterdir()) == []
    good = signed(bundle, unchanged)
    assert install(good, root).exit_code == 0  # and the next good one is not blocked
    assert active_version(root) == "2.0.0"


def test_a_truncated_model_is_refused_before_the_native_loader_sees_it(
    root: Path, bundle: Path, tiny_image_model: bytes
) -> None:
    for length in range(100, len(tiny_image_model), 400):
        cut = signed(bundle, unchanged, model_tflite=tiny_image_model[:length])
        refused(install(cut, root), "MODEL_BAD")


def test_any_changed_byte_is_refused(root: Path, bundle: Path) -> None:
    data = bundle.read_bytes()
    for place in range(0, len(data), 331):
        bundle.write_bytes(data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :])
        result = install(bundle, root)
        assert result.exit_code == 1 and len(result.stderr.splitlines()) == 2, result.output
    assert Store(root).state().slots == {}


def test_an_older_release_is_refused(root: Path, bundle: Path) -> None:
    install(signed(bundle, unchanged), root)
    refused(install(bundle, root), "DOWNGRADE")
    assert active_version(root) == "2.0.0"


def test_busy_is_an_exit_code_of_its_own(root: Path, bundle: Path) -> None:
    install(bundle, root)
    fd = StoreFs().lock(root / "lock")
    refused(install(signed(bundle, unchanged), root), "LOCKED", 5)
    assert active_version(root) == "1.0.0"  # looking takes no lock
    os.close(fd)


def test_a_full_disk_is_one_line_and_the_old_bundle_stays(
    root: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(bundle, root)

    def full(self: StoreFs, fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    newer = signed(bundle, unchanged)
    with monkeypatch.context() as patch:
        patch.setattr(StoreFs, "write", full)
        refused(install(newer, root), "NO_SPACE", 3)
    assert active_version(root) == "1.0.0"
    assert install(newer, root).exit_code == 0


def test_a_damaged_bundle_is_shown_with_what_to_do_and_an_exit_code(root: Path, bundle: Path) -> None:
    install(bundle, root)
    model = Store(root).active("eyes").path / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    shown = galago("status", "--root", root)
    assert shown.exit_code == 1
    assert (
        "DAMAGED" in shown.output
        and "FILE_HASH" in shown.output
        and "install the bundle again" in shown.output
    )
    assert status(root)["healthy"] is False
    assert "is repaired" in install(bundle, root).output
    assert galago("status", "--root", root).exit_code == 0


def test_one_damaged_copy_of_the_record_is_shown_and_two_are_made_anew_by_an_install(
    root: Path, bundle: Path
) -> None:
    install(bundle, root)
    (root / "state.a").unlink()
    (root / "state.a").write_bytes(b"garbage")
    shown = galago("status", "--root", root)
    assert shown.exit_code == 0 and "state.a is damaged" in shown.output
    (root / "state.b").unlink()
    shown = galago("status", "--root", root)
    assert shown.exit_code == 1 and "state.a is damaged and state.b is missing" in shown.output
    assert "[STATE_BAD]" in shown.output
    assert "was active already and is whole" in install(bundle, root).output
    assert active_version(root) == "1.0.0"
    assert [path.read_bytes() for path in root.glob("state.a.bad-*")] == [b"garbage"]


def test_status_of_a_device_that_has_nothing_yet(root: Path) -> None:
    shown = galago("status", "--root", root)
    assert shown.exit_code == 0
    assert "bundles  none" in shown.output and "store    ok" in shown.output


def test_status_of_no_device_at_all(tmp_path: Path) -> None:
    refused(galago("status", "--root", tmp_path / "none"), "TARGET_UNKNOWN", 2)


def test_a_key_that_cannot_be_read_stops_an_install(root: Path, bundle: Path) -> None:
    (root / "trust" / "broken.pub").write_text("?")
    assert "broken.pub" in refused(install(bundle, root), "KEY_BAD", 2)


def test_the_operators_of_the_model_are_known_to_the_profiles(root: Path, bundle: Path) -> None:
    """With the profile that the catalogue gives for this machine, end to end."""
    names = {"x86_64": "generic-x86-64", "aarch64": "generic-arm64"}
    if this_arch() not in names or runtime().package != "ai-edge-litert":
        pytest.skip(f"the catalogue has no board for {this_arch()} with {runtime().package}")
    written = galago("devices", "show", names[this_arch()], "-o", root / "profile.toml")
    assert written.exit_code == 0, written.output
    assert install(bundle, root).exit_code == 0
    op = Operator(name="FULLY_CONNECTED", version=99, count=1)
    later = signed(bundle, lambda manifest: changed(manifest, compat__ops=(op,)))
    assert "FULLY_CONNECTED version 99" in refused(install(later, root), "OP_UNSUPPORTED")


def test_what_is_installed_is_what_was_signed(root: Path, bundle: Path) -> None:
    install(bundle, root)
    installed: Bundle = Store(root).active("eyes")
    assert installed.manifest_bytes == open_bundle(bundle).manifest_bytes
    assert installed.signers == open_bundle(bundle).signers

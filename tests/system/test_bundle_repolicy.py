"""``galago bundle repolicy``: other policies, the same model, and a history that is true."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from galago_edge.bundle import open_bundle
from galago_edge.bundle.comparison import compare_bundles
from galago_edge.bundle.keys import create_key_pair
from galago_edge.bundle.policy_history import HISTORY_KEY, history_of_bundle
from galago_edge.commands.cli import main
from galago_edge.contract.manifest import Label, LabelPolicy
from test_kit import TEST_KEY, make_bundle, trust

pytestmark = pytest.mark.usefixtures("few_attacks")

LABELS = (Label(name="dark", background=True), Label(name="mid"), Label(name="smoke alarm"))
POLICY = """
[label."smoke alarm"]
on = 0.9
min_count = 3
"""


@pytest.fixture
def old(tmp_path: Path, tiny_image_model: bytes) -> Path:
    return make_bundle(
        tmp_path / "levels-1.4.2.galago", tiny_image_model, LABELS, name="levels", version="1.4.2",
        release_counter=77,
    )  # fmt: skip


@pytest.fixture
def key(tmp_path: Path) -> Path:
    create_key_pair(tmp_path / "release.key")
    return tmp_path / "release.key"


@pytest.fixture
def galago(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(bundle: Path, policy: str, key: Path, *options: object) -> Result:
        Path("policy.toml").write_text(policy, encoding="utf-8")
        args = ["bundle", "repolicy", bundle, "policy.toml", "--key", key, *options]
        return CliRunner().invoke(main, [str(arg) for arg in args])

    return run


def refused(result: Result, reason: str, exit_code: int) -> str:
    lines = result.stderr.splitlines()
    assert result.exit_code == exit_code, result.output
    assert [line.partition(":")[0] for line in lines] == ["Error", "Hint"], result.stderr
    assert lines[0].endswith(f"[{reason}]")
    return lines[0]


def test_only_the_named_policies_differ_and_the_release_is_the_next_one(
    galago: Any, old: Path, key: Path
) -> None:
    result = galago(old, POLICY, key)
    assert result.exit_code == 0, result.output
    assert "smoke alarm: on 0.7 -> 0.9" in result.output and "min_count 2 -> 3" in result.output
    before, after = open_bundle(old), open_bundle(Path("levels-1.4.3.galago"))
    difference = compare_bundles(before, after)
    assert difference.succession == "newer"
    sections = {change.section for change in difference.changes if not change.what.startswith("x-")}
    assert sections == {"release", "thresholds", "signatures"}
    assert {change.what for change in difference.of("thresholds")} == {
        "labels.smoke alarm.policy.on",
        "labels.smoke alarm.policy.min_count",
    }
    assert after.manifest.labels[2].policy == LabelPolicy(on=0.9, min_count=3)
    assert (after.version, after.release_counter) == ("1.4.3", 78)
    assert [after.read(entry.path) for entry in after.manifest.files] == [
        before.read(entry.path) for entry in before.manifest.files
    ]


def test_the_manifest_tells_every_step_from_the_bundle_that_was_built(
    galago: Any, old: Path, key: Path
) -> None:
    galago(old, POLICY, key)
    first = Path("levels-1.4.3.galago")
    result = galago(first, "[label.mid]\noff = 0.25\n", key, "--version", "2.0.0", "--release-counter", 200)
    assert result.exit_code == 0, result.output
    built, second = open_bundle(old), open_bundle(Path("levels-2.0.0.galago"))
    steps = history_of_bundle(second)
    assert [step.source.id for step in steps] == [built.id, open_bundle(first).id]
    assert [(one.field, one.old, one.new) for one in steps[0].changes] == [
        ("on", 0.7, 0.9),
        ("min_count", 2, 3),
    ]
    assert [(one.label, one.field, one.old, one.new) for one in steps[1].changes] == [
        ("mid", "off", 0.5, 0.25)
    ]
    assert steps[1].policy_sha256 == hashlib.sha256(b"[label.mid]\noff = 0.25\n").hexdigest()
    assert history_of_bundle(built) == ()
    shown = CliRunner().invoke(main, ["bundle", "inspect", "levels-2.0.0.galago"]).output
    assert f"from 1.4.2 (id {built.id[:16]}" in shown and "smoke alarm on 0.7 -> 0.9" in shown


def test_a_device_takes_the_new_bundle_over_the_old_one(galago: Any, old: Path, tmp_path: Path) -> None:
    secret = tmp_path / "test.key"
    from cryptography.hazmat.primitives import serialization

    secret.write_bytes(
        TEST_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    secret.chmod(0o600)
    result = galago(old, POLICY, secret, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["lost_signers"] == [] and data["release_counter"] == 78
    root = trust(tmp_path / "device")
    for bundle in (old, Path(data["path"])):
        installed = CliRunner().invoke(main, ["install", str(bundle), "--root", str(root)])
        assert installed.exit_code == 0, installed.output


def test_the_same_bundle_policy_and_key_give_the_same_bytes(galago: Any, old: Path, key: Path) -> None:
    galago(old, POLICY, key, "-o", "a.galago")
    galago(old, POLICY, key, "-o", "b.galago")
    assert Path("a.galago").read_bytes() == Path("b.galago").read_bytes()


def test_a_key_that_signed_before_and_not_now_is_named(galago: Any, old: Path, key: Path) -> None:
    signer = open_bundle(old).signers[0]
    assert f"not signed by {signer}" in galago(old, POLICY, key).output


@pytest.mark.parametrize(
    ("policy", "options", "said"),
    [
        ("[label.smoke]\non = 0.8\n", (), "'smoke' is no label"),
        ("[label.dark]\non = 0.8\n", (), "'dark' is a background label"),
        ("[label.mid]\noff = 0.8\n", (), "would turn off at 0.8, above 0.7"),
        ("[label.mid]\non = 1.5\n", (), "[label.mid]"),
        ("[label.mid]\nmin_count = 2.5\n", (), "[label.mid]"),
        ("[label.mid]\nsmooth = 3\n", (), "smooth"),
        ("[label.mid]\non = 0.7\n", (), "every policy is what the bundle says already"),
        ("[labels.mid]\non = 0.8\n", (), "labels"),
        ("on = [", (), "policy.toml"),
        (f'bundle = "{"0" * 64}"\n{POLICY}', (), "is for the bundle 0000000000000000"),
        (POLICY, ("--release-counter", "77"), "the release counter would be 77"),
        (POLICY, ("--version", "1.4"), "version"),
    ],
)
def test_a_policy_that_cannot_be_is_one_line_and_writes_nothing(
    galago: Any, old: Path, key: Path, policy: str, options: tuple[str, ...], said: str
) -> None:
    assert said in refused(galago(old, policy, key, *options), "CONFIG_BAD", 2)
    assert [path.name for path in Path().glob("*.galago*")] == ["levels-1.4.2.galago"]


def test_the_bundle_itself_is_never_written_over(galago: Any, old: Path, key: Path) -> None:
    content = old.read_bytes()
    Path("link.galago").symlink_to(old)
    for out in (old, Path("link.galago")):
        refused(galago(old, POLICY, key, "-o", out), "EXISTS", 2)
    assert old.read_bytes() == content


@pytest.mark.parametrize("name", ["release.key", "policy.toml", "note.png", "index.json"])
def test_what_is_no_bundle_is_never_written_over(galago: Any, old: Path, key: Path, name: str) -> None:
    Path("note.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Path("index.json").write_text("{}")
    Path("policy.toml").write_text(POLICY, encoding="utf-8")
    before = Path(name).read_bytes()
    for options in ((), ("--replace",)):
        assert "is something else" in refused(galago(old, POLICY, key, "-o", name, *options), "EXISTS", 2)
    assert Path(name).read_bytes() == before


def test_another_policy_of_the_same_version_needs_a_word_for_it(galago: Any, old: Path, key: Path) -> None:
    assert galago(old, POLICY, key).exit_code == 0
    first = Path("levels-1.4.3.galago").read_bytes()
    assert galago(old, POLICY, key).exit_code == 0  # the same bytes
    other = POLICY.replace("0.9", "0.8")
    assert "is bundle levels 1.4.3" in refused(galago(old, other, key), "EXISTS", 2)
    assert Path("levels-1.4.3.galago").read_bytes() == first
    assert galago(old, other, key, "--replace").exit_code == 0
    assert Path("levels-1.4.3.galago").read_bytes() != first


def test_a_history_of_somebody_else_is_refused_and_not_lost(
    galago: Any, old: Path, key: Path, tmp_path: Path
) -> None:
    from galago_edge.bundle import write_bundle

    opened = open_bundle(old)
    files = {entry.path: opened.read(entry.path) for entry in opened.manifest.files}
    odd = tmp_path / "odd.galago"
    write_bundle(odd, opened.manifest, files, [TEST_KEY], extra={HISTORY_KEY: "long", "x-other": 1})
    assert HISTORY_KEY in refused(galago(odd, POLICY, key), "MANIFEST_BAD", 1)
    write_bundle(odd, opened.manifest, files, [TEST_KEY], extra={"x-other": 1})
    assert galago(odd, POLICY, key).exit_code == 0
    assert json.loads(open_bundle(Path("levels-1.4.3.galago")).manifest_bytes)["x-other"] == 1

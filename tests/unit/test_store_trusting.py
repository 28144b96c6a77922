"""Whom a device believes: thresholds, revocation, and that neither takes a bundle away by surprise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle import TrustedKeys, open_bundle
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.commands.cli import main
from galago_edge.contract.errors import BundleError, BusyError, CallerError, GalagoError, LinkError, Reason
from galago_edge.contract.wishes import Wishes
from galago_edge.store import Store, begin_boot, install_bundle
from galago_edge.store.filesystem import StoreFs
from galago_edge.store.trust_folder import find_key, revoke_key, set_channel, set_threshold, trust_key
from test_kit import OTHER_KEY, TEST_KEY, make_hollow_bundle, trust

THIRD_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
OLD, NEW, THIRD = key_id(TEST_KEY), key_id(OTHER_KEY), key_id(THIRD_KEY)


class Failing(StoreFs):
    """Fails at one call of one operation, and counts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "name"):
            raise OSError(5, "Input/output error")
        return object.__getattribute__(self, name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(trust(tmp_path / "device", TEST_KEY, OTHER_KEY))


def signed_by(store: Store, *keys: Ed25519PrivateKey, counter: int = 1) -> Path:
    path = store.root.parent / f"{counter}.galago"
    return make_hollow_bundle(path, keys=keys, release_counter=counter)


def refusal(trusted: TrustedKeys, path: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        open_bundle(path, trusted)
    return caught.value


def refused(call: object, *args: object, **options: object) -> GalagoError:
    assert callable(call)
    with pytest.raises(GalagoError) as caught:
        call(*args, **options)
    return caught.value


def install(store: Store, path: Path) -> None:
    install_bundle(store, open_bundle(path), store.trusted(), lambda _: {})


def test_a_revoked_key_counts_no_more_and_others_still_do(store: Store) -> None:
    revoke_key(store, OLD, "laptop stolen")
    trusted = store.trusted()
    error = refusal(trusted, signed_by(store, TEST_KEY))
    assert error.reason == Reason.KEY_REVOKED and "laptop stolen" in str(error)
    assert open_bundle(signed_by(store, TEST_KEY, OTHER_KEY), trusted)
    assert refusal(trusted, signed_by(store, THIRD_KEY)).reason == Reason.KEY_UNKNOWN
    assert OLD not in trusted and len(trusted) == 1


def test_a_revoked_key_cannot_be_trusted_again(store: Store) -> None:
    revoke_key(store, OLD, "")
    assert refused(trust_key, store, OLD, "back").reason == Reason.KEY_REVOKED
    (store.trust / "restored.pub").write_text(public_line(OLD))  # a copy of the file does not help either
    assert OLD not in store.trusted()


def test_a_key_can_be_revoked_before_anybody_trusts_it(store: Store) -> None:
    revoke_key(store, THIRD, "")
    assert refused(trust_key, store, THIRD, "").reason == Reason.KEY_REVOKED


def test_as_many_different_keys_as_the_threshold_must_have_signed(store: Store) -> None:
    set_threshold(store, 2)
    error = refusal(store.trusted(), signed_by(store, TEST_KEY, THIRD_KEY))
    assert error.reason == Reason.SIG_MISSING
    assert "1 of the 2 trusted signatures" in str(error) and "galago bundle sign" in error.hint
    assert open_bundle(signed_by(store, TEST_KEY, OTHER_KEY), store.trusted())
    assert refusal(store.trusted(), signed_by(store, THIRD_KEY)).reason == Reason.KEY_UNKNOWN


def test_only_bundles_of_the_channel_that_a_device_follows_are_taken(store: Store) -> None:
    set_channel(store, "stable")
    path = signed_by(store, TEST_KEY)
    beta = make_hollow_bundle(store.root.parent / "beta.galago", channel="beta", release_counter=2)
    assert open_bundle(path, store.trusted())
    assert refusal(store.trusted(), beta).reason == Reason.CHANNEL_MISMATCH
    install(store, path)
    error = refused(set_channel, store, "beta")
    assert error.reason == Reason.KEY_IN_USE and "tiny 1.0.0 (active)" in str(error)
    set_threshold(store, 1)
    assert store.trusted().channel == "stable", "each command leaves what the other one set"
    set_channel(store, None)
    assert open_bundle(beta, store.trusted())
    for name in ("Not so stable", 'x"\nthreshold = 1', ""):
        assert refused(set_channel, store, name).reason == Reason.CONFIG_BAD


def test_a_channel_is_set_from_the_command_line(store: Store) -> None:
    assert galago("keys", "channel", "beta", "--root", store.root).exit_code == 0
    refused_ = galago("install", signed_by(store, TEST_KEY), "--root", store.root)
    assert refused_.exit_code == 1 and "CHANNEL_MISMATCH" in refused_.stderr
    assert "only bundles of the channel beta" in galago("keys", "list", "--root", store.root).output
    assert galago("keys", "channel", "--any", "--root", store.root).exit_code == 0
    assert store.trusted().channel is None
    for options in ((), ("beta", "--any")):
        assert galago("keys", "channel", *options, "--root", store.root).exit_code == 2


def test_one_key_under_two_names_counts_once(store: Store) -> None:
    (store.trust / "copy.pub").write_text(public_line(OLD, "the same again"))
    set_threshold(store, 2)
    assert refusal(store.trusted(), signed_by(store, TEST_KEY)).reason == Reason.SIG_MISSING
    with pytest.raises(BundleError):
        store.trusted().require([OLD, OLD], "x")


def test_a_threshold_that_no_bundle_could_reach_is_refused(store: Store) -> None:
    error = refused(set_threshold, store, 3)
    assert (error.reason, error.exit_code) == (Reason.CONFIG_BAD, 2)
    assert store.trusted().threshold == 1


@pytest.mark.parametrize("role", ["active", "previous"])
def test_what_an_installed_bundle_depends_on_is_not_taken_away_by_surprise(store: Store, role: str) -> None:
    install(store, signed_by(store, TEST_KEY))
    if role == "previous":
        install(store, signed_by(store, OTHER_KEY, counter=2))
    for attempt in (lambda: revoke_key(store, OLD, ""), lambda: set_threshold(store, 2)):
        error = refused(attempt)
        assert error.reason == Reason.KEY_IN_USE and f"tiny 1.0.0 ({role})" in str(error)
    assert OLD in store.trusted() and store.trusted().threshold == 1
    revoke_key(store, OLD, "", allow_in_use=True)
    assert OLD not in store.trusted()


def test_a_factory_bundle_counts_as_installed(store: Store) -> None:
    (store.root / "factory").mkdir()
    make_hollow_bundle(store.root / "factory" / "tiny.galago")
    assert "factory" in str(refused(revoke_key, store, OLD, ""))


def test_a_bundle_that_others_have_signed_too_does_not_hold_a_key(store: Store) -> None:
    install(store, signed_by(store, TEST_KEY, OTHER_KEY))
    revoke_key(store, OLD, "")
    assert open_bundle(store.folder(store.state().slots["tiny"].active.id), store.trusted())


def test_a_signature_that_comes_later_lets_the_old_key_go(store: Store) -> None:
    """The same bundle, signed again: installing it once more is how a device learns of the new signature."""
    install(store, signed_by(store, TEST_KEY))
    folder = store.folder(store.state().slots["tiny"].active.id)
    install(store, signed_by(store, TEST_KEY, OTHER_KEY))
    assert set(open_bundle(folder).signers) == {OLD, NEW}
    revoke_key(store, OLD, "")
    assert open_bundle(folder, store.trusted())
    install(store, signed_by(store, OTHER_KEY))  # fewer signatures take none away
    assert set(open_bundle(folder).signers) == {OLD, NEW}
    assert not store.leftovers()


@pytest.mark.parametrize("step", ["create", "write", "fsync", "rename"])
def test_a_disk_that_fails_while_a_signature_is_added_leaves_a_whole_bundle(store: Store, step: str) -> None:
    install(store, signed_by(store, TEST_KEY))
    folder = store.folder(store.state().slots["tiny"].active.id)
    with pytest.raises(LinkError):
        install(Store(store.root, Failing(step)), signed_by(store, TEST_KEY, OTHER_KEY))
    assert open_bundle(folder).signers == (OLD,)
    assert not store.leftovers()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.revoked", "damaged", Reason.KEY_BAD),
        ("x.pub", "damaged", Reason.KEY_BAD),
        ("policy.toml", "threshold = 0", Reason.CONFIG_BAD),
        ("policy.toml", "treshold = 2", Reason.CONFIG_BAD),
        ("policy.toml", "threshold = ", Reason.CONFIG_BAD),
    ],
)
def test_what_cannot_be_understood_in_the_trust_folder_trusts_nobody(
    store: Store, name: str, text: str, reason: Reason
) -> None:
    (store.trust / name).write_text(text)
    with pytest.raises(CallerError) as caught:
        store.trusted()
    assert caught.value.reason == reason and name in str(caught.value)


def test_a_stray_file_among_the_keys_lets_nothing_be_loaded_and_costs_nothing(store: Store) -> None:
    """One line says which file; no load of a trial is used up, and what lies there stays."""
    install(store, signed_by(store, TEST_KEY))
    install(store, signed_by(store, TEST_KEY, counter=2))
    before = store.state()
    (store.trust / "notes.pub").write_bytes(b"who may sign?")
    error = refused(lambda: begin_boot(store, store.trusted()))
    assert error.reason == Reason.KEY_BAD and "notes.pub" in str(error) and "\n" not in str(error)
    assert error.hint.startswith(f"remove {store.trust / 'notes.pub'}, ")
    assert refused(revoke_key, store, OLD, "").reason == Reason.KEY_BAD
    assert store.state() == before
    (store.trust / "notes.pub").unlink()
    assert begin_boot(store, store.trusted())["tiny"].part == "active"


def test_a_change_that_takes_a_bundle_s_trust_is_in_the_history_when_it_is_meant(store: Store) -> None:
    install(store, signed_by(store, TEST_KEY))
    set_channel(store, None, allow_in_use=True)  # takes nothing, so nothing was overridden
    assert [event.action for event in store.state().history] == ["install"]
    revoke_key(store, OLD, "stolen", allow_in_use=True)
    event = store.state().history[-1]
    assert (event.action, event.name) == ("override", None)
    assert event.reason == (
        f"allow-in-use: keys revoke {OLD[:16]}…, so not to be loaded any more: tiny 1.0.0 (active)"
    )
    revoke_key(store, OLD, "stolen", allow_in_use=True)
    assert store.state().history[-1] == event


def test_a_stolen_key_is_revoked_where_the_record_is_lost_too(store: Store) -> None:
    install(store, signed_by(store, TEST_KEY))
    for name in ("state.a", "state.b"):
        (store.root / name).unlink()
        (store.root / name).write_bytes(b"torn")
    assert refused(revoke_key, store, OLD, "stolen").reason == Reason.STATE_BAD
    revoke_key(store, OLD, "stolen", allow_in_use=True)
    assert OLD in store.trusted().revoked


def test_a_staged_bundle_gets_a_signature_that_comes_later_too(store: Store) -> None:
    install(store, signed_by(store, TEST_KEY))
    for keys in ((TEST_KEY,), (TEST_KEY, OTHER_KEY)):
        bundle = open_bundle(signed_by(store, *keys, counter=2))
        install_bundle(store, bundle, store.trusted(), lambda _: {}, Wishes(stage_only=True))
    assert set(store.open(bundle.id).signers) == {OLD, NEW}


@pytest.mark.parametrize("content", [b"", b"rotten", b"\xff" * 100])
def test_a_key_file_that_rotted_counts_by_its_name(store: Store, content: bytes) -> None:
    """A device must not go dark because of one bad sector under a file of 80 bytes."""
    revoke_key(store, OLD, "stolen")
    for name in (f"{NEW}.pub", f"{OLD}.revoked"):
        (store.trust / name).write_bytes(content)
    trusted = store.trusted()
    assert NEW in trusted and OLD in trusted.revoked
    trust_key(store, NEW, "again")
    assert store.trusted().comments[NEW] == "again"


def test_a_policy_that_rotted_is_mended_by_setting_it(store: Store) -> None:
    (store.trust / "policy.toml").write_bytes(b"\0" * 20)
    assert refused(store.trusted).reason == Reason.CONFIG_BAD
    set_threshold(store, 2)
    assert store.trusted().threshold == 2


def test_a_key_is_named_by_its_id_or_the_beginning_of_it(store: Store) -> None:
    trusted = store.trusted()
    assert find_key(trusted, OLD[:8]) == find_key(trusted, OLD[:16] + "…") == OLD
    assert find_key(trusted, THIRD.upper()) == THIRD
    for given in (OLD[:7], "", "none.pub", "g" * 64, THIRD[:16]):
        assert refused(find_key, trusted, given).reason == Reason.TARGET_UNKNOWN


@pytest.mark.parametrize("step", ["create", "write", "chmod", "fsync", "rename"])
def test_a_disk_that_fails_leaves_the_old_answer_and_nothing_else(store: Store, step: str) -> None:
    before = sorted(path.name for path in store.trust.iterdir())
    with pytest.raises(LinkError):
        revoke_key(Store(store.root, Failing(step)), OLD, "")
    assert sorted(path.name for path in store.trust.iterdir()) == before
    assert OLD in store.trusted()


def test_what_a_power_cut_left_is_removed_and_trusts_nobody(store: Store) -> None:
    (store.trust / ".tmp-0123").write_text(public_line(THIRD))
    assert THIRD not in store.trusted()
    revoke_key(store, OLD, "")
    assert not (store.trust / ".tmp-0123").exists()


def test_trust_is_not_changed_while_another_command_changes_the_store(store: Store) -> None:
    fd = store.fs.lock(store.root / "lock")
    with pytest.raises(BusyError):
        revoke_key(store, OLD, "")
    store.fs.close(fd)
    revoke_key(store, OLD, "")


def galago(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_keys_are_rotated_from_the_command_line(store: Store, tmp_path: Path) -> None:
    root = store.root
    (tmp_path / "third.pub").write_text(public_line(THIRD, "2027"))
    assert galago("keys", "trust", tmp_path / "third.pub", "--root", root).exit_code == 0
    assert galago("keys", "threshold", 2, "--root", root).exit_code == 0
    gone = galago("keys", "revoke", OLD[:16], "--root", root, "--why", "laptop stolen", "--json")
    assert json.loads(gone.stdout)["trusted"] == 2, gone.output
    listed = json.loads(galago("keys", "list", "--root", root, "--json").stdout)
    assert listed["threshold"] == 2
    assert {(row["id"], row["state"], row["comment"]) for row in listed["keys"]} == {
        (NEW, "trusted", "test"),
        (THIRD, "trusted", "2027"),
        (OLD, "revoked", "laptop stolen"),
    }
    shown = galago("keys", "list", "--root", root)
    assert f"{OLD}  revoked  laptop stolen" in shown.output
    assert "2 of 2 trusted keys must have signed" in shown.output
    one = galago("install", signed_by(store, OTHER_KEY), "--root", root, "--json")
    assert one.exit_code == 1 and json.loads(one.stdout)["error"]["reason"] == "SIG_MISSING"
    revoked = galago("keys", "revoke", tmp_path / "third.pub", "--root", root)
    assert revoked.exit_code == 0
    assert "no bundle can be installed" in galago("keys", "list", "--root", root).stderr


@pytest.mark.parametrize("command", [("list",), ("revoke", OLD), ("threshold", "1")])
def test_a_mistyped_root_is_not_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = galago("keys", *command, "--root", tmp_path / "typo")
    assert result.exit_code == 2 and "TARGET_UNKNOWN" in result.stderr
    assert not (tmp_path / "typo").exists()

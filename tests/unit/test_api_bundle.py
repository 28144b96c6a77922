"""``galago_edge.open_bundle``: whose signature counts is always said (galago_edge.api.trusted_bundle)."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import galago_edge
from galago_edge import BundleError, CallerError, Reason
from galago_edge.bundle.keys import key_id, public_line
from galago_edge.store import Store, install_bundle
from test_kit import OTHER_KEY, TEST_KEY, accepted_here, make_bundle, make_hollow_bundle, trust


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_hollow_bundle(tmp_path / "a.galago")


def key_file(folder: Path, key: Ed25519PrivateKey) -> Path:
    keyid = key_id(key)
    path = folder / f"{keyid[:8]}.pub"
    path.write_text(public_line(keyid, "test"))
    return path


def test_a_trusted_key_opens_a_bundle_and_is_named(path: Path, tmp_path: Path) -> None:
    key = key_file(tmp_path, TEST_KEY)
    for trusted in (key, str(key), [key], (str(key), key_file(tmp_path, OTHER_KEY))):
        with galago_edge.open_bundle(path, trusted=trusted) as bundle:
            assert (bundle.name, bundle.version, bundle.modality) == ("tiny", "1.0.0", "camera")
            assert bundle.labels == ("no", "yes")
            assert bundle.signers == bundle.trusted_signers == (key_id(TEST_KEY),)


def test_another_key_does_not(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as caught:
        galago_edge.open_bundle(path, trusted=key_file(tmp_path, OTHER_KEY))
    assert caught.value.reason is Reason.KEY_UNKNOWN


def test_so_many_keys_as_asked_for_must_have_signed(tmp_path: Path) -> None:
    keys = [key_file(tmp_path, TEST_KEY), key_file(tmp_path, OTHER_KEY)]
    both = make_hollow_bundle(tmp_path / "both.galago", keys=(TEST_KEY, OTHER_KEY))
    one = make_hollow_bundle(tmp_path / "one.galago")
    assert len(galago_edge.open_bundle(both, trusted=keys, threshold=2).trusted_signers) == 2
    with pytest.raises(BundleError) as caught:
        galago_edge.open_bundle(one, trusted=keys, threshold=2)
    assert caught.value.reason is Reason.SIG_MISSING


def test_a_store_says_whom_it_trusts_how_many_and_which_channel(path: Path, tmp_path: Path) -> None:
    root = trust(tmp_path / "device")
    assert galago_edge.open_bundle(path, root=root).trusted_signers == (key_id(TEST_KEY),)
    (root / "trust/policy.toml").write_text('channel = "beta"\n')
    with pytest.raises(BundleError) as caught:
        galago_edge.open_bundle(path, root=str(root))
    assert caught.value.reason is Reason.CHANNEL_MISMATCH
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError) as caught:
        galago_edge.open_bundle(path, root=tmp_path / "empty")
    assert caught.value.reason is Reason.KEY_UNKNOWN


def test_a_store_that_is_not_there_is_no_store_that_trusts_nobody(path: Path, tmp_path: Path) -> None:
    for root in (tmp_path / "nowhere", str(path)):
        with pytest.raises(CallerError, match=rf"there is no folder {root}") as caught:
            galago_edge.open_bundle(path, root=root)
        assert caught.value.reason is Reason.TARGET_UNKNOWN
    assert not (tmp_path / "nowhere").exists()


def test_a_bundle_shows_its_name_its_version_and_the_first_digits_of_its_id(path: Path) -> None:
    bundle = galago_edge.open_bundle(path, unverified=True)
    assert repr(bundle) == f"<Bundle tiny 1.0.0 {bundle.id[:16]}…>"
    bundle.close()
    assert repr([bundle]) == f"[<Bundle tiny 1.0.0 {bundle.id[:16]}…>]"


def test_unverified_takes_any_signer_and_believes_none(path: Path) -> None:
    bundle = galago_edge.open_bundle(path, unverified=True)
    assert bundle.signers == (key_id(TEST_KEY),)
    assert bundle.trusted_signers == ()


def test_unverified_still_checks_every_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.rindex(b"hollow")] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        galago_edge.open_bundle(path, unverified=True)
    assert caught.value.reason is Reason.FILE_HASH


def test_whom_to_trust_must_be_said_and_said_once(path: Path, tmp_path: Path) -> None:
    key = key_file(tmp_path, TEST_KEY)
    with pytest.raises(ValueError, match=r"given nothing to trust; expected exactly one of trusted="):
        galago_edge.open_bundle(path)
    with pytest.raises(ValueError, match="given trusted and unverified"):
        galago_edge.open_bundle(path, trusted=key, unverified=True)
    with pytest.raises(ValueError, match="given root and unverified"):
        galago_edge.open_bundle(path, root=tmp_path, unverified=True)
    with pytest.raises(ValueError, match="given nothing"):
        galago_edge.open_bundle(path, trusted=[])  # an empty list of keys is no trust, not any trust


@pytest.mark.parametrize("threshold", [0, -1, 17])
def test_a_threshold_out_of_range_is_refused(path: Path, tmp_path: Path, threshold: int) -> None:
    with pytest.raises(ValueError, match=f"threshold is {threshold}; expected 1 to 16"):
        galago_edge.open_bundle(path, trusted=key_file(tmp_path, TEST_KEY), threshold=threshold)


def test_a_threshold_without_keys_is_refused(path: Path, tmp_path: Path) -> None:
    for way in ({"unverified": True}, {"root": trust(tmp_path)}):
        with pytest.raises(ValueError, match=r"more than 1 only with trusted"):
            galago_edge.open_bundle(path, threshold=2, **way)


def test_what_is_not_there_is_an_unknown_target(tmp_path: Path) -> None:
    with pytest.raises(CallerError) as caught:
        galago_edge.open_bundle(tmp_path / "none.galago", unverified=True)
    assert caught.value.reason is Reason.TARGET_UNKNOWN
    with pytest.raises(CallerError) as caught:
        galago_edge.open_bundle(tmp_path / "none.galago", trusted=tmp_path / "none.pub")
    assert caught.value.reason is Reason.KEY_BAD


def test_a_closed_bundle_says_so_and_lets_go_of_its_file(path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    gc.collect()  # what earlier tests left
    before = descriptors()
    with galago_edge.open_bundle(path, unverified=True) as bundle:
        assert descriptors() == before + 1
        assert bundle.read("model.tflite") == b"hollow"
    assert descriptors() == before
    bundle.close()
    assert bundle.labels == ("no", "yes")  # what is known of it stays known
    with pytest.raises(ValueError, match=r"tiny 1\.0\.0 is closed"):
        bundle.read("model.tflite")


def test_an_installed_folder_closes_too(tmp_path: Path, tiny_image_model: bytes) -> None:
    path = make_bundle(tmp_path / "a.galago", tiny_image_model, ["dark", "mid", "bright"])
    store = Store(trust(tmp_path / "device"))
    with galago_edge.open_bundle(path, unverified=True) as packed:
        folder = install_bundle(store, packed, store.trusted(), accepted_here).folder
    with galago_edge.open_bundle(folder, root=store.root) as bundle:
        assert bundle.read("model.tflite") == tiny_image_model
    with pytest.raises(ValueError, match="is closed"):
        bundle.read("model.tflite")

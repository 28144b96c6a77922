"""Signatures: at least one, all valid, and trust is a question of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle import TrustedKeys, open_bundle, require_trust
from galago_edge.bundle.keys import key_id
from galago_edge.bundle.signature import DOMAIN, sign, verify
from galago_edge.contract.errors import BundleError, Reason
from test_kit import OTHER_KEY, TEST_KEY, make_hollow_bundle

MANIFEST = b'{"any": "bytes"}'
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519, RFC 8032 section 5.1


def refusal(data: bytes, manifest: bytes = MANIFEST) -> Reason:
    with pytest.raises(BundleError) as caught:
        verify(manifest, data, "x.galago")
    return caught.value.reason


def signatures(*keys: Ed25519PrivateKey) -> list[dict[str, str]]:
    return list(json.loads(sign(MANIFEST, keys))["signatures"])


def written(entries: list[dict[str, str]]) -> bytes:
    return json.dumps({"signatures": entries}, separators=(",", ":")).encode()


def test_every_signer_is_named() -> None:
    both = sorted([key_id(TEST_KEY), key_id(OTHER_KEY)])
    assert list(verify(MANIFEST, sign(MANIFEST, [TEST_KEY, OTHER_KEY]), "x")) == both
    assert sign(MANIFEST, [OTHER_KEY, TEST_KEY]) == sign(MANIFEST, [TEST_KEY, OTHER_KEY])
    assert written(signatures(TEST_KEY)) == sign(MANIFEST, [TEST_KEY])  # the tests below write it right


def test_a_signature_is_over_these_bytes_and_this_purpose() -> None:
    assert refusal(sign(MANIFEST, [TEST_KEY]), MANIFEST + b" ") == Reason.SIG_BAD
    entry = signatures(TEST_KEY)[0]
    assert bytes.fromhex(entry["sig"]) == TEST_KEY.sign(DOMAIN + MANIFEST)
    elsewhere = entry | {"sig": TEST_KEY.sign(MANIFEST).hex()}
    assert refusal(written([elsewhere])) == Reason.SIG_BAD


def test_no_signature_is_not_a_valid_one() -> None:
    assert refusal(b'{"signatures":[]}') == Reason.SIG_MISSING
    assert refusal(b"") == Reason.SIG_BAD


def test_one_bad_signature_among_good_ones_refuses_all() -> None:
    one, two = signatures(TEST_KEY, OTHER_KEY)
    assert refusal(written([one, two | {"sig": one["sig"]}])) == Reason.SIG_BAD


def test_one_key_counts_once() -> None:
    entry = signatures(TEST_KEY)[0]
    assert refusal(written([entry, entry])) == Reason.SIG_BAD


def test_the_file_is_written_in_one_way_only() -> None:
    """No signature covers these bytes, so nothing in them may be free."""
    one, two = signatures(TEST_KEY, OTHER_KEY)
    good = written([one, two])
    assert refusal(written([two, one])) == Reason.SIG_BAD
    assert refusal(good + b"\n") == Reason.SIG_BAD
    assert refusal(good.replace(b":", b": ")) == Reason.SIG_BAD
    assert refusal(good.replace(b"ed25519", b"none", 1)) == Reason.SIG_BAD
    assert refusal(written([one | {"note": "x"}, two])) == Reason.SIG_BAD
    assert refusal(written([one | {"sig": one["sig"].upper()}, two])) == Reason.SIG_BAD
    assert refusal(written([one | {"keyid": one["keyid"].upper()}, two])) == Reason.SIG_BAD
    assert refusal(written([dict(reversed(one.items())), two])) == Reason.SIG_BAD
    assert refusal(b"\xff" + good) == Reason.SIG_BAD


def test_a_signature_with_another_form_of_the_same_number_is_refused() -> None:
    """S and S + L verify alike in careless implementations (RFC 8032 section 5.1.7)."""
    entry = signatures(TEST_KEY)[0]
    raw = bytes.fromhex(entry["sig"])
    s = int.from_bytes(raw[32:], "little") + GROUP_ORDER
    assert refusal(written([entry | {"sig": (raw[:32] + s.to_bytes(32, "little")).hex()}])) == Reason.SIG_BAD


def test_a_key_that_is_no_point_of_the_curve_is_refused() -> None:
    entry = signatures(TEST_KEY)[0]
    assert refusal(written([entry | {"keyid": "02" + "00" * 31}])) == Reason.SIG_BAD


def trusted(*keys: Ed25519PrivateKey) -> TrustedKeys:
    return TrustedKeys({key_id(key): "" for key in keys})


def test_any_one_trusted_signer_is_enough_and_none_is_not(tmp_path: Path) -> None:
    path = make_hollow_bundle(tmp_path / "x.galago", keys=[TEST_KEY, OTHER_KEY])
    require_trust(open_bundle(path), trusted(OTHER_KEY))
    assert open_bundle(path, trusted(TEST_KEY)).id
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for keys in (trusted(), trusted(stranger)):
        for attempt in (lambda: open_bundle(path, keys), lambda: require_trust(open_bundle(path), keys)):  # noqa: B023
            with pytest.raises(BundleError) as caught:
                attempt()
            assert caught.value.reason == Reason.KEY_UNKNOWN
            assert key_id(TEST_KEY)[:16] in str(caught.value)


def test_a_stranger_is_refused_before_his_manifest_is_looked_at(tmp_path: Path) -> None:
    from galago_edge.bundle.archive import write_archive

    nonsense = b"[" * 10_000
    path = tmp_path / "x.galago"
    with path.open("wb") as out:
        write_archive(out, [("manifest.json", nonsense), ("manifest.sig", sign(nonsense, [OTHER_KEY]))])
    with pytest.raises(BundleError) as caught:
        open_bundle(path, trusted(TEST_KEY))
    assert caught.value.reason == Reason.KEY_UNKNOWN
    with pytest.raises(BundleError) as caught:
        open_bundle(path, trusted(OTHER_KEY))
    assert caught.value.reason == Reason.MANIFEST_BAD

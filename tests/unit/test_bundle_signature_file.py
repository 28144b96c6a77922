"""The file of signatures by itself: one form for one set of them, whoever signs first."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle.keys import key_id
from galago_edge.bundle.signature import add_signatures, merged, sign, verify
from galago_edge.contract.errors import BundleError, Reason

MANIFEST = b'{"a manifest": 1}'
ONE, TWO, THREE = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))


def ids(*keys: Ed25519PrivateKey) -> tuple[str, ...]:
    return tuple(sorted(map(key_id, keys)))


def refusal(signatures: bytes, manifest: bytes = MANIFEST) -> tuple[Reason, str]:
    with pytest.raises(BundleError) as caught:
        verify(manifest, signatures, "x.galago")
    return caught.value.reason, str(caught.value)


def test_whoever_signs_first_the_file_is_the_same_and_names_all() -> None:
    both = sign(MANIFEST, [ONE, TWO])
    assert both == sign(MANIFEST, [TWO, ONE])
    assert both == add_signatures(MANIFEST, sign(MANIFEST, [ONE]), [TWO])
    assert both == add_signatures(MANIFEST, sign(MANIFEST, [TWO]), [ONE])
    assert both == merged(sign(MANIFEST, [ONE]), sign(MANIFEST, [TWO]))
    assert both == merged(sign(MANIFEST, [TWO, ONE]), sign(MANIFEST, [ONE]))
    assert verify(MANIFEST, both, "x.galago") == ids(ONE, TWO)


def test_to_sign_again_changes_nothing() -> None:
    both = sign(MANIFEST, [ONE, TWO])
    assert add_signatures(MANIFEST, both, [TWO]) == both
    assert add_signatures(MANIFEST, both, []) == both
    assert verify(MANIFEST, add_signatures(MANIFEST, both, [THREE]), "x.galago") == ids(ONE, TWO, THREE)


def test_a_signature_is_of_these_bytes_and_of_nothing_else() -> None:
    reason, message = refusal(sign(MANIFEST, [ONE]), MANIFEST + b" ")
    assert reason is Reason.SIG_BAD
    assert message == f"x.galago: the signature by key {key_id(ONE)[:16]} does not fit the manifest"


def test_one_signature_that_does_not_fit_spoils_the_others() -> None:
    file = add_signatures(MANIFEST + b" ", sign(MANIFEST, [ONE, TWO]), [THREE])
    assert refusal(file)[0] is Reason.SIG_BAD


def test_a_signature_of_the_bare_bytes_is_none() -> None:
    """What is signed says that it is a bundle's manifest, so that no signature serves another purpose."""
    parsed = msgspec.json.decode(sign(MANIFEST, [ONE]))
    parsed["signatures"][0]["sig"] = ONE.sign(MANIFEST).hex()
    assert refusal(msgspec.json.encode(parsed))[0] is Reason.SIG_BAD


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.replace(b":", b": "), Reason.SIG_BAD),
        (lambda data: data + b"\n", Reason.SIG_BAD),
        (lambda data: sign(MANIFEST, []), Reason.SIG_MISSING),
        (lambda data: b"", Reason.SIG_BAD),
        (lambda data: b"\xff", Reason.SIG_BAD),
    ],
    ids=["spaces", "a newline", "none", "empty", "no text"],
)
def test_there_is_one_way_to_write_signatures(change: Callable[[bytes], bytes], reason: Reason) -> None:
    assert refusal(change(sign(MANIFEST, [ONE, TWO])))[0] is reason


def test_the_order_is_that_of_the_key_ids_and_no_key_is_named_twice() -> None:
    parsed = msgspec.json.decode(sign(MANIFEST, [ONE, TWO]))
    parsed["signatures"].reverse()
    assert refusal(msgspec.json.encode(parsed))[0] is Reason.SIG_BAD
    parsed["signatures"] = [parsed["signatures"][0]] * 2
    assert refusal(msgspec.json.encode(parsed))[0] is Reason.SIG_BAD

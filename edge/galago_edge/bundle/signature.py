"""The signature file: Ed25519 over the exact manifest bytes, by one key or several.

``{"signatures":[{"alg":"ed25519","keyid":"...","sig":"..."}]}``, written in one way only: ordered by
key id, lower-case hexadecimal, no blanks. The reader writes it again and compares, because these are
the only bytes of a bundle that no signature covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle.keys import is_valid, key_id
from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import BundleError, Reason
from galago_edge.contract.manifest import Sha256

DOMAIN = b"galago.bundle.sig/1\0"
"""Stands before the manifest in what is signed, so that no signature can be reused elsewhere."""
SIGNATURE_LIMIT_BYTES = 16 * 1024


class _Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    alg: Literal["ed25519"]
    keyid: Sha256  # 32 bytes in hexadecimal, as a hash is
    sig: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


class _SignatureFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signatures: list[_Signature]


def sign(manifest: bytes, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Return the signature file for these manifest bytes, one signature per key. Same keys, same bytes."""
    return _write({key_id(key): key.sign(DOMAIN + manifest).hex() for key in keys})


def add_signatures(manifest: bytes, signature_file: bytes, keys: Iterable[Ed25519PrivateKey]) -> bytes:
    """Return the signature file with those of ``keys`` added. A key that has signed already changes nothing.

    ``signature_file`` is one that :func:`verify` has found good.
    """
    parsed = from_json(signature_file, type=_SignatureFile)
    there = {entry.keyid: entry.sig for entry in parsed.signatures}
    return _write(there | {key_id(key): key.sign(DOMAIN + manifest).hex() for key in keys})


def merged(one: bytes, other: bytes) -> bytes:
    """Return the signature file with the signatures of both.

    Each is one that :func:`verify` has found good for the same manifest.
    """
    files = (from_json(data, type=_SignatureFile) for data in (one, other))
    return _write({entry.keyid: entry.sig for file in files for entry in file.signatures})


def _write(signatures: Mapping[str, str]) -> bytes:
    """Return the one way to write these signatures, hexadecimal by key id."""
    entries = [_Signature(alg="ed25519", keyid=keyid, sig=signatures[keyid]) for keyid in sorted(signatures)]
    return msgspec.json.encode(_SignatureFile(signatures=entries))


def verify(manifest: bytes, signature_file: bytes, where: str) -> tuple[str, ...]:
    """Return the ids of the keys that signed these manifest bytes; there is at least one.

    Raises:
        BundleError: SIG_MISSING without any signature; SIG_BAD when the file is not what :func:`sign`
            writes, names a key twice, or any one signature is not valid.
    """
    try:
        parsed = from_json(signature_file, type=_SignatureFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad(where, f"manifest.sig is not a signature file ({error})") from None
    if not parsed.signatures:
        raise BundleError(
            Reason.SIG_MISSING,
            f"{where}: manifest.sig holds no signature",
            hint="sign it when it is built: galago bundle build --key KEY",
        )
    ids = [entry.keyid for entry in parsed.signatures]
    if ids != sorted(set(ids)) or msgspec.json.encode(parsed) != signature_file:
        raise _bad(where, "manifest.sig is not written as a signature file must be")
    for entry in parsed.signatures:
        if not is_valid(entry.keyid, bytes.fromhex(entry.sig), DOMAIN + manifest):
            raise _bad(where, f"the signature by key {entry.keyid[:16]} does not fit the manifest")
    return tuple(ids)


def _bad(where: str, text: str) -> BundleError:
    return BundleError(
        Reason.SIG_BAD,
        f"{where}: {text}",
        hint="get the bundle again from who signed it; galago bundle verify BUNDLE checks it",
    )

"""Signing keys: who made a bundle. Whom a device believes: ``trust``.

A key's id is the public key itself, 64 lower-case hexadecimal digits. So whether a bundle is whole
can always be checked; whether its signer is trusted is a separate question.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_edge.host.held_signals import held_signals

PUBLIC_SUFFIX = ".pub"
_PUBLIC_LINE = re.compile(r"ed25519 (?P<id>[0-9a-f]{64})(?: (?P<comment>[^\x00-\x1f\x7f]{1,200}))?\n?")
_PRIVATE = b"-----BEGIN PRIVATE KEY-----"
_KEY_FILE_LIMIT = 4096


def key_id(key: Ed25519PrivateKey) -> str:
    """Return the id of a key pair: its public key in hexadecimal."""
    return key.public_key().public_bytes_raw().hex()


def is_valid(keyid: str, signature: bytes, message: bytes) -> bool:
    """Tell whether ``signature`` over ``message`` was made by the key whose public half ``keyid`` is."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(keyid)).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: not a point of the curve
        return False
    return True


def create_key_pair(path: Path, comment: str = "") -> str:
    """Write a new private key to ``path`` (PEM, PKCS #8, mode 0600) and its public half to ``path.pub``.

    Returns the key id. Never overwrites.

    Raises:
        CallerError: EXISTS; one of the two files is there already. KEY_BAD; the comment is not one line.
        LinkError: The folder cannot be written.
    """
    check_comment(comment)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = public_path(path)
    if public.exists():
        raise _exists(public)
    with held_signals():  # half a pair would block the next try
        _write_new(path, pem, 0o600)
        try:
            _write_new(public, public_line(key_id(key), comment).encode(), 0o644)
        except BaseException:  # whatever it was, no half pair
            path.unlink(missing_ok=True)
            raise
    return key_id(key)


def check_comment(comment: str) -> None:
    """Refuse what cannot stand in a key file behind the id.

    Raises:
        CallerError: KEY_BAD; it is not one line of text.
    """
    if not comment.isprintable() or _PUBLIC_LINE.fullmatch(public_line("0" * 64, comment)) is None:
        raise CallerError(
            Reason.KEY_BAD,
            f"the comment {comment!a} is not one line of text",
            hint="at most 200 characters: galago keys new PATH --comment TEXT",
        )


def public_path(path: Path) -> Path:
    """Return where the public half of the private key at ``path`` lies."""
    return path.with_name(path.name + PUBLIC_SUFFIX)


def public_line(keyid: str, comment: str = "") -> str:
    """Return the content of a public key file: one line that a person can compare."""
    return f"ed25519 {keyid} {comment}".rstrip() + "\n"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an unencrypted Ed25519 private key (PEM). A pipe will do: ``<(openssl pkey -in FILE)``.

    Raises:
        CallerError: KEY_BAD; no such file, not such a key, or others may read it.
        LinkError: It cannot be read.
    """
    data, mode = _read_small(path, pipe=True)
    if _PUBLIC_LINE.fullmatch(data.decode("utf-8", "replace")):
        raise _bad(
            path,
            "is a public key, the private half is needed",
            hint="its name has no .pub: --key KEY, not KEY.pub",
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        # as ssh does: a signing key that others can read must be noticed, not used
        raise CallerError(
            Reason.KEY_BAD,
            f"{path} may be used by others (mode {mode:04o}); a signing key must be its owner's alone",
            hint=f"chmod 600 {path}",
        )
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except TypeError:
        hint = f"--key <(openssl pkey -in {path}) asks for the password and leaves nothing on the disk"
        raise _bad(path, "is encrypted, an unencrypted private key is needed", hint=hint) from None
    except (ValueError, UnsupportedAlgorithm):  # their texts are for programmers
        raise _bad(path, f"is {_met(data)}, an Ed25519 private key in PEM (PKCS #8) is needed") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad(path, "is a private key of another kind, Ed25519 is needed")
    return key


def read_public_key(path: Path) -> tuple[str, str]:
    """Return id and comment of a public key file.

    Raises:
        CallerError: KEY_BAD; no such file or not a public key.
        LinkError: It cannot be read.
    """
    data, _ = _read_small(path)
    if data.startswith(_PRIVATE):
        raise _bad(
            path,
            "is a private key, the public half is needed",
            hint=f"give {public_path(path)}, which galago keys new PATH made beside it",
        )
    return parse_public_line(data.decode("utf-8", "replace"), str(path))


def parse_public_line(line: str, where: str) -> tuple[str, str]:
    """Return id and comment of a public key's one line, which came from ``where``.

    Raises:
        CallerError: KEY_BAD; it is not a public key.
    """
    match = _PUBLIC_LINE.fullmatch(line)
    if match is None:
        raise _bad(where, "is not a public key: one line 'ed25519 <64 hexadecimal digits> [comment]'")
    return match["id"], match["comment"] or ""


def _read_small(path: Path, *, pipe: bool = False) -> tuple[bytes, int]:
    """Return content and permission bits, both of the same open file.

    ``pipe``: whoever named the file waits for what comes through it. A device waits for nobody.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipe else os.O_NONBLOCK))
        try:
            status = os.fstat(fd)
            if not (stat.S_ISREG(status.st_mode) or (pipe and stat.S_ISFIFO(status.st_mode))):
                raise _bad(path, "is a folder" if stat.S_ISDIR(status.st_mode) else "is no plain file")
            with open(fd, "rb", closefd=False) as file:
                data = file.read(_KEY_FILE_LIMIT + 1)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise CallerError(
            Reason.KEY_BAD, f"there is no key file {path}", hint="galago keys new PATH makes a pair"
        ) from None
    except OSError as error:
        raise disk_error(error, f"read the key {path}") from error
    if len(data) > _KEY_FILE_LIMIT:
        raise _bad(path, "is too long for a key file")
    return data, stat.S_IMODE(status.st_mode)


def _met(data: bytes) -> str:
    """Say what came instead of a private key."""
    if not data.strip():
        return "empty"
    if data.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----"):
        return "a key of OpenSSH"
    return "damaged" if data.startswith(_PRIVATE) else "no private key"


def _bad(path: Path | str, text: str, hint: str = "galago keys new PATH makes a pair") -> CallerError:
    return CallerError(Reason.KEY_BAD, f"{path} {text}", hint=hint)


def _exists(path: Path) -> CallerError:
    return CallerError(
        Reason.EXISTS,
        f"{path} exists; keys are never overwritten",
        hint="choose another path: galago keys new PATH; or move the old pair away first",
    )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise disk_error(error, f"create {path}") from error
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise disk_error(error, f"write {path}") from error
    except BaseException:  # an interruption, too, must leave no half key
        path.unlink(missing_ok=True)
        raise

"""Key files: made once, kept private, read strictly."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galago_edge.bundle import TrustedKeys
from galago_edge.bundle.keys import (
    create_key_pair,
    is_valid,
    key_id,
    public_line,
    public_path,
    read_private_key,
    read_public_key,
)
from galago_edge.contract.errors import CallerError, LinkError, Reason


@pytest.fixture
def key(tmp_path: Path) -> Path:
    create_key_pair(tmp_path / "release", "Porch alarms, 2026")
    return tmp_path / "release"


def refusal(action: object, *args: object) -> str:
    with pytest.raises(CallerError) as caught:
        action(*args)  # type: ignore[operator]
    assert caught.value.reason == Reason.KEY_BAD and caught.value.hint
    return str(caught.value)


def test_the_two_halves_belong_together(key: Path) -> None:
    private = read_private_key(key)
    keyid, comment = read_public_key(public_path(key))
    assert (keyid, comment) == (key_id(private), "Porch alarms, 2026")
    assert is_valid(keyid, private.sign(b"x"), b"x")
    assert not is_valid(keyid, private.sign(b"x"), b"y")


def test_only_the_owner_may_read_the_private_half(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(public_path(key).stat().st_mode) & 0o400


def test_the_private_half_is_what_openssl_calls_pkcs8(key: Path) -> None:
    assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
    assert isinstance(serialization.load_pem_private_key(key.read_bytes(), None), Ed25519PrivateKey)


@pytest.mark.parametrize("there", ["release", "release.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(CallerError) as caught:
        create_key_pair(tmp_path / "release")
    assert caught.value.reason == Reason.EXISTS
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {there: "precious"}


@pytest.mark.parametrize("comment", ["two\nlines", "x" * 201, "\x1b[2J", "\udcff"], ids=ascii)
def test_a_comment_that_could_not_be_read_back_is_refused(tmp_path: Path, comment: str) -> None:
    refusal(create_key_pair, tmp_path / "release", comment)
    assert list(tmp_path.iterdir()) == []


def test_half_a_pair_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def full(path: object, *args: int) -> int:
        if str(path).endswith(".pub"):
            raise OSError(28, "No space left on device")
        return real(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(LinkError) as caught:
        create_key_pair(tmp_path / "release")
    assert caught.value.reason == Reason.NO_SPACE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_not_used(key: Path, mode: int) -> None:
    key.chmod(mode)
    assert f"{mode:04o}" in refusal(read_private_key, key)
    key.chmod(0o400)
    read_private_key(key)


def pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey, password: bytes = b"") -> bytes:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


SECRET = Ed25519PrivateKey.generate()
ENCRYPTED = pem(SECRET, b"secret")
OPENSSH = Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
)


def private_file(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "met"),
    [(b"", "is empty"), (b"hello", "is no private key"), (bytes(5000), "is too long for a key file"),
     (b"\xff\xfe", "is no private key"),
     (pem(ec.generate_private_key(ec.SECP256R1())), "is a private key of another kind"),
     (ENCRYPTED, "is encrypted"), (OPENSSH, "is a key of OpenSSH"),
     (pem(Ed25519PrivateKey.generate())[:-40], "is damaged"),
     (public_line("ab" * 32, "porch").encode(), "is a public key, the private half is needed")],
    ids=["empty", "text", "long", "binary", "another kind", "encrypted", "openssh", "cut", "public"],
)  # fmt: skip
def test_what_is_no_private_key_is_refused_by_what_it_is(tmp_path: Path, content: bytes, met: str) -> None:
    said = refusal(read_private_key, private_file(tmp_path / "key", content))
    assert said.startswith(f"{tmp_path / 'key'} {met}") and "\n" not in said and "http" not in said


def test_a_public_key_that_everybody_may_read_is_not_to_be_made_secret(key: Path) -> None:
    """It is the wrong file, not a private key that lies open: chmod would help nobody."""
    assert "is a public key" in refusal(read_private_key, public_path(key))


def test_a_private_key_given_for_a_public_one_is_told_where_the_public_half_is(key: Path) -> None:
    with pytest.raises(CallerError) as caught:
        read_public_key(key)
    assert str(public_path(key)) in caught.value.hint


def test_an_encrypted_key_is_used_through_a_pipe_as_the_hint_says(tmp_path: Path) -> None:
    path = private_file(tmp_path / "key", ENCRYPTED)
    with pytest.raises(CallerError) as caught:
        read_private_key(path)
    assert f"--key <(openssl pkey -in {path})" in caught.value.hint
    reading, writing = os.pipe()  # as the shell's <(...) gives it
    os.write(writing, pem(SECRET))
    os.close(writing)
    try:
        assert key_id(read_private_key(Path(f"/dev/fd/{reading}"))) == key_id(SECRET)
    finally:
        os.close(reading)


def test_a_device_does_not_wait_for_a_pipe_among_its_keys(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.pub")
    assert "is no plain file" in refusal(TrustedKeys.in_folder, tmp_path)
    assert "is no plain file" in refusal(read_public_key, Path("/dev/zero"))


GOOD_ID = "ab" * 32


@pytest.mark.parametrize(
    "line",
    ["", "ed25519", GOOD_ID, f"rsa {GOOD_ID}", f"ed25519 {GOOD_ID.upper()}", f"ed25519 {GOOD_ID}00",
     f"ed25519  {GOOD_ID}", f"ed25519 {GOOD_ID}\n\n", f"ed25519 {GOOD_ID}\ned25519 {GOOD_ID}\n",
     f"ed25519 {GOOD_ID} a\x1b[2Jb"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_public_key_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "key.pub"
    path.write_text(line)
    refusal(read_public_key, path)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    for read in (read_public_key, read_private_key):
        refusal(read, tmp_path / "none")
        refusal(read, tmp_path)


def test_all_keys_of_a_folder_are_trusted(tmp_path: Path) -> None:
    for byte in ("01", "02"):
        (tmp_path / f"{byte}.pub").write_text(public_line(byte * 32, f"key {byte}"))
    (tmp_path / "README").write_text("not a key, and not taken for one")
    trusted = TrustedKeys.in_folder(tmp_path)
    assert len(trusted) == 2 and "01" * 32 in trusted and "03" * 32 not in trusted
    assert len(TrustedKeys.in_folder(tmp_path / "none")) == 0


def test_one_unreadable_key_refuses_all_for_it_may_have_been_meant_to_count(tmp_path: Path) -> None:
    (tmp_path / "1.pub").write_text(public_line(GOOD_ID))
    (tmp_path / "2.pub").write_text("damaged")
    refusal(TrustedKeys.in_folder, tmp_path)

"""Whom a device believes: the keys that count, those that never count again, and how many must sign.

::

    ROOT/trust/*.pub          a key that counts
    ROOT/trust/*.revoked      a key that no longer does, whatever else lies here
    ROOT/trust/policy.toml    threshold = 2: so many different keys must have signed (1 without the file);
                              channel = "stable": only bundles of this channel (any without it)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from galago_edge.bundle.keys import PUBLIC_SUFFIX, read_public_key
from galago_edge.contract.errors import BundleError, CallerError, Reason, disk_error
from galago_edge.contract.manifest import BundleName
from galago_edge.host.toml_file import load_toml

REVOKED_SUFFIX = ".revoked"
POLICY_FILE = "policy.toml"
_ID = re.compile(r"[0-9a-f]{64}")


class TrustPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``ROOT/trust/policy.toml``."""

    threshold: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    """Different trusted keys that must have signed a bundle."""
    channel: BundleName | None = None
    """Only bundles of this channel are taken; None: of any."""


def read_policy(folder: Path) -> TrustPolicy:
    """Read the policy of a device's trust folder; what holds without one is its defaults.

    Raises:
        CallerError: CONFIG_BAD.
        LinkError: The file cannot be read.
    """
    path = folder / POLICY_FILE
    try:
        there = path.exists()
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    return load_toml(path, TrustPolicy, docs="docs/keys.md") if there else TrustPolicy()


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The keys whose bundles are taken."""

    comments: dict[str, str]
    """Key id to comment, of the keys that count."""
    revoked: dict[str, str] = field(default_factory=dict)
    """Key id to the reason, of those that never count again."""
    threshold: int = 1
    """Different keys of ``comments`` that must have signed."""
    channel: str | None = None
    """The only channel whose bundles are taken; None: of any."""

    @classmethod
    def of(cls, paths: Iterable[Path], threshold: int = 1) -> TrustedKeys:
        """Read public key files; one that cannot be read fails all, for it may have been meant to count.

        Raises:
            CallerError: KEY_BAD.
        """
        return cls(dict(read_public_key(path) for path in paths), threshold=threshold)

    @classmethod
    def exactly(cls, keyids: Iterable[str]) -> TrustedKeys:
        """Return trust in these keys that asks for the signature of every one of them."""
        comments = dict.fromkeys(keyids, "")
        return cls(comments, threshold=len(comments))

    @classmethod
    def in_folder(cls, folder: Path, *, with_policy: bool = True) -> TrustedKeys:
        """Read a device's trust folder. No folder is no trust; ``with_policy``: what ``policy.toml`` says.

        A key file whose name is the key's id, as the commands write it, counts by its name even when its
        content has rotted.

        Raises:
            CallerError: KEY_BAD or CONFIG_BAD; one file of it cannot be understood, so none counts.
            LinkError: The folder cannot be listed.
        """
        try:
            keys = sorted(folder.glob("*" + PUBLIC_SUFFIX))
            revocations = sorted(folder.glob("*" + REVOKED_SUFFIX))
        except OSError as error:
            raise disk_error(error, f"list {folder}") from error
        revoked = dict(map(_key_of, revocations))
        comments = dict(map(_key_of, keys))
        policy = read_policy(folder) if with_policy else TrustPolicy()
        return cls(
            {keyid: comment for keyid, comment in comments.items() if keyid not in revoked},
            revoked,
            policy.threshold,
            policy.channel,
        )

    def __contains__(self, keyid: object) -> bool:
        return keyid in self.comments and keyid not in self.revoked

    def __len__(self) -> int:
        return len(self.comments)

    def require(self, signers: Iterable[str], where: str) -> None:
        """Refuse what fewer than ``threshold`` different trusted keys have signed.

        ``signers``: key ids, each with a valid signature. A revoked key among them counts nothing, and
        does no harm beside enough others.

        Raises:
            BundleError: KEY_REVOKED, a signer is revoked and the others are too few; KEY_UNKNOWN, no
                signer is trusted; SIG_MISSING, some are, but too few.
        """
        ids = sorted(set(signers))
        counted = [signer for signer in ids if signer in self]
        if len(counted) >= max(self.threshold, 1):
            return
        met = _short(ids)
        gone = [signer for signer in ids if signer in self.revoked]
        if gone:
            raise BundleError(
                Reason.KEY_REVOKED,
                f"{where} is signed by {met}; {_short(gone)} is revoked here"
                + self._why(gone)
                + f", and {self._wanted(len(counted))}",
                hint="ask for the bundle signed by a key that counts: galago bundle sign BUNDLE --key KEY",
            )
        if not counted:
            others = f"{len(self)} other keys are" if len(self) != 1 else "one other key is"
            raise BundleError(
                Reason.KEY_UNKNOWN,
                f"{where} is signed by {met}; {others if len(self) else 'no key is'} trusted here",
                hint="if you know the signer: galago keys trust KEY.pub --root DIR",
            )
        raise BundleError(
            Reason.SIG_MISSING,
            f"{where} is signed by {met}; {self._wanted(len(counted))}",
            hint="let another trusted key sign it too: galago bundle sign BUNDLE --key KEY",
        )

    def require_channel(self, channel: str, where: str) -> None:
        """Refuse a bundle of another channel than the one that this device follows.

        Raises:
            BundleError: CHANNEL_MISMATCH.
        """
        if self.channel not in (None, channel):
            raise BundleError(
                Reason.CHANNEL_MISMATCH,
                f"{where} is of the channel {channel}, this device takes {self.channel} only",
                hint="if it is meant: galago keys channel NAME --root DIR",
            )

    def _why(self, gone: list[str]) -> str:
        reasons = "; ".join(filter(None, (self.revoked[keyid] for keyid in gone)))
        return f" ({reasons})" if reasons else ""

    def _wanted(self, counted: int) -> str:
        return f"{counted} of the {self.threshold} trusted signatures that this device needs are there"


def _key_of(path: Path) -> tuple[str, str]:
    try:
        return read_public_key(path)
    except CallerError as unreadable:
        if _ID.fullmatch(path.stem) is None:
            # it may have been meant to count, or to count no more: nobody is trusted while it lies there
            hint = (
                f"remove {path}, or put the right key there; until then nothing signed is taken or loaded "
                "(galago keys list)"
            )
            raise CallerError(unreadable.reason, str(unreadable), hint=hint) from None
        return path.stem, "its file is damaged, its name is not"


def _short(ids: Iterable[str]) -> str:
    return ", ".join(f"{keyid[:16]}…" for keyid in ids)

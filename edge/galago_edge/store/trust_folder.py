"""Which keys a device believes, in ROOT/trust: trust, revoke, and how many must sign.

Every change is one new file under its final name, durable before the call returns, so a power cut leaves
the old or the new answer. A change that would leave an installed bundle without enough trusted
signatures is refused unless it is said that this is meant: at its next start the device would not load it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec

from galago_edge.bundle import Bundle, TrustedKeys, require_trust
from galago_edge.bundle.keys import PUBLIC_SUFFIX, check_comment, public_line
from galago_edge.bundle.trust import POLICY_FILE, REVOKED_SUFFIX, TrustPolicy, read_policy
from galago_edge.contract.errors import CallerError, DeviceError, GalagoError, Reason, disk_error
from galago_edge.contract.manifest import BundleName
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.store.state import with_entry
from galago_edge.store.store import TEMPORARY, Store
from galago_edge.store.store_change import StoreChange, ensure_folder, locked, now_utc

_LEAST_PREFIX = 8  # hexadecimal digits


def trust_key(store: Store, keyid: str, comment: str) -> Path:
    """Let the device take bundles by this key; return the file that says so.

    Raises:
        DeviceError: KEY_REVOKED; it was revoked here. BusyError while another command changes the store.
        LinkError: The folder cannot be written.
    """
    with _changing(store):
        if store.fs.status(store.trust / f"{keyid}{REVOKED_SUFFIX}") is not None:
            raise DeviceError(
                Reason.KEY_REVOKED,
                f"the key {keyid[:16]}… was revoked on {store.root} and stays so",
                hint="make a new key: galago keys new PATH",
            )
        return _put(store, f"{keyid}{PUBLIC_SUFFIX}", public_line(keyid, comment))


def revoke_key(store: Store, keyid: str, why: str, *, allow_in_use: bool = False) -> Path:
    """Never again count signatures by this key, known here or not; return the file that says so.

    Raises:
        DeviceError: KEY_IN_USE; a bundle that the device has would lose its trust, and ``allow_in_use`` is
            not given. BusyError while another command changes the store.
        CallerError: KEY_BAD or CONFIG_BAD; what is in the trust folder cannot be understood, or ``why`` is
            not one line.
        LinkError: The folder cannot be written.
    """
    check_comment(why)
    with _changing(store):
        now = store.trusted()
        kept = {other: comment for other, comment in now.comments.items() if other != keyid}
        then = replace(now, comments=kept, revoked=now.revoked | {keyid: why})
        _check_in_use(store, now, then, allow_in_use, f"keys revoke {keyid[:16]}…")
        return _put(store, f"{keyid}{REVOKED_SUFFIX}", public_line(keyid, why))


def set_threshold(store: Store, threshold: int, *, allow_in_use: bool = False) -> Path:
    """Take only bundles that so many different trusted keys have signed; return the file that says so.

    Raises:
        CallerError: CONFIG_BAD; fewer keys are trusted. KEY_BAD; what is in the trust folder is no key.
        DeviceError: KEY_IN_USE; a bundle that the device has carries fewer, and ``allow_in_use`` is not
            given. BusyError while another command changes the store.
        LinkError: The folder cannot be written.
    """
    with _changing(store):
        keys = len(TrustedKeys.in_folder(store.trust, with_policy=False))
        if threshold > keys:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"{threshold} signatures are asked for and {keys} keys are trusted on {store.root}",
                hint=f"trust more keys first: galago keys trust KEY.pub --root {store.root}",
            )
        return _put_policy(store, allow_in_use=allow_in_use, threshold=threshold)


def set_channel(store: Store, channel: str | None, *, allow_in_use: bool = False) -> Path:
    """Take only bundles of this channel, None: of any; return the file that says so.

    Raises:
        CallerError: CONFIG_BAD; no name of a channel. KEY_BAD; what is in the trust folder is no key.
        DeviceError: KEY_IN_USE; a bundle that the device has is of another one, and ``allow_in_use`` is not
            given. BusyError while another command changes the store.
        LinkError: The folder cannot be written.
    """
    try:
        msgspec.convert(channel, BundleName | None)
    except msgspec.ValidationError:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"{channel!r} is no name of a channel",
            hint=f"such as: galago keys channel stable --root {store.root}",
        ) from None
    with _changing(store):
        return _put_policy(store, allow_in_use=allow_in_use, channel=channel)


def _put_policy(store: Store, *, allow_in_use: bool, **fields: int | str | None) -> Path:
    try:
        old = read_policy(store.trust)
    except CallerError:
        old = TrustPolicy()  # it has rotted, and this mends it
    new = msgspec.structs.replace(old, **fields)
    keys = TrustedKeys.in_folder(store.trust, with_policy=False)
    before, then = (
        replace(keys, threshold=policy.threshold, channel=policy.channel) for policy in (old, new)
    )
    asked = " ".join(f"{field} {value or 'any'}" for field, value in fields.items())
    _check_in_use(store, before, then, allow_in_use, f"keys {asked}")
    text = f"# Whose bundles are taken: docs/keys.md.\nthreshold = {new.threshold}\n"
    return _put(store, POLICY_FILE, text + (f'channel = "{new.channel}"\n' if new.channel else ""))


def find_key(trusted: TrustedKeys, given: str) -> str:
    """Return the id of the key that ``given`` means: a whole id, or the first digits of one known here.

    Raises:
        CallerError: TARGET_UNKNOWN; none, or more than one.
    """
    known = {*trusted.comments, *trusted.revoked}
    digits = given.lower().rstrip("…")
    if len(digits) == 64 and not set(digits) - set("0123456789abcdef"):
        return digits  # a key may be revoked before anybody trusts it
    found = [keyid for keyid in known if len(digits) >= _LEAST_PREFIX and keyid.startswith(digits)]
    if len(found) != 1:
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"{given!r} is no public key file and {'more than one' if found else 'no'} key here begins so",
            hint=f"give KEY.pub, or at least {_LEAST_PREFIX} digits of an id: galago keys list --root DIR",
        )
    return found[0]


def _check_in_use(store: Store, now: TrustedKeys, then: TrustedKeys, allow: bool, doing: str) -> None:
    """Refuse a change after which a bundle that may be loaded now could not be; ``allow``: note it instead.

    Noted before it is done: a power cut between leaves an override in the history that had no effect, and
    never one that nobody knows of.
    """
    try:
        lost = [what for what, one in _installed(store) if _taken(one, now) and not _taken(one, then)]
    except DeviceError:
        if allow:  # which bundles there are is unknown, and a stolen key does not wait
            return
        raise
    if lost and not allow:
        raise DeviceError(
            Reason.KEY_IN_USE,
            f"{store.root} would no longer load {', '.join(lost)}, which would not be trusted any more",
            hint=f"galago install a bundle first that would be, or say --allow-in-use (docs/keys.md); "
            f"galago keys list --root {store.root}",
        )
    if lost:
        reason = f"allow-in-use: {doing}, so not to be loaded any more: {', '.join(lost)}"
        StoreChange(store).publish(with_entry(store.state(), "override", now_utc(), reason=reason))


def _installed(store: Store) -> Iterator[tuple[str, Bundle]]:
    """Yield every bundle that the device may load; one that is damaged has no trust to lose."""
    for name, slot in sorted(store.state().slots.items()):
        for part, release in slot.releases().items():
            with contextlib.suppress(GalagoError):
                yield f"{name} {release.version} ({part})", store.open(release.id)
    for name in store.factory_names():
        with contextlib.suppress(GalagoError):
            if (bundle := store.factory_bundle(name)) is not None:
                yield f"{bundle} (factory)", bundle


def _taken(bundle: Bundle, trusted: TrustedKeys) -> bool:
    try:
        require_trust(bundle, trusted)
    except GalagoError:
        return False
    return True


@contextlib.contextmanager
def _changing(store: Store) -> Iterator[None]:
    """Hold the store's lock; the trust folder is there and holds no leftovers."""
    try:
        with locked(store):
            ensure_folder(store, store.trust)
            for entry in store.fs.entries(store.trust):
                if entry.name.startswith(TEMPORARY):
                    store.fs.unlink(store.trust / entry.name)
            store.check_trust()
            yield
    except OSError as error:
        raise disk_error(error, f"change whom {store.root} trusts") from error


def _put(store: Store, name: str, text: str) -> Path:
    """Write one file of the trust folder so that it is there whole or not at all."""
    path, temporary = store.trust / name, store.trust / f"{TEMPORARY}{secrets.token_hex(8)}"
    replace_file(
        path, text.encode(), durable=Durable.LASTING, mode=0o644, temporary=temporary, effects=store.fs
    )
    store.fs.fsync_dir(store.root)  # holds the folder, which may be new
    return path

"""``galago keys``: make signing keys, show them, and say which ones a device trusts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH
from galago_edge.commands.store_options import root_option
from galago_edge.contract.errors import CallerError, Reason

if TYPE_CHECKING:
    from galago_edge.store import Store


@click.group()
def keys() -> None:
    """Make signing keys and say which ones a device trusts."""


@keys.command()
@click.argument("path", type=PATH)
@click.option("--comment", default="", help="What the key is for, such as 'Porch alarms 2026'.")
@json_option
def new(path: Path, comment: str, as_json: bool) -> None:
    """Make a key pair: PATH and PATH.pub.

    The private half at PATH is for its owner alone, the public half at PATH.pub for devices. Keys are
    never overwritten.

    \b
    Example:
      galago keys new release.key --comment "Porch alarms 2026"
    """
    from galago_edge.bundle.keys import create_key_pair, public_path

    keyid = create_key_pair(path, comment)
    if as_json:
        data = {"id": keyid, "private": str(path), "public": str(public_path(path)), "comment": comment}
        say_data(data)
        return
    say(f"private key: {path} (keep it secret, keep a copy)")
    say(f"public key:  {public_path(path)} (give it to the devices)")
    say(f"id:          {keyid}")


@keys.command()
@click.argument("path", type=PATH)
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show the id of the key at PATH, private or public.

    For a private key this is also the content of its .pub file, should that be lost.

    \b
    Example:
      galago keys show release.key.pub
    """
    from galago_edge.bundle.keys import PUBLIC_SUFFIX, key_id, public_line, read_private_key, read_public_key

    if path.suffix == PUBLIC_SUFFIX:
        keyid, comment = read_public_key(path)
    else:
        keyid, comment = key_id(read_private_key(path)), ""
    if as_json:
        say_data({"id": keyid, "comment": comment})
        return
    say(public_line(keyid, comment).rstrip("\n"))


_in_use_option = click.option(
    "--allow-in-use",
    is_flag=True,
    help="Even if the device would no longer load a bundle that it has; the history says so.",
)


@keys.command()
@click.argument("public_key", metavar="PUB", type=PATH)
@root_option
@json_option
def trust(public_key: Path, root: Path, as_json: bool) -> None:
    """Let the device at ROOT take bundles that the key PUB signed.

    \b
    Example:
      galago keys trust release.key.pub --root /var/lib/galago
    """
    from galago_edge.bundle.keys import read_public_key
    from galago_edge.store import Store
    from galago_edge.store.trust_folder import trust_key

    keyid, comment = read_public_key(public_key)
    path = trust_key(Store(root), keyid, comment)
    if as_json:
        say_data({"id": keyid, "comment": comment, "file": str(path)})
        return
    say(f"{root} takes bundles signed by {keyid[:16]}…" + (f" ({comment})" if comment else ""))


@keys.command()
@click.argument("key", metavar="PUB|ID")
@root_option
@click.option("--why", default="", help="One line that says why, such as 'laptop stolen in May'.")
@_in_use_option
@json_option
def revoke(key: str, root: Path, why: str, allow_in_use: bool, as_json: bool) -> None:
    """Revoke a key for good on the device at ROOT.

    The key is given as its file PUB, or by its ID. Its signatures never count again, and it cannot be
    trusted again. Refused while a bundle of the device depends on it, because the device would no longer
    load that bundle.

    \b
    Example:
      galago keys revoke 3f51b2c09d7e4a68 --root /var/lib/galago --why "laptop stolen"
    """
    from galago_edge.bundle.keys import read_public_key
    from galago_edge.store.trust_folder import find_key, revoke_key

    store = _existing(root)
    trusted = store.trusted()
    keyid = read_public_key(Path(key))[0] if Path(key).is_file() else find_key(trusted, key)
    path = revoke_key(store, keyid, why, allow_in_use=allow_in_use)
    left = len(store.trusted())
    if as_json:
        data = {"id": keyid, "why": why, "file": str(path), "trusted": left}
        say_data(data)
        return
    say(f"{root} counts no signature by {keyid[:16]}… any more; trusted keys left: {left}")


@keys.command()
@click.argument("count", type=click.IntRange(1, 16))
@root_option
@_in_use_option
@json_option
def threshold(count: int, root: Path, allow_in_use: bool, as_json: bool) -> None:
    """Require signatures by COUNT different trusted keys.

    The device at ROOT then takes only bundles that this many trusted keys have signed.

    \b
    Example:
      galago keys threshold 2 --root /var/lib/galago
    """
    from galago_edge.store.trust_folder import set_threshold

    path = set_threshold(_existing(root), count, allow_in_use=allow_in_use)
    if as_json:
        say_data({"threshold": count, "file": str(path)})
        return
    say(f"{root} takes bundles with the signatures of {count} trusted key{'s' if count > 1 else ''}")


@keys.command()
@click.argument("name", required=False)
@click.option("--any", "any_channel", is_flag=True, help="Take bundles of every channel again.")
@root_option
@_in_use_option
@json_option
def channel(name: str | None, any_channel: bool, root: Path, allow_in_use: bool, as_json: bool) -> None:
    """Take only bundles of the channel NAME on this device.

    With --any the device at ROOT takes bundles of every channel again.

    \b
    Example:
      galago keys channel stable --root /var/lib/galago
    """
    from galago_edge.store.trust_folder import set_channel

    if (name is None) != any_channel:
        raise click.UsageError("give either NAME or --any")
    path = set_channel(_existing(root), name, allow_in_use=allow_in_use)
    if as_json:
        say_data({"channel": name, "file": str(path)})
        return
    say(f"{root} takes bundles of {f'the channel {name}' if name else 'every channel'}")


@keys.command("list")
@root_option
@json_option
def list_keys(root: Path, as_json: bool) -> None:
    """List the trusted and the revoked keys of a device.

    Also how many different keys must sign a bundle, and the channel that the device follows.

    \b
    Example:
      galago keys list --root /var/lib/galago
    """
    trusted = _existing(root).trusted()
    rows = [
        *((keyid, "trusted", comment) for keyid, comment in sorted(trusted.comments.items())),
        *((keyid, "revoked", why) for keyid, why in sorted(trusted.revoked.items())),
    ]
    if as_json:
        listed = [{"id": keyid, "state": state, "comment": comment} for keyid, state, comment in rows]
        data = {"threshold": trusted.threshold, "channel": trusted.channel, "keys": listed}
        say_data(data)
        return
    for keyid, state, comment in rows:
        say(f"{keyid}  {state}  {comment}".rstrip())
    say(f"{trusted.threshold} of {len(trusted)} trusted keys must have signed a bundle")
    if trusted.channel is not None:
        say(f"only bundles of the channel {trusted.channel} are taken")
    if len(trusted) < trusted.threshold:
        say("so no bundle can be installed: galago keys trust KEY.pub --root DIR", err=True)


def _existing(root: Path) -> Store:
    """Return the store at ``root``; a mistyped path must not become a new one.

    Raises:
        CallerError: TARGET_UNKNOWN; there is no such folder.
    """
    from galago_edge.store import Store

    if not root.is_dir():
        raise CallerError(
            Reason.TARGET_UNKNOWN,
            f"there is no folder {root}",
            hint="check --root; galago provision makes a device",
        )
    return Store(root)

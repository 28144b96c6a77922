"""``galago keys``: make signing keys, show them, and say which ones a device trusts."""

from __future__ import annotations

import json
from pathlib import Path

import click

from galago_edge.commands.cli import json_option


@click.group()
def keys() -> None:
    """Make signing keys and say which ones a device trusts."""


@keys.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--comment", default="", help="What the key is for, such as 'Porch alarms 2026'.")
@json_option
def new(path: Path, comment: str, as_json: bool) -> None:
    """Make a key pair: the private half at PATH, for its owner alone, the public half at PATH.pub.

    Keys are never overwritten.

    \b
    Example:
      galago keys new release.key --comment "Porch alarms 2026"
    """
    from galago_edge.bundle.keys import create_key_pair, public_path

    keyid = create_key_pair(path, comment)
    if as_json:
        data = {"id": keyid, "private": str(path), "public": str(public_path(path)), "comment": comment}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    click.echo(f"private key: {path} (keep it secret, keep a copy)")
    click.echo(f"public key:  {public_path(path)} (give it to the devices)")
    click.echo(f"id:          {keyid}")


@keys.command()
@click.argument("path", type=click.Path(path_type=Path))
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
        click.echo(json.dumps({"id": keyid, "comment": comment}, indent=2, ensure_ascii=False))
        return
    click.echo(public_line(keyid, comment), nl=False)


@keys.command()
@click.argument("public_key", metavar="PUB", type=click.Path(path_type=Path))
@click.option("--root", required=True, type=click.Path(path_type=Path), help="Folder of the device's store.")
@json_option
def trust(public_key: Path, root: Path, as_json: bool) -> None:
    """Let the device at ROOT take bundles that the key PUB signed.

    \b
    Example:
      galago keys trust release.key.pub --root /var/lib/galago
    """
    from galago_edge.bundle.keys import read_public_key
    from galago_edge.store.trusting import trust_key

    keyid, comment = read_public_key(public_key)
    path = trust_key(root, keyid, comment)
    if as_json:
        click.echo(json.dumps({"id": keyid, "comment": comment, "file": str(path)}, indent=2))
        return
    click.echo(f"{root} takes bundles signed by {keyid[:16]}…" + (f" ({comment})" if comment else ""))

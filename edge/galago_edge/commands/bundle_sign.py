"""``galago bundle sign``: add a signature to a bundle that is signed already."""

from __future__ import annotations

import os
from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH, key_option, opened_bundle, trust_option


@click.command()
@click.argument("path", metavar="BUNDLE", type=PATH)
@key_option
@trust_option
@click.option(
    "-o",
    "--out",
    type=PATH,
    help="File to write.  [default: BUNDLE itself]",
)
@click.option("--replace", is_flag=True, help="Write over another bundle.")
@json_option
def sign(
    path: Path,
    keys: tuple[Path, ...],
    trusted: tuple[Path, ...],
    out: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Add a signature to BUNDLE.

    The signatures that are there stay, and so do every other byte and the id. For a second pair of eyes
    (devices can require two signatures: galago keys threshold) and for changing keys. Every byte is
    checked before it is signed; look at it first with galago bundle inspect.

    \b
    Example:
      galago bundle sign alarms-1.4.0.galago --key release-2027.key
    """
    from galago_edge.bundle import sign_again
    from galago_edge.bundle.bundle_place import refuse_other_bundle
    from galago_edge.bundle.keys import key_id, read_private_key
    from galago_edge.contract.errors import CallerError, Reason

    private = [read_private_key(key) for key in keys]
    opened = opened_bundle(path, trusted)
    if out is None and path.is_dir():
        raise CallerError(
            Reason.CONFIG_BAD, f"{path} is an installed bundle, which never changes", hint="give --out FILE"
        )
    if out is None:  # a link stays one: what it leads to is signed
        out = Path(os.path.realpath(path)) if path.is_symlink() else path
    there = set(opened.signers)
    refuse_other_bundle(out, opened.id, there | {key_id(key) for key in private}, replace=replace)
    signed = sign_again(opened, private, out)
    added = [key_id(key) for key in private if key_id(key) not in there]
    if as_json:
        data = {"path": str(out), "id": signed.id, "signers": list(signed.signers), "added": added}
        say_data(data)
        return
    say(f"{out}: {signed}, id {signed.id[:16]}… as before")
    for signer in signed.signers:
        say(f"signed by {signer}" + (" (new)" if signer in added else ""))

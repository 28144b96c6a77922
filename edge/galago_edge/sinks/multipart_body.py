"""Bodies of the type ``multipart/form-data`` (RFC 7578): a form with a file in it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form."""

    name: str
    content: bytes
    media_type: str = ""
    """Empty: plain text."""
    filename: str = ""


def multipart_body(parts: Sequence[Part]) -> tuple[str, bytes]:
    """Return the content type, with its boundary, and the body.

    Names of fields and files are ours, of letters, digits and ``._-[]``: nothing in them is escaped.
    """
    while True:
        boundary = f"galago-{secrets.token_hex(16)}"
        if not any(boundary.encode() in part.content for part in parts):
            break
    pieces: list[bytes] = []
    for part in parts:
        disposition = f'form-data; name="{part.name}"'
        if part.filename:
            disposition += f'; filename="{part.filename}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        if part.media_type:
            head += f"Content-Type: {part.media_type}\r\n"
        pieces += [head.encode(), b"\r\n", part.content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)

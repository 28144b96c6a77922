"""Answers of a web application, and what every answer of ours says to a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from galago_edge.service.page.access import Access
from galago_edge.service.page.served_file import AttachedPart

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
NO_FRAMES = ("frame-ancestors 'none'", {"X-Frame-Options": "DENY"})
"""For the policy, and a header that says it to older browsers."""

BODY_LIMIT_BYTES = 4096


@dataclass(frozen=True)
class WebAnswer:
    """One answer."""

    status: str
    kind: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    """Further ones, and others than every answer has."""
    part: AttachedPart | None = None
    """What is sent from the disk instead of ``body``."""

    def all_headers(self, policy: str, frames: Mapping[str, str]) -> dict[str, str]:
        """Return its headers. ``policy``: of contents; ``frames``: what says who may show it."""
        return {
            "Content-Type": self.kind,
            "Content-Length": str(self.part.length if self.part is not None else len(self.body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            **frames,
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            **self.headers,
        }


def text_answer(status: str, text: str, headers: dict[str, str] | None = None) -> WebAnswer:
    """Return an answer for people."""
    return WebAnswer(status, TEXT, text.encode(), headers or {})


def not_allowed(allow: str) -> WebAnswer:
    """Return the answer to another method than ``allow``."""
    return text_answer("405 Method Not Allowed", f"Only {allow}.\n", {"Allow": allow})


def let_in(access: Access) -> WebAnswer:
    """Return the answer to a browser that gave the token: its cookie, and the way to the page.

    A page that goes on by itself instead of a redirect: after a link from another site the browser would
    follow a redirect without the new cookie, because SameSite=Strict looks at where it all began.
    """
    body = (
        b'<!doctype html><meta http-equiv="refresh" content="0;url=./"><title>Galago</title>'
        b'<link rel="icon" href="data:,">'
    )
    return WebAnswer("200 OK", HTML, body, {"Set-Cookie": access.cookie()})


def body_of(environ: Environ) -> bytes:
    """Return what a request brought; nothing of one that is longer than any of ours."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > BODY_LIMIT_BYTES:
        return b""
    content: bytes = environ["wsgi.input"].read(int(length))
    return content


def form_fields(environ: Environ) -> dict[str, list[str]]:
    """Return the fields of a form that was sent."""
    return query_fields(body_of(environ).decode("ascii", errors="replace"))


def query_fields(query: str) -> dict[str, list[str]]:
    """Return the fields of an address."""
    try:
        return parse_qs(query, max_num_fields=20)
    except ValueError:  # more fields than any form of ours has
        return {}


def content_policy(*pages: str) -> str:
    """Allow the scripts and styles that stand in our own files, by their hashes, and nothing else."""

    def hashes(tag: str) -> str:
        found = [text for page in pages for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)]
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src 'self' data: blob:; media-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'"
    )

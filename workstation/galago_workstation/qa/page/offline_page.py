"""One HTML file that holds its style, its script, its data and perhaps its media, and loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import msgspec


@dataclass(frozen=True, slots=True)
class OfflinePage:
    """What a page is made of, but for what it shows."""

    template: str
    """HTML in which ``{{generator}}``, ``{{policy}}``, ``{{style}}``, ``{{script}}``, ``{{media}}`` and
    ``{{data}}`` stand once each, in this order but for the script, which may be last."""
    styles: tuple[str, ...]
    scripts: tuple[str, ...]
    """Joined to one script, in this order."""
    generator: str
    """The element by which a former page is known."""

    def filled(self, content: msgspec.Struct, media: Mapping[str, bytes] | None) -> bytes:
        """Return the page. ``media``: what it holds itself; None: it is in a folder beside it.

        Nothing of ``content`` becomes markup here: it stands in the page as JSON in which no ``<`` is left.
        """
        style, script = "".join(self.styles), "".join(self.scripts)
        beside = "" if media is not None else " 'self' file:"
        policy = (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}';"
            f" img-src data:{beside}; media-src data:{beside}; base-uri 'none'; form-action 'none'"
        )
        held = "\n".join(
            f'<script type="text/plain" id="media-{name}">{base64.b64encode(data).decode()}</script>'
            for name, data in (media or {}).items()
        )
        parts = {
            "{{generator}}": self.generator,
            "{{policy}}": policy,
            "{{style}}": style,
            "{{script}}": script,
            "{{media}}": held,
            "{{data}}": _json(content),  # last: nothing that is put in is looked at again
        }
        text = self.template
        for mark, value in parts.items():
            before, _, behind = text.partition(mark)
            text = before + value + behind
        return text.encode()


def page_part(name: str, package: str = "galago_workstation.qa.page") -> str:
    """Return one of the files that pages are made of; those that all share lie in this package."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


def _json(content: msgspec.Struct) -> str:
    """Return JSON that ends no element and begins none, whatever its texts are."""
    text = msgspec.json.encode(content).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

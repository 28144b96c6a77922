"""Ready-made bodies for services that many use. docs/delivery.md says where each is described."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote

import msgspec

from galago_edge.sinks.attached_file import Attached
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.multipart_body import Part, multipart_body
from galago_edge.sinks.record_words import words_of

_DISCORD_CHARACTERS = 2_000
_TELEGRAM_CHARACTERS = 4_096
_TELEGRAM_CAPTION = 1_024
_NUMBER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class FilePost:
    """A request that carries a file."""

    body: bytes
    headers: Mapping[str, str]
    """These count before all others; the content type is among them."""
    path: str = ""
    """Where on the server, when not where everything else goes."""


@dataclass(frozen=True, slots=True)
class MessageFormat:
    """How one service wants to be told."""

    body: Callable[[str, str, Delivery], bytes]
    """Given the device's name, ``to`` of the settings and a record."""
    to: str = ""
    """What ``to`` is; empty when the address says everything."""
    path: re.Pattern[str] = re.compile("")
    """How the address's path ends."""
    address: str = ""
    """The same in words."""
    file: Callable[[str, str, Attached, str], FilePost] | None = None
    """Given also an attachment that is not gone, and the address's path; None: it takes no files."""

    def fault(self, url: SplitResult, to: str) -> str:
        """Return why nothing can be sent like this; completes "format ..."; empty when it can."""
        if bool(to) != bool(self.to):
            return f"needs to: {self.to}" if self.to else "takes no to: its url says where"
        if not self.path.search(url.path):
            return f"needs {self.address} for its url"
        return ""


def _galago(device: str, to: str, delivery: Delivery) -> bytes:
    return delivery.line


def _ntfy(device: str, to: str, delivery: Delivery) -> bytes:
    words = words_of(device, delivery)
    return msgspec.json.encode({"topic": to, "title": words["title"], "message": words["message"]})


def _discord(device: str, to: str, delivery: Delivery) -> bytes:
    text = re.sub(r"([\\*_~`|<>])", r"\\\1", _message(device, delivery))  # its Markdown
    return msgspec.json.encode(
        {"content": text[:_DISCORD_CHARACTERS], "allowed_mentions": {"parse": []}}  # no @everyone
    )


def _slack(device: str, to: str, delivery: Delivery) -> bytes:
    text = _message(device, delivery)
    for mark, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, instead)
    return msgspec.json.encode({"text": text, "mrkdwn": False})


def _telegram(device: str, to: str, delivery: Delivery) -> bytes:
    chat: int | str = int(to) if _NUMBER.fullmatch(to) else to
    return msgspec.json.encode({"chat_id": chat, "text": _message(device, delivery)[:_TELEGRAM_CHARACTERS]})


def _home_assistant(device: str, to: str, delivery: Delivery) -> bytes:
    said: dict[str, Any] = {**words_of(device, delivery), "record": msgspec.Raw(delivery.line)}
    return msgspec.json.encode(said)


def _message(device: str, delivery: Delivery) -> str:
    return str(words_of(device, delivery)["message"])


def _galago_file(device: str, to: str, attached: Attached, path: str) -> FilePost:
    record = Part("record", attached.delivery.line, "application/json")
    return _form(record, _file("file", attached))


def _ntfy_file(device: str, to: str, attached: Attached, path: str) -> FilePost:
    words = words_of(device, attached.delivery)
    assert attached.content is not None
    headers = {
        "Content-Type": attached.media_type,
        "Filename": attached.path.name,
        "Title": _header_text(str(words["title"])),
        "Message": _header_text(str(words["message"])),
    }
    return FilePost(attached.content, headers, f"/{quote(to, safe='')}")


def _discord_file(device: str, to: str, attached: Attached, path: str) -> FilePost:
    message = Part("payload_json", _discord(device, to, attached.delivery), "application/json")
    return _form(message, _file("files[0]", attached))


def _telegram_file(device: str, to: str, attached: Attached, path: str) -> FilePost:
    # sendAudio takes MP3 and M4A alone
    method, name = ("sendPhoto", "photo") if _is_picture(attached) else ("sendDocument", "document")
    caption = _message(device, attached.delivery)[:_TELEGRAM_CAPTION]
    return _form(
        Part("chat_id", to.encode()),
        Part("caption", caption.encode()),
        _file(name, attached),
        path=f"{path.removesuffix('sendMessage')}{method}",
    )


def _form(*parts: Part, path: str = "") -> FilePost:
    content_type, body = multipart_body(parts)
    return FilePost(body, {"Content-Type": content_type}, path)


def _file(name: str, attached: Attached) -> Part:
    assert attached.content is not None
    return Part(name, attached.content, attached.media_type, attached.path.name)


def _is_picture(attached: Attached) -> bool:
    return attached.media_type.startswith("image/")


def _header_text(text: str) -> str:
    """Return a text that may stand in a header: as it is, or encoded by RFC 2047 beyond ASCII."""
    if text.isascii() and text.isprintable():
        return text
    return f"=?UTF-8?B?{base64.b64encode(text.encode(errors='replace')).decode()}?="


FORMATS: Mapping[str, MessageFormat] = {
    "galago": MessageFormat(_galago, file=_galago_file),
    "ntfy": MessageFormat(
        _ntfy,
        to="the topic",
        path=re.compile(r"^/?$"),
        address="the server alone (https://ntfy.sh)",
        file=_ntfy_file,
    ),
    "discord": MessageFormat(_discord, file=_discord_file),
    "slack": MessageFormat(_slack),
    "telegram": MessageFormat(
        _telegram,
        to="the chat's number, or @channel",
        path=re.compile("/sendMessage$"),
        address="https://api.telegram.org/botTOKEN/sendMessage",
        file=_telegram_file,
    ),
    "home-assistant": MessageFormat(_home_assistant),
}
"""By the value of ``format``."""

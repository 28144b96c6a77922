"""Ready-made bodies for services that many use. docs/delivery.md says where each is described."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

import msgspec

from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.record_words import words_of

_DISCORD_CHARACTERS = 2_000
_TELEGRAM_CHARACTERS = 4_096
_NUMBER = re.compile(r"-?[0-9]{1,18}")


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


FORMATS: Mapping[str, MessageFormat] = {
    "galago": MessageFormat(_galago),
    "ntfy": MessageFormat(
        _ntfy, to="the topic", path=re.compile(r"^/?$"), address="the server alone (https://ntfy.sh)"
    ),
    "discord": MessageFormat(_discord),
    "slack": MessageFormat(_slack),
    "telegram": MessageFormat(
        _telegram,
        to="the chat's number, or @channel",
        path=re.compile("/sendMessage$"),
        address="https://api.telegram.org/botTOKEN/sendMessage",
    ),
    "home-assistant": MessageFormat(_home_assistant),
}
"""By the value of ``format``."""

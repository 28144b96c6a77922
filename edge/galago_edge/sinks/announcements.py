"""What a broker was told to keep, remembered on the disk: what is gone one day has to be taken back there.

A broker keeps a retained message for ever, and Home Assistant an entity that it was told of. So whatever is
published in this way is written down first. A stream that is renamed while the service is stopped is known
by that at the next start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.host.file_replacement import Durable, replace_file
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.sinks.topics import Component

SUFFIX = ".published"
_TOPICS = 20_000
"""More is not remembered, the oldest first: those of thousands of labels and of some renamings."""
_LIMIT_BYTES = 16 << 20


class _Written(msgspec.Struct, frozen=True):
    v: Literal[1] = 1
    topics: list[str] = []
    configs: dict[str, dict[str, Component]] = {}


class Announcements:
    """The topics of one sink that a broker keeps, and the entities by the topic that tells of them.

    Used by one thread. While the disk cannot be read or written, what is known stays in memory: then what
    is published meanwhile cannot be taken back after a restart, and nothing else suffers.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Name the file; :meth:`load` reads it."""
        self._path = folder / f"{name}{SUFFIX}"
        self._topics: dict[str, None] = {}
        self._configs: dict[str, dict[str, Component]] = {}
        self._loaded = self._dirty = False

    @property
    def topics(self) -> list[str]:
        """Everything that is or may be kept by the broker, the oldest first."""
        return list(self._topics)

    def entities(self, config: str) -> dict[str, Component]:
        """Return the entities that Home Assistant was told of by this topic."""
        return dict(self._configs.get(config, {}))

    def load(self) -> None:
        """Read what earlier runs have published. A file that is damaged is as good as none."""
        if self._loaded:
            return
        try:
            written = from_json(read_small(self._path, _LIMIT_BYTES), type=_Written)
        except (FileNotFoundError, NotPlainError, TooLongError, msgspec.DecodeError, UnicodeDecodeError):
            self._loaded = True
            return
        except OSError:
            return  # tried again before the next connection
        self._topics = dict.fromkeys(written.topics) | self._topics
        self._configs = written.configs | self._configs
        self._loaded = True

    def note(self, topics: Iterable[str]) -> None:
        """Note topics that are about to be published; nothing is written when all are noted already."""
        if news := [topic for topic in topics if topic not in self._topics]:
            self.remember(news, "", {})

    def remember(self, topics: Iterable[str], config: str, entities: Mapping[str, Component]) -> None:
        """Note what is about to be published, before it is."""
        news = [topic for topic in topics if topic not in self._topics]
        self._topics |= dict.fromkeys(news)
        told = self._configs.get(config, {})
        if entities and told | dict(entities) != told:
            self._configs[config] = told | dict(entities)
            self._dirty = True
        self._dirty = self._dirty or bool(news)
        for topic in list(self._topics)[:-_TOPICS]:
            del self._topics[topic]
            self._configs.pop(topic, None)
        self._save()

    def forget(self, topics: Iterable[str], config: str, entities: Iterable[str]) -> None:
        """Note what the broker has been told to forget, when it has said that it did."""
        for topic in topics:
            self._dirty = self._topics.pop(topic, self) is None or self._dirty
            self._dirty = self._configs.pop(topic, None) is not None or self._dirty
        for entity in entities:
            self._dirty = self._configs.get(config, {}).pop(entity, None) is not None or self._dirty
        self._save()

    def _save(self) -> None:
        if not self._dirty or not self._loaded:
            return
        data = msgspec.json.encode(_Written(topics=list(self._topics), configs=self._configs))
        with contextlib.suppress(OSError):  # tried again at the next change and the next connection
            replace_file(
                self._path,
                data,
                durable=Durable.LASTING,
                mode=0o600,
                temporary=self._path.with_name(f"{self._path.name}.part"),
            )
            self._dirty = False

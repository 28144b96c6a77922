"""What is configured and can never happen is said, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from galago_edge.contract.settings import Settings
from galago_edge.service.idle_settings import idle_attachments, unheard_labels, unused_sources
from galago_edge.service.source_names import with_named_sources
from galago_edge.sinks.sink_tables import settings_of

DECIDED = {"door": {"face", "bag"}, "hall": {"smoke"}}


def settings(**tables: Any) -> Settings:
    streams = [{"name": name, "source": name} for name in ("door", "hall", "dark")]
    return with_named_sources(settings_of({"stream": streams} | tables))


def asking(kind: str, **more: Any) -> Settings:
    needs = {"webhook": {"url": "http://localhost/"}, "program": {"command": ["true"]}, "attachments": {}}
    table = needs[kind] | more
    return settings(**{kind: table if kind == "attachments" else [table]})


@pytest.mark.parametrize("kind", ["webhook", "program", "attachments"])
def test_a_label_that_nothing_decides_on_is_said_with_those_that_there_are(kind: str) -> None:
    assert list(unheard_labels(asking(kind, labels=["smoke", "smok"]), DECIDED)) == [
        (
            kind,
            f"[{kind}] labels names smok, which no bundle of its streams decides on; "
            "there are bag, face, smoke; did you mean smoke?",
        )
    ]
    assert list(unheard_labels(asking(kind, labels=["smoke", "bag"]), DECIDED)) == []


@pytest.mark.parametrize("kind", ["webhook", "program", "attachments"])
def test_only_the_streams_that_a_table_names_count(kind: str) -> None:
    (found,) = unheard_labels(asking(kind, labels=["smoke"], streams=["door"]), DECIDED)
    assert "names smoke" in found[1] and "there are bag, face" in found[1]
    nobody_knows = asking(kind, labels=["smoke"], streams=["dark"])
    assert list(unheard_labels(nobody_knows, DECIDED)) == []
    assert list(unheard_labels(asking(kind, labels=["smoke"]), {})) == []


def test_attachments_that_no_stream_makes_are_said() -> None:
    table = asking("attachments", streams=["door", "hall"])
    assert list(idle_attachments(table, {"door": False, "hall": True})) == []
    (line,) = idle_attachments(table, {"door": False, "hall": False, "dark": True})
    assert line.startswith("[attachments] makes none: its streams are recordings")
    assert list(idle_attachments(table, {"dark": False})) == [], "its own do not run yet"
    assert list(idle_attachments(settings(), {"door": False})) == []


def test_a_source_that_no_stream_names_is_said() -> None:
    tables = {"yard": {"address": "camera:0"}, "cam": {"address": "camera:1"}}
    assert list(unused_sources(settings(source=tables))) == ["yard", "cam"]
    streams = [{"name": "a", "source": "cam"}, {"name": "b", "source": "camera:0"}]
    assert list(unused_sources(settings(source=tables, stream=streams))) == []

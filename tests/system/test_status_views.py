"""Three views of one status: what ``galago status`` prints, the metrics, and the page, field by field.

The fields are those of the schema (``contract/status.py``): a new one fails here until every view shows it or
says below why it does not. A view shows a field when it looks different after nothing but the field changed.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from galago_edge.commands.service_lines import service_lines
from galago_edge.contract import status as schema
from galago_edge.contract.settings import PageSettings
from galago_edge.contract.status import (
    AttachmentsStatus,
    BackendStatus,
    CoverageStatus,
    RecordingStatus,
    ScrubStatus,
    ServiceStatus,
    SetAsideStatus,
    TrialStatus,
)
from galago_edge.service.metrics import render_metrics
from galago_edge.service.page import Page
from real_parts.browser import open_browser
from real_parts.missing import missing_part
from real_parts.processes import MissingPartError, wait_for
from test_kit import changed, make_service_status

NOT_SHOWN: dict[str, dict[str, str]] = {
    "text": {
        "ServiceStatus.wall_ns": "whoever reads it has a clock; if the device's is not right, that is said",
        "ServiceStatus.safe_mode": "it is the first of the problems",
        "SourceStatus.connects": "failures are shown, and without any it is 1",
        "StreamStatus.modality": "the source's kind says it",
        "StreamStatus.bundle_id": "the line of the bundle shows it",
        "LabelLevel.on": "for the page and the metrics: many labels have no room in a line",
        "LabelLevel.off": "as on",
        "LabelLevel.background": "as on",
        "BackendStatus.falls": "for the page and the metrics: the present backend and its reason are shown",
        "BackendStatus.promotions": "as falls",
        "BackendStatus.invoke_p50_us": "for the page and the metrics",
        "BackendStatus.invoke_max_us": "for the page and the metrics",
        "GateStatus.level": "for the page and the metrics: it changes all the time",
        "GateStatus.threshold": "as level",
        "TrialStatus.bundle_id": "the line of the bundle shows it",
    },
    "metrics": {
        "ServiceStatus.timezone": "it only says what today is",
        "ServiceStatus.last_events": "each is counted",
        "SourceStatus.fault": "text",
        "CoverageStatus.day": "a label for the day would make new series every midnight",
        "CoverageStatus.doubt": "galago_clock_synced says it",
        "SetAsideStatus.day": "as the day of the coverage",
        "SinkStatus.fault": "text",
        "TrialStatus.bundle_id": "name and version tell two trials apart",
        "TrialStatus.fault": "text",
        "AttachmentsStatus.fault": "text",
        "RecordingStatus.fault": "text",
        "TrialStatus.streams": "the streams say which bundle they run",
    },
    "page": {
        "StreamStatus.modality": "the source's card shows what it is",
    },
}
"""By view and field: why it is not there."""

ATTACHMENT = {
    "file": "20261122T114300123Z-door-16.wav",
    "media_type": "audio/wav",
    "from_ns": 0,
    "to_ns": 5_000_000_000,
}

OTHER: dict[str, Any] = {
    "LabelLevel.score": 0.55,
    "LabelLevel.on": 0.97,
    "LabelLevel.off": 0.11,
    "SourceStatus.level_dbfs": -12.0,
    "SourceStatus.kind": "microphone",
    "SourceStatus.alarms": ("moved", "defocused", "covered"),
    "ServiceStatus.timezone": "Asia/Tokyo",
    "ServiceStatus.wall_ns": 1_795_010_005_000_000_000,
    "StreamStatus.modality": "microphone",
    "StreamStatus.state": "waiting",
    "StreamStatus.source": "ceiling",
    "CoverageStatus.day": "2026-11-23",
    "CoverageStatus.gap_s": {"stall": 4_000.0},
    "SetAsideStatus.gap_s": {"stall": 4_000.0},
    "GateStatus.kind": "level",
}
"""Values where any other one would not do."""


def everything() -> ServiceStatus:
    """A status in which no field is empty."""
    ok = make_service_status()
    door = changed(
        ok.streams[0],
        levels=ok.streams[0].levels[1:],
        every=2,
        backend=BackendStatus(
            backend="cpu",
            wanted="edgetpu",
            reason="delegate_crashed",
            falls=1,
            promotions=1,
            invoke_p50_us=7_130,
            invoke_max_us=9_240,
        ),
        coverage=(
            CoverageStatus(day="2026-11-22", watched_s=42_180.5, gap_s={"stall": 12.0}, doubt="unsynced"),
        ),
        set_aside=(SetAsideStatus(day="2027-11-22", why="future", watched_s=60.0, gap_s={"stall": 2.0}),),
    )
    yard = changed(ok.sources[0], fault="no route", alarms=("dark",), missing_s=3.0, liveness="escalated")
    return make_service_status(
        state="degraded",
        problems=("something",),
        timezone="Europe/Berlin",
        clock_synced=False,
        sources=(yard,),
        streams=(door,),
        sinks=(changed(ok.sinks[1], state="retrying", fault="refused", lost=3, pending=4),),
        trials=(
            TrialStatus(
                name="digits",
                bundle_id="5b" * 32,
                version="1.5.0",
                state="judging",
                left=1,
                streams=("door",),
                inferences=12,
                needed=20,
                live_s=31.6,
                trial_s=120.0,
                p99_ms=8.24,
                fault="it cannot be recorded",
            ),
        ),
        scrub=ScrubStatus(ago_s=5_400.0, bundles=3, damaged=1),
        samples={
            "kept": 12,
            "kept_today": 5,
            "bytes_today": 1_258_291,
            "bytes": 31_457_280,
            "bytes_per_day": 52_428_800,
            "max_bytes": 524_288_000,
            "by_trigger": {"uncertain": 8},
            "by_label": {"7": 9},
            "refused": {"duplicate": 31},
            "fault": "",
        },
        attachments=AttachmentsStatus(
            files=12,
            bytes=3_145_728,
            max_bytes=8_388_608,
            made=40,
            waiting=1,
            deleted=28,
            skipped={"rate": 3},
            fault="the disk is full",
        ),
        recording=RecordingStatus(
            mode="events",
            files=7,
            bytes=3_145_728,
            max_bytes=8_388_608,
            sources=("yard", "door"),
            writing=("yard",),
            finished=4,
            deleted=3,
            short=1,
            lost={"busy": 2},
            fault="the disk is full",
        ),
    )


Build = Callable[[Any], ServiceStatus]


def leaves(part: Any, build: Build) -> Iterator[tuple[str, Any, ServiceStatus]]:
    """Yield each field's name, another value, and the whole status with nothing but that changed."""
    kind = type(part)
    for name, hint in get_type_hints(kind).items():
        value = getattr(part, name)

        def put(other: Any, name: str = name) -> ServiceStatus:
            return build(msgspec.structs.replace(part, **{name: other}))

        first = value[0] if isinstance(value, tuple) and value else value
        if isinstance(first, msgspec.Struct):
            if isinstance(value, tuple):
                yield f"{kind.__name__}.{name}", (), put(())
                yield from leaves(first, lambda one, put=put: put((one,)))  # type: ignore[misc]
            else:
                if type(None) in get_args(hint):
                    yield f"{kind.__name__}.{name}", None, put(None)
                yield from leaves(first, put)
            continue
        field = f"{kind.__name__}.{name}"
        for other in others(field, hint, value):
            yield field, other, put(other)


def others(field: str, hint: Any, value: Any) -> list[Any]:
    if field in OTHER:
        return [OTHER[field]]
    if get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is Literal:
        return [one for one in get_args(hint) if one != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value * 3 + 17]
    if isinstance(value, float):
        return [value * 3 + 17.7]
    if isinstance(value, str):
        return [f"other-{value}"]
    if field == "ServiceStatus.samples":
        return [value | {"kept_today": 6, "kept": 99}]
    if field == "ServiceStatus.last_events":
        attached = {**value[0], "attachment": ATTACHMENT}
        another = {**value[0], "seq": 99, "label": "three", "wall_ns": value[0]["wall_ns"] + 10**9}
        return [(another, *value), (attached, *value[1:])]
    if field in ("AttachmentsStatus.skipped", "RecordingStatus.lost"):
        return [value | {"disk": 2}]
    if isinstance(value, tuple):
        return [(*value, "another")]
    raise AssertionError(f"what else could {field} be? it is {value!r}")


BASE = everything()
CASES = [case for case in leaves(BASE, lambda whole: whole) if case[2] != BASE]


def fields_of(struct: Any) -> set[str]:
    return {f"{struct.__name__}.{name}" for name in struct.__struct_fields__}


STRUCTS = [
    kind
    for kind in vars(schema).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_fields__
]


def test_every_field_of_the_schema_is_tried() -> None:
    assert len(STRUCTS) >= 11
    whole = {"StreamStatus.backend"}  # it is never absent, and its fields are tried
    tried = {field for field, _, _ in CASES} | whole
    assert tried == {field for struct in STRUCTS for field in fields_of(struct)}


def test_programs_get_every_field() -> None:
    for _, _, status in CASES:
        assert msgspec.json.decode(msgspec.json.encode(status), type=ServiceStatus) == status


def seen(view: Callable[[ServiceStatus], Any], name: str) -> None:
    """Assert that the view changes with every field, but for those that it does not show."""
    unseen: dict[str, list[Any]] = {}
    for field, other, status in CASES:
        if view(status) == view(BASE):
            unseen.setdefault(field, []).append(other)
    wrong = {field: values for field, values in unseen.items() if field not in NOT_SHOWN[name]}
    assert not wrong, f"{name} does not show {wrong}"
    assert set(NOT_SHOWN[name]) <= set(unseen), "it is shown, and listed as if it were not"


def test_the_text_shows_every_field() -> None:
    seen(lambda status: service_lines(status), "text")


def test_the_metrics_show_every_field() -> None:
    seen(lambda status: render_metrics(status)[1], "metrics")


LOOK = """
show(JSON.parse(arguments[0]));
const all = [document.title];
for (const one of document.querySelectorAll("body *:not(script):not(style)")) {
  if (one.id === "asof") continue;
  if (one.getClientRects().length === 0 && !one.closest(".unseen")) continue;
  const own = [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("");
  const told = ["class", "title", "style", "aria-label", "aria-valuenow", "aria-valuetext"];
  all.push([one.tagName, own, ...told.map((name) => one.getAttribute(name))].join("|"));
}
return all.join("\\n");
"""


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[ServiceStatus], str]]:
    """What the page looks like with a status, in a real browser."""
    try:
        driver = open_browser(tmp_path_factory.mktemp("chromium"), size=(1280, 860))
    except MissingPartError as missing:
        missing_part(str(missing))
    with Page(PageSettings(port=0), lambda: BASE) as page:
        driver.get(page.url)
        wait_for(lambda: driver.find_element("id", "device").text == BASE.device, "the page")

        def seen_in_browser(status: ServiceStatus) -> str:
            found: str = driver.execute_script(LOOK, json.dumps(msgspec.to_builtins(status)))
            return found

        yield seen_in_browser
    driver.quit()


def test_the_page_shows_every_field(look: Callable[[ServiceStatus], str]) -> None:
    seen(look, "page")

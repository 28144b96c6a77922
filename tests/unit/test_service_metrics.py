"""The metrics say what the status says, in the words of Prometheus, read back by its own parsers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from galago_edge.contract.errors import DeviceError, Reason
from galago_edge.contract.status import (
    BackendStatus,
    CoverageStatus,
    GateStatus,
    LabelLevel,
    ScrubStatus,
    ServiceStatus,
    SinkStatus,
    SourceStatus,
    StreamStatus,
    TrialStatus,
)
from galago_edge.service.metric_readers import ALARMS, coverage_share
from galago_edge.service.metrics import render_metrics
from test_kit import changed, make_service_status

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SAMPLES = {
    "dir": "/samples",
    "kept": 12,
    "kept_today": 5,
    "bytes_today": 1_000_000,
    "bytes": 30_000_000,
    "bytes_per_day": 52_428_800,
    "max_bytes": 524_288_000,
    "by_trigger": {"uncertain": 8},
    "by_label": {"seven": 9},
    "refused": {"duplicate": 31},
    "fault": "",
}


def families(status: ServiceStatus, accept: str = "") -> dict[str, Metric]:
    kind, body = render_metrics(status, accept)
    parse = parse_openmetrics if kind.startswith("application/openmetrics") else parse_text
    return {family.name: family for family in parse(body.decode())}


def values(status: ServiceStatus, name: str) -> dict[tuple[str, ...], float]:
    """Label values (in the order of their names) to the value, of one family."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in families(status)[name].samples
    }


def everything() -> ServiceStatus:
    return make_service_status(samples=SAMPLES)


@pytest.mark.parametrize(
    "accept", ["", "text/plain;version=0.0.4", OPENMETRICS], ids=["none", "text", "open"]
)
def test_the_parsers_of_prometheus_read_every_family(accept: str) -> None:
    found = families(everything(), accept)
    assert len(found) > 50
    for family in found.values():
        assert family.name.startswith("galago_")
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            assert sample.name == family.name + ("_total" if family.type == "counter" else "")


@pytest.mark.parametrize(
    "accept", ["garbage", "application/openmetrics-text; version=x", "text/plain;version=", "*/*"]
)
def test_any_accept_header_gets_an_answer(accept: str) -> None:
    _, body = render_metrics(everything(), accept)
    assert b"galago_uptime_seconds" in body


def distinct_numbers(status: Any, start: int = 1_000) -> Iterator[tuple[str, float]]:
    """Walk over all numbers of a status that stand for a figure of their own."""
    for field in msgspec.structs.fields(status):
        value = getattr(status, field.name)
        if isinstance(value, msgspec.Struct):
            yield from distinct_numbers(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            for part in value:
                yield from distinct_numbers(part)
        elif isinstance(value, dict):
            yield from ((f"{field.name}.{name}", number) for name, number in value.items())
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{type(status).__name__}.{field.name}", value


def numbered(part: type[Any], numbers: Iterator[int], /, **given: Any) -> Any:
    """Make one part of a status whose numbers are all different."""
    fields = {
        field.name: next(numbers)
        for field in msgspec.structs.fields(part)
        if field.name not in given and field.type in (int, float, float | None)
    }
    return part(**fields, **given)


def test_every_number_of_the_status_is_a_metric() -> None:
    """A figure that is added to the status and forgotten here fails."""
    numbers = iter(range(1_001, 10_000, 2))
    day = CoverageStatus(day="2026-11-22", watched_s=next(numbers), gap_s={"stall": next(numbers)})
    stream = numbered(
        StreamStatus,
        numbers,
        name="door",
        source="yard",
        modality="camera",
        bundle="digits",
        version="1.0.0",
        bundle_id="5b",
        state="running",
        levels=(numbered(LabelLevel, numbers, label="seven", active=True),),
        backend=numbered(BackendStatus, numbers, backend="cpu"),
        gate=numbered(GateStatus, numbers, kind="motion", open=True),
        coverage=(day,),
    )
    status = numbered(
        ServiceStatus,
        numbers,
        device="porch",
        version="0.1.0",
        clock_synced=True,
        state="ok",
        sources=(numbered(SourceStatus, numbers, name="yard", kind="camera", liveness="healthy"),),
        streams=(stream,),
        sinks=(numbered(SinkStatus, numbers, name="mqtt", state="ok"),),
    )
    scale = {
        "ServiceStatus.wall_ns": 1e-9,
        "ServiceStatus.rss_mb": 1e6,
        "BackendStatus.invoke_p50_us": 1e-6,
        "BackendStatus.invoke_max_us": 1e-6,
    }
    told = [sample.value for family in families(status).values() for sample in family.samples]
    figures = dict(distinct_numbers(status))
    assert len(figures) > 30
    for name, value in figures.items():
        wanted = value * scale.get(name, 1)
        assert any(found == pytest.approx(wanted, rel=1e-9) for found in told), name


def test_a_state_is_one_series_of_each_possible_one_and_exactly_one_is_1() -> None:
    source = changed(everything().sources[0], liveness="escalated")
    found = values(make_service_status(sources=(source,)), "galago_source_liveness")
    assert {key[2] for key in found} == {"healthy", "alarmed", "recovering", "escalated", "failed"}
    assert [key for key, value in found.items() if value] == [("camera", "yard", "escalated")]


def test_a_state_that_is_not_known_here_still_has_a_series() -> None:
    stream = changed(everything().streams[0], state="dreaming")
    found = values(make_service_status(streams=(stream,)), "galago_stream_state")
    assert found["dreaming", "door"] == 1 and sum(found.values()) == 1


def test_every_alarm_has_a_series_before_it_ever_rings() -> None:
    source = changed(everything().sources[0], alarms=("dark",))
    found = values(make_service_status(sources=(source,)), "galago_source_alarm")
    assert found == {(alarm, "yard"): float(alarm == "dark") for alarm in ALARMS}


def test_the_backend_and_its_reason_are_labels() -> None:
    backend = BackendStatus(backend="cpu", wanted="edgetpu", reason="delegate_crashed", falls=2)
    status = make_service_status(streams=(changed(everything().streams[0], backend=backend),))
    assert values(status, "galago_backend_info") == {("cpu", "delegate_crashed", "door", "edgetpu"): 1}
    assert values(status, "galago_backend_fallback") == {("door",): 1}
    assert values(status, "galago_backend_falls") == {("door",): 2}


def test_thresholds_stand_beside_the_scores_and_a_background_has_none() -> None:
    assert ("nothing", "door") in values(everything(), "galago_label_score")
    thresholds = values(everything(), "galago_label_threshold")
    assert thresholds["on", "seven", "door"] == 0.8 and thresholds["off", "seven", "door"] == 0.55
    assert not any(key[1] == "nothing" for key in thresholds)


def test_coverage_is_that_of_the_last_day() -> None:
    shares = values(everything(), "galago_coverage_ratio")
    assert shares["door",] == pytest.approx(42_180.5 / 42_193.0)
    assert shares["hall",] == 1.0
    assert values(everything(), "galago_coverage_gap_seconds") == {
        ("connecting", "door"): 0.5,
        ("stall", "door"): 12.0,
    }


def test_a_trial_is_one_series_of_each_state_and_without_one_there_is_none() -> None:
    trial = TrialStatus(name="digits", bundle_id="5b" * 32, version="1.5.0", state="judging", left=2)
    status = make_service_status(trials=(trial,), safe_mode=False)
    found = values(status, "galago_trial")
    assert found[("digits", "judging", "1.5.0")] == 1 and sum(found.values()) == 1 and len(found) == 4
    assert values(status, "galago_trial_loads_left") == {("digits", "1.5.0"): 2}
    assert values(make_service_status(), "galago_trial") == {}
    assert values(make_service_status(safe_mode=True), "galago_safe_mode") == {(): 1}


def test_what_the_last_scrub_found_is_there_once_there_was_one() -> None:
    status = make_service_status(scrub=ScrubStatus(ago_s=90.0, bundles=3, damaged=1))
    assert values(status, "galago_scrub_age_seconds") == {(): 90.0}
    assert values(status, "galago_scrub_damaged") == {(): 1}
    never = make_service_status(scrub=None)
    assert values(never, "galago_scrub_age_seconds") == values(never, "galago_scrub_damaged") == {}


def test_before_any_time_has_passed_there_is_no_share() -> None:
    assert coverage_share(CoverageStatus(day="2026-11-22", watched_s=0.0, gap_s={})) is None


def test_what_is_not_known_has_no_series_instead_of_a_zero() -> None:
    status = make_service_status(temperature_c=None)
    assert values(status, "galago_temperature_celsius") == {}
    assert values(status, "galago_source_level_dbfs") == {("ceiling",): -43.5}
    assert values(status, "galago_gate_open") == {("motion", "door"): 1}
    assert values(status, "galago_samples_kept") == {}


def test_samples_are_counted_by_trigger_label_and_refusal() -> None:
    assert values(everything(), "galago_samples_kept") == {(): 12}
    assert values(everything(), "galago_samples_triggers") == {("uncertain",): 8}
    assert values(everything(), "galago_samples_labels") == {("seven",): 9}
    assert values(everything(), "galago_samples_refused") == {("duplicate",): 31}
    assert values(everything(), "galago_samples_folder_bytes") == {(): 30_000_000}


def test_names_that_hold_quotes_and_line_ends_are_read_back() -> None:
    level = LabelLevel(label='say "no"\\\nnow', score=0.5, on=0.8, off=0.5, active=False)
    status = make_service_status(streams=(changed(everything().streams[0], levels=(level,)),))
    assert values(status, "galago_label_score") == {('say "no"\\\nnow', "door"): 0.5}


def test_an_empty_service_has_metrics_too() -> None:
    found = families(make_service_status(state="starting", sources=(), streams=(), sinks=()))
    assert found["galago_state"].samples[0].labels == {"state": "starting"}


def test_the_document_names_every_metric_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs/watching.md").read_text(encoding="utf-8")
    table = text.partition("## Metrics")[2]
    documented = set(re.findall(r"`(galago_[a-z0-9_]+)`", table))
    told = {
        name + ("_total" if family.type == "counter" else "")
        for name, family in families(everything()).items()
    }
    assert documented == told


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(DeviceError, match="prometheus_client") as caught:
        render_metrics(everything())
    assert caught.value.reason is Reason.EXTRA_MISSING
    assert "galago-edge[metrics]" in caught.value.hint

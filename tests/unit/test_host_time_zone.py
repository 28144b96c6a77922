"""Time zones: what a day is, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import zoneinfo
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.host.time_zone import TimeZone
from galago_edge.service.configuration import read_config

NS = 1_000_000_000
ZONES = sorted(zoneinfo.available_timezones())


@given(st.sampled_from(ZONES), st.integers(2 * 86_400 * NS, 4_000_000_000 * NS))
def test_days_follow_each_other_without_holes_or_overlaps(name: str, wall_ns: int) -> None:
    zone = TimeZone(name)
    start_ns = zone.day_start_ns(wall_ns)
    assert start_ns <= wall_ns < zone.day_start_ns(start_ns + 36 * 3_600 * NS) or name == "Pacific/Apia"
    assert zone.day(start_ns) == zone.day(wall_ns) > zone.day(start_ns - 1)


@given(st.sampled_from(ZONES), st.integers(-(10**40), 10**40))
def test_any_clock_has_a_day(name: str, wall_ns: int) -> None:
    zone = TimeZone(name)
    assert len(zone.day(wall_ns)) == 10 and zone.written(wall_ns)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("UTC", "2026-11-22 23:30:00Z"),
        ("Europe/Berlin", "2026-11-23 00:30:00+01:00"),
        ("Asia/Kathmandu", "2026-11-23 05:15:00+05:45"),
    ],
)
def test_a_written_time_names_its_zone(name: str, text: str) -> None:
    assert TimeZone(name).written(1_795_390_200 * NS) == text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berlni", "Europe/Berlin?"),
        ("europe/berlin", "Europe/Berlin?"),
        ("Berlin", "Europe/Berlin?"),
        ("../../etc/passwd", "IANA"),
        ("/etc/localtime", "IANA"),
        ("Europe", "IANA"),
        ("a\0b", "IANA"),
        ("", "IANA"),
    ],
)
def test_an_unknown_zone_is_refused_at_the_start(name: str, hint: str, tmp_path: Path) -> None:
    config = tmp_path / "galago.toml"
    text = name.replace("\0", "\\u0000")
    config.write_text(f'[device]\ntimezone = "{text}"\n[[stream]]\nname = "a"\nsource = "camera:0"\n')
    with pytest.raises(CallerError, match="is not known here") as caught:
        read_config(config)
    assert caught.value.reason is Reason.CONFIG_BAD
    assert str(config) in str(caught.value) and hint in caught.value.hint


@pytest.mark.parametrize(
    ("blocked", "zone", "said"),
    [
        ("", "Europe/Berlin", "2026-11-23 00:30:00+01:00"),
        ("tzdata", "UTC", "2026-11-22 23:30:00Z"),
        ("tzdata", "Europe/Berlin", "pip install tzdata"),
    ],
    ids=["the package tzdata", "UTC needs nothing", "nothing"],
)
def test_a_slim_system_without_zones_has_those_of_the_package(blocked: str, zone: str, said: str) -> None:
    script = f"""
import sys, zoneinfo
zoneinfo.reset_tzpath(())
if {blocked!r}: sys.modules[{blocked!r}] = None
from galago_edge.contract.errors import CallerError
from galago_edge.host.time_zone import TimeZone
try:
    print(TimeZone({zone!r}).written(1_795_390_200 * 10**9))
except CallerError as error:
    print(error.hint)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said in found.stdout

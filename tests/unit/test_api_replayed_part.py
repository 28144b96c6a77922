"""Which part of a recording is wanted: numbers and moments that make no sense are told, each in one line."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.api.replayed_part import replayed_part

_UTC = datetime.UTC


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"from_ns": -1}, ValueError, "from_ns is -1, expected 0 or more"),
        ({"from_ns": 1.5}, TypeError, r"from_ns is 1\.5, expected an integer"),
        ({"to_ns": 1 << 70}, ValueError, "to_ns is beyond"),
        ({"from_ns": 5, "to_ns": 5}, ValueError, "to_ns is 5, expected more than from_ns, 5"),
        ({"max_fps": 0.0009}, ValueError, r"max_fps is 0\.0009, expected from 0\.001 to 1000"),
        ({"max_fps": float("nan")}, ValueError, "max_fps is nan, expected from"),
        ({"max_fps": float("inf")}, ValueError, "max_fps is inf, expected from"),
        ({"max_fps": "5"}, TypeError, "max_fps is '5', expected a number"),
        ({"start_time": "2026"}, TypeError, "start_time is '2026', expected a datetime"),
        ({"start_time": datetime.datetime(2026, 1, 1)}, ValueError, "has no time zone"),
        ({"start_time": datetime.datetime.min.replace(tzinfo=_UTC)}, ValueError, "from 1970 to 2199"),
        ({"start_time": datetime.datetime.max.replace(tzinfo=_UTC)}, ValueError, "from 1970 to 2199"),
    ],
)
def test_what_makes_no_sense_is_told(given: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"from_ns": 0, "to_ns": None, "start_time": None, "max_fps": None} | given
    with pytest.raises(error, match=message):
        replayed_part(**arguments)


@given(
    st.datetimes(
        timezones=st.integers(-1439, 1439).map(lambda m: datetime.timezone(datetime.timedelta(minutes=m)))
    )
)
def test_any_moment_is_taken_to_the_microsecond_or_refused(moment: datetime.datetime) -> None:
    try:
        started_ns = replayed_part(0, None, moment, None).started_ns
    except ValueError as error:
        assert "expected a time from 1970 to 2199" in str(error)
        assert not 1971 <= moment.year <= 2198
    else:
        assert started_ns is not None
        epoch = datetime.datetime(1970, 1, 1, tzinfo=_UTC)
        assert epoch + datetime.timedelta(microseconds=started_ns // 1000) == moment
        assert started_ns + (1 << 62) < 1 << 64

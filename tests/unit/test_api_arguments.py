"""What a program says beside its arrays is looked at before it counts (galago_edge.api.arguments)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import galago_edge
from galago_edge import Bundle, Classifier, Stream
from galago_edge.api.replayed_recording import Replay
from galago_edge.contract.streams import GAP_CAUSES
from test_kit import make_bundle

EVENTS_DOC = Path(__file__).parents[2] / "docs/events.md"


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, tiny_image_model: bytes) -> Bundle:
    path = tmp_path_factory.mktemp("cam") / "cam.galago"
    make_bundle(path, tiny_image_model, ["dark", "mid", "bright"])
    return galago_edge.open_bundle(path, unverified=True)


@pytest.mark.parametrize(
    "use",
    [
        Classifier,
        Stream,
        lambda given: galago_edge.replay("a.wav", given),
        lambda given: Replay("a.wav", given),
    ],
)
@pytest.mark.parametrize("given", ["x.galago", Path("x.galago"), None])
def test_a_path_is_no_bundle_and_says_what_makes_one_of_it(
    use: Callable[[Any], object], given: object
) -> None:
    with pytest.raises(TypeError, match=r"expected a Bundle, see galago_edge\.open_bundle") as caught:
        use(given)
    assert repr(given) in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"on": 1.1},
        {"on": -0.1},
        {"on": float("nan")},
        {"on": float("inf")},
        {"on": "0.7"},
        {"on": None},
        {"on": True},
        {"on": np.float32("nan")},
        {"of": 0.2},
        {"on": 0.7, "min_count": 3},
        {5: 0.5},
    ],
)
def test_thresholds_that_galago_toml_would_not_take_are_refused(
    camera: Bundle, changes: dict[Any, Any]
) -> None:
    with pytest.raises(ValueError, match=r"each a number from 0 to 1") as caught:
        Stream(camera, thresholds={"bright": changes})
    assert str(caught.value).startswith(f"thresholds of 'bright' are {changes!r}, expected ")


@pytest.mark.parametrize(
    "given", [{"bright": 0.1}, {"bright": None}, {"bright": [0.7, 0.5]}, 0.1, ["bright"]]
)
def test_thresholds_of_another_shape_are_refused(camera: Bundle, given: Any) -> None:
    with pytest.raises(TypeError, match=r'thresholds .*expected .*\{"on": \.\.\., "off": \.\.\.\}'):
        Stream(camera, thresholds=given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"bright": {}},
        {"bright": {"on": 1, "off": 0}},
        {"bright": {"on": np.float64(0.75)}, "mid": {"off": np.float32(0.25)}},
        MappingProxyType({"bright": MappingProxyType({"on": 0.75})}),
    ],
)
def test_thresholds_from_0_to_1_are_taken_from_any_mapping_and_any_number(camera: Bundle, given: Any) -> None:
    Stream(camera, thresholds=given).close()


@pytest.mark.parametrize("name", ["", "-hall", "the hall", "hall/1", "h\n", "hall\n", "Ö", "h" * 65])
def test_a_name_that_galago_toml_would_not_take_is_refused(camera: Bundle, name: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 64 of the characters") as caught:
        Stream(camera, name=name)
    assert repr(name) in str(caught.value)


def test_a_name_is_a_text(camera: Bundle) -> None:
    with pytest.raises(TypeError, match="name is 5, expected a text"):
        Stream(camera, name=5)  # type: ignore[arg-type]
    Stream(camera, name="Hall_2.north-" + "x" * 51).close()


def test_what_cannot_be_called_is_refused_before_the_first_record(camera: Bundle) -> None:
    with pytest.raises(TypeError, match=r"emit is \[\], expected something to call"):
        Stream(camera, emit=[])  # type: ignore[arg-type]


def test_the_cause_of_a_gap_is_a_word_of_the_documentation(camera: Bundle) -> None:
    records: list[galago_edge.Record] = []
    with Stream(camera, emit=records.extend) as stream:
        for second, cause in enumerate(GAP_CAUSES, 1):
            stream.feed_gap(second * 10**9, cause=cause)
        for wrong in ("", "dropped", "Drop"):
            with pytest.raises(
                ValueError, match=rf"cause is {wrong!r}, expected one of connecting, .*, drop"
            ):
                stream.feed_gap(10**11, cause=wrong)
        with pytest.raises(TypeError, match="cause is None, expected one of"):
            stream.feed_gap(10**11, cause=None)  # type: ignore[arg-type]
    assert [record.cause for record in records if record.kind == "gap"] == list(GAP_CAUSES)


def test_the_documentation_lists_every_cause_of_a_gap() -> None:
    (line,) = (text for text in EVENTS_DOC.read_text().splitlines() if text.startswith("`from_ns`, `to_ns`"))
    assert line.split("`cause`: ")[1].split("`")[1::2] == list(GAP_CAUSES)

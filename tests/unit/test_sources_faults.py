"""A recording that plays a live source: faults by the device's own supervision, in stream time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galago_edge.contract.errors import CallerError, GalagoError, InputError, Reason
from galago_edge.contract.settings import SourceSettings
from galago_edge.contract.streams import NS_PER_S, AudioBlock, Frame, Gap, Item, Notice
from galago_edge.sources.faults.fault_file import FaultPlan, PlannedFault, read_faults, supervising
from galago_edge.sources.faults.fault_tables import moment_ns
from galago_edge.sources.faults.faulted_clock import FaultedClock
from galago_edge.sources.faults.faulted_source import FaultedSource
from galago_edge.sources.faults.sound_pieces import SoundPieces
from test_kit.listed import ListSource
from test_kit.recorded import RATE_HZ, block, jpeg_frame

HALF_NS = NS_PER_S // 2


def faults(folder: Path, *tables: str, stream: str = "replay") -> FaultPlan:
    path = folder / "faults.toml"
    path.write_text("".join(f"[[fault]]\n{table}\n" for table in tables))
    return read_faults(path, stream).plan()


def frames(seconds: float) -> list[Item]:
    """Two frames a second, each of another level."""
    return [jpeg_frame(number, number * HALF_NS, number) for number in range(round(2 * seconds))]


def sound(seconds: float, *, of: int = 1_600) -> list[Item]:
    samples = np.random.default_rng(1).integers(-900, 900, round(seconds * RATE_HZ))
    return [block(at, samples[at : at + of]) for at in range(0, len(samples), of)]


def lived(
    items: Iterable[Item], plan: FaultPlan, modality: str = "camera", error: GalagoError | None = None
) -> tuple[list[Item], FaultedSource]:
    listed = ListSource(items, error)
    listed.modality = modality
    source = FaultedSource(listed, plan)
    given: list[Item] = []
    try:
        given.extend(source)
    finally:
        assert listed.closed
    return given, source


def gaps(items: Sequence[Item]) -> list[tuple[float, float, str]]:
    return [
        (item.from_ns / NS_PER_S, item.to_ns / NS_PER_S, item.cause)
        for item in items
        if isinstance(item, Gap)
    ]


def states(items: Sequence[Item]) -> list[tuple[str, float]]:
    return [(item.state, item.ns / NS_PER_S) for item in items if isinstance(item, Notice)]


def media(items: Sequence[Item]) -> list[Frame | AudioBlock]:
    return [item for item in items if isinstance(item, Frame | AudioBlock)]


def plain(items: Sequence[Item]) -> list[Any]:
    """Everything in the items, to be compared."""
    return [
        (one.first_sample, one.captured_ns, one.samples.tobytes())
        if isinstance(one, AudioBlock)
        else (one.index, one.captured_ns, one.pixels.tobytes())
        if isinstance(one, Frame)
        else one
        for one in items
    ]


def test_without_an_effect_frames_and_times_are_those_of_the_recording(tmp_path: Path) -> None:
    given, source = lived(frames(20), faults(tmp_path, 'kind = "clock_unsure"\nfrom = 1'))
    assert [(one.index, one.captured_ns) for one in media(given) if isinstance(one, Frame)] == [
        (number, number * HALF_NS) for number in range(40)
    ]
    assert gaps(given) == []
    assert states(given) == [("healthy", 0.0)]
    assert source.unreached() is None


def test_a_short_stall_is_a_gap_and_no_loss(tmp_path: Path) -> None:
    given, source = lived(frames(12), faults(tmp_path, 'kind = "stall"\nfrom = 5\nto = 7'))
    assert gaps(given) == [(4.5, 7.0, "stall")]
    assert states(given) == [("healthy", 0.0)]
    # nobody numbered what never came
    assert [one.index for one in media(given) if isinstance(one, Frame)] == list(range(20))
    assert source.summary()["faults"] == {"1": 4}


def test_a_stall_longer_than_stall_s_is_told_and_reopened_as_on_a_device(tmp_path: Path) -> None:
    given, source = lived(frames(30), faults(tmp_path, 'kind = "stall"\nfrom = 5\nto = 17'))
    assert gaps(given) == [(4.5, 17.0, "stall")]
    # no frame for 5 s behind the last one; healthy again when frames have come for 5 s
    assert states(given) == [("healthy", 0.0), ("alarmed", 9.5), ("recovering", 17.0), ("healthy", 22.0)]
    assert source.summary()["capture"]["connects"] == 2


def test_the_settings_of_the_source_say_when_it_counts_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nkind = "stall"\nfrom = 5\nto = 17\n')
    patient = SourceSettings(address="camera:x", stall_s=60.0, open_s=60.0, password="secret", user="me")
    plan = read_faults(path, "replay").plan(patient)
    assert plan.settings.password == plan.settings.user == ""
    given, _ = lived(frames(30), plan)
    assert states(given) == [("healthy", 0.0)]


def test_a_source_that_is_lost_comes_back_when_it_is_tried_again(tmp_path: Path) -> None:
    given, source = lived(frames(30), faults(tmp_path, 'kind = "disconnect"\nfrom = 10\nto = 13.2'))
    # pauses of 0.45, 0.9, 1.8 and 3.6 s: the attempt at 16.75 s is the first one behind 13.2 s
    assert gaps(given) == [(9.5, 17.0, "disconnect")]
    assert states(given) == [
        ("healthy", 0.0),
        ("alarmed", 10.0),
        ("recovering", 10.0),
        ("escalated", 11.35),
        ("healthy", 22.0),
    ]
    assert source.summary()["capture"]["failures"] == 5


def test_a_source_that_is_away_at_first_is_connecting(tmp_path: Path) -> None:
    given, _ = lived(frames(20), faults(tmp_path, 'kind = "disconnect"\nfrom = 0\nto = 1'))
    assert gaps(given)[0] == (0.0, 1.5, "connecting")


def test_a_source_that_never_comes_back_is_missing_to_the_end(tmp_path: Path) -> None:
    given, source = lived(frames(30), faults(tmp_path, 'kind = "disconnect"\nfrom = 15'))
    assert gaps(given) == [(14.5, 29.5, "disconnect")]
    assert source.unreached() is None
    assert max(at for _, at in states(given)) <= 29.5


def test_dropped_frames_are_a_jump_and_a_gap_where_they_were_many(tmp_path: Path) -> None:
    plan = faults(tmp_path, 'kind = "drop"\nfrom = 4\nto = 4.4', 'kind = "drop"\nfrom = 8\nto = 11')
    given, source = lived(frames(14), plan)
    assert gaps(given) == [(7.5, 11.0, "drop")]
    numbers = [one.index for one in media(given) if isinstance(one, Frame)]
    assert numbers == [*range(8), *range(9, 16), *range(22, 28)]
    assert source.summary()["capture"]["dropped_frames"] == 7


def test_an_overrun_is_a_gap_of_exactly_the_samples_that_are_missing(tmp_path: Path) -> None:
    plan = faults(tmp_path, 'kind = "overrun"\nfrom = 3.03\nto = 3.5')
    given, source = lived(sound(6), plan, "microphone")
    assert gaps(given) == [(3.03, 3.5, "overrun")]
    heard = np.concatenate([one.samples for one in media(given) if isinstance(one, AudioBlock)])
    whole = np.concatenate([one.samples for one in sound(6) if isinstance(one, AudioBlock)])
    assert np.array_equal(heard, np.delete(whole, np.s_[48_480:56_000]))
    assert source.summary()["faults"] == {"1": 7_520}


@pytest.mark.parametrize("how", ["refused", "cut"])
def test_damaged_pictures_are_refused_and_counted_and_told_as_unreadable_where_they_are_many(
    how: str, tmp_path: Path
) -> None:
    plan = faults(tmp_path, f'kind = "damaged"\nhow = "{how}"\nfrom = 6\nto = 8')
    given, source = lived(frames(12), plan)
    assert gaps(given) == [(5.5, 8.0, "unreadable")]
    assert source.summary()["capture"]["dropped_frames"] == 4
    assert [one.index for one in media(given) if isinstance(one, Frame)] == [*range(12), *range(16, 24)]


def test_garbage_is_a_frame_like_any_other_and_the_same_every_time(tmp_path: Path) -> None:
    plan = faults(tmp_path, 'kind = "damaged"\nhow = "garbage"\nfrom = 6\nto = 6.4')
    first, second = (media(lived(frames(9), plan)[0]) for _ in range(2))
    noise = first[12]
    assert isinstance(noise, Frame) and isinstance(second[12], Frame)
    assert noise.encoded is None and noise.pixels.std() > 60
    assert np.array_equal(noise.pixels, second[12].pixels)
    assert len(first) == 18


def test_bytes_of_a_picture_that_has_none_cannot_be_damaged(tmp_path: Path) -> None:
    bare = [Frame(np.zeros((4, 4, 3), np.uint8), number, number * HALF_NS) for number in range(8)]
    plan = faults(tmp_path, 'kind = "damaged"\nhow = "flipped"\nfrom = 1')
    with pytest.raises(InputError, match="not kept as the JPEG"):
        lived(bare, plan)


@pytest.mark.parametrize("of", [160, 777, 16_000, 96_000])
def test_how_sound_is_cut_into_blocks_changes_nothing(of: int, tmp_path: Path) -> None:
    plan = faults(
        tmp_path, 'kind = "disconnect"\nfrom = 1.03\nto = 1.5', 'kind = "overrun"\nfrom = 4\nto = 4.2'
    )

    again, _ = lived(sound(6, of=of), plan, "microphone")
    assert plain(again) == plain(lived(sound(6), plan, "microphone")[0])


@given(
    st.lists(st.integers(1, 5_000), min_size=1, max_size=8),
    st.lists(st.integers(0, 2 * NS_PER_S), max_size=3),
)
def test_pieces_of_sound_do_not_depend_on_blocks_and_lose_nothing(sizes: list[int], edges: list[int]) -> None:
    samples = np.arange(sum(sizes)).astype(np.int16)
    starts = np.cumsum([0, *sizes])
    pieces, whole = SoundPieces(edges), SoundPieces(edges)
    cut = [
        piece
        for first, size in zip(starts[:-1].tolist(), sizes, strict=True)
        for piece in pieces.take(block(first, samples[first : first + size]))
    ] + [*pieces.rest()]
    at_once = [*whole.take(block(0, samples)), *whole.rest()]
    assert [(one.first_sample, one.captured_ns, one.samples.tolist()) for one in cut] == [
        (one.first_sample, one.captured_ns, one.samples.tolist()) for one in at_once
    ]
    assert np.array_equal(np.concatenate([one.samples for one in cut]), samples)


def test_what_the_recording_itself_misses_stays_and_what_fails_it_fails_it_at_the_end(tmp_path: Path) -> None:
    whole = frames(20)
    missing = [*whole[:10], Gap(4 * NS_PER_S + HALF_NS, 8 * NS_PER_S, "missing"), *whole[16:]]
    plan = faults(tmp_path, 'kind = "drop"\nfrom = 12\nto = 14')
    damage = InputError(Reason.VIDEO_UNREADABLE, "it is damaged", hint="")
    source = FaultedSource(ListSource([Notice("rotation", 0, 0, {}), *missing], damage), plan)
    given: list[Item] = []
    with pytest.raises(InputError, match="it is damaged"):
        for item in source:
            given.append(item)
    assert states(given)[0] == ("rotation", 0.0)
    assert gaps(given) == [(4.5, 8.0, "missing"), (11.5, 14.0, "drop")]


def test_a_recording_that_begins_later_begins_with_its_own_gap(tmp_path: Path) -> None:
    late = [Gap(0, 3 * NS_PER_S, "missing"), *frames(20)[6:]]
    given, _ = lived(late, faults(tmp_path, 'kind = "stall"\nfrom = 8\nto = 11'))
    assert gaps(given) == [(0.0, 3.0, "missing"), (7.5, 11.0, "stall")]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "stall"\nfrom = 30\nto = 31', "lies behind the end of what was replayed, 9.5 s"),
        ('kind = "stall"\nfrom = 5\nto = 12', "lies behind the end of what was replayed, 9.5 s"),
        ('kind = "drop"\nfrom = 5.1\nto = 5.2', "met no frame"),
    ],
)
def test_a_fault_that_is_never_met_is_told(table: str, said: str, tmp_path: Path) -> None:
    _, source = lived(frames(10), faults(tmp_path, table))
    error = source.unreached()
    assert isinstance(error, CallerError)
    assert said in str(error)


@pytest.mark.parametrize("promised", [8, 30], ids=["of unknown length", "of known length"])
@pytest.mark.parametrize("modality", ["camera", "microphone"])
def test_behind_a_cut_every_fault_is_told_to_be_unmet_and_the_cut_stays_a_gap(
    promised: int, modality: str, tmp_path: Path
) -> None:
    items = frames(8) if modality == "camera" else sound(8)
    cut = Gap(8 * NS_PER_S, promised * NS_PER_S, "truncated")
    for kind in ("stall", "disconnect"):
        plan = faults(tmp_path, f'kind = "{kind}"\nfrom = 25\nto = 26')
        given, source = lived([*items, Notice("truncated", 8, 8 * NS_PER_S, {}), cut], plan, modality)
        assert str(source.unreached()).startswith(f"fault 1, {kind} from 25 s to 26 s, ")
        plan = faults(tmp_path, f'kind = "{kind}"\nfrom = 2\nto = 4')
        for met in (lived([*items, cut], plan, modality)[0], given):
            assert [one.cause for one in met if isinstance(one, Gap)][-1] == "truncated"


def test_the_same_faults_have_one_digest_and_others_another(tmp_path: Path) -> None:
    first = faults(tmp_path, 'kind = "stall"\nfrom = 90\nto = 91')
    assert first.digest == faults(tmp_path, '# noted\nkind = "stall"\nfrom = "1:30"\nto = "0:01:31.0"').digest
    assert first.digest != faults(tmp_path, 'kind = "stall"\nfrom = 90\nto = 92').digest


def test_a_stream_has_its_own_faults_and_those_of_all(tmp_path: Path) -> None:
    tables = (
        'kind = "stall"\nfrom = 1\nto = 2\nstream = "hall"',
        'kind = "stall"\nfrom = 1.5\nto = 2\nstream = "yard"',
        'kind = "stall"\nfrom = 3\nto = 4',
    )
    assert [one.from_ns for one in faults(tmp_path, *tables, stream="hall").faults] == [
        NS_PER_S,
        3 * NS_PER_S,
    ]
    assert [one.from_ns for one in faults(tmp_path, *tables, stream="attic").faults] == [3 * NS_PER_S]
    with pytest.raises(CallerError, match="says nothing of stream yart; did you mean yard") as caught:
        faults(tmp_path, *tables[:2], stream="yart")
    assert caught.value.reason is Reason.TARGET_UNKNOWN


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"has no \[\[fault\]\] and no \[\[expected\]\]"),
        ('[[faults]]\nkind="stall"\nfrom=1', "'faults'; did you mean fault"),
        ('[[fault]]\nkind="stal"\nfrom=1', "'stal' is none of clock_step, .*, stall"),
        ('[[fault]]\nkind="stall"\nform=1', "'form'; did you mean from"),
        ('[[fault]]\nkind="stall"', "lacks from"),
        ('[[fault]]\nkind="stall"\nfrom=-1', "from is -1, expected 0 or more"),
        ('[[fault]]\nkind="stall"\nfrom=nan', "from is nan"),
        ('[[fault]]\nkind="stall"\nfrom="1:75"', "75 seconds, expected less than 60"),
        ('[[fault]]\nkind="stall"\nfrom=5\nto=5', "to, 5 s, is not later than from, 5 s"),
        ('[[fault]]\nkind="damaged"\nfrom=5', "damaged needs how"),
        ('[[fault]]\nkind="stall"\nfrom=5\nhow="cut"', "stall has no how"),
        ('[[fault]]\nkind="clock_step"\nfrom=5\nby_s=2\nto=7', "clock_step has no to"),
        (
            '[[fault]]\nkind="stall"\nfrom=5\nto=7\n[[fault]]\nkind="disconnect"\nfrom=6\nto=9',
            r"\[\[fault\]\] 2, disconnect from 6 s to 9 s, overlaps 1, stall from 5 s to 7 s,",
        ),
        (
            '[[fault]]\nkind="stall"\nfrom=5\n[[fault]]\nkind="drop"\nfrom=60\nto=61',
            r"2, drop from 60 s to 61 s, overlaps 1, stall from 5 s to the end,",
        ),
        (
            '[[fault]]\nkind="stall"\nfrom=5\nto=7\n[[fault]]\nkind="drop"\nfrom=1\nto=2',
            "2, drop from 1 s to 2 s, stands behind 1, stall from 5 s to 7 s, which is later: sort them",
        ),
        ('[[fault]]\nkind="clock_step"\nfrom=5\nby_s=2\n' * 2_001, "has 2001 faults or expectations of"),
        ('[[expected]]\nkind="event"\nstate="healthy"', "event has no state; it can have label, count"),
        ('[[expected]]\nkind="state"', "state needs state"),
        ('[[expected]]\nkind="watched"', "watched needs min_s or max_s"),
        ('[[expected]]\nkind="gap"\nmin_s=5\nmax_s=2', "max_s, 2, is below min_s, 5"),
        ('[[expected]]\nkind="gap"\ncause="dropped"', "'dropped' is none of connecting, disconnect"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_line(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(content)
    with pytest.raises(CallerError, match=said) as caught:
        read_faults(path, "replay")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "modality", "said"),
    [
        ('kind = "overrun"\nfrom = 1\nto = 2', "camera", "is of a microphone, and the source is a camera"),
        ('kind = "drop"\nfrom = 1\nto = 2', "microphone", "is of a camera"),
        ('kind = "clock_step"\nfrom = 1\nby_s = -3600', "camera", "of the wall clock"),
    ],
)
def test_a_source_cannot_have_the_faults_of_another_kind(
    table: str, modality: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CallerError, match=said):
        faults(tmp_path, table).check(modality, dated=False)


def test_the_wall_clock_is_put_forward_and_back_and_is_unsure(tmp_path: Path) -> None:
    plan = faults(
        tmp_path,
        'kind = "clock_step"\nfrom = 10\nby_s = 3600',
        'kind = "clock_unsure"\nfrom = 15\nto = 20',
        'kind = "clock_step"\nfrom = 30\nby_s = -3600.5',
    )
    clock = FaultedClock(1_000 * NS_PER_S, plan.of_clock())
    assert [clock.wall_ns(second * NS_PER_S) / NS_PER_S for second in (9, 10, 29, 30)] == [
        1_009.0,
        4_610.0,
        4_629.0,
        1_029.5,
    ]
    assert [clock.synced(second * NS_PER_S) for second in (14, 15, 19, 20)] == [True, False, False, True]


@st.composite
def plans(draw: st.DrawFn) -> FaultPlan:
    """Some faults of a camera, one after the other, within 40 s."""
    bounds = sorted(draw(st.lists(st.integers(0, 400), min_size=2, max_size=8, unique=True)))
    kinds = st.sampled_from(["stall", "disconnect", "drop", "damaged"])
    found = [
        PlannedFault(
            kind=(kind := draw(kinds)),
            from_ns=begin * NS_PER_S // 10,
            to_ns=end * NS_PER_S // 10,
            how=draw(st.sampled_from(["refused", "cut", "flipped", "garbage"]))
            if kind == "damaged"
            else None,
        )
        for begin, end in zip(bounds[::2], bounds[1::2], strict=False)
    ]
    return FaultPlan(faults=tuple(found), settings=supervising(None))


@settings(max_examples=25, deadline=None)
@given(plans())
def test_whatever_goes_wrong_what_is_missing_is_said_and_nothing_is_invented(plan: FaultPlan) -> None:
    recorded = [one for one in frames(45) if isinstance(one, Frame)]
    given, source = lived(recorded, plan)
    end_ns, known, garbled = 0, {one.captured_ns: one for one in recorded}, 0
    for item in given:
        if isinstance(item, Gap):
            assert item.from_ns == end_ns < item.to_ns
            end_ns = item.to_ns
        elif isinstance(item, Frame):
            # where more than a second and three usual intervals lie between two frames, there is a gap
            assert 0 <= item.captured_ns - end_ns <= 1.5 * NS_PER_S
            end_ns = item.captured_ns
            garbled += not np.array_equal(item.pixels, known[item.captured_ns].pixels)
    assert end_ns == recorded[-1].captured_ns
    damaged = [one.hits for one in source._played.faults if one.fault.kind == "damaged"]
    assert garbled <= sum(damaged)
    again, _ = lived(recorded, plan)
    assert plain(again) == plain(given)


@pytest.mark.parametrize("given", [1e300, 1e10, float("inf"), float("nan"), -1.0])
def test_a_time_that_no_recording_has_is_refused_whatever_its_size(given: float) -> None:
    with pytest.raises(ValueError, match="to is"):
        moment_ns("to", given)

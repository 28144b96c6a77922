from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import InputError, Reason
from galago_workstation.data.listing import Listing, make_listing
from galago_workstation.data.sample import PARTS, Part, Sample, samples_sha256
from galago_workstation.data.splits import split, split_pool

LABELS = ("cat", "dog")


def sample(number: int, label: int = 0, group: str | None = None, folder: str = "data") -> Sample:
    sha256 = hashlib.sha256(f"{label} {number}".encode()).hexdigest()
    return Sample(f"{folder}/{LABELS[label]}/{number:05}.png", None, sha256, label, group)


def samples(count: int) -> list[Sample]:
    return [sample(number, label) for label in (0, 1) for number in range(count)]


def parts_by_id(parts: dict[Part, tuple[Sample, ...]]) -> dict[str, Part]:
    return {sample.id: part for part, members in parts.items() for sample in members}


def test_shares_are_about_kept_for_every_label() -> None:
    parts = split_pool(samples(2000), LABELS, 0.15, 0.10)
    for label in (0, 1):
        counts = {part: sum(member.label == label for member in parts[part]) for part in PARTS}
        assert sum(counts.values()) == 2000
        assert counts["validation"] == pytest.approx(300, abs=60)
        assert counts["test"] == pytest.approx(200, abs=60)


def test_adding_samples_moves_no_other() -> None:
    before = parts_by_id(split_pool(samples(200), LABELS, 0.15, 0.15))
    after = parts_by_id(split_pool(samples(300), LABELS, 0.15, 0.15))
    assert {key: after[key] for key in before} == before
    assert len(after) == 600


def test_the_split_depends_on_content_not_on_names() -> None:
    here = parts_by_id(split_pool(samples(100), LABELS, 0.2, 0.2))
    renamed = [
        Sample(f"other/{one.id}", one.path, one.sha256, one.label, one.group)
        for one in reversed(samples(100))
    ]
    there = parts_by_id(split_pool(renamed, LABELS, 0.2, 0.2))
    assert {f"other/{key}": part for key, part in here.items()} == there


@given(counts=st.lists(st.integers(3, 12), min_size=2, max_size=6))
def test_few_samples_still_give_every_label_to_every_part(counts: list[int]) -> None:
    labels = tuple(f"label {index}" for index in range(len(counts)))
    pool = [
        Sample(f"{label}/{number}", None, hashlib.sha256(f"{label} {number}".encode()).hexdigest(), label)
        for label, count in enumerate(counts)
        for number in range(count)
    ]
    parts = split_pool(pool, labels, 0.05, 0.05)
    assert sorted(one.id for members in parts.values() for one in members) == sorted(one.id for one in pool)
    for part in PARTS:
        assert {one.label for one in parts[part]} == set(range(len(counts)))


def test_too_few_samples_are_refused_by_name() -> None:
    pool = [*samples(50), Sample("cow/0", None, "0" * 64, 2), Sample("cow/1", None, "1" * 64, 2)]
    with pytest.raises(InputError, match="label 'cow' has 2 samples") as caught:
        split_pool(pool, (*LABELS, "cow"), 0.15, 0.15)
    assert caught.value.reason == Reason.CLASS_EMPTY


@given(speakers=st.integers(6, 30), share=st.sampled_from([0.1, 0.3]))
def test_a_group_is_never_torn_apart(speakers: int, share: float) -> None:
    pool = [
        sample(10 * speaker + take, label, group=f"speaker {speaker}")
        for speaker in range(speakers)
        for label in (0, 1)
        for take in range(3)
    ]
    parts = split_pool(pool, LABELS, share, share)
    sides = [{one.group for one in parts[part]} for part in PARTS]
    assert all(sides)
    assert sum(map(len, sides)) == speakers


def test_an_official_test_set_is_the_test_part() -> None:
    official = [sample(9000 + number, label, folder="test") for label in (0, 1) for number in range(5)]
    listing = make_listing(LABELS, samples(100), official)
    parts = split(listing, validation_share=0.2, test_share=0.5)
    assert {one.id for one in parts["test"]} == {one.id for one in official}
    assert len(parts["train"]) + len(parts["validation"]) == 200


def listing_of(pool: Sequence[Sample], test: Sequence[Sample] | None = None) -> Listing:
    return make_listing(LABELS, pool, test)


def test_a_content_counts_once() -> None:
    twin = sample(3)
    copy = Sample("data/cat/copy.png", None, twin.sha256, 0)
    listing = listing_of([*samples(10), copy])
    assert listing.duplicates_left_out == 1
    assert Counter(one.sha256 for one in listing.pool).most_common(1)[0][1] == 1


def test_what_is_in_the_official_test_set_is_not_trained() -> None:
    leaked = sample(3)
    listing = listing_of(samples(10), [Sample("test/cat/a.png", None, leaked.sha256, 0), sample(50, 1)])
    assert listing.duplicates_left_out == 1
    assert leaked.sha256 not in {one.sha256 for one in listing.pool}
    assert listing.test is not None
    assert leaked.sha256 in {one.sha256 for one in listing.test}


def test_one_content_under_two_labels_is_refused() -> None:
    liar = Sample("data/dog/liar.png", None, sample(3).sha256, 1)
    for pool, test in (([*samples(10), liar], None), (samples(10), [liar, sample(70), sample(70, 1)])):
        with pytest.raises(InputError, match=r"liar\.png") as caught:
            listing_of(pool, test)
        assert caught.value.reason == Reason.LABELS_REPEAT


def test_a_group_on_both_sides_of_an_official_split_is_refused() -> None:
    pool = [sample(number, label, group="ann") for label in (0, 1) for number in range(5)]
    test = [sample(100 + label, label, group="ann") for label in (0, 1)]
    with pytest.raises(InputError, match="'ann'") as caught:
        listing_of(pool, test)
    assert caught.value.reason == Reason.DATA_BAD


def test_the_hash_of_a_part_ignores_order_and_sees_every_sample() -> None:
    some = samples(5)
    assert samples_sha256(some) == samples_sha256(reversed(some))
    assert samples_sha256(some) != samples_sha256(some[1:])


@pytest.mark.parametrize(("count", "held_out"), [(4, 1), (7, 1), (10, 2), (20, 3), (30, 4)])
def test_labels_of_few_samples_get_exactly_their_share(count: int, held_out: int) -> None:
    parts = split_pool(samples(count), LABELS, 0.15, 0.15)
    for label in (0, 1):
        found = Counter(part for part in PARTS for member in parts[part] if member.label == label)
        assert (found["test"], found["validation"]) == (held_out, held_out)


def test_labels_of_many_samples_are_not_touched_by_that_of_few() -> None:
    many = [sample(number, 0) for number in range(400)]
    alone = parts_by_id(split_pool([*many, sample(1, 1), sample(2, 1), sample(3, 1)], LABELS, 0.15, 0.15))
    beside = parts_by_id(split_pool([*many, *(sample(n, 1) for n in range(9))], LABELS, 0.15, 0.15))
    assert all(alone[one.id] == beside[one.id] for one in many)

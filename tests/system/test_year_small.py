"""A week of `make year`: every event decided once and delivered, every moment accounted for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from campaigns.year import plans, plant, year
from campaigns.year_accounts import Account, account
from campaigns.year_plan import KINDS, make_plan

DAYS, FAULTS = 7, 192
"""The share of the year's ten thousand."""


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Account]]:
    """Where the days were lived, and their account."""
    folder = tmp_path_factory.mktemp("year") / "days"
    return folder, year(folder, plans(DAYS, FAULTS, parts=2, seed=7))


def test_in_days_of_faults_nothing_is_lost_doubled_or_unaccounted_for(
    days: tuple[Path, list[Account]],
) -> None:
    _, accounts = days
    assert [part.wrong for part in accounts] == [[], []]
    assert sum(part.counts["coverage"]["days judged"] for part in accounts) >= 1
    for part in accounts:
        assert part.counts["events"]["decided once"] > 20
        assert sum(part.counts["faults"].values()) == FAULTS // 2


@pytest.mark.parametrize(("what", "said"), [("loss", "never came"), ("double", "came under 2 keys")])
def test_the_accountant_finds_one_event_that_was_lost_or_doubled(
    what: str, said: str, days: tuple[Path, list[Account]], tmp_path: Path
) -> None:
    folder, _ = days
    copy = shutil.copytree(
        folder / "part-0", tmp_path / "part", ignore=shutil.ignore_patterns("root", "broker")
    )
    plant(copy, what)
    (wrong,) = account(copy).wrong
    assert wrong.startswith("mqtt: ") and said in wrong


def test_a_plan_is_the_same_for_a_seed_and_holds_every_kind_of_fault() -> None:
    plan = make_plan(1, 0, 183, 5_000)
    assert plan == make_plan(1, 0, 183, 5_000) != make_plan(2, 0, 183, 5_000)
    assert {fault.kind for fault in plan.faults} == {kind.name for kind in KINDS}
    assert all(0 < fault.from_s < fault.to_s < plan.end_s for fault in plan.faults)

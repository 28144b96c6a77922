"""The enumerator of power cuts: that it sees what POSIX allows, and a small run of what `make crash` does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from power_cuts import SCENARIOS, Campaign, Disk, PowerCuts, Recorder, Scenario, mutants, statements
from power_cuts.recorder import KilledError

SMALL = PowerCuts(limit=4)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "from").mkdir(parents=True)
    (top / "to").mkdir()
    (top / "from" / "old").write_bytes(b"old")
    return top


def left(recorder: Recorder, *, torn: bool = False) -> Iterator[Disk]:
    """Return what a cut now may leave, the two folders left out."""
    recording = recorder.recording()
    for disk in PowerCuts(torn=torn).disks(recording, len(recording.effects)):
        yield {path: data for path, data in disk.items() if path not in ("from", "to")}


def write(recorder: Recorder, path: Path, data: bytes, *, sync: bool) -> None:
    fd = recorder.create(path)
    recorder.write(fd, data)
    if sync:
        recorder.fsync(fd)
    recorder.close(fd)


def test_a_file_that_was_not_synced_may_be_new_cut_off_zeros_empty_or_absent(top: Path) -> None:
    recorder = Recorder(top)
    write(recorder, top / "to" / "new", b"abcd", sync=False)
    found = [disk.get("to/new", "absent") for disk in left(recorder)]
    assert sorted(map(str, found)) == sorted(
        map(str, [b"abcd", b"ab", b"ab\0\0", b"\0\0\0\0", b"", "absent"])
    )


def test_a_synced_file_is_whole_but_its_name_is_certain_only_with_its_folder(top: Path) -> None:
    recorder = Recorder(top)
    write(recorder, top / "to" / "new", b"abcd", sync=True)
    assert [disk.get("to/new", "absent") for disk in left(recorder)] == [b"abcd", "absent"]
    recorder.fsync_dir(top / "from")
    assert len(list(left(recorder))) == 2  # another folder says nothing of this one
    recorder.fsync_dir(top / "to")
    assert list(left(recorder)) == [{"from/old": b"old", "to/new": b"abcd"}]


def test_a_rename_is_certain_only_when_both_folders_were_synced(top: Path) -> None:
    recorder = Recorder(top)
    recorder.rename(top / "from" / "old", top / "to" / "new")
    before, both, after = {"from/old": b"old"}, {"from/old": b"old", "to/new": b"old"}, {"to/new": b"old"}
    assert list(left(recorder)) == [after, both, before]
    assert {} in list(left(recorder, torn=True))
    recorder.fsync_dir(top / "to")
    assert list(left(recorder)) == [after, both, before]
    recorder.fsync_dir(top / "from")
    assert list(left(recorder)) == [after]


def test_a_rename_may_be_there_while_what_was_written_is_not(top: Path) -> None:
    recorder = Recorder(top)
    write(recorder, top / "to" / "new", b"abcd", sync=False)
    recorder.rename(top / "to" / "new", top / "from" / "old")
    recorder.fsync_dir(top / "from")
    recorder.fsync_dir(top / "to")
    assert [disk["from/old"] for disk in left(recorder)] == [b"abcd", b"ab", b"ab\0\0", bytes(4), b""]


def test_changes_of_one_folder_are_kept_or_lost_each_by_itself(top: Path) -> None:
    recorder = Recorder(top)
    write(recorder, top / "from" / "new", b"new", sync=True)
    recorder.unlink(top / "from" / "old")
    names = [{path.partition("/")[2] for path in disk} for disk in left(recorder)]
    assert names == [{"new"}, {"new", "old"}, set(), {"old"}]


def test_a_folder_that_moved_is_under_one_of_its_names_with_all_that_is_in_it(top: Path) -> None:
    recorder = Recorder(top)
    recorder.rename(top / "from", top / "to" / "inner")
    found = [set(disk) for disk in PowerCuts().disks(recorder.recording(), 1)]
    assert found == [{"to", "to/inner", "to/inner/old"}, {"to", "from", "from/old"}]


def test_what_a_killed_process_had_not_synced_stays_in_doubt_for_the_next_one(top: Path) -> None:
    recorder = Recorder(top, kill_after=1)
    recorder.unlink(top / "from" / "old")
    with pytest.raises(KilledError):
        recorder.fsync_dir(top / "from")
    with pytest.raises(KilledError):  # nothing that would clean up can
        recorder.mkdir(top / "late")
    recorder.revive()
    recorder.fsync_dir(top / "to")
    assert [set(disk) for disk in left(recorder)] == [set(), {"from/old"}]


def test_beyond_its_limit_a_moment_still_shows_all_kept_all_lost_and_each_change_alone(top: Path) -> None:
    recorder = Recorder(top)
    for number in range(12):
        recorder.mkdir(top / "to" / str(number))
    disks = [set(disk) for disk in PowerCuts(limit=40).disks(recorder.recording(), 12)]
    rest = {"from", "from/old", "to"}
    made = {f"to/{number}" for number in range(12)}
    assert len(disks) == 40 and disks[0] == rest | made and disks[1] == rest
    for one in made:
        assert rest | {one} in disks and rest | made - {one} in disks


@pytest.fixture(scope="module")
def campaign_of() -> Iterator[Callable[[Scenario], Campaign]]:
    """Make the campaign of a scenario, the same one each time, where nothing waits for a disk."""
    made: dict[str, Campaign] = {}
    memory = Path("/dev/shm")

    def campaign(scenario: Scenario) -> Campaign:
        if scenario.name not in made:
            made[scenario.name] = Campaign(scenario, folder / str(len(made)), SMALL)
        return made[scenario.name]

    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        yield campaign


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_no_cut_breaks_a_promise(scenario: Scenario, campaign_of: Callable[[Scenario], Campaign]) -> None:
    outcome = campaign_of(scenario).run(kills=2, nested=1, cycles=1, step=5)
    assert outcome.violations == [], "\n".join(map(str, outcome.violations[:5]))
    assert outcome.states > 5 * outcome.effects and outcome.killed and outcome.nested


def test_each_sync_and_each_rename_of_the_store_is_missed_when_it_is_taken_out(
    campaign_of: Callable[[Scenario], Campaign],
) -> None:
    found = list(mutants([campaign_of(scenario) for scenario in SCENARIOS], kills=8))
    assert len(found) == len(statements()) > 10
    unnoticed = [f"{mutant.site} in {mutant.function}" for mutant in found if mutant.violation is None]
    assert unnoticed == []

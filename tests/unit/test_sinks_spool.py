"""The spool: nothing is lost in silence, nothing is delivered under another record's key."""

from __future__ import annotations

import errno
import inspect
import json
import os
import random
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import BusyError, Reason
from galago_edge.sinks import memory_tail
from galago_edge.sinks.clocks import Clocks
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.disk import Disk
from galago_edge.sinks.spool import Spool
from galago_edge.sinks.spool_writer import Entry
from galago_edge.sinks.stored_record import OVERHEAD_BYTES, scan_records
from real_parts import small_disk

ALL = ("event", "state", "gap")
YEAR_NS = 365 * 86_400 * 10**9


class Time:
    """Clocks that only move when they are told to."""

    def __init__(self) -> None:
        self.s = 1_000.0
        self.wall_ns = 1_700_000_000 * 10**9
        self.synced = True
        self.boot = 1

    def clocks(self) -> Clocks:
        return Clocks(
            lambda: self.s,
            lambda: int(self.s * 1e9),
            lambda: self.wall_ns,
            lambda: self.synced,
            lambda: self.boot,
        )


class FullDisk(Disk):
    """Refuses whatever needs room while ``full``; what is there can be read, changed in place and removed."""

    def __init__(self) -> None:
        self.full = False
        self.calls: list[str] = []

    def _ask(self, name: str) -> None:
        self.calls.append(name)
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def make_folder(self, path: Path) -> None:
        if not path.exists():
            self._ask("make_folder")
        super().make_folder(path)

    def create(self, path: Path) -> int:
        self._ask("create")
        return super().create(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._ask("write")
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self.calls.append("sync")


OPENED: list[Spool] = []


@pytest.fixture(autouse=True)
def closed_spools() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(
    folder: Path,
    receivers: Mapping[str, Collection[str]] | None = None,
    *,
    max_bytes: int = 1 << 20,
    sync_s: float = 5.0,
    disk: Disk | None = None,
    time: Time | None = None,
) -> Spool:
    spool = Spool(
        folder,
        "porch",
        receivers or {"mqtt": ALL},
        max_bytes=max_bytes,
        sync_s=sync_s,
        disk=disk or FullDisk(),
        clocks=(time or Time()).clocks(),
    )
    spool.lock()
    spool.load()
    OPENED.append(spool)
    return spool


def killed(spool: Spool) -> None:
    """Let go of a spool as SIGKILL does: what was written stays, nothing else happens."""
    OPENED.remove(spool)
    os.close(spool._writer._lock_fd)
    spool._records.segments.close()
    for consumer in spool._records.consumers:
        consumer.cursor.close()


def entry(number: int, kind: str = "event", size: int = 0) -> Entry:
    return Entry(kind, json.dumps({"n": number, "fill": "x" * size}).encode() + b"\n", synced=True)


def entries(first: int, count: int, **options: Any) -> list[Entry]:
    return [entry(number, **options) for number in range(first, first + count)]


def take(spool: Spool, name: str = "mqtt", count: int = 100_000) -> list[Delivery]:
    """Receive and acknowledge."""
    found = spool.read(name, count)
    for delivery in found:
        spool.ack(name, delivery.token)
    return found


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [json.loads(delivery.line)["n"] for delivery in deliveries if not delivery.lost]


def in_memory(spool: Spool) -> int:
    """Return how many records wait for the disk."""
    return len(spool._records.tail)


def losses(deliveries: list[Delivery]) -> list[int]:
    return [delivery.lost for delivery in deliveries if delivery.lost]


# in order, once, after a restart too


def test_records_are_handed_out_in_order_and_again_until_they_are_acknowledged(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(0, 5))
    first = spool.read("mqtt", 3)
    assert numbers(first) == [0, 1, 2]
    assert numbers(spool.read("mqtt", 10)) == [3, 4]
    assert spool.read("mqtt", 10) == []
    spool.rewind("mqtt")
    again = spool.read("mqtt", 10)
    assert numbers(again) == [0, 1, 2, 3, 4]
    assert [delivery.key for delivery in again[:3]] == [delivery.key for delivery in first]
    for delivery in again:
        spool.ack("mqtt", delivery.token)
    spool.rewind("mqtt")
    assert spool.read("mqtt", 10) == []
    assert (spool.consumer("mqtt").delivered, spool.consumer("mqtt").pending) == (5, 0)


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_restart_goes_on_with_what_was_not_acknowledged_under_the_same_keys(
    tmp_path: Path, how: str
) -> None:
    spool = opened(tmp_path)
    spool.append(entries(0, 10))
    before = spool.read("mqtt", 10)
    for delivery in before[:4]:
        spool.ack("mqtt", delivery.token)
    spool.close() if how == "closed" else killed(spool)
    spool = opened(tmp_path)
    assert spool.consumer("mqtt").pending == 6
    spool.append(entries(10, 2))
    after = take(spool)
    assert numbers(after) == list(range(4, 12))
    assert [delivery.key for delivery in after[:6]] == [delivery.key for delivery in before[4:]]
    assert len({delivery.key for delivery in before + after}) == 12


def test_acknowledgements_out_of_order_never_pass_over_a_record(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(0, 4))
    found = spool.read("mqtt", 4)
    for delivery in (found[3], found[1], found[0]):
        spool.ack("mqtt", delivery.token)
    killed(spool)
    assert numbers(take(opened(tmp_path))) == [2, 3]


def test_receivers_go_each_at_their_own_pace_and_get_what_they_want(tmp_path: Path) -> None:
    spool = opened(tmp_path, {"mqtt": ALL, "webhook": ("event",)})
    spool.append([entry(0), entry(1, "gap"), entry(2, "state"), entry(3)])
    assert numbers(take(spool, "mqtt")) == [0, 1, 2, 3]
    assert spool.consumer("webhook").pending == 2
    assert numbers(take(spool, "webhook")) == [0, 3]


def test_a_new_receiver_gets_what_comes_and_one_that_is_gone_holds_nothing_back(tmp_path: Path) -> None:
    spool = opened(tmp_path, {"mqtt": ALL}, max_bytes=100_000)
    spool.append(entries(0, 10))
    spool.close()
    spool = opened(tmp_path, {"webhook": ALL}, max_bytes=100_000)
    assert spool.read("webhook", 10) == []
    assert list(tmp_path.glob("*.spool")) == []
    spool.append(entries(10, 2))
    assert numbers(take(spool, "webhook")) == [10, 11]
    spool.close()
    assert [path.name for path in tmp_path.iterdir()] == ["webhook.cursor"]


def test_a_spool_that_is_used_is_not_given_to_a_second_process(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(BusyError) as caught:
        opened(tmp_path)
    assert caught.value.reason is Reason.LOCKED


# crashes and damage


def test_a_torn_end_costs_only_the_record_that_was_torn(tmp_path: Path) -> None:
    spool = opened(tmp_path / "whole")
    spool.append(entries(0, 3))
    killed(spool)
    data = next((tmp_path / "whole").glob("*.spool")).read_bytes()
    length = len(data) // 3
    for cut in range(len(data)):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        path = next(folder.glob("*.spool"))
        path.write_bytes(data[:cut])
        spool = opened(folder)
        spool.append([entry(9)])
        found = take(spool)
        assert numbers(found) == [*range(cut // length), 9]
        assert losses(found) == []
        spool.close()
        shutil.rmtree(folder)


def test_a_damaged_byte_costs_one_record_which_is_told(tmp_path: Path) -> None:
    spool = opened(tmp_path / "whole")
    spool.append(entries(0, 3))
    killed(spool)
    data = next((tmp_path / "whole").glob("*.spool")).read_bytes()
    length = len(data) // 3
    for at in range(length, 2 * length):
        folder = tmp_path / "damaged"
        shutil.copytree(tmp_path / "whole", folder)
        path = next(folder.glob("*.spool"))
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :])
        spool = opened(folder)
        found = take(spool)
        assert numbers(found) == [0, 2], at
        assert losses(found) == [1]
        assert json.loads(found[1].line)["detail"] == {"lost": 1, "cause": "damaged"}
        assert (spool.consumer("mqtt").lost, spool.consumer("mqtt").pending) == (1, 0)
        spool.close()
        shutil.rmtree(folder)


def test_damage_that_comes_while_it_runs_is_met_like_one_that_was_there(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(0, 3))
    path = next(tmp_path.glob("*.spool"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    found = take(spool)
    assert (numbers(found), losses(found)) == ([0, 2], [1])
    assert spool.consumer("mqtt").pending == 0


def test_a_segment_that_is_gone_is_told_with_its_number_of_records(tmp_path: Path) -> None:
    spool = opened(tmp_path, max_bytes=100_000)
    spool.append(entries(0, 200, size=200))
    killed(spool)
    paths = sorted(tmp_path.glob("*.spool"))
    missing = int(paths[2].stem) - int(paths[1].stem)
    paths[1].unlink()
    found = take(opened(tmp_path, max_bytes=100_000))
    assert losses(found) == [missing]
    assert len(numbers(found)) + missing == 200


@pytest.mark.parametrize("damaged", [(0,), (4096,), (0, 4096)], ids=str)
def test_a_cursor_survives_one_torn_place_and_without_any_all_is_delivered_again(
    tmp_path: Path, damaged: tuple[int, ...]
) -> None:
    spool = opened(tmp_path)
    spool.append(entries(0, 10))
    for delivery in spool.read("mqtt", 4):
        spool.ack("mqtt", delivery.token)
    killed(spool)
    path = tmp_path / "mqtt.cursor"
    data = bytearray(path.read_bytes())
    for place in damaged:
        data[place + 20] ^= 0xFF
    path.write_bytes(data)
    found = take(opened(tmp_path))
    assert losses(found) == []
    assert numbers(found)[0] in ((3, 4) if len(damaged) == 1 else (0,))
    assert numbers(found)[-1] == 9


def test_records_that_a_power_cut_took_after_their_delivery_lend_their_keys_to_nobody(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(0, 4))
    delivered = take(spool)
    killed(spool)
    path = next(tmp_path.glob("*.spool"))
    path.write_bytes(path.read_bytes()[:10])  # never reached the disk
    spool = opened(tmp_path)
    spool.append(entries(10, 4))
    later = take(spool)
    assert numbers(later) == [10, 11, 12, 13]
    assert not {delivery.key for delivery in delivered} & {delivery.key for delivery in later}


class PowerDisk(Disk):
    """Keeps of each file what was last synced; removing a file is on the disk at once, the worst order."""

    def __init__(self) -> None:
        self.durable: dict[str, bytes] = {}

    def sync(self, fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        self.durable[path] = Path(path).read_bytes()

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.durable.pop(str(path), None)

    def cut(self, folder: Path) -> None:
        """Leave what a power cut leaves."""
        for path in folder.iterdir():
            path.unlink()
        for name, data in self.durable.items():
            Path(name).write_bytes(data)


def test_a_power_cut_costs_at_most_the_last_seconds_and_tells_of_no_loss_that_was_none(
    tmp_path: Path,
) -> None:
    receivers = {"mqtt": ALL, "webhook": ALL}
    chance = random.Random(3)
    disk, time = PowerDisk(), Time()
    made = 0
    made_at: list[float] = []
    got: dict[str, set[int]] = {name: set() for name in receivers}
    told = dict.fromkeys(receivers, 0)
    gone: set[int] = set()
    keys: dict[str, int] = {}
    for _ in range(30):
        spool = opened(tmp_path, receivers, max_bytes=200_000, sync_s=5.0, disk=disk, time=time)
        for _ in range(chance.randrange(1, 60)):
            amount = chance.randrange(0, 20)
            spool.append(entries(made, amount, size=100))
            made += amount
            made_at += [time.s] * amount
            for name in receivers:
                if chance.random() < (0.8 if name == "mqtt" else 0.3):
                    found = take(spool, name, chance.randrange(1, 60))
                    got[name] |= set(numbers(found))
                    told[name] += sum(losses(found))
                    for delivery in found:
                        if not delivery.lost:
                            number = json.loads(delivery.line)["n"]
                            assert keys.setdefault(delivery.key, number) == number
            time.s += chance.random() * 2
            spool.tick()
        killed(spool)
        disk.cut(tmp_path)
        gone |= {number for number in range(made) if made_at[number] > time.s - 5.0 - 2.0}
        time.s += 60
    spool = opened(tmp_path, receivers, max_bytes=200_000, disk=disk, time=time)
    for name in receivers:
        found = take(spool, name)
        got[name] |= set(numbers(found))
        told[name] += sum(losses(found))
        missing = set(range(made)) - got[name]
        assert missing <= gone, "only what was younger than sync_s"
        assert told[name] <= len(missing), "nobody is told of a loss that was none"
    assert made > 5_000 and len(gone) < made / 2


def test_a_segment_is_removed_only_when_the_disk_knows_that_it_was_delivered(tmp_path: Path) -> None:
    disk = PowerDisk()
    spool = opened(tmp_path, max_bytes=100_000, disk=disk)
    spool.append(entries(0, 300, size=200))
    take(spool, count=10)
    spool.sync()
    take(spool, count=240)
    assert len(list(tmp_path.glob("*.spool"))) < 5
    killed(spool)
    disk.cut(tmp_path)
    found = take(opened(tmp_path, max_bytes=100_000))
    assert losses(found) == []
    assert numbers(found)[-50:] == list(range(250, 300))


def test_strange_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    strange = [tmp_path / "notes.txt", tmp_path / "1.spool", tmp_path / os.fsdecode(b"\xff.spool")]
    for path in strange:
        path.write_bytes(b"\x00mine")
    spool = opened(tmp_path)
    spool.append([entry(1)])
    assert numbers(take(spool)) == [1]
    spool.close()
    assert all(path.read_bytes() == b"\x00mine" for path in strange)


# bounds


def test_a_full_spool_gives_up_the_oldest_and_tells_each_receiver_how_many(tmp_path: Path) -> None:
    spool = opened(tmp_path, {"mqtt": ALL, "webhook": ("event",)}, max_bytes=50_000)
    for number in range(1_000):
        spool.append([entry(number, "event" if number % 4 == 0 else "gap", size=50)])
        assert sum(path.stat().st_size for path in tmp_path.glob("*.spool")) <= 50_000
    for name, wanted in (("mqtt", list(range(1_000))), ("webhook", list(range(0, 1_000, 4)))):
        assert spool.consumer(name).pending + spool.consumer(name).lost == len(wanted)
        found = take(spool, name)
        lost = losses(found)
        assert len(lost) == 1 and found[0].lost, "told first, and once"
        assert json.loads(found[0].line)["detail"] == {"lost": lost[0], "cause": "given_up"}
        assert numbers(found) == wanted[lost[0] :]
        assert spool.consumer(name).lost == lost[0]
        assert take(spool, name) == []


def test_what_was_given_up_is_told_after_a_restart_if_it_was_not_before(tmp_path: Path) -> None:
    spool = opened(tmp_path, max_bytes=20_000)
    spool.append(entries(0, 500, size=50))
    lost = spool.consumer("mqtt").lost
    assert lost > 0
    spool.read("mqtt", 1)  # handed out, never acknowledged
    killed(spool)
    spool = opened(tmp_path, max_bytes=20_000)
    found = take(spool)
    assert losses(found) == [lost]
    assert numbers(found) == list(range(lost, 500))
    killed(spool)
    assert take(opened(tmp_path, max_bytes=20_000)) == []


def test_a_record_in_flight_that_is_given_up_does_no_harm_when_it_is_acknowledged_after_all(
    tmp_path: Path,
) -> None:
    spool = opened(tmp_path, max_bytes=20_000)
    spool.append(entries(0, 10, size=50))
    in_flight = spool.read("mqtt", 5)
    spool.ack("mqtt", in_flight[1].token)
    spool.append(entries(10, 500, size=50))
    for delivery in in_flight:
        spool.ack("mqtt", delivery.token)
    found = take(spool)
    books = spool.consumer("mqtt")
    assert sum(losses(found)) == books.lost == numbers(found)[0] - 1  # one of them had arrived
    assert (books.pending, books.delivered) == (0, len(numbers(found)) + 1)


def test_a_record_beyond_all_measure_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([entry(0), entry(1, size=1 << 20), entry(2)])
    found = take(spool)
    assert (numbers(found), losses(found)) == ([0, 2], [1])


def test_segments_that_everybody_has_had_are_removed(tmp_path: Path) -> None:
    spool = opened(tmp_path, max_bytes=50_000)
    for first in range(0, 5_000, 50):
        spool.append(entries(first, 50, size=50))
        take(spool)
    assert len(list(tmp_path.glob("*.spool"))) == 1
    assert spool.consumer("mqtt").lost == 0


def test_a_folder_that_somebody_removes_is_made_anew_and_what_was_in_it_is_told(tmp_path: Path) -> None:
    folder, time = tmp_path / "spool", Time()
    spool = opened(folder, max_bytes=100_000, time=time)
    spool.append(entries(0, 60, size=200))
    assert len(list(folder.glob("*.spool"))) > 1
    shutil.rmtree(folder)
    spool.append(entries(60, 60, size=200))  # into a file without a name, until it is full
    assert spool.fault
    time.s += 2
    spool.append(entries(120, 60, size=200))
    assert spool.fault == ""
    found = take(spool, count=100)
    assert sum(losses(found)) + len(numbers(found)) >= 100 and numbers(found)[-1] < 180
    killed(spool)
    found += take(opened(folder, max_bytes=100_000))
    assert sum(losses(found)) + len(numbers(found)) == 180
    assert numbers(found)[-60:] == list(range(120, 180))


def test_many_small_segments_of_a_process_that_dies_again_and_again_are_bounded_and_not_all_open(
    tmp_path: Path,
) -> None:
    receivers = {"mqtt": ALL, "webhook": ALL}
    for number in range(40):
        spool = opened(tmp_path, receivers, max_bytes=100_000)
        spool.append([entry(number)])
        killed(spool)
    spool = opened(tmp_path, receivers, max_bytes=100_000)
    assert len(list(tmp_path.glob("*.spool"))) <= 100_000 // 4_096 + 1
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = take(spool, "mqtt")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
    assert losses(found)[0] + len(numbers(found)) == 40
    assert numbers(take(spool, "webhook")) == numbers(found)


def test_records_that_nobody_wants_are_not_written(tmp_path: Path) -> None:
    spool = opened(tmp_path, {"webhook": ("event",)})
    spool.append(entries(0, 100, kind="gap"))
    assert list(tmp_path.glob("*.spool")) == []


# the disk


def test_a_full_disk_is_bridged_by_memory_and_delivery_goes_on(tmp_path: Path) -> None:
    disk, time = FullDisk(), Time()
    spool = opened(tmp_path, disk=disk, time=time)
    spool.append(entries(0, 2))
    disk.full = True
    spool.append(entries(2, 3))
    assert "No space left" in spool.fault and in_memory(spool) == 3
    assert numbers(spool.read("mqtt", 4)) == [0, 1, 2, 3]
    disk.full = False
    assert spool.tick() is not None  # not before the pause is over
    assert in_memory(spool) == 3
    time.s += 2
    spool.tick()
    assert in_memory(spool) == 0 and spool.fault == ""
    killed(spool)
    assert numbers(take(opened(tmp_path))) == [0, 1, 2, 3, 4]


def test_a_spool_starts_on_a_full_disk(tmp_path: Path) -> None:
    disk, time = FullDisk(), Time()
    disk.full = True
    spool = opened(tmp_path / "spool", disk=disk, time=time)
    spool.append(entries(0, 3))
    assert not (tmp_path / "spool").exists()
    assert numbers(spool.read("mqtt", 1)) == [0]
    disk.full = False
    time.s += 2
    spool.append(entries(3, 1))
    killed(spool)
    assert numbers(take(opened(tmp_path / "spool"))) == [0, 1, 2, 3]


def test_what_was_delivered_from_memory_is_never_written(tmp_path: Path) -> None:
    disk, time = FullDisk(), Time()
    spool = opened(tmp_path, disk=disk, time=time)
    spool.append(entries(0, 1))
    disk.full = True
    spool.append(entries(1, 5))
    assert numbers(take(spool)) == [0, 1, 2, 3, 4, 5]
    disk.full = False
    time.s += 2
    spool.append(entries(6, 1))
    killed(spool)
    files = [path.read_bytes() for path in sorted(tmp_path.glob("*.spool"))]
    assert [frame.seq for data in files for _, frame in scan_records(data)] == [1, 7]
    found = take(opened(tmp_path))
    assert (numbers(found), losses(found)) == ([6], [])


def test_half_a_record_that_the_disk_would_not_take_back_stays_behind_in_its_segment(tmp_path: Path) -> None:
    class Stubborn(FullDisk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            if self.full:
                super(FullDisk, self).write(fd, data[: len(data) // 2])
            return super().write(fd, data)

        def truncate(self, fd: int, size: int) -> None:
            self._ask("truncate")

    disk, time = Stubborn(), Time()
    spool = opened(tmp_path, disk=disk, time=time)
    spool.append(entries(0, 3))
    disk.full = True
    spool.append(entries(3, 3))
    disk.full = False
    time.s += 2
    spool.append(entries(6, 3))
    assert numbers(spool.read("mqtt", 4)) == [0, 1, 2, 3]
    killed(spool)
    assert len(list(tmp_path.glob("*.spool"))) == 2
    spool = opened(tmp_path)
    assert spool.consumer("mqtt").pending == 9
    found = take(spool)
    assert (numbers(found), losses(found)) == (list(range(9)), [])
    assert spool.consumer("mqtt").pending == 0


def test_a_disk_that_stays_full_costs_the_oldest_which_are_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_tail, "MEMORY_RECORDS", 100)
    disk, time = FullDisk(), Time()
    spool = opened(tmp_path, {"mqtt": ALL, "webhook": ("gap",)}, disk=disk, time=time)
    spool.append(entries(0, 20))
    disk.full = True
    for number in range(20, 1_000):
        spool.append([entry(number)])
        time.s += 0.01
    found = take(spool)
    assert losses(found) == [900] and numbers(found) == list(range(900, 1_000))
    assert spool.consumer("webhook").lost == 0, "none of them was for this one"
    disk.full = False
    time.s += 2
    spool.append([entry(1_000)])
    killed(spool)
    assert numbers(take(opened(tmp_path, {"mqtt": ALL, "webhook": ("gap",)}))) == [1_000]


def test_room_that_giving_up_makes_on_the_disk_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_tail, "MEMORY_RECORDS", 50)

    class SmallDisk(FullDisk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            used = sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
            if used + len(data) > 30_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(fd, data)

    time = Time()
    spool = opened(tmp_path, disk=SmallDisk(), time=time, max_bytes=64_000)
    for number in range(1_000):
        spool.append([entry(number, size=50)])
        time.s += 0.01
    found = take(spool)
    assert len(losses(found)) == 1
    assert numbers(found) == list(range(losses(found)[0], 1_000))
    assert len(numbers(found)) > 120, "what the disk had room for, not only memory's share"


STEPS = [name for name, _ in inspect.getmembers(Disk, inspect.isfunction) if not name.startswith("_")]


def faulty(fail_at: int, error: int, *, for_good: bool) -> tuple[Disk, list[str]]:
    """A disk whose call number ``fail_at`` fails, and all later ones when ``for_good``."""
    disk, log = Disk(), []

    def guard(name: str) -> Any:
        real = getattr(disk, name) if not name.startswith("sync") else lambda _: None

        def call(*args: Any) -> Any:
            log.append(name)
            if len(log) == fail_at or (for_good and len(log) > fail_at):
                if name == "write":  # half of it first, as a disk does that becomes full
                    os.write(args[0], args[1][: len(args[1]) // 2])
                raise OSError(error, os.strerror(error))
            return real(*args)

        return call

    for name in STEPS:
        setattr(disk, name, guard(name))
    return disk, log


def patient(spool: Spool, count: int = 100_000) -> list[Delivery]:
    """Receive as the senders do: when the disk cannot read, once more from the last acknowledgement."""
    for _ in range(2):
        try:
            return take(spool, count=count)
        except OSError:
            spool.rewind("mqtt")
    return []


def life(folder: Path, disk: Disk) -> tuple[list[Delivery], Spool]:
    """A short life of a spool; returns what it delivered."""
    time = Time()
    spool = opened(folder, disk=disk, time=time, max_bytes=20_000)
    got: list[Delivery] = []
    for first in range(0, 60, 10):
        spool.append(entries(first, 10, size=20))
        got += patient(spool, 8)
        time.s += 2
        spool.tick()
    spool.sync()
    return got + patient(spool), spool


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_fault_at_any_step_of_the_disk_raises_nothing_and_loses_at_most_what_cannot_be_read(
    tmp_path: Path, error: int
) -> None:
    earlier = opened(tmp_path / "earlier", max_bytes=20_000)
    earlier.append(entries(-5, 5))
    killed(earlier)
    shutil.copytree(tmp_path / "earlier", tmp_path / "count")
    disk, log = faulty(0, 0, for_good=False)
    _, spool = life(tmp_path / "count", disk)
    assert {"create", "write", "write_at", "read_at", "unlink", "sync", "lock", "names"} <= set(log)
    steps, first_write = len(log), log.index("create")
    spool.close()
    for fail_at in range(1, steps + 1):
        folder = tmp_path / f"step-{fail_at}"
        shutil.copytree(tmp_path / "earlier", folder)
        disk, log = faulty(fail_at, error, for_good=False)
        got, spool = life(folder, disk)
        step = f"step {fail_at}: {log[fail_at - 1]}"
        books = spool.consumer("mqtt")
        missing = set(range(-5 if fail_at > first_write else 0, 60)) - set(numbers(got))
        assert numbers(got) == sorted(set(numbers(got))), step
        assert books.pending == 0, step
        assert sum(losses(got)) == books.lost <= (log[fail_at - 1] in ("read_at", "open_to_read")) * 5, step
        assert len(missing) <= (log[fail_at - 1] == "read_at" and error == errno.EIO), step
        if fail_at > first_write:
            assert len(missing) == books.lost, step
        spool.close()
        after = take(opened(folder, max_bytes=20_000))
        assert set(numbers(got + after)) | missing == set(range(-5, 60)) or books.lost, step


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_dies_at_any_step_raises_nothing_and_costs_only_what_lies_on_it(
    tmp_path: Path, error: int
) -> None:
    disk, log = faulty(0, 0, for_good=False)
    _, spool = life(tmp_path / "count", disk)
    steps = len(log)
    spool.close()
    for fail_at in range(1, steps + 1):
        disk, log = faulty(fail_at, error, for_good=True)
        got, spool = life(tmp_path / f"step-{fail_at}", disk)
        step = f"step {fail_at}: {log[fail_at - 1]}"
        books = spool.consumer("mqtt")  # what is pending lies on the dead disk
        assert len(numbers(got)) + books.lost + books.pending == 60, step
        assert books.lost <= (error == errno.EIO) * 20, step
        assert len(numbers(got)) >= 8 or log[fail_at - 1] == "read_at", step
        spool.close()


def test_a_real_full_disk_costs_nothing_that_memory_can_bridge(tmp_path: Path) -> None:
    """A tmpfs, filled and emptied around a running spool."""
    with small_disk(tmp_path / "disk", "256k") as folder:
        ballast = folder / "ballast"
        time = Time()

        def fill() -> None:
            with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
                while file.write(bytes(1 << 16)):
                    file.flush()

        fill()
        spool = opened(folder / "spool", disk=Disk(), time=time, max_bytes=200_000)
        got: list[int] = []
        for number in range(600):
            if number % 100 == 50:
                ballast.unlink()
            elif number % 100 == 0 and number:
                fill()
            spool.append([entry(number, size=100)])
            got += numbers(take(spool, count=1)) if number % 3 else []
            time.s += 0.1
        ballast.unlink(missing_ok=True)
        time.s += 2
        spool.tick()
        assert in_memory(spool) == 0
        killed(spool)
        spool = opened(folder / "spool", disk=Disk(), max_bytes=200_000)
        left = take(spool)
        assert (got + numbers(left), losses(left)) == (list(range(600)), [])
        OPENED.remove(spool)
        spool.close()


def test_the_disk_is_synced_at_most_every_sync_s_and_never_while_nothing_happens(tmp_path: Path) -> None:
    disk, time = FullDisk(), Time()
    spool = opened(tmp_path, disk=disk, time=time, sync_s=5.0)
    spool.append([entry(0)])
    disk.calls.clear()
    for number in range(1_000):  # 100 s
        spool.append([entry(number)])
        spool.tick()
        time.s += 0.1
    assert 19 <= disk.calls.count("sync") <= 21
    take(spool)
    time.s += 10
    spool.tick()
    disk.calls.clear()
    for _ in range(100):
        assert spool.tick() is None
        time.s += 60
    assert disk.calls == []


def test_without_patience_every_batch_is_synced(tmp_path: Path) -> None:
    disk = FullDisk()
    spool = opened(tmp_path, disk=disk, sync_s=0)
    spool.append(entries(0, 10))
    before = disk.calls.count("sync")
    spool.append(entries(10, 10))
    assert disk.calls.count("sync") == before + 1


def test_a_day_without_a_receiver_fits_into_the_usual_spool(tmp_path: Path) -> None:
    """An event every two seconds."""
    time = Time()
    spool = opened(tmp_path, max_bytes=16_000_000, time=time)
    for number in range(43_200):
        spool.append([entry(number, size=250)])
        time.s += 2
    assert spool.oldest_pending_s("mqtt") == 86_400.0
    assert numbers(take(spool)) == list(range(43_200))
    assert spool.consumer("mqtt").lost == 0


# clocks


def test_wall_clock_jumps_change_no_order_and_stall_nothing(tmp_path: Path) -> None:
    time = Time()
    spool = opened(tmp_path, time=time)
    for number, jump in enumerate((0, YEAR_NS, -2 * YEAR_NS, YEAR_NS)):
        time.wall_ns += jump
        spool.append([entry(number)])
        time.s += 1
    assert spool.oldest_pending_s("mqtt") == pytest.approx(4.0)
    assert numbers(take(spool)) == [0, 1, 2, 3]
    assert spool.oldest_pending_s("mqtt") == 0.0


def test_of_a_record_from_before_the_boot_only_the_age_since_the_start_is_known(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([entry(0)])
    killed(spool)
    time = Time()
    time.s = 10.0  # since boot: less than when the record was made
    spool = opened(tmp_path, time=time)
    time.s += 5
    assert spool.oldest_pending_s("mqtt") == 5.0


def test_a_record_from_before_the_clock_was_right_is_delivered_with_the_right_time(tmp_path: Path) -> None:
    time = Time()
    time.synced, time.wall_ns = False, 42
    spool = opened(tmp_path, time=time)
    spool.append([Entry("event", b'{"n":0}\n', synced=False), Entry("event", b'{"n":1}\n', synced=True)])
    early = spool.read("mqtt", 1)[0]
    assert "wall_corrected_ns" not in json.loads(early.line)
    spool.rewind("mqtt")
    time.s += 60
    time.synced, time.wall_ns = True, 1_800_000_000 * 10**9
    corrected, right = (json.loads(delivery.line) for delivery in take(spool))
    assert corrected["wall_corrected_ns"] == (1_800_000_000 - 60) * 10**9
    assert "wall_corrected_ns" not in right
    assert list(corrected) == ["n", "key", "wall_corrected_ns"]


def test_a_record_of_an_earlier_boot_is_not_given_a_time_that_nobody_knows(tmp_path: Path) -> None:
    time = Time()
    spool = opened(tmp_path, time=time)
    spool.append([Entry("event", b'{"n":0}\n', synced=False)])
    killed(spool)
    time.boot = 2
    assert "wall_corrected_ns" not in json.loads(take(opened(tmp_path, time=time))[0].line)


# any history


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 30)),
            st.tuples(st.just("take"), st.integers(1, 40)),
            st.tuples(st.just("hand out"), st.integers(1, 40)),
            st.tuples(st.just("rewind"), st.just(0)),
            st.tuples(st.just("restart"), st.integers(0, 1)),
            st.tuples(st.just("full"), st.integers(0, 1)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_every_record_is_delivered_or_told_as_lost(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Small spool, so that records are given up; memory is lost only with records that it alone held."""
    folder = tmp_path_factory.mktemp("spool")
    disk, time = FullDisk(), Time()
    spool = opened(folder, disk=disk, time=time, max_bytes=12_000)
    made = told = 0
    keys: dict[str, int] = {}
    got: list[int] = []
    held: list[Delivery] = []

    def acknowledge(deliveries: list[Delivery]) -> None:
        nonlocal told
        for delivery in deliveries:
            before = spool.consumer("mqtt").delivered
            spool.ack("mqtt", delivery.token)
            told += delivery.lost
            if spool.consumer("mqtt").delivered > before:  # else it was given up while it was in flight
                number = json.loads(delivery.line)["n"]
                assert keys.setdefault(delivery.key, number) == number
                got.append(number)
        deliveries.clear()

    for what, amount in steps:
        time.s += 2
        if what == "append":
            spool.append(entries(made, amount, size=60))
            made += amount
        elif what == "take":
            acknowledge(held)
            acknowledge(spool.read("mqtt", amount))
        elif what == "hand out":
            held += spool.read("mqtt", amount)
        elif what == "rewind":
            held.clear()
            spool.rewind("mqtt")
        elif what == "full":
            disk.full = bool(amount)
        elif not in_memory(spool):
            held.clear()
            if amount:
                killed(spool)
            else:
                OPENED.remove(spool)
                spool.close()
            spool = opened(folder, disk=disk, time=time, max_bytes=12_000)
    spool.rewind("mqtt")
    acknowledge(spool.read("mqtt", 100_000))
    assert got == sorted(set(got)), "in order, and no acknowledged record twice"
    assert len(got) + told == made
    assert spool.consumer("mqtt").pending == 0
    OPENED.remove(spool)
    spool.close()


def test_a_spool_of_the_usual_size_is_opened_without_reading_twice(tmp_path: Path) -> None:
    spool = opened(tmp_path, max_bytes=4_000_000)
    spool.append(entries(0, 10_000, size=150))
    killed(spool)
    spool = opened(tmp_path, max_bytes=4_000_000)
    assert spool.consumer("mqtt").pending == 10_000
    assert spool.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.spool"))
    assert spool.bytes > 10_000 * (OVERHEAD_BYTES + 150)


def test_what_a_killed_process_did_not_sync_is_synced_by_the_next_one(tmp_path: Path) -> None:
    """The power may fail long after the kill: its last records are older than sync_s then."""

    class Noting(Disk):
        def __init__(self) -> None:
            self.synced: set[str] = set()

        def sync(self, fd: int) -> None:
            self.synced.add(Path(f"/proc/self/fd/{fd}").readlink().name)
            super().sync(fd)

    time, disk = Time(), Noting()
    before = opened(tmp_path, time=time)
    before.append([entry(0)])
    killed(before)
    after = opened(tmp_path, time=time, disk=disk)
    due_s = after.tick()
    assert due_s is not None
    time.s += 5.0
    after.tick()
    assert {path.name for path in tmp_path.glob("*.spool")} <= disk.synced
    assert after.tick() is None, "nothing is due while nothing happens"

"""The books of one receiver and the file that keeps them, entry by entry."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from galago_edge.sinks.consumer import Consumer, Delivery
from galago_edge.sinks.cursor import CursorFile, CursorPosition, new_identity
from galago_edge.sinks.disk import Disk

SAVED = CursorPosition(identity=77, acked=10, untold=3)


class Cursor:
    """Keeps what was saved; may refuse, or not be there yet."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready
        self.refuses = False
        self.saved: list[tuple[int, int]] = []

    def save(self, position: CursorPosition) -> None:
        if self.refuses:
            raise OSError(errno.ENOSPC, "full")
        self.saved.append((position.acked, position.untold))


def consumer(cursor: Cursor | None = None) -> Consumer:
    faked: Any = cursor or Cursor()
    return Consumer("mqtt", {1, 3}, faked)


def hand_out(books: Consumer, seq: int, *, lost: int = 0, told: int = 0) -> int:
    """Hand out a record, or with ``lost`` one that tells of losses; return its token."""
    return books.hand_out(
        lambda token: Delivery(token, seq, f"key-{seq}", "event", b"{}", lost=lost, told=told)
    ).token


def figures(books: Consumer) -> tuple[int, int, int, int, int]:
    return books.acked, books.position, books.pending, books.delivered, books.lost


# ---- the beginning


def test_a_new_receiver_begins_behind_the_newest_record() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    assert books.identity > 0
    books.begin(None, 42)
    assert figures(books) == (42, 42, 0, 0, 0)
    books.save()
    assert cursor.saved == [(42, 0)]  # even if nothing is ever delivered


def test_a_receiver_that_was_here_goes_on_where_it_stood() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    books.untold = 2  # lost before the file was read
    books.begin(SAVED, 42)
    assert figures(books) == (10, 10, 0, 0, 0)
    assert (books.identity, books.untold, books.to_tell) == (77, 5, 5)
    assert books.progress() == CursorPosition(77, 10, 5)
    books.save()
    assert cursor.saved == []  # the file says so already


# ---- deliveries


def test_what_arrives_in_order_moves_the_cursor_one_by_one() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    books.begin(SAVED, 0)
    books.pending = 3
    tokens = [hand_out(books, seq) for seq in (11, 12, 15)]
    assert len(set(tokens)) == 3
    assert (books.in_flight, books.position, books.acked) == (3, 15, 10)
    for number, token in enumerate(tokens, 1):
        books.ack(token)
        assert (books.in_flight, books.pending, books.delivered) == (3 - number, 3 - number, number)
    assert cursor.saved == [(11, 3), (12, 3), (15, 3)]


def test_what_arrives_early_waits_for_what_is_before_it() -> None:
    books = consumer()
    books.begin(SAVED, 0)
    books.pending = 3
    first, second, third = (hand_out(books, seq) for seq in (11, 12, 13))
    books.ack(second)
    assert figures(books) == (10, 13, 3, 0, 0)
    books.ack(first)
    assert figures(books) == (12, 13, 1, 2, 0)
    books.ack(third)
    assert figures(books) == (13, 13, 0, 3, 0)


def test_a_record_that_is_refused_for_good_is_lost_and_nobody_need_be_told() -> None:
    books = consumer()
    books.begin(SAVED, 0)
    books.pending = 2
    first, second = (hand_out(books, seq) for seq in (11, 12))
    books.ack(first, refused=True)
    books.ack(second)
    assert figures(books) == (12, 12, 0, 1, 1)
    assert books.to_tell == 3


def test_an_unknown_token_changes_nothing() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    books.begin(SAVED, 0)
    token = hand_out(books, 11)
    books.ack(token + 1)
    books.ack(token)
    books.ack(token)  # a second time
    assert figures(books) == (11, 11, -1, 1, 0)
    assert cursor.saved == [(11, 3)]


def test_what_was_on_its_way_is_handed_out_again() -> None:
    books = consumer()
    books.begin(SAVED, 0)
    hand_out(books, 11, lost=3, told=3)
    hand_out(books, 12)
    assert (books.to_tell, books.position) == (0, 12)
    books.rewind()
    assert (books.in_flight, books.position, books.to_tell) == (0, 10, 3)


def test_records_of_another_kind_are_passed_over_and_count_as_had_only_when_nothing_is_on_its_way() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    books.begin(SAVED, 0)
    books.skip_to(20)
    assert (books.acked, books.position) == (20, 20)
    books.save()
    assert cursor.saved == [(20, 3)]
    token = hand_out(books, 21)
    books.skip_to(30)
    assert (books.acked, books.position) == (20, 30)
    books.ack(token)
    assert (books.acked, books.position) == (21, 30)


# ---- losses


def test_what_was_lost_is_untold_until_a_record_that_tells_it_has_arrived() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    books.begin(CursorPosition(1, 10, 0), 0)
    books.miss(4)
    assert (books.lost, books.to_tell, cursor.saved) == (4, 4, [(10, 4)])
    token = hand_out(books, 12, lost=6, told=4)  # two more that the cursor did not know of
    assert books.to_tell == 0
    books.ack(token)
    assert (books.lost, books.untold, books.to_tell) == (6, 0, 0)
    assert figures(books) == (12, 12, 0, 0, 6)
    assert cursor.saved[-1] == (12, 0)


def test_what_is_given_up_is_lost_unless_it_had_arrived() -> None:
    books = consumer()
    books.begin(CursorPosition(1, 10, 0), 0)
    books.pending = 5  # 11 to 15
    first, second, third = (hand_out(books, seq) for seq in (11, 12, 13))
    books.ack(second)
    books.give_up(13, 2)  # 11 and 12
    assert figures(books) == (12, 13, 3, 1, 1)
    assert (books.untold, books.in_flight) == (1, 1)
    books.ack(first)  # too late, and no harm
    books.ack(third)
    assert figures(books) == (13, 13, 2, 2, 1)


def test_a_record_that_tells_of_losses_is_not_given_up() -> None:
    books = consumer()
    books.begin(CursorPosition(1, 10, 2), 0)
    books.pending = 1
    hand_out(books, 11, lost=2, told=2)
    books.give_up(20, 1)
    assert books.in_flight == 1
    assert (books.acked, books.position, books.lost, books.untold, books.to_tell) == (19, 19, 1, 3, 1)


def test_what_lies_behind_the_cursor_is_not_moved_back() -> None:
    books = consumer()
    books.begin(CursorPosition(1, 10, 0), 0)
    books.give_up(5, 0)
    assert figures(books) == (10, 10, 0, 0, 0)


# ---- the file


def test_a_cursor_that_cannot_be_written_is_written_when_it_can() -> None:
    cursor = Cursor()
    books = consumer(cursor)
    books.begin(CursorPosition(1, 10, 0), 0)
    cursor.refuses = True
    books.ack(hand_out(books, 11))
    assert (cursor.saved, books.delivered) == ([], 1)
    cursor.refuses = False
    books.save()
    books.save()
    assert cursor.saved == [(11, 0)]


def test_a_cursor_that_is_not_open_yet_is_not_written() -> None:
    cursor = Cursor(ready=False)
    books = consumer(cursor)
    books.miss(2)
    assert cursor.saved == []
    cursor.ready = True
    books.save()
    assert cursor.saved == [(0, 2)]


def cursor_file(folder: Path) -> CursorFile:
    return CursorFile(Disk(), folder, "mqtt")


def test_there_is_no_cursor_before_one_was_made(tmp_path: Path) -> None:
    file = cursor_file(tmp_path)
    assert file.load() is None
    assert not file.ready
    file.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_was_saved_last_is_read(tmp_path: Path) -> None:
    before = open_files()
    file = cursor_file(tmp_path)
    file.create(CursorPosition(5, 0, 0))
    assert file.ready and not file.dirty
    for acked in range(1, 6):
        file.save(CursorPosition(5, acked, 2 * acked))
        assert file.dirty
        again = cursor_file(tmp_path)
        assert again.load() == CursorPosition(5, acked, 2 * acked)
        assert not again.dirty
        again.close()
    file.sync()
    assert not file.dirty
    file.save(CursorPosition(5, 6, 0))
    fd = file.sync_fd()  # whoever takes it syncs
    assert not file.dirty
    os.close(fd)
    file.close()
    assert not file.ready
    assert open_files() == before
    assert file.path == tmp_path / "mqtt.cursor"
    assert file.path.stat().st_size == 8_192


@pytest.mark.parametrize("saves", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("place", [0, 4_096])
def test_with_one_place_torn_the_other_counts(saves: int, place: int, tmp_path: Path) -> None:
    """Two saves are made with the file: so the third, fifth ... lie at 4096 and the even ones at 0."""
    file = cursor_file(tmp_path)
    file.create(CursorPosition(5, 0, 0))
    for acked in range(1, saves + 1):
        file.save(CursorPosition(5, acked, 0))
    file.close()
    with file.path.open("r+b") as torn:
        torn.seek(place + 16)
        torn.write(b"\xff" * 4)
    newest_torn = place == (4_096 if saves % 2 else 0)
    again = cursor_file(tmp_path)
    assert again.load() == CursorPosition(5, max(0, saves - 1) if newest_torn else saves, 0)
    again.save(CursorPosition(5, 99, 0))  # over the torn one
    again.close()
    last = cursor_file(tmp_path)
    assert last.load() == CursorPosition(5, 99, 0)
    last.close()


def test_with_both_places_torn_everything_is_delivered_again_under_a_new_identity(tmp_path: Path) -> None:
    (tmp_path / "mqtt.cursor").write_bytes(b"torn")
    file = cursor_file(tmp_path)
    found = file.load()
    assert found is not None and (found.acked, found.untold) == (0, 0) and found.identity > 0
    file.close()


class FailingDisk(Disk):
    """Makes a file and then refuses to sync it."""

    def sync(self, fd: int) -> None:
        raise OSError(errno.EIO, "no")


def test_a_cursor_that_cannot_be_made_whole_is_not_there(tmp_path: Path) -> None:
    before = open_files()
    file = CursorFile(FailingDisk(), tmp_path, "mqtt")
    with pytest.raises(OSError):
        file.create(CursorPosition(5, 0, 0))
    assert not file.ready
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_an_identity_is_never_nothing_and_never_the_same() -> None:
    identities = {new_identity() for _ in range(1_000)}
    assert len(identities) == 1_000
    assert all(0 < identity < 1 << 63 for identity in identities)

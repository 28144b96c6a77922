"""What the machine gives: small files that are replaced whole, and read without waiting and within bounds."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from galago_edge.contract.errors import CallerError, GalagoError, LinkError, Reason
from galago_edge.host.file_replacement import Durable, FileEffects, replace_file, replacement, write_new
from galago_edge.host.small_file import NotPlainError, TooLongError, read_small
from galago_edge.host.toml_file import TOML_LIMIT_BYTES, load_toml

STEPS = {
    Durable.NO: ["create", "write", "close", "rename"],
    Durable.WHOLE: ["create", "write", "fsync", "close", "rename"],
    Durable.LASTING: ["create", "write", "fsync", "close", "rename", "fsync_dir"],
}


class Failing(FileEffects):
    """Writes down what is done, and fails at the step that it is told to."""

    def __init__(self, at: str = "", error: int = errno.EIO) -> None:
        self.log: list[str] = []
        for name in ("create", "write", "chmod", "fsync", "close", "rename", "unlink", "fsync_dir"):
            setattr(self, name, self._noted(name, getattr(self, name), at, error))

    def _noted(self, name: str, real: Callable[..., object], at: str, error: int) -> Callable[..., object]:
        def call(*args: object) -> object:
            self.log.append(name)
            if name != at:
                return real(*args)
            if name == "close":
                real(*args)  # as Linux does: the descriptor is gone in any case
            raise OSError(error, os.strerror(error))

        return call


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "note"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("durable", Durable)
def test_each_promise_takes_its_steps_in_their_order(path: Path, durable: Durable) -> None:
    effects = Failing()
    replace_file(path, b"new", durable=durable, effects=effects)
    assert effects.log == STEPS[durable]
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", STEPS[Durable.LASTING])
def test_a_disk_that_refuses_any_step_leaves_a_whole_file_and_nothing_beside_it(
    path: Path, step: str
) -> None:
    with pytest.raises(OSError, match="Input/output"):
        replace_file(path, b"new", durable=Durable.LASTING, effects=Failing(step))
    assert path.read_bytes() == (b"new" if step == "fsync_dir" else b"old")
    assert list(path.parent.iterdir()) == [path]


def test_the_new_file_has_the_mode_that_is_asked_for_before_it_is_seen(path: Path) -> None:
    effects = Failing()
    replace_file(path, b"new", durable=Durable.WHOLE, mode=0o640, effects=effects)
    assert path.stat().st_mode & 0o777 == 0o640
    assert effects.log == ["create", "write", "chmod", "fsync", "close", "rename"]


def test_without_a_mode_it_has_what_any_new_file_gets(path: Path) -> None:
    (path.parent / "any").touch()
    replace_file(path, b"new", durable=Durable.NO)
    assert path.stat().st_mode == (path.parent / "any").stat().st_mode


def test_a_file_that_was_not_there_is_made_and_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    replace_file(tmp_path / "first", b"new", durable=Durable.LASTING)
    assert (tmp_path / "first").read_bytes() == b"new"
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "no" / "first", b"new", durable=Durable.NO)


def test_what_a_killed_process_left_under_the_temporary_name_is_no_obstacle(path: Path) -> None:
    left = path.with_name(".note.part")
    left.write_bytes(b"half of something longer")
    replace_file(path, b"new", durable=Durable.NO, temporary=left)
    assert path.read_bytes() == b"new" and not left.exists()


def test_a_link_under_the_temporary_name_is_removed_and_not_followed(path: Path) -> None:
    victim, left = path.parent / "victim", path.with_name(".note.part")
    victim.write_bytes(b"mine")
    left.symlink_to(victim)
    replace_file(path, b"new", durable=Durable.NO, temporary=left)
    assert path.read_bytes() == b"new" and not path.is_symlink() and victim.read_bytes() == b"mine"


def test_a_block_that_fails_or_is_interrupted_leaves_the_old_file(path: Path) -> None:
    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure), replacement(path, durable=Durable.WHOLE) as new:
            write_new(new, b"new", synced=True)
            raise failure
        assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_what_the_block_wrote_can_be_looked_at_before_it_counts(path: Path) -> None:
    with replacement(path, durable=Durable.WHOLE) as new:
        write_new(new, b"new", synced=True)
        assert (new.read_bytes(), path.read_bytes()) == (b"new", b"old")
    assert path.read_bytes() == b"new"


# reading


def test_a_small_file_is_read_up_to_its_limit_and_not_beyond(path: Path) -> None:
    assert read_small(path, 3) == b"old"
    with pytest.raises(TooLongError, match=r"^3 bytes, at most 2 are allowed$"):
        read_small(path, 2)


def test_a_file_that_hides_its_length_is_still_bounded() -> None:
    """What /proc shows says that it has no bytes."""
    assert read_small(Path("/proc/version"), 65_536).startswith(b"Linux")
    with pytest.raises(TooLongError, match="more than 4 bytes"):
        read_small(Path("/proc/version"), 4)


def test_what_is_no_plain_file_is_refused_and_its_descriptor_given_back(path: Path) -> None:
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(NotPlainError):
            read_small(pipe, 10)
        with pytest.raises(IsADirectoryError):
            read_small(path.parent, 10)
    with pytest.raises(NotPlainError):
        read_small(Path("/dev/zero"), 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class Table(msgspec.Struct, forbid_unknown_fields=True):
    answer: int


def load_error(path: Path) -> GalagoError:
    with pytest.raises(GalagoError) as caught:
        load_toml(path, Table, docs="docs/keys.md")
    return caught.value


def test_a_table_is_read_checked_and_may_be_edited_before(path: Path) -> None:
    path.write_bytes(b"answer = 42\n")
    assert load_toml(path, Table) == Table(42)
    assert load_toml(path, Table, edit=lambda table: {"answer": table["answer"] + 1}) == Table(43)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"answer = ", "Invalid value"),
        (b"answer = 'x'", "answer: expected a whole number, got a text"),
        (b"other = 1", "no table or setting 'other'"),
        (b"\xff", "codec"),
    ],
    ids=["no TOML", "another type", "unknown key", "no text"],
)
def test_what_is_no_such_table_names_the_file_and_the_key(path: Path, content: bytes, text: str) -> None:
    path.write_bytes(content)
    error = load_error(path)
    assert isinstance(error, CallerError) and error.reason == Reason.CONFIG_BAD
    assert str(path) in str(error) and text in str(error) and error.hint == "see docs/keys.md for every key"


def test_a_table_that_is_a_pipe_a_terabyte_or_absent_is_told_at_once(path: Path) -> None:
    pipe, huge = path.with_name("pipe"), path.with_name("huge")
    os.mkfifo(pipe)
    huge.touch()
    os.truncate(huge, 1 << 40)
    for broken, text in (
        (pipe, "is no plain file, a TOML file is needed"),
        (huge, f"has {1 << 40} bytes, at most {TOML_LIMIT_BYTES} are allowed"),
        (path.with_name("absent"), "does not exist"),
    ):
        error = load_error(broken)
        assert (error.reason, str(error)) == (Reason.CONFIG_BAD, f"{broken} {text}")


def test_a_folder_where_a_table_should_be_is_the_disks_error(path: Path) -> None:
    error = load_error(path.parent)
    assert isinstance(error, LinkError) and str(error) == f"could not read {path.parent}: Is a directory"

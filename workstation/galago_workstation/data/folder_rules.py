"""What the keys of ``[data]`` for folders must not say together."""

from __future__ import annotations

import re
from typing import Protocol

from galago_edge.contract.errors import CallerError, Reason

_GROUP_KEYS = ("validation_groups", "test_groups")


class FolderSettings(Protocol):
    """The table ``[data]`` of the kinds ``images`` and ``audio``, as far as it is checked here."""

    @property
    def folder(self) -> str | None:
        """Of class folders."""
        ...

    @property
    def manifest(self) -> str | None:
        """A table of samples."""
        ...

    @property
    def test_folder(self) -> str | None:
        """Official test set."""
        ...

    @property
    def validation_folder(self) -> str | None:
        """Official validation set."""
        ...

    @property
    def group(self) -> str | None:
        """Regular expression with one capture."""
        ...

    @property
    def validation_groups(self) -> tuple[str, ...]:
        """Groups that are the validation part."""
        ...

    @property
    def test_groups(self) -> tuple[str, ...]:
        """Groups that are the test part."""
        ...


def check_folders(data: FolderSettings) -> None:
    """Refuse a table ``[data]`` whose keys contradict each other.

    Raises:
        CallerError: CONFIG_BAD.
    """
    if (data.folder is None) == (data.manifest is None):
        found = "neither folder nor manifest" if data.folder is None else "folder and manifest"
        raise bad_setting(f"[data] has {found}", "give one of the two")
    if data.manifest is not None:
        empty = type(data)()
        for key in ("test_folder", "validation_folder", "pattern", "ignore", "group", *_GROUP_KEYS):
            if getattr(data, key) != getattr(empty, key):
                raise bad_setting(
                    f"[data] has manifest and {key}", "the manifest's columns group and part say it"
                )
    if data.group is not None:
        _check_group(data.group)
    for part, groups, folder in (
        ("validation", data.validation_groups, data.validation_folder),
        ("test", data.test_groups, data.test_folder),
    ):
        if groups and data.group is None:
            raise bad_setting(f"[data] {part}_groups needs group", "group says what of a path is the group")
        if groups and folder is not None:
            raise bad_setting(f"[data] has {part}_groups and {part}_folder", "give one of the two")
    if both := sorted(set(data.validation_groups) & set(data.test_groups)):
        raise bad_setting(
            f"[data] names {both[0]!r} in validation_groups and in test_groups", "give it one part"
        )


def _check_group(pattern: str) -> None:
    try:
        captures = re.compile(pattern).groups
    except re.error as error:
        raise bad_setting(
            f"[data] group is not a regular expression: {error}", "example: '^([^_]+)_'"
        ) from None
    if captures != 1:
        raise bad_setting(f"[data] group has {captures} captures, expected one", "example: '^([^_]+)_'")


def bad_setting(message: str, hint: str) -> CallerError:
    """Return the error about two settings that cannot stand together."""
    return CallerError(Reason.CONFIG_BAD, message, hint=hint)

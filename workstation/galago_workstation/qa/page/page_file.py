"""A page on a disk: one file that holds everything, or a folder whose media lie beside it.

A path that ends in ``.html`` is one file, with at most ``MOST_MEDIA_BYTES`` of sounds and pictures in it; any
other is a folder with ``index.html`` and ``media/``. Neither loads anything from elsewhere: the page's policy
for its content (CSP) forbids it, and allows its own script and style by their hashes only.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import CallerError, Reason, disk_error
from galago_workstation.files import new_folder, refuse_folder_place, write_bytes
from galago_workstation.qa.page.offline_page import OfflinePage, page_part
from galago_workstation.qa.page.page_content import SCHEMA, PageContent
from galago_workstation.qa.page.page_making import MadePage
from galago_workstation.qa.written_folders import PAGE_MARK as MARK

MOST_MEDIA_BYTES = 24 << 20
"""In one file; a third more as base64."""
INDEX, MEDIA = "index.html", "media"
_GENERATOR = f'<meta name="generator" content="{SCHEMA}">'
_HEAD_BYTES = 1_024
_TOO_LARGE = "no room in one file: give --html a folder, a path without .html"


class _Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder of a page says of itself."""

    schema: str
    media: tuple[str, ...]
    """Files in its folder of media."""


def is_file_path(path: Path) -> bool:
    """Tell whether a page at ``path`` is one file."""
    return path.suffix.lower() in (".html", ".htm")


def check_page_path(path: Path) -> None:
    """Refuse a path at which something lies that is no former page: before hours of replaying.

    Raises:
        CallerError: EXISTS.
        LinkError: It cannot be read.
    """
    refuse_folder_place(path)
    try:
        if not path.exists():
            return
        if is_file_path(path):
            former = path.is_file() and _is_page(path)
        else:
            former = path.is_dir() and (not any(path.iterdir()) or _is_page_alone(path))
    except OSError as error:
        raise disk_error(error, f"read {path}") from error
    if not former:
        raise CallerError(
            Reason.EXISTS,
            f"{path} exists and is no page of galago qa, or holds something else, too",
            hint="choose another --html PATH.html, or the name of a new folder, or move this one away",
        )


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(_HEAD_BYTES)


def _is_page_alone(folder: Path) -> bool:
    """Tell whether a folder holds a page, and nothing that the page did not bring."""
    try:
        mark = from_json((folder / MARK).read_bytes(), type=_Mark)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
    here = {entry.name for entry in folder.iterdir()}
    media = {entry.name for entry in (folder / MEDIA).iterdir()} if (folder / MEDIA).is_dir() else set()
    return here <= {MARK, INDEX, MEDIA} and media <= set(mark.media)


def write_page(path: Path, page: MadePage) -> PageContent:
    """Write a page in one step, in the place of a former one; return what stands in it.

    In one file, events whose sound or pictures have no room any more say so.

    Raises:
        CallerError: EXISTS; as :func:`check_page_path`.
        LinkError: The disk refuses; what was there is untouched.
    """
    check_page_path(path)
    if is_file_path(path):
        content, media = _fitting(page)
        write_bytes(path, render(content, media))
        return content
    with new_folder(path, mark=MARK) as folder:
        (folder / MEDIA).mkdir()
        for name, data in page.media.items():
            (folder / MEDIA / name).write_bytes(data)
        (folder / INDEX).write_bytes(render(page.content, None))
        mark = _Mark(schema=SCHEMA, media=tuple(page.media))
        (folder / MARK).write_bytes(msgspec.json.encode(mark) + b"\n")
    return page.content


def _fitting(page: MadePage) -> tuple[PageContent, dict[str, bytes]]:
    """Return the page with as many media as have room, in the order of its events."""
    left, events = MOST_MEDIA_BYTES, []
    media: dict[str, bytes] = {}
    for event in page.content.events:
        names = [] if event.media is None else [event.media.file] * bool(event.media.file)
        names += [] if event.media is None else [one.file for one in event.media.pictures]
        size = sum(len(page.media[name]) for name in names)
        if size > left:
            event = msgspec.structs.replace(event, media=None, without=_TOO_LARGE)
        else:
            left -= size
            media |= {name: page.media[name] for name in names}
        events.append(event)
    dropped = sum(event.without == _TOO_LARGE for event in events)
    text = page.content.media_text + (f"; for {dropped} there was {_TOO_LARGE}" if dropped else "")
    return msgspec.structs.replace(page.content, events=tuple(events), media_text=text), media


def render(content: PageContent, media: dict[str, bytes] | None) -> bytes:
    """Return the page. ``media``: what it holds itself; None: it is in a folder beside it.

    Nothing of ``content`` becomes markup here: it stands in the page as JSON in which no ``<`` is left.
    """
    page = OfflinePage(
        template=page_part("qa_page.html"),
        styles=(page_part("qa_page.css"),),
        scripts=(page_part("qa_elements.js"), page_part("qa_page.js")),
        generator=_GENERATOR,
    )
    return page.filled(content, media)

"""``--html`` of ``galago qa diff`` and ``galago qa score``: the page, written beside the answer."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from galago_edge.commands.cli import say
from galago_edge.commands.options import PATH
from galago_edge.contract.count_words import count_of, noun_of
from galago_edge.contract.errors import CallerError, Reason
from galago_workstation.commands.qa_runs import Replaying

if TYPE_CHECKING:
    from galago_workstation.qa.page.page_events import PageWish
    from galago_workstation.qa.page.page_making import MadePage

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class WantedPage:
    """The page that somebody asked for, or none."""

    path: Path | None
    events: int | None

    def files(self) -> dict[str, Path | None]:
        """Return the file that it shall be, by its option, for ``check_outputs``."""
        return {"--html": self.path if self.path is not None and self._is_file() else None}

    def folders(self) -> dict[str, Path | None]:
        """Return the folder that it shall be, as :meth:`files`."""
        return {"--html": None if self.path is None or self._is_file() else self.path}

    def _is_file(self) -> bool:
        from galago_workstation.qa.page.page_file import is_file_path

        return self.path is not None and is_file_path(self.path)

    def check(self) -> None:
        """Refuse what cannot be written, before hours of replaying.

        Raises:
            CallerError: EXISTS; something else lies there. USAGE; ``--page-events`` without a page.
            LinkError: The path cannot be read.
        """
        if self.path is None:
            if self.events is not None:
                text = "--page-events is about a page, and none is asked for"
                raise CallerError(Reason.USAGE, text, hint="give --html PATH, or leave it out")
            return
        from galago_workstation.qa.page.page_file import check_page_path

        check_page_path(self.path)

    def write(self, make: Callable[[PageWish], MadePage], replaying: Replaying) -> None:
        """Make and write it, and say where it is.

        Raises:
            GalagoError: As ``write_page`` and ``make``.
        """
        if self.path is None:
            return
        from galago_workstation.progress_lines import command_report
        from galago_workstation.qa.page.page_events import PAGE_EVENTS, PageWish
        from galago_workstation.qa.page.page_file import INDEX, is_file_path, write_page

        wish = PageWish(
            at=datetime.datetime.now(datetime.UTC),
            report=command_report(replaying.note, as_json=replaying.as_json),
            places=replaying.places,
            media_events=PAGE_EVENTS if self.events is None else self.events,
        )
        content = write_page(self.path, make(wish))
        place = self.path if is_file_path(self.path) else self.path / INDEX
        more, are = content.more_events, noun_of(content.more_events, "is", "are")
        unlisted = f"; {count_of(more, 'event')} {are} not listed" if more else ""
        say(f"page: {place} ({content.media_text}{unlisted})", err=True)


def page_options(command: F) -> F:
    """Add the options of a page; the command gets what is wanted as ``page``."""

    @functools.wraps(command)
    def with_page(*args: Any, html: Path | None, page_events: int | None, **options: Any) -> Any:
        return command(*args, page=WantedPage(html, page_events), **options)

    events = click.option(
        "--page-events",
        type=click.IntRange(0, 10_000),
        metavar="N",
        help="So many events of the page have their sound or pictures.  [default: 40]",
    )
    html = click.option(
        "--html",
        type=PATH,
        metavar="PATH",
        help="Write a page to look at and listen to what differs, which needs no network. PATH.html is one"
        " file, with up to 24 MiB of sounds and pictures; any other PATH is a folder, index.html in it.",
    )
    return cast("F", html(events(with_page)))

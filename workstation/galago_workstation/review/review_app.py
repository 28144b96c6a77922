"""What the review page answers: a WSGI application for one person on this computer.

==========================  ==================================================================
``/?token=TOKEN``           gives the browser its cookie; everything else wants that
``/``                       the page, one HTML file that loads nothing from elsewhere
``/api/review``             ``ShownReview`` as JSON
``/media/N.jpg``            sample N as a picture, a sound as its spectrogram; ``/media/N.wav``
``/context/N/I.jpg``        picture I around sample N; ``.wav``: the sound around it
``POST /api/answer``        ``{"number", "sha256", "label"}``, label null for what is of no use
``POST /api/undo``          takes the last answer back
==========================  ==================================================================

Who may: this computer alone, as the device's status page has it. The address must be a number or localhost,
so no web site can let its own name lead here. Everybody needs the token, which only the terminal shows, so
neither another user of the computer nor another page can ask. What changes something must come from the page
itself by its ``Origin``: a cookie alone is sent by pages of other ports of this computer, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from galago_edge.contract.decoding import from_json
from galago_edge.contract.errors import GalagoError
from galago_edge.contract.settings import PageSettings
from galago_edge.service.page.access import Access
from galago_edge.service.page.web_answer import (
    HTML,
    NO_FRAMES,
    Environ,
    StartResponse,
    WebAnswer,
    body_of,
    content_policy,
    let_in,
    not_allowed,
    query_fields,
    text_answer,
)
from galago_workstation.qa.page.offline_page import page_part
from galago_workstation.review.review_session import ReviewChange, ReviewSession

_JSON = "application/json"
_MEDIA = re.compile(r"/media/([0-9]{1,9})\.(jpg|wav)")
_CONTEXT = re.compile(r"/context/([0-9]{1,9})/([0-9]{1,3})\.(jpg|wav)")
_TYPES = {"jpg": "image/jpeg", "wav": "audio/wav"}
_PACKAGE = "galago_workstation.review"


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of ``POST /api/answer``."""

    number: int
    sha256: str
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None


class ReviewApp:
    """The application that the server calls, from several threads at once."""

    def __init__(self, session: ReviewSession, token: str, reviewer: str) -> None:
        """Answer whoever has ``token``. ``reviewer`` is shown."""
        self._session = session
        self._reviewer = reviewer
        self._names = Access(PageSettings())  # which tells whose name an address has
        self._access = Access(PageSettings(token=token))
        self._page = review_page()
        self._policy = f"{content_policy(self._page)}; {NO_FRAMES[0]}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        try:
            answer = self._answer(environ)
        except GalagoError as error:  # of the disk, or of a sample that changed: the page shows it
            answer = _json("409 Conflict", error.as_data())
        start_response(answer.status, [*answer.all_headers(self._policy, NO_FRAMES[1]).items()])
        return [answer.body] if environ["REQUEST_METHOD"] != "HEAD" else []

    def _answer(self, environ: Environ) -> WebAnswer:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if not self._names.host_is_ours(environ.get("HTTP_HOST", "")):
            return text_answer("421 Misdirected Request", "Only localhost and numbers are answered.\n")
        if path == "/" and (given := query_fields(environ.get("QUERY_STRING", "")).get("token")):
            return let_in(self._access) if self._access.token_is_right(given[0]) else _unknown()
        if not self._access.may_see(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")):
            return _unknown()
        changes: dict[str, Callable[[Environ], WebAnswer]] = {
            "/api/answer": self._keep,
            "/api/undo": lambda _: _changed(self._session.undo()),
        }
        if path in changes:
            if method != "POST":
                return not_allowed("POST")
            if not _from_the_page(environ):
                return text_answer("403 Forbidden", "Only the page itself may ask that.\n")
            return changes[path](environ)
        if method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD")
        return self._read(path)

    def _read(self, path: str) -> WebAnswer:
        if path == "/":
            return WebAnswer("200 OK", HTML, self._page.encode())
        if path == "/api/review":
            return WebAnswer("200 OK", _JSON, msgspec.json.encode(self._session.shown(self._reviewer)))
        if (media := _MEDIA.fullmatch(path)) and int(media[1]) < len(self._session.samples):
            if media[2] == "wav" and not self._session.found.sounds:
                return _nothing()
            return self._media(self._session.samples[int(media[1])].path, media[2])
        if (around := _CONTEXT.fullmatch(path)) and int(around[1]) < len(self._session.samples):
            context = self._session.samples[int(around[1])].context
            if int(around[2]) < len(context) and context[int(around[2])].suffix == f".{around[3]}":
                return self._media(context[int(around[2])], around[3])
        return _nothing()

    def _media(self, path: Path, kind: str) -> WebAnswer:
        sight = self._session.sight
        body = sight.sound(path) if kind == "wav" else sight.picture(path)
        return WebAnswer("200 OK", _TYPES[kind], body)

    def _keep(self, environ: Environ) -> WebAnswer:
        try:
            asked = from_json(body_of(environ), type=_Asked)
        except ValueError as error:  # msgspec's, and bytes that are no UTF-8
            return text_answer("400 Bad Request", f"{error}\n")
        return _changed(self._session.answer(asked.number, asked.sha256, asked.label))


def review_page() -> str:
    """Return the page; what it shows it asks for."""
    page = page_part("review_page.html", _PACKAGE)
    style = page_part("qa_page.css") + page_part("review_page.css", _PACKAGE)
    script = page_part("qa_elements.js") + page_part("review_page.js", _PACKAGE)
    return page.replace("{{style}}", style).replace("{{script}}", script)


def _from_the_page(environ: Environ) -> bool:
    """Whether a request was made by our own page: no other one can send this origin, nor JSON unasked."""
    origin, host = urlsplit(environ.get("HTTP_ORIGIN", "")), environ.get("HTTP_HOST", "")
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    return origin.scheme == "http" and origin.netloc == host and kind == _JSON


def _changed(change: ReviewChange) -> WebAnswer:
    return WebAnswer("200 OK", _JSON, msgspec.json.encode(change))


def _json(status: str, data: object) -> WebAnswer:
    return WebAnswer(status, _JSON, msgspec.json.encode(data))


def _unknown() -> WebAnswer:
    text = "Open the address that galago data review showed in the terminal, with its token.\n"
    return text_answer("401 Unauthorized", text, {"WWW-Authenticate": "Bearer"})


def _nothing() -> WebAnswer:
    return text_answer("404 Not Found", "There is nothing here.\n")

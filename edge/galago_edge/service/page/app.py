"""What the page answers: a WSGI application without state, which reads and never changes anything.

========================  ====================================================================
``/``                     the page, one HTML file that loads nothing from elsewhere
``/api/status``           ``ServiceStatus`` as JSON
``/metrics``              the same for Prometheus
``/preview/STREAM.jpg``   the newest picture of a stream's camera, 204 while there is none
``/attachments/FILE``     the picture or sound of an event, 404 when it is no longer kept
``POST /login``           a browser gives the token and gets a cookie; ``/?token=`` does the same
========================  ====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib import resources

import msgspec

from galago_edge.contract.errors import CallerError, GalagoError, Reason
from galago_edge.contract.status import ServiceStatus
from galago_edge.service.metrics import render_metrics
from galago_edge.service.page.access import Access
from galago_edge.service.page.served_file import (
    CACHED,
    POLICY,
    OpenAttached,
    UnsatisfiableError,
    attached_part,
)
from galago_edge.service.page.web_answer import (
    HTML,
    NO_FRAMES,
    TEXT,
    Environ,
    StartResponse,
    WebAnswer,
    content_policy,
    form_fields,
    let_in,
    not_allowed,
    query_fields,
    text_answer,
)

_ANCESTOR = re.compile(
    r"'self'|https?://(\*\.)?([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5}|:\*)?"
)
_ATTACHMENTS = "/attachments/"
_JSON = "application/json"


class PageApp:
    """The application that the server calls, from several threads at once."""

    def __init__(
        self,
        access: Access,
        status: Callable[[], ServiceStatus],
        preview: Callable[[str], bytes | None],
        attached: OpenAttached,
        frame_ancestors: Sequence[str] = (),
    ) -> None:
        """Answer as ``access`` allows; see :class:`galago_edge.service.page.Page` for the rest.

        Raises:
            CallerError: CONFIG_BAD; ``frame_ancestors`` holds what a browser would not understand.
        """
        self._frames = _frame_headers(frame_ancestors)
        self._access = access
        self._status = status
        self._preview = preview
        self._attached = attached
        self._index = _asset("index.html")
        self._login = _asset("login.html")
        self._policy = f"{content_policy(self._index, self._login)}; {self._frames[0]}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        part = answer.part
        headers = answer.all_headers(self._policy, self._frames[1])
        try:
            start_response(answer.status, [*headers.items()])
            if environ["REQUEST_METHOD"] != "HEAD":
                if part is None:
                    return [answer.body]
                sent: Iterable[bytes] = environ["wsgi.file_wrapper"](part.file)
                part = None  # the server closes it
                return sent
            return []
        finally:
            if part is not None:
                part.file.close()

    def _answer(self, environ: Environ) -> WebAnswer:
        method = environ["REQUEST_METHOD"]
        # WSGI gives the path's bytes as Latin-1
        path = environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")
        if not self._access.host_is_ours(environ.get("HTTP_HOST", "")):
            return text_answer(
                "421 Misdirected Request",
                "This page answers to localhost and to IP addresses only. "
                "With a token in [page] it answers to every name.\n",
            )
        if path == "/login":
            if method != "POST":
                return not_allowed("POST")
            return self._enter(form_fields(environ).get("token", [""])[0])
        if method not in ("GET", "HEAD"):
            return not_allowed("GET, HEAD")
        if path == "/" and self._access.needs_token:
            given = query_fields(environ.get("QUERY_STRING", "")).get("token")
            if given:
                return self._enter(given[0])
        if not self._access.may_see(environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")):
            return self._ask_for_token("") if path == "/" else _unauthorized()
        return self._read(path, environ)

    def _read(self, path: str, environ: Environ) -> WebAnswer:
        if path == "/":
            return WebAnswer("200 OK", HTML, self._index.encode())
        if path == "/api/status":
            return WebAnswer("200 OK", _JSON, msgspec.json.encode(self._status()))
        if path == "/metrics":
            return self._metrics(environ.get("HTTP_ACCEPT", ""))
        if path.startswith(_ATTACHMENTS):
            return self._attachment(path.removeprefix(_ATTACHMENTS), environ)
        if path.startswith("/preview/") and path.endswith(".jpg"):
            picture = self._preview(path.removeprefix("/preview/").removesuffix(".jpg"))
            if picture is None:  # no error: browsers write one line to their console for each
                return WebAnswer("204 No Content", TEXT, b"")
            return WebAnswer("200 OK", "image/jpeg", picture)
        return text_answer("404 Not Found", "There is nothing here.\n")

    def _attachment(self, name: str, environ: Environ) -> WebAnswer:
        try:
            file = self._attached(name)
            if file is None:
                return text_answer("404 Not Found", "This picture or sound is no longer kept.\n")
            part = attached_part(file, name, _range(environ), environ.get("HTTP_IF_RANGE", ""))
        except UnsatisfiableError as error:
            return text_answer(
                "416 Range Not Satisfiable", "It ends before.\n", {"Content-Range": str(error)}
            )
        except OSError as error:  # the rest of the page works without it
            text = f"It cannot be read now: {error.strerror}\n"
            return text_answer("503 Service Unavailable", text, {"Retry-After": "5"})
        headers = {
            "Cache-Control": CACHED,
            "Content-Security-Policy": f"{POLICY}; {self._frames[0]}",
            "Accept-Ranges": "bytes",
        }
        if not part.place:
            return WebAnswer("200 OK", part.media_type, b"", headers, part)
        headers["Content-Range"] = part.place
        return WebAnswer("206 Partial Content", part.media_type, b"", headers, part)

    def _metrics(self, accept: str) -> WebAnswer:
        try:
            kind, body = render_metrics(self._status(), accept)
        except GalagoError as error:  # the extra is missing: the rest of the page works without it
            return text_answer("501 Not Implemented", f"{error}: {error.hint}\n")
        return WebAnswer("200 OK", kind, body)

    def _enter(self, token: str) -> WebAnswer:
        if not self._access.needs_token:
            return WebAnswer("303 See Other", TEXT, b"", {"Location": "./"})
        if not self._access.token_is_right(token):
            return self._ask_for_token("That is not the token of this device.")
        return let_in(self._access)

    def _ask_for_token(self, complaint: str) -> WebAnswer:
        body = self._login.replace("<!--complaint-->", escape(complaint)).encode()
        return WebAnswer("401 Unauthorized", HTML, body, {"WWW-Authenticate": "Bearer"})


def _range(environ: Environ) -> str:
    """Return the range that is asked for; only for GET it means anything."""
    asked: str = environ.get("HTTP_RANGE", "") if environ["REQUEST_METHOD"] == "GET" else ""
    return asked


def _unauthorized() -> WebAnswer:
    return text_answer(
        "401 Unauthorized",
        "This device wants its token: Authorization: Bearer TOKEN\n",
        {"WWW-Authenticate": "Bearer"},
    )


def _asset(name: str) -> str:
    return resources.files("galago_edge.service.page").joinpath(name).read_text(encoding="utf-8")


def _frame_headers(ancestors: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return what the policy says of frames, and further headers that say so to older browsers."""
    for one in ancestors:
        if not _ANCESTOR.fullmatch(one):
            raise CallerError(
                Reason.CONFIG_BAD,
                f"[page] frame_ancestors: {one!r} names no page, expected 'self' or an address like "
                "https://home.example:8123",
                hint="see docs/watching.md",
            )
    if not ancestors:
        return NO_FRAMES
    return f"frame-ancestors {' '.join(ancestors)}", {}

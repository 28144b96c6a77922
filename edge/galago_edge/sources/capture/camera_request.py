"""Asks a camera's web server: follows where it sends, gives the password where it was given, checks its
certificate, and says in words what stands in the way.
"""

from __future__ import annotations

import http.client
import math
import ssl
from http import HTTPStatus
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from galago_edge.contract.errors import CallerError, LinkError, Reason
from galago_edge.host.http_connection import (
    Deadline,
    HttpConnection,
    HttpsConnection,
    connection_to,
    request_target,
)
from galago_edge.host.tls_trust import StrangerError, TlsTrust, certificate_fault, met_fingerprint
from galago_edge.sources.capture.capture_messages import Order
from galago_edge.sources.capture.http_credentials import HttpCredentials, quoted, read_challenges

_ELSEWHERE = (301, 302, 303, 307, 308)
_MOST_REQUESTS = 8
"""Redirections, questions for a password and stale nonces together."""
_HTTPS_PORT = 443
_SHOWN = 80
"""Characters of what a server says."""

_CHECK_LOGIN = "check both; special letters are escaped within an address only, not in keys beside it"
_LOOK = "check the address, its power and the network"
_ADDRESS = "look into the camera's manual for the address of its MJPEG stream"
_WORDS: dict[int, tuple[str, str]] = {
    HTTPStatus.FORBIDDEN: ("this user may not see it", "give the user that right in the camera's settings"),
    HTTPStatus.NOT_FOUND: ("it has nothing at this path", _ADDRESS),
    HTTPStatus.GONE: ("it has nothing at this path any more", _ADDRESS),
    HTTPStatus.METHOD_NOT_ALLOWED: ("nothing can be read at this path", _ADDRESS),
    HTTPStatus.TOO_MANY_REQUESTS: ("it is asked too often", "ask more rarely: backoff_s, fps"),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "it is busy, often with too many viewers",
        "close other viewers of this camera, or restart it",
    ),
}
"""What an answer means and what to do."""


class CameraRequest:
    """Asks for one address, again if need be, over one connection if the camera keeps it."""

    def __init__(self, order: Order) -> None:
        """Take the address of ``order``, with user and password; nothing is asked yet.

        Raises:
            LinkError: SOURCE_MISSING; it is no usable address.
            CallerError: CONFIG_BAD; a certificate cannot be checked where there is none.
        """
        self._order, self._shown = order, order.shown
        self._url = self._home = self._split(order.target)
        self._login = HttpCredentials(unquote(self._url.username or ""), unquote(self._url.password or ""))
        self._trust = TlsTrust(order.ca_file, order.fingerprint)
        if self._trust != TlsTrust() and self._url.scheme != "https":
            raise CallerError(
                Reason.CONFIG_BAD,
                f"camera {self._shown} has ca_file or fingerprint, which are for https:// addresses",
                hint="camera:https://HOST/..., or leave both out",
            )
        self._deadline = Deadline()
        self._connection: HttpConnection | HttpsConnection | None = None
        self._response: http.client.HTTPResponse | None = None

    @property
    def sent_to(self) -> str | None:
        """The host that the named one sent to; None when it answers itself."""
        return None if self._at_home else self._url.hostname

    def open(self, within_s: float, *, keep: bool = False) -> http.client.HTTPResponse:
        """Return the answer whose body is what was asked for; its header is there ``within_s``.

        ``keep`` is whether there will be another request.

        Raises:
            LinkError: SOURCE_MISSING; the message says what the camera does instead.
            CallerError: CONFIG_BAD; its ``ca_file`` is none.
        """
        self._deadline.begin(within_s)
        what = ""
        for _ in range(_MOST_REQUESTS):
            response = self._ask(within_s, keep)
            if response.status == HTTPStatus.OK:
                self._login.accepted()
                return response
            try:
                what = self._learn(response)
            finally:
                self.close()
        raise self.missing(what, "open the address in a browser")

    def wait_at_most(self, seconds: float) -> None:
        """Let the answer go on for ever, but no piece of it take longer."""
        self._deadline.until, self._deadline.longest_wait_s = math.inf, seconds

    def close(self) -> None:
        """Hang up; nothing more of the answer can be read."""
        response, self._response = self._response, None
        connection, self._connection = self._connection, None
        for part in (response, connection):
            if part is not None:
                part.close()

    def missing(self, what: str, hint: str = _LOOK) -> LinkError:
        """Return the error that says ``what`` the camera does instead of answering."""
        host = self.sent_to
        by_way = f" sends to {host}, which is another host and" if host else ""
        return LinkError(Reason.SOURCE_MISSING, f"camera {self._shown}{by_way} {what}", hint=hint)

    @property
    def _at_home(self) -> bool:
        return self._url.hostname == self._home.hostname

    def _ask(self, within_s: float, keep: bool) -> http.client.HTTPResponse:
        used = self._connection is not None and self._connection.sock is not None
        try:
            return self._exchange(keep)
        except TimeoutError:
            self.close()
            raise self.missing(f"does not answer within {within_s:g} s") from None
        except ssl.SSLError as error:
            self.close()
            raise self._untrusted(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            # a connection that was kept may have been closed at any time
            if used and isinstance(error, ConnectionError | http.client.BadStatusLine):
                return self._ask(within_s, keep)
            raise self._unanswered(error) from None

    def _exchange(self, keep: bool) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        target = request_target(self._url)
        headers: dict[str, str | bytes] = {"Accept": "*/*", "User-Agent": "galago"}
        if not keep:
            headers["Connection"] = "close"
        if self._at_home and (login := self._login.header(target)) is not None:
            headers["Authorization"] = login.encode()
        self._connection.request("GET", target, headers=headers)
        self._response = self._connection.getresponse()
        return self._response

    def _connect(self) -> HttpConnection | HttpsConnection:
        try:
            return connection_to(self._url, self._deadline, self._trust)
        except OSError as error:
            raise CallerError(
                Reason.CONFIG_BAD,
                f"camera {self._shown}: ca_file {self._trust.ca_file} is no certificate: "
                f"{error.strerror or error}",
                hint="a PEM file with the certificate of the authority that signed the camera's",
            ) from None

    def _learn(self, response: http.client.HTTPResponse) -> str:
        """Take from an answer what the next request needs; return what the camera does if that never ends.

        Raises:
            LinkError: SOURCE_MISSING; no request will do.
        """
        location = response.headers.get("Location")
        if response.status in _ELSEWHERE and location:
            self._follow(location)
            return "sends from one address to the next"
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._log_in(response.headers.get_all("WWW-Authenticate") or [])
            return "lets nobody in: each answer asks for the password in a new way"
        words, hint = _WORDS.get(response.status, ("", _LOOK))
        raise self.missing(f"answers {self._status(response)}{': ' if words else ''}{words}", hint)

    def _follow(self, location: str) -> None:
        before = self._url
        try:
            self._url = self._split(urljoin(before.geturl(), location))
        except (LinkError, ValueError):
            raise self.missing("sends to what is no address", "open the address in a browser") from None
        self._login.forget()
        if before.scheme == "https" and self._url.scheme == "http":
            self._url = before
            raise self.missing(
                "sends from https:// to http://, where everybody can read and change the pictures",
                "if that is acceptable, name the http:// address itself",
            )

    def _log_in(self, headers: list[str]) -> None:
        if not self._at_home:
            raise self.missing(
                f"wants a user and a password there; those given are for {self._home.hostname} alone",
                "name the address of the other host itself",
            )
        if not self._login.known:
            raise self.missing("wants a user and a password (401)", "user and password of [source.NAME]")
        try:
            again = self._login.answer(read_challenges(headers))
        except ValueError as error:
            said = quoted(self._order, ", ".join(headers), _SHOWN)
            ways = f"{said}, {error}" if headers else f"a way it hides, {error}"
            raise self.missing(f"wants a password by {ways}", "choose another way in its settings") from None
        if not again:
            raise self.missing("refuses this user and password (401)", _CHECK_LOGIN)

    def _untrusted(self, error: ssl.SSLError) -> LinkError:
        if isinstance(error, StrangerError):
            return self.missing(
                f"shows another certificate than the one of its fingerprint: {error.args[0]}",
                "if its certificate was renewed, write the new fingerprint; if not, somebody is in between",
            )
        if not isinstance(error, ssl.SSLCertVerificationError):
            return self.missing(
                f"does not answer as TLS ({error.reason or 'no reason given'})",
                "if it knows no TLS 1.2 or only speaks http://, update it or name that address",
            )
        host = self._url.hostname or ""
        try:
            met = met_fingerprint(host, self._url.port or _HTTPS_PORT, self._deadline.wait_s())
        except OSError:
            met = ""
        return self.missing(
            f"cannot be trusted: its certificate {certificate_fault(error, host)}"
            + (f"; its SHA-256 fingerprint is {met}" if met else ""),
            "compare the fingerprint with the camera's own page; then, in its [source.NAME], "
            'fingerprint = "...", or ca_file = "..." with the authority that signed it',
        )

    def _unanswered(self, error: Exception) -> LinkError:
        if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.InvalidURL):
            return self.missing(
                f"does not answer as HTTP ({type(error).__name__})", "check the address and its port"
            )
        if isinstance(error, OSError):
            return self.missing(f"cannot be reached ({error.strerror or type(error).__name__})")
        return self._unusable()

    def _status(self, response: http.client.HTTPResponse) -> str:
        """Return number and name; the name that the standard gives, where it gives one."""
        try:
            return f"{response.status} {HTTPStatus(response.status).phrase}"
        except ValueError:
            return f"{response.status} {quoted(self._order, response.reason, _SHOWN)}"

    def _split(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) > 0:
                return parts
        except ValueError:  # its text may hold the password
            pass
        raise self._unusable()

    def _unusable(self) -> LinkError:
        return LinkError(
            Reason.SOURCE_MISSING,
            f"camera {self._shown} is no usable address",
            hint="camera:http://HOST:PORT/PATH, with user and password in its [source.NAME]; in a URL "
            "@ / ? # % of a password are %40 %2F %3F %23 %25",
        )

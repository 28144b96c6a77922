"""``[webhook]``: records as POST requests, one after the other, with an idempotency key."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding, fail, ok
from galago_edge.contract.settings import LoginTable, Seconds
from galago_edge.host.backoff import Backoff
from galago_edge.host.credentials import Secrets, login_of
from galago_edge.host.http_connection import Deadline, connection_to, request_target
from galago_edge.host.urls import server_fault
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.sink_kind import ReceiverKind, ReceiverParts

_FIRST_PAUSE_S = 1.0
_IDLE_S = 60.0
_TRIES = 5
"""A record that the server has refused so often is given up."""
_ANSWER_BYTES = 65_536
_SHOWN = 200
"""Characters of what a server says."""
"""More of an answer is not read."""
_PATIENCE_S = 300.0
"""The longest wait that a server may ask for."""
_RECORD_REFUSED = {400, 409, 413, 415, 422, 431}
"""The server does not like this record. Anything else that is no success may end by itself."""
_HOPELESS = {301, 302, 303, 307, 308, 401, 403, 404, 405, 410}
"""The address or the password is wrong: all records wait until a person has mended it."""


class WebhookSettings(LoginTable, frozen=True, kw_only=True):
    """``[webhook]``: records as POST requests. User and password are sent by Basic."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout_s: Seconds = 10.0
    backoff_max_s: Seconds = 60.0
    kinds: tuple[Literal["event", "state", "gap"], ...] = ("event",)
    """Which kinds of records are sent."""

    def __post_init__(self) -> None:
        """Refuse two logins, and a password without a user.

        Raises:
            ValueError: As said, in words.
        """
        super().__post_init__()
        if self.user and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("user and a header Authorization: say who you are in one way")


class WebhookSender(DeliveryThread):
    """Keeps one connection open. 2xx acknowledges; everything else is tried again, with growing pauses."""

    def __init__(self, settings: WebhookSettings, parts: ReceiverParts) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            CallerError: CONFIG_BAD; the address has no host, or a header cannot be one.
        """
        super().__init__(parts.name, parts.spool, Backoff(_FIRST_PAUSE_S, settings.backoff_max_s))
        self._settings = settings
        self._url = _split(settings.url)
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"galago-edge/{parts.version}",
            "Galago-Device": parts.device,
        } | settings.headers
        _check_headers(self._headers)
        self._secrets = self._secrets_with()
        self._login: dict[str, str] = {}
        self._link: http.client.HTTPConnection | None = None
        self._deadline = Deadline()
        self._refused = (0, "")
        """How often the server has refused which record."""

    def _connection(self) -> None:
        try:
            while not self._stopping:
                deliveries = self._spool.read(self.name, 1)
                if not deliveries:
                    self._bell.wait(_IDLE_S)
                elif not self._deliver(deliveries[0]):
                    return
        finally:
            self._hang_up()

    def _deliver(self, delivery: Delivery) -> bool:
        """Send one record; return whether the next one may follow at once."""
        try:
            status, reason, asked_s = self._post(delivery)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._hang_up()
            hopeless = isinstance(error, ssl.SSLCertVerificationError)
            said = self._quoted(str(error)) or type(error).__name__
            self._troubled(f"{self._url.hostname}: {said}", hopeless=hopeless)
            return False
        except CallerError as error:
            self._troubled(str(error), hopeless=True)
            return False
        if 200 <= status < 300:
            self._spool.ack(self.name, delivery.token)
            self._backoff.reset()
            self._working()
            return True
        if status == http.HTTPStatus.UNAUTHORIZED:
            self._hang_up()  # the password is read again
        answer = f"{self._url.hostname} answered {status} {self._quoted(reason)}"
        if status in _RECORD_REFUSED and self._refused_for_good(delivery):
            self._spool.ack(self.name, delivery.token, refused=True)
            self._troubled(f"{answer} to record {delivery.key} {_TRIES} times; it is given up")
            return True
        self._troubled(answer, hopeless=status in _HOPELESS)
        if asked_s:
            self._rest(asked_s)
        return False

    def _secrets_with(self, *passwords: str) -> Secrets:
        """Return what no fault may show: a server may say in its answer what it was sent."""
        return Secrets(
            self._settings.url, *passwords, *self._settings.headers.values(), *self._url.path.split("/")
        )

    def _quoted(self, said: str) -> str:
        return self._secrets.quoted(said, _SHOWN)[1:-1]

    def _refused_for_good(self, delivery: Delivery) -> bool:
        times, key = self._refused
        times = times + 1 if key == delivery.key else 1
        self._refused = (times, delivery.key)
        return times >= _TRIES

    def _post(self, delivery: Delivery) -> tuple[int, str, float]:
        """Return status, reason and the pause that the server asks for.

        Raises:
            OSError, HTTPException, ValueError: No answer, in time or at all.
            CallerError: CONFIG_BAD; the password is not there.
        """
        self._deadline.begin(self._settings.timeout_s)
        if self._link is None or self._link.sock is None:  # the server may have closed it after its answer
            login = login_of(self._settings)
            self._login = {"Authorization": login.basic()} if login.user else {}
            self._secrets = self._secrets_with(login.password, login.basic())
            self._link = connection_to(self._url, self._deadline)
        link = self._link
        link.request(
            "POST",
            request_target(self._url),
            body=delivery.line,
            headers=self._headers | self._login | {"Idempotency-Key": delivery.key},
        )
        with link.getresponse() as answer:
            answer.read(_ANSWER_BYTES)
            if not answer.isclosed():
                self._hang_up()  # more than anybody needs
            return answer.status, answer.reason, _asked_s(answer.getheader("Retry-After", ""))

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _bad(
            "url is not one: it cannot be taken apart"
        ) from None  # the error's text may hold a password
    if not host or parts.username is not None:
        raise _bad("url needs a host and takes no password; set user and password beside it")
    return parts


def _asked_s(header: str) -> float:
    """Return the seconds of a ``Retry-After``; 0 for none, or for a date, which needs a right clock."""
    return min(float(header), _PATIENCE_S) if header.isascii() and header.isdigit() else 0.0


def _check_headers(headers: dict[str, str]) -> None:
    probe = http.client.HTTPConnection("localhost")
    probe.putrequest("POST", "/")
    for name, value in headers.items():
        try:
            probe.putheader(name, value)
        except ValueError:  # UnicodeEncodeError too; its text holds the value, which may be secret
            raise _bad(f"headers: {name!r} or its value cannot be sent in a header") from None


def _bad(text: str) -> CallerError:
    return CallerError(Reason.CONFIG_BAD, f"[webhook] {text}", hint="see docs/delivery.md")


def _check(settings: WebhookSettings) -> Iterator[Finding]:
    """The server answers; nothing is posted."""
    shown = _split(settings.url).hostname  # a path may be as secret as a password
    login_of(settings)
    fault = server_fault(settings.url)
    if fault:
        yield fail("webhook", f"{shown}: {fault}", "check [webhook] url, the network and the server")
    else:
        yield ok("webhook", f"{shown}: the server answers (nothing was posted)")


def _records(settings: WebhookSettings) -> tuple[str, ...]:
    return settings.kinds


SINK = ReceiverKind(settings=WebhookSettings, build=WebhookSender, records=_records, check=_check)

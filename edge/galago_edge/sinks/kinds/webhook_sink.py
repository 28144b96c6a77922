"""``[webhook]``, ``[[webhook]]``: records as POST requests, one after the other, with an idempotency key."""

from __future__ import annotations

import http
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import msgspec

from galago_edge.contract.errors import CallerError, Reason, system_words
from galago_edge.contract.findings import Finding, fail, ok
from galago_edge.contract.settings import Fingerprint, LoginTable, Seconds
from galago_edge.host.backoff import Backoff
from galago_edge.host.credentials import Login, Secrets, login_of
from galago_edge.host.http_post import PostAnswer, PostConnection, header_fault
from galago_edge.host.tls_trust import StrangerError, TlsTrust
from galago_edge.host.urls import sendable, server_fault
from galago_edge.sinks.attached_file import Attached
from galago_edge.sinks.attempts import Attempts
from galago_edge.sinks.body_template import BodyTemplate
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_order import DeliveryOrder
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.message_formats import FORMATS, FilePost
from galago_edge.sinks.record_filter import RecordFilter, filter_of
from galago_edge.sinks.sink_kind import ReceiverKind, ReceiverName, ReceiverParts, receiver_name

_FIRST_PAUSE_S = 1.0
_IDLE_S = 30.0
"""A connection that was not used for so long is ended: what lies between forgets it without a word."""
_TRIES = 5
"""A record that the server has refused so often is given up."""
_PATIENCE_S = 300.0
"""The longest wait that a server may ask for."""
_RECORD_REFUSED = {400, 409, 413, 415, 422, 431}
"""The server does not like this record. Anything else that is no success may end by itself."""
_HOPELESS = {301, 302, 303, 307, 308, 401, 403, 404, 405, 410}
"""The address or the password is wrong: all records wait until a person has mended it."""
_SLOWEST_BYTES_S = 16_384
"""A request with a file may take longer: what it takes at this pace."""
_SAID = 200
"""Characters of what a server says that are shown."""
_JSON = "application/json"
_OURS = ("content-length", "transfer-encoding", "idempotency-key")
"""Headers that nobody else may set: the request would not be one any more, or the promise not be kept."""


class WebhookSettings(LoginTable, frozen=True, kw_only=True):
    """``[webhook]``: records as POST requests. User and password are sent by Basic."""

    name: ReceiverName = ""
    """Of one among several: ``webhook.NAME`` in the status and in the spool."""
    url: Annotated[
        str, msgspec.Meta(pattern=r"^https?://", description="a URL that begins with http:// or https://")
    ]
    ca_file: str = ""
    """PEM file of the authorities that may have signed the server's certificate; empty: the system's."""
    fingerprint: Fingerprint = ""
    """The one certificate that the server may show, whoever signed it, whatever its names and dates."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout_s: Seconds = 10.0
    backoff_max_s: Seconds = 60.0
    kinds: tuple[Literal["event", "state", "gap", "attachment"], ...] = ("event",)
    """Which kinds of records are sent."""
    attachments: bool = False
    """Pictures and sounds too, as if ``kinds`` named ``attachment``."""
    streams: tuple[str, ...] = ()
    """Of these streams alone; empty: of all."""
    labels: tuple[str, ...] = ()
    """About these labels alone; empty: about all."""
    format: Literal["galago", "ntfy", "discord", "slack", "telegram", "home-assistant"] = "galago"
    """What the body is like: the record itself, or what a service wants."""
    to: str = ""
    """The topic of ``ntfy``, the chat of ``telegram``."""
    body: str = ""
    """A template of one's own instead: :mod:`galago_edge.sinks.body_template`."""

    def __post_init__(self) -> None:
        """Refuse two logins, a password without a user, two forms of the body, and files in one of text.

        Raises:
            ValueError: As said, in words.
        """
        super().__post_init__()
        if self.user and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("user and a header Authorization: say who you are in one way")
        if self.body and self.format != "galago":
            raise ValueError("format and body: say in one way what is sent")
        if self.wants_attachments and self.body:
            raise ValueError("attachments: a body of one's own is text alone; send them by another webhook")
        if self.wants_attachments and FORMATS[self.format].file is None:
            raise ValueError(f"attachments: format {self.format} takes no files; leave them out")

    @property
    def wants_attachments(self) -> bool:
        """Tell whether pictures and sounds are sent."""
        return self.attachments or "attachment" in self.kinds


class WebhookSender(DeliveryThread):
    """Keeps one connection open. 2xx acknowledges; everything else is tried again, with growing pauses."""

    def __init__(self, settings: WebhookSettings, parts: ReceiverParts) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            CallerError: CONFIG_BAD; nothing can ever be sent to the address, or in that form.
        """
        super().__init__(
            parts.name, parts.spool, Backoff(_FIRST_PAUSE_S, settings.backoff_max_s), parts.attachments
        )
        self._settings = settings
        self._request = _Request(settings, parts.device, parts.version)
        self._host = self._request.url.hostname
        self._link = PostConnection(self._request.url, self._request.trust)
        self._login = Login("", "")
        self._attempts = Attempts(_TRIES)
        self._attached = parts.attached
        self._order = DeliveryOrder(parts.spool, parts.name, beside=parts.attachments, tries=_TRIES)
        self._file_backoff = Backoff(_FIRST_PAUSE_S, settings.backoff_max_s)
        self._working()  # nothing speaks against it yet

    def _connection(self) -> None:
        self._order.begin()
        try:
            while not self._stopping:
                delivery = self._order.next()
                if delivery is None:
                    self._wait()
                elif not self._deliver(delivery):
                    return
        finally:
            self._link.close()

    def _wait(self) -> None:
        began = time.monotonic()
        self._bell.wait(min(_IDLE_S, self._order.pause_s or _IDLE_S))
        if time.monotonic() - began >= _IDLE_S:
            self._link.close()

    def _deliver(self, delivery: Delivery) -> bool:
        """Send one record; return whether the next one may follow at once."""
        attached = self._attached.of(delivery)
        try:
            answer = self._post(attached.delivery if attached else delivery, attached)
        except OSError as error:
            hopeless = isinstance(error, ssl.SSLCertVerificationError | StrangerError)
            if isinstance(error, StrangerError):
                said = f"shows another certificate than the one of its fingerprint: {error.args[0]}"
            else:
                said = self._shown(system_words(error))
            self._troubled(f"{self._host}: {said}", hopeless=hopeless)
            return attached is not None and self._later(delivery, 0.0, reached=self._link.reached)
        except CallerError as error:
            self._troubled(str(error), hopeless=True)
            return False
        if 200 <= answer.status < 300:
            self._order.done(delivery, refused=attached is not None and attached.content is None)
            (self._file_backoff if attached else self._backoff).reset()
            self._working()
            return True
        return self._disliked(delivery, answer, file=attached is not None)

    def _disliked(self, delivery: Delivery, answer: PostAnswer, *, file: bool) -> bool:
        """Take an answer that is no success; return whether the next record may follow at once."""
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            self._link.close()  # the password is read again
        told = f"{self._host} answered {answer.status} {self._shown(answer.reason)}".rstrip()
        if file:
            self._troubled(told)
            refused = answer.status in _RECORD_REFUSED
            return self._later(delivery, min(answer.pause_s, _PATIENCE_S), refused=refused)
        if answer.status in _RECORD_REFUSED and self._attempts.last(delivery.key):
            self._order.done(delivery, refused=True)
            self._troubled(f"{told} to record {delivery.key} {_TRIES} times; it is given up")
            return True
        self._troubled(told, hopeless=answer.status in _HOPELESS)
        if answer.pause_s:
            self._rest(min(answer.pause_s, _PATIENCE_S))
        return False

    def _later(
        self, delivery: Delivery, pause_s: float, *, refused: bool = False, reached: bool = True
    ) -> bool:
        """Let an attachment wait, or give it up, and everything else go on; return True."""
        pause_s = max(pause_s, self._file_backoff.pause_s())
        if self._order.failed(delivery, pause_s, refused=refused, reached=reached):
            self._file_backoff.reset()
            self._troubled(f"{self._fault}; record {delivery.key} was tried {_TRIES} times and is given up")
        return True

    def _post(self, delivery: Delivery, attached: Attached | None) -> PostAnswer:
        """Return what the server says.

        Raises:
            OSError: No answer, in time or at all.
            CallerError: CONFIG_BAD; the password is not there.
        """
        if self._link.fresh:
            self._login = login_of(self._settings)
        login = {"Authorization": self._login.basic()} if self._login.user else {}
        headers = self._request.headers | login | {"Idempotency-Key": delivery.key}
        timeout_s = self._settings.timeout_s
        if attached is None or attached.content is None:
            return self._link.post(self._request.body(delivery), headers, timeout_s)
        post = self._request.with_file(attached)
        own = {name.lower() for name in post.headers}
        headers = {name: value for name, value in headers.items() if name.lower() not in own}
        send_s = len(post.body) / _SLOWEST_BYTES_S
        return self._link.post(
            post.body, {**headers, **post.headers}, timeout_s, path=post.path, send_s=send_s
        )

    def _shown(self, said: str) -> str:
        """Return what somebody said, without what we told him: servers repeat tokens and passwords."""
        ours = [self._login.password, self._login.basic(), self._settings.to]
        for value in self._settings.headers.values():
            ours += [value, *value.split()[1:]]  # Bearer TOKEN
        ours += self._request.url.path.split("/")
        return Secrets(self._settings.url, *ours).quoted(said, _SAID)[1:-1]


class _Request:
    """What every request of one webhook has in common, found to be sendable."""

    def __init__(self, settings: WebhookSettings, device: str, version: str) -> None:
        """Look at the settings.

        Raises:
            CallerError: CONFIG_BAD; nothing can ever be sent like this.
        """
        self._name = receiver_name("webhook", settings)
        self._device = device
        self._to = settings.to
        try:
            self.url = sendable(settings.url)
        except ValueError as error:
            raise self._bad(f"url {error}") from None
        self.trust = self._checked_trust(TlsTrust(settings.ca_file, settings.fingerprint))
        self._format = FORMATS[settings.format]
        if fault := self._format.fault(self.url, settings.to):
            raise self._bad(f"format {settings.format} {fault}")
        self.headers = self._checked(settings.headers, version)
        self.body: Callable[[Delivery], bytes] = self._ready_made
        if settings.body:
            self._template = self._checked_template(settings.body)
            self.body = lambda delivery: self._template.body(device, delivery)

    def with_file(self, attached: Attached) -> FilePost:
        """Return the request that carries a file; the settings have made sure that the format takes some."""
        assert self._format.file is not None
        return self._format.file(self._device, self._to, attached, self.url.path)

    def _ready_made(self, delivery: Delivery) -> bytes:
        return self._format.body(self._device, self._to, delivery)

    def _checked_trust(self, trust: TlsTrust) -> TlsTrust:
        if self.url.scheme != "https" and trust != TlsTrust():
            raise self._bad("ca_file and fingerprint are for https; this url encrypts nothing")
        try:
            trust.context()
        except OSError as error:
            raise self._bad(f"ca_file {trust.ca_file} is no certificate: {error.strerror or error}") from None
        return trust

    def _checked(self, given: dict[str, str], version: str) -> dict[str, str]:
        usual = {
            "Content-Type": _JSON,
            "User-Agent": f"galago-edge/{version}",
            "Galago-Device": self._device,
        }
        names = [name.lower() for name in given]
        if twice := next((name for name in given if names.count(name.lower()) > 1), ""):
            raise self._bad(f"headers: {twice!r} is there twice")
        if ours := next((name for name in given if name.lower() in _OURS), ""):
            raise self._bad(f"headers: {ours!r} is set by galago itself")
        if fault := header_fault(given):
            raise self._bad(f"headers: {fault} or its value cannot be sent in a header")
        return {name: value for name, value in usual.items() if name.lower() not in names} | given

    def _checked_template(self, text: str) -> BodyTemplate:
        kind = next(value for name, value in self.headers.items() if name.lower() == "content-type")
        try:
            return BodyTemplate(text, kind)
        except ValueError as error:
            raise self._bad(f"body {error}") from None

    def _bad(self, text: str) -> CallerError:
        return CallerError(Reason.CONFIG_BAD, f"[{self._name}] {text}", hint="see docs/delivery.md")


def _check(settings: WebhookSettings) -> Iterator[Finding]:
    """The server answers; nothing is posted."""
    name = receiver_name("webhook", settings)
    request = _Request(settings, "", "")
    shown = request.url.hostname  # a path may be as secret as a password
    login_of(settings)
    fault = server_fault(settings.url, request.trust)
    if fault:
        yield fail(name, f"{shown}: {fault}", f"check url of [{name}], the network and the server")
    else:
        yield ok(name, f"{shown}: the server answers (nothing was posted)")


def _records(settings: WebhookSettings) -> RecordFilter:
    kinds = {*settings.kinds, *(("attachment",) if settings.attachments else ())}
    return filter_of(kinds, settings.streams, settings.labels)


SINK = ReceiverKind(
    settings=WebhookSettings,
    build=WebhookSender,
    records=_records,
    check=_check,
    reads=("ca_file",),
    several=True,
    attachments_apart=True,
)

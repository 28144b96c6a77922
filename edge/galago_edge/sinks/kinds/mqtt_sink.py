"""``[mqtt]``: records to a broker, QoS 1, presence by last will, entities for Home Assistant."""

from __future__ import annotations

import contextlib
import hashlib
import select
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.contract.modality import Modality
from galago_edge.contract.settings import LoginTable, Port, Seconds
from galago_edge.host.backoff import Backoff
from galago_edge.host.credentials import Login, login_of
from galago_edge.host.extras import Extra, Library, import_extra
from galago_edge.sinks.bell import Bell
from galago_edge.sinks.broker_probe import broker_fault
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.sink_kind import ReceiverKind, ReceiverParts
from galago_edge.sinks.topics import OFFLINE, ONLINE, Described, Message, Topics

_WINDOW = 20
"""Records on their way at once."""
_ANSWER_S = 10.0
"""How long a broker may take to accept a connection or to acknowledge a message."""
_FAREWELL_S = 1.0
_STEP_MS = 1_000
"""The longest wait of one step: keep-alive is looked after so often."""
_STRIKES = 5
"""A broker that so often hangs up on one and the same record, sent alone, will never take it."""
_FIRST_PAUSE_S = 0.5


class MqttSettings(LoginTable, frozen=True, kw_only=True):
    """``[mqtt]``: records to a broker, QoS 1."""

    host: Annotated[str, msgspec.Meta(min_length=1)]
    port: Port = 1883
    username: str = ""
    """The same as ``user``."""
    tls: bool = False
    ca_file: str = ""
    """PEM file of the authority that signed the broker's certificate; the system's when empty."""
    topic: Annotated[str, msgspec.Meta(pattern=r"^[^+#\x00]{1,200}\Z")] = "galago"
    """Records go to ``TOPIC/DEVICE/STREAM/KIND``, presence to ``TOPIC/DEVICE/availability``."""
    discovery: str = "homeassistant"
    """Prefix of Home Assistant's discovery; empty for none."""
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3_600)] = 30
    backoff_max_s: Seconds = 8.0

    def __post_init__(self) -> None:
        """Refuse two users, two passwords, and one without a user.

        Raises:
            ValueError: As said, in words.
        """
        if self.user and self.username:
            raise ValueError("user and username are the same: say one of them")
        super().__post_init__()

    def _names_user(self) -> bool:
        # a password alone was always taken, and is not sent: a device must not fail to start because of it
        return bool(self.user or self.username or self.password)

    def login(self) -> Login:
        """Return who we are at the broker, with the password read now.

        Raises:
            CallerError: CONFIG_BAD; it is not there.
        """
        login = login_of(self)
        return login if login.user else replace(login, user=self.username)


class MqttSender(DeliveryThread):
    """One connection after the other. A record is acknowledged in the spool when the broker has said so."""

    def __init__(self, settings: MqttSettings, parts: ReceiverParts) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            DeviceError: EXTRA_MISSING.
            CallerError: CONFIG_BAD; ``ca_file`` is no certificate.
        """
        super().__init__(parts.name, parts.spool, Backoff(_FIRST_PAUSE_S, settings.backoff_max_s))
        self._paho = import_extra("paho.mqtt.client", "mqtt", "sending to an MQTT broker")
        self._settings = settings
        self._device = parts.device
        self._tls = _tls(settings)
        self._topics = Topics(settings.topic, parts.device, parts.version, settings.discovery)
        self._streams: dict[str, Described] = {}
        self._suspect = ""
        self._strikes = 0

    def describe(self, stream: str, modality: Modality, labels: tuple[str, ...]) -> None:
        """Learn which labels a stream can report, for Home Assistant."""
        self._streams = self._streams | {stream: Described(modality, labels)}
        self._bell.ring()

    def _connection(self) -> None:
        try:
            login = self._settings.login()
        except CallerError as error:
            self._troubled(str(error), hopeless=True)
            return
        link = _Link(
            self._paho, self._settings, self._tls, self._client_id(), login, self._topics.availability
        )
        try:
            link.open(self._bell)
            self._serve(link)
            link.say_goodbye(Message(self._topics.availability, OFFLINE, True), self._bell)
        except _LinkLostError as lost:
            self._take_acknowledged(link)
            if lost.hung_up and self._state == "ok":
                self._suspect_first(link.on_the_way())
            self._troubled(f"{self._settings.host}:{self._settings.port}: {lost}", hopeless=lost.hopeless)
        finally:
            link.close()

    def _client_id(self) -> str:
        """Return the same name after every restart, so that the broker ends what is left of the old one.

        A last will that is sent only after the new connection is there would say that we are gone. The
        device's name is in it for those that were made from one copy of an SD card. 23 characters are what
        every broker takes.
        """
        name = hashlib.sha256(f"{self._device}-{self._consumer.identity}".encode())
        return f"galago-{name.hexdigest()[:16]}"

    def _serve(self, link: _Link) -> None:
        """Deliver until told to stop."""
        link.send(None, [Message(self._topics.availability, ONLINE, True)])
        while link.waits and not self._stopping:
            link.step(self._bell)
        described, lost = None, -1
        self._working()
        while not self._stopping:
            if self._streams is not described:
                described = self._streams
                link.send(None, self._topics.of_discovery(described))
            if self._consumer.lost != lost:
                lost = self._consumer.lost
                link.send(None, [self._topics.of_lost(lost)])
            window = 1 if self._suspect else _WINDOW
            for delivery in self._spool.read(self.name, window - self._consumer.in_flight):
                self._send(link, delivery)
            link.step(self._bell)
            self._take_acknowledged(link)

    def _send(self, link: _Link, delivery: Delivery) -> None:
        if delivery.key == self._suspect and self._strikes >= _STRIKES:
            self._suspect = ""
            self._spool.ack(self.name, delivery.token, refused=True)
        else:
            link.send(delivery, self._topics.of_record(delivery.line, self._streams))

    def _take_acknowledged(self, link: _Link) -> None:
        for delivery in link.arrived():
            if delivery.key == self._suspect:
                self._suspect = ""
            self._spool.ack(self.name, delivery.token)
            self._backoff.reset()

    def _suspect_first(self, on_the_way: Sequence[Delivery]) -> None:
        """Note the record on which a broker, well until then, hung up; it is sent alone from now on."""
        if not on_the_way:
            return
        again = on_the_way[0].key == self._suspect
        self._suspect, self._strikes = on_the_way[0].key, self._strikes + 1 if again else 1


class _LinkLostError(Exception):
    """The connection is no more, or never was."""

    def __init__(self, text: str, *, hopeless: bool = False, hung_up: bool = False) -> None:
        super().__init__(text)
        self.hopeless = hopeless
        """Only a person can help."""
        self.hung_up = hung_up
        """The broker ended a connection that it had accepted."""


class _Link:
    """One connection to a broker, driven by the thread that made it."""

    def __init__(
        self,
        paho: Any,
        settings: MqttSettings,
        tls: ssl.SSLContext | None,
        client_id: str,
        login: Login,
        will: str,
    ) -> None:
        self._settings = settings
        client = self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)  # the window is ours to keep
        client.connect_timeout = _ANSWER_S
        client.will_set(will, OFFLINE, qos=1, retain=True)
        if login.user:
            client.username_pw_set(login.user, login.password or None)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._accepted = False
        self._refusal = ""
        self._end = ""
        self._messages: dict[int, tuple[float, Delivery | None]] = {}
        """By number, those without an acknowledgement: sent when, in monotonic seconds, and for what."""
        self._arrived: list[Delivery] = []
        self._retained: dict[str, bytes] = {}

    @property
    def waits(self) -> bool:
        """Tell whether the broker has something to acknowledge."""
        return bool(self._messages)

    def open(self, bell: Bell) -> None:
        """Connect and wait until the broker has accepted us.

        Raises:
            _LinkLostError: It cannot be reached, does not answer or refuses.
        """
        try:
            self._client.connect(self._settings.host, self._settings.port, self._settings.keepalive_s)
        except (OSError, ValueError) as error:
            hopeless = isinstance(error, ssl.SSLCertVerificationError)
            raise _LinkLostError(str(error) or type(error).__name__, hopeless=hopeless) from None
        deadline = time.monotonic() + _ANSWER_S
        while not self._accepted:
            if time.monotonic() > deadline:
                raise _LinkLostError(f"the broker did not answer for {_ANSWER_S:.0f} s")
            self.step(bell)

    def send(self, delivery: Delivery | None, messages: Sequence[Message]) -> None:
        """Publish the messages of one delivery, or of none. What was not sent will show in :meth:`step`."""
        for message in messages:
            if message.retain and self._retained.get(message.topic) == message.payload:
                continue  # the broker has it
            self._retained[message.topic] = message.payload
            info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
            self._messages[info.mid] = (time.monotonic(), delivery)

    def step(self, bell: Bell) -> None:
        """Read and write what there is; wait for it, or for the bell, a short while.

        Raises:
            _LinkLostError: The connection is no more, or the broker acknowledges nothing.
        """
        sock = self._client.socket()
        if sock is not None:
            wanted = select.POLLIN | (select.POLLOUT if self._client.want_write() else 0)
            poll = select.poll()
            poll.register(sock, wanted)
            poll.register(bell, select.POLLIN)
            buffered = getattr(sock, "pending", int)()  # TLS: decrypted already, so no longer in the socket
            ready = dict(poll.poll(0 if buffered else _STEP_MS))
            if bell.fileno() in ready:
                bell.silence()
            if buffered or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
                self._client.loop_read()
            if self._client.want_write():
                self._client.loop_write()
            self._client.loop_misc()
        if self._refusal:
            raise _LinkLostError(f"the broker refuses: {self._refusal}", hopeless=True)
        if self._end or self._client.socket() is None:
            raise _LinkLostError(
                f"the broker hung up: {self._end or 'connection closed'}", hung_up=self._accepted
            )
        if self._messages and time.monotonic() - next(iter(self._messages.values()))[0] > _ANSWER_S:
            raise _LinkLostError(f"the broker acknowledged nothing for {_ANSWER_S:.0f} s")

    def arrived(self) -> list[Delivery]:
        """Return the deliveries of which every message was acknowledged since the last call."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def on_the_way(self) -> list[Delivery]:
        """Return the deliveries without a full acknowledgement, in the order of sending."""
        found = [delivery for _, delivery in self._messages.values() if delivery is not None]
        return list({delivery.token: delivery for delivery in found}.values())

    def say_goodbye(self, message: Message, bell: Bell) -> None:
        """Send a last message and end the connection in order, if that is quickly done."""
        deadline = time.monotonic() + _FAREWELL_S
        with contextlib.suppress(_LinkLostError):
            self.send(None, [message])
            while self.waits and time.monotonic() < deadline:
                self.step(bell)
            self._client.disconnect()
            while self._client.want_write() and time.monotonic() < deadline:
                self.step(bell)

    def close(self) -> None:
        """Close the socket. A broker that was told nothing else sends the last will."""
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = None  # no circle, no wait for gc
        sock = client.socket()
        if sock is not None:
            sock.close()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._accepted = not reason.is_failure
        self._refusal = str(reason) if reason.is_failure else ""

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._end = str(reason)

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        _, delivery = self._messages.pop(number, (0.0, None))
        if delivery is not None and all(other is not delivery for _, other in self._messages.values()):
            self._arrived.append(delivery)


def _tls(settings: MqttSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file or None)
    except OSError as error:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"[mqtt] ca_file {settings.ca_file} is no certificate: {error.strerror or error}",
            hint="give the PEM file of the authority that signed the broker's certificate",
        ) from None


def _check(settings: MqttSettings) -> Iterator[Finding]:
    """The broker takes us."""
    where = f"{settings.host}:{settings.port}"
    fault = broker_fault(settings, settings.login())
    if settings.password and not (settings.user or settings.username):
        yield warn("mqtt", "a password without a user is not sent", "set user beside it in [mqtt]")
    if fault:
        yield fail(
            "mqtt", f"{where}: {fault}", "check [mqtt] and the broker; events wait in the spool meanwhile"
        )
    else:
        yield ok("mqtt", f"{where} takes us")


SINK = ReceiverKind(
    settings=MqttSettings,
    build=MqttSender,
    extra=Extra("mqtt", (Library("paho.mqtt.client", "paho-mqtt"),)),
    check=_check,
)

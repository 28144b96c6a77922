"""``[mqtt]``: records to a broker, QoS 1, presence by last will, entities for Home Assistant."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.contract.modality import Modality
from galago_edge.contract.records import Record
from galago_edge.contract.settings import LoginTable, Port, Seconds
from galago_edge.host.backoff import Backoff
from galago_edge.host.credentials import Login, login_of
from galago_edge.host.extras import Extra, Library, import_extra
from galago_edge.host.tls_trust import TlsTrust
from galago_edge.sinks.announcements import Announcements
from galago_edge.sinks.broker_address import PLAIN_PORT, TLS_PORT, BrokerPlace, broker_address
from galago_edge.sinks.broker_link import BrokerLink, LinkLostError
from galago_edge.sinks.broker_probe import broker_fault
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.delivery_order import DeliveryOrder
from galago_edge.sinks.delivery_thread import DeliveryThread
from galago_edge.sinks.present_state import PresentState
from galago_edge.sinks.sink_kind import SPOOLED_KINDS, USUAL_KINDS, ReceiverKind, ReceiverParts
from galago_edge.sinks.topics import OFF, OFFLINE, ONLINE, RECOVERING, Described, Message, Topics

_WINDOW = 20
"""Records on their way at once."""
_KEPT_AT_ONCE = 100
"""Retained messages on their way at once."""
_STRIKES = 5
"""A broker that so often hangs up on one and the same record, sent alone, will never take it."""
_FIRST_PAUSE_S = 0.5


class MqttSettings(LoginTable, frozen=True, kw_only=True):
    """``[mqtt]``: records to a broker, QoS 1."""

    host: Annotated[str, msgspec.Meta(min_length=1)]
    """Name or address, as :func:`galago_edge.sinks.broker_address.broker_address` reads it."""
    port: Port | UnsetType = UNSET
    """1883, with TLS 8883, when it is said nowhere."""
    username: str = ""
    """The same as ``user``."""
    tls: bool | UnsetType = UNSET
    ca_file: str = ""
    """PEM file of the authority that signed the broker's certificate; the system's when empty."""
    client_cert_file: str = ""
    """PEM file of the certificate that the broker is shown."""
    client_key_file: str = ""
    """PEM file of its key; empty when it stands in ``client_cert_file``."""
    topic: Annotated[
        str,
        msgspec.Meta(pattern=r"^[^+#\x00]{1,200}\Z", description="1 to 200 letters without +, # and NUL"),
    ] = "galago"
    """Records go to ``TOPIC/DEVICE/STREAM/KIND``, presence to ``TOPIC/DEVICE/availability``."""
    discovery: str = "homeassistant"
    """Prefix of Home Assistant's discovery; empty for none."""
    attachments: bool = True
    """Pictures and sounds of events too, where ``[attachments]`` makes them."""
    retain_pictures: bool = False
    """The broker keeps each stream's last picture for whoever comes later."""
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=3_600)] = 30
    backoff_max_s: Seconds = 8.0

    def __post_init__(self) -> None:
        """Refuse two users, two passwords, one without a user, and a broker that can be nowhere.

        Raises:
            ValueError: As said, in words.
        """
        if self.user and self.username:
            raise ValueError("user and username are the same: say one of them")
        super().__post_init__()
        self.place()

    def _names_user(self) -> bool:
        # a password alone was always taken, and is not sent: a device must not fail to start because of it
        return bool(self.user or self.username or self.password)

    def place(self) -> BrokerPlace:
        """Return where the broker is.

        Raises:
            ValueError: ``host`` cannot be one, or contradicts another key, in words.
        """
        said = broker_address(self.host)
        if said.port is not None and self.port is not UNSET and said.port != self.port:
            raise ValueError(f"host says port {said.port}, port says {self.port}: say it once")
        if said.tls is not None and self.tls is not UNSET and said.tls is not self.tls:
            scheme, flag = ("mqtts" if said.tls else "mqtt"), ("true" if self.tls else "false")
            raise ValueError(f"host says {scheme}://, tls says {flag}: say it once")
        tls = said.tls if said.tls is not None else self.tls is True
        if self.client_key_file and not self.client_cert_file:
            raise ValueError("client_key_file without client_cert_file")
        if self.client_cert_file and not tls:
            raise ValueError("client_cert_file without TLS, expected tls = true beside it")
        trust = TlsTrust(
            self.ca_file,
            client_cert_file=self.client_cert_file,
            client_key_file=self.client_key_file,
        )
        port = said.port or (self.port if self.port is not UNSET else TLS_PORT if tls else PLAIN_PORT)
        return BrokerPlace(said.host, port, trust if tls else None, self.keepalive_s)

    def login(self) -> Login:
        """Return who we are at the broker, with the password read now.

        Raises:
            CallerError: CONFIG_BAD; it is not there.
        """
        login = login_of(self)
        return login if login.user else replace(login, user=self.username)


class MqttSender(DeliveryThread):
    """One connection after the other. A record is acknowledged in the spool when the broker has said so.

    What holds until it changes is told as it is now, after every connection as a whole, and taken back at
    the broker when its stream, label or device is no more.
    """

    def __init__(self, settings: MqttSettings, parts: ReceiverParts) -> None:
        """Prepare; nothing is connected yet.

        Raises:
            DeviceError: EXTRA_MISSING.
            CallerError: CONFIG_BAD; ``ca_file`` or ``client_cert_file`` is no certificate.
        """
        super().__init__(
            parts.name, parts.spool, Backoff(_FIRST_PAUSE_S, settings.backoff_max_s), parts.attachments
        )
        self._paho = import_extra("paho.mqtt.client", "mqtt", "sending to an MQTT broker")
        self._settings = settings
        self._place = settings.place()
        self._device = parts.device
        tls_context(self._place)  # a file that is none is told at the start
        self._attached = parts.attached
        self._order = DeliveryOrder(parts.spool, parts.name, beside=parts.attachments)
        self._topics = Topics(
            settings.topic,
            parts.device,
            parts.version,
            settings.discovery,
            pictures_of=lambda stream: settings.attachments and parts.attached.pictures_of(stream),
        )
        self._configured = frozenset(parts.streams)
        self._present = PresentState(self._topics)
        self._published = Announcements(parts.folder, parts.name)
        self._suspect = ""
        self._strikes = 0
        self._gone: set[str] = set()
        """Keys of what is on its way without its file."""

    def describe(self, stream: str, modality: Modality, labels: tuple[str, ...]) -> None:
        """Learn which labels a stream can report, for Home Assistant."""
        self._present.describe(stream, Described(modality, labels))
        self._bell.ring()

    def note(self, records: Sequence[Record]) -> None:
        """Learn what holds now."""
        if self._present.note(records):
            self._bell.ring()

    def _connection(self) -> None:
        try:
            login, context = self._settings.login(), tls_context(self._place)
        except CallerError as error:
            self._troubled(str(error), hopeless=True)
            return
        self._order.begin()
        self._gone.clear()
        self._published.load()
        availability, note = self._topics.availability, self._published.note
        note([availability])  # of the last will, which the broker keeps too
        link = BrokerLink(self._paho, self._place, context, self._client_id(), login, availability, note)
        try:
            link.open(self._bell)
            self._serve(link)
            last = [*self._present.changes(), *self._present.nothing_on()]
            link.say_goodbye([*last, Message(availability, OFFLINE, True)], self._bell)
        except LinkLostError as lost:
            self._take_acknowledged(link)
            if self._state == "ok" and (lost.hung_up or lost.silent):
                self._suspect_first(link.on_the_way(), silent=lost.silent)
            self._troubled(f"{self._place}: {lost}", hopeless=lost.hopeless)
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

    def _serve(self, link: BrokerLink) -> None:
        """Deliver until told to stop."""
        # last, so that nobody takes for the present what an earlier life has left at the broker
        shown = self._show(link, Message(self._topics.availability, ONLINE, True))
        lost = -1
        self._working()
        while not self._stopping:
            if self._present.streams is not shown:
                shown = self._show(link)
            elif link.waits < _KEPT_AT_ONCE:
                link.send(None, self._present.changes())
            if self._lost != lost:
                lost = self._lost
                link.send(None, [self._topics.of_lost(lost)])
            window = 1 if self._suspect else _WINDOW
            while self._order.on_the_way < window and (delivery := self._order.next()):
                self._send(link, delivery)
            link.step(self._bell)
            self._take_acknowledged(link)

    def _show(self, link: BrokerLink, *last: Message) -> Mapping[str, Described]:
        """Tell the broker everything that it is to keep, and to forget what is no more; wait until it has.

        Return the streams that it was told of.
        """
        streams, held = self._present.streams, self._present.all()
        entities, config = self._topics.entities(streams), self._topics.config
        lost = self._topics.of_lost(self._lost)
        ours = {
            *held,
            self._topics.availability,
            lost.topic,
            *([config] if config else ()),
            *self._pictures(),
        }
        waiting = self._configured - streams.keys() if config else frozenset()
        kept = [Message(topic, payload, True) for topic, payload in held.items()]
        gone_topics = []
        for topic in self._published.topics:
            if topic in ours:
                continue
            if not config or not self._topics.is_of(topic, waiting | streams.keys()):
                gone_topics.append(topic)
            elif self._topics.is_label(topic):
                if self._topics.is_of(topic, waiting):  # nobody watches yet, so nothing is on
                    kept.append(Message(topic, OFF, True))
                else:
                    gone_topics.append(topic)
            elif self._topics.is_picture(topic):
                gone_topics.append(topic)
            elif self._topics.is_source(topic):
                kept.append(Message(topic, RECOVERING, True))
        told = self._published.entities(config)
        gone = {key: old for key, old in told.items() if key not in entities and old.stream not in waiting}
        self._published.remember(ours, config, {key: component for key, (component, _) in entities.items()})
        discovery = [self._topics.of_discovery(entities, gone)] if entities else []
        forget = [Message(topic, b"", True) for topic in gone_topics]
        if self._has_all(link, [*forget, *kept, *discovery, lost, *last]):
            self._published.forget(gone_topics, config, gone if entities else ())
        return streams

    def _has_all(self, link: BrokerLink, messages: Iterable[Message]) -> bool:
        """Send messages, some at once, and wait; tell whether the broker has acknowledged them all."""
        for message in messages:
            while link.waits >= _KEPT_AT_ONCE and not self._stopping:
                link.step(self._bell)
            link.send(None, [message])
        while link.waits and not self._stopping:
            link.step(self._bell)
        return not link.waits

    def _pictures(self) -> set[str]:
        """Return the topics on which the broker keeps pictures."""
        if not (self._settings.attachments and self._settings.retain_pictures):
            return set()
        return {
            self._topics.of_picture(stream)
            for stream in self._configured
            if self._attached.pictures_of(stream)
        }

    def _send(self, link: BrokerLink, delivery: Delivery) -> None:
        if delivery.key == self._suspect and self._strikes >= _STRIKES:
            self._suspect = ""
            self._order.done(delivery, refused=True)
            return
        attached = self._attached.of(delivery)
        if attached is None:
            link.send(delivery, [self._topics.of_record(delivery.line)])
            return
        messages = [self._topics.of_record(attached.delivery.line)]
        if attached.content is None:
            self._gone.add(delivery.key)
        else:
            keep = self._settings.retain_pictures
            messages.append(
                self._topics.of_file(delivery.line, attached.media_type, attached.content, keep_picture=keep)
            )
        link.send(delivery, messages)

    def _take_acknowledged(self, link: BrokerLink) -> None:
        for delivery in link.arrived():
            if delivery.key == self._suspect:
                self._suspect = ""
            self._order.done(delivery, refused=delivery.key in self._gone)
            self._gone.discard(delivery.key)
            self._backoff.reset()

    def _suspect_first(self, on_the_way: Sequence[Delivery], *, silent: bool) -> None:
        """Note the record on which a broker, well until then, hung up; it is sent alone from now on.

        One that is silent is only suspected of not getting a picture in time.
        """
        if not on_the_way or (silent and on_the_way[0].kind != "attachment"):
            return
        again = on_the_way[0].key == self._suspect
        self._suspect, self._strikes = on_the_way[0].key, self._strikes + 1 if again else 1


def tls_context(place: BrokerPlace) -> ssl.SSLContext | None:
    """Return what a broker is connected to with, from the files as they are now; None without TLS.

    Raises:
        CallerError: CONFIG_BAD; a file is missing or does not hold what it should.
    """
    trust = place.trust
    if trust is None:
        return None
    try:
        TlsTrust(trust.ca_file).context()
    except OSError as error:
        raise CallerError(
            Reason.CONFIG_BAD,
            f"[mqtt] ca_file {trust.ca_file} is no certificate: {error.strerror or error}",
            hint="give the PEM file of the authority that signed the broker's certificate",
        ) from None
    try:
        return trust.context()
    except OSError as error:
        key = f" and client_key_file {trust.client_key_file}" if trust.client_key_file else ""
        raise CallerError(
            Reason.CONFIG_BAD,
            f"[mqtt] client_cert_file {trust.client_cert_file}{key} are no certificate with its key: "
            f"{error.strerror or error}",
            hint="give PEM files: the certificate, and its key without a passphrase",
        ) from None


def _check(settings: MqttSettings) -> Iterator[Finding]:
    """The broker takes us."""
    where = settings.place()
    fault = broker_fault(where, settings.login())
    if settings.password and not (settings.user or settings.username):
        yield warn("mqtt", "a password without a user is not sent", "set user beside it in [mqtt]")
    if settings.ca_file and where.trust is None:
        yield warn(
            "mqtt", "ca_file without tls does nothing: nothing is encrypted", "set tls = true in [mqtt]"
        )
    if fault:
        yield fail(
            "mqtt", f"{where}: {fault}", "check [mqtt] and the broker; events wait in the spool meanwhile"
        )
    else:
        yield ok("mqtt", f"{where} takes us")


def _records(settings: MqttSettings) -> Collection[str]:
    return SPOOLED_KINDS if settings.attachments else USUAL_KINDS


SINK = ReceiverKind(
    settings=MqttSettings,
    build=MqttSender,
    records=_records,
    extra=Extra("mqtt", (Library("paho.mqtt.client", "paho-mqtt"),)),
    check=_check,
    attachments_apart=True,
    reads=("ca_file", "client_cert_file", "client_key_file"),
)

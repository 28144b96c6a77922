"""One connection to an MQTT broker: what was sent on it, and what the broker has acknowledged."""

from __future__ import annotations

import contextlib
import select
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

from galago_edge.contract.errors import system_words
from galago_edge.host.credentials import Login
from galago_edge.sinks.bell import Bell
from galago_edge.sinks.broker_address import CERTIFICATE_HINT, BrokerPlace
from galago_edge.sinks.delivery import Delivery
from galago_edge.sinks.topics import OFFLINE, Message

_ANSWER_S = 10.0
"""How long a broker may take to accept a connection or to acknowledge a message."""
_SLOWEST_BYTES_S = 16_384
"""At this pace a slow link takes what was sent: a broker gets so much more time for a picture."""
_FAREWELL_S = 1.0
_STEP_MS = 1_000
"""The longest wait of one step: keep-alive is looked after so often."""


class LinkLostError(Exception):
    """The connection is no more, or never was."""

    def __init__(
        self, text: str, *, hopeless: bool = False, hung_up: bool = False, silent: bool = False
    ) -> None:
        super().__init__(text)
        self.hopeless = hopeless
        """Only a person can help."""
        self.hung_up = hung_up
        """The broker ended a connection that it had accepted."""
        self.silent = silent
        """The broker acknowledges nothing."""


class BrokerLink:
    """One connection to a broker, driven by the thread that made it."""

    def __init__(
        self,
        paho: Any,
        place: BrokerPlace,
        tls: ssl.SSLContext | None,
        client_id: str,
        login: Login,
        will: str,
        note: Callable[[list[str]], None],
    ) -> None:
        """Prepare a connection by the library ``paho``; ``will`` is the topic on which our end is told.

        ``note`` is given the topics that the broker is about to keep, each time before it gets them.
        """
        self._note = note
        self._place = place
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
        self._messages: dict[int, tuple[float, Delivery | None, int]] = {}
        """By number, those without an acknowledgement: sent when, in monotonic seconds; for what; bytes."""
        self._arrived: list[Delivery] = []
        self._retained: dict[str, bytes] = {}

    @property
    def waits(self) -> int:
        """Return how many messages the broker has to acknowledge."""
        return len(self._messages)

    def open(self, bell: Bell) -> None:
        """Connect and wait until the broker has accepted us.

        Raises:
            LinkLostError: It cannot be reached, does not answer or refuses.
        """
        try:
            self._client.connect(self._place.host, self._place.port, self._place.keepalive_s)
        except (OSError, ValueError) as error:
            hopeless = isinstance(error, ssl.SSLCertVerificationError)
            raise LinkLostError(system_words(error), hopeless=hopeless) from None
        deadline = time.monotonic() + _ANSWER_S
        while not self._accepted:
            if time.monotonic() > deadline:
                raise LinkLostError(f"the broker did not answer for {_ANSWER_S:.0f} s")
            self.step(bell)

    def send(self, delivery: Delivery | None, messages: Sequence[Message]) -> None:
        """Publish the messages of one delivery, or of none. What was not sent will show in :meth:`step`."""
        self._note([message.topic for message in messages if message.retain and message.payload])
        for message in messages:
            if delivery is not None:
                self._retained.pop(
                    message.topic, None
                )  # an event's picture: like the one before, and yet news
            elif message.retain and self._retained.get(message.topic) == message.payload:
                continue  # the broker has it
            else:
                self._retained[message.topic] = message.payload
            info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
            self._messages[info.mid] = (time.monotonic(), delivery, len(message.payload))

    def step(self, bell: Bell) -> None:
        """Read and write what there is; wait for it, or for the bell, a short while.

        Raises:
            LinkLostError: The connection is no more, or the broker acknowledges nothing.
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
            raise LinkLostError(f"the broker refuses: {self._refusal}", hopeless=True)
        if self._end or self._client.socket() is None:
            text = f"the broker hung up: {self._end or 'connection closed'}"
            trust = self._place.trust
            if trust is not None and not trust.client_cert_file and not self._accepted:
                text += CERTIFICATE_HINT
            raise LinkLostError(text, hung_up=self._accepted)
        if self._messages and time.monotonic() - next(iter(self._messages.values()))[0] > self._patience_s():
            raise LinkLostError(
                f"the broker acknowledged nothing for {self._patience_s():.0f} s", silent=True
            )

    def _patience_s(self) -> float:
        """Return for how long the oldest message may be without an acknowledgement."""
        return _ANSWER_S + sum(size for _, _, size in self._messages.values()) // _SLOWEST_BYTES_S

    def arrived(self) -> list[Delivery]:
        """Return the deliveries of which every message was acknowledged since the last call."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def on_the_way(self) -> list[Delivery]:
        """Return the deliveries without a full acknowledgement, in the order of sending."""
        found = [delivery for _, delivery, _ in self._messages.values() if delivery is not None]
        return list({delivery.token: delivery for delivery in found}.values())

    def say_goodbye(self, messages: Sequence[Message], bell: Bell) -> None:
        """Send the last messages and end the connection in order, if that is quickly done."""
        deadline = time.monotonic() + _FAREWELL_S
        with contextlib.suppress(LinkLostError):
            self.send(None, messages)
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
        _, delivery, _ = self._messages.pop(number, (0.0, None, 0))
        if delivery is not None and all(other is not delivery for _, other, _ in self._messages.values()):
            self._arrived.append(delivery)

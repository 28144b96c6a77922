"""Asks an MQTT broker whether it takes us, without a library and without disturbing a running service."""

from __future__ import annotations

import secrets
import socket
import ssl
import struct

from galago_edge.host.credentials import Login
from galago_edge.host.urls import CONNECT_S
from galago_edge.sinks.broker_address import CERTIFICATE_HINT, BrokerPlace

_CLEAN_SESSION, _WITH_PASSWORD, _WITH_USER = 0x02, 0x40, 0x80
_CONNACK_BYTES = 4
_CLOSES = "closes the connection without an answer"
_REFUSALS = {
    1: "another version of MQTT is wanted",
    2: "the client's name is not allowed",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorized",
}


def broker_fault(place: BrokerPlace, login: Login) -> str:
    """Return why the broker does not take us; empty when it does. Says no password."""
    try:
        with socket.create_connection((place.host, place.port), CONNECT_S) as plain:
            if place.trust is None:
                return _connect_fault(plain, place, login)
            with place.trust.context().wrap_socket(plain, server_hostname=place.host) as secured:
                return _secured_fault(secured, place, login)
    except socket.gaierror as error:
        return f"the name cannot be resolved: {error.strerror}"
    except ssl.SSLError as error:
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    except TimeoutError:
        return f"no answer for {CONNECT_S:g} s"
    except OSError as error:  # no connection, or no such file of certificates
        return error.strerror or str(error)


def _secured_fault(connection: ssl.SSLSocket, place: BrokerPlace, login: Login) -> str:
    """Ask over TLS. A broker that misses a certificate of ours says so, or hangs up, behind the handshake."""
    try:
        fault = _connect_fault(connection, place, login)
    except (ssl.SSLError, ConnectionError) as error:
        fault = f"ends the connection: {getattr(error, 'reason', None) or error.strerror or error}"
    else:
        if not fault.startswith(_CLOSES):
            return fault
    return fault if place.trust is None or place.trust.client_cert_file else f"{fault}{CERTIFICATE_HINT}"


def _connect_fault(connection: socket.socket, place: BrokerPlace, login: Login) -> str:
    """Send MQTT 3.1.1's CONNECT under a name of our own, so that a running service keeps its connection."""
    texts = [f"galago-doctor-{secrets.token_hex(4)}"]
    flags = _CLEAN_SESSION
    if login.user:
        flags |= _WITH_USER | _WITH_PASSWORD
        texts += [login.user, login.password]
    body = b"\x00\x04MQTT\x04" + struct.pack(">BH", flags, place.keepalive_s)
    for text in texts:
        encoded = text.encode()
        body += struct.pack(">H", len(encoded)) + encoded
    length, head = len(body), bytearray(b"\x10")
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    connection.sendall(bytes(head) + bytes([length]) + body)
    answer = b""
    while len(answer) < _CONNACK_BYTES:
        more = connection.recv(_CONNACK_BYTES - len(answer))
        if not more:
            return _CLOSES
        answer += more
    if not answer.startswith(b"\x20\x02"):
        return "answers, but is no MQTT broker"
    if answer[3]:
        return f"refuses us: {_REFUSALS.get(answer[3], f'code {answer[3]}')}"
    connection.sendall(b"\xe0\x00")  # DISCONNECT
    return ""

"""Where a broker is, in the ways in which people write it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from galago_edge.host.tls_trust import TlsTrust

PLAIN_PORT, TLS_PORT = 1883, 8883
"""IANA's mqtt and secure-mqtt."""

CERTIFICATE_HINT = " (a broker that asks for a certificate of ours does so: client_cert_file)"
"""Behind what is wrong where a broker, which knows us by none, ends a connection without a word."""

_SCHEMES = {"mqtt": False, "mqtts": True}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}")
_HIGHEST_PORT = 65_535
_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class BrokerPlace:
    """Where a broker is, and how its connection is made."""

    host: str
    """Name or address, an IPv6 one without brackets."""
    port: int
    trust: TlsTrust | None
    """Whose certificate it may show and which one we do; None: no TLS."""
    keepalive_s: int
    """What the connection promises."""

    def __str__(self) -> str:
        """Return it as people write it.

        >>> str(BrokerPlace("::1", 1883, None, 30)), str(BrokerPlace("broker.lan", 8883, None, 30))
        ('[::1]:1883', 'broker.lan:8883')
        """
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """What ``host`` says."""

    host: str
    port: int | None = None
    """None when it says none."""
    tls: bool | None = None
    """What ``mqtt://`` or ``mqtts://`` says; None when neither stands there."""


def broker_address(text: str) -> BrokerAddress:
    """Read ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT``, or one of them behind ``mqtt://`` or ``mqtts://``.

    Blanks around it do not count. What is refused is not repeated: a password may stand in it.

    >>> broker_address("mqtts://broker.lan:8884/")
    BrokerAddress(host='broker.lan', port=8884, tls=True)
    >>> broker_address("[::1]")
    BrokerAddress(host='::1', port=None, tls=None)

    Raises:
        ValueError: It is nothing of that, in words.
    """
    scheme, marked, rest = text.strip().partition("://")
    tls: bool | None = None
    if marked:
        tls = _SCHEMES.get(scheme.lower())
        if tls is None:
            shown = f"{scheme}://" if _SCHEME.fullmatch(scheme) else "no scheme"
            raise ValueError(f"host begins with {shown}, expected mqtt://, mqtts:// or the host alone")
        rest = rest.removesuffix("/")
    else:
        rest = text.strip()
    if "@" in rest:
        raise ValueError("host holds a user, expected user and password in keys of their own")
    if re.search(r"[/?#\\]", rest):
        raise ValueError("host has a path, expected the host alone: topics are set by topic")
    host, port = _parted(rest, bare_ipv6=not marked)
    return BrokerAddress(host, port, tls)


def _parted(rest: str, *, bare_ipv6: bool) -> tuple[str, int | None]:
    """Return host and port."""
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or not _is_ipv6(host) or not (tail == "" or tail.startswith(":")):
            raise ValueError(
                "host has brackets without an IPv6 address in them, expected [::1] or [::1]:1883"
            )
        return host, _port(tail[1:]) if tail else None
    if rest.count(":") > 1:
        if not bare_ipv6 or not _is_ipv6(rest):
            raise ValueError(
                "host has several colons and is no IPv6 address, expected HOST:PORT or [IPV6]:PORT"
            )
        return rest, None
    host, colon, port = rest.partition(":")
    _check_name(host)
    return host, _port(port) if colon else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return re.search(r"\s", text) is None


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _HIGHEST_PORT:
        raise ValueError(f"the port in host is no number from 1 to {_HIGHEST_PORT}")
    return int(text)


def _check_name(host: str) -> None:
    if not host:
        raise ValueError("host is empty, expected a name or an address")
    if len(host) > _LONGEST_NAME or not host.isprintable() or " " in host:
        raise ValueError("host is no name of a computer: it has blanks or control characters, or is too long")
    try:
        host.encode("idna")
    except UnicodeError:  # what every connection would say
        raise ValueError(
            "host is no name of a computer: a part of it is empty, longer than 63 characters or not allowed"
        ) from None

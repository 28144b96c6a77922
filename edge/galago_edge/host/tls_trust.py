"""Whose certificate a TLS server may show: one that an authority vouches for, or exactly one; and ours.

Cameras, brokers and servers of a house have certificates that no public authority signed. They are trusted by
the file of the authority that did (``ca_file``), or by the SHA-256 of the one certificate (``fingerprint``).
A server that wants to know its clients is shown a certificate of ours.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass

_EXPIRED, _EARLY = 10, 9
_SIGNED_BY_NOBODY = {18, 19, 20, 21}
_ANOTHER_NAME = {62, 64}
"""Codes of OpenSSL's ``X509_V_ERR_...``."""


class StrangerError(ssl.SSLError):
    """A server showed another certificate than the one that is trusted; its text says which."""


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """Which certificates are trusted; without anything those of public authorities."""

    ca_file: str = ""
    """PEM file of the authorities that are trusted instead."""
    fingerprint: str = ""
    """SHA-256 of the one certificate that is trusted, in hexadecimal digits, whatever its names and dates."""
    client_cert_file: str = ""
    """PEM file of the certificate that we show, and of those between it and its authority."""
    client_key_file: str = ""
    """PEM file of its key, without a passphrase; empty: it stands in ``client_cert_file``."""

    def context(self) -> ssl.SSLContext:
        """Return what TLS connections are made with; each is to be given to ``check``.

        Raises:
            OSError: A file cannot be read, or does not hold what it should.
        """
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.fingerprint:
            context.check_hostname = False
            if not self.ca_file:
                context.verify_mode = ssl.CERT_NONE
        if self.client_cert_file:
            try:
                context.load_cert_chain(
                    self.client_cert_file, self.client_key_file or None, password=_no_passphrase
                )
            except ValueError as encrypted:  # OpenSSL would ask for it on the terminal
                raise ssl.SSLError(str(encrypted)) from None
        return context

    def check(self, connection: ssl.SSLSocket) -> None:
        """Look at the certificate of a connection that was just made.

        Raises:
            StrangerError: It is another one than the fingerprint's.
        """
        if self.fingerprint and (met := _fingerprint(connection)) != _written(self.fingerprint):
            raise StrangerError(f"{met}, expected {_written(self.fingerprint)}")


def met_fingerprint(host: str, port: int, timeout_s: float | None) -> str:
    """Return the fingerprint of whatever certificate a server shows; nothing is sent to it.

    Raises:
        OSError: It shows none.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, port), timeout_s) as connection,
        context.wrap_socket(connection, server_hostname=host) as shown,
    ):
        return _fingerprint(shown)


def certificate_fault(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Return what is wrong with a certificate; completes "its certificate ..."."""
    if error.verify_code in _SIGNED_BY_NOBODY:
        return "is signed by nobody who is trusted here (its own, or an own authority's)"
    if error.verify_code in _ANOTHER_NAME:
        return f"is for another name than {host}"
    if error.verify_code == _EXPIRED:
        return "has expired, or the clock here is wrong"
    if error.verify_code == _EARLY:
        return "is not valid yet, or the clock here is wrong"
    return f"cannot be trusted: {error.verify_message}"


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted, expected one without a passphrase")


def _fingerprint(connection: ssl.SSLSocket) -> str:
    return _written(hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest())


def _written(fingerprint: str) -> str:
    """Return it as OpenSSL writes it.

    >>> _written("0aff10")
    '0A:FF:10'
    """
    return bytes.fromhex(fingerprint.replace(":", "")).hex(":").upper()

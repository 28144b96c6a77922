"""The web server of a camera: answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

WebAnswer = http.server.BaseHTTPRequestHandler
"""One request, and what writes its answer."""
Behaviour = Callable[[WebAnswer], None]

STREAM = "multipart/x-mixed-replace; boundary=frame"


class WebCamera:
    """A camera at ``url()`` on loopback. ``behaviour`` answers, and may be set at any time.

    ``asked`` has path and ``Authorization`` of each request; ``connections`` counts them.
    """

    def __init__(self, behaviour: Behaviour | None = None, certificate: OwnCertificate | None = None) -> None:
        """Start it; with a ``certificate`` it speaks TLS alone."""
        outer = self
        context = None if certificate is None else certificate.server_context()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization")))
                outer.behaviour(self)

            def log_message(self, format: str, *args: Any) -> None:
                return

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                outer.connections += 1
                with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                    if context is not None:  # in its own thread: a client may never shake hands
                        request = stack.enter_context(context.wrap_socket(request, server_side=True))
                    super().finish_request(request, client_address)

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a client that does not trust it, or is gone

        self.behaviour = behaviour or answers(404)
        self.asked: list[tuple[str, str | None]] = []
        self.connections = 0
        self._scheme = "http" if context is None else "https"
        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/cam.mjpg", login: str = "", host: str = "127.0.0.1") -> str:
        """Its address; ``login`` is ``USER:PASSWORD@``."""
        return f"{self._scheme}://{login}{host}:{self.port}{path}"

    def stop(self) -> None:
        """Take no more requests; what is being answered goes on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> WebCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def parts(pictures: Sequence[bytes], *, length: bool = True) -> bytes:
    """Return pictures as a stream of ``STREAM`` holds them."""
    return b"".join(
        b"--frame\r\nContent-Type: image/jpeg\r\n%s\r\n%s\r\n"
        % (b"Content-Length: %d\r\n" % len(picture) if length else b"", picture)
        for picture in pictures
    )


def streams(
    data: bytes, *, chunk: int = 0, kind: str = STREAM, header: tuple[str, str] | None = None
) -> Behaviour:
    """Answer with ``data``, whose end the end of the connection is; in chunks of ``chunk`` bytes if given."""

    def behave(answer: WebAnswer) -> None:
        answer.close_connection = True
        answer.send_response(200)
        if kind:
            answer.send_header("Content-Type", kind)
        if header is not None:
            answer.send_header(*header)
        if chunk:
            answer.send_header("Transfer-Encoding", "chunked")
        answer.end_headers()
        if not chunk:
            answer.wfile.write(data)
            return
        for at in range(0, len(data), chunk):
            piece = data[at : at + chunk]
            answer.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        answer.wfile.write(b"0\r\n\r\n")

    return behave


def answers(
    status: int,
    data: bytes = b"",
    *,
    kind: str = "text/html",
    headers: Sequence[tuple[str, str]] = (),
    phrase: str | None = None,
) -> Behaviour:
    """Answer with a status and ``data``, and keep the connection."""

    def behave(answer: WebAnswer) -> None:
        answer.send_response(status, phrase)
        answer.send_header("Content-Type", kind)
        answer.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            answer.send_header(name, value)
        answer.end_headers()
        answer.wfile.write(data)

    return behave


def sends_to(location: str, status: int = 302) -> Behaviour:
    """Redirect."""
    return answers(status, headers=[("Location", location)])


def wants_login(challenges: Sequence[str], accepted: Callable[[str], bool], then: Behaviour) -> Behaviour:
    """Ask for a password by ``challenges`` until an ``Authorization`` is ``accepted``."""
    refused = answers(401, headers=[("WWW-Authenticate", challenge) for challenge in challenges])

    def behave(answer: WebAnswer) -> None:
        given = answer.headers.get("Authorization")
        (then if given is not None and accepted(given) else refused)(answer)

    return behave


@dataclass(frozen=True)
class OwnCertificate:
    """A certificate that signed itself, as cameras have, with its key in one file."""

    path: Path
    fingerprint: str
    """SHA-256 as OpenSSL writes it."""

    @classmethod
    def make(
        cls, folder: Path, names: Sequence[str] = ("127.0.0.1", "localhost"), days: tuple[int, int] = (-1, 1)
    ) -> OwnCertificate:
        """Make one for ``names``, valid over ``days`` from now."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
        now = datetime.datetime.now(datetime.UTC)
        alternative = [
            x509.IPAddress(ipaddress.ip_address(each)) if each[0].isdigit() else x509.DNSName(each)
            for each in names
        ]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days[0]))
            .not_valid_after(now + datetime.timedelta(days[1]))
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        path = folder / f"camera-{certificate.serial_number}.pem"
        path.write_bytes(
            certificate.public_bytes(pem)
            + key.private_bytes(
                pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        der = certificate.public_bytes(serialization.Encoding.DER)
        return cls(path, hashlib.sha256(der).digest().hex(":").upper())

    def server_context(self) -> ssl.SSLContext:
        """Return what a server needs to show it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path)
        return context

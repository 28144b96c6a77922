"""The configuration: whether it is valid, and whether what it names is there."""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from galago_edge.contract.errors import GalagoError
from galago_edge.contract.settings import MqttSettings, StreamSettings
from galago_edge.doctor.findings import Case, Finding, fail, ok, warn
from galago_edge.doctor.probes import run_python

_CONNECT_S = 5.0
_CLEAN_SESSION, _WITH_PASSWORD, _WITH_USER = 0x02, 0x40, 0x80
_CONNACK_BYTES = 4
_REFUSALS = {
    1: "another version of MQTT is wanted",
    2: "the client's name is not allowed",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorized",
}
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_INPUTS = """
import sounddevice
print(*(device["name"] for device in sounddevice.query_devices() if device["max_input_channels"]), sep="\\t")
"""


def check_config(case: Case) -> Iterator[Finding]:
    """``galago.toml`` can be read."""
    if case.config is None:
        return
    from galago_edge.service.configuration import read_config

    case.settings = read_config(case.config)
    count = len(case.settings.stream)
    yield ok("config", f"{case.config}: {count} stream{'s' * (count != 1)}")


def check_streams(case: Case) -> Iterator[Finding]:
    """Every stream has a bundle, of its source's kind, with the labels whose thresholds are given."""
    if case.settings is None or case.broken & {"numpy", "cryptography"}:
        return
    for stream in case.settings.stream:
        yield _stream(case, stream)


def check_sources(case: Case) -> Iterator[Finding]:
    """Every source is there now. The service would wait for one that is not."""
    for shown, address in case.addresses().items():
        name = f"source {shown}"
        try:
            yield from _source(case, name, address)
        except GalagoError as error:
            yield fail(name, str(error), error.hint)


def check_broker(case: Case) -> Iterator[Finding]:
    """The MQTT broker takes us."""
    if case.settings is None or case.settings.mqtt is None:
        return
    mqtt = case.settings.mqtt
    where = f"{mqtt.host}:{mqtt.port}"
    fault = _broker_fault(mqtt)
    if fault:
        yield fail(
            "mqtt", f"{where}: {fault}", "check [mqtt] and the broker; events wait in the spool meanwhile"
        )
    else:
        yield ok("mqtt", f"{where} takes us")


def check_webhook(case: Case) -> Iterator[Finding]:
    """The webhook's server answers; nothing is posted."""
    if case.settings is None or case.settings.webhook is None:
        return
    from galago_edge.sources.address import hide_credentials

    shown = hide_credentials(case.settings.webhook.url)
    fault = _server_fault(case.settings.webhook.url)
    if fault:
        yield fail("webhook", f"{shown}: {fault}", "check [webhook] url, the network and the server")
    else:
        yield ok("webhook", f"{shown}: the server answers (nothing was posted)")


def check_page(case: Case) -> Iterator[Finding]:
    """The page is not open to strangers, and its port is free or ours."""
    if case.settings is None or case.settings.page is None:
        return
    from galago_edge.service.page.access import Access

    page = case.settings.page
    Access(page)
    where = f"{page.host}:{page.port}"
    if case.running:
        yield ok("page", f"{where}, served by the running service")
        return
    try:
        with socket.create_server((page.host, page.port)):
            pass
    except OSError as error:
        fix = f"ss -ltnp 'sport = :{page.port}' shows who has it; or choose another [page] port"
        yield fail("page", f"{where}: {error.strerror or error}", fix)
    else:
        yield ok("page", f"{where} is free")


def _stream(case: Case, stream: StreamSettings) -> Finding:
    from galago_edge.contract.errors import LinkError
    from galago_edge.pipeline.threshold_overrides import override
    from galago_edge.service.configuration import source_of
    from galago_edge.sources.address import parse_source

    name = f"stream {stream.name}"
    assert case.settings is not None
    installed = ", ".join(case.bundles) or "none"
    try:
        modality = parse_source(source_of(stream, case.settings.source).address).modality
    except LinkError:
        modality = None  # a path that is not there yet
    except GalagoError as error:
        return fail(name, str(error), error.hint)
    if stream.bundle is None:
        fitting = [key for key, manifest in case.bundles.items() if modality in (None, manifest.modality)]
        if len(fitting) != 1:
            return fail(
                name,
                f"{len(fitting)} installed bundles fit its source (installed and whole: {installed})",
                f'set bundle = "NAME" in [[stream]] {stream.name}, or install one',
            )
        chosen = fitting[0]
    elif stream.bundle not in case.bundles:
        return fail(
            name,
            f"bundle {stream.bundle} is not there or not whole (installed and whole: {installed})",
            f"galago install {stream.bundle}-VERSION.galago --root {case.root}",
        )
    else:
        chosen = stream.bundle
    manifest = case.bundles[chosen]
    if modality not in (None, manifest.modality):
        return fail(
            name,
            f"{chosen} is for a {manifest.modality}, the source is a {modality}",
            "give the stream another source or another bundle",
        )
    try:
        override(manifest.labels, stream.overrides())
    except GalagoError as error:
        return fail(name, str(error), error.hint)
    return ok(name, f"{chosen} {manifest.bundle.version} on {manifest.modality} {_shown(stream.source)}")


def _shown(address: str) -> str:
    from galago_edge.sources.address import hide_credentials

    return hide_credentials(address)


def _source(case: Case, name: str, text: str) -> Iterator[Finding]:
    from galago_edge.sources.address import parse_source

    address = parse_source(text)
    if address.kind == "camera" and "://" in address.target:
        fault = _server_fault(address.target)
        if fault:
            yield fail(name, fault, "check its address, power and network: ping it from here")
        else:
            yield ok(name, "its server answers")
    elif address.kind == "camera":
        yield _camera(case, name, address.target)
    elif address.kind == "microphone":
        yield _microphone(case, name, address.target, address.options.get("rate"))
    elif address.kind == "pipe":
        if address.target == "-" or Path(address.target).exists():
            yield ok(name, "standard input" if address.target == "-" else "is there")
        else:
            yield fail(name, f"there is no {address.target}", f"mkfifo {address.target}")
    else:
        yield ok(name, f"a {address.kind}")


def _camera(case: Case, name: str, device: str) -> Finding:
    from galago_edge.sources.hardware import list_cameras

    path = Path(f"/dev/video{device}" if device.isdigit() else device)
    real = case.system / path.relative_to("/") if path.is_absolute() else path
    cameras = list_cameras(case.system)
    if not real.exists():
        there = ", ".join(camera.id for camera in cameras) or "none"
        return fail(
            name, f"there is no {path} (cameras here: {there})", "check its cable, or name one of those"
        )
    if not case.account.may_write(real):
        return fail(
            name,
            f"user {case.account.name} may not open {path}",
            f"sudo usermod -aG video {case.account.name}",
        )
    stable = next((c.id for c in cameras if c.device == str(path) and c.id != c.device), None)
    if stable is not None:
        return warn(
            name,
            f"{path} may be another camera after the next start",
            f'address = "camera:{stable}"',
        )
    return ok(name, "is there and may be opened")


def _microphone(case: Case, name: str, wanted: str, rate_hz: int | None) -> Finding:
    from galago_edge.sources.hardware import alsa_card, list_microphones

    microphones = list_microphones(case.system)
    card = alsa_card(wanted, case.system)
    here = ", ".join(microphone.id for microphone in microphones) or "none"
    if card is not None:
        found = next((one for one in microphones if one.card == card), None)
        if found is None:
            return fail(name, f"card {card} records nothing (microphones here: {here})", "name one of those")
        if rate_hz is not None and found.rates_hz and rate_hz not in found.rates_hz:
            rates = ", ".join(map(str, found.rates_hz))
            fix = f"microphone:{wanted}?rate={max(found.rates_hz)}: galago converts exactly, and says so"
            return warn(name, f"card {card} records at {rates} Hz, not at {rate_hz} Hz", fix)
        return ok(name, f"card {card}: {found.name}")
    outcome = run_python(_INPUTS)
    if outcome.fault:
        return fail(name, f"PortAudio cannot be asked: {outcome.fault}", "see extra microphone")
    inputs = [device for device in outcome.answer.split("\t") if device]
    if wanted == "default" and inputs:
        return ok(name, "the system's default input")
    if any(wanted.lower() in device.lower() for device in inputs):
        return ok(name, "is there")
    listed = ", ".join(dict.fromkeys((*(one.id for one in microphones), *inputs))) or "none"
    return fail(
        name, f"there is no microphone {wanted} (here: {listed})", "check its cable, or name one of those"
    )


def _server_fault(url: str) -> str:
    """Return why nobody answers at a URL; empty when somebody does. Says no credentials."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
    except ValueError as error:
        return f"is no URL: {error}"
    try:
        with socket.create_connection((host, port), _CONNECT_S) as connection:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
                    pass
    except socket.gaierror as error:
        return f"the name {host} cannot be resolved: {error.strerror}"
    except ssl.SSLError as error:
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    except TimeoutError:
        return f"no answer from {host}:{port} for {_CONNECT_S:g} s"
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return ""


def _broker_fault(settings: MqttSettings) -> str:
    """Return why the broker does not take us; empty when it does. Says no password."""
    try:
        with socket.create_connection((settings.host, settings.port), _CONNECT_S) as plain:
            if not settings.tls:
                return _connect_fault(plain, settings)
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            with context.wrap_socket(plain, server_hostname=settings.host) as secured:
                return _connect_fault(secured, settings)
    except socket.gaierror as error:
        return f"the name cannot be resolved: {error.strerror}"
    except ssl.SSLError as error:
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    except TimeoutError:
        return f"no answer for {_CONNECT_S:g} s"
    except OSError as error:  # no connection, or no such ca_file
        return error.strerror or str(error)


def _connect_fault(connection: socket.socket, settings: MqttSettings) -> str:
    """Send MQTT 3.1.1's CONNECT under a name of our own, so that a running service keeps its connection."""
    texts = [f"galago-doctor-{secrets.token_hex(4)}"]
    flags = _CLEAN_SESSION
    if settings.username:
        flags |= _WITH_USER | _WITH_PASSWORD
        texts += [settings.username, settings.password]
    body = b"\x00\x04MQTT\x04" + struct.pack(">BH", flags, settings.keepalive_s)
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
            return "closes the connection without an answer"
        answer += more
    if not answer.startswith(b"\x20\x02"):
        return "answers, but is no MQTT broker"
    if answer[3]:
        return f"refuses us: {_REFUSALS.get(answer[3], f'code {answer[3]}')}"
    connection.sendall(b"\xe0\x00")  # DISCONNECT
    return ""

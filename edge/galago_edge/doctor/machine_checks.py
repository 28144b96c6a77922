"""The machine around the service: cameras, microphones, accelerators, memory, clock, heat, systemd."""

from __future__ import annotations

import datetime
import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from galago_edge.contract.errors import GalagoError, LinkError, Reason
from galago_edge.contract.findings import Finding, fail, ok, warn
from galago_edge.doctor.case import Case, DoctorCheck, account_of
from galago_edge.intake.unit_file import DEVICE_ROOT, UNIT_FILE, setting_of, unit_text, why_unreachable

_UNIT_FOLDERS = (
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
)
_PROVISION = "galago provision TARGET --profile NAME --galago /opt/galago/bin/galago"
_MOVE = (
    "sudo python3 -m venv /opt/galago; sudo /opt/galago/bin/pip install galago-edge (docs/first-device.md); "
    f"then from the workstation: {_PROVISION}"
)
_MB = 1_000_000
_LITTLE_MEMORY_MB = 150
_SYSTEMCTL_S = 10.0


def check_unit(case: Case) -> Iterator[Finding]:
    """The systemd unit is installed and ours, and what it names exists."""
    path = next(
        (path for folder in _UNIT_FOLDERS if (path := case.system / folder / UNIT_FILE).is_file()), None
    )
    if path is None:
        yield warn(
            "unit",
            "no galago.service is installed: nothing starts galago run after a power cut",
            f"from the workstation: {_PROVISION}; then here: sudo systemctl enable --now galago",
        )
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    yield from _unit_users(case, text)
    drop_ins = sorted(path.parent.glob(f"{UNIT_FILE}.d/*.conf"))
    program = setting_of(text, "ExecStart").partition(" ")[0].lstrip("-@:+!")
    changed = "\n".join([text, *(drop_in.read_text(errors="replace") for drop_in in drop_ins)])
    if not (case.system / program.lstrip("/")).exists():
        link = f"sudo ln -s {Path(sys.executable).with_name('galago')} {program}"
        yield fail("unit", f"it starts {program}, which does not exist", link)
    elif why := why_unreachable(program, changed, case.system):
        yield fail("unit", f"it cannot start: {why} [{Reason.UNREACHABLE}]", _MOVE)
    more = f", changed by {', '.join(drop_in.name for drop_in in drop_ins)}" if drop_ins else ""
    at = _root_of(text)
    if case.system == Path("/") and at.resolve() != case.root.resolve():
        yield warn("unit", f"it runs on {at}, not on {case.root}", f"galago doctor --root {at}")
    if (difference := _difference(text, unit_text(program, at))) is not None:
        yield warn(
            "unit",
            f"{path} is not what galago provision of this version would write: {difference}",
            f"from the workstation: {_PROVISION}; what this device needs belongs in galago.service.d/*.conf "
            "(sudo systemctl edit galago)",
        )
    else:
        yield ok("unit", f"{path} is ours{more}")
    yield from _enabled(case)


def check_service(case: Case) -> Iterator[Finding]:
    """What the running service says of itself."""
    from galago_edge.store.running_service import ask_status

    if not case.root.is_dir():
        return  # said already
    try:
        status = ask_status(case.root)
    except LinkError:
        case.running = True  # it has the page's port, though it says nothing
        raise
    if status is None:
        yield ok("service", f"none runs on {case.root}")
        return
    case.running, case.status = True, status
    if not status.problems:
        yield ok("service", f"runs (process {status.pid}), {status.state}")
    for problem in status.problems:
        yield warn("service", problem, f"galago status --root {case.root}")


def check_cameras(case: Case) -> Iterator[Finding]:
    """Cameras that are plugged in, by names that stay."""
    from galago_edge.sources.hardware import list_cameras

    cameras = list_cameras(case.system)
    if not cameras:
        yield ok("cameras", "none is plugged in")
    for camera in cameras:
        name = f"camera {camera.id}"
        formats = ", ".join(camera.formats) or "formats unknown"
        if not case.account.may_write(case.system / camera.device.lstrip("/")):
            fix = f"sudo usermod -aG video {case.account.name}, then log in again or restart the service"
            yield warn(name, f"{camera.name}: user {case.account.name} may not open {camera.device}", fix)
        else:
            yield ok(name, f"{camera.name}, {camera.device}, {formats}")


def check_microphones(case: Case) -> Iterator[Finding]:
    """Sound cards that record, by names that stay, and their rates."""
    from galago_edge.sources.hardware import list_microphones

    microphones = list_microphones(case.system)
    if not microphones:
        yield ok("microphones", "no sound card records")
    for microphone in microphones:
        name = f"microphone {microphone.id}"
        rates = ", ".join(map(str, microphone.rates_hz))
        nodes = sorted((case.system / "dev/snd").glob(f"pcmC{microphone.card}D*c"))
        if not any(case.account.may_write(node) for node in nodes):
            fix = f"sudo usermod -aG audio {case.account.name}, then log in again or restart the service"
            yield warn(name, f"{microphone.name}: user {case.account.name} may not record from it", fix)
        else:
            yield ok(name, f"{microphone.name}, {f'{rates} Hz' if rates else 'rates unknown'}")


def check_accelerators(case: Case) -> Iterator[Finding]:
    """Every delegate of the profile, loaded in a process of its own."""
    if case.profile is None or case.broken:
        return
    from galago_edge.engine.remote import probe_delegate

    settings = case.settings.accelerator if case.settings else None
    for backend, accelerator in case.profile.accelerator.items():
        name = f"accelerator {backend}"
        if settings is not None and not settings.enabled:
            yield ok(name, "switched off: [accelerator] enabled = false")
            continue
        used = any(model.backend == backend for manifest in case.bundles.values() for model in manifest.model)
        try:
            probe_delegate(backend, accelerator, probe_s=settings.probe_s if settings else 30.0)
        except GalagoError as error:
            fault = str(getattr(error, "fault", error.reason))
            yield warn(
                name, f"{fault}: {error}; the CPU does its work", _accelerator_fix(fault, accelerator.library)
            )
            continue
        yield ok(
            name,
            f"{accelerator.library} loads" if used else f"{accelerator.library} loads; no bundle uses it",
        )


def check_memory(case: Case) -> Iterator[Finding]:
    """There is memory to run in."""
    text = (case.system / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    total, free = (kib[name] * 1024 // _MB for name in ("MemTotal", "MemAvailable"))
    met = f"{free} MB free of {total} MB"
    if free < _LITTLE_MEMORY_MB:
        yield warn("memory", met, "ps -eo rss,comm --sort=-rss | head shows who has it")
    else:
        yield ok("memory", met)


def check_heat(case: Case) -> Iterator[Finding]:
    """Temperatures, supply and the governor that watches both."""
    from galago_edge.contract.settings import GovernorSettings
    from galago_edge.service.governor import Governor, read_power, read_zones

    settings = case.settings.governor if case.settings else GovernorSettings()
    Governor(settings)  # says what is wrong with its table
    sys_root = case.system / "sys"
    zones = read_zones(sys_root, settings.zones)
    hottest = max(
        (zone.celsius for zone in zones if zone.believed and zone.celsius is not None), default=None
    )
    absent = [wanted for wanted in settings.zones if wanted not in {zone.type for zone in zones}]
    shown = ", ".join(
        f"{zone.type} {'says nothing that can be' if zone.celsius is None else f'{zone.celsius:g} °C'}"
        f"{'' if zone.believed else ' (not believed)'}"
        for zone in zones
    )
    if absent:
        yield warn(
            "temperature",
            f"[governor] zones names {', '.join(absent)}; here are {shown or 'none'}",
            "name zones that are here, or leave zones out",
        )
    elif hottest is None:
        met = f"no processor's thermometer is known ({shown or 'no thermal zone'}): heat goes unnoticed"
        if zones:
            yield warn("temperature", met, "name the right ones in [governor] zones")
        else:
            yield ok("temperature", met)
    elif hottest >= settings.hot_c:
        yield warn(
            "temperature", f"{shown}; at {settings.hot_c:g} °C fewer windows are decided", "cool the board"
        )
    else:
        yield ok("temperature", shown)
    power = read_power(sys_root)
    if power is None:
        return
    now, seen = power.words(), power.under_voltage_seen or power.throttled_seen
    fix = "use the board's own power supply and a short, thick cable; give it a heat sink"
    if now:
        yield warn("power", f"{', '.join(now)}: fewer windows are decided", fix)
    elif seen:
        yield warn("power", "good now, but under-voltage or throttling was seen since the start", fix)
    else:
        yield ok("power", "no under-voltage and no throttling since the start")


def check_clock(case: Case) -> Iterator[Finding]:
    """The wall clock can be believed. Nothing is decided by it, but people read it."""
    from galago_edge.host.wall_clock import EARLIEST_NS, clock_synced

    now = datetime.datetime.now(datetime.UTC)
    met = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now.timestamp() * 1e9 < EARLIEST_NS:
        yield fail(
            "clock",
            f"{met}: it was never set",
            "sudo timedatectl set-ntp true, or fit a battery-backed clock",
        )
    elif not clock_synced():
        yield warn(
            "clock",
            f"{met}, not synchronized: events are marked so",
            "sudo timedatectl set-ntp true; timedatectl",
        )
    else:
        yield ok("clock", f"{met}, synchronized")


def _unit_users(case: Case, text: str) -> Iterator[Finding]:
    """Check user and groups of the unit, without which systemd does not even start it."""
    user = setting_of(text, "User") or "root"
    groups = [*setting_of(text, "SupplementaryGroups").split(), *setting_of(text, "Group").split()]
    missing = [group for group in groups if not _group_exists(group)]
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        options = "--system --user-group --home-dir /var/lib/galago --shell /usr/sbin/nologin"
        make = f"sudo useradd {options} {user}"
        yield fail("user", f"the unit's user {user} does not exist", make)
        return
    if os.geteuid() == 0 or entry.pw_uid == os.geteuid():
        case.account = account_of(entry.pw_uid, tuple(groups))
    if missing:
        fix = " && ".join(f"sudo groupadd --system {group}" for group in missing)
        yield fail("user", f"the unit's groups {', '.join(missing)} do not exist: it cannot start", fix)
    else:
        yield ok("user", f"the service runs as {user} with the groups {', '.join(groups) or 'of its own'}")


def _enabled(case: Case) -> Iterator[Finding]:
    """Ask systemd whether it starts the unit; says nothing where systemd does not run."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not (case.system / "run/systemd/system").is_dir():
        return
    try:
        done = subprocess.run(
            [systemctl, "is-enabled", "galago"], capture_output=True, timeout=_SYSTEMCTL_S, check=False
        )
    except subprocess.TimeoutExpired:
        yield warn("unit", f"systemctl gives no answer for {_SYSTEMCTL_S:g} s", "systemctl status; reboot")
        return
    state = done.stdout.decode(errors="replace").strip() or "unknown"
    if state not in ("enabled", "enabled-runtime", "static"):
        yield warn(
            "unit", f"it is {state}: not started after a power cut", "sudo systemctl enable --now galago"
        )


def _root_of(text: str) -> Path:
    """Return the store that a unit runs on."""
    words = setting_of(text, "ExecStart").split()
    at = words.index("--root") + 1 if "--root" in words else len(words)
    return Path(words[at]) if at < len(words) else DEVICE_ROOT


def _difference(text: str, wanted: str) -> str | None:
    """Return the first line in which a unit differs from the one that is wanted."""
    if text == wanted:
        return None
    lines, others = text.splitlines(), wanted.splitlines()
    for number in range(max(len(lines), len(others))):
        met, expected = (part[number] if number < len(part) else "nothing" for part in (lines, others))
        if met != expected:
            return f"line {number + 1} is {met!r}, {expected!r} is expected"
    return "its end of lines"


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _accelerator_fix(fault: str, library: str) -> str:
    if fault == "delegate_load_failed":
        known = {"libedgetpu.so.1": "sudo apt install libedgetpu1-std, and plug the Edge TPU in"}
        return known.get(Path(library).name, f"install {library} and check that its device is there")
    if fault in ("delegate_hung", "delegate_crashed"):
        return "take the device off its power and plug it in again; dmesg shows what the kernel says"
    return f"update {library} and the TFLite runtime together"


CHECKS = (
    DoctorCheck("unit", check_unit, place=50),
    DoctorCheck("accelerators", check_accelerators, place=120, needs=("config", "profile", "bundles")),
    DoctorCheck("cameras", check_cameras, place=130, needs=("unit",)),
    DoctorCheck("microphones", check_microphones, place=140, needs=("unit",)),
    DoctorCheck("service", check_service, place=150),
    DoctorCheck("memory", check_memory, place=210),
    DoctorCheck("heat", check_heat, place=220, needs=("config",)),
    DoctorCheck("clock", check_clock, place=230),
)

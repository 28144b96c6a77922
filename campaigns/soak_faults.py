"""The script of soak.py: what is broken, how it is repaired, and how to see that everything works again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from campaigns import service_rig as rig
from campaigns.soak_world import SOURCES, YEAR_S, World

Condition = Callable[[], bool]
_SHORT_S = 6.0
_LONG_S = 12.0
"""Longer than a source may be silent (``stall_s``), with several attempts to reopen it."""
_AT_ONCE_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One part that is broken for a while."""

    name: str
    break_: Callable[[], object]
    repair: Callable[[], object] = lambda: None
    away_s: float = _SHORT_S
    broken: tuple[str, ...] = ()
    """Sources that get no cues meanwhile."""
    gap: bool = False
    """Whether these sources give nothing while the part is away, which gaps must then account for."""
    works: Callable[[], Condition]
    """Called before the part is broken; the condition is asked after it was repaired."""
    once: bool = False
    """Only in the first round."""
    new_process: bool = False
    """What was measured of the service so far is over."""


class Conditions:
    """Ways to see that everything works again."""

    def __init__(self, world: World) -> None:
        self._world = world

    def flows(self, *sources: str, reopened: bool = False) -> Callable[[], Condition]:
        """Each source gives something new; with ``reopened``, over another connection."""

        def before() -> Condition:
            connects = self._counts("connects")
            items: dict[str, int] | None = None

            def now() -> bool:
                nonlocal items
                found = self._counts("items")
                if items is None:
                    items = found
                    return False
                again = not reopened or all(
                    self._counts("connects")[name] > connects[name] for name in sources
                )
                return again and all(found.get(name, 0) > items.get(name, 0) for name in sources)

            return now

        return before

    def delivers(self, *sinks: str) -> Callable[[], Condition]:
        """Nothing waits in these sinks for long."""

        def now() -> bool:
            status = self._world.service.status()
            return status is not None and all(
                sink.state == "ok" and sink.oldest_pending_s < 1.0
                for sink in status.sinks
                if sink.name in sinks
            )

        return lambda: now

    def runs(self, version: str, *streams: str) -> Callable[[], Condition]:
        """These streams decide by this version of their bundle."""

        def now() -> bool:
            status = self._world.service.status()
            return status is not None and all(
                stream.version == version for stream in status.streams if stream.name in streams
            )

        return lambda: now

    def _counts(self, field: str) -> dict[str, int]:
        status = self._world.service.status()
        return {} if status is None else {source.name: getattr(source, field) for source in status.sources}


def script(world: World) -> list[Fault]:
    """Return the faults in their order; the first ones are the most telling."""
    to = Conditions(world)
    flows, delivers = to.flows, to.delivers
    sinks = ("mqtt", "webhook")
    rtsp, mjpeg, sound, broker, webhook = world.rtsp, world.mjpeg, world.sound, world.broker, world.webhook
    clock = world.clock
    ballast = world.disk / "ballast"
    renewed = rig.levels_bundle(world.folder, rig.CUE_POLICY, version=2)

    def fill_disk() -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4_096))
            except OSError:
                pass

    def restart_broker(*login: str) -> Callable[[], None]:
        def restart() -> None:
            broker.stop()
            if login:
                broker.accept_only(*login)
            else:
                broker.accept_everybody()
            broker.start()

        return restart

    def renew() -> None:
        rig.install(world.root, renewed)
        world.service.reload()

    def to_captures(number: signal.Signals) -> Callable[[], None]:
        def send() -> None:
            captures = [pid for pid in rig.tree(world.service.pid) if "capture" in rig.command_of(pid)]
            assert captures, "no capture runs in a process of its own"
            for pid in captures:
                os.kill(pid, number)

        return send

    def setting(part: object, name: str, value: object) -> Callable[[], None]:
        return lambda: setattr(part, name, value)

    faults = [
        Fault(
            name="service is killed (-9)", break_=world.service.kill, repair=world.service.start,
            away_s=_AT_ONCE_S, broken=SOURCES, works=flows(*SOURCES), once=True, new_process=True,
        ),
        Fault(
            name="RTSP camera stops, starts", break_=rtsp.stop, repair=rtsp.start,
            broken=("porch",), gap=True, works=flows("porch"),
        ),
        Fault(
            name="broker is killed, starts", break_=broker.kill, repair=broker.start,
            works=delivers("mqtt"),
        ),
        Fault(
            name="microphone is unplugged", break_=sound.unplug, repair=sound.plug_in,
            broken=("hall",), gap=True, works=flows("hall"),
        ),
        Fault(
            name="MJPEG frame is cut off", break_=mjpeg.truncate, away_s=_AT_ONCE_S,
            broken=("yard",), works=flows("yard", reopened=True),
        ),
        Fault(
            name="RTSP camera stalls", break_=rtsp.stall, repair=rtsp.resume, away_s=_LONG_S,
            broken=("porch",), gap=True, works=flows("porch"),
        ),
        Fault(
            name="captures are killed (-9)", break_=to_captures(signal.SIGKILL), away_s=_AT_ONCE_S,
            broken=SOURCES, works=flows("porch", "yard", "hall", reopened=True),
        ),
        Fault(
            name="webhook answers 500", break_=setting(webhook, "status", 500),
            repair=setting(webhook, "status", 200), works=delivers("webhook"),
        ),
        Fault(
            name="wall clock: a year ahead", break_=lambda: clock.jump(YEAR_S), works=delivers(*sinks),
        ),
        Fault(
            name="wall clock: a year behind", break_=lambda: clock.jump(-YEAR_S),
            repair=lambda: clock.jump(0), works=delivers(*sinks),
        ),
        Fault(
            name="disk is full", break_=fill_disk, repair=ballast.unlink, away_s=_LONG_S,
            works=delivers(*sinks, "spool", "log"),
        ),
        Fault(
            name="PCM pipe closes, opens", break_=setting(world.pipe, "closed", True),
            repair=setting(world.pipe, "closed", False), broken=("barn",), gap=True, works=flows("barn"),
        ),
        Fault(
            name="RTSP server hangs", break_=rtsp.hang, repair=rtsp.unhang, away_s=_LONG_S,
            broken=("porch",), gap=True, works=flows("porch"),
        ),
        Fault(
            name="sound server is killed", break_=sound.kill, repair=sound.start,
            broken=("hall",), gap=True, works=flows("hall"),
        ),
        Fault(
            name="bundle is replaced (HUP)", break_=renew, away_s=_AT_ONCE_S,
            works=to.runs("2.0.0", "porch", "yard"), once=True,
        ),
        Fault(
            name="broker refuses the login", break_=restart_broker("somebody", "else"),
            repair=restart_broker(), works=delivers("mqtt"),
        ),
        Fault(
            name="RTSP changes resolution", break_=lambda: rtsp.resize(640, 480),
            repair=lambda: rtsp.resize(320, 240), works=flows("porch"),
        ),
        Fault(
            name="captures hang (STOP)", break_=to_captures(signal.SIGSTOP), away_s=_AT_ONCE_S,
            broken=SOURCES, works=flows("porch", "yard", "hall", reopened=True),
        ),
        Fault(
            name="MJPEG camera stops, starts", break_=mjpeg.stop, repair=mjpeg.start,
            broken=("yard",), gap=True, works=flows("yard"),
        ),
        Fault(
            name="MJPEG camera stalls", break_=setting(mjpeg, "stalled", True),
            repair=setting(mjpeg, "stalled", False), away_s=_LONG_S, broken=("yard",), gap=True,
            works=flows("yard"),
        ),
        Fault(
            name="sound server hangs", break_=sound.hang, repair=sound.unhang, away_s=_LONG_S,
            broken=("hall",), gap=True, works=flows("hall"),
        ),
        Fault(
            name="broker hangs", break_=broker.hang, repair=broker.unhang, away_s=_LONG_S,
            works=delivers("mqtt"),
        ),
        Fault(
            name="webhook is slow", break_=setting(webhook, "delay_s", 5.0),
            repair=setting(webhook, "delay_s", 0.0), works=delivers("webhook"),
        ),
        Fault(
            name="webhook is away", break_=webhook.stop, repair=webhook.start, works=delivers("webhook"),
        ),
    ]  # fmt: skip
    return [fault for fault in faults if fault.name != "disk is full" or world.can_fill_disk]

"""``python -m galago_edge.sources.capture.capture_child FD``: reads one device for its parent.

The order comes over the socket FD, not as an argument: it may hold credentials, and arguments are shown to
everybody.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from galago_edge.children.lifeline import die_with_parent, leave_signals_to_parent
from galago_edge.contract.errors import GalagoError, LinkError, Reason
from galago_edge.sources.capture.capture_memory import bound_capture, memory_fault
from galago_edge.sources.capture.frame_server import ParentGoneError, ParentLink


def main() -> None:
    """Do what the first message orders, until the parent is gone or the device is."""
    die_with_parent()
    leave_signals_to_parent()
    bound_capture()
    link = ParentLink(socket.socket(fileno=int(sys.argv[1])))
    try:
        run(link)
    except ParentGoneError:
        pass
    except GalagoError as error:
        _last_word(link, error)
    except MemoryError:  # there is room again, now that what wanted it is gone
        _last_word(link, memory_fault(link.device))
    except Exception as error:  # noqa: BLE001 - a fault of ours: told like any other, the parent reopens
        text = f"capture process: {type(error).__name__}: {error}"
        _last_word(link, LinkError(Reason.SOURCE_LOST, text, hint="report it"))
    os._exit(0)  # libraries that tidy up at exit may hang there


def run(link: ParentLink) -> None:
    """Open what the order names and serve it.

    Raises:
        ParentGoneError: The parent is gone.
        GalagoError: The device cannot be opened, or gives no more.
    """
    order = link.order()
    if order.kind == "camera":
        from galago_edge.sources.capture import camera

        camera.run(link, order)
    elif order.kind == "mjpeg":
        from galago_edge.sources.capture import mjpeg

        try:
            mjpeg.run(link, order)
        except mjpeg.ContainerStreamError:
            from galago_edge.sources.capture import network

            network.run(link, order)
    elif order.kind == "network":
        from galago_edge.sources.capture import network

        network.run(link, order)
    else:
        from galago_edge.sources.capture import microphone

        microphone.run(link, order)


def _last_word(link: ParentLink, error: GalagoError) -> None:
    with contextlib.suppress(ParentGoneError):
        link.failed(error)


if __name__ == "__main__":
    main()

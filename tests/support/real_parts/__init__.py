"""Real components that tests and benchmarks run against: see README.md one folder up."""

from real_parts.broker import Broker
from real_parts.browser import open_browser
from real_parts.clock import WallClock
from real_parts.dask_cluster import DaskCluster
from real_parts.delegate import build_delegate
from real_parts.disk import small_disk
from real_parts.files import FileServer
from real_parts.missing import missing_part
from real_parts.mjpeg import MjpegServer
from real_parts.packaged import packaged_file
from real_parts.processes import MissingPartError, free_port, wait_for
from real_parts.pulse import SoundServer
from real_parts.rtsp import RtspServer
from real_parts.sound import SoundPipe, silence, tone
from real_parts.sshd import Cable, SshServer
from real_parts.web_camera import OwnCertificate, WebCamera
from real_parts.webhook import WebhookServer

__all__ = [
    "Broker",
    "Cable",
    "DaskCluster",
    "FileServer",
    "MissingPartError",
    "MjpegServer",
    "OwnCertificate",
    "RtspServer",
    "SoundPipe",
    "SoundServer",
    "SshServer",
    "WallClock",
    "WebCamera",
    "WebhookServer",
    "build_delegate",
    "free_port",
    "missing_part",
    "open_browser",
    "packaged_file",
    "silence",
    "small_disk",
    "tone",
    "wait_for",
]

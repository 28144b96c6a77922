"""An RTSP camera of GStreamer, for the system's Python, which has GObject introspection. See rtsp.py.

    /usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT FPS CODEC SOUND [USER PASSWORD basic|digest]

SOUND is none, alaw, aac or opus: a tone of 440 Hz beside the pictures.

One command a line on standard input, one answer a line on standard output; the end of the input ends it.

    level N            even gray of N, from 0 to 255 (with a bar that moves, so that no two frames are equal)
    size W H           another resolution from the next frame on, in the same session
    stall | resume     no more frames, while the server still answers
    freeze | unfreeze  the same picture again and again
    lose N             the next N coded pictures are not sent
    mute | unmute      no more sound, while the pictures go on
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ENCODERS = {
    "h264": "x264enc name=encoder tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max={fps} "
    "threads=1 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1",
    "jpeg": "jpegenc name=encoder quality=90 ! rtpjpegpay name=pay0 pt=26",
}
SOUNDS = {
    "none": "",
    "alaw": "audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 min-ptime=20000000 "
    "max-ptime=20000000",
    "aac": "audio/x-raw,rate=48000,channels=2 ! voaacenc ! rtpmp4gpay name=pay1 pt=97",
    "opus": "audio/x-raw,rate=48000,channels=1 ! opusenc ! rtpopuspay name=pay1 pt=97",
}
TONE_HZ = 440
BAR_ROWS = 8
BAR_CONTRAST = 40


class Camera:
    """What is seen now."""

    def __init__(self, width: int, height: int, fps: int, codec: str) -> None:
        self.studio_range = codec == "h264"  # luma from 16 to 235; in JPEG from 0 to 255
        self.width = width
        self.height = height
        self.fps = fps
        self.level = 128
        self.stalled = False
        self.frozen = False
        self.muted = False
        self.lose = 0
        self.tick = 0
        self.sources: list = []

    @property
    def caps(self) -> Gst.Caps:
        return Gst.Caps.from_string(
            f"video/x-raw,format=I420,width={self.width},height={self.height},framerate={self.fps}/1"
        )

    def picture(self) -> bytes:
        """Return one I420 picture; sizes are multiples of 16, so rows have no padding."""
        rows = bytearray([self.luma(self.level)]) * (self.width * self.height)
        top = self.tick * BAR_ROWS % (self.height // 4)
        bar = self.luma(self.level - BAR_CONTRAST if self.level > 127 else self.level + BAR_CONTRAST)
        rows[top * self.width : (top + BAR_ROWS) * self.width] = bytes([bar]) * (self.width * BAR_ROWS)
        return bytes(rows) + bytes([128]) * (self.width * self.height // 2)

    def luma(self, gray: int) -> int:
        """Return how a gray level is coded."""
        return 16 + round(gray * 219 / 255) if self.studio_range else gray

    def push(self) -> bool:
        """Give the next frame to whoever watches."""
        if not self.stalled:
            if not self.frozen:
                self.tick += 1
            data = self.picture()
            for source in list(self.sources):
                buffer = Gst.Buffer.new_wrapped(data)
                buffer.duration = Gst.SECOND // self.fps
                if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    self.sources.remove(source)
        return True

    def configure(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        """Take a new pipeline into the list."""
        media.get_element().get_parent().connect("element-added", send_at_once)
        source = media.get_element().get_by_name_recurse_up("camera")
        source.set_property("caps", self.caps)
        self.sources.append(source)
        media.get_element().get_by_name_recurse_up("encoder").get_static_pad("src").add_probe(
            Gst.PadProbeType.BUFFER, self.coded
        )
        ears = media.get_element().get_by_name_recurse_up("ears")
        if ears is not None:
            ears.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self.heard)
            ears.get_static_pad("src").add_probe(Gst.PadProbeType.QUERY_UPSTREAM, not_seekable)

    def coded(self, _pad: Gst.Pad, _info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """Let a coded picture pass, or lose it."""
        if self.lose <= 0:
            return Gst.PadProbeReturn.OK
        self.lose -= 1
        return Gst.PadProbeReturn.DROP

    def heard(self, _pad: Gst.Pad, _info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        """Let sound pass, unless it is muted."""
        return Gst.PadProbeReturn.DROP if self.muted else Gst.PadProbeReturn.OK

    def obey(self, words: list) -> None:
        """Do what a line says."""
        match words:
            case ["level", level]:
                self.level = int(level)
            case ["size", width, height]:
                self.width, self.height = int(width), int(height)
                for source in self.sources:
                    source.set_property("caps", self.caps)
            case ["stall"]:
                self.stalled = True
            case ["resume"]:
                self.stalled = False
            case ["freeze"]:
                self.frozen = True
            case ["unfreeze"]:
                self.frozen = False
            case ["lose", count]:
                self.lose = int(count)
            case ["mute"]:
                self.muted = True
            case ["unmute"]:
                self.muted = False
            case _:
                raise ValueError(f"unknown command: {' '.join(words)}")


def not_seekable(_pad: Gst.Pad, info: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
    """Let nobody wind a test tone back: PLAY requests name a beginning, and the camera has none."""
    seeking = info.get_query().type == Gst.QueryType.SEEKING
    return Gst.PadProbeReturn.DROP if seeking else Gst.PadProbeReturn.OK


def send_at_once(_pipeline: Gst.Bin, element: Gst.Element) -> None:
    """Let a sink not wait for the time of a picture; the source is live, so it is due.

    With GStreamer 1.22 about one session in sixty, on a busy machine, never sent a picture: its sink waited
    on the clock for the first one. Most likely a sink that joins a running pipeline can miss by how much
    x264enc moves its times (1000 hours).
    """

    def not_in_sync(sink: Gst.Element, _property: object = None) -> None:
        if sink.get_property("sync"):
            sink.set_property("sync", False)

    if element.get_factory().get_name() == "appsink":
        element.connect("notify::sync", not_in_sync)  # a PLAY request sets it again
        not_in_sync(element)


def main() -> None:
    port, width, height, fps, codec, sound, *login = sys.argv[1:]
    Gst.init(None)
    camera = Camera(int(width), int(height), int(fps), codec)
    factory = GstRtspServer.RTSPMediaFactory()
    source = (
        "appsrc name=camera is-live=true do-timestamp=true format=time max-buffers=2 leaky-type=downstream"
    )
    ears = f"audiotestsrc name=ears is-live=true freq={TONE_HZ} volume=0.25 samplesperbuffer=960 ! "
    heard = f"{ears}{SOUNDS[sound]}" if SOUNDS[sound] else ""
    factory.set_launch(f"( {source} ! {ENCODERS[codec].format(fps=fps)} {heard} )")
    factory.set_shared(True)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP)
    factory.set_latency(0)
    factory.connect("media-configure", camera.configure)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    server.get_mount_points().add_factory("/live", factory)
    if login:
        user, password, method = login
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        if method == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
        server.set_auth(auth)
    if server.attach(None) == 0:
        sys.exit(f"port {port} is taken")
    loop = GLib.MainLoop()

    def command(channel: GLib.IOChannel, _condition: GLib.IOCondition) -> bool:
        line = sys.stdin.readline()
        if not line:
            loop.quit()
            return False
        try:
            camera.obey(line.split())
            answer = {"ok": True}
        except ValueError as error:
            answer = {"ok": False, "error": str(error)}
        print(json.dumps(answer), flush=True)
        return True

    GLib.timeout_add(1000 // camera.fps, camera.push)
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, command)
    print(json.dumps({"ok": True}), flush=True)
    loop.run()


if __name__ == "__main__":
    main()

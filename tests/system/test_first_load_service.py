"""The service meets a bundle that it was not there for when it came: on a card that another machine wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from galago_edge.bundle import open_bundle
from galago_edge.intake.receiver import receive
from galago_edge.store import Store, install_bundle
from galago_edge.store.running_service import ask_status
from real_parts import MjpegServer, wait_for
from real_parts.processes import DEADLINE_S
from test_kit import make_bundle, trust, with_model

CONFIG = """
[[stream]]
name = "door"
source = "camera:{url}"
bundle = "eyes"
"""


def test_a_model_that_would_take_the_service_down_takes_only_its_own_process(
    tmp_path: Path,
    tiny_image_model: bytes,
    bad_models: dict[str, bytes],
    real_part: Callable[..., MjpegServer],
) -> None:
    camera = real_part(MjpegServer, size=(64, 48), fps=20).start()
    root = trust(tmp_path / "device")
    good = make_bundle(tmp_path / "good.galago", tiny_image_model, ["dark", "mid", "bright"], name="eyes")
    receive(good, root)
    release = {"bundle__version": "2.0.0", "bundle__release_counter": 2}
    bad = open_bundle(with_model(good, bad_models["crash"], tmp_path / "bad.galago", **release))
    store = Store(root)
    install_bundle(store, bad, store.trusted(), lambda copy: {"mounted": True})
    assert store.state().slots["eyes"].active.id == bad.id
    config = tmp_path / "galago.toml"
    config.write_text(CONFIG.format(url=camera.url))
    command = [sys.executable, "-m", "galago_edge", "run", "--root", str(root), "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as service:
        try:

            def decides() -> bool:
                assert service.poll() is None
                status = ask_status(root, timeout_s=DEADLINE_S)
                return bool(status and status.streams and status.streams[0].windows > 3)

            wait_for(decides, "windows")
            status = ask_status(root, timeout_s=DEADLINE_S)
            assert status is not None and status.streams[0].version == "1.0.0"
        finally:
            service.kill()
    slot = store.state().slots["eyes"]
    assert slot.active.version == "1.0.0" and bad.id in slot.bad
    assert any(event.reason.startswith("LOAD_CRASH") for event in store.state().history)

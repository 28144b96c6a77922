"""``galago doctor`` beside a real broker, webhook, camera server and delegate."""

from __future__ import annotations

from pathlib import Path

import pytest

from galago_edge.contract.profile import Accelerator, DeviceProfile, Runtime
from galago_edge.contract.status import ServiceStatus
from galago_edge.doctor import Case, Finding, examine, machine_checks
from galago_edge.doctor.check_list import own_checks
from galago_edge.host.machine import this_arch
from galago_edge.service.control import Control
from real_parts import Broker, MjpegServer, WebhookServer


def found(config: Path, name: str, text: str) -> Finding:
    """Write the configuration and return the last finding of one check."""
    config.write_text(f'{text}\n[[stream]]\nname = "door"\nsource = "camera:0"\n', encoding="utf-8")
    checks = [check for check in own_checks() if check.name in ("config", name)]
    assert len(checks) == 2
    every = [*examine(config.parent, config, checks=checks)]
    assert every[0].level == "ok", every[0]
    assert all(finding.fix for finding in every if finding.level != "ok")
    return every[1]


def test_a_broker_takes_us_refuses_us_or_is_not_there(tmp_path: Path, broker: Broker) -> None:
    config = tmp_path / "galago.toml"
    table = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
    assert found(config, "sinks", table).level == "ok"
    broker.stop()
    absent = found(config, "sinks", table)
    assert absent.level == "fail" and "refused" in absent.met
    broker.accept_only("galago", "right")
    broker.start()
    wrong = found(config, "sinks", f'{table}username = "galago"\npassword = "wr0ng"\n')
    assert wrong.level == "fail" and "refuses us" in wrong.met and "wr0ng" not in wrong.met
    assert found(config, "sinks", f'{table}username = "galago"\npassword = "right"\n').level == "ok"
    assert found(config, "sinks", f"{table}tls = true\n").level == "fail"
    nowhere = found(config, "sinks", '[mqtt]\nhost = "broker.invalid"\n')
    assert nowhere.level == "fail" and "resolved" in nowhere.met


def test_a_webhook_is_asked_without_posting(tmp_path: Path, webhook: WebhookServer) -> None:
    config = tmp_path / "galago.toml"
    assert found(config, "sinks", f'[webhook]\nurl = "{webhook.url}"\n').level == "ok"
    assert not webhook.requests
    webhook.stop()
    assert found(config, "sinks", f'[webhook]\nurl = "{webhook.url}"\n').level == "fail"
    unknown = found(config, "sinks", '[webhook]\nurl = "https://u:pw@hook.invalid/x?key=1"\n')
    assert unknown.level == "fail" and "pw" not in unknown.met and "key" not in unknown.met


def test_a_network_camera_is_there_or_not(tmp_path: Path, mjpeg_camera: MjpegServer) -> None:
    config = tmp_path / "galago.toml"
    table = f'[source.door]\naddress = "camera:{mjpeg_camera.url}"\n[[stream]]\nname = "a"\nsource = "door"\n'
    assert found(config, "sources", table).level == "ok"
    mjpeg_camera.stop()
    assert found(config, "sources", table).level == "fail"


@pytest.mark.parametrize(
    ("mode", "fault"),
    [("good", None), ("create_fails", "delegate_load_failed")],
)
def test_a_real_delegate_is_probed_in_a_process_of_its_own(
    tmp_path: Path, delegate_library: Path, mode: str, fault: str | None
) -> None:
    accelerator = Accelerator(library=str(delegate_library), options={"mode": mode})
    profile = DeviceProfile(
        id="board",
        title="A board",
        arch=this_arch(),
        ram_mb=512,
        cores=1,
        accelerator={"gpu": accelerator},
        runtime=Runtime(package="ai-edge-litert", min_version="2.1.0", ops={}),
    )
    (finding,) = machine_checks.check_accelerators(Case(tmp_path, profile=profile))
    assert finding.level == ("ok" if fault is None else "warn")
    assert finding.met.startswith(fault or str(delegate_library))


def test_a_running_service_tells_its_problems(tmp_path: Path) -> None:
    status = ServiceStatus(
        device="porch",
        version="0.1.0",
        pid=1,
        uptime_s=5.0,
        wall_ns=0,
        clock_synced=True,
        state="degraded",
        problems=("source door is failed: no route to host", "mqtt is retrying"),
    )
    with Control(tmp_path, lambda: status):
        case = Case(tmp_path)
        findings = list(machine_checks.check_service(case))
    assert case.running
    assert [(finding.level, finding.met) for finding in findings] == [
        ("warn", "source door is failed: no route to host"),
        ("warn", "mqtt is retrying"),
    ]
    (after,) = machine_checks.check_service(Case(tmp_path))
    assert after.level == "ok" and "none runs" in after.met

"""The governor: which thermometers it believes, and how it walks its ladder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, Reason
from galago_edge.contract.settings import GovernorSettings
from galago_edge.service.governor import Governor, GovernorStep, Power, Zone, read_power, read_zones

S = 1_000_000_000
FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"
SETTINGS = GovernorSettings(ladder=(1, 2, 4), hot_c=80.0, cool_c=70.0, every_s=10.0)


class Board:
    """A /sys of our own, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_ns = 1_000 * S

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def zones(self, zones: Mapping[str, str]) -> None:
        for number, (type_, temp) in enumerate(zones.items()):
            self.write(f"class/thermal/thermal_zone{number}/type", type_)
            self.write(f"class/thermal/thermal_zone{number}/temp", temp)

    def heat(self, celsius: float) -> None:
        self.zones({"cpu-thermal": str(round(celsius * 1_000))})

    def governor(self, settings: GovernorSettings = SETTINGS) -> Governor:
        return Governor(settings, sys_root=self.root, clock_ns=lambda: self.now_ns)

    def after(self, seconds: float, governor: Governor) -> GovernorStep | None:
        self.now_ns += round(seconds * S)
        return governor.look()


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


# ---- reading

RASPBERRY_PI = {"cpu-thermal": "48312"}
ROCK_5 = {
    "soc-thermal": "50846",
    "bigcore0-thermal": "51769",
    "littlecore-thermal": "50846",
    "npu-thermal": "49923",
}
JETSON = {"cpu-thermal": "47500", "gpu-thermal": "-256000", "tj-thermal": "48000"}
PC = {"acpitz": "102800", "INT3400 Thermal": "20000", "x86_pkg_temp": "55000", "iwlwifi_1": "41000"}


@pytest.mark.parametrize(
    ("zones", "hottest"), [(RASPBERRY_PI, 48.3), (ROCK_5, 51.8), (JETSON, 48.0), (PC, 55.0)], ids=str
)
def test_the_processors_own_thermometer_is_found_by_its_type(
    zones: dict[str, str], hottest: float, board: Board
) -> None:
    board.zones(zones)
    governor = board.governor()
    governor.look()
    assert governor.temperature_c == hottest


def test_zones_that_the_configuration_names_are_the_only_ones_believed(board: Board) -> None:
    board.zones(PC)
    found = read_zones(board.root, ("iwlwifi_1",))
    assert [zone.type for zone in found if zone.believed] == ["iwlwifi_1"]
    assert Zone("acpitz", 102.8, False) in found


@pytest.mark.parametrize(
    ("temp", "celsius"), [("-40000", -40.0), ("125000", 125.0), ("48350", 48.4), ("0", 0.0)]
)
def test_what_a_board_may_have_is_believed_to_a_tenth(temp: str, celsius: float, board: Board) -> None:
    board.zones({"cpu-thermal": temp})
    assert read_zones(board.root) == [Zone("cpu-thermal", celsius, True)]


@pytest.mark.parametrize(
    ("celsius", "steps"), [(80.0, [2, 4]), (79.9, []), (70.0, [])], ids=["hot", "below hot", "cool_c itself"]
)
def test_the_limits_themselves_are_hot_and_not_cool(celsius: float, steps: list[int], board: Board) -> None:
    governor = board.governor()
    board.heat(celsius)
    assert [step.every for step in (board.after(10, governor) for _ in range(3)) if step] == steps
    governor = board.governor()
    board.heat(90)
    governor.look()
    board.heat(69.9)
    assert board.after(9.999, governor) is None
    assert board.after(0.001, governor) == GovernorStep(1, 2, ("cool",), 69.9)


@pytest.mark.parametrize("temp", ["-87900", "125001", "-40001", "", "n/a", "2147483647"])
def test_an_absurd_temperature_is_none(temp: str, board: Board) -> None:
    board.zones({"cpu-thermal": temp})
    assert read_zones(board.root) == [Zone("cpu-thermal", None, True)]
    assert board.governor().look() is None


def test_a_board_without_any_sensor_is_left_alone(board: Board) -> None:
    governor = board.governor()
    for _ in range(5):
        assert board.after(60, governor) is None
    assert (governor.temperature_c, governor.power, governor.every) == (None, None, 1)
    assert read_zones(board.root / "nothing") == [] and read_power(board.root / "nothing") is None


def test_a_zone_that_cannot_be_read_does_not_hide_the_others(board: Board) -> None:
    board.zones({"cpu0-thermal": "60000", "cpu1-thermal": "61000"})
    (board.root / "class/thermal/thermal_zone1/temp").unlink()
    (board.root / "class/thermal/thermal_zone1/temp").mkdir()  # every read of it fails
    assert [zone.celsius for zone in read_zones(board.root)] == [60.0, None]


@pytest.mark.parametrize(
    ("bits", "words", "seen"),
    [
        ("0", (), False),
        ("50000", (), True),
        ("1", ("under_voltage",), False),
        ("50005", ("under_voltage", "throttled"), True),
        ("0x80008", ("soft_limit",), False),
        ("2", (), False),
        ("e000e", ("throttled", "soft_limit"), False),
    ],
)
def test_what_the_firmware_says_is_read_bit_by_bit(
    bits: str, words: tuple[str, ...], seen: bool, board: Board
) -> None:
    board.write(FIRMWARE, bits)
    power = read_power(board.root)
    assert power is not None
    assert (power.words(), power.under_voltage_seen) == (words, seen)


def test_other_kernels_tell_the_supply_elsewhere(board: Board) -> None:
    board.write("devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", "4")
    assert read_power(board.root) == Power(under_voltage=False, throttled=True, soft_limit=False)


@pytest.mark.parametrize(("alarm", "words"), [("0", ()), ("1", ("under_voltage",))])
def test_the_voltage_monitor_is_asked_when_there_is_no_firmware_file(
    alarm: str, words: tuple[str, ...], board: Board
) -> None:
    board.write("class/hwmon/hwmon0/name", "cpu_thermal")
    board.write("class/hwmon/hwmon1/name", "rpi_volt")
    board.write("class/hwmon/hwmon1/in0_lcrit_alarm", alarm)
    power = read_power(board.root)
    assert power is not None and power.words() == words


def test_a_firmware_that_says_nonsense_says_nothing(board: Board) -> None:
    board.write(FIRMWARE, "throttled")
    assert read_power(board.root) is None


# ---- the ladder


def test_heat_goes_down_one_step_at_a_time_and_says_why(board: Board) -> None:
    governor = board.governor()
    board.heat(79.9)
    assert governor.look() is None
    board.heat(80.0)
    assert board.after(1, governor) == GovernorStep(2, 1, ("hot",), 80.0)
    assert board.after(9.9, governor) is None
    board.heat(83.25)
    step = board.after(0.1, governor)
    assert step is not None and step.every == governor.every == 4
    assert step.detail() == {"before": 2, "reasons": ["hot"], "temperature_c": 83.2}
    assert board.after(60, governor) is None  # there is no lower step


def test_between_cool_and_hot_nothing_changes(board: Board) -> None:
    governor = board.governor()
    board.heat(85)
    assert governor.look() is not None
    for celsius in (79.9, 70.0, 79.9, 75.0):
        board.heat(celsius)
        assert board.after(60, governor) is None
    board.heat(69.9)
    assert board.after(60, governor) == GovernorStep(1, 2, ("cool",), 69.9)
    assert board.after(60, governor) is None


def test_a_temperature_that_jumps_about_makes_at_most_one_step_in_the_declared_time(board: Board) -> None:
    governor = board.governor()
    steps = []
    for second in range(300):
        board.heat(95 if second % 2 else 40)
        if board.after(1, governor) is not None:
            steps.append(board.now_ns)
    assert 2 <= len(steps) <= 31
    assert min(later - earlier for earlier, later in itertools.pairwise(steps)) >= 10 * S


def test_a_starved_board_does_less_although_it_is_cool(board: Board) -> None:
    governor = board.governor()
    board.heat(45)
    board.write(FIRMWARE, "50005")
    assert governor.look() == GovernorStep(2, 1, ("under_voltage", "throttled"), 45.0)
    board.write(FIRMWARE, "50000")  # it has been, and is no more
    assert board.after(10, governor) == GovernorStep(1, 2, ("cool",), 45.0)


def test_a_board_that_only_knows_its_supply_comes_back_too(board: Board) -> None:
    governor = board.governor()
    board.write(FIRMWARE, "8")
    step = governor.look()
    assert step is not None
    assert step.detail() == {"before": 1, "reasons": ["soft_limit"]}
    board.write(FIRMWARE, "0")
    assert board.after(10, governor) == GovernorStep(1, 2, ("cool",), None)


def test_a_thermometer_that_fails_for_a_moment_is_no_sign_of_coolness(board: Board) -> None:
    governor = board.governor()
    board.heat(85)
    assert governor.look() is not None
    board.heat(300)
    assert board.after(30, governor) == GovernorStep(4, 2, ("hot",), 85.0)  # the last that was known
    assert board.after(20, governor) is None
    assert board.after(20, governor) == GovernorStep(2, 4, ("cool",), None)  # and then it is not known


def test_a_ladder_of_one_step_never_changes_anything(board: Board) -> None:
    governor = board.governor(GovernorSettings(ladder=(1,)))
    board.heat(110)
    assert governor.look() is None and governor.temperature_c == 110.0


@pytest.mark.parametrize(
    "settings",
    [
        GovernorSettings(ladder=(2, 4)),
        GovernorSettings(ladder=(1, 4, 2)),
        GovernorSettings(ladder=(1, 2, 2)),
        GovernorSettings(hot_c=70.0, cool_c=70.0),
        GovernorSettings(hot_c=60.0),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: GovernorSettings, board: Board) -> None:
    with pytest.raises(CallerError, match=r"governor\.") as caught:
        board.governor(settings)
    assert caught.value.reason is Reason.CONFIG_BAD and caught.value.hint


def test_the_real_board_can_be_read() -> None:
    governor = Governor(GovernorSettings())
    governor.look()
    assert governor.temperature_c is None or -40 <= governor.temperature_c <= 125

"""A small piece of the campaign of the blind camera: one place, one day."""

from __future__ import annotations

import numpy as np
import pytest

from campaigns import blind_camera
from campaigns.blind_scenes import Scene


def test_a_day_of_one_yard_has_no_false_alarm_and_its_faults_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blind_camera, "BURST_EVERY_S", 600)  # fewer pictures: they take time
    course = blind_camera.walk(Scene(7, "yard"), Scene(8, "road"), "yard", 0.25, 5.0, 10_800.0)
    assert course.alarms == []
    tried = [trial for trial in course.trials if trial.kind != "fading"]
    assert len(tried) == 10
    assert [trial.kind for trial in tried if trial.told is None] == []
    assert all(trial.after_s is not None and 25 <= trial.after_s <= 60 for trial in tried)
    found = blind_camera.summary([course])
    assert found["false_alarms"] == 0 and found["kinds"]["moved"]["as"] == {"moved": 2}
    assert "0 false alarms in 0.2 days" in blind_camera.table(found)


def test_a_scene_can_be_walked_through_again() -> None:
    at_s = 8.5 * 3_600
    one, other = (Scene(3, "room").picture(at_s) for _ in range(2))
    assert one.shape == (240, 320, 3) and np.array_equal(one, other)

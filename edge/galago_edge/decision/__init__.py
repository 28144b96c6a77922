"""Logits become scores, scores become events: integers only, counted in stream time."""

from galago_edge.decision.activation import ONE, Activation, to_q16
from galago_edge.decision.activity_gate import LevelSensor, MotionSensor, Sensor, sensor_of
from galago_edge.decision.decider import Decider, Ended, Fired

__all__ = [
    "ONE",
    "Activation",
    "Decider",
    "Ended",
    "Fired",
    "LevelSensor",
    "MotionSensor",
    "Sensor",
    "sensor_of",
    "to_q16",
]

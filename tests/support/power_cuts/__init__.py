"""Power cuts at every moment of everything that changes a store, without a power switch.

``recorder`` writes down what an operation does to the disk, ``model`` says what a cut may leave of it,
``promises`` looks at each such disk with the device's own code, ``scenarios`` has the operations, and
``mutants`` takes one sync or rename out of the store at a time, to see that it would be noticed.
"""

from power_cuts.campaign import Campaign, Outcome, Violation
from power_cuts.model import Cut, Disk, PowerCuts
from power_cuts.mutants import Mutant, mutants, statements
from power_cuts.promises import Examiner, Sight
from power_cuts.recorder import QuickFs, Recorder, Recording, Site
from power_cuts.scenarios import SCENARIOS, Scenario, World

__all__ = [
    "SCENARIOS",
    "Campaign",
    "Cut",
    "Disk",
    "Examiner",
    "Mutant",
    "Outcome",
    "PowerCuts",
    "QuickFs",
    "Recorder",
    "Recording",
    "Scenario",
    "Sight",
    "Site",
    "Violation",
    "World",
    "mutants",
    "statements",
]

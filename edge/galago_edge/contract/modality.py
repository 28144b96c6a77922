"""The two senses of a device."""

from __future__ import annotations

from typing import Literal

Modality = Literal["camera", "microphone"]
"""What a source gives and what a bundle is for: pictures or sound."""

"""The recording file: MCAP, with Foxglove's messages and Galago's integers (docs/recording-format.md)."""

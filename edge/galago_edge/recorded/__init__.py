"""The recording file: MCAP, with Foxglove's messages and Galago's own integers. Format: docs/recording-format.md."""

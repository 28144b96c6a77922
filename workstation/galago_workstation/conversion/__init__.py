"""Conversion: from a run's Keras model to the TFLite files that passed every quality gate."""

"""Evaluation: one scorecard for every form of a model, on samples that training never saw."""

"""The report of a run: one page that shows what the model answers, and on what."""

"""The front door for Python programs: what ``import galago_edge`` offers, and the commands use too.

Programs import the names from ``galago_edge`` itself (docs/python.md); where they lie in here may change.
"""

"""The sinks that come with Galago: ``NAME_sink`` describes the one of the table ``[NAME]``."""

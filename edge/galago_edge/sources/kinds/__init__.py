"""The sources that come with Galago: ``NAME_source`` describes the kind ``NAME``."""

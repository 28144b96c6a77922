"""The bundle: everything that decides an answer in one signed file, read with suspicion."""

from galago_edge.bundle.keys import TrustedKeys
from galago_edge.bundle.reading import Bundle, open_bundle, require_trust
from galago_edge.bundle.writing import file_entry, write_bundle

__all__ = ["Bundle", "TrustedKeys", "file_entry", "open_bundle", "require_trust", "write_bundle"]

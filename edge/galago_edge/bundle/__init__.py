"""The bundle: everything that decides an answer in one signed file, read with suspicion."""

from galago_edge.bundle.reader import Bundle, open_bundle, require_trust
from galago_edge.bundle.trust import TrustedKeys
from galago_edge.bundle.writer import file_entry, sign_again, write_bundle

__all__ = [
    "Bundle",
    "TrustedKeys",
    "file_entry",
    "open_bundle",
    "require_trust",
    "sign_again",
    "write_bundle",
]

"""The status page of a running service: what a browser shows, and ``/metrics``."""

from galago_edge.service.page.served_file import attached_files
from galago_edge.service.page.server import Page

__all__ = ["Page", "attached_files"]

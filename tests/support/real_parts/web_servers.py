"""Web servers of many makers, each of which notes the key of every POST request to ``/hook``."""

from __future__ import annotations

import sys
from pathlib import Path

from real_parts.hook_app import KINDS
from real_parts.processes import Child, MissingPartError, answers, free_port, tool

READ_FORMS = ("flask", "aiohttp", "tornado", "php")
"""Those that take a form apart, and keep the file in it."""
OF_PYTHON = tuple(kind.__name__ for kind in KINDS)
WEB_SERVERS = (*OF_PYTHON, "php", "nginx", "lighttpd")

_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{
    log_format keys '$http_idempotency_key';
    access_log {notes} keys;
    keepalive_timeout 1s;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/a; fastcgi_temp_path {folder}/b;
    uwsgi_temp_path {folder}/c; scgi_temp_path {folder}/d;
    server {{ listen 127.0.0.1:{port}; location /hook {{ return 200 "thank you\\n"; }} }}
}}
"""
_LIGHTTPD = """
server.modules = ("mod_accesslog")
server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-idle = 1
accesslog.format = "%{{Idempotency-Key}}i"
accesslog.filename = "{notes}"
"""
_PHP = """<?php
if (isset($_FILES["file"])) {{
    @mkdir({forms!r});
    $name = {forms!r} . "/" . $_FILES["file"]["name"];
    move_uploaded_file($_FILES["file"]["tmp_name"], $name);
    file_put_contents("$name.record", $_FILES["file"]["type"] . "\\n" . $_POST["record"]);
}}
file_put_contents({notes!r}, $_SERVER["HTTP_IDEMPOTENCY_KEY"] . "\\n", FILE_APPEND);
echo json_decode(file_get_contents("php://input"))->label ?? "a form", "\\n";
"""


class NotingWebServer:
    """One of them, on a free port of loopback."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Prepare it; ``kind`` is one of ``WEB_SERVERS``.

        Raises:
            MissingPartError: It is not installed.
        """
        self._folder = folder / kind
        self._folder.mkdir()
        self._notes = self._folder / "notes"
        self._notes.touch()
        self._kind = kind
        self._child: Child | None = None
        self.port = free_port()
        self._command = self._prepared()

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.port}/hook"

    def keys(self) -> list[str]:
        """Return the keys that came, in order."""
        return self._notes.read_text(encoding="utf-8").split()

    def forms(self) -> dict[str, tuple[str, str, bytes]]:
        """Return of each file that came in a form: its type, what stood in ``record``, its bytes."""
        found = {}
        for path in (self._folder / "forms").glob("*.record"):
            media_type, _, record = path.read_text(encoding="utf-8").partition("\n")
            found[path.stem] = (media_type, record, path.with_suffix("").read_bytes())
        return found

    def start(self) -> NotingWebServer:
        """Start it and wait until it accepts connections."""
        self._child = Child(self._command, self._folder / "log", cwd=self._folder)
        self._child.wait_until(lambda: answers(self.port), self._kind)
        return self

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _prepared(self) -> list[str]:
        where = {
            "folder": self._folder,
            "notes": str(self._notes),
            "forms": str(self._folder / "forms"),
            "port": self.port,
        }
        if self._kind == "nginx":
            return [tool("nginx"), "-c", self._written("nginx.conf", _NGINX.format(**where))]
        if self._kind == "lighttpd":
            self._written("hook", "thank you\n")
            return [tool("lighttpd"), "-D", "-f", self._written("lighttpd.conf", _LIGHTTPD.format(**where))]
        if self._kind == "php":
            script = self._written("hook.php", _PHP.format(**where))
            return [tool("php"), "-S", f"127.0.0.1:{self.port}", script]
        if self._kind in ("waitress", "cheroot", "gunicorn", "flask", "aiohttp", "tornado", "uvicorn"):
            try:
                __import__(self._kind)
            except ModuleNotFoundError:
                raise MissingPartError(f"{self._kind} of the extra dev") from None
        app = Path(__file__).with_name("hook_app.py")
        return [sys.executable, str(app), self._kind, str(self.port), str(self._notes)]

    def _written(self, name: str, text: str) -> str:
        path = self._folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

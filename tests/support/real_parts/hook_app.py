"""Web servers that take POST requests and note each one's key: ``python hook_app.py KIND PORT NOTES``.

Each is used as its own first example shows it, at its own settings; none is ours.
"""

from __future__ import annotations

import http.server
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
KEY = "Idempotency-Key"


def note(notes: str, key: str) -> None:
    """Add a key to the file."""
    with Path(notes).open("a", encoding="utf-8") as file:
        file.write(f"{key}\n")


def keep(notes: str, name: str, media_type: str, content: bytes, record: str) -> None:
    """Write the file of a form beside the notes, and what stood beside it."""
    place = Path(notes).parent / "forms"
    place.mkdir(exist_ok=True)
    (place / name).write_bytes(content)
    (place / f"{name}.record").write_text(f"{media_type}\n{record}", encoding="utf-8")


def python_http_server(port: int, notes: str, *, reads: bool = True) -> None:
    """``http.server`` as it is: HTTP/1.0, the answer has neither length nor body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if reads:
                self.rfile.read(int(self.headers["Content-Length"]))
            note(notes, self.headers[KEY])
            self.send_response(200)
            self.end_headers()

    http.server.HTTPServer((HOST, port), Handler).serve_forever()


def python_http_server_deaf(port: int, notes: str) -> None:
    """The same by those who do not read what was posted."""
    python_http_server(port, notes, reads=False)


def wsgi(notes: str) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Return a WSGI application."""

    def application(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        note(notes, environ["HTTP_IDEMPOTENCY_KEY"])
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"thank ", b"you\n"]

    return application


def wsgiref(port: int, notes: str) -> None:
    """The standard library's."""
    from wsgiref.simple_server import make_server

    make_server(HOST, port, wsgi(notes)).serve_forever()


def waitress(port: int, notes: str) -> None:
    """Waitress."""
    from waitress import serve

    serve(wsgi(notes), host=HOST, port=port)


def cheroot(port: int, notes: str) -> None:
    """CherryPy's server."""
    from cheroot.wsgi import Server

    Server((HOST, port), wsgi(notes)).start()


def gunicorn(port: int, notes: str) -> None:
    """Gunicorn with one synchronous worker."""
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            self.cfg.set("bind", f"{HOST}:{port}")

        def load(self) -> Any:
            return wsgi(notes)

    Application().run()


def flask(port: int, notes: str) -> None:
    """Flask with Werkzeug's own server."""
    import flask as library

    application = library.Flask("hook")

    @application.post("/hook")
    def hook() -> tuple[dict[str, str], int]:
        request = library.request
        note(notes, request.headers[KEY])
        if (file := request.files.get("file")) is not None:
            keep(notes, str(file.filename), file.content_type, file.read(), request.form["record"])
            return {"took": str(file.filename)}, 201
        return {"took": request.get_json()["label"]}, 201

    application.run(HOST, port)


def aiohttp(port: int, notes: str) -> None:
    """aiohttp."""
    from aiohttp import web

    async def hook(request: web.Request) -> web.Response:
        if request.content_type == "multipart/form-data":
            form = await request.post()
            file, record = form["file"], form["record"]
            assert isinstance(file, web.FileField)
            assert isinstance(record, bytes | bytearray)  # of no type that is text
            told = record.decode()
            keep(notes, file.filename, file.content_type, file.file.read(), told)
        else:
            await request.json()
        note(notes, request.headers[KEY])
        return web.Response(status=204)

    application = web.Application()
    application.router.add_post("/hook", hook)
    web.run_app(application, host=HOST, port=port)


def tornado(port: int, notes: str) -> None:
    """Tornado."""
    import asyncio

    from tornado.web import Application, RequestHandler

    class Hook(RequestHandler):
        def post(self) -> None:
            for file in self.request.files.get("file", []):
                record = self.get_body_argument("record")
                keep(notes, file["filename"], file["content_type"], file["body"], record)
            note(notes, self.request.headers[KEY])
            self.write("thank you\n")
            self.flush()  # before its end: it comes in chunks

    async def serve() -> None:
        Application([("/hook", Hook)]).listen(port, HOST)
        await asyncio.Event().wait()

    asyncio.run(serve())


def uvicorn(port: int, notes: str) -> None:
    """Uvicorn with a bare ASGI application, which answers in chunks."""
    import uvicorn as library

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        note(notes, dict(scope["headers"])[KEY.lower().encode()].decode())
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b"thank ", "more_body": True})
        await send({"type": "http.response.body", "body": b"you\n"})

    library.run(application, host=HOST, port=port)


KINDS = (
    python_http_server, python_http_server_deaf, wsgiref, waitress, cheroot, gunicorn, flask, aiohttp,
    tornado, uvicorn,
)  # fmt: skip

if __name__ == "__main__":
    kind = next(one for one in KINDS if one.__name__ == sys.argv[1])
    kind(int(sys.argv[2]), sys.argv[3])

"""A web server over a folder, on a real socket, that misbehaves as its knobs say."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class ArchiveServer(ThreadingHTTPServer):
    """Serves the files of `folder`; counts what was asked."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.ranges = True
        self.breaks_after: list[int] = []  # how many bytes of the next answers come before the connection breaks
        self.appends = b""  # what comes after a file's own bytes
        self.says_bytes: int | None = None  # a Content-Length that is not true
        self.status: int | None = None
        self.redirect = ""
        self.asked: list[tuple[str, str | None]] = []  # path and Range header

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArchiveServer

    def do_GET(self) -> None:
        knobs = self.server
        wanted = self.headers["Range"]
        knobs.asked.append((self.path, wanted))
        path = knobs.folder / self.path.lstrip("/")
        if knobs.status or not path.is_file():
            self._head(knobs.status or 404, 0)
            return
        if knobs.redirect:
            self.send_response(302)
            self.send_header("Location", knobs.redirect + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = path.read_bytes() + (knobs.appends if path.suffix == ".tar" else b"")
        start = int(re.findall(r"bytes=(\d+)-", wanted)[0]) if wanted and knobs.ranges else 0
        if start and start >= len(data):
            self._head(416, 0)
            return
        part = data[start:]
        self._head(206 if start else 200, len(part) if knobs.says_bytes is None else knobs.says_bytes, f"bytes {start}-{len(data) - 1}/{len(data)}")
        if knobs.breaks_after and path.suffix == ".tar":
            self.wfile.write(part[: knobs.breaks_after.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(part[: knobs.says_bytes])
        self.close_connection = knobs.says_bytes is not None

    def _head(self, status: int, length: int, content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """It prints nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[ArchiveServer]:
    """The server, in a thread of its own."""
    with ArchiveServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)

"""A web server for tests: files from memory, resumed where asked for, broken off where told to."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class FileServer:
    """What is served, and how.

    Attributes:
        files: content by path, without the first slash.
        break_after: bytes of an answer after which the connection is closed, for each request of a
            path in turn; None or no more entries: all of it.
        ranges: whether parts of files are given.
        etags: by which a path's version is told.
        status: answered instead of the file.
        asked: (path, first byte) of each request.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    break_after: dict[str, list[int | None]] = field(default_factory=dict)
    ranges: bool = True
    etags: dict[str, str] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def url(self, path: str) -> str:
        """Where a file is served."""
        return f"{self.address}/{path}"


@contextmanager
def serve() -> Iterator[FileServer]:
    """A running server on this machine."""
    served = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, served)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def _answer(request: http.server.BaseHTTPRequestHandler, served: FileServer) -> None:
    path = request.path.removeprefix("/")
    wanted = request.headers.get("Range") if served.ranges else None
    if request.headers.get("If-Range") not in (None, served.etags.get(path)):
        wanted = None
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
    served.asked.append((path, start))
    if path in served.status or path not in served.files:
        request.send_error(served.status.get(path, 404))
        return
    content = served.files[path]
    if start >= len(content) and wanted:
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{len(content)}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    request.send_response(206 if wanted else 200)
    request.send_header("Content-Length", str(len(content) - start))
    if wanted:
        end = len(content) - 1
        request.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
    if path in served.etags:
        request.send_header("ETag", served.etags[path])
    request.end_headers()
    breaks = served.break_after.get(path, [])
    limit = breaks.pop(0) if breaks else None
    request.wfile.write(content[start:] if limit is None else content[start : start + limit])

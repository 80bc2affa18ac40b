"""As much of S3 as Snakemake's storage plugin asks for: objects of any bucket, in memory."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Bucket:
    """A server of objects.

    Attributes:
        address: to be given as the endpoint.
        objects: (content, when it was stored) by path: bucket and key.
        parts: of uploads that are under way, by path and number.
    """

    address: str = ""
    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def store(self, path: str, content: bytes) -> None:
        """Put an object in its place."""
        self.objects[path] = (content, datetime.now(UTC))

    def keys(self, prefix: str) -> list[str]:
        """What lies below a path, without it, in order."""
        found = [path.removeprefix(prefix) for path in self.objects if path.startswith(prefix)]
        return sorted(found)


@contextmanager
def serve_bucket() -> Iterator[Bucket]:
    """A server on this machine, as long as the context lasts."""
    bucket = Bucket()

    class Handler(_Handler):
        served = bucket

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    bucket.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    served: Bucket
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # which makes small answers wait

    def do_GET(self) -> None:
        path, query = self._place()
        if "/" not in path:
            self._answer(200, _listing(self.served, path, query.get("prefix", [""])[0]))
        elif path in self.served.objects:
            content, stored = self.served.objects[path]
            self._answer(200, content, stored)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        path, query = self._place()
        content = self._body()
        if "partNumber" in query:
            self.served.parts[path][int(query["partNumber"][0])] = content
        elif "/" in path:
            self.served.store(path, content)
        self._answer(200)

    def do_POST(self) -> None:
        """The begin and the end of an upload in parts."""
        path, query = self._place()
        self._body()
        if "uploads" in query:
            self.served.parts[path] = {}
            self._answer(200, b"<Upload><UploadId>1</UploadId></Upload>")
        else:
            parts = self.served.parts.pop(path)
            self.served.store(path, b"".join(parts[number] for number in sorted(parts)))
            self._answer(200, b"<Done></Done>")

    def do_DELETE(self) -> None:
        self.served.objects.pop(self._place()[0], None)
        self._answer(204)

    def _place(self) -> tuple[str, dict[str, list[str]]]:
        url = urlsplit(self.path)
        return unquote(url.path).strip("/"), parse_qs(url.query, keep_blank_values=True)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _answer(self, status: int, content: bytes = b"", stored: datetime | None = None) -> None:
        length = len(content)
        first, last = 0, length - 1
        if status == 200 and "Range" in self.headers:
            asked = self.headers["Range"].removeprefix("bytes=").split("-")
            first, last = int(asked[0]), min(int(asked[1] or last), last)
            status, content = 206, content[first : last + 1]
        self.send_response(status)
        if stored is not None:
            self.send_header("Last-Modified", stored.strftime("%a, %d %b %Y %H:%M:%S GMT"))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{length}")
        self.send_header("ETag", '"none"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


def _listing(served: Bucket, bucket: str, prefix: str) -> bytes:
    entries = [
        f"<Contents><Key>{escape(path.removeprefix(f'{bucket}/'))}</Key><Size>{len(content)}</Size>"
        f"<LastModified>{stored:%Y-%m-%dT%H:%M:%S.000Z}</LastModified></Contents>"
        for path, (content, stored) in sorted(served.objects.items())
        if path.startswith(f"{bucket}/{prefix}")
    ]
    return (
        f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>"
        f"{''.join(entries)}</ListBucketResult>"
    ).encode()

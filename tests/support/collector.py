"""A collector of traces: it takes OTLP over HTTP on loopback and keeps what comes."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from crucible.telemetry.otlp import SpanRecord, spans_in

_WITHIN_S = 60


class Collector:
    """What was exported, and in requests with which headers. With another ``status`` nothing is kept.

    A collector that hangs answers nobody before it is let go.
    """

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self._records: list[SpanRecord] = []
        self._lock = threading.Lock()
        self._gate = threading.Event()
        self._gate.set()

    def hang(self) -> None:
        """Answer nobody from now on."""
        self._gate.clear()

    def let_go(self) -> None:
        """Answer everybody again."""
        self._gate.set()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Decode and keep one request; returns the status of the answer."""
        with self._lock:
            self.requests += 1
        self._gate.wait()
        if self.status == 200:
            found, rejected = spans_in(body)
            assert not rejected
            with self._lock:
                self._records += found
                self.headers.append(headers)
        return self.status

    @property
    def records(self) -> list[SpanRecord]:
        """All spans until now."""
        with self._lock:
            return list(self._records)

    def of(self, trace_id: str) -> list[SpanRecord]:
        """The spans of a trace until now."""
        return [each for each in self.records if each.trace_id == trace_id]

    async def seen(self, trace_id: str, *names: str) -> list[SpanRecord]:
        """The spans of a trace, once all ``names`` are among them, as often as they are given."""
        async with asyncio.timeout(_WITHIN_S):
            while True:
                found = self.of(trace_id)
                there = [each.name for each in found]
                if all(there.count(name) >= names.count(name) for name in names):
                    return found
                await asyncio.sleep(0.05)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            known = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(collector.take(body, headers) if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Whoever does not wait for an answer breaks its connection; that is not worth a traceback."""

    server = Server(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield collector
    finally:
        collector.let_go()
        server.shutdown()
        server.server_close()

"""A stand-in for the executor service: it speaks its HTTP and runs no code at all.

As a program (``python -m tests.support.stub_executor PORT``) it serves until it is killed.
"""

import base64
import json
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.valkey import free_port

TOKEN = "token-of-the-tests"


class StubExecutor:
    """Answers every request with an observation whose standard output is the program's text.

    ``hold`` keeps requests waiting until ``let_go``; with another ``status`` they are refused, with
    ``retry_after`` where that is set, and only the first ``refusals`` where that is. ``posts`` counts those
    that were refused too, ``asked_at`` has when.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: Counter[str] = Counter()
        self.posts = 0
        self.order: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.cancelled: set[str] = set()
        self.connections = 0
        self.status = 200
        self.retry_after: str | None = None
        self.refusals: int | None = None
        self.asked_at: list[float] = []
        self.observation: dict[str, object] = {}
        self._gate = threading.Event()
        self._gate.set()
        self._server: ThreadingHTTPServer | None = None
        self._open: list[socket.socket] = []

    def start(self) -> None:
        """Listens from now on, on the same port each time."""
        self._server = _server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Lets everything go, stops listening and cuts all connections."""
        self.let_go()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def hold(self) -> None:
        """Keeps requests from being answered."""
        self._gate.clear()

    def let_go(self) -> None:
        """Answers the held requests and those to come."""
        self._gate.set()

    def cancel(self, run_id: str) -> bool:
        """Ends a request that is held; whether there is one."""
        if run_id not in self.requests or run_id in self.answers:
            return False
        self.cancelled.add(run_id)
        return True

    def add_headers(self, answer: BaseHTTPRequestHandler, status: int) -> None:
        """Says beside a refusal when to come again."""
        if status != 200 and self.retry_after is not None:
            answer.send_header("Retry-After", self.retry_after)

    def status_now(self) -> int:
        """What the request just counted is answered with."""
        refused = self.refusals is None or self.posts <= self.refusals
        return self.status if refused else 200

    def accept(self, connection: socket.socket) -> None:
        """Notes a new connection, to be cut by ``stop``."""
        self.connections += 1
        self._open.append(connection)

    def answer(self, request: dict[str, Any]) -> bytes:
        """The observation of ``request``, once it is not held any more."""
        self.requests[request["id"]] += 1
        self.order.append(request["id"])
        deadline = time.monotonic() + 240
        while not self._gate.wait(0.01) and request["id"] not in self.cancelled:
            assert time.monotonic() < deadline
        stdout = base64.b64encode(request["code"].encode()).decode()
        observation = {"outcome": "ok", "exit_code": 0, "stdout_b64": stdout} | self.observation
        if request["id"] in self.cancelled:
            observation = {"outcome": "cancelled"}
        self.answers[request["id"]] = json.dumps(observation, ensure_ascii=False).encode()
        return self.answers[request["id"]]


def _server(stub: StubExecutor) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def setup(self) -> None:
            stub.accept(self.request)
            super().setup()

        def do_POST(self) -> None:
            stub.posts += 1
            stub.asked_at.append(time.monotonic())
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._send(401, b'{"detail": "wrong token"}')
            elif (status := stub.status_now()) != 200:
                self._send(status, b'{"detail": "told to refuse"}')
            else:
                self._send(200, stub.answer(json.loads(body)))

        def do_DELETE(self) -> None:
            known = stub.cancel(self.path.rpartition("/")[2])
            self._send(202 if known else 404, b"")

        def do_GET(self) -> None:
            self._send(200, b'{"python": "3.11.2"}')

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            stub.add_headers(self, status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """A worker that is killed breaks its connections; that is not worth a traceback."""

    return Server(("127.0.0.1", stub.port), Handler)


if __name__ == "__main__":
    served = StubExecutor(int(sys.argv[1]))
    served.start()
    threading.Event().wait()

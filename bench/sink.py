"""Sink: takes any POST and answers 204: where a Prometheus in agent mode delivers, so that it does its whole work."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size_bytes = int(self.headers.get("Content-Length", "0"))
        self.rfile.read(size_bytes)
        server = self.server
        assert isinstance(server, _Server)
        with server.lock:
            server.requests += 1
            server.received_bytes += size_bytes
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.requests = 0
        self.received_bytes = 0


class Sink:
    """Use as a context manager; `received_bytes` counts bodies."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def requests(self) -> int:
        """How many came."""
        return self._server.requests

    @property
    def received_bytes(self) -> int:
        """Bytes of their bodies."""
        return self._server.received_bytes

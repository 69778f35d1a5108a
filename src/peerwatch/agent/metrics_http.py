"""MetricsServer: the agent's small HTTP server for `/metrics` and health, without a web framework."""

from __future__ import annotations

import errno
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream, Listener, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from peerwatch.agent.http_request import HttpRefusal, HttpRequest, is_loopback, parse_head, refusal
from peerwatch.errors import ConfigError, DecodeError
from peerwatch.telemetry import CollectorRegistry, Counter, get_logger
from peerwatch.wire.exposition import CONTENT_TYPE

_JSON = "application/json"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_NODE_EXPORTER_PORT = 9100

_log = get_logger("agent.http")


@dataclass(frozen=True, slots=True)
class MetricsHttpConfig:
    """Where the agent answers, and how much it lets a client take."""

    host: str = "127.0.0.1"
    port: int = 9100
    credential: str = field(default="", repr=False)  # needed for every address that is not loopback
    connections: int = 32  # at once; a scraper needs one, the rest is for people and probes
    head_limit_bytes: int = 8 << 10
    head_timeout_s: float = 5.0  # for the whole head: one byte at a time does not help
    write_timeout_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"agent_http.port: {self.port}, must be from 0 to 65535")
        if not is_loopback(self.host) and not self.credential:
            raise ConfigError(
                f"agent_http.host: {self.host} can be reached from elsewhere and needs a credential;"
                " set agent_http.credential, or use 127.0.0.1"
            )


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/health/ready` says: `fields` as JSON, with status 200 only if `ready`."""

    ready: bool
    fields: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class MetricsServer:
    """Answers GET for `/metrics`, `/health/live`, `/health/ready`; one request per connection.

    Bounded: connections over the limit get 503 at once, a slow head 408, a slow reader is cut off. TLS is required for
    any address that is not loopback: without `tls` the constructor raises ConfigError.
    """

    def __init__(
        self,
        config: MetricsHttpConfig,
        exposition: Callable[[], bytes],
        readiness: Callable[[], Readiness],
        registry: CollectorRegistry,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loopback = is_loopback(config.host)
        if not self._loopback and tls is None:
            raise ConfigError(f"agent_http.host: {config.host} can be reached from elsewhere and needs HTTPS")
        self._config = config
        self._exposition = exposition
        self._readiness = readiness
        self._tls = tls
        self._open = 0
        self._requests = Counter(
            "peerwatch_agent_http_requests_total", "Requests answered, by status.", ["code"], registry=registry
        )

    async def serve(self, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled; `task_status` gets the port. Raises ConfigError if it is taken or forbidden."""
        listener = await self._listen()
        async with listener:
            task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
            await listener.serve(self._handle)

    async def _listen(self) -> Listener[ByteStream]:
        config = self._config
        try:
            listener = await anyio.create_tcp_listener(local_host=config.host, local_port=config.port)
        except OSError as error:
            raise ConfigError(_bind_message(config, error)) from error
        if self._tls is None:
            return listener
        from anyio.streams.tls import TLSListener

        return TLSListener(listener, self._tls, standard_compatible=False, handshake_timeout=config.head_timeout_s)

    async def _handle(self, stream: ByteStream) -> None:
        self._open += 1
        try:
            with anyio.move_on_after(self._config.head_timeout_s + self._config.write_timeout_s):
                await self._answer_one(stream)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            pass  # the client went away: nobody is left to tell
        finally:
            self._open -= 1
            await anyio.aclose_forcefully(stream)

    async def _answer_one(self, stream: ByteStream) -> None:
        if self._open > self._config.connections:
            answer = _text(503, f"more than {self._config.connections} connections")
        else:
            answer = await self._read_and_decide(stream)
        self._requests.labels(str(answer.status)).inc()
        with anyio.move_on_after(self._config.write_timeout_s):
            await stream.send(_encode(answer))
            await stream.send_eof()

    async def _read_and_decide(self, stream: ByteStream) -> _Answer:
        limit = self._config.head_limit_bytes
        try:
            with anyio.fail_after(self._config.head_timeout_s):
                head = await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", limit)
            if len(head) > limit:  # it came in one piece, so the stream did not look at its length
                raise anyio.DelimiterNotFound(limit)
            request = parse_head(head)
        except TimeoutError:
            return _text(408, f"no complete request within {self._config.head_timeout_s:g} s")
        except anyio.DelimiterNotFound:
            return _text(400, f"request head over {limit} bytes")
        except DecodeError as error:
            return _text(400, str(error))
        refused = refusal(request, loopback=self._loopback, credential=self._config.credential)
        if refused is None and request.method != "GET":
            refused = HttpRefusal(405, "only GET is answered here")
        if refused is not None:
            return _text(refused.status, refused.reason)
        try:
            return self._answer(request)
        except Exception as error:  # a page that cannot be made must not end the server, nor the agent with it
            _log.error("request failed", path=request.path, error=f"{type(error).__name__}: {error}")
            return _text(500, "the page could not be made; the log says why")

    def _answer(self, request: HttpRequest) -> _Answer:
        if request.path == "/metrics":
            return _Answer(200, self._exposition(), CONTENT_TYPE)
        if request.path == "/health/live":
            return _json(200, {"status": "ok"})
        if request.path == "/health/ready":
            found = self._readiness()
            status = "ok" if found.ready else "not ready"
            return _json(200 if found.ready else 503, {"status": status, **found.fields})
        return _text(404, "here are /metrics, /health/live and /health/ready")


def _text(status: int, text: str) -> _Answer:
    return _Answer(status, f"{text}\n".encode())


def _json(status: int, fields: Mapping[str, str | int | float]) -> _Answer:
    return _Answer(status, json.dumps(fields).encode(), _JSON)


def _encode(answer: _Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if answer.status == 401:
        lines.append("WWW-Authenticate: Bearer")
    if answer.status == 405:
        lines.append("Allow: GET")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body


def _bind_message(config: MetricsHttpConfig, error: OSError) -> str:
    where = f"agent_http.port: {config.port} on {config.host}"
    if error.errno == errno.EADDRINUSE:
        owner = ", probably by node_exporter" if config.port == _NODE_EXPORTER_PORT else ""
        return f"{where} is taken{owner}; choose another port (P2P_METRICS_PORT)"
    return f"{where}: {error.strerror or error}"

"""Sender: delivers ready-made HTTP requests over keep-alive connections, as fast as the server takes them.

It runs in the benchmark's own process, so its CPU time is not the server's. Bytes are counted as they pass the socket,
headers included.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.process import ServerError

_RETRY_S = 0.2
_MOST_RETRIES = 200

Accepted = Callable[[int, bytes], bool]
"""Whether an answer (status, body) means that everything was taken; False: send it again. Raises ServerError."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where requests go, and the headers that this system's usual sender puts on each."""

    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    accepted: Accepted

    def head(self, body_bytes: int) -> bytes:
        """Request line and headers."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {body_bytes}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


@dataclass(slots=True)
class Traffic:
    """What passed. Owned by one run of `send_all`, or the sum of several."""

    requests: int = 0
    resent: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    wall_s: float = 0.0

    def add(self, other: Traffic) -> None:
        """Sum up."""
        self.requests += other.requests
        self.resent += other.resent
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.wall_s += other.wall_s


def send_all(door: Door, lanes: Sequence[Sequence[bytes]]) -> Traffic:
    """Deliver all: one connection per lane, one request in flight on each. Raises ServerError for a final refusal.

    What must arrive in order, as the samples of one agent must at Prometheus, belongs into one lane.
    """
    traffic = Traffic()
    started_s = time.monotonic()
    try:
        asyncio.run(_send_all(door, lanes, traffic))
    except* (OSError, asyncio.IncompleteReadError) as lost:
        raise ServerError(f"connection lost: {lost.exceptions[0]!r}") from lost
    except* ServerError as failed:
        raise ServerError(str(failed.exceptions[0])) from failed
    traffic.wall_s = time.monotonic() - started_s
    return traffic


async def _send_all(door: Door, lanes: Sequence[Sequence[bytes]], traffic: Traffic) -> None:
    async with asyncio.TaskGroup() as tasks:
        for lane in lanes:
            tasks.create_task(_run_lane(door, lane, traffic))


async def _run_lane(door: Door, bodies: Sequence[bytes], traffic: Traffic) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=1 << 24)
    try:
        for body in bodies:
            await _deliver(door, body, reader, writer, traffic)
    finally:
        writer.close()


async def _deliver(
    door: Door, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic
) -> None:
    request = door.head(len(body)) + body
    for _ in range(_MOST_RETRIES):
        writer.write(request)
        status, answer, size_bytes = await _answer(reader)
        traffic.requests += 1
        traffic.sent_bytes += len(request)
        traffic.received_bytes += size_bytes
        if door.accepted(status, answer):
            return
        traffic.resent += 1
        await asyncio.sleep(_RETRY_S)
    raise ServerError(f"{door.path} did not take a request in {_MOST_RETRIES} tries: {answer[:300]!r}")


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, int]:
    """(status, body, bytes on the wire) of one answer; bodies come with their length or not at all."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    size = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            size = int(line[15:])
        elif line.startswith(b"transfer-encoding:"):
            raise ServerError(f"an answer in chunks, which the benchmark does not read: {head!r}")
    body = await reader.readexactly(size) if size else b""
    return status, body, len(head) + size

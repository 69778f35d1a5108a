"""A TCP proxy that makes a way long, narrow or one-sided: `python delay.py PORT MARK SECONDS [FOLDER]`.

Connections come to it by a REDIRECT rule; it asks the kernel where they were to go. Its own bear the mark, which the
rule lets pass. What it reads it hands on SECONDS later. While FOLDER has a file named after the address that a
connection goes to, what that says counts instead: "DELAY_S UP DOWN", the latter in bytes per second for each
connection, `inf` for no limit and 0 for nothing; open connections feel it too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

_SO_ORIGINAL_DST = 80
_CHUNK_BYTES = 1 << 16
_MOST_CHUNKS = 256  # in flight each way; a sender beyond that is not read
_STEP_S = 0.1
_LOOK_S = 0.2


@dataclass(slots=True)
class _Way:
    """To one address; its present state, which `look` brings up to date."""

    usual_s: float
    file: Path | None
    delay_s: float = 0.0
    rates: tuple[float, float] = (inf, inf)

    def look(self) -> None:
        try:
            words = self.file.read_text().split() if self.file is not None else []
        except OSError:
            words = []
        self.delay_s, *rates = map(float, words) if len(words) == 3 else (self.usual_s, inf, inf)
        self.rates = (rates[0], rates[1])


class _Proxy:
    def __init__(self, mark: int, usual_s: float, folder: Path | None) -> None:
        self._mark = mark
        self._usual_s = usual_s
        self._folder = folder
        self._ways: dict[str, _Way] = {}

    async def look(self) -> None:
        """Follow the files, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for way in self._ways.values():
                way.look()

    def _way(self, address: str) -> _Way:
        if address not in self._ways:
            self._ways[address] = _Way(self._usual_s, self._folder / address if self._folder else None)
            self._ways[address].look()
        return self._ways[address]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        raw = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        _, port, packed = struct.unpack("!HH4s8x", raw)
        address = socket.inet_ntoa(packed)
        way = self._way(address)
        away = socket.socket()
        away.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
        away.setblocking(False)
        try:
            await asyncio.sleep(way.delay_s)  # the handshake takes its time too
            await asyncio.get_running_loop().sock_connect(away, (address, port))
            far_reader, far_writer = await asyncio.open_connection(sock=away)
            await asyncio.gather(_hand_on(reader, far_writer, way, 0), _hand_on(far_reader, writer, way, 1))
        except OSError:
            away.close()
            writer.close()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: _Way, direction: int) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
    clock = asyncio.get_running_loop().time

    async def read() -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await queue.put((clock(), data))
        except OSError:
            pass  # reset: the other side is told by our closing
        await queue.put((clock(), b""))

    async def write() -> None:
        while True:
            came_s, data = await queue.get()
            while (early_s := came_s + way.delay_s - clock()) > 0:  # noqa: ASYNC110  # it may change meanwhile
                await asyncio.sleep(min(early_s, _STEP_S))
            await _trickle(data, writer, way, direction)
            if not data:
                break
        writer.close()

    await asyncio.gather(read(), write())


async def _trickle(data: bytes, writer: asyncio.StreamWriter, way: _Way, direction: int) -> None:
    """Write it, as fast as the way is; the end of a stream passes as little as data where nothing does."""
    while data or way.rates[direction] == 0:
        rate = way.rates[direction]
        some = len(data) if rate == inf else ceil(rate * _STEP_S)
        if rate != inf:
            await asyncio.sleep(_STEP_S)
        writer.write(data[:some])
        await writer.drain()
        data = data[some:]


async def _main(port: int, mark: int, usual_s: float, folder: Path | None) -> None:
    proxy = _Proxy(mark, usual_s, folder)
    server = await asyncio.start_server(proxy.serve, "0.0.0.0", port)
    print("ready", flush=True)  # noqa: T201
    await asyncio.gather(server.serve_forever(), proxy.look())


if __name__ == "__main__":
    asyncio.run(
        _main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]) if sys.argv[4:] else None)
    )

"""A TCP proxy that hands on what it reads only some time later: `python delay.py PORT MARK SECONDS`.

Connections come to it by a REDIRECT rule; it asks the kernel where they were to go. Its own bear the mark, which the
rule lets pass.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

_SO_ORIGINAL_DST = 80
_CHUNK_BYTES = 1 << 16
_MOST_CHUNKS = 256  # in flight each way; a sender beyond that is not read


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
    clock = asyncio.get_running_loop().time

    async def read() -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await queue.put((clock() + delay_s, data))
        except OSError:
            pass  # reset: the other side is told by our closing
        await queue.put((clock() + delay_s, b""))

    async def write() -> None:
        while True:
            due_s, data = await queue.get()
            await asyncio.sleep(max(0.0, due_s - clock()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    await asyncio.gather(read(), write())


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mark: int, delay_s: float) -> None:
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    _, port, address = struct.unpack("!HH4s8x", raw)
    away = socket.socket()
    away.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    away.setblocking(False)
    try:
        await asyncio.sleep(delay_s)  # the handshake takes its time too
        await asyncio.get_running_loop().sock_connect(away, (socket.inet_ntoa(address), port))
        far_reader, far_writer = await asyncio.open_connection(sock=away)
        await asyncio.gather(_hand_on(reader, far_writer, delay_s), _hand_on(far_reader, writer, delay_s))
    except OSError:
        away.close()
        writer.close()


async def _main(port: int, mark: int, delay_s: float) -> None:
    server = await asyncio.start_server(lambda r, w: _serve(r, w, mark, delay_s), "0.0.0.0", port)
    print("ready", flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

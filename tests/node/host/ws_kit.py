"""A peer that speaks WebSocket as far as a test says, frame by frame; written without the library that is tested."""

from __future__ import annotations

import os
import struct
from typing import Any

from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection

from peerwatch.wire.identity import PrivateKey
from tests.node.host.kit import Attacker, Target

MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: here:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, size: int = -1) -> bytes:
    """One frame of a client's; `size` is what it says it has, -1: what it has."""
    said, mask = (len(payload) if size < 0 else size), 0x80 if masked else 0
    head = bytes([opcode | (0x80 if final else 0)])
    if said < 126:
        head += bytes([mask | said])
    elif said < 1 << 16:
        head += struct.pack("!BH", mask | 126, said)
    else:
        head += struct.pack("!BQ", mask | 127, said)
    if not masked:
        return head + payload
    key = os.urandom(4) if payload else bytes(4)
    pad = (key * (len(payload) // 4 + 1))[: len(payload)]
    covered = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")
    return head + key + covered


class Messages:
    """What libp2p's layers want of a socket, over messages of `piece_bytes`; control frames are kept."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._raw = b""
        self._data = b""
        self.piece_bytes = 1 << 16
        self.endless = False
        """Whether all that is written from now on is one message."""
        self.bare = False
        """Whether it is part of a frame whose head was written before, of a key of zeros."""
        self._begun = False
        self.control: list[tuple[int, bytes]] = []

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises IOException at the end."""
        first, second = await self._exactly(2)
        assert not second & 0x80, "a server does not mask"
        size = second
        if size == 126:
            (size,) = struct.unpack("!H", await self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._exactly(8))
        return first & 0x0F, await self._exactly(size)

    async def _exactly(self, size: int) -> bytes:
        while len(self._raw) < size:
            piece = await self._socket.read()
            if not piece:
                raise IOException("closed")
            self._raw += piece
        data, self._raw = self._raw[:size], self._raw[size:]
        return data

    async def read(self, n: int | None = None) -> bytes:
        """Some bytes."""
        while not self._data:
            opcode, payload = await self.frame()
            if opcode in (MORE, BINARY):
                self._data += payload
            else:
                self.control.append((opcode, payload))
        data, self._data = self._data[:n], self._data[len(self._data[:n]) :]
        return data

    async def write(self, data: bytes) -> None:
        """All of it."""
        for at in range(0, len(data), self.piece_bytes):
            if self.bare:
                await self._socket.write(data[at : at + self.piece_bytes])
                continue
            opcode = MORE if self._begun else BINARY
            await self._socket.write(frame(opcode, data[at : at + self.piece_bytes], final=not self.endless))
            self._begun = self.endless

    async def close(self) -> None:
        """Without a word."""
        await self._socket.close()

    def get_remote_address(self) -> None:
        """Nobody asks."""


class WebSocketAttacker(Attacker):
    """An Attacker behind an upgrade: `messages` is what Noise and Yamux then run on."""

    messages: Messages

    @classmethod
    async def upgraded(cls, target: Target, key: PrivateKey | None = None) -> WebSocketAttacker:
        """As far as the answer to the request."""
        attacker = await cls.connect(target, key)
        assert isinstance(attacker, WebSocketAttacker)
        await attacker.socket.write(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = await attacker.socket.read(1)
            assert piece, "refused"
            head += piece
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the key's answer, as RFC 6455 has it
        attacker.messages = Messages(attacker.socket)
        attacker.raw = RawConnection(attacker.messages, True)
        return attacker

    async def muxer(self, member: bytes) -> None:
        """On as far as Yamux."""
        await self.shake(member)
        await self.select(self.secured, "/yamux/1.0.0")

    async def said_goodbye(self) -> int:
        """The code with which the other side ends."""
        while True:
            opcode, payload = await self.messages.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big")

"""Frames: messages on a byte stream, each behind its length. No I/O: fed bytes, returns payloads."""

from __future__ import annotations

from peerwatch.errors import DecodeError


class FrameSizeError(DecodeError):
    """A frame is said to be larger than was announced."""


HEAD_BYTES = 4


def pack_frame(payload: bytes, max_frame_bytes: int) -> bytes:
    """u32 length (big endian, without itself), payload. Raises DecodeError when the other side would refuse it."""
    if not 0 < len(payload) <= max_frame_bytes:
        raise DecodeError(f"frame of {len(payload)} bytes, limit 1 to {max_frame_bytes}")
    return len(payload).to_bytes(HEAD_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream into payloads, however it arrives. Mutable; owned by one connection.

    Holds at most one frame that is not whole: its length is checked as soon as it is known, before any of it is kept.
    After an error the stream has lost its step, so every later call raises the same.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._broken = ""

    @property
    def in_frame(self) -> bool:
        """Whether the rest of a frame is still to come."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are whole now. Raises DecodeError for a length that no frame may have."""
        if self._broken:
            raise DecodeError(self._broken)
        self._buffer += data
        payloads = []
        while len(self._buffer) >= HEAD_BYTES:
            end = HEAD_BYTES + self._length()
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[HEAD_BYTES:end]))
            del self._buffer[:end]
        return payloads

    def _length(self) -> int:
        length = int.from_bytes(self._buffer[:HEAD_BYTES], "big")
        if not 0 < length <= self._max_frame_bytes:
            self._buffer.clear()
            self._broken = f"frame of {length} bytes, limit 1 to {self._max_frame_bytes}"
            raise FrameSizeError(self._broken) if length else DecodeError(self._broken)
        return length

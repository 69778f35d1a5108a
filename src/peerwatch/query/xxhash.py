"""XXH64, the hash that limit_ratio samples by. Small inputs only: plain Python."""

from __future__ import annotations

from peerwatch.model import Labels

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _round(state: int, lane: int) -> int:
    return _rotate((state + lane * _P2) & _MASK, 31) * _P1 & _MASK


def xxh64(data: bytes) -> int:
    """The 64-bit hash of `data` with seed 0."""
    at, size = 0, len(data)
    if size >= 32:
        states = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while at + 32 <= size:
            for lane in range(4):
                word = int.from_bytes(data[at + 8 * lane : at + 8 * lane + 8], "little")
                states[lane] = _round(states[lane], word)
            at += 32
        found = sum(_rotate(state, bits) for state, bits in zip(states, (1, 7, 12, 18), strict=True)) & _MASK
        for state in states:
            found = ((found ^ _round(0, state)) * _P1 + _P4) & _MASK
    else:
        found = _P5
    return _finish((found + size) & _MASK, data[at:])


def _finish(found: int, rest: bytes) -> int:
    at = 0
    while at + 8 <= len(rest):
        found ^= _round(0, int.from_bytes(rest[at : at + 8], "little"))
        found = (_rotate(found, 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= len(rest):
        found ^= int.from_bytes(rest[at : at + 4], "little") * _P1 & _MASK
        found = (_rotate(found, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in rest[at:]:
        found = _rotate(found ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    found = (found ^ (found >> 33)) * _P2 & _MASK
    found = (found ^ (found >> 29)) * _P3 & _MASK
    return found ^ (found >> 32)


def hash_labels(labels: Labels) -> int:
    """The hash of a label set as Prometheus's default build computes it: over length-prefixed strings."""
    data = bytearray()
    for pair in labels:
        for text in pair:
            raw = text.encode("utf-8", "surrogateescape")
            data += bytes([len(raw)]) if len(raw) < 255 else b"\xff" + len(raw).to_bytes(3, "little")
            data += raw
    return xxh64(bytes(data))

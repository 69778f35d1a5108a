"""Remote write 1.0 requests, made fast: a template per agent, into which numpy scatters times and values.

The message is `WriteRequest{repeated TimeSeries{repeated Label{name,value}, repeated Sample{double, int64}}}`, field
numbers as the specification gives them. Zero values are written out, which proto3 allows; snappy makes both forms
equally small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cramjam
import numpy as np

from peerwatch.model import Float64Array, Int64Array, Labels

_SAMPLE_BYTES = 18  # 0x12 len, 0x09 double, 0x10 varint of 6 bytes
_VALUE_AT = 3
_TIME_AT = 12
_TIME_BYTES = 6
_MIN_TIME_MS, _MAX_TIME_MS = 1 << 35, (1 << 42) - 1  # what a varint of 6 bytes holds: 1971 to 2109


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(content)) + content


def _label_bytes(labels: Labels) -> bytes:
    return b"".join(_field(0x0A, _field(0x0A, name.encode()) + _field(0x12, value.encode())) for name, value in labels)


class RequestTemplate:
    """A WriteRequest of these series with `ticks` samples each, all but times and values filled in."""

    def __init__(self, labels: Sequence[Labels], ticks: int) -> None:
        sample = bytes((0x12, _SAMPLE_BYTES - 2, 0x09)) + bytes(8) + b"\x10" + bytes(_TIME_BYTES)
        starts: list[int] = []
        raw = bytearray()
        for one in labels:
            body = _label_bytes(one)
            series = body + sample * ticks
            head = b"\x0a" + _varint(len(series))
            starts.append(len(raw) + len(head) + len(body))
            raw += head + series
        self._raw = np.frombuffer(bytes(raw), np.uint8)
        places = np.array(starts)[:, None] + np.arange(ticks) * _SAMPLE_BYTES  # [series, ticks]
        self._value_at = places[..., None] + np.arange(_VALUE_AT, _VALUE_AT + 8)
        self._time_at = places[..., None] + np.arange(_TIME_AT, _TIME_AT + _TIME_BYTES)

    def fill(self, times_ms: Int64Array, values: Float64Array) -> bytes:
        """The request with these samples, before compression. values: [series, ticks]."""
        if times_ms[0] < _MIN_TIME_MS or times_ms[-1] > _MAX_TIME_MS:
            raise ValueError(f"times {times_ms[0]} to {times_ms[-1]} ms do not fit a varint of {_TIME_BYTES} bytes")
        raw = self._raw.copy()
        raw[self._value_at] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(*values.shape, 8)
        shifts = np.arange(_TIME_BYTES) * 7
        digits = (times_ms[:, None] >> shifts & 0x7F).astype(np.uint8)
        digits[:, :-1] |= 0x80
        raw[self._time_at] = digits
        return raw.tobytes()


def write_requests(
    labels: Sequence[Labels], times_ms: Int64Array, values: Float64Array, ticks: int, most_samples: int
) -> Iterator[list[bytes]]:
    """For each run of `ticks` ticks the compressed requests that carry it, none of more than `most_samples`."""
    rows = max(1, min(len(labels), most_samples // ticks))
    groups = [slice(at, at + rows) for at in range(0, len(labels), rows)]
    templates = [RequestTemplate(labels[group], ticks) for group in groups]
    for first in range(0, times_ms.size - ticks + 1, ticks):
        columns = slice(first, first + ticks)
        yield [
            bytes(cramjam.snappy.compress_raw(template.fill(times_ms[columns], values[group, columns])))
            for template, group in zip(templates, groups, strict=True)
        ]

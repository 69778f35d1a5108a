"""Rules of the requests that Prometheus and VictoriaMetrics are given."""

from __future__ import annotations

import struct

import cramjam
import numpy as np
from bench.remote_write import RequestTemplate, write_requests

from peerwatch.model import Labels

_LABELS = [Labels.of(__name__="up", instance="a"), Labels.of(__name__="node_load1", instance="a" * 200)]
_TIMES = np.array([1_790_000_000_000, 1_790_000_005_001], np.int64)
_VALUES = np.array([[1.0, 0.0], [0.25, -3.5e300]])

Decoded = list[tuple[dict[str, str], list[tuple[float, int]]]]


def _fields(raw: bytes) -> list[tuple[int, bytes | int]]:
    """A protobuf message by its specification: (field number, content)."""
    found: list[tuple[int, bytes | int]] = []
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        if tag & 7 == 0:
            number, at = _varint(raw, at)
            found.append((tag >> 3, number))
            continue
        size, at = (8, at) if tag & 7 == 1 else _varint(raw, at)
        found.append((tag >> 3, raw[at : at + size]))
        at += size
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (raw[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if raw[at - 1] < 0x80:
            return number, at


def _bytes(content: bytes | int) -> bytes:
    assert isinstance(content, bytes)
    return content


def decode(raw: bytes) -> Decoded:
    """What a receiver reads."""
    found: Decoded = []
    for _, series in _fields(raw):
        labels, samples = {}, []
        for number, content in _fields(_bytes(series)):
            parts = dict(_fields(_bytes(content)))
            if number == 1:
                labels[_bytes(parts[1]).decode()] = _bytes(parts[2]).decode()
            else:
                time_ms = parts[2]
                assert isinstance(time_ms, int)
                samples.append((struct.unpack("<d", _bytes(parts[1]))[0], time_ms))
        found.append((labels, samples))
    return found


def test_a_filled_template_reads_back_as_the_same_samples() -> None:
    """Labels, times and values arrive as they were, zero and long labels included."""
    raw = RequestTemplate(_LABELS, 2).fill(_TIMES, _VALUES)
    expected = [
        (dict(labels), list(zip(values, _TIMES.tolist(), strict=True)))
        for labels, values in zip(_LABELS, _VALUES.tolist(), strict=True)
    ]
    assert decode(raw) == expected


def test_no_request_exceeds_the_most_samples_and_nothing_is_left_out() -> None:
    """Series are split over requests where a run of ticks has too many samples for one."""
    labels = [Labels.of(__name__="m", n=str(number)) for number in range(5)]
    times = np.arange(6) * 1000 + 1_790_000_000_000
    values = np.arange(30.0).reshape(5, 6)
    runs = list(write_requests(labels, times, values, ticks=3, most_samples=6))
    seen = [decode(cramjam.snappy.decompress_raw(body).read()) for run in runs for body in run]
    assert [sum(len(samples) for _, samples in one) for one in seen] == [6, 6, 3, 6, 6, 3]
    assert sorted(value for one in seen for _, samples in one for value, _ in samples) == list(range(30))

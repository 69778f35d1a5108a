"""Remote write 1.0 and 2.0: request bodies to columns. Usual samples are cut out by numpy, none becomes an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError
from peerwatch.model import METRIC_NAME, RESERVED, Float64Array, Int64Array, Labels, MetricType
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire import snappy
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.remote_histograms import HistogramGatherer, WrittenHistograms
from peerwatch.wire.remote_scan import scan
from peerwatch.wire.signed import parse_message

SeriesKey = bytes | tuple[str, ...]
"""What a series is called in requests: its serialised labels (1.0), or names and values in turn (2.0)."""

Meaning = tuple[MetricType, str, str]
"""Type, help and unit."""

Samples = tuple[Int64Array, Int64Array, Float64Array, Int64Array | None]
"""(rows, times, values, starts): the same fields of Written."""

_MAX_ODD_BYTES = 1 << 20  # parsed into objects: 40,000 samples of one series, and no more memory than they need


@dataclass(frozen=True, slots=True)
class Written:
    """One request in columns: sample i is `values[i]` of series `keys[rows[i]]` at `times_ms[i]`, in no order.

    `starts_ms` tells since when each sample's counter counts, 0 where that is unknown; None where it is for all.
    `histograms` are the native ones. `families` are the meanings that 1.0 sends apart; `meaning(row)` is what 2.0 sends
    with a series, None where it sends none, and `meant` are series of the usual form with which it sends one.
    Exemplars are only counted.
    """

    keys: Sequence[SeriesKey]
    rows: Int64Array
    times_ms: Int64Array
    values: Float64Array
    starts_ms: Int64Array | None
    families: dict[str, Meaning]
    meaning: Callable[[int], Meaning | None]
    meant: Sequence[int]
    histograms: WrittenHistograms
    exemplars: int


def decode_write_v1(body: bytes, limits: WireLimits = DEFAULT_LIMITS) -> Written:
    """A compressed prometheus.WriteRequest. Raises DecodeError for anything else, or for more than `limits` allow."""
    message = parse_message(pb.WriteV1, snappy.expand(body, limits.max_body_bytes))
    _check_counts(len(message.timeseries), len(message.metadata), limits)
    raws = list(message.timeseries)
    found = scan(raws, limits, with_metadata=False)
    keys: list[SeriesKey] = [raw[:end] for raw, end in zip(raws, found.head_ends.tolist(), strict=True)]
    odd = _Odd(limits)
    for row in found.odd.tolist():
        series = parse_message(pb.SeriesV1, _bounded(raws[row]))
        keys[row] = _head_v1(series.labels)
        odd.add(row, series)
    families = {one.family: _meaning(one.type, one.help, one.unit, limits) for one in message.metadata if one.family}
    samples, histograms = odd.beside(found.columns()), odd.histograms.columns()
    return Written(keys, *samples, families, lambda _: None, (), histograms, odd.exemplars)


def decode_write_v2(body: bytes, limits: WireLimits = DEFAULT_LIMITS) -> Written:
    """A compressed io.prometheus.write.v2.Request. Raises DecodeError as `decode_write_v1`."""
    message = parse_message(pb.WriteV2, snappy.expand(body, limits.max_body_bytes))
    _check_counts(len(message.timeseries), 0, limits)
    raws, symbols = list(message.timeseries), list(message.symbols)
    if raws and (not symbols or symbols[0]):
        raise DecodeError("symbols must begin with the empty string")
    found = scan(raws, limits, with_metadata=True)
    flat, counts = found.references()
    odd = _Odd(limits)
    for row in found.odd.tolist():
        series = parse_message(pb.SeriesV2, _bounded(raws[row]))
        odd.add(row, series, list(series.labels_refs))
    keys = _keys_v2(symbols, flat, counts, odd.references)

    def meaning(row: int) -> Meaning | None:
        sent = parse_message(pb.SeriesV2, raws[row]).metadata
        if max(sent.help_ref, sent.unit_ref) >= len(symbols):
            raise DecodeError(f"metadata refers to symbol {max(sent.help_ref, sent.unit_ref)} of {len(symbols)}")
        made = _meaning(sent.type, symbols[sent.help_ref], symbols[sent.unit_ref], limits)
        return None if made == (MetricType.UNKNOWN, "", "") else made

    samples, histograms = odd.beside(found.columns()), odd.histograms.columns()
    return Written(keys, *samples, {}, meaning, found.meant.tolist(), histograms, odd.exemplars)


def metric_of_key(key: SeriesKey) -> str:
    """The metric's name in a key of 2.0, where it has one."""
    if isinstance(key, tuple) and METRIC_NAME in key[::2]:
        return key[2 * key[::2].index(METRIC_NAME) + 1]
    return ""


def labels_of_key(key: SeriesKey, limits: WireLimits = DEFAULT_LIMITS) -> Labels:
    """The labels that a key names, sorted, empty values left out. Raises DecodeError where no series can have them."""
    if isinstance(key, bytes):
        pairs = [(label.name, label.value) for label in parse_message(pb.LabelSet, key).labels]
    else:
        pairs = list(zip(key[::2], key[1::2], strict=True))
    if len(pairs) > limits.max_labels:
        raise DecodeError(f"series with {len(pairs)} labels, limit {limits.max_labels}")
    labels = Labels(sorted(pair for pair in pairs if pair[1]))
    names = [name for name, _ in labels]
    for name, value in labels:
        _check_length("label name", name, limits.max_label_name_bytes)
        _check_length(f"value of label {name[:64]!r}", value, limits.max_label_value_bytes)
        if not name:
            raise DecodeError("a label without a name")
        if name.startswith(RESERVED):
            raise DecodeError(f"label name {name[:64]!r} is reserved")
    if len(set(names)) != len(names):
        raise DecodeError(f"a label comes twice: {names}")
    if METRIC_NAME not in names:
        raise DecodeError(f"series without {METRIC_NAME}: {dict(labels)}")
    return labels


def _bounded(raw: bytes) -> bytes:
    if len(raw) > _MAX_ODD_BYTES:
        raise DecodeError(f"series of {len(raw)} bytes in an unusual form, limit {_MAX_ODD_BYTES}")
    return raw


def _check_length(what: str, text: str, limit: int) -> None:
    size_bytes = len(text.encode())
    if size_bytes > limit:
        raise DecodeError(f"{what} of {size_bytes} bytes, limit {limit}")


def _check_counts(series: int, families: int, limits: WireLimits) -> None:
    if max(series, families) > limits.max_series:
        raise DecodeError(f"request of {series} series and {families} families, limit {limits.max_series}")


def _meaning(kind: int, help_: str, unit: str, limits: WireLimits) -> Meaning:
    """Texts are cut to what may be stored: they are for people."""
    known = MetricType(kind) if kind in MetricType.__members__.values() else MetricType.UNKNOWN
    return known, _cut(help_, limits.max_help_bytes), _cut(unit, limits.max_unit_bytes)


def _cut(text: str, limit_bytes: int) -> str:
    raw = text.encode()
    return text if len(raw) <= limit_bytes else raw[:limit_bytes].decode("utf-8", "ignore")


def _head_v1(labels: Sequence[bytes]) -> bytes:
    """The labels as a sender that writes them first would have: the same series has one key."""
    return b"".join(b"\x0a" + _varint(len(label)) + label for label in labels)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _keys_v2(
    symbols: list[str], flat: NDArray[np.int64], counts: list[int], odd: dict[int, list[int]]
) -> list[SeriesKey]:
    most = max([int(flat.max(initial=0)), *(max(refs, default=0) for refs in odd.values())])
    if counts and most >= len(symbols):
        raise DecodeError(f"labels refer to symbol {most} of {len(symbols)}")
    words = [symbols[ref] for ref in flat.tolist()]
    keys: list[SeriesKey] = []
    at = 0
    for row, count in enumerate(counts):
        refs = odd.get(row)
        key = tuple(words[at : at + count]) if refs is None else tuple(symbols[ref] for ref in refs)
        if len(key) % 2:
            raise DecodeError(f"series with {len(key)} label references, must be pairs")
        keys.append(key)
        at += count
    return keys


class _Odd:
    """What is in series of an unusual form, each parsed as a message. Owned by one decode."""

    def __init__(self, limits: WireLimits) -> None:
        self._limit = limits.max_cells
        self.histograms = HistogramGatherer(limits)
        self.exemplars = 0
        self.references: dict[int, list[int]] = {}
        self._rows: list[int] = []
        self._times: list[int] = []
        self._values: list[float] = []
        self._starts: list[int] = []

    def add(self, row: int, series: pb.SeriesV1 | pb.SeriesV2, references: list[int] | None = None) -> None:
        """Take what a parsed series holds."""
        if references is not None:
            self.references[row] = references
        created_ms = series.created_ms if isinstance(series, pb.SeriesV2) else 0
        self.histograms.add(row, series.histograms, created_ms)
        self.exemplars += len(series.exemplars)
        samples = series.samples
        if len(self._rows) + len(samples) > self._limit:
            raise DecodeError(f"request of {len(self._rows) + len(samples)} samples or more, limit {self._limit}")
        self._rows += [row] * len(samples)
        self._times += [sample.timestamp_ms for sample in samples]
        self._values += [sample.value for sample in samples]
        self._starts += [sample.start_ms or created_ms for sample in samples]

    def beside(self, usual: Samples) -> Samples:
        """All samples."""
        if not self._rows:
            return usual
        rows, times, values, starts = usual
        if starts is None and any(self._starts):
            starts = np.zeros(len(rows), np.int64)
        return (
            np.concatenate([rows, np.array(self._rows, np.int64)]),
            np.concatenate([times, np.array(self._times, np.int64)]),
            np.concatenate([values, np.array(self._values, np.float64)]),
            None if starts is None else np.concatenate([starts, np.array(self._starts, np.int64)]),
        )

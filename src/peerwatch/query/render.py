"""Answers as the JSON that Prometheus sends, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np

from peerwatch.model import HistogramCells, Int64Array, Labels, SeriesSet
from peerwatch.query.gotext import format_sample
from peerwatch.query.native.text import rendered
from peerwatch.query.result import MatrixResult, ResultValue, ScalarResult, StringResult, VectorResult
from peerwatch.query.spelling import spell_values

MAX_MESSAGES = 10
"""Warnings and infos sent with an answer, each; the rest is counted."""


def success(data: bytes, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> bytes:
    """The envelope of an answer; `data` is JSON."""
    parts = [b'{"status":"success","data":', data]
    for name, messages in ((b"warnings", warnings), (b"infos", infos)):
        if messages:
            parts += [b',"', name, b'":', msgspec.json.encode(_capped(messages, name.decode().removesuffix("s")))]
    return b"".join([*parts, b"}"])


def _capped(messages: Sequence[str], kind: str) -> list[str]:
    shown = list(messages[:MAX_MESSAGES])
    if len(messages) > MAX_MESSAGES:
        shown.append(f"{len(messages) - MAX_MESSAGES} more {kind} annotations omitted")
    return shown


def failure(error_type: str, message: str) -> bytes:
    """The envelope of an error."""
    text = message.encode("utf-8", "replace").decode()
    return msgspec.json.encode({"status": "error", "errorType": error_type, "error": text})


def render_result(value: ResultValue) -> bytes:
    """The `data` of a query's answer."""
    match value:
        case ScalarResult(time_ms=time_ms, value=number):
            kind, result = "scalar", _sample(time_ms, number)
        case StringResult(time_ms=time_ms, value=text):
            spelled = msgspec.json.encode(text.encode("utf-8", "replace").decode())
            kind, result = "string", b"[%s,%s]" % (_time(time_ms), spelled)
        case VectorResult():
            kind, result = "vector", _vector(value)
        case MatrixResult(series=series):
            kind, result = "matrix", _matrix(series)
    return b'{"resultType":"%s","result":%s}' % (kind.encode(), result)


def with_stats(data: bytes, samples: int, seconds: float) -> bytes:
    """The `data` of a query's answer, with what it cost. Phases are not told apart: all of it is evaluation."""
    timings = {
        "evalTotalTime": seconds,
        "resultSortTime": 0,
        "queryPreparationTime": 0,
        "innerEvalTime": seconds,
        "execQueueTime": 0,
        "execTotalTime": seconds,
    }
    read = {"totalQueryableSamples": samples, "peakSamples": samples}
    return b'%s,"stats":%s}' % (data[:-1], msgspec.json.encode({"timings": timings, "samples": read}))


def render_labels(labels: Labels) -> bytes:
    """A label set as an object."""
    return msgspec.json.encode(dict(labels))


def _time(time_ms: int) -> bytes:
    """Seconds, with milliseconds only where there are some."""
    seconds, rest = divmod(abs(time_ms), 1000)
    sign = b"-" if time_ms < 0 else b""
    return b"%s%d.%03d" % (sign, seconds, rest) if rest else b"%s%d" % (sign, seconds)


def _sample(time_ms: int, value: float) -> bytes:
    return b'[%s,"%s"]' % (_time(time_ms), format_sample(value).encode())


def _vector(vector: VectorResult) -> bytes:
    time = _time(vector.time_ms)
    texts = spell_values(vector.values)
    rows = [
        b'{"metric":%s,"value":[%s,"%s"]}' % (render_labels(labels), time, text)
        for labels, text in zip(vector.labels, texts, strict=True)
    ]
    cells = vector.histograms
    if cells is not None:
        native = np.flatnonzero(cells.mask)
        for row, text in zip(native.tolist(), rendered(cells.of(cells.mask)), strict=True):
            rows[row] = b'{"metric":%s,"histogram":[%s,%s]}' % (render_labels(vector.labels[row]), time, text)
    return b"[%s]" % b",".join(rows)


def _matrix(series: SeriesSet) -> bytes:
    if series.histograms is not None:
        return _mixed_matrix(series, series.histograms)
    rows = []
    offsets = series.offsets.tolist()
    last_times: Int64Array = np.empty(0, np.int64)
    openings: list[bytes] = []
    for at, labels in enumerate(series.labels):
        part = slice(offsets[at], offsets[at + 1])
        times = series.times_ms[part]
        if not np.array_equal(times, last_times):  # most series of an answer share their steps
            openings, last_times = _openings(times), times
        points = b"".join(chain.from_iterable(zip(openings, spell_values(series.values[part]), strict=True)))
        rows.append(b'{"metric":%s,"values":[%s%s]}' % (render_labels(labels), points, b'"]' if points else b""))
    return b"[%s]" % b",".join(rows)


def _mixed_matrix(series: SeriesSet, cells: HistogramCells) -> bytes:
    """Numbers and native histograms, each in a list of its own."""
    rows, native = [], cells.mask
    texts = dict(zip(np.flatnonzero(native).tolist(), rendered(cells.of(native)), strict=True))
    offsets = series.offsets.tolist()
    for at, labels in enumerate(series.labels):
        part = np.arange(offsets[at], offsets[at + 1])
        numbers, histograms = part[~native[part]], part[native[part]].tolist()
        points = zip(_openings(series.times_ms[numbers]), spell_values(series.values[numbers]), strict=True)
        lists = [b'"values":[%s"]]' % b"".join(chain.from_iterable(points))] if len(numbers) else []
        if histograms:
            spelled = [b"[%s,%s]" % (_time(int(series.times_ms[one])), texts[one]) for one in histograms]
            lists.append(b'"histograms":[%s]' % b",".join(spelled))
        rows.append(b'{"metric":%s%s}' % (render_labels(labels), b"".join(b"," + one for one in lists)))
    return b"[%s]" % b",".join(rows)


def _openings(times_ms: Int64Array) -> list[bytes]:
    """What stands between two values: the end of one point and the time of the next."""
    openings = [b'"],[%s,"' % _time(time_ms) for time_ms in times_ms.tolist()]
    if openings:
        openings[0] = openings[0][3:]
    return openings

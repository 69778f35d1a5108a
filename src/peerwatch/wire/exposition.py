"""Text exposition of metrics: Prometheus text 0.0.4 and OpenMetrics 1.0, to columns and back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from peerwatch.errors import DecodeError
from peerwatch.model import METRIC_NAME, Float64Array, Int64Array, Labels, MetricType, Series, is_stale

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"


@dataclass(frozen=True, slots=True)
class ExpositionLimits:
    """How much one exposition may hold. Passing any of these makes the whole of it a DecodeError."""

    body_bytes: int = 32 << 20  # large cluster exporters have 10 MB
    line_bytes: int = 64 << 10
    series: int = 100_000
    labels: int = 63  # per series, the name not counted: 64 with it is what the wire carries
    name_bytes: int = 256
    value_bytes: int = 4 << 10


_MAX_HELP_BYTES = 1024  # longer help is cut: it is for people
_MAX_NUMBER_BYTES = 64


@dataclass(frozen=True, slots=True)
class Exposition:
    """The samples of one body, each series once. `times_ms` is None when no line has a timestamp, else 0 where absent.

    `duplicates` counts the lines that named a series again; the first one counts.
    """

    series: tuple[Series, ...]
    values: Float64Array
    times_ms: Int64Array | None
    duplicates: int


@dataclass(frozen=True, slots=True)
class _Meta:
    type: MetricType = MetricType.UNKNOWN
    help: str = ""
    unit: str = ""


_TYPES = {
    b"counter": MetricType.COUNTER,
    b"gauge": MetricType.GAUGE,
    b"histogram": MetricType.HISTOGRAM,
    b"gaugehistogram": MetricType.GAUGE_HISTOGRAM,
    b"summary": MetricType.SUMMARY,
    b"info": MetricType.INFO,
    b"stateset": MetricType.STATESET,
}
# Which suffixes a family of a type gives to its series
_SUFFIXES: dict[MetricType, tuple[bytes, ...]] = {
    MetricType.COUNTER: (b"_total", b"_created"),
    MetricType.HISTOGRAM: (b"_bucket", b"_sum", b"_count", b"_created"),
    MetricType.GAUGE_HISTOGRAM: (b"_bucket", b"_gsum", b"_gcount"),
    MetricType.SUMMARY: (b"_sum", b"_count", b"_created"),
    MetricType.INFO: (b"_info",),
}
_NO_META = _Meta()

# Possessive throughout: one pass, nothing kept to go back to, linear in time and without memory per character.
_METRIC = re.compile(rb"[ \t]*+([a-zA-Z_:][a-zA-Z0-9_:]*+)[ \t]*+(\{?)[ \t]*+")
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"[ \t]*+(,?)[ \t]*+')
_ESCAPE = re.compile(r'\\([\\"n])')


class ExpositionParser:
    """Parses the expositions of one target, again and again. Mutable; owned by whoever reads that target.

    Remembers which series a line's text before the value means, so that an unchanged target costs one look-up and
    one number per line, and gets the identical tuple of series back. The memory holds at most twice as many entries
    as `limits.series`; when they are used up, or the target's HELP and TYPE lines change, it starts anew.
    """

    def __init__(self, limits: ExpositionLimits | None = None) -> None:
        self._limits = limits or ExpositionLimits()
        self._comments: list[bytes] = []
        self._openmetrics = False
        self._meta: dict[bytes, _Meta] = {}
        self._rows: dict[bytes, int] = {}  # text before the value -> row
        self._rows_by_labels: dict[Labels, int] = {}
        self._known: list[Series] = []  # row -> series
        self._last_rows: list[int] = []
        self._last_series: tuple[Series, ...] = ()

    def parse(self, body: bytes, *, openmetrics: bool = False) -> Exposition:
        """The samples of `body`. Raises DecodeError for anything that is not the format, or over the limits."""
        lines = self._lines(body, openmetrics)
        self._prepare([line for line in lines if line[:1] == b"#"], openmetrics)
        samples = [line for line in lines if line[:1] != b"#" and line and not line.isspace()]
        if len(samples) > self._limits.series:
            raise DecodeError(f"exposition with {len(samples)} series, limit {self._limits.series}")
        rows: list[int] = []
        values: list[float] = []
        times: dict[int, int] = {}
        self._read_samples(samples, rows, values, times)
        return self._columns(rows, values, times)

    def _lines(self, body: bytes, openmetrics: bool) -> list[bytes]:
        if len(body) > self._limits.body_bytes:
            raise DecodeError(f"exposition of {len(body)} bytes, limit {self._limits.body_bytes}")
        lines = body.split(b"\n")
        longest = max(map(len, lines))
        if longest > self._limits.line_bytes:
            raise DecodeError(f"exposition line of {longest} bytes, limit {self._limits.line_bytes}")
        if openmetrics and not body.rstrip(b"\n").endswith(b"# EOF"):
            raise DecodeError("OpenMetrics exposition without # EOF: it was cut off")
        return lines

    def _prepare(self, comments: list[bytes], openmetrics: bool) -> None:
        full = len(self._rows) > self._limits.series
        if comments == self._comments and openmetrics == self._openmetrics and not full:
            return
        meta = _parse_comments(comments)
        self._rows, self._rows_by_labels, self._known, self._last_rows, self._last_series = {}, {}, [], [], ()
        self._comments, self._openmetrics, self._meta = comments, openmetrics, meta

    def _read_samples(self, samples: list[bytes], rows: list[int], values: list[float], times: dict[int, int]) -> None:
        known = self._rows
        for line in samples:
            # The series ends at the last brace, or at the first blank when there is none. Where that is wrong
            # (an exemplar follows) the text is not among the known ones, and the line is read with care.
            end = line.rfind(b"}") + 1 or line.find(b" ")
            row = known.get(line[:end])
            rest = line[end:]
            if row is not None and len(rest) <= _MAX_NUMBER_BYTES and b"_" not in rest:
                try:
                    values.append(float(rest))
                except ValueError:  # a timestamp, or nonsense
                    pass
                else:
                    rows.append(row)
                    continue
            self._read_slowly(line, rows, values, times)

    def _read_slowly(self, line: bytes, rows: list[int], values: list[float], times: dict[int, int]) -> None:
        end, name, pairs = _parse_series(line, self._limits)
        fields = line[end:].split()
        if self._openmetrics and b"#" in fields:  # exemplars are not kept
            fields = fields[: fields.index(b"#")]
        if not 1 <= len(fields) <= 2:
            raise _bad(line, "not a value and at most one timestamp")
        row = self._rows.get(line[:end])
        if row is None:
            row = self._rows[line[:end]] = self._row(name, pairs)
        if len(fields) == 2:
            times[len(rows)] = _timestamp_ms(fields[1], line, self._openmetrics)
        values.append(_number(fields[0], line))
        rows.append(row)

    def _row(self, name: bytes, pairs: dict[str, str]) -> int:
        labels = Labels.of({**pairs, METRIC_NAME: name.decode()})
        row = self._rows_by_labels.setdefault(labels, len(self._known))
        if row == len(self._known):
            meta = self._meta_of(name)
            self._known.append(Series(labels, meta.type, meta.help, meta.unit))
        return row

    def _meta_of(self, name: bytes) -> _Meta:
        exact = self._meta.get(name)
        if exact is not None:
            return exact
        base, cut, suffix = name.rpartition(b"_")
        meta = self._meta.get(base, _NO_META)
        return meta if cut + suffix in _SUFFIXES.get(meta.type, ()) else _NO_META

    def _columns(self, rows: list[int], values: list[float], times: dict[int, int]) -> Exposition:
        duplicates = 0
        if rows != self._last_rows:
            firsts = list({row: at for at, row in reversed(list(enumerate(rows)))}.values())
            duplicates = len(rows) - len(firsts)
            if duplicates:
                firsts.sort()
                rows, values = [rows[at] for at in firsts], [values[at] for at in firsts]
                times = {new: times[at] for new, at in enumerate(firsts) if at in times}
        if rows != self._last_rows:
            self._last_rows = rows
            self._last_series = tuple(self._known[row] for row in rows)
        stamped = np.array([times.get(at, 0) for at in range(len(rows))], dtype=np.int64) if times else None
        return Exposition(self._last_series, np.array(values, dtype=np.float64), stamped, duplicates)


def _parse_comments(comments: list[bytes]) -> dict[bytes, _Meta]:
    """What the HELP, TYPE and UNIT lines say per family; every other comment is just that."""
    kinds: dict[bytes, MetricType] = {}
    texts: dict[bytes, dict[bytes, str]] = {b"HELP": {}, b"UNIT": {}}
    for line in comments:
        fields = line.split(None, 3)
        if len(fields) < 3:
            continue
        word, name = fields[1], fields[2]
        if word == b"TYPE":
            kinds[name] = _TYPES.get(fields[3].strip() if len(fields) == 4 else b"", MetricType.UNKNOWN)
        elif word in texts:
            text = fields[3][:_MAX_HELP_BYTES] if len(fields) == 4 else b""
            texts[word][name] = _unescape(text.decode("utf-8", "ignore"))
    names = kinds.keys() | texts[b"HELP"].keys() | texts[b"UNIT"].keys()
    return {
        name: _Meta(
            kinds.get(name, MetricType.UNKNOWN), texts[b"HELP"].get(name, ""), texts[b"UNIT"].get(name, "").strip()
        )
        for name in names
    }


def _parse_series(line: bytes, limits: ExpositionLimits) -> tuple[int, bytes, dict[str, str]]:
    """Where the series ends in `line`, its name and its labels."""
    head = _METRIC.match(line)
    if head is None:
        raise _bad(line, "does not start with a metric name")
    name = head.group(1)
    if len(name) > limits.name_bytes:
        raise DecodeError(f"metric name of {len(name)} bytes, limit {limits.name_bytes}: {_shown(line)}")
    if not head.group(2):
        return head.end(1), name, {}
    pairs: dict[str, str] = {}
    at, more = head.end(), True
    while line[at : at + 1] != b"}":
        label = _LABEL.match(line, at) if more else None
        if label is None:
            raise _bad(line, f"byte {at} is not a label")
        _add_label(pairs, label.group(1), label.group(2), line, limits)
        at, more = label.end(), bool(label.group(3))
    return at + 1, name, pairs


def _add_label(pairs: dict[str, str], name: bytes, value: bytes, line: bytes, limits: ExpositionLimits) -> None:
    key = name.decode()
    if key in pairs or key == METRIC_NAME:
        raise _bad(line, f"label {key[:100]} twice")
    if len(name) > limits.name_bytes or len(value) > limits.value_bytes:
        raise _bad(
            line,
            f"label of {len(name)} bytes with {len(value)} bytes, limits {limits.name_bytes} and {limits.value_bytes}",
        )
    if len(pairs) >= limits.labels:
        raise _bad(line, f"more than {limits.labels} labels")
    try:
        pairs[key] = _unescape(value.decode())
    except UnicodeDecodeError as error:
        raise _bad(line, f"label {key[:100]} is not UTF-8") from error


def _number(text: bytes, line: bytes) -> float:
    if len(text) <= _MAX_NUMBER_BYTES and b"_" not in text:
        try:
            return float(text)
        except ValueError:
            pass
    raise _bad(line, "not a number")


def _timestamp_ms(text: bytes, line: bytes, openmetrics: bool) -> int:
    seconds_or_ms = _number(text, line)
    ms = seconds_or_ms * 1000 if openmetrics else seconds_or_ms
    if not abs(ms) < 2**53:  # NaN fails this too
        raise _bad(line, "not a timestamp")
    if not openmetrics and ms != int(ms):
        raise _bad(line, "a timestamp is whole milliseconds")
    return round(ms)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: "\n" if found.group(1) == "n" else found.group(1), text)


def _bad(line: bytes, reason: str) -> DecodeError:
    return DecodeError(f"exposition line {_shown(line)}: {reason}")


def _shown(line: bytes) -> str:
    return repr(line[:100].decode("utf-8", "backslashreplace"))


def write_exposition(samples: Iterable[tuple[Series, float]], times_ms: Iterable[int] | None = None) -> bytes:
    """Text exposition 0.0.4 of `samples`, grouped by family in order of first appearance. Stale markers are left out.

    With `times_ms`, one for each sample, every line has its timestamp. Where series of one family disagree about HELP
    or TYPE, the first one counts.
    """
    families: dict[str, list[str]] = {}
    ends = repeat("\n") if times_ms is None else (f" {time_ms}\n" for time_ms in times_ms)
    for (series, value), end in zip(samples, ends, strict=False):
        if value != value and is_stale(np.array([value])).any():
            continue
        family = _family_name(series)
        lines = families.get(family)
        if lines is None:
            lines = families[family] = _header(family, series)
        lines.append(f"{_series_text(series.labels)} {_number_text(value)}{end}")
    return "".join(line for lines in families.values() for line in lines).encode()


_TYPE_WORDS: dict[MetricType, str] = {
    MetricType.COUNTER: "counter",
    MetricType.GAUGE: "gauge",
    MetricType.HISTOGRAM: "histogram",
    MetricType.SUMMARY: "summary",
    # the text format has no word for the others, and its readers refuse words that they do not know
    MetricType.INFO: "gauge",
    MetricType.STATESET: "gauge",
}


def _family_name(series: Series) -> str:
    name = series.labels.metric
    if series.type in (MetricType.HISTOGRAM, MetricType.SUMMARY):
        base, cut, suffix = name.rpartition("_")
        if (cut + suffix).encode() in _SUFFIXES[series.type]:
            return base
    return name


def _header(family: str, series: Series) -> list[str]:
    text = series.help.replace("\\", "\\\\").replace("\n", "\\n")
    lines = [f"# HELP {family} {text}\n"] if text else []
    return [*lines, f"# TYPE {family} {_TYPE_WORDS.get(series.type, 'untyped')}\n"]


def _series_text(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in labels if name != METRIC_NAME)
    return f"{labels.metric}{{{pairs}}}" if pairs else labels.metric


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))

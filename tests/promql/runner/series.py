"""Series lines: `metric{labels} 1 2+3x4 _ stale`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from peerwatch.model import METRIC_NAME, STALE, Labels
from peerwatch.query.gotext import parse_duration_ms, parse_number, unquote
from tests.promql.runner.histogram import Literal, parse_literal, repeated

_HEAD = re.compile(r'([A-Za-z_:][A-Za-z0-9_:]*)?\s*(\{(?!\{)(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?(@st)?\s*')
_LABEL = re.compile(
    r'\s*(?:([A-Za-z_][A-Za-z0-9_]*)|("(?:[^"\\]|\\.)*"))\s*(?:=\s*("(?:[^"\\]|\\.)*"|\'[^\']*\'))?\s*,?'
)
_HISTOGRAM = re.compile(r"\{\{(.*?)\}\}")
_TOKEN = re.compile(r"H(\d+)(?:([+-])H(\d+))?(?:x(\d+))?")

Value = float | Literal | None
"""One sample: a number, a native histogram, or none."""


@dataclass(frozen=True)
class SeriesLine:
    """values: one per step. starts_ms: of a line of start times, by how much before each step; None for none."""

    labels: Labels
    values: list[Value]
    starts_ms: list[int | None] | None = None

    @property
    def has_histogram(self) -> bool:
        """Whether one of the samples is a native histogram."""
        return any(isinstance(value, Literal) for value in self.values)


def parse_series(line: str) -> SeriesLine:
    """Raises ValueError for a line that is no series."""
    head = _HEAD.match(line)
    if head is None or head.end() == 0:
        raise ValueError(f"not a series: {line}")
    labels = parse_labels(head[2] or "{}", head[1] or "")
    rest = line[head.end() :]
    if head[3]:
        return SeriesLine(labels, [], [offset for token in rest.split() for offset in _start_offsets(token)])
    literals = [parse_literal(text) for text in _HISTOGRAM.findall(rest)]
    numbers = iter(range(len(literals)))
    values: list[Value] = []
    for token in _HISTOGRAM.sub(lambda _: f"H{next(numbers)}", rest).split():
        values += _histograms(token, literals) if token.startswith("H") else _values(token)
    return SeriesLine(labels, values)


def _histograms(token: str, literals: list[Literal]) -> list[Value]:
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise ValueError(f"not histograms: {token}")
    base, times = literals[int(found[1])], int(found[4] or 0)
    if found[2] is None:
        return [base] * (times + 1)
    return [*repeated(base, literals[int(found[3])], found[2], times)]


def _start_offsets(token: str) -> list[int | None]:
    """`-1m`, `-30s-1mx2` (each step one minute less), `_`."""
    if token.startswith("_"):
        return [None] * (int(token[2:]) if token.startswith("_x") else 1)
    found = re.fullmatch(r"([+-]?[0-9a-z]+?)(?:([+-][0-9a-z]+?))?(?:x(\d+))?", token)
    if found is None:
        raise ValueError(f"not start times: {token}")
    base, times = _signed_ms(found[1]), int(found[3] or 0)
    step = _signed_ms(found[2]) if found[2] else 0
    return [base + k * step for k in range(times + 1)]


def _signed_ms(text: str) -> int:
    digits = text.lstrip("+-")
    size = 0 if digits == "0" else parse_duration_ms(digits)
    return -size if text.startswith("-") else size


def parse_labels(braces: str, metric: str = "") -> Labels:
    """`{a="b", "quoted name"="c", "metric"}`."""
    pairs = {METRIC_NAME: metric}
    at = 1
    while at < len(braces) - 1:
        found = _LABEL.match(braces, at)
        if found is None or found.end() == at:
            raise ValueError(f"not labels: {braces}")
        name = found[1] or unquote(found[2])
        if found[3] is None:
            pairs[METRIC_NAME] = name
        else:
            pairs[name] = unquote(found[3])
        at = found.end()
    return Labels.of(pairs)


def parse_value(text: str) -> float:
    """A number with a sign."""
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
    value = parse_number(digits)
    return -value if sign == "-" else value


def _values(token: str) -> list[Value]:
    if token == "_":
        return [None]
    if token.startswith("_x"):
        return [None] * int(token[2:])
    if token == "stale":
        return [float(STALE)]
    base, delta, times = _split(token)
    if times is None:
        return [base]
    found: list[Value] = [base]
    for _ in range(times):  # by repeated addition, as Prometheus does
        base += delta
        found.append(base)
    return found


def _split(token: str) -> tuple[float, float, int | None]:
    if "x" not in token:
        return parse_value(token), 0.0, None
    body, times = token.rsplit("x", 1)
    found = re.fullmatch(r"([+-]?[^+-]+(?:[eE][+-]\d+)?)([+-].+)?", body)
    if found is None:
        raise ValueError(f"not a value: {token}")
    return parse_value(found[1]), parse_value(found[2]) if found[2] else 0.0, int(times)

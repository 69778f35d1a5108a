"""Series lines: `metric{labels} 1 2+3x4 _ stale`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from peerwatch.model import METRIC_NAME, STALE, Labels
from peerwatch.query.gotext import parse_number, unquote

_HEAD = re.compile(r'([A-Za-z_:][A-Za-z0-9_:]*)?\s*(\{(?!\{)(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?(@st)?\s*')
_LABEL = re.compile(
    r'\s*(?:([A-Za-z_][A-Za-z0-9_]*)|("(?:[^"\\]|\\.)*"))\s*(?:=\s*("(?:[^"\\]|\\.)*"|\'[^\']*\'))?\s*,?'
)
_HISTOGRAM = re.compile(r"\{\{.*?\}\}")


@dataclass(frozen=True)
class SeriesLine:
    """values: one per step; None where there is no sample or a native histogram. has_histogram tells the latter."""

    labels: Labels
    values: list[float | None]
    has_histogram: bool
    is_start_times: bool


def parse_series(line: str) -> SeriesLine:
    """Raises ValueError for a line that is no series."""
    head = _HEAD.match(line)
    if head is None or head.end() == 0:
        raise ValueError(f"not a series: {line}")
    labels = parse_labels(head[2] or "{}", head[1] or "")
    rest = line[head.end() :]
    if head[3]:
        return SeriesLine(labels, [], False, True)
    has_histogram = "{{" in rest
    values: list[float | None] = []
    for token in _HISTOGRAM.sub("H", rest).split():
        values += _values(token)
    return SeriesLine(labels, values, has_histogram, False)


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


def _values(token: str) -> list[float | None]:
    if "H" in token:
        return [None] * (int(token.rsplit("x", 1)[1]) + 1 if "x" in token else 1)
    if token == "_":
        return [None]
    if token.startswith("_x"):
        return [None] * int(token[2:])
    if token == "stale":
        return [float(STALE)]
    base, delta, times = _split(token)
    if times is None:
        return [base]
    found: list[float | None] = [base]
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

"""AnswerTable: the answer to a query as people read it."""

from __future__ import annotations

import datetime
import math
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_BARS = "▁▂▃▄▅▆▇█"


def print_answer(answer: Any) -> None:
    """Print a table; for a range, a sparkline of each series."""
    console = Console()
    result, kind = answer["data"]["result"], answer["data"]["resultType"]
    for warning in (*answer.get("warnings", ()), *answer.get("infos", ())):
        console.print(Text(warning, style="yellow"))
    if kind in ("scalar", "string"):
        console.print(Text(result[1]))
    elif not result:
        console.print("no series matches; `peerwatch query up` shows who reports")
    elif kind == "vector":
        console.print(_vector_table(result))
    else:
        console.print(_matrix_table(result, console.width))


def _vector_table(result: list[Any]) -> Table:
    table = Table("series", box=None)
    table.add_column("value", justify="right")
    for one in result:
        shown = one["value"][1] if "value" in one else histogram_text(one["histogram"][1])
        table.add_row(Text(series_text(one["metric"])), shown)
    return table


def _matrix_table(result: list[Any], width: int) -> Table:
    table = Table("series", box=None)
    table.add_column("", no_wrap=True)
    for title in ("min", "max", "last"):
        table.add_column(title, justify="right", no_wrap=True)
    lines = [points(one) for one in result]
    first, last = min(line[0][0] for line in lines), max(line[-1][0] for line in lines)
    cells = max(1, min(max(map(len, lines)), width // 2 - 10))  # the labels and three numbers need the other half
    for one, line in zip(result, lines, strict=True):
        finite = [value for _, value in line if math.isfinite(value)] or [math.nan]
        numbers = (f"{number:.4g}" for number in (min(finite), max(finite), line[-1][1]))
        table.add_row(Text(line_text(one)), sparkline(by_time(line, first, last, cells)), *numbers)
    table.caption = f"{clock_text(first)} to {clock_text(last)}"
    return table


def points(series: dict[str, Any]) -> list[tuple[float, float]]:
    """The samples of a series over time as (time, number); of native histograms their counts."""
    numbers = [(at, float(value)) for at, value in series.get("values", ())]
    counts = [(at, float(histogram["count"])) for at, histogram in series.get("histograms", ())]
    return sorted(numbers + counts)


def line_text(series: dict[str, Any]) -> str:
    """What a line of `points` is called."""
    return series_text(series["metric"]) + (" (counts)" if "histograms" in series else "")


def histogram_text(histogram: dict[str, Any]) -> str:
    """A native histogram in a line: its populated buckets as bars, between their outermost bounds."""
    buckets = histogram.get("buckets", ())
    drawn = ""
    if buckets:
        low, high = (f"{float(bound):.4g}" for bound in (buckets[0][1], buckets[-1][2]))
        drawn = f"{low} {sparkline([0.0, *(float(bucket[3]) for bucket in buckets)])[1:]} {high}  "
    return f"{drawn}count {histogram['count']}, sum {histogram['sum']}"


def by_time(samples: list[tuple[float, float]], first: float, last: float, cells: int) -> list[float]:
    """The samples in `cells` equal spans of time, the last of each; NaN where a span has none, so that gaps show."""
    found = [math.nan] * cells
    length = (last - first) or 1.0
    for at, value in samples:
        found[min(cells - 1, int((at - first) / length * cells))] = value
    return found


def sparkline(values: list[float]) -> str:
    """One character per value, from the lowest to the highest; a space where there is no number."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return " " * len(values)
    low, span = min(finite), max(finite) - min(finite)
    top = len(_BARS) - 1
    return "".join(
        _BARS[round((value - low) / span * top) if span else 0] if math.isfinite(value) else " " for value in values
    )


def series_text(metric: dict[str, str]) -> str:
    """A label set as PromQL writes it."""
    rest = ", ".join(f'{name}="{_escaped(value)}"' for name, value in metric.items() if name != "__name__")
    return metric.get("__name__", "") + (f"{{{rest}}}" if rest else "") or "{}"


def _escaped(value: str) -> str:
    """As between double quotes in PromQL; control characters stay codes, so that no label steers a terminal."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in plain)


def clock_text(seconds: float) -> str:
    """Unix seconds as local time."""
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")

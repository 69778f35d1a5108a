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
        table.add_row(Text(series_text(one["metric"])), one["value"][1])
    return table


def _matrix_table(result: list[Any], width: int) -> Table:
    table = Table("series", box=None)
    table.add_column("", no_wrap=True)
    for title in ("min", "max", "last"):
        table.add_column(title, justify="right", no_wrap=True)
    first = min(one["values"][0][0] for one in result)
    last = max(one["values"][-1][0] for one in result)
    most = max(len(one["values"]) for one in result)
    cells = max(1, min(most, width // 2 - 10))  # the labels and three numbers need the other half
    for one in result:
        values = [float(value) for _, value in one["values"]]
        finite = [value for value in values if math.isfinite(value)] or [math.nan]
        numbers = (f"{number:.4g}" for number in (min(finite), max(finite), values[-1]))
        shown = by_time([(at, float(value)) for at, value in one["values"]], first, last, cells)
        table.add_row(Text(series_text(one["metric"])), sparkline(shown), *numbers)
    table.caption = f"{clock_text(first)} to {clock_text(last)}"
    return table


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

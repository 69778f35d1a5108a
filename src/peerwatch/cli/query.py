"""`peerwatch query`: PromQL at the prompt."""

from __future__ import annotations

import datetime
import json as jsonlib
import math
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient
from peerwatch.errors import ConfigError

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_POINTS = 60
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def query(
    expr: Annotated[str, typer.Argument(help="PromQL, for example 'node_load1'.")],
    range_: Annotated[
        str, typer.Option("--range", metavar="1h", help="The last so much time, with a sparkline per series.")
    ] = "",
    data: options.Data = None,
    url: options.Url = "",
    token: options.Token = "",
    ca: options.CaFile = "",
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Ask a hub and print a table; with --range, a sparkline of each series."""
    settings = options.settings_from(config, data=data)
    with HubClient(url, settings.folder, token, ca) as hub:
        answer = _ask(hub, expr, range_)
    if json:
        typer.echo(jsonlib.dumps(answer["data"]))
    else:
        _print(answer)


def _ask(hub: HubClient, expr: str, range_: str) -> Any:
    if not range_:
        return hub.get("/api/v1/query", query=expr)
    length_s = duration_s(range_)
    end_s = time.time_ns() / 1e9
    step_s = max(1.0, length_s / _SPARK_POINTS)
    return hub.get(
        "/api/v1/query_range", query=expr, start=f"{end_s - length_s:.3f}", end=f"{end_s:.3f}", step=f"{step_s:.3f}"
    )


def duration_s(text: str) -> float:
    """`90s`, `15m`, `1h`, `7d`, `2w` in seconds. Raises ConfigError for anything else."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or int(number) == 0:
        raise ConfigError(f"--range: {text!r}, must be a number and a unit, such as 90s, 15m, 1h, 7d or 2w")
    return float(int(number) * _UNITS[unit])


def _print(answer: Any) -> None:
    console = Console()
    result, kind = answer["data"]["result"], answer["data"]["resultType"]
    for warning in (*answer.get("warnings", ()), *answer.get("infos", ())):
        console.print(f"[yellow]{warning}[/]", highlight=False)
    if kind in ("scalar", "string"):
        console.print(result[1], highlight=False)
    elif not result:
        console.print("no series matches; `peerwatch query up` shows who reports")
    elif kind == "vector":
        console.print(_vector_table(result))
    else:
        console.print(_matrix_table(result))


def _vector_table(result: list[Any]) -> Table:
    table = Table("series", box=None)
    table.add_column("value", justify="right")
    for one in result:
        table.add_row(series_text(one["metric"]), one["value"][1])
    return table


def _matrix_table(result: list[Any]) -> Table:
    table = Table("series", box=None)
    for title in ("", "min", "max", "last"):
        table.add_column(title, justify="left" if not title else "right")
    for one in result:
        values = [float(value) for _, value in one["values"]]
        finite = [value for value in values if math.isfinite(value)] or [math.nan]
        numbers = (f"{number:.4g}" for number in (min(finite), max(finite), values[-1]))
        table.add_row(series_text(one["metric"]), sparkline(values), *numbers)
    first = min(one["values"][0][0] for one in result)
    last = max(one["values"][-1][0] for one in result)
    table.caption = f"{_clock(first)} to {_clock(last)}"
    return table


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
    rest = ", ".join(f'{name}="{value}"' for name, value in metric.items() if name != "__name__")
    return metric.get("__name__", "") + (f"{{{rest}}}" if rest else "") or "{}"


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")

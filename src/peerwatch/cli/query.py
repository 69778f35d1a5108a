"""`peerwatch query`: PromQL at the prompt."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Annotated, Any, Literal

from peerwatch.cli import options
from peerwatch.cli.asked_hub import AskedHub
from peerwatch.cli.parameters import Argument, Option
from peerwatch.errors import ConfigError

Format = Literal["table", "json", "csv", "chart"]

_SPARK_POINTS = 60
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def query(
    hub: AskedHub,
    expr: Annotated[str, Argument(help="PromQL, for example 'node_load1'.")],
    range_: Annotated[
        str, Option("--range", metavar="1h", help="So much time up to --at, with a sparkline per series.")
    ] = "",
    step: Annotated[
        str, Option("--step", metavar="1m", help="Time between points of a range. [default: 60 points]")
    ] = "",
    at: Annotated[
        str,
        Option(
            "--at", metavar="TIME", help="When: 2026-05-01T12:00, Unix seconds, or 2h for as long ago. [default: now]"
        ),
    ] = "",
    format_: Annotated[
        Format, Option("--format", help="How to print: for people (table, chart) or for programs (json, csv).")
    ] = "table",
    json: options.Json = False,
) -> None:
    """Ask a hub and print a table; with --range, a sparkline of each series, or a chart of all."""
    wanted = parameters(expr, range_, step, at, time.time_ns() / 1e9)
    with hub.open() as client:
        answer = client.get("/api/v1/query_range" if range_ else "/api/v1/query", **wanted)
    _print(answer, "json" if json else format_)


def _print(answer: Any, form: Format) -> None:
    """The modules that print tables are loaded here only: a lean agent does without."""
    if form == "json":
        import json

        print(json.dumps(answer["data"]))
    elif form == "csv":
        from peerwatch.cli.answer_csv import print_csv

        print_csv(answer)
    elif form == "chart":
        from peerwatch.cli.answer_chart import print_chart

        print_chart(answer)
    else:
        from peerwatch.cli.answer_table import print_answer

        print_answer(answer)


def parameters(expr: str, range_: str, step: str, at: str, now_s: float) -> dict[str, str]:
    """What the API is asked. Raises ConfigError for options that mean nothing."""
    end_s = moment_s("--at", at, now_s) if at else now_s
    if not range_:
        if step:
            raise ConfigError(f"--step {step}: needs --range, which says how far back to go")
        return {"query": expr, "time": f"{end_s:.3f}"}
    length_s = duration_s("--range", range_)
    step_s = duration_s("--step", step) if step else max(1.0, length_s / _SPARK_POINTS)
    return {"query": expr, "start": f"{end_s - length_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:.3f}"}


def moment_s(option: str, text: str, now_s: float) -> float:
    """A date (local time unless it says otherwise), Unix seconds, or how long ago. Raises ConfigError for others."""
    if text[-1:] in _UNITS:
        return now_s - duration_s(option, text)
    try:
        seconds = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).astimezone().timestamp()
        except ValueError as error:
            raise ConfigError(
                f"{option}: {text!r}, must be a time such as 2026-05-01T12:00, Unix seconds, or how long ago (2h)"
            ) from error
    if not math.isfinite(seconds):
        raise ConfigError(f"{option}: {text!r} is no time")
    return seconds


def duration_s(option: str, text: str) -> float:
    """`90s`, `15m`, `1h`, `7d`, `2w` in seconds. Raises ConfigError, naming the option, for anything else."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or int(number) == 0:
        raise ConfigError(f"{option}: {text!r}, must be a number and a unit, such as 90s, 15m, 1h, 7d or 2w")
    return float(int(number) * _UNITS[unit])

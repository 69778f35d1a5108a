"""`peerwatch query`: PromQL at the prompt."""

from __future__ import annotations

import json as jsonlib
import time
from typing import Annotated, Any

from peerwatch.cli import options
from peerwatch.cli.hub_client import HubClient
from peerwatch.cli.parameters import Argument, Option
from peerwatch.errors import ConfigError

_SPARK_POINTS = 60
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def query(
    expr: Annotated[str, Argument(help="PromQL, for example 'node_load1'.")],
    range_: Annotated[
        str, Option("--range", metavar="1h", help="The last so much time, with a sparkline per series.")
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
        print(jsonlib.dumps(answer["data"]))
    else:
        from peerwatch.cli.answer_table import print_answer  # tables for people; a lean agent does without

        print_answer(answer)


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

"""AnswerCsv: the answer to a query as a table for spreadsheets: one row per sample, one column per label.

A native histogram is the JSON that the API has for it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from typing import Any, TextIO


def print_csv(answer: Any, out: TextIO | None = None) -> None:
    """Print a head line, then time in Unix seconds, value and labels of each sample. Remarks go to standard error."""
    for remark in (*answer.get("warnings", ()), *answer.get("infos", ())):
        print(remark, file=sys.stderr)
    data = answer["data"]
    names = label_names(data)
    writer = csv.writer(out or sys.stdout, lineterminator="\n")
    writer.writerow(["time", "value", *names])
    for metric, time_s, value in _samples(data):
        writer.writerow([time_s, value, *(metric.get(name, "") for name in names)])


def label_names(data: Any) -> list[str]:
    """All label names of an answer, the metric's name first."""
    if data["resultType"] in ("scalar", "string"):
        return []
    found = {name for one in data["result"] for name in one["metric"]}
    return sorted(found, key=lambda name: (name != "__name__", name))


def _samples(data: Any) -> Iterator[tuple[dict[str, str], float, str]]:
    result = data["result"]
    if data["resultType"] in ("scalar", "string"):
        yield {}, result[0], result[1]
        return
    for one in result:
        samples = [*one.get("values", ()), *one.get("histograms", ())]
        for time_s, value in samples or [one.get("value") or one["histogram"]]:
            yield one["metric"], time_s, value if isinstance(value, str) else json.dumps(value)

"""AnswerChart: series over time as a chart of characters: braille dots, two by four to a cell."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.text import Text

from peerwatch.cli.answer_table import clock_text, line_text, points, print_answer

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "red")
_HEIGHT = 16
_MOST_SERIES = 12
_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row within a cell][column within it]
_AXIS_WIDTH = 11

Points = list[tuple[float, float]]


def print_chart(answer: Any) -> None:
    """Print the chart and whose line is which; what is no range is a table."""
    result, kind = answer["data"]["result"], answer["data"]["resultType"]
    if kind != "matrix" or not result:
        print_answer(answer)
        return
    console = Console()
    for remark in (*answer.get("warnings", ()), *answer.get("infos", ())):
        console.print(Text(remark, style="yellow"))
    shown = result[:_MOST_SERIES]
    found = [points(one) for one in shown]
    lines = [[point for point in line if math.isfinite(point[1])] for line in found]
    for row in chart(lines, max(10, console.width - _AXIS_WIDTH - 1), _HEIGHT):
        console.print(row, no_wrap=True, crop=True)
    times = [at for line in found for at, _ in line]
    console.print(Text(" " * (_AXIS_WIDTH + 1) + f"{clock_text(min(times))} to {clock_text(max(times))}", "dim"))
    for number, one in enumerate(shown):
        console.print(Text("━ ", _COLOURS[number % len(_COLOURS)]) + Text(line_text(one)))
    if len(result) > len(shown):
        console.print(Text(f"{len(result) - len(shown)} more series are not shown", "yellow"))


def chart(lines: list[Points], width: int, height: int) -> list[Text]:
    """The rows of a chart of `width` x `height` cells, with the values of its edges and its middle beside it."""
    points = [point for line in lines for point in line]
    if not points:
        return [Text("no finite values")]
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low == high:
        low, high = low - 1, high + 1
    dots: dict[tuple[int, int], tuple[int, int]] = {}  # (row, column) -> (dots, number of the line drawn last)
    for number, line in enumerate(lines):
        for x, y in _places(line, (first, last), (low, high), 2 * width - 1, 4 * height - 1):
            cell = (height - 1 - y // 4, x // 2)
            mask = _DOTS[3 - y % 4][x % 2]
            dots[cell] = (dots.get(cell, (0, 0))[0] | mask, number)
    marks = {0: high, height // 2: (low + high) / 2, height - 1: low}
    return [_row(row, width, dots, marks.get(row)) for row in range(height)]


def _places(
    line: Points, times: tuple[float, float], values: tuple[float, float], right: int, top: int
) -> list[tuple[int, int]]:
    """The dots of a line. Points are not joined: between them nothing was measured."""
    length = (times[1] - times[0]) or 1.0
    height = values[1] - values[0]
    return [(round((at - times[0]) / length * right), round((value - values[0]) / height * top)) for at, value in line]


def _row(row: int, width: int, dots: dict[tuple[int, int], tuple[int, int]], mark: float | None) -> Text:
    text = Text(f"{'' if mark is None else f'{mark:.4g}':>{_AXIS_WIDTH}}│", "dim")
    for column in range(width):
        mask, number = dots.get((row, column), (0, 0))
        text.append(chr(_BRAILLE + mask) if mask else " ", _COLOURS[number % len(_COLOURS)])
    return text

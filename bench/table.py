"""Tables: results as Markdown, for the terminal and for docs/benchmarks.md alike."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; the first is to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([_line(head, widths), _line(rule, widths), *(_line(row, widths) for row in rows)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    return (
        "| "
        + " | ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])
        + " |"
    )


def ratio(theirs: float, ours: float) -> str:
    """How many times ours theirs is."""
    return f"{theirs / ours:.1f}×" if ours > 0 else "–"


def mebibytes(size_bytes: float) -> str:
    """Bytes as MiB."""
    return f"{size_bytes / (1 << 20):.0f}"

"""Rules of the tables that benchmarks print."""

from __future__ import annotations

from bench.table import markdown, ratio


def test_columns_line_up_names_left_numbers_right() -> None:
    """A table can be read as it is and as Markdown."""
    expected = "| a     |  n |\n| ----- | -: |\n| first |  1 |\n| b     | 22 |"
    assert markdown(["a", "n"], [["first", "1"], ["b", "22"]]) == expected


def test_a_ratio_is_theirs_to_ours() -> None:
    """More than one means that ours took less; without a number of ours there is none."""
    assert ratio(3.0, 2.0) == "1.5×"
    assert ratio(3.0, 0.0) == "–"

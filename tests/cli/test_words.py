"""What commands print: ages, sparklines, durations, series."""

from __future__ import annotations

import math

import pytest

from peerwatch.cli import agents, query
from peerwatch.cli.answer_table import by_time, print_answer, series_text, sparkline
from peerwatch.errors import ConfigError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (90_061, "1 d 1 h")],
)
def test_an_age_has_its_two_largest_units(seconds: int, text: str) -> None:
    """Enough to judge, short enough for a table."""
    assert agents.age(1_000_000, 1_000_000 + seconds * 1000) == text
    assert agents.age(1_000_000, 1_000_000 + seconds * 1000, " ago") == f"{text} ago"


def test_never_is_a_dash_and_the_future_is_now() -> None:
    """A clock that is ahead makes no negative age."""
    assert agents.age(0, 1_000_000) == "–"
    assert agents.age(2_000_000, 1_000_000) == "0 s"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """As PromQL writes it."""
    assert query.duration_s("--range", text) == seconds


@pytest.mark.parametrize("text", ["", "h", "0m", "-5m", "1.5h", "5", "5 m", "1y", "٣m", "1h30m"])
def test_any_other_duration_is_refused_with_examples(text: str) -> None:
    """The message shows the value."""
    with pytest.raises(ConfigError) as caught:
        query.duration_s("--step", text)
    assert "--step" in str(caught.value) and repr(text) in str(caught.value) and "1h" in str(caught.value)


def test_a_sparkline_runs_from_the_lowest_to_the_highest() -> None:
    """One character per value; a space where there is no number; a flat line stays low."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5, 5]) == "▁▁▁"
    assert sparkline([1, math.nan, 2, math.inf]) == "▁ █ "
    assert sparkline([math.nan]) == " "
    assert sparkline([]) == ""


def test_a_series_is_written_as_promql_writes_it() -> None:
    """So that it can be pasted into the next query."""
    assert series_text({"__name__": "up", "job": "node"}) == 'up{job="node"}'
    assert series_text({"__name__": "up"}) == "up"
    assert series_text({"a": "1", "b": "2"}) == '{a="1", b="2"}'
    assert series_text({}) == "{}"
    assert series_text({"__name__": "x", "path": 'C:\\"a"\n'}) == 'x{path="C:\\\\\\"a\\"\\n"}'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"resultType": "scalar", "result": [1, "2"]}, ["2"]),
        ({"resultType": "vector", "result": []}, ["no series matches"]),
        ({"resultType": "vector", "result": [{"metric": {"__name__": "up"}, "value": [1, "1"]}]}, ["up", "value"]),
        (
            {
                "resultType": "matrix",
                "result": [{"metric": {"__name__": "x"}, "values": [[0, "1"], [60, "NaN"], [120, "3"]]}],
            },
            ["x", "▁ █", "min", "max", "last"],
        ),
    ],
)
def test_every_kind_of_answer_is_printed(data: object, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the warnings above it."""
    print_answer({"data": data, "warnings": ["careful"]})
    printed = capsys.readouterr().out
    assert all(word in printed for word in ["careful", *words]), printed


def test_a_label_that_looks_like_markup_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A hostile label value neither colours the terminal nor breaks the table."""
    result = [{"metric": {"__name__": "x", "a": "[red]b[/red]"}, "value": [1, "1"]}]
    print_answer({"data": {"resultType": "vector", "result": result}})
    assert 'x{a="[red]b[/red]"}' in capsys.readouterr().out


def test_no_label_steers_the_terminal() -> None:
    """Escape sequences come out as codes."""
    assert series_text({"a": "\x1b[2J\r"}) == '{a="\\x1b[2J\\r"}'


def test_a_sparkline_shows_gaps_where_they_were() -> None:
    """Samples fall into equal spans of time; a span without one is a space, not closed up."""
    samples = [(0.0, 1.0), (10.0, 2.0), (70.0, 8.0), (80.0, 9.0)]
    assert sparkline(by_time(samples, 0.0, 80.0, 8)) == "▁▂     █"

"""`peerwatch query`: what is asked, and how answers are printed."""

from __future__ import annotations

import io
import math
from datetime import datetime

import pytest

from peerwatch.cli.answer_chart import chart, print_chart
from peerwatch.cli.answer_csv import print_csv
from peerwatch.cli.answer_table import print_answer
from peerwatch.cli.query import parameters
from peerwatch.errors import ConfigError

NOW_S = 1_000_000.0


def test_an_instant_is_now_or_at_a_time() -> None:
    """A date is local unless it says otherwise; a duration is so long ago."""
    assert parameters("up", "", "", "", NOW_S) == {"query": "up", "time": "1000000.000"}
    assert parameters("up", "", "", "1700000000.5", NOW_S)["time"] == "1700000000.500"
    assert parameters("up", "", "", "2h", NOW_S)["time"] == "992800.000"
    assert parameters("up", "", "", "2026-05-01T12:00:00Z", NOW_S)["time"] == "1777636800.000"
    local = datetime(2026, 5, 1, 12).astimezone().timestamp()
    assert parameters("up", "", "", "2026-05-01T12:00", NOW_S)["time"] == f"{local:.3f}"


def test_a_range_ends_there_and_has_sixty_points_unless_told() -> None:
    """--step names another distance."""
    expected = {"query": "up", "start": "996400.000", "end": "1000000.000", "step": "60.000"}
    assert parameters("up", "1h", "", "", NOW_S) == expected
    ago = expected | {"start": "992800.000", "end": "996400.000", "step": "15.000"}
    assert parameters("up", "1h", "15s", "1h", NOW_S) == ago


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("", "1m", ""), "--step 1m: needs --range"),
        (("soon", "", ""), "--range: 'soon', must be a number and a unit"),
        (("1h", "0s", ""), "--step: '0s', must be a number and a unit"),
        (("", "", "yesterday"), "--at: 'yesterday', must be a time such as 2026-05-01T12:00"),
        (("", "", "nan"), "--at: 'nan' is no time"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: tuple[str, str, str], message: str) -> None:
    """With the option, its value and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        parameters("up", *options, NOW_S)


def _csv(kind: str, result: object, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out = io.StringIO()
    print_csv({"data": {"resultType": kind, "result": result}, "infos": ["a remark"]}, out)
    return out.getvalue(), capsys.readouterr().err


def test_csv_has_a_row_per_sample_and_a_column_per_label(capsys: pytest.CaptureFixture[str]) -> None:
    """Labels that a series lacks are empty; remarks go elsewhere."""
    rows = [
        {"metric": {"__name__": "m", "z": 'a,"b'}, "values": [[1, "1"], [2.5, "NaN"]]},
        {"metric": {"a": "x"}, "values": [[1, "+Inf"]]},
    ]
    text = 'time,value,__name__,a,z\n1,1,m,,"a,""b"\n2.5,NaN,m,,"a,""b"\n1,+Inf,,x,\n'
    assert _csv("matrix", rows, capsys) == (text, "a remark\n")
    vector = [{"metric": {"a": "x"}, "value": [4, "2"]}]
    assert _csv("vector", vector, capsys)[0] == "time,value,a\n4,2,x\n"
    assert _csv("scalar", [4, "2"], capsys)[0] == "time,value\n4,2\n"


def test_a_chart_runs_from_the_lowest_to_the_highest() -> None:
    """Two by four dots to a cell, the edges and the middle named."""
    line = [(float(at), float(at)) for at in range(8)]
    rows = [row.plain for row in chart([line], 4, 2)]
    assert rows == ["          7│  ⡠⠊", "          0│⡠⠊  "]


def test_a_chart_of_a_constant_has_it_in_the_middle_and_one_of_nothing_says_so() -> None:
    """No division by nothing."""
    rows = [row.plain for row in chart([[(0.0, 5.0), (1.0, 5.0)]], 2, 3)]
    assert rows[0].strip() == "6│" and rows[2].strip() == "4│"
    assert [row.plain for row in chart([[]], 4, 2)] == ["no finite values"]


def test_a_chart_names_its_lines_and_leaves_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no number is not drawn; beyond twelve series it says how many are missing."""
    values = [[at, "NaN" if at == 3 else str(math.sin(at))] for at in range(10)]
    result = [{"metric": {"__name__": "m", "n": str(number)}, "values": values} for number in range(13)]
    print_chart({"data": {"resultType": "matrix", "result": result}})
    out = capsys.readouterr().out
    assert '━ m{n="0"}' in out and '━ m{n="11"}' in out and '━ m{n="12"}' not in out
    assert "1 more series are not shown" in out
    print_chart({"data": {"resultType": "scalar", "result": [1, "2"]}})
    assert capsys.readouterr().out == "2\n"


HISTOGRAM = {"count": "4", "sum": "2.5", "buckets": [[0, "0.5", "1", "1"], [0, "1", "2", "3"]]}


def test_native_histograms_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As bars in a table, by their counts over time, and whole in CSV."""
    metric = {"__name__": "h"}
    print_answer({"data": {"resultType": "vector", "result": [{"metric": metric, "histogram": [1, HISTOGRAM]}]}})
    assert "0.5 ▃█ 2  count 4, sum 2.5" in capsys.readouterr().out
    ranged = {"data": {"resultType": "matrix", "result": [{"metric": metric, "histograms": [[1, HISTOGRAM]]}]}}
    print_answer(ranged)
    assert "h (counts)" in capsys.readouterr().out
    print_chart(ranged)
    assert "━ h (counts)" in capsys.readouterr().out
    out, _ = _csv("vector", [{"metric": metric, "histogram": [1, HISTOGRAM]}], capsys)
    assert out.startswith('time,value,__name__\n1,"{""count"": ""4"",')

"""What one side of an operator says about labels narrows the other side, and changes no answer and no error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peerwatch.errors import QueryError
from peerwatch.model import Labels
from peerwatch.query import engine as engine_module
from peerwatch.query.ast import Expr
from peerwatch.query.engine import Engine
from peerwatch.query.narrow import narrowed
from peerwatch.query.parser import parse
from peerwatch.query.printer import format_expr
from peerwatch.query.result import MatrixResult
from tests.promql.memory import MemoryQueryable


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('1 - a / b and on (i) c{i="x"}', '1 - a{i="x"} / b{i="x"} and on (i) c{i="x"}'),
        ('a{i="x"} / b', 'a{i="x"} / b{i="x"}'),
        ('a > b{i="x"} > 1', 'a{i="x"} > b{i="x"} > 1'),
        ('-(a) and b{i="x",j!="y",k=~"z"}', '-(a{i="x"}) and b{i="x",j!="y",k=~"z"}'),
        ('a{i="x"} unless b', 'a{i="x"} unless b{i="x"}'),
        ('sum by (k) (a - b{i="x"})', 'sum by (k) (a{i="x"} - b{i="x"})'),
        ('a and ignoring (j) b{i="x",j="y"}', 'a{i="x"} and ignoring (j) b{i="x",j="y"}'),
        ('a @ 5 and b{i="x"} offset 1m', 'a{i="x"} @ 5.000 and b{i="x"} offset 1m'),
        ('a{i="x"} / b{i="y"}', 'a{i="x",i="y"} / b{i="x",i="y"}'),
    ],
)
def test_what_is_told(query: str, expected: str) -> None:
    """Through operators that pair by all labels, scalars and parentheses."""
    assert format_expr(narrowed(parse(query))) == expected


@pytest.mark.parametrize(
    "query",
    [
        'a unless b{i="x"}',
        'a or b{i="x"}',
        'a and ignoring (i) b{i="x"}',
        'a and on (j) b{i="x"}',
        'a / on (i) b{i="x"}',
        'a / on (i) group_left () b{i="x"}',
        'a / ignoring (j) b{i="x"}',
        'a + fill (0) b{i="x"}',
        '{__name__=~"a"} and b{i="x"}',
        '{__name__=~"a"} / b{i="x"}',
        'a and b{i=~"x"}',
        'a and b{i=""}',
        'a and sum by (i) (b{i="x"})',
        'rate(a_total[5m]) and b{i="x"}',
        'a and -b{__type__="counter"}',
        "+".join("a" for _ in range(2000)),
    ],
)
def test_what_is_not(query: str) -> None:
    """The wrong side, labels that need not agree, series that could get into each other's way, remarks."""
    expr = parse(query)
    assert narrowed(expr) is expr


def _memory() -> MemoryQueryable:
    """Three metrics; some labels are missing, some series have gaps, some differ in one label only."""
    random, memory = np.random.default_rng(3), MemoryQueryable()
    times = np.arange(0, 600_000, 30_000, dtype=np.int64)
    for name in "abc":
        for i in ("", "x", "y"):
            for j in ("", "x", "z"):
                kept = random.random(len(times)) > 0.3
                if random.random() > 0.2:
                    labels = Labels.of(__name__=name, i=i, j=j)
                    memory.add(labels, times[kept], np.round(random.normal(0, 2, len(times)))[kept])
    return memory


_SELECTORS = st.builds(
    lambda name, i, j: name % ",".join(one for one in (i, j) if one),
    st.sampled_from(["a{%s}", "b{%s}", "c{%s}", '{__name__=~"a|b",%s}']),
    st.sampled_from(["", 'i="x"', 'i="y"', 'i=~"x|y"', 'i!="x"', 'i=""']),
    st.sampled_from(["", "", 'j="x"', 'j!="z"']),
)
_OPERATORS = ["and", "or", "unless", "+", "-", "/", "*", ">", "<= bool", "=="]
_MATCHINGS = ["", "", "", "on (i)", "on (j)", "ignoring (j)", "ignoring (i)", "on (i, j)"]


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {} {})".format, inner, st.sampled_from(_OPERATORS), st.sampled_from(_MATCHINGS), inner),
        st.builds("({} {} on (i) group_left () {})".format, inner, st.sampled_from(["+", ">"]), inner),
        st.builds("({} {} {})".format, st.sampled_from(["1", "time()"]), st.sampled_from(["-", ">"]), inner),
        st.builds("(-{})".format, inner),
        st.builds("sum by (i) ({})".format, inner),
        st.builds("abs({})".format, inner),
    )


def _answer(engine: Engine, query: str) -> object:
    try:
        found = engine.range(query, 0, 600_000, 60_000)
    except QueryError as error:
        return str(error)
    assert isinstance(found.value, MatrixResult)
    series = found.value.series
    columns = series.times_ms.tobytes(), series.values.tobytes(), series.offsets.tobytes()
    return list(series.labels), columns, found.warnings, found.infos


@settings(max_examples=400, deadline=None)
@example('sum by (i) ((a{} and  a{j="x"}))')  # one -0 alone, or beside what is absent
@given(st.recursive(_SELECTORS, _grown, max_leaves=5))
def test_no_answer_and_no_error_changes(query: str) -> None:
    """Bit by bit."""
    engine = Engine(_memory())
    found = _answer(engine, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "narrowed", _as_it_is)
        assert _answer(engine, query + " ") == found  # another text, so that no tree is remembered


def _as_it_is(expr: Expr) -> Expr:
    return expr

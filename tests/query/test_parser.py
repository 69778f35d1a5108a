"""The language: what parses, to what, and what is said about the rest."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peerwatch.errors import ParseError
from peerwatch.model import METRIC_NAME, Matcher, MatchOp
from peerwatch.query import format_expr, parse, parse_selector, prettify
from peerwatch.query.ast import (
    Aggregate,
    AtEdge,
    Binary,
    Call,
    Cardinality,
    DurationExpr,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from peerwatch.query.gotext import format_duration_ms


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("-2 ^ 2", "-2 ^ 2"),
        ("1 - 2 - 3", "1 - 2 - 3"),
        ("a+b*c", "a + b * c"),
        ("SUM(x) BY (job)", "sum by (job) (x)"),
        ("sum by(a,)(x)", "sum by (a) (x)"),
        ("topk(3, x) without (le)", "topk without (le) (3, x)"),
        ("x{b='1', a!=\"2\"}", 'x{a!="2",b="1"}'),
        ('{"foo.bar", "päth"=~`\\d+`}', '{__name__="foo.bar","päth"=~"\\\\d+"}'),
        ("rate(x[5m] @ 1.5 offset -1h)", "rate(x[5m] @ 1.500 offset -1h)"),
        ("x offset 5m @ end()", "x @ end() offset 5m"),
        ("a / on() group_left(b) c", "a / on () group_left (b) c"),
        ("a == bool ignoring(x) b", "a == bool ignoring (x) b"),
        ("max_over_time(x[1h:5m])[1d:]", "max_over_time(x[1h:5m])[1d:]"),
        ("x[step()+1m] smoothed", "x[step() + 1m] smoothed"),
        ("x + fill(0) y", "x + fill (0) y"),
        ("0x1F + 017 + 1_000 + 1e3 + .5 + inf", "31 + 15 + 1000 + 1000 + 0.5 + +Inf"),
        ("90d + 1h30m + 14d", "90d + 1h30m + 2w"),
        ("sum + by + offset offset 1m", "sum + by + offset offset 1m"),
        ("start{a='b'} + end", 'start{a="b"} + end'),
        ("x # a comment\n+ 1", "x + 1"),
        ("info(x, {})", "info(x, {})"),
        ('"\\x41\\u00e9\\n"', '"Aé\\n"'),
    ],
)
def test_a_query_prints_in_prometheus_spelling(text: str, printed: str) -> None:
    """Spaces, quotes, order of matchers and modifiers are normal; the tree stays the same."""
    assert format_expr(parse(text)) == printed
    assert parse(printed) == parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown position: no expression found in input"),
        ("1 +", "1:4: unexpected end of input"),
        ("foo bar", '1:5: unexpected identifier "bar"'),
        ("sum(", "1:5: unclosed left parenthesis"),
        ("x)", "1:2: unexpected right parenthesis ')'"),
        ("x[5m", "1:5: unclosed left bracket"),
        ("x[0]", "1:3: duration must be greater than 0"),
        ("x[5m]\n  [5m]", "2:3: ranges only allowed for vector selectors"),
        ("é + {a=~'('}", "1:1: unexpected character: 'é'"),
        ("'é' + {", "1:9: unexpected end of input inside braces"),
        ('"a', "1:1: unterminated quoted string"),
        ('"\\q"', "1:1: unknown escape sequence U+0071 'q'"),
        ("x{a='b' c='d'}", '1:9: unexpected identifier "c" in label matching, expected "," or "}"'),
        ("x{a}", '1:4: unexpected "}" in label matching, expected label matching operator'),
        ("{}", "1:1: vector selector must contain at least one non-empty matcher"),
        ('x{__name__="y"}', '1:1: metric name must not be set twice: "x" or "y"'),
        ("1 == 2", "1:3: comparisons between scalars must use BOOL modifier"),
        ("a and 1", '1:1: set operator "and" not allowed in binary scalar expression'),
        ("a + bool b", "1:3: bool modifier can only be used on comparison operators"),
        ("a + on(x) 1", "1:1: vector matching only allowed between instant vectors"),
        ("a and on(x) group_left b", '1:1: no grouping allowed for "and" operation'),
        ("a * on(x) group_left(x) b", '1:3: label "x" must not occur in ON and GROUP clause at once'),
        ("nope(x)", '1:1: unknown function with name "nope"'),
        ("rate(x)", '1:6: expected type range vector in call to function "rate", got instant vector'),
        ("time(1)", '1:1: expected 0 argument(s) in call to "time", got 1'),
        ("label_join(x)", '1:1: expected at least 3 argument(s) in call to "label_join", got 1'),
        ("sum(a, b)", "1:1: wrong number of arguments for aggregate expression provided, expected 1, got 2"),
        ("sum()", "1:1: no arguments for aggregate expression provided"),
        ("topk('a', x)", "1:6: expected type scalar in aggregation parameter, got string"),
        ("-'x'", '1:1: unary expression only allowed on expressions of type scalar or instant vector, got "string"'),
        ("x offset 1m offset 2m", "1:1: offset may not be set multiple times"),
        (
            "sum(x) offset 1m",
            "1:1: offset modifier must be preceded by an instant vector selector or range vector selector"
            " or a subquery",
        ),
        ("x @ 1 @ 2", "1:1: @ <timestamp> may not be set multiple times"),
        ("x @ inf", "1:1: timestamp out of bounds for @ modifier: inf"),
        ("1[5m:]", "1:1: subquery is only allowed on instant vector, got scalar instead"),
        ("5m3", '1:1: bad number or duration syntax: "5m3"'),
        ("abs(x,)", "1:6: trailing commas not allowed in function call args"),
        ("sum by (1) (x)", '1:9: unexpected number "1" in grouping opts, expected label'),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    """Line and column, columns in bytes, in Prometheus's words."""
    with pytest.raises(ParseError) as caught:
        parse(text)
    place, _, reason = message.partition(": ")
    assert str(caught.value) == f"{place}: parse error: {reason}"


def test_a_selector_alone_yields_its_matchers() -> None:
    """match[] takes selectors, not expressions."""
    expected = (Matcher(METRIC_NAME, MatchOp.EQUAL, "up"), Matcher("job", MatchOp.REGEX, "a|b"))
    assert parse_selector('up{job=~"a|b"}') == expected
    for text in ("up + up", "sum(up)", "1"):
        with pytest.raises(ParseError):
            parse_selector(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 90_000 + "1",
        "abs(" * 50_000,
        "x[" * 10_000,
        "{" * 10_000,
        "sum(" * 200 + "x" + ")" * 200,
        "1" + "^1" * 50_000,
        "x" * (2 << 20),
        '"' + "\\" * 100_001,
        "1 " * 99_999,
        "0_" * 100_000,
        "x offset -" + "(" * 1000,
    ],
)
def test_hostile_texts_end_with_an_error_at_once(text: str) -> None:
    """No stack overflow, no quadratic time."""
    began = time.process_time()
    with pytest.raises(ParseError):
        parse(text)
    assert time.process_time() - began < 2


def test_a_long_chain_is_no_nesting() -> None:
    """Generated queries join hundreds of selectors; they parse, print and prettify."""
    text = " or ".join(f"m{at}" for at in range(5000))
    assert format_expr(parse(text)) == text
    assert format_expr(parse(prettify(parse(text)))) == text


def test_a_long_query_is_laid_out_over_lines() -> None:
    """format_query breaks at operators and commas."""
    text = 'sum by (job) (rate(http_requests_total{job="api-server",handler="/foo"}[5m])) / on (job) sum by (job) (x)'
    assert prettify(parse(text)) == (
        '  sum by (job) (rate(http_requests_total{job="api-server",handler="/foo"}[5m]))\n'
        "/ on (job)\n"
        "  sum by (job) (x)"
    ).replace('job="api-server",handler="/foo"', 'handler="/foo",job="api-server"')


# any tree prints to a text that parses to the same tree

labels = st.sampled_from(["a", "job", "le", "on", "sum", "odd.name", "päth", "x y"])
texts = st.text(st.characters(codec="utf-8"), max_size=6)
durations = st.integers(1, 10**10)
duration_literals = st.integers(1, 10**9).map(lambda ms: NumberLiteral(ms / 1000, is_duration=True))
duration_exprs = st.builds(
    DurationExpr,
    st.sampled_from("+-*"),
    duration_literals,
    duration_literals,
    st.just(True),
)
offsets = st.one_of(st.integers(-(10**9), 10**9), duration_exprs)
times = st.one_of(st.none(), st.integers(-(10**13), 10**13), st.sampled_from(AtEdge))
numbers = st.floats(allow_nan=False).map(NumberLiteral) | st.just(NumberLiteral(math.nan)) | duration_literals


@st.composite
def selectors(draw: st.DrawFn) -> VectorSelector:
    name = draw(st.sampled_from(["up", "a:b", "sum", "offset", "start", ""]))
    matchers = [Matcher("fixed", MatchOp.EQUAL, "1")]
    matchers += [
        Matcher(label, draw(st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL])), draw(texts))
        for label in draw(st.lists(labels, max_size=2))
    ]
    if name:
        matchers.append(Matcher(METRIC_NAME, MatchOp.EQUAL, name))
    return VectorSelector(name, tuple(sorted(matchers, key=str)), draw(offsets), draw(times))


def _vector(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    operand = inner.map(Paren)
    plain = selectors().filter(lambda node: node.offset == 0 and node.at is None)
    ranges = st.builds(MatrixSelector, plain, st.one_of(durations, duration_exprs))
    subqueries = st.builds(
        Subquery, operand, durations, st.one_of(st.none(), durations, duration_exprs), offsets, times
    )
    vector = ValueType.VECTOR
    grouping = st.lists(labels, max_size=2, unique=True).map(tuple)
    return st.one_of(
        operand,
        st.builds(lambda arg: Call("rate", (arg,), vector), st.one_of(ranges, subqueries)),
        st.builds(lambda arg, q: Call("histogram_quantile", (q, arg), vector), inner, numbers),
        st.builds(lambda arg, text: Call("label_join", (arg, text, text), vector), inner, texts.map(StringLiteral)),
        st.builds(lambda expr, by, without: Aggregate("sum", expr, None, by, without), inner, grouping, st.booleans()),
        st.builds(lambda expr, k, by: Aggregate("topk", expr, k, by), inner, numbers, grouping),
        st.builds(lambda op, expr: Unary(op, expr), st.sampled_from("+-"), operand),
        st.builds(_compare, st.sampled_from(["==", "<", ">="]), operand, numbers, st.booleans()),
        st.builds(_combine, st.sampled_from(["+", "^", "atan2"]), operand, operand, grouping, st.booleans()),
    )


def _compare(op: str, left: Expr, right: Expr, return_bool: bool) -> Expr:
    return Binary(op, left, right, ValueType.VECTOR, None, return_bool)


def _combine(op: str, left: Expr, right: Expr, names: tuple[str, ...], grouped: bool) -> Expr:
    card = Cardinality.MANY_TO_ONE if grouped else Cardinality.ONE_TO_ONE
    matching = Matching(card, not grouped, names, ("extra",) if grouped else ())
    return Binary(op, left, right, ValueType.VECTOR, matching)


expressions = st.recursive(selectors(), _vector, max_leaves=6)


@settings(max_examples=300, deadline=None)
@given(expressions)
def test_what_is_printed_parses_to_the_same_tree(expr: Expr) -> None:
    """parse(print(tree)) == tree, on one line and on several."""
    assert parse(format_expr(expr)) == expr
    assert parse(prettify(expr)) == expr


@settings(max_examples=300, deadline=None)
@example(8_739_239_336)  # one that nanoseconds in a float64 do not hold
@given(st.integers(1, (1 << 63) // 1_000_000))
def test_a_duration_is_read_to_the_millisecond(duration_ms: int) -> None:
    """Whatever a range is printed as is read as the same number of milliseconds."""
    ranged = parse(f"up[{format_duration_ms(duration_ms)}]")
    assert isinstance(ranged, MatrixSelector)
    assert ranged.range == duration_ms


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab1.5m{}[]()=~!<>+-*/^%\"'`,:@ \n\\#_é0x"), max_size=40))
def test_no_text_does_anything_but_parse_or_raise(text: str) -> None:
    """Whatever is thrown at it, the parser raises nothing but its own error."""
    try:
        expr = parse(text)
    except ParseError:
        return
    assert parse(format_expr(expr)) == expr

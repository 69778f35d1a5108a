"""Queries: hypothesis strategies over PromQL's grammar, about the series of `material`.

Two kinds of instant vectors are told apart. An *exact* one has the same bits in every implementation; others come from
functions whose last bit is the mathematics library's affair (exp, sin, deriv, …), and nothing that jumps (==, floor,
count_values, …) is applied to them.
"""

from __future__ import annotations

import re
from functools import cache

from hypothesis import strategies as st

Text = st.SearchStrategy[str]


def words(text: str) -> Text:
    """One of the words of a text."""
    return st.sampled_from(text.split())


LABEL_VALUES = {
    "job": ("api", "db"),
    "instance": ("a:1", "b:1", "a:2", "c:2"),
    "code": ("200", "404", "500"),
    "version": ("1.0", "1.1"),
    "le": ("0.1", "1"),
    "zone": ("north", "south"),
    "missing": ("x",),
}
COUNTERS = ("requests_total", "cpu_seconds_total", "latency_seconds_count", "latency_seconds_bucket")
GAUGES = ("temperature", "memory_bytes", "odd", "state", "flapping", "sparse", "up", "limit", "brief", "extreme")
OTHERS = ("build_info", "target_info", "boot_time_seconds", "latency_seconds_sum", "once", "absent_metric")
UNTIED = ("temperature", "memory_bytes", "cpu_seconds_total", "brief")
"""Metrics of which no two series ever have the same value: which of equals topk keeps depends on a heap."""

labels = st.sampled_from(sorted(LABEL_VALUES))
names = st.sampled_from(COUNTERS + GAUGES + OTHERS)
ranges = words("1m 2m 5m 5m 5m 10m 90s 2m30s 15s 1s 1ms 300 0.5 1h (2m*2) (1h/12) -(-5m) max_of(step(),5m) (step()+1m)")
subquery_ranges = words("5m 10m 3m20s 20m 61s (5m+5m)")
subquery_steps = st.sampled_from(["", "1m", "30s", "45s", "7s", "20", "step()", "5m"])
offsets = words("5m -5m 1h 17s -90s 300 -(1m) (step()+1m) 3m 0s")
at_times = words("start() end() 1700002800 1700001234.567 1700006400 1.7e9 -5 1700003000.0005 17e8")


@st.composite
def _matcher(draw: st.DrawFn) -> str:
    name = draw(labels)
    values = LABEL_VALUES[name]
    op = draw(words("= != =~ !~"))
    if op in ("=", "!="):
        return f'{name}{op}"{draw(st.sampled_from((*values, "")))}"'
    patterns = ("|".join(values), ".*", ".+", values[0][0] + ".*", "[a-m].*", "", "(?i)API|A:1", "^api$", "^.:1")
    return f'{name}{op}"{draw(st.sampled_from(patterns))}"'


_SEVERAL = st.sampled_from(
    (
        '__name__=~"temperature|memory_bytes"',
        '__name__=~"up|state|once"',
        '__name__=~"requests_.*|cpu_.*"',
        '__name__=~".*_info"',
        'job=~".+",__name__!~".*bucket"',
    )
)
"""Some of these have the same labels but for the name, and no function may drop it then."""

_MATCHER_COUNTS = st.sampled_from([0, 0, 0, 0, 1, 1, 2])


@st.composite
def _selector(draw: st.DrawFn, metric: Text = names) -> str:
    """A name with matchers, or several names."""
    matchers = draw(
        st.lists(_matcher(), max_size=draw(_MATCHER_COUNTS), unique_by=lambda one: re.split("[=!]", one)[0])
    )
    spelled = draw(st.integers(0, 19))
    if spelled == 0:
        return "{" + ",".join(['"odd.name"', *matchers]) + "}"
    if spelled in (1, 2):
        return "{" + ",".join([draw(_SEVERAL), *matchers]) + "}"
    if spelled == 3:
        return "{" + ",".join([f'__name__="{draw(metric)}"', *matchers]) + "}"
    return draw(metric) + ("{" + ",".join(matchers) + "}" if matchers else "")


@st.composite
def _modifiers(draw: st.DrawFn) -> str:
    """Nothing, most of the time; otherwise offset, @ or both."""
    which = draw(st.integers(0, 9))
    offset, at = f" offset {draw(offsets)}", f" @ {draw(at_times)}"
    return {0: offset, 1: at, 2: offset + at, 3: at + offset}.get(which, "")


@st.composite
def _instant(draw: st.DrawFn, metric: Text = names) -> str:
    extension = draw(st.sampled_from(["", "", "", "", "", "", " smoothed"]))
    return draw(_selector(metric)) + extension + draw(_modifiers())


@st.composite
def _window(draw: st.DrawFn, metric: Text = names) -> str:
    return f"{draw(_selector(metric))}[{draw(ranges)}]{draw(_modifiers())}"


@st.composite
def _subquery(draw: st.DrawFn, depth: int, exact: bool) -> str:
    inner = draw(vector(depth - 1, exact))
    return f"({inner})[{draw(subquery_ranges)}:{draw(subquery_steps)}]{draw(_modifiers())}"


def matrix(depth: int, exact: bool) -> Text:
    """A range vector."""
    return _window() if depth <= 0 else st.one_of(_window(), _window(), _window(), _subquery(depth, exact))


@cache
def scalar(depth: int) -> Text:
    """A number."""
    literal = words("0 1 2 -1 0.5 3.25 1e3 -1e-3 0x1F 017 1_000 Inf -Inf NaN 1e300 5m 1h30m .5 100 90 2")
    if depth <= 0:
        return st.one_of(literal, literal, words("time() pi() start() end() step() range()"))
    below = scalar(depth - 1)
    return st.one_of(
        literal,
        vector(depth - 1, True).map("scalar({})".format),
        st.builds("({} {} {})".format, below, words("+ - * / %"), below),
        st.builds("({} {} bool {})".format, below, _COMPARISON, below),
        st.builds("{}({}, {})".format, st.sampled_from(["min_of", "max_of"]), below, below),
        below.map("-{}".format),
    )


_COMPARISON = words("== != > < >= <=")
_ARITHMETIC = words("+ - * / %")
_SET = st.sampled_from(["and", "or", "unless"])
_EXACT_FUNCTION = words("abs ceil floor sgn sqrt timestamp absent")
_DATE_FUNCTION = words("days_in_month day_of_month day_of_week day_of_year hour minute month year")
_SMOOTH_FUNCTION = words("exp ln log2 log10 sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh deg rad")
_OF_WINDOWS = words("min max sum avg count last first present absent ts_of_first ts_of_last ts_of_max ts_of_min")
_EXACT_OVER_TIME = _OF_WINDOWS.map("{}_over_time".format)
_SMOOTH_OVER_TIME = words("stddev_over_time stdvar_over_time mad_over_time deriv")
_OF_COUNTERS = words("rate increase irate resets")
_OF_GAUGES = words("delta idelta changes")
_AGGREGATION = words("sum avg min max count group")
_GROUPS = st.lists(labels, max_size=2, unique=True).map(lambda found: f"({', '.join(found)})")


@st.composite
def _grouping(draw: st.DrawFn) -> str:
    return draw(
        st.sampled_from(["", "by ", "without "]).flatmap(
            lambda word: _GROUPS.map(word.__add__) if word else st.just("")
        )
    )


@st.composite
def _aggregation(draw: st.DrawFn, inner: Text, op: Text, before: Text | None = None) -> str:
    """The grouping may stand on either side."""
    grouping, in_front = draw(_grouping()), draw(st.booleans())
    arguments = draw(inner) if before is None else f"{draw(before)}, {draw(inner)}"
    name = draw(op)
    return f"{name} {grouping} ({arguments})" if in_front else f"{name}({arguments}) {grouping}"


@st.composite
def _between(draw: st.DrawFn, op: Text, left: Text, right: Text, groups: bool = True, fills: bool = True) -> str:
    """Two vectors; half of the time matched explicitly."""
    matching = draw(st.sampled_from(["", "", "on", "ignoring"]))
    if matching:
        matching = f" {matching} {draw(_GROUPS)}"
        if groups:
            which = draw(st.sampled_from(["", "", "group_left", "group_right"]))
            matching += (
                f" {which}{draw(st.sampled_from(['', '()', '(version)', '(owner)', '(zone)']))}" if which else ""
            )
    fill = (
        draw(st.sampled_from([""] * 12 + [" fill(0)", " fill_left(1)", " fill_right(-1)"])) if groups and fills else ""
    )
    return f"({draw(left)}) {draw(op)}{matching}{fill} ({draw(right)})"


_JOINS = st.sampled_from(
    [
        "{} * on(job, instance) group_left(zone) target_info",
        "{} + on(job, instance) group_left(version) build_info",
        "{} / on(job) group_left(owner) limit",
        "limit - on(job) group_right {}",
        "{} > on(job) group_left limit",
        "{} and on(instance) up",
        "{} unless on(job) limit{{job='db'}}",
        "{} or on(job, code) up",
        "{} >= bool ignoring(code) group_left up",
        "info({})",
        "info({}, {{zone=~'n.*'}})",
        "info({}, {{__name__='build_info', version=~'.+'}})",
    ]
)
_EXTENDED = st.builds(
    "{}({}[{}] {})".format,
    st.sampled_from(["rate", "increase", "delta"]),
    _selector(st.sampled_from(COUNTERS + GAUGES)),
    ranges,
    st.sampled_from(["anchored", "smoothed"]),
)


@cache
def vector(depth: int, exact: bool = False) -> Text:
    """An instant vector, nested at most `depth` deep."""
    if depth <= 0:
        return _instant()
    below = vector(depth - 1, exact)
    exactly = vector(depth - 1, True)
    number = scalar(depth - 1)
    ranged = matrix(depth, exact)
    choices = [
        _instant(),
        st.builds("{}({})".format, _OF_COUNTERS, _window(st.sampled_from(COUNTERS))),
        st.builds("{}({})".format, st.one_of(_OF_COUNTERS, _OF_GAUGES), matrix(depth, True)),
        st.builds("{}({})".format, _EXACT_OVER_TIME, matrix(depth, True)),
        st.builds("quantile_over_time({}, {})".format, number, ranged),
        st.builds("{}({})".format, _EXACT_FUNCTION, exactly),
        st.builds("{}({})".format, _DATE_FUNCTION, st.sampled_from(["", "boot_time_seconds", "up", "vector(time())"])),
        st.builds("round({}, {})".format, exactly, words("1 0.5 10 -3 0")),
        st.builds("{}({}, {})".format, st.sampled_from(["clamp_min", "clamp_max"]), below, number),
        st.builds("clamp({}, {}, {})".format, below, number, number),
        _aggregation(below, _AGGREGATION),
        _aggregation(below, _AGGREGATION),
        _aggregation(below, st.just("quantile"), number),
        _aggregation(_instant(), st.just("limitk"), words("0 1 2 5 -1")),
        _aggregation(_instant(), st.just("limit_ratio"), words("0 0.3 -0.3 1 2 -1.5")),
        _aggregation(exactly, st.just("count_values"), st.sampled_from(['"value"', '"job"', '"le"'])),
        _aggregation(
            _instant(st.sampled_from(UNTIED)),
            st.sampled_from(["topk", "bottomk"]),
            words("1 2 3 0 9"),
        ),
        st.builds("({} {} {})".format, below, _ARITHMETIC, number),
        st.builds("({} {} {})".format, number, _ARITHMETIC, below),
        st.builds("({} {} {})".format, exactly, _COMPARISON, number),
        st.builds("({} {} bool {})".format, number, _COMPARISON, exactly),
        _between(_ARITHMETIC, below, below),
        _between(_COMPARISON, exactly, exactly),
        _between(_COMPARISON.map("{} bool".format), exactly, exactly),
        _between(_SET, below, below, groups=False),
        st.builds(lambda pattern, inner: pattern.format(inner), _JOINS, _instant(st.sampled_from(COUNTERS + GAUGES))),
        below.map("-{}".format),
        below.map("({})".format),
        number.map("vector({})".format),
        st.builds("label_replace({}, {})".format, below, _REPLACEMENTS),
        st.builds("label_join({}, {})".format, below, _JOINED),
        st.builds("histogram_quantile({}, {})".format, number, _buckets(depth)),
        st.builds("histogram_fraction({}, {}, {})".format, number, number, _buckets(depth)),
        st.builds('histogram_quantiles({}, "q", 0.5, {})'.format, _buckets(depth), number),
        st.builds("absent_over_time({})".format, _window()),
        _EXTENDED,
    ]
    if not exact:
        choices += [
            st.builds("{}({})".format, _SMOOTH_FUNCTION, below),
            st.builds("{}({})".format, _SMOOTH_OVER_TIME, ranged),
            st.builds("predict_linear({}, {})".format, ranged, number),
            st.builds("double_exponential_smoothing({}, {}, 0.3)".format, ranged, st.sampled_from(["0.5", "0.1"])),
            _aggregation(below, st.sampled_from(["stddev", "stdvar"])),
            st.builds("({} ^ {})".format, below, number),
            _between(st.sampled_from(["^", "atan2"]), below, below),
        ]
    return st.one_of(choices)


_REPLACEMENTS = st.sampled_from(
    [
        '"copy", "$1", "instance", "(.*):.*"',
        '"job", "x-$1$2", "job", "(a)(.*)"',
        '"job", "", "job", ".*"',
        '"host", "${name}", "instance", "(?P<name>[a-z]).*"',
        '"__name__", "renamed", "", ""',
        '"copy", "$0", "code", "4.*"',
    ]
)
_JOINED = st.sampled_from(
    ['"both", "/", "job", "instance"', '"both", "", "missing"', '"job", "-", "code", "job", "code"', '"job", "x"']
)


def _buckets(depth: int) -> Text:
    """What a histogram function is given: buckets, or anything."""
    raw = _instant(st.just("latency_seconds_bucket"))
    rated = st.builds("rate({})".format, _window(st.just("latency_seconds_bucket")))
    summed = _aggregation(rated, st.just("sum"))
    return st.one_of(raw, rated, summed, rated.map("sum by (le, job) ({})".format), vector(depth - 1, True))


_SORTED = st.one_of(
    st.builds("{}({})".format, st.sampled_from(["sort", "sort_desc"]), vector(2)),
    st.builds(
        "{}({}, {})".format,
        st.sampled_from(["sort_by_label", "sort_by_label_desc"]),
        vector(1),
        st.sampled_from(['"instance"', '"code", "job"', '"missing"']),
    ),
)
_STRINGS = st.sampled_from(['"plain"', "'it\\'s \\u00e9\\n'", "`raw\\n`", '"\\x41\\101"', '""'])

for_ranges: Text = st.one_of(vector(3), vector(3), vector(3), vector(2), scalar(2), _SORTED)
"""Queries that a range query takes."""

queries: Text = st.one_of(for_ranges, for_ranges, for_ranges, for_ranges, matrix(2, False), _STRINGS)
"""All queries."""


_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9.]+[a-z]*|\"[^\"]*\"|=~|!~|[!=<>]=|\s+|.", re.DOTALL)
_STRAY = words(
    "( ) [ ] { } , : + - == =~ ! # $ ' by on bool offset @ 5m 1 5x 0x x sum group_left start nope( start( smoothed"
)


@st.composite
def mistakes(draw: st.DrawFn) -> str:
    """A query with a token too many, too few, or another one: now and then still a query."""
    tokens = _TOKEN.findall(draw(queries))
    at = draw(st.integers(0, max(0, len(tokens) - 1)))
    stray, spot = f" {draw(_STRAY)} ", tokens[at : at + 1]
    instead = draw(st.sampled_from([[], [stray], [stray, *spot]]))
    return "".join(tokens[:at] + instead + tokens[at + 1 :])


NATIVES = ("request_seconds", "request_seconds", "size_kilobytes", "queue_seconds", "ended_seconds")
_MIXED = st.sampled_from(['{__name__=~"request_seconds|size_kilobytes"}', '{__name__=~"queue_seconds|brief"}'])
_native_names = st.builds(
    "{}{}".format,
    st.sampled_from(NATIVES),
    st.sampled_from(["", "", '{job="api"}', '{instance=~"a:.*"}', '{instance!="b:1"}', '{job!="db",zone=""}']),
)
_FACTORS = words("2 0.5 -1 3.25 0")
"""No infinity: times an empty bucket it is NaN, and which empty buckets there are depends on Prometheus's chunks."""

_STATISTIC = words("histogram_count histogram_sum histogram_avg histogram_stddev histogram_stdvar")
_OF_NATIVE_WINDOWS = words(
    "rate increase delta irate idelta resets changes sum_over_time avg_over_time last_over_time first_over_time "
    "count_over_time present_over_time ts_of_last_over_time max_over_time"
)
_NATIVE_AGGREGATION = words("sum avg count group max stddev")


@st.composite
def _native_instant(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 11)) == 0:
        return draw(_MIXED)
    return draw(_native_names) + draw(_modifiers())


@cache
def native(depth: int) -> Text:
    """A vector of native histograms, most of the time."""
    if depth <= 0:
        return _native_instant()
    below = native(depth - 1)
    plain = st.builds("{}[{}]{}".format, _native_names, ranges, _modifiers())
    windows = st.one_of(
        plain,
        plain,
        st.builds("({})[{}:{}]".format, below, subquery_ranges, st.sampled_from(["1m", "45s", "2m"])),
    )
    return st.one_of(
        _native_instant(),
        st.builds("{}({})".format, _OF_NATIVE_WINDOWS, windows),
        st.builds("{}({})".format, _OF_NATIVE_WINDOWS, windows),
        _aggregation(below, _NATIVE_AGGREGATION),
        _aggregation(below, _NATIVE_AGGREGATION),
        st.builds("({} {} {})".format, below, words("* /"), _FACTORS),
        st.builds("({} {} {})".format, _FACTORS, words("* + =="), below),
        st.builds("({} {} {})".format, below, words("</ >/"), words("0 0.5 1 -1 3 0.7 100 Inf")),
        _between(words("+ - == != * > </"), below, below, fills=False),
        _between(_SET, below, below, groups=False),
        st.builds("({} + on(job, instance) group_left() {})".format, below, below),
        st.builds("label_replace({}, {})".format, below, _REPLACEMENTS),
    )


_QUANTILES = words("0.5 0.9 0 1 0.01 0.99 1.5 -1 NaN")
native_queries: Text = st.one_of(
    native(2),
    native(1).map("-{}".format),  # quantiles of less than nothing also depend on the empty buckets of chunks
    native(2),
    st.builds("{}({})".format, _STATISTIC, native(2)),
    st.builds("histogram_quantile({}, {})".format, _QUANTILES, native(2)),
    st.builds('histogram_quantiles({}, "q", {}, {})'.format, native(1), _QUANTILES, _QUANTILES),
    st.builds("histogram_fraction({}, {}, {})".format, words("-Inf 0 -1 0.3"), words("+Inf 0 1 2.5 0.3"), native(2)),
    st.builds("rate({}({})[10m:1m])".format, _STATISTIC, _native_instant()),
    st.builds("count_values({}, {})".format, st.just("'value'"), _native_instant()),
)
"""Queries about native histograms."""

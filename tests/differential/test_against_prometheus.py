"""The same samples in a real Prometheus and in our store, and generated queries to both: the same answers.

What may differ is written in docs/promql.md, and as narrowly as can be told in `known.py`, `compare.py` and in what
`grammar.py` does not generate: ties among topk's candidates, two matchers for one label below absent(), steps that are
no whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from peerwatch.query.ast import ValueType
from peerwatch.query.signature import SIGNATURES, Signature
from peerwatch.query.token import AGGREGATORS, AGGREGATORS_WITH_PARAMETER
from tests.differential import ours, reference
from tests.differential.compare import difference
from tests.differential.grammar import for_ranges, mistakes, native_queries, queries
from tests.differential.known import known_difference
from tests.differential.material import END_MS, START_MS, columns
from tests.differential.natives import native_columns
from tests.differential.ours import Ours
from tests.differential.reference import OLDEST, Reference, find_reference

PEER = find_reference()
pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(
        PEER is None,
        reason=f"needs Prometheus {'.'.join(map(str, OLDEST[:2]))} or newer: make peer-prometheus, PEERWATCH_BENCH_BIN",
    ),
]

generated = settings(
    max_examples=3000,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
ENOUGH = 500
"""Different queries with an answer that is not empty."""

instants = st.integers(0, 999).map(lambda at: START_MS - 400_000 + at * 8_017)
starts = st.integers(0, 999).map(lambda at: START_MS - 400_000 + at * 7_417)
steps = st.sampled_from([15_000, 60_000, 7_500, 300_000, 1_250, 97_000])


@dataclass
class Sides:
    """Both sides, and what they were asked."""

    theirs: Reference
    ours: Ours
    asked: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)

    def compare(self, path: str, form: Mapping[str, str]) -> None:
        """Ask both; AssertionError on the first difference."""
        query = form["query"]
        if known_difference(query):
            return
        expected, found = self.theirs.ask(path, form), self.ours.ask(path, form)
        self.asked.add(query)
        if expected[0] == 200 and expected[1]["data"]["result"]:
            self.answered.add(query)
        problem = difference(query, expected, found)
        assert problem is None, f"{path} {dict(form)}: {problem}"

    def instant(self, query: str, at_ms: int) -> None:
        """At one time."""
        self.compare("query", {"query": query, "time": _seconds(at_ms)})

    def range(self, query: str, start_ms: int, step_ms: int, count: int) -> None:
        """At `count` steps."""
        end = _seconds(start_ms + step_ms * (count - 1))
        self.compare(
            "query_range", {"query": query, "start": _seconds(start_ms), "end": end, "step": _seconds(step_ms)}
        )


def _seconds(time_ms: int) -> str:
    return f"{time_ms // 1000}.{time_ms % 1000:03d}"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Sides]]:
    """Makes `Sides` of two servers that hold the material."""
    material, natives = columns(), native_columns()
    with ExitStack() as stack:
        assert PEER is not None
        theirs = stack.enter_context(reference.running(PEER, tmp_path_factory.mktemp("prometheus")))
        theirs.take(material)
        theirs.take_natives(natives)
        mine = stack.enter_context(ours.running(tmp_path_factory.mktemp("store"), material, natives))
        yield lambda: Sides(theirs, mine)


def test_both_hold_the_same_samples(loaded: Callable[[], Sides]) -> None:
    """Nothing was lost on either way in: every series and sample, stale markers aside, to the bit."""
    sides = loaded()
    for metric in sorted({labels.metric for labels, *_ in (*columns(), *native_columns())}):
        query = f'{{__name__="{metric}"}}[3h]'
        sides.instant(query, END_MS + 60_000)
        assert sides.answered >= {query}


def test_generated_instant_queries_give_the_same_answers(loaded: Callable[[], Sides]) -> None:
    """To a billionth; the same order, errors, warnings and infos."""
    sides = loaded()

    @generated
    @given(queries, instants)
    def check(query: str, at_ms: int) -> None:
        sides.instant(query, at_ms)

    check()
    assert len(sides.answered) >= ENOUGH, f"{len(sides.asked)} distinct queries, {len(sides.answered)} with an answer"


def test_generated_range_queries_give_the_same_answers(loaded: Callable[[], Sides]) -> None:
    """At every step."""
    sides = loaded()

    @generated
    @given(for_ranges, starts, steps, st.integers(1, 30))
    def check(query: str, start_ms: int, step_ms: int, count: int) -> None:
        sides.range(query, start_ms, step_ms, count)

    check()
    assert len(sides.answered) >= ENOUGH, f"{len(sides.asked)} distinct queries, {len(sides.answered)} with an answer"


def test_generated_queries_about_native_histograms_give_the_same_answers(loaded: Callable[[], Sides]) -> None:
    """Bucket by bucket, instant and range, alone and beside numbers."""
    sides = loaded()

    @generated
    @given(native_queries, instants, starts, steps, st.integers(1, 20))
    def check(query: str, at_ms: int, start_ms: int, step_ms: int, count: int) -> None:
        sides.instant(query, at_ms)
        sides.range(query, start_ms, step_ms, count)

    check()
    assert len(sides.answered) >= ENOUGH, f"{len(sides.asked)} distinct queries, {len(sides.answered)} with an answer"


def test_mistakes_are_refused_alike(loaded: Callable[[], Sides]) -> None:
    """A word too many, too few or another one: both answer, or both refuse with the same status and kind."""
    sides = loaded()

    @generated
    @given(mistakes())
    def check(query: str) -> None:
        sides.instant(query, START_MS + 3_800_123)

    check()
    assert len(sides.asked) >= ENOUGH


_INSTANT = {"query": "temperature", "time": "1700003600"}
_RANGE = {"query": "temperature", "start": "1700003600", "end": "1700004200", "step": "60"}
_PARAMETERS = {
    "time": "1e9 1700003600.1234 1700003600.0005 -5 0 x 0x10 5m +17e8 2023-11-14T23:13:20Z 2023-11-14T23:13:20",
    "timeout": "1 1s 90s x 1e300 1y",
    "lookback_delta": "1 1m 0 -1 x 1e300 10m 1ms 0.0001",
    "limit": "0 1 3 -1 x 1.5 99999999999999999999 +1",
    "start": "x -1 0 1m 1e300 1700003600.9999 2023-11-14T23:10:00.5+01:00",
    "end": "x -1 0 1m 1e2 1700003600 1700003600.9999 2023-11-14T23:20:00Z",
    "step": "x 0 -1 1m 1m30s 1e300 0.001 1e2 -5m 1y NaN Inf",
}


@pytest.mark.parametrize("name", _PARAMETERS)
def test_parameters_are_read_alike(loaded: Callable[[], Sides], name: str) -> None:
    """Spellings of times, durations and limits; what one refuses the other refuses."""
    sides = loaded()
    for text in [*_PARAMETERS[name].split(), "", " 1", "60 "]:
        if name not in ("start", "end", "step") and text:
            sides.compare("query", _INSTANT | {name: text})
        if name != "time":
            sides.compare("query_range", _RANGE | {name: text})


_ARGUMENTS = {
    ValueType.VECTOR: ["temperature", "odd", "latency_seconds_bucket", "rate(requests_total[5m])", "extreme"],
    ValueType.MATRIX: ["temperature[7m]", "odd[3m]", "requests_total[10m]", "flapping[8m]", "odd[5m:20s]"],
    ValueType.SCALAR: ["0.4", "2", "-0.3", "scalar(temperature{instance='a:1'})", "NaN"],
}
_TIMES = ["temperature", "boot_time_seconds", "requests_total", "-boot_time_seconds", "memory_bytes"]
"""What the calendar is asked about: of NaN and the end of time Go says what the conversion gives."""

_CALENDAR = frozenset(
    ["days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year"]
)
_TEXTS = {
    "label_replace": ["'copy'", "'$1'", "'instance'", "'(.):.*'"],
    "label_join": ["'both'", "'-'", "'job'", "'instance'"],
    "sort_by_label": ["'instance'", "'code'"],
    "sort_by_label_desc": ["'instance'", "'code'"],
    "histogram_quantiles": ["'q'"],
}


def _calls(signature: Signature) -> list[str]:
    """One call per sample argument; optional ones given and left out."""
    found = []
    for at in range(5):
        texts = list(_TEXTS.get(signature.name, ()))
        args = [
            _ARGUMENTS[kind][(at + place) % 5 if kind is ValueType.SCALAR else at]
            for place, kind in enumerate(signature.args)
            if kind is not ValueType.STRING
        ]
        if signature.name in _CALENDAR:
            args = [_TIMES[at]]
        args[1:1] = texts
        if signature.name == "info":
            args = [args[0], '{zone=~".+"}']
        found.append(f"{signature.name}({', '.join(args)})")
        if signature.extra and not texts:
            found.append(f"{signature.name}({', '.join(args[:-1])})")
    return sorted(set(found))


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_every_function_gives_the_same_answers(loaded: Callable[[], Sides], name: str) -> None:
    """On gauges, counters, buckets, NaN, infinities, gaps and subqueries."""
    sides = loaded()
    for query in _calls(SIGNATURES[name]):
        sides.instant(query, START_MS + 3_661_007)
        sides.range(query, START_MS - 60_000, 185_000, 42)


@pytest.mark.parametrize("op", sorted(AGGREGATORS))
@pytest.mark.parametrize("grouping", ["", " by (job)", " without (instance, code)", " by (missing)"])
def test_every_aggregation_gives_the_same_answers(loaded: Callable[[], Sides], op: str, grouping: str) -> None:
    """topk and bottomk only where no two values are equal."""
    sides = loaded()
    ranked = op in ("topk", "bottomk")
    for operand in ("temperature", "memory_bytes", *(() if ranked else ("odd", "extreme", "requests_total"))):
        for param in ("0.5", "2", "-1") if op in AGGREGATORS_WITH_PARAMETER else ("",):
            wanted = '"value", ' if op == "count_values" else param and f"{param}, "
            query = f"{op}{grouping} ({wanted}{operand})"
            sides.instant(query, START_MS + 3_661_007)
            sides.range(query, START_MS - 60_000, 185_000, 42)


OPERATORS = ["+", "-", "</", ">/", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"]
_SHAPES = [
    "odd {} temperature",
    "extreme {} on(n) extreme",
    "requests_total {} ignoring(code) group_left state",
    "up {} on(job) group_right(owner) temperature",
    "requests_total {} on(instance, job) group_left() odd",
    "state {} on(job) state",
    "flapping {} on(instance) fill(3) temperature",
    "odd {} 2.5",
    "1e300 {} extreme",
    "time() {} odd",
    "3 {} 4",
]


@pytest.mark.parametrize("op", OPERATORS)
def test_every_operator_gives_the_same_answers(loaded: Callable[[], Sides], op: str) -> None:
    """In every shape of matching, also where that is an error."""
    sides = loaded()
    for shape in _SHAPES:
        for query in (shape.format(op), shape.format(f"{op} bool")):
            sides.instant(query, START_MS + 3_661_007)
            sides.range(query, START_MS - 60_000, 185_000, 42)

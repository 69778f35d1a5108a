"""Text exposition: what Prometheus would read is read, what it would refuse is refused, in linear time."""

import contextlib
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.model import METRIC_NAME, STALE, Labels, MetricType, Series
from peerwatch.wire.exposition import ExpositionLimits, ExpositionParser, write_exposition


def parse(text: str | bytes, *, openmetrics: bool = False, limits: ExpositionLimits | None = None) -> dict[str, float]:
    body = text.encode() if isinstance(text, str) else text
    found = ExpositionParser(limits).parse(body, openmetrics=openmetrics)
    return {str(s.labels): float(v) for s, v in zip(found.series, found.values, strict=True)}


def named(name: str, kind: MetricType = MetricType.UNKNOWN, help_text: str = "", **labels: str) -> Series:
    return Series(Labels.of({**labels, METRIC_NAME: name}), kind, help_text)


def test_the_text_format() -> None:
    """Names, labels, escapes, blanks and every spelling of a number are read as Prometheus reads them."""
    text = (
        "# HELP http_requests_total The total, with a \\\\ and a\\nnew line.\n"
        "# TYPE http_requests_total counter\n"
        'http_requests_total{method="post",code="200"} 1027 1395066363000\n'
        'http_requests_total { method = "post" , code="400", } 3\n'
        "\n"
        'path{p="C:\\\\DIR\\\\F.TXT",e="a \\"quote\\"\\n}{ # x"} 1.458255915e9\n'
        "bare 12.47\n"
        "  blank\t 5 \n"
        "plus +Inf\nminus -Inf\nnan NaN\nempty{} 7\n"
    )
    found = ExpositionParser().parse(text.encode())
    counter_help = "The total, with a \\ and a\nnew line."
    assert found.series == (
        named("http_requests_total", MetricType.COUNTER, counter_help, method="post", code="200"),
        named("http_requests_total", MetricType.COUNTER, counter_help, method="post", code="400"),
        named("path", p="C:\\DIR\\F.TXT", e='a "quote"\n}{ # x'),
        *(named(name) for name in ("bare", "blank", "plus", "minus", "nan", "empty")),
    )
    assert found.values[:-2].tolist()[:7] == [1027, 3, 1.458255915e9, 12.47, 5, math.inf, -math.inf]
    assert math.isnan(found.values[7]) and found.values[8] == 7
    assert found.times_ms is not None and found.times_ms.tolist() == [1395066363000, 0, 0, 0, 0, 0, 0, 0, 0]
    assert found.duplicates == 0


def test_openmetrics() -> None:
    """Histograms and counters get their family's type and unit; exemplars are dropped; times are seconds."""
    text = (
        "# TYPE rpc_seconds histogram\n# UNIT rpc_seconds seconds\n# HELP rpc_seconds How long.\n"
        'rpc_seconds_bucket{le="0.1"} 8 # {trace_id="a } b"} 0.054 1.5\n'
        'rpc_seconds_bucket{le="+Inf"} 9 1520879607.789 # {} 0.67\n'
        "rpc_seconds_count 9\nrpc_seconds_sum 1.5\n"
        '# TYPE jobs counter\njobs_total 5 # {a="b"} 1\n'
        "# EOF\n"
    )
    found = ExpositionParser().parse(text.encode(), openmetrics=True)
    assert [str(s.labels) for s in found.series] == [
        'rpc_seconds_bucket{le="0.1"}',
        'rpc_seconds_bucket{le="+Inf"}',
        "rpc_seconds_count",
        "rpc_seconds_sum",
        "jobs_total",
    ]
    assert [s.type for s in found.series] == [MetricType.HISTOGRAM] * 4 + [MetricType.COUNTER]
    assert {(s.help, s.unit) for s in found.series[:4]} == {("How long.", "seconds")}
    assert found.values.tolist() == [8, 9, 9, 1.5, 5]
    assert found.times_ms is not None and found.times_ms.tolist() == [0, 1520879607789, 0, 0, 0]


def test_an_unchanged_target_gives_the_same_tuple() -> None:
    """As long as only values change, the series come back as the identical object."""
    parser = ExpositionParser()
    first = parser.parse(b'# TYPE a gauge\na{x="1"} 1\nb 2\n')
    again = parser.parse(b'# TYPE a gauge\na{x="1"} 10\nb 20\n')
    assert again.series is first.series
    assert again.values.tolist() == [10, 20]
    other = parser.parse(b'# TYPE a counter\na{x="1"} 10\nb 20\n')
    assert [s.type for s in other.series] == [MetricType.COUNTER, MetricType.UNKNOWN]
    fewer = parser.parse(b"# TYPE a counter\nb 20\n")
    assert [str(s.labels) for s in fewer.series] == ["b"]


def test_a_series_named_twice_counts_once() -> None:
    """The first line wins, however its labels are ordered, at first sight and ever after."""
    parser = ExpositionParser()
    for _ in range(2):
        found = parser.parse(b'a{x="1",y="2"} 1\na{y="2",x="1"} 5\nb 2 1000\nb 3\n')
        assert [str(s.labels) for s in found.series] == ['a{x="1", y="2"}', "b"]
        assert found.values.tolist() == [1, 2]
        assert found.times_ms is not None and found.times_ms.tolist() == [0, 1000]
        assert found.duplicates == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a", "not a value"),
        ("a one", "not a number"),
        ("a 1_000", "not a number"),
        ("a 1 2 3", "at most one timestamp"),
        ("a 1 1.5", "whole milliseconds"),
        ("a 1 NaN", "not a timestamp"),
        ("1a 1", "metric name"),
        ('{x="1"} 1', "metric name"),
        ('a{x="1" 1', "not a label"),
        ('a{x="1"y="2"} 1', "not a label"),
        ("a{x=1} 1", "not a label"),
        ('a{x="1} 1', "not a label"),
        ('a{x="1",x="2"} 1', "twice"),
        ('a{__name__="b"} 1', "twice"),
        ('a{le-x="1"} 1', "not a label"),
        ('a{x="1"} 1 # {y="2"} 1', "at most one timestamp"),
    ],
)
def test_nonsense_is_refused_with_its_line(text: str, reason: str) -> None:
    """A line that is not the format is a DecodeError that shows the line and says what is wrong."""
    with pytest.raises(DecodeError, match=reason) as caught:
        parse(text)
    assert text[:20] in str(caught.value).replace('\\"', '"') or '"' in text


def test_limits_are_named() -> None:
    """Too long, too many, too wide: the message has the number and its limit."""
    small = ExpositionLimits(body_bytes=200, line_bytes=90, series=3, labels=2, name_bytes=8, value_bytes=8)
    cases = {
        "a 1\n" * 60: "240 bytes, limit 200",
        "a" * 95: "95 bytes, limit 90",
        "a 1\nb 1\nc 1\nd 1": "4 series, limit 3",
        'a{a="",b="",c=""} 1': "more than 2 labels",
        "abcdefghi 1": "9 bytes, limit 8",
        'a{b="123456789"} 1': "limits 8 and 8",
    }
    for text, reason in cases.items():
        with pytest.raises(DecodeError, match=reason):
            parse(text, limits=small)


def test_openmetrics_must_be_whole() -> None:
    """Without # EOF the body was cut off."""
    with pytest.raises(DecodeError, match="EOF"):
        parse("a 1\n", openmetrics=True)
    with pytest.raises(DecodeError, match="UTF-8"):
        parse(b'a{x="\xff"} 1')


def test_the_memory_of_a_target_is_bounded() -> None:
    """A target that invents new series every time is parsed right and does not grow the parser without end."""
    parser = ExpositionParser(ExpositionLimits(series=10))
    for generation in range(50):
        body = "".join(f'a{{g="{generation}",i="{i}"}} {i}\n' for i in range(10))
        found = parser.parse(body.encode())
        assert found.values.tolist() == list(range(10))
        assert found.series[3].labels.get("g") == str(generation)


texts = st.text(st.characters(codec="utf-8"), max_size=12)
label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True).filter(lambda n: n != METRIC_NAME)
series = st.builds(
    lambda name, labels, kind, text: Series(Labels.of({**labels, METRIC_NAME: name}), kind, text),
    st.from_regex(r"m[a-z0-9:]{1,6}", fullmatch=True),
    st.dictionaries(label_names, texts, max_size=4),
    st.sampled_from([MetricType.UNKNOWN, MetricType.COUNTER, MetricType.GAUGE]),
    st.just(""),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(series, st.floats(), max_size=8))
def test_what_is_written_is_read_back(samples: dict[Series, float]) -> None:
    """Any series with any labels and values survives writing and reading, save stale markers."""
    by_labels = {s.labels: (s, v) for s, v in samples.items()}
    body = write_exposition(by_labels.values())
    found = ExpositionParser().parse(body)
    read = {s.labels: float(v) for s, v in zip(found.series, found.values, strict=True)}
    expected = {labels: v for labels, (_, v) in by_labels.items()}
    assert read.keys() == expected.keys()
    assert all(v == read[k] or (math.isnan(v) and math.isnan(read[k])) for k, v in expected.items())


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.lists(
            st.sampled_from(
                [
                    b"a",
                    b"{",
                    b"}",
                    b'"',
                    b"\\",
                    b",",
                    b"=",
                    b" ",
                    b"\n",
                    b"#",
                    b"1",
                    b"_",
                    b"\xff",
                    b"# EOF",
                    b"TYPE",
                    b"HELP",
                ]
            ),
            max_size=30,
        ).map(b"".join),
    ),
    st.booleans(),
)
def test_no_input_does_worse_than_a_decode_error(body: bytes, openmetrics: bool) -> None:
    """Whatever comes, the parser answers or raises DecodeError, and the next body is not the worse for it."""
    parser = ExpositionParser()
    try:
        found = parser.parse(body, openmetrics=openmetrics)
        assert len(found.series) == len(found.values) == len({s.labels for s in found.series})
    except DecodeError:
        pass
    assert parser.parse(b'ok{a="b"} 1\n# EOF\n').values.tolist() == [1]


@pytest.mark.parametrize(
    "hostile",
    [
        lambda n: b'a{x="' + b"\\" * n,
        lambda n: b"a{" + b"x" * n,
        lambda n: b"a{" + b'x="",' * (n // 5),
        lambda n: b"a " + b"1" * n,
        lambda n: b"a" + b" " * n + b"x",
        lambda n: b'a{x="1"} 1 # ' + b"{" * n,
        lambda n: b"# HELP " + b"\\n" * (n // 2),
    ],
    ids=["backslashes", "name", "labels", "digits", "blanks", "braces", "help"],
)
def test_time_is_linear(hostile: object) -> None:
    """Eight times the bytes take nowhere near sixty-four times as long, whatever they are."""
    assert callable(hostile)
    limits = ExpositionLimits(line_bytes=4 << 20, value_bytes=4 << 20, name_bytes=4 << 20, labels=1 << 20)

    def cost_s(size: int) -> float:
        body = hostile(size)
        best = math.inf
        for _ in range(3):
            start = time.process_time()
            with contextlib.suppress(DecodeError):
                ExpositionParser(limits).parse(body)
            best = min(best, time.process_time() - start)
        return best

    assert cost_s(800_000) < max(0.05, 30 * cost_s(100_000))


def test_the_writer_groups_by_family() -> None:
    """One HELP and TYPE per family, all its lines together, numbers without loss, ended series left out."""
    body = write_exposition(
        [
            (named("b_total", MetricType.COUNTER, "Bees\nand \\.", x='q"\\\n'), 2.0),
            (named("a", MetricType.GAUGE, "", y="1"), 0.1),
            (named("b_total", MetricType.COUNTER, "Bees", x="z"), 1e300),
            (named("h_bucket", MetricType.HISTOGRAM, "H", le="+Inf"), math.inf),
            (named("h_sum", MetricType.HISTOGRAM, "H"), -math.inf),
            (named("gone"), float(STALE)),
            (named("n"), math.nan),
        ]
    )
    assert body.decode() == (
        "# HELP b_total Bees\\nand \\\\.\n# TYPE b_total counter\n"
        'b_total{x="q\\"\\\\\\n"} 2\nb_total{x="z"} 1e+300\n'
        '# TYPE a gauge\na{y="1"} 0.1\n'
        '# HELP h H\n# TYPE h histogram\nh_bucket{le="+Inf"} +Inf\nh_sum -Inf\n'
        "# TYPE n untyped\nn NaN\n"
    )

"""`/federate`: what a scraping Prometheus reads."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from peerwatch.model import KEY_BIAS, STALE, Labels, SeriesSet
from peerwatch.model.assembly import assemble
from peerwatch.query.api import routes
from peerwatch.query.engine import Engine
from peerwatch.query.federate import federate as page_of
from peerwatch.query.gotext import format_scientific
from peerwatch.query.limits import Budget, Limits
from peerwatch.query.options import EngineOptions
from peerwatch.query.prometheus import PrometheusApi
from tests.model.native import MARKER, Native, series_set, stored
from tests.promql.memory import MemoryQueryable
from tests.query.test_api import FixedClock

NOW_MS = 100_000


def source() -> MemoryQueryable:
    memory = MemoryQueryable()
    times = np.array([40_000, 70_000, 100_000, 130_000], np.int64)
    memory.add(Labels.of(__name__="b", job="x"), times, np.array([1.0, 2.0, 3.0, 4.0]))
    memory.add(Labels.of(__name__="b", instance="i", job="x"), times[:2], np.array([1.0, 2e6]))
    memory.add(Labels.of(__name__="a", instance="i", text='q"\\\n'), times[:1], np.array([-0.0]))
    memory.add(Labels.of(__name__="gone"), times[:2], np.array([1.0, float(STALE)]))
    memory.add(Labels.of(__name__="later"), times[3:], np.array([1.0]))
    memory.add(Labels.of(job="nameless"), times[:1], np.array([1.0]))
    memory.add(Labels.of({"__name__": "odd.name", "label.x": "1", "instance": "i"}), times[:1], np.array([np.nan]))
    return memory


def federate(*matches: str, accept: str = "", options: EngineOptions | None = None) -> httpx.Response:
    """The answer to a scrape."""

    async def run() -> httpx.Response:
        memory = source()
        api = PrometheusApi(memory, Engine(memory, options, FixedClock()), FixedClock())
        transport = httpx.ASGITransport(Starlette(routes=routes(api)))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.get("/federate", params={"match[]": list(matches)}, headers={"accept": accept})

    return anyio.run(run)


def test_the_newest_sample_of_each_series_with_its_time() -> None:
    """By metric, each series once; a marker ends a series; without instance it says so."""
    answer = federate("b", '{__name__=~"a|b|gone|later"}', '{job="nameless"}')
    assert answer.status_code == 200
    assert answer.text == (
        "# TYPE a untyped\n"
        'a{instance="i",text="q\\"\\\\\\n"} 0 40000\n'
        "# TYPE b untyped\n"
        'b{instance="i",job="x"} 2e+06 70000\n'
        'b{job="x",instance=""} 3 100000\n'
    )
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


class Fixed:
    """A source with one answer."""

    def __init__(self, found: SeriesSet) -> None:
        self._found = found

    def select(self, matchers: Any, start_ms: int, end_ms: int, *, max_samples: int | None = None) -> SeriesSet:
        return self._found

    def label_values(self, *_: Any) -> list[str]:
        return []

    label_names = label_values


def test_a_histogram_with_bounds_is_a_classic_one_and_one_without_is_left_out() -> None:
    """As in Prometheus: the text format has no other; numbers of the same name have a family of their own."""
    custom = Native(-53, 0, 7.0, 2.5, buckets=((KEY_BIAS, 2.0), (KEY_BIAS + 2, 4.0)), bounds=(0.5, 1.0, 2e6))
    h, g, n = (Labels.of(__name__="h", instance="i", n=n) for n in ("1", "2", "3"))
    ended = Labels.of(__name__="h", n="4")
    rows = [(h, 1000, custom, 0), (g, 2000, 1.5, 0), (n, 3000, Native(3, 0, 1.0), 0)]
    rows += [(ended, 1000, custom, 0), (ended, 2000, MARKER, 0)]
    found = assemble(series_set(stored(rows)))
    budget = Budget.start(Limits(), FixedClock(), None)
    page = page_of(Fixed(found), budget, [()], NOW_MS, 300_000, "underscores")
    assert page.decode() == (
        "# TYPE h histogram\n"
        'h_bucket{instance="i",n="1",le="0.5"} 2 1000\n'
        'h_bucket{instance="i",n="1",le="1"} 2 1000\n'
        'h_bucket{instance="i",n="1",le="2e+06"} 6 1000\n'
        'h_bucket{instance="i",n="1",le="+Inf"} 7 1000\n'
        'h_sum{instance="i",n="1"} 2.5 1000\n'
        'h_count{instance="i",n="1"} 7 1000\n'
        "# TYPE h untyped\n"
        'h{instance="i",n="2"} 1.5 2000\n'
    )


def test_names_are_spelled_as_the_scraper_reads_them() -> None:
    """Quoted for one that says allow-utf-8, else with underscores."""
    assert federate("{'odd.name'}").text == '# TYPE odd_name untyped\nodd_name{instance="i",label_x="1"} NaN 40000\n'
    quoted = federate("{'odd.name'}", accept="text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5")
    assert quoted.text == '# TYPE "odd.name" untyped\n{"odd.name",instance="i","label.x"="1"} NaN 40000\n'
    assert quoted.headers["content-type"].endswith("escaping=allow-utf-8")


def test_what_is_old_or_not_asked_for_is_not_there() -> None:
    """Beyond the lookback, and without a selector."""
    assert federate("a", options=EngineOptions(lookback_ms=60_000)).text == ""
    assert federate().text == ""


def test_a_selector_that_is_none_is_refused_and_limits_hold() -> None:
    """In plain text, as a scrape shows it."""
    refused = federate("b{")
    assert (refused.status_code, refused.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert refused.text == "1:3: parse error: unexpected end of input inside braces\n"
    limited = federate("b", options=EngineOptions(limits=Limits(max_samples=2)))
    assert (limited.status_code, "limit 2" in limited.text) == (422, True)


@pytest.mark.parametrize(
    ("value", "text"),
    [(999_999.5, "999999.5"), (1e6, "1e+06"), (-123_456_789.0, "-1.23456789e+08"), (1e-4, "0.0001"), (1e-5, "1e-05")],
)
def test_numbers_are_spelled_as_go_spells_them(value: float, text: str) -> None:
    """An exponent from a million on and below 0.0001."""
    assert format_scientific(value) == text

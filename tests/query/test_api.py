"""The HTTP API, asserted byte by byte."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from peerwatch.model import STALE, Labels, Matcher, SeriesSet
from peerwatch.query.api import routes
from peerwatch.query.engine import Engine
from peerwatch.query.limits import Limits
from peerwatch.query.options import EngineOptions
from peerwatch.query.prometheus import PrometheusApi
from tests.promql.memory import MemoryQueryable


class FixedClock:
    """A clock that stands at 100 s."""

    def now_ms(self) -> int:
        return 100_000

    def monotonic_s(self) -> float:
        return 0.0


def source() -> MemoryQueryable:
    times = np.arange(0, 120_000, 15_000, dtype=np.int64)
    memory = MemoryQueryable()
    for job, factor in (("a", 1.0), ("b", 2.5)):
        memory.add(Labels.of(__name__="up_total", job=job), times, np.arange(len(times)) * factor)
    memory.add(Labels.of(__name__="odd", quote='"'), times[:2], np.array([np.nan, np.inf]))
    memory.add(Labels.of(__name__="gone"), times[:2], np.array([1.0, STALE]))
    return memory


@asynccontextmanager
async def client(options: EngineOptions | None = None) -> AsyncIterator[httpx.AsyncClient]:
    memory = source()
    api = PrometheusApi(memory, Engine(memory, options, FixedClock()), FixedClock(), version="1.2")
    transport = httpx.ASGITransport(app=Starlette(routes=routes(api)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test/api/v1") as session:
        yield session


def get(path: str, options: EngineOptions | None = None, **params: str | list[str]) -> tuple[int, str]:
    """(status, body) of a GET."""

    async def run() -> tuple[int, str]:
        async with client(options) as session:
            answer = await session.get(path, params={name.replace("match", "match[]"): v for name, v in params.items()})
            return answer.status_code, answer.text

    return anyio.run(run)


def post(path: str, form: Mapping[str, str], **params: str) -> tuple[int, str]:
    """(status, body) of a POST form."""

    async def run() -> tuple[int, str]:
        async with client() as session:
            answer = await session.post(path, data=dict(form), params=params)
            return answer.status_code, answer.text

    return anyio.run(run)


ODD = '{"metric":{"__name__":"odd","quote":"\\""},"value":'
UP_B = '{"metric":{"__name__":"up_total","job":"b"},"value":'


def data(kind: str, result: str) -> str:
    return f'{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}'


def bad(message: str) -> str:
    escaped = message.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"status":"error","errorType":"bad_data","error":"{escaped}"}}'


@pytest.mark.parametrize(
    ("query", "at", "expected"),
    [
        ("1+1", "4", data("scalar", '[4,"2"]')),
        ('"x\\n"', "4.5", data("string", '[4.500,"x\\n"]')),
        (
            'up_total{job="b"}',
            "30.001",
            data("vector", f'[{UP_B}[30.001,"5"]}}]'),
        ),
        (
            "odd",
            "1970-01-01T00:00:10Z",
            data("vector", f'[{ODD}[10,"NaN"]}}]'),
        ),
        ("odd", "20", data("vector", f'[{ODD}[20,"+Inf"]}}]')),
        ("gone", "20", data("vector", "[]")),
        ("gone", "10", data("vector", '[{"metric":{"__name__":"gone"},"value":[10,"1"]}]')),
        ("gone[1m]", "50", data("matrix", '[{"metric":{"__name__":"gone"},"values":[[0,"1"]]}]')),
    ],
)
def test_an_instant_query_answers_as_prometheus_prints(query: str, at: str, expected: str) -> None:
    """Scalars, strings, vectors and matrices, times with milliseconds only where there are some."""
    assert get("/query", query=query, time=at) == (200, expected)


def test_a_query_without_a_time_is_about_now() -> None:
    """The clock decides."""
    assert get("/query", query="time()") == (200, data("scalar", '[100,"100"]'))


def test_a_form_works_like_a_url_and_goes_before_it() -> None:
    """POST is for long queries."""
    assert post("/query", {"query": "1"}, query="2", time="7") == (200, data("scalar", '[7,"1"]'))


def test_a_range_query_answers_with_a_matrix() -> None:
    """One series of samples per label set, sorted; a step may be a duration."""
    body = data(
        "matrix",
        '[{"metric":{"job":"a"},"values":[[60,"0.06666666666666667"],[75.500,"0.06666666666666667"]]},'
        '{"metric":{"job":"b"},"values":[[60,"0.16666666666666666"],[75.500,"0.16666666666666666"]]}]',
    )
    found = get("/query_range", query="rate(up_total[45s])", start="60", end="80", step="15s500ms")
    assert found == (200, body)


def test_remarks_come_with_the_answer() -> None:
    """Infos and warnings carry their place in the query."""
    status, body = get("/query", query="rate(odd[1m])", time="30")
    assert status == 200
    assert body == (
        '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"quote":"\\""},"value":[30,"NaN"]}]},'
        '"infos":["PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: '
        '\\"odd\\" (1:6)"]}'
    )


def test_a_limit_cuts_the_answer_and_says_so() -> None:
    """limit=1 keeps the first series."""
    status, body = get("/query", query="up_total", time="0", limit="1")
    assert (status, body.count('"metric"')) == (200, 1)
    assert body.endswith('"warnings":["results truncated due to limit"]}')


RANGE = {"query": "1", "start": "0", "end": "1"}


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        ("/query", {"query": "up{"}, "@query: 1:4: parse error: unexpected end of input inside braces"),
        (
            "/query",
            {"query": "1", "time": "x"},
            "@time: invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
        ),
        ("/query", {"query": "up[step()]"}, "@query: 3:9: duration must be greater than 0"),
        ("/query", {"query": "1", "timeout": "x"}, '@timeout: cannot parse "x" to a valid duration'),
        ("/query", {"query": "1", "limit": " 1"}, '@limit: strconv.Atoi: parsing " 1": invalid syntax'),
        (
            "/query",
            {"query": "1", "limit": "9223372036854775808"},
            '@limit: strconv.Atoi: parsing "9223372036854775808": value out of range',
        ),
        ("/query_range", RANGE | {"step": " 1"}, '@step: cannot parse " 1" to a valid duration'),
        ("/query", {"query": "1", "limit": "-1"}, "@limit: limit must be non-negative"),
        ("/query_range", RANGE | {"start": "2"}, "@end: end timestamp must not be before start time"),
        ("/query_range", RANGE, '@step: cannot parse "" to a valid duration'),
        (
            "/query_range",
            RANGE | {"step": "0"},
            "@step: zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "/query_range",
            RANGE | {"end": "11001", "step": "1"},
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/query_range",
            RANGE | {"query": "up[1m]", "step": "1"},
            '@query: invalid expression type "range vector" for range query, must be Scalar or instant Vector',
        ),
        ("/series", {}, "no match[] parameter provided"),
        ("/labels", {"match": "{"}, "1:2: parse error: unexpected end of input inside braces"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(path: str, params: dict[str, str], message: str) -> None:
    """400, bad_data, and Prometheus's words."""
    if message.startswith("@"):
        name, rest = message[1:].split(":", 1)
        message = f'invalid parameter "{name}":{rest}'
    assert get(path, **params) == (400, bad(message))


def test_a_query_that_cannot_be_answered_is_422() -> None:
    """errorType execution."""
    body = '{"status":"error","errorType":"execution","error":"vector cannot contain metrics with the same labelset"}'
    assert get("/query", query='label_replace(up_total, "job", "x", "", "")', time="0") == (422, body)


def test_a_query_over_its_limit_is_422() -> None:
    """The message names the limit."""
    options = EngineOptions(limits=Limits(max_samples=3))
    status, body = get("/query", options, query="up_total", time="100")
    assert (status, '"errorType":"execution"' in body, "limit 3" in body) == (422, True, True)


def test_a_query_past_its_deadline_is_503() -> None:
    """errorType timeout."""
    options = EngineOptions(limits=Limits(timeout_s=-1.0))
    body = '{"status":"error","errorType":"timeout","error":"query timed out in query queue"}'
    assert get("/query", options, query="up_total", time="100") == (503, body)


def test_names_and_values_of_labels() -> None:
    """Sorted, narrowed by match[]."""
    assert get("/labels") == (200, '{"status":"success","data":["__name__","job","quote"]}')
    assert get("/labels", match=["odd", "gone"]) == (200, '{"status":"success","data":["__name__","quote"]}')
    assert get("/label/job/values") == (200, '{"status":"success","data":["a","b"]}')
    assert get("/label/U__job/values", limit="1") == (
        200,
        '{"status":"success","data":["a"],"warnings":["results truncated due to limit"]}',
    )


def test_series_lists_label_sets() -> None:
    """Each once, whichever selector found it."""
    body = '{"status":"success","data":[{"__name__":"gone"},{"__name__":"up_total","job":"a"}]}'
    assert get("/series", match=["gone", '{__name__=~"gone|up_total",job!="b"}']) == (200, body)


def test_clients_find_the_version_they_look_for() -> None:
    """Grafana chooses its features by status/buildinfo."""
    status, body = get("/status/buildinfo")
    assert (status, '"version":"3.5.0","revision":"peerwatch 1.2"' in body) == (200, True)


def test_format_query_lays_out() -> None:
    """format_query answers with a string."""
    assert get("/format_query", query="sum(x)by(a)>1") == (200, '{"status":"success","data":"sum by (a) (x) > 1"}')


class Stalled(MemoryQueryable):
    """A source whose reads last until the client has gone."""

    def __init__(self, client_left: threading.Event) -> None:
        super().__init__()
        self._client_left = client_left

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        assert self._client_left.wait(10)
        anyio.from_thread.run_sync(lambda: None)  # the loop has seen it, too
        return super().select(matchers, start_ms, end_ms)


def test_a_query_ends_when_its_client_goes_away() -> None:
    """The worker thread is told, and stops at its next check."""
    left = threading.Event()
    api = PrometheusApi(Stalled(left))
    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, object]:
        message = messages.pop(0)
        if message["type"] == "http.disconnect":
            left.set()
        return message

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/query",
        "query_string": b"query=up%2Bup",
        "headers": [],
        "server": ("test", 80),
    }

    async def run() -> None:
        await Starlette(routes=routes(api))(scope, receive, send)

    anyio.run(run)
    assert sent[0]["status"] == 499
    body = '{"status":"error","errorType":"canceled","error":"query was canceled in expression evaluation"}'
    assert sent[1]["body"] == body.encode()

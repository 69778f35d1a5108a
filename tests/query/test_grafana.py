"""What Grafana's Prometheus data source sends, byte for byte, and what it must find in the answers.

Bodies are as Go's url.Values writes them: keys sorted, blanks as `+`; times as its client formats them.
"""

from __future__ import annotations

import anyio
import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from peerwatch.model import MetricType
from peerwatch.query.api import routes
from peerwatch.query.engine import Engine
from peerwatch.query.prometheus import PrometheusApi
from tests.promql.memory import MemoryQueryable
from tests.query.test_api import FixedClock, source

FORM = "application/x-www-form-urlencoded"


class _Source:
    """Samples, and what one metric means."""

    def __init__(self, memory: MemoryQueryable) -> None:
        self.select = memory.select
        self.label_values = memory.label_values
        self.label_names = memory.label_names

    def metadata(self) -> dict[str, tuple[MetricType, str, str]]:
        return {"up_total": (MetricType.COUNTER, "How often.", "")}


def call(method: str, url: str, body: str = "") -> tuple[int, str]:
    """(status, body) of a call as Grafana's backend makes it."""
    headers = {"user-agent": "Grafana/12.1.0", "accept-encoding": "gzip"} | ({"content-type": FORM} if body else {})

    async def run() -> tuple[int, str]:
        found = _Source(source())
        api = PrometheusApi(found, Engine(found, None, FixedClock()), FixedClock(), version="1.2")
        transport = httpx.ASGITransport(Starlette(routes=routes(api)))
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            answer = await client.request(method, url, content=body, headers=headers)
            assert answer.headers["content-type"] == "application/json"
            return answer.status_code, answer.text

    return anyio.run(run)


def test_save_and_test_asks_one_plus_one_at_four() -> None:
    """The health check: a scalar at the time it named."""
    answer = '{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'
    assert call("POST", "/api/v1/query", "query=1%2B1&time=4") == (200, answer)
    assert call("GET", "/api/v1/query?query=1%2B1&time=4") == (200, answer)


def test_the_heuristics_take_us_for_a_prometheus() -> None:
    """A buildinfo with `features` would be a Mimir; the version decides about match[] on labels."""
    status, text = call("GET", "/api/v1/status/buildinfo")
    found = msgspec.json.decode(text)["data"]
    assert (status, "features" in found, found["version"]) == (200, False, "3.5.0")


PANEL = "end=60&query=sum%28rate%28up_total%5B45s%5D%29%29+by+%28job%29&start=45&step=15"
PANEL_ANSWER = (
    '{"status":"success","data":{"resultType":"matrix","result":['
    '{"metric":{"job":"a"},"values":[[45,"0.06666666666666667"],[60,"0.06666666666666667"]]},'
    '{"metric":{"job":"b"},"values":[[45,"0.16666666666666666"],[60,"0.16666666666666666"]]}]}}'
)


@pytest.mark.parametrize(
    ("path", "form", "expected"),
    [
        ("/api/v1/query_range", PANEL, PANEL_ANSWER),
        (
            "/api/v1/query",
            "query=up_total%7Bjob%3D%22a%22%7D&time=100.123&timeout=60s",
            '{"status":"success","data":{"resultType":"vector","result":'
            '[{"metric":{"__name__":"up_total","job":"a"},"value":[100.123,"6"]}]}}',
        ),
        ("/api/v1/query_exemplars", "end=60&query=up_total&start=45", '{"status":"success","data":[]}'),
        (
            "/api/v1/labels",
            "end=100&match%5B%5D=up_total&start=0",
            '{"status":"success","data":["__name__","job"]}',
        ),
        (
            "/api/v1/series",
            "end=100&limit=40000&match%5B%5D=up_total%7Bjob%3D%22b%22%7D&start=0",
            '{"status":"success","data":[{"__name__":"up_total","job":"b"}]}',
        ),
    ],
)
def test_a_call_by_post_and_its_fallback_by_get_are_answered_alike(path: str, form: str, expected: str) -> None:
    """Either method may be configured, and a refused POST is repeated as GET."""
    assert call("POST", path, form) == (200, expected)
    assert call("GET", f"{path}?{form}") == (200, expected)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/api/v1/label/job/values?end=100&match%5B%5D=up_total&start=0", '{"status":"success","data":["a","b"]}'),
        ("/api/v1/label/__name__/values?end=100&limit=1&start=0", None),
        (
            "/api/v1/metadata?limit=40000",
            '{"status":"success","data":{"up_total":[{"type":"counter","help":"How often.","unit":""}]}}',
        ),
        ("/api/v1/rules", '{"status":"success","data":{"groups":[]}}'),
        ("/api/v1/rules?type=alert", '{"status":"success","data":{"groups":[]}}'),
        ("/api/v1/alerts", '{"status":"success","data":{"alerts":[]}}'),
        (
            "/api/v1/alertmanagers",
            '{"status":"success","data":{"activeAlertmanagers":[],"droppedAlertmanagers":[]}}',
        ),
    ],
)
def test_the_editor_and_the_alert_list_find_what_they_ask_for(url: str, expected: str | None) -> None:
    """Values of labels, meanings, rules: by GET."""
    cut = '{"status":"success","data":["gone"],"warnings":["results truncated due to limit"]}'
    assert call("GET", url) == (200, expected or cut)


def test_an_error_is_shown_with_its_words() -> None:
    """Grafana shows `error` of the body, whatever the status."""
    status, text = call("POST", "/api/v1/query_range", "end=60&query=sum%28&start=45&step=15")
    assert status == 400
    assert msgspec.json.decode(text) == {
        "status": "error",
        "errorType": "bad_data",
        "error": 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
    }

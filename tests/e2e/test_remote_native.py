"""A real Prometheus writes native histograms into a hub: what it has, the hub has, bucket by bucket."""

from __future__ import annotations

import math
import time

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, Labels, Matcher, MatchOp, SystemClock
from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from tests.e2e.processes import Processes, ask, eventually, value
from tests.e2e.remote_read import Found, read
from tests.e2e.test_remote import NEWEST, READING, SERVERS, V2, complaints, start_prometheus
from tests.model.native import MARKER, Native
from tests.store.material import decode
from tests.wire.remote_kit import request_v2

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.servers,
    pytest.mark.skipif(not NEWEST, reason="needs a Prometheus 3.x: make peer-prometheus, PEERWATCH_BENCH_BIN"),
]

WRITING = """
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  scrape_native_histograms: true
  convert_classic_histograms_to_nhcb: true
  external_labels: {{origin: prometheus}}
scrape_configs:
- job_name: itself
  static_configs: [{{targets: ['127.0.0.1:{port}']}}]
remote_write:
- url: {hub}/api/v1/write
  send_native_histograms: true
{more}"""
EXPRESSIONS = (
    "histogram_quantile(0.9, sum(prometheus_http_request_duration_seconds))",
    "sum by (handler) (histogram_count(prometheus_http_request_duration_seconds))",
    "sum by (handler) (histogram_count(increase(prometheus_http_request_duration_seconds[5s])))",
)
FEATURES = "--enable-feature=st-storage"
EXPONENTIAL, BY_BOUNDS = "prometheus_http_request_duration_seconds", "prometheus_tsdb_compaction_chunk_range_seconds"
ITSELF = ("job", "itself")


def _differences(ours: Found, theirs: Found) -> list[tuple[object, int, Native | None, Native | None]]:
    """(labels, time, ours, theirs) wherever the two do not tell the same."""
    found: list[tuple[object, int, Native | None, Native | None]] = []
    for labels in ours.keys() | theirs.keys():
        mine, other = ours.get(labels, {}), theirs.get(labels, {})
        for time_ms in mine.keys() | other.keys():
            left, right = mine.get(time_ms), other.get(time_ms)
            if left is None or right is None or left.told != right.told:
                found.append((labels, time_ms, left, right))
    return found


@pytest.mark.parametrize("protocol", ["1.0", "2.0"])
def test_what_a_prometheus_has_the_hub_has(processes: Processes, protocol: str) -> None:
    """Every histogram at every time, with count, sum, zero bucket and each bucket.

    With 2.0 also those with custom bounds, and since when counters and histograms count.
    """
    running = processes.start("hub", "--data", str(processes.folder / "hub"), "--listen", "127.0.0.1:0")
    hub = running.url()
    _, url = start_prometheus(processes, str(NEWEST), WRITING, FEATURES, hub=hub, more=V2 if protocol == "2.0" else "")
    began_ms = int(time.time() * 1000)
    eventually(lambda: value(hub, 'count_over_time(up{job="itself"}[1m])'), "scrapes arrive", 40)
    for pause in range(60):  # requests of many lengths: buckets come as the seconds pass
        ask(url, f"count(last_over_time({{__name__=~'.+'}}[{pause % 9 + 1}s]))")
        time.sleep(0.1)
    end_ms = int(time.time() * 1000) - 2000
    for _ in range(20):  # on a busy machine the last scrape comes late, to either
        ours, theirs = read(hub, began_ms, end_ms, ITSELF), read(url, began_ms, end_ms, ITSELF)
        if protocol == "1.0":  # which has no custom bounds
            theirs = {
                labels: own
                for labels, own in theirs.items()
                if all(one.schema != CUSTOM_SCHEMA for one in own.values())
            }
        if not (differences := _differences(ours, theirs)):
            break
        time.sleep(1)
    assert differences == []
    count = sum(map(len, theirs.values()))
    schemas = {one.schema for own in ours.values() for one in own.values()}
    assert (CUSTOM_SCHEMA in schemas, len(schemas - {CUSTOM_SCHEMA}) > 0) == (protocol == "2.0", True)
    layouts = {tuple(key for key, _ in one.buckets) for own in ours.values() for one in own.values()}
    assert len(layouts) > 10
    at = f"{end_ms / 1000:.3f}"
    for expr in EXPRESSIONS:
        ours_now, theirs_now = _values(ask(hub, expr, time=at)), _values(ask(url, expr, time=at))
        assert _equal(ours_now, theirs_now), (expr, ours_now, theirs_now)
    page = httpx.get(f"{hub}/metrics", trust_env=False).text
    assert 'peerwatch_remote_write_requests_total{status="4' not in page
    assert _metric(page, "peerwatch_remote_write_histograms_total") >= count
    if protocol == "2.0":
        running.stop()
        _check_starts(processes, began_ms)


def _metric(page: str, name: str) -> float:
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))


def _check_starts(processes: Processes, began_ms: int) -> None:
    """In the hub's own store: the process that was scraped began to count when it began, and says so."""
    clock = SystemClock()
    folder = processes.folder / "hub" / "store"
    store = Store.open(folder, StoreConfig(), clock=clock, decode_envelope=decode, registry=CollectorRegistry())
    try:
        for name in (EXPONENTIAL, "prometheus_http_requests_total"):
            found = store.select([Matcher("__name__", MatchOp.EQUAL, name)], 0, clock.now_ms())
            assert (found.histograms is not None) == (name == EXPONENTIAL)
            assert found.starts_ms is not None
            known = found.starts_ms[found.starts_ms > 0]
            assert len(known) > len(found.values) / 2
            assert (np.abs(known - began_ms) < 60_000).all()
    finally:
        store.close()


@pytest.mark.parametrize("binary", [one for one in SERVERS if one == NEWEST])
def test_a_prometheus_reads_histograms_out_of_a_hub(processes: Processes, binary: str) -> None:
    """What it computes of what it read is what it computes of its own."""
    hub = processes.start("hub", "--data", str(processes.folder / "hub"), "--listen", "127.0.0.1:0").url()
    _, url = start_prometheus(processes, binary, WRITING, hub=hub, more=V2)
    counted = f"histogram_count({EXPONENTIAL}{{handler='/metrics'}}) > 4"
    eventually(lambda: ask(url, counted), "it was scraped", 40)
    at = f"{time.time() - 2:.3f}"
    reader, reading = start_prometheus(processes, binary, READING, hub=hub)
    for expr in (*EXPRESSIONS, f"histogram_sum({BY_BOUNDS})"):
        theirs = eventually(lambda expr=expr: ask(url, expr, time=at), f"{expr} has an answer", 10)
        eventually(
            lambda expr=expr, theirs=theirs: _equal(_values(ask(reading, expr, time=at)), _values(theirs)),
            f"{expr} is equal",
        )
    assert complaints(reader) == []


def _values(result: list[dict[str, dict[str, object]]]) -> dict[object, float]:
    return {one["metric"].get("handler"): float(one["value"][1]) for one in result}  # type: ignore[call-overload]


def _equal(ours: dict[object, float], theirs: dict[object, float]) -> bool:
    """But for the last bits: a quantile between bounds is a power of two, which Go and C round by themselves."""
    return ours.keys() == theirs.keys() and all(
        math.isclose(own, theirs[key], rel_tol=1e-14) for key, own in ours.items()
    )


def test_the_page_of_a_hub_is_that_of_a_prometheus(processes: Processes) -> None:
    """The same histograms into both: `/federate` of both is equal, byte for byte; exponential ones are in neither."""
    hub = processes.start("hub", "--data", str(processes.folder / "hub"), "--listen", "127.0.0.1:0").url()
    _, url = start_prometheus(processes, str(NEWEST), "global: {{}}\n", "--web.enable-remote-write-receiver")
    now_ms = int(time.time() * 1000)
    bounds = (-0.5, 0.0, 1.0, 2.5e6)
    buckets = ((KEY_BIAS, 1.5), (KEY_BIAS + 2, 2.0), (KEY_BIAS + 4, 3.0))
    sent = [
        (
            Labels.of(__name__="h", instance="i", n="1"),
            Native(-53, 0, 6.5, 1e-7, buckets=buckets, bounds=bounds),
            now_ms,
        ),
        (Labels.of(__name__="h", n="2"), Native(-53, 3, 0.0, -0.0, bounds=()), now_ms - 1000),
        (Labels.of(__name__="wide", n="3"), Native(3, 0, 2.0, 1.0, buckets=((KEY_BIAS, 2.0),)), now_ms),
        (
            Labels.of(__name__="gone", n="4"),
            Native(-53, 0, 2.0, 1.0, bounds=(1.0,), buckets=((KEY_BIAS, 2.0),)),
            now_ms - 1,
        ),
        (Labels.of(__name__="gone", n="4"), MARKER, now_ms),
    ]
    body = request_v2((Labels.of(__name__="m", n="5"), [(now_ms, 1.0)]), natives=sent)
    kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    headers = {"content-type": kind, "content-encoding": "snappy", "x-prometheus-remote-write-version": "2.0.0"}
    for one in (hub, url):
        answer = httpx.post(f"{one}/api/v1/write", content=body, headers=headers, trust_env=False)
        assert answer.status_code == 204, answer.text
        assert answer.headers["x-prometheus-remote-write-histograms-written"] == "5"
    pages = []
    for n in "12345":  # one at a time: a Prometheus 3.15 mixes up the histograms of several series
        matchers = {"match[]": [f'{{n="{n}"}}']}
        ours, theirs = (httpx.get(f"{one}/federate", params=matchers, trust_env=False).text for one in (hub, url))
        assert ours == theirs
        pages.append(ours)
    assert [page.count("\n") for page in pages] == [8, 4, 0, 0, 2]

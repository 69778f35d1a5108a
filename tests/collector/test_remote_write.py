"""Remote write in: what is answered is durable, what is refused is told, everything has a bound."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from structlog.testing import capture_logs

from peerwatch.collector.remote_write.config import RemoteWriteConfig
from peerwatch.collector.remote_write.door import RemoteWriteEndpoint
from peerwatch.collector.remote_write.metrics import RemoteWriteMetrics
from peerwatch.collector.remote_write.receiver import RemoteWriteReceiver
from peerwatch.errors import ConfigError
from peerwatch.model import STALE, STALE_BITS, Labels, MetricType
from peerwatch.testing.sample_store import MemorySampleStore
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.snappy import announced_bytes
from tests.collector.kit import EPOCH, Hub
from tests.wire.remote_kit import Sent, request_v1, request_v2, series_v1, snappy

V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
WRITTEN = "x-prometheus-remote-write-samples-written"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Refusals are logged."""
    with capture_logs():
        yield


class Writer:
    """A hub's door for remote writers, over ASGI."""

    def __init__(
        self, folder: Path, store: MemorySampleStore | None = None, limits: WireLimits | None = None, **config: int
    ) -> None:
        self.hub = Hub(folder, store)
        self.store = self.hub.store
        bounds, settings = limits or WireLimits(), RemoteWriteConfig(**config)
        horizon = lambda: self.store.horizon_ms  # noqa: E731
        receiver = RemoteWriteReceiver(self.hub.collector.committer, settings, bounds, 600_000, horizon, self.hub.clock)
        metrics = RemoteWriteMetrics(self.hub.registry, lambda: receiver.series, settings.max_series)
        self.endpoint = RemoteWriteEndpoint(receiver, bounds, settings.max_bodies, metrics)

    def post(self, *bodies: bytes, kind: str = V1, method: str = "POST", **headers: str) -> list[httpx.Response]:
        """The answers to these requests, one after the other."""
        sent = {"content-type": kind, "content-encoding": "snappy", **headers}

        async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
            return [await client.request(method, "/api/v1/write", content=body, headers=sent) for body in bodies]

        return self.tell(story)

    def tell(self, story: Callable[[httpx.AsyncClient], Awaitable[list[httpx.Response]]]) -> list[httpx.Response]:
        """Run a story while the hub runs."""

        async def told() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.endpoint)
            async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
                return await story(client)

        return self.hub.run(told)

    def metric(self, name: str, **labels: str) -> float:
        """A metric of remote write."""
        return self.hub.registry.get_sample_value(f"peerwatch_remote_write_{name}", labels) or 0.0


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A door with the default settings."""
    return Writer(tmp_path)


def scrape(at_ms: int, count: int = 3, first: int = 0, **more: str) -> list[Sent]:
    """A target's samples, all at one time."""
    return [
        (Labels.of(__name__="m", row=str(row), instance="a", job="j", **more), [(at_ms, float(row))])
        for row in range(first, first + count)
    ]


@pytest.mark.parametrize(("request_of", "kind"), [(request_v1, V1), (request_v2, V2)])
def test_what_is_acknowledged_is_in_the_store(writer: Writer, request_of: Callable[..., bytes], kind: str) -> None:
    """204, the number of samples, the version; every value with its bits, stale markers too."""
    sent = [*scrape(EPOCH), (Labels.of(__name__="gone"), [(EPOCH, float(STALE))])]
    [answer] = writer.post(request_of(*sent), kind=kind)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers[WRITTEN] == "4"
    assert answer.headers["x-prometheus-remote-write-histograms-written"] == "0"
    assert answer.headers["x-prometheus-remote-write-exemplars-written"] == "0"
    assert answer.headers["x-prometheus-remote-write-version"] == ("0.1.0" if kind == V1 else "2.0.0")
    for labels, samples in sent:
        bits = {time_ms: int(np.float64(value).view(np.uint64)) for time_ms, value in samples}
        assert writer.store.cells[labels] == bits
    assert writer.store.cells[Labels.of(__name__="gone")] == {EPOCH: STALE_BITS}
    assert (writer.metric("samples_total"), writer.metric("series")) == (4, 4)


def test_a_scrape_that_comes_in_parts_and_out_of_order_is_whole(writer: Writer) -> None:
    """One layout for the series of a scrape, whatever part of it a request holds, and in whatever order of time."""
    whole = scrape(EPOCH, 9)
    bodies = [request_v1(*whole)]
    for at in (3, 1, 2):
        parts = scrape(EPOCH + at, 9)
        bodies += [request_v1(*parts[4:]), request_v1(*parts[:4])]
    answers = writer.post(*bodies)
    assert [answer.status_code for answer in answers] == [204] * 7
    for row in range(9):
        assert writer.store.samples(whole[row][0]) == {EPOCH + at: float(row) for at in range(4)}
    assert writer.store.layouts_made == 1


def test_a_backlog_of_scrapes_in_one_request_is_one_layout(writer: Writer) -> None:
    """A sender that catches up repeats each series for each of its samples."""
    backlog = [one for at in range(4) for one in scrape(EPOCH + 1000 * at, 9)]
    bodies = [request_v1(*backlog[:30]), request_v1(*backlog[30:])]
    assert [answer.status_code for answer in writer.post(*bodies)] == [204, 204]
    assert (writer.store.cell_count, writer.store.layouts_made) == (36, 1)


def test_a_nameless_series_is_refused_with_all_its_samples(writer: Writer) -> None:
    """However often it comes in a request."""
    nameless = Labels.of(a="b")
    [answer] = writer.post(request_v1((nameless, [(EPOCH, 1.0)]), (nameless, [(EPOCH + 1, 1.0)])))
    text = "2 of 2 samples refused (invalid_labels 2): series without __name__: {'a': 'b'}\n"
    assert (answer.status_code, answer.text) == (400, text)


def test_series_that_do_not_come_together_part(writer: Writer) -> None:
    """Two hundred series with times of their own: no matrix of gaps; every sample is stored all the same."""
    rows = 200
    bodies = [request_v1(*scrape(EPOCH, rows))]
    for turn in range(1, 6):
        own = [
            (labels, [(EPOCH + 1000 * turn + row, float(turn))]) for row, (labels, _) in enumerate(scrape(EPOCH, rows))
        ]
        bodies.append(request_v1(*own))
    assert [answer.status_code for answer in writer.post(*bodies)] == [204] * 6
    assert writer.store.cell_count == 6 * rows
    assert writer.store.layouts_made == 1 + rows


def test_the_same_sample_twice_is_one_and_of_two_values_the_larger_pattern_stays(writer: Writer) -> None:
    """Within a request as between requests: the store's rule, in any order."""
    labels = Labels.of(__name__="m")
    bodies = [request_v1((labels, [(EPOCH, 2.0)]), (labels, [(EPOCH, 3.0)]), (labels, [(EPOCH, 1.0)]))]
    bodies += [request_v1((labels, [(EPOCH, 2.5), (EPOCH + 1, 1.0)]))]
    assert [answer.status_code for answer in writer.post(*bodies)] == [204, 204]
    assert writer.store.samples(labels) == {EPOCH: 3.0, EPOCH + 1: 1.0}


def test_labels_in_another_order_are_the_same_series(writer: Writer) -> None:
    """A sender that does not sort is understood."""
    labels = Labels.of(__name__="m", a="1", b="2")
    turned = Labels(reversed(labels))
    bodies = [
        request_v1((labels, [(EPOCH, 1.0)]), (turned, [(EPOCH + 5, 2.0)])),
        request_v1((turned, [(EPOCH + 6, 3.0)])),
    ]
    assert [answer.status_code for answer in writer.post(*bodies)] == [204, 204]
    assert writer.store.samples(labels) == {EPOCH: 1.0, EPOCH + 5: 2.0, EPOCH + 6: 3.0}


def test_what_cannot_be_stored_is_told_and_the_rest_is_stored(writer: Writer) -> None:
    """400 with the reasons and numbers, and how many samples were written."""
    writer.store.horizon_ms = EPOCH - 1000
    wrong = pb.Histogram(schema=9999, timestamp_ms=EPOCH).SerializeToString()
    native = series_v1(Labels.of(__name__="h"), [], histograms=[wrong]).SerializeToString()
    good = [series_v1(*one).SerializeToString() for one in scrape(EPOCH)]
    bad = [
        series_v1(Labels.of(a="nameless"), [(EPOCH, 1.0)]).SerializeToString(),
        series_v1(Labels.of(__name__="m", row="0"), [(EPOCH + 600_001, 1.0)]).SerializeToString(),
        series_v1(Labels.of(__name__="m", row="0"), [(EPOCH - 1001, 1.0)]).SerializeToString(),
    ]
    [answer] = writer.post(snappy(pb.WriteV1(timeseries=[native, *good, *bad])))
    assert (answer.status_code, answer.headers[WRITTEN]) == (400, "3")
    assert answer.text == (
        "4 of 7 samples refused (future 1, histogram 1, invalid_labels 1, too_old 1): "
        f"native histogram at {EPOCH} ms: its schema is not -4 to 8, nor -53\n"
    )
    assert writer.store.cell_count == 3
    assert writer.metric("refused_samples_total", reason="histogram") == 1
    assert writer.metric("requests_total", status="400") == 1


def test_a_writer_cannot_bring_more_series_than_allowed(tmp_path: Path) -> None:
    """Those that were there go on; the limit is told; after two hours without them there is room again."""
    writer = Writer(tmp_path, max_series=4)

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        async def send(*sent: Sent) -> httpx.Response:
            return await client.post("/api/v1/write", content=request_v1(*sent), headers={"content-type": V1})

        answers = [await send(*scrape(EPOCH, 3)), await send(*scrape(EPOCH + 1, 6))]
        writer.hub.clock.advance(3600)
        answers.append(await send(*scrape(EPOCH + 3_600_000, 2)))
        writer.hub.clock.advance(3600)
        return [*answers, await send(*scrape(EPOCH + 7_200_000, 2, first=8))]

    answers = writer.tell(story)
    assert [(answer.status_code, answer.headers[WRITTEN]) for answer in answers] == [
        (204, "3"),
        (400, "4"),
        (204, "2"),
        (204, "2"),
    ]
    limit = "2 of 6 samples refused (series_limit 2): 4 series within an hour or two, limit remote_write.max_series\n"
    assert answers[1].text == limit


def test_the_store_learns_what_metrics_mean(writer: Writer) -> None:
    """2.0 says it beside the series; 1.0 later and by family, for series that are there and for those to come."""
    counter = (MetricType.COUNTER, "How many.", "")
    later = Labels.of(__name__="later_total")
    histogram = (MetricType.HISTOGRAM, "How long.", "s")
    bucket, total = Labels.of(__name__="h_bucket", le="1"), Labels.of(__name__="h_sum")
    bodies = [
        request_v1((bucket, [(EPOCH, 1.0)])),
        request_v1(families={"h": histogram, "other": counter}),
        request_v1((total, [(EPOCH, 1.0)])),
    ]
    second = [
        request_v2((later, [(EPOCH, 1.0)])),
        request_v2((later, [(EPOCH + 1, 1.0)]), meaning=counter),
        request_v2((Labels.of(__name__="new"), [(EPOCH, 1.0)]), meaning=counter),
    ]

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        calls = [(body, V1) for body in bodies] + [(body, V2) for body in second]
        return [
            await client.post("/api/v1/write", content=body, headers={"content-type": kind}) for body, kind in calls
        ]

    assert [answer.status_code for answer in writer.tell(story)] == [204] * 6
    learnt = {
        series.labels.metric: (series.type, series.help, series.unit)
        for layout in writer.store.layouts()
        for series in layout.series
    }
    assert learnt == {"h_bucket": histogram, "h_sum": histogram, "later_total": counter, "new": counter}


@pytest.mark.parametrize(
    ("kind", "encoding", "status"),
    [
        ("text/plain", "snappy", 415),
        ("application/json", "snappy", 415),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", 415),
        (V1, "gzip", 415),
        (V1, "", 415),
        ("application/x-protobuf; proto=prometheus.WriteRequest", "Snappy", 204),
        ('application/x-protobuf; charset=utf-8; proto="io.prometheus.write.v2.Request"', "snappy", 204),
        ("", "snappy", 204),
    ],
)
def test_the_content_type_says_which_message(writer: Writer, kind: str, encoding: str, status: int) -> None:
    """Whatever else than the two messages in Snappy is 415: a sender of 2.0 then falls back to 1.0."""
    body = request_v2() if "v2" in kind else request_v1()
    [answer] = writer.post(body, kind=kind, **{"content-encoding": encoding})
    assert answer.status_code == status, answer.text


def test_junk_is_refused_for_good(writer: Writer) -> None:
    """400 and nothing written; another method is 405."""
    [answer] = writer.post(b"junk")
    assert (answer.status_code, answer.headers[WRITTEN]) == (400, "0")
    [answer] = writer.post(b"", method="GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_large_request_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """By its announced length, or when it has grown past the limit."""
    writer = Writer(tmp_path, limits=WireLimits(max_request_bytes=1000))

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        async def endless() -> Any:
            while True:
                yield bytes(300)

        headers = {"content-type": V1, "content-encoding": "snappy"}
        said = await client.post("/api/v1/write", content=bytes(1001), headers=headers)
        return [said, await client.post("/api/v1/write", content=endless(), headers=headers)]

    texts = [(answer.status_code, answer.text) for answer in writer.tell(story)]
    assert texts == [
        (413, "request of 1001 bytes or more, limit 1000\n"),
        (413, "request of 1200 bytes or more, limit 1000\n"),
    ]


def test_bodies_are_bounded_together(tmp_path: Path) -> None:
    """While one is under way the next must wait, unpacked sizes counted; then there is room again."""
    body = request_v1(*scrape(EPOCH, 20))
    unpacked = announced_bytes(body)
    writer = Writer(tmp_path, limits=WireLimits(max_body_bytes=unpacked + len(body)), max_bodies=1)

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers: list[httpx.Response] = []

        async def send() -> None:
            answers.append(await client.post("/api/v1/write", content=body, headers={"content-type": V1}))

        writer.store.pause()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await send()
            writer.store.resume()
        await send()
        return answers

    answers = writer.tell(story)
    assert [answer.status_code for answer in answers] == [503, 204, 204]
    assert (answers[0].headers["retry-after"], "bytes in memory, limit" in answers[0].text) == ("2", True)


def test_a_hub_that_cannot_store_asks_to_come_again(writer: Writer) -> None:
    """503 with a wait: Prometheus repeats that, and repeated samples are stored once."""
    writer.store.fail()
    failed, stored = writer.post(*[request_v1(*scrape(EPOCH))] * 2)
    assert (failed.status_code, failed.headers["retry-after"], failed.headers[WRITTEN]) == (503, "2", "0")
    assert (stored.status_code, writer.store.cell_count) == (204, 3)


def test_a_layout_that_cannot_be_made_asks_to_come_again(writer: Writer) -> None:
    """The dictionary's disk is the same disk."""
    writer.store.fail_layout()
    failed, stored = writer.post(*[request_v1(*scrape(EPOCH))] * 2)
    assert (failed.status_code, stored.status_code) == (503, 204)


def test_bytes_of_a_stale_marker_survive_python(writer: Writer) -> None:
    """The marker is a signalling NaN: a float that went through arithmetic would be quiet."""
    labels = Labels.of(__name__="m")
    marker = struct.pack("<Q", STALE_BITS)
    several = b"".join(b"\x12\x10\x09" + marker + b"\x10" + bytes(_varint(EPOCH + at)) for at in range(2))
    head = series_v1(labels, []).SerializeToString()
    writer.post(snappy(pb.WriteV1(timeseries=[head + several, head + several + b"\x1a\x00"])))
    assert writer.store.cells[labels] == {EPOCH: STALE_BITS, EPOCH + 1: STALE_BITS}


def _varint(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def test_settings_that_cannot_work_are_refused() -> None:
    """With their path."""
    with pytest.raises(ConfigError, match=r"remote_write\.max_series is 0, must be above 0"):
        RemoteWriteConfig(max_series=0)

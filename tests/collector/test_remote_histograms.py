"""Native histograms and start timestamps by remote write: durable with all their parts, or refused as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from peerwatch.model import KEY_BIAS, Labels, SeriesSet
from peerwatch.model.assembly import assemble
from peerwatch.model.parts import part_of
from peerwatch.wire import remote_pb2 as pb
from tests.collector.kit import EPOCH
from tests.collector.test_remote_write import V1, V2, WRITTEN, Writer
from tests.model.native import MARKER, Native, bits, series_set, told
from tests.wire.remote_kit import SentNative, request_v1, request_v2, snappy

HISTOGRAMS_WRITTEN = "x-prometheus-remote-write-histograms-written"
H = Labels.of(__name__="h", instance="a", job="j")
ONE = Native(3, 1, 5.0, 1.25, 1.0, 0.5, ((-KEY_BIAS - 2, 1.0), (KEY_BIAS, 3.0)))
TWO = Native(3, 1, 9.0, 2.5, 1.0, 0.5, ((-KEY_BIAS - 2, 1.0), (KEY_BIAS, 3.0), (KEY_BIAS + 7, 4.0)))
CUSTOM = Native(-53, 0, 2.0, 1.0, buckets=((KEY_BIAS + 1, 2.0),), bounds=(0.5, 1.0))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Refusals are logged."""
    with capture_logs():
        yield


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """A door with the default settings."""
    return Writer(tmp_path)


def request(*sent: SentNative, version: str = V1) -> bytes:
    """Each histogram in a series of its own; in 2.0 all began at EPOCH - 5."""
    return request_v1(natives=sent) if version == V1 else request_v2(natives=sent, start_ms=EPOCH - 5)


def found(writer: Writer) -> dict[Labels, dict[int, tuple[object, int]]]:
    """What a read of the store gives."""
    cells: SeriesSet = series_set(writer.store.cells)
    return told(assemble(cells))


@pytest.mark.parametrize("version", [V1, V2])
def test_what_is_acknowledged_is_in_the_store(writer: Writer, version: str) -> None:
    """Any layouts and forms, stale markers; the answer says how many were histograms."""
    other = Labels.of(__name__="other", instance="a", job="j")
    sent = [(H, ONE, EPOCH), (H, TWO, EPOCH + 1), (other, CUSTOM, EPOCH), (H, MARKER, EPOCH + 2)]
    [answer] = writer.post(request(*sent, version=version), kind=version)
    assert (answer.status_code, answer.headers[WRITTEN], answer.headers[HISTOGRAMS_WRITTEN]) == (204, "0", "4")
    expected: dict[Labels, dict[int, tuple[object, int]]] = {}
    for labels, native, at in sent:
        expected.setdefault(labels, {})[at] = (native.told, 0 if version == V1 else EPOCH - 5)
    assert found(writer) == expected
    assert (writer.metric("histograms_total"), writer.metric("samples_total")) == (4, 0)


def test_a_series_may_bring_both(writer: Writer) -> None:
    """A metric that becomes a native histogram; numbers and histograms are counted apart."""
    bodies = [request_v1((H, [(EPOCH, 1.0)])), request((H, ONE, EPOCH + 1))]
    assert [answer.status_code for answer in writer.post(*bodies)] == [204, 204]
    assert found(writer) == {H: {EPOCH: (bits(1.0), 0), EPOCH + 1: (ONE.told, 0)}}
    assert (writer.metric("histograms_total"), writer.metric("samples_total")) == (1, 1)


def test_a_steady_histogram_makes_one_layout(writer: Writer) -> None:
    """Its parts are one group; a new bucket makes one more, of the new part only."""
    bodies = [request((H, ONE, EPOCH + at)) for at in range(4)]
    bodies += [request((H, TWO, EPOCH + at)) for at in range(4, 8)]
    assert {answer.status_code for answer in writer.post(*bodies)} == {204}
    assert [len(layout.series) for layout in writer.store.layouts()] == [7, 1]
    expected = {EPOCH + at: ((ONE if at < 4 else TWO).told, 0) for at in range(8)}
    assert found(writer) == {H: expected}
    assert writer.metric("series") == 8


def test_histograms_that_do_not_come_together_part(writer: Writer) -> None:
    """Series with times of their own end in groups of their own; nothing is lost on the way."""
    rows, turns = 60, 12
    labels = [Labels.of(__name__="h", row=str(row), instance="a", job="j") for row in range(rows)]
    bodies = [
        request(*((one, ONE, EPOCH + 1000 * turn + row * (turn > 0)) for row, one in enumerate(labels)))
        for turn in range(turns)
    ]
    assert {answer.status_code for answer in writer.post(*bodies)} == {204}
    assert writer.store.layouts_made == 1 + rows
    assert all(len(samples) == turns for samples in found(writer).values())


def test_what_is_wrong_is_refused_as_a_whole_and_the_rest_stored(writer: Writer) -> None:
    """Each histogram that is not stored counts once, however many parts it has."""
    writer.store.horizon_ms = EPOCH - 1000
    nameless = Labels.of(a="b")
    bad = [(H, ONE, EPOCH + 600_001), (H, ONE, EPOCH - 1001), (nameless, ONE, EPOCH)]
    bad.append((H, Native(count=-1.0), EPOCH))
    [answer] = writer.post(request((H, ONE, EPOCH), *bad, (H, TWO, EPOCH + 1)))
    assert (answer.status_code, answer.headers[HISTOGRAMS_WRITTEN]) == (400, "2")
    assert answer.text == (
        "4 of 6 samples refused (future 1, histogram 1, invalid_labels 1, too_old 1): "
        f"native histogram at {EPOCH} ms: a count is negative\n"
    )
    assert found(writer) == {H: {EPOCH: (ONE.told, 0), EPOCH + 1: (TWO.told, 0)}}


def test_every_part_counts_for_the_limit_of_series(tmp_path: Path) -> None:
    """A histogram of which a part has no room is refused whole; those that were there go on."""
    writer = Writer(tmp_path, max_series=7)
    answers = writer.post(request((H, ONE, EPOCH)), request((H, TWO, EPOCH + 1)), request((H, ONE, EPOCH + 2)))
    assert [(answer.status_code, answer.headers[HISTOGRAMS_WRITTEN]) for answer in answers] == [
        (204, "1"),
        (400, "0"),
        (204, "1"),
    ]
    assert answers[1].text.startswith("1 of 1 samples refused (series_limit 1): 7 series within")
    assert found(writer) == {H: {EPOCH: (ONE.told, 0), EPOCH + 2: (ONE.told, 0)}}


def test_places_are_found_again_after_hours(writer: Writer) -> None:
    """The series table forgets by the hour what is not written; what is stays where it was."""

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers = []
        for at in range(5):
            body = request((H, ONE, EPOCH + 1_800_000 * at))
            answers.append(await client.post("/api/v1/write", content=body, headers={"content-type": V1}))
            writer.hub.clock.advance(1800)
        return answers

    assert {answer.status_code for answer in writer.tell(story)} == {204}
    assert (writer.store.layouts_made, writer.metric("series")) == (1, 7)
    assert len(found(writer)[H]) == 5


def test_what_came_bucket_by_bucket_comes_together_within_an_hour(writer: Writer) -> None:
    """Late buckets are groups of their own until then; nothing is lost on the way."""
    grown = [
        Native(3, 0, float(count), 1.0, buckets=tuple((KEY_BIAS + at, 1.0) for at in range(count)))
        for count in range(1, 11)
    ]
    later = EPOCH + 3_600_000

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        async def send(native: Native, at: int) -> httpx.Response:
            body = request((H, native, at))
            return await client.post("/api/v1/write", content=body, headers={"content-type": V1})

        answers = [await send(native, EPOCH + at) for at, native in enumerate(grown)]
        writer.hub.clock.advance(3600)
        return [*answers, *[await send(grown[-1], later + at) for at in range(3)]]

    assert {answer.status_code for answer in writer.tell(story)} == {204}
    assert [len(layout.series) for layout in writer.store.layouts()] == [4, *[1] * 9, 13]
    whole = {EPOCH + at: (native.told, 0) for at, native in enumerate(grown)}
    assert found(writer) == {H: whole | {later + at: (grown[-1].told, 0) for at in range(3)}}
    assert writer.metric("series") == 13


def test_a_number_s_start_is_stored_beside_it(tmp_path: Path) -> None:
    """As a part of its own; where there is no room for that, the number is stored all the same and the start told."""
    writer = Writer(tmp_path, max_series=3)
    names = ("m", "n")
    symbols = ["", "__name__", *names]
    series = [
        pb.SeriesV2(labels_refs=[1, 2 + at], samples=[pb.Sample(timestamp_ms=EPOCH, value=1.0, start_ms=EPOCH - 9)])
        for at in range(2)
    ]
    body = snappy(pb.WriteV2(symbols=symbols, timeseries=[one.SerializeToString() for one in series]))
    [answer] = writer.post(body, kind=V2)
    assert (answer.status_code, answer.headers[WRITTEN]) == (400, "2")
    assert "1 of 3 samples refused (series_limit 1)" in answer.text
    m, n = (Labels.of(__name__=name) for name in names)
    assert found(writer) == {m: {EPOCH: (bits(1.0), EPOCH - 9)}, n: {EPOCH: (bits(1.0), 0)}}
    assert part_of(m, "start") in writer.store.cells


def test_parts_cannot_be_forged(writer: Writer) -> None:
    """Labels that begin with a NUL are nobody's but the store's."""
    [answer] = writer.post(request_v1((part_of(H, "count"), [(EPOCH, 1.0)])))
    assert (answer.status_code, "label name '\\x00part' is reserved" in answer.text) == (400, True)
    assert writer.store.cell_count == 0

"""Remote write requests of both versions come out as they went in, usual or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.model import STALE, Labels, MetricType, is_stale
from peerwatch.wire import remote_pb2 as pb
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.remote_write import Written, decode_write_v1, decode_write_v2, labels_of_key
from tests.wire.remote_kit import Sent, request_v1, request_v2, series_v1, snappy
from tests.wire.strategies import BITS, WORDS

Decode = Callable[..., Written]
VERSIONS = [(request_v1, decode_write_v1), (request_v2, decode_write_v2)]
NOW = 1_700_000_000_000

TIMES = st.one_of(st.integers(NOW, NOW + 10**6), st.integers(-(2**62), 2**62), st.just(0))
VALUES = st.one_of(st.just(0.0), BITS.map(lambda bits: float(np.uint64(bits).view(np.float64))))
LABELS = st.dictionaries(WORDS, WORDS, max_size=4).map(lambda pairs: Labels.of({**pairs, "__name__": "m" * 50}))
SERIES = st.tuples(LABELS, st.lists(st.tuples(TIMES, VALUES), max_size=4))


def content(written: Written) -> list[tuple[Labels, int, int]]:
    """(labels, time, bits of the value) of all samples, sorted."""
    labels = [labels_of_key(key) for key in written.keys]
    bits = written.values.view(np.uint64).tolist()
    return sorted(zip([labels[row] for row in written.rows], written.times_ms.tolist(), bits, strict=True))


def told(sent: Sequence[Sent]) -> list[tuple[Labels, int, int]]:
    return sorted(
        (labels, time_ms, int(np.float64(value).view(np.uint64)))
        for labels, samples in sent
        for time_ms, value in samples
    )


@pytest.mark.parametrize(("request_of", "decode"), VERSIONS)
@given(sent=st.lists(SERIES, max_size=6))
def test_every_sample_comes_out_bit_for_bit(request_of: Callable[..., bytes], decode: Decode, sent: list[Sent]) -> None:
    """Any times, any bit patterns, none, one or several samples a series, any labels."""
    assert content(decode(request_of(*sent))) == told(sent)


STARTS = st.one_of(st.just(0), st.integers(NOW - 10**9, NOW), st.integers(-(2**62), 2**62))


@given(st.lists(st.lists(st.tuples(TIMES, VALUES, STARTS), max_size=3), max_size=6), st.booleans())
def test_starts_come_out_beside_their_samples(sent: list[list[tuple[int, float, int]]], with_meaning: bool) -> None:
    """None, one or several samples a series, with and without metadata behind; no column where nothing has a start."""
    meaning = pb.SeriesMeaning(type=MetricType.COUNTER) if with_meaning else None
    series = [
        pb.SeriesV2(
            labels_refs=[1, 2],
            samples=[pb.Sample(timestamp_ms=at, value=value, start_ms=start) for at, value, start in samples],
            metadata=meaning,
        ).SerializeToString()
        for samples in sent
    ]
    written = decode_write_v2(snappy(pb.WriteV2(symbols=["", "__name__", "m"], timeseries=series)))
    expected = sorted(
        (row, at, int(np.float64(value).view(np.uint64)), start)
        for row, samples in enumerate(sent)
        for at, value, start in samples
    )
    if not any(start for *_, start in expected):
        assert written.starts_ms is None
    starts = np.zeros(len(written.rows), np.int64) if written.starts_ms is None else written.starts_ms
    columns = (written.rows, written.times_ms, written.values.view(np.uint64), starts)
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert with_meaning or not written.meant


@pytest.mark.parametrize(("request_of", "decode"), VERSIONS)
def test_many_series_with_many_symbols(request_of: Callable[..., bytes], decode: Decode) -> None:
    """References of one, two and three bytes; samples of both sizes; stale markers."""
    values = [0.0, 1.5, float(STALE)]
    sent = [
        (Labels.of(__name__="m_total", n=str(at), long="x" * (at % 300 + 1)), [(NOW + at, values[at % 3])])
        for at in range(9_000)
    ]
    written = decode(request_of(*sent))
    assert content(written) == told(sent)
    assert int(is_stale(written.values).sum()) == 3_000


def test_a_series_has_one_key_however_its_sender_orders_the_fields() -> None:
    """Samples before labels are legal protobuf, and the same series."""
    labels = Labels.of(__name__="m", a="b")
    usual = series_v1(labels, [(NOW, 1.0)]).SerializeToString()
    head = series_v1(labels, []).SerializeToString()
    turned = usual[len(head) :] + head
    written = decode_write_v1(snappy(pb.WriteV1(timeseries=[usual, turned])))
    assert written.keys[0] == written.keys[1]
    assert (written.rows.tolist(), written.values.tolist()) == ([0, 1], [1.0, 1.0])


def test_meanings_come_by_family_or_with_the_series() -> None:
    """1.0 sends them apart, 2.0 beside the labels; a series without one has none."""
    told = (MetricType.COUNTER, "How many.", "bytes")
    assert decode_write_v1(request_v1(families={"m": told})).families == {"m": told}
    sent = (Labels.of(__name__="m"), [(NOW, 1.0)])
    assert decode_write_v2(request_v2(sent, meaning=told)).meaning(0) == told
    assert decode_write_v2(request_v2(sent)).meaning(0) is None


def test_exemplars_are_counted() -> None:
    """They are no samples; native histograms come beside those (test_remote_histograms.py)."""
    series = series_v1(Labels.of(__name__="m"), [(NOW, 1.0)], histograms=[b"", b""], exemplars=[b""])
    written = decode_write_v1(snappy(pb.WriteV1(timeseries=[series.SerializeToString()])))
    assert (len(written.values), len(written.histograms), written.exemplars) == (1, 2, 1)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"a": "b"}, "series without __name__"),
        ({"__name__": "m", "a" * 257: "b"}, "label name of 257 bytes, limit 256"),
        ({"__name__": "m", "a": "b" * 4097}, "value of label 'a' of 4097 bytes, limit 4096"),
        ({"__name__": "m", **{f"l{n:03}": "x" for n in range(64)}}, "series with 65 labels, limit 64"),
        ({"__name__": "m", "": "b"}, "a label without a name"),
        ({"__name__": "m", "\0part": "count"}, r"label name '\\x00part' is reserved"),
    ],
)
@pytest.mark.parametrize(("request_of", "decode"), VERSIONS)
def test_labels_have_the_limits_of_every_other_way_in(
    request_of: Callable[..., bytes], decode: Decode, pairs: dict[str, str], message: str
) -> None:
    """The request is read; the series is refused with words."""
    written = decode(request_of((Labels(sorted(pairs.items())), [(NOW, 1.0)])))
    with pytest.raises(DecodeError, match=message):
        labels_of_key(written.keys[0])


def test_a_label_that_comes_twice_is_refused_and_an_empty_one_left_out() -> None:
    """As in Prometheus."""
    with pytest.raises(DecodeError, match="a label comes twice"):
        labels_of_key(("__name__", "m", "a", "1", "a", "2"))
    assert labels_of_key(("b", "2", "__name__", "m", "a", "")) == Labels.of(__name__="m", b="2")


BOMB = bytes(cramjam.snappy.compress_raw(bytes(4096)))


@pytest.mark.parametrize(
    ("decode", "body", "message"),
    [
        (decode_write_v1, b"", "snappy"),
        (decode_write_v1, b"\xff\xff\xff\xff\x0f", "snappy block announces 4294967295 bytes, limit 4000"),
        (decode_write_v1, BOMB, "snappy block announces 4096 bytes, limit 4000"),
        (decode_write_v1, bytes(cramjam.snappy.compress_raw(b"\x0a\x05abc")), "WriteV1 of 5 bytes is not protobuf"),
        (decode_write_v1, snappy(pb.WriteV1(timeseries=[b"\x0a\x7f"])), "SeriesV1 of 2 bytes is not protobuf"),
        (decode_write_v1, request_v1(*[(Labels.of(__name__="m"), [(NOW, 1.0)])] * 9), "request of 9 samples, limit 8"),
        (
            decode_write_v1,
            request_v1((Labels.of(__name__="m"), [(1, 1.0)] * 9)),
            "request of 9 samples or more, limit 8",
        ),
        (decode_write_v1, request_v1(*[(Labels(), [])] * 21), "request of 21 series and 0 families, limit 20"),
        (decode_write_v2, snappy(pb.WriteV2(symbols=["a"], timeseries=[b""])), "symbols must begin with the empty"),
        (decode_write_v2, snappy(pb.WriteV2(symbols=[""], timeseries=[b"\x0a\x02\x00\x07"])), "symbol 7 of 1"),
        (decode_write_v2, snappy(pb.WriteV2(symbols=[""], timeseries=[b"\x0a\x01\x00"])), "1 label references"),
        (
            decode_write_v2,
            snappy(pb.WriteV2(symbols=[""], timeseries=[b"\x0a\x02\x00\x80\x12\x07\x10\x80\x80\x80\x80\x80\x20"])),
            "a label reference is cut short",
        ),
    ],
)
def test_what_is_no_request_or_too_much_is_refused(decode: Decode, body: bytes, message: str) -> None:
    """Always a DecodeError that says what and how much, before memory is spent on it."""
    with pytest.raises(DecodeError, match=message):
        decode(body, WireLimits(max_body_bytes=4000, max_cells=8, max_series=20))


@pytest.mark.parametrize("decode", [decode_write_v1, decode_write_v2])
@given(body=st.binary(max_size=200))
def test_bytes_are_read_or_refused(decode: Decode, body: bytes) -> None:
    """Nothing else than a DecodeError, whatever a request holds; the keys that come out are labels or refused too."""
    try:
        written = decode(bytes(cramjam.snappy.compress_raw(body)))
        for key in written.keys:
            labels_of_key(key)
    except DecodeError:
        pass


@pytest.mark.parametrize(("request_of", "decode"), VERSIONS)
@given(data=st.data())
def test_a_damaged_request_is_read_or_refused(
    request_of: Callable[..., bytes], decode: Decode, data: st.DataObject
) -> None:
    """Any byte of a good request may be another, any cut made."""
    sent = [(Labels.of(__name__="m", a="b"), [(NOW, 1.0)]), (Labels.of(__name__="n"), [(NOW, 0.0), (NOW + 1, 2.0)])]
    raw = bytearray(bytes(cramjam.snappy.decompress_raw(request_of(*sent))))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    try:
        for key in decode(bytes(cramjam.snappy.compress_raw(bytes(raw)))).keys:
            labels_of_key(key)
    except DecodeError:
        pass

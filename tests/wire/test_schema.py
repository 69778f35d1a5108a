"""A schema is what its name says, whole or told as a change."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.model import Labels, Series
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.schema import MissingBaseError, Schema, decode_schema, encode_delta, encode_schema
from tests.wire.strategies import series_lists


@given(st.integers(1, 5).flatmap(series_lists))
def test_round_trip(series: tuple[Series, ...]) -> None:
    """Labels, type, help and unit come back, in order."""
    schema = Schema.of(series)
    assert decode_schema(encode_schema(schema)) == schema


@given(series_lists(6), st.sets(st.integers(0, 5), min_size=1), st.sets(st.integers(0, 5), min_size=1))
def test_a_delta_gives_the_same_schema(pool: tuple[Series, ...], before: set[int], after: set[int]) -> None:
    """From any base to any other selection in the same order."""
    base = Schema.of([pool[i] for i in sorted(before)])
    target = Schema.of([pool[i] for i in sorted(after)])
    record = encode_delta(base, target)
    assert record is not None
    assert decode_schema(record, {base.id: base}.get) == target


def test_a_delta_for_one_new_series_is_small() -> None:
    """One container among 300 series costs its own labels, not 300 (design, road of a sample 2)."""
    series = [Series(Labels.of(__name__="m", row=str(i)), help="a help text of some length") for i in range(300)]
    record = encode_delta(Schema.of(series[:-1]), Schema.of(series))
    assert record is not None
    assert len(record) < 120


def test_a_change_of_order_is_told_whole() -> None:
    """A delta cannot say that kept rows moved."""
    one, two = Series(Labels.of(__name__="a")), Series(Labels.of(__name__="b"))
    assert encode_delta(Schema.of([one, two]), Schema.of([two, one])) is None


def test_an_unknown_base_is_asked_for() -> None:
    """The reader learns that it must ask for the whole schema."""
    one, two = Series(Labels.of(__name__="a")), Series(Labels.of(__name__="b"))
    record = encode_delta(Schema.of([one]), Schema.of([one, two]))
    assert record is not None
    with pytest.raises(MissingBaseError):
        decode_schema(record)


def _record(*label_sets: list[tuple[str, str]], schema_id: bytes = b"") -> bytes:
    series = [
        pb.SeriesDescriptor(labels=[pb.Label(name=name, value=value) for name, value in labels])
        for labels in label_sets
    ]
    return pb.SchemaRecord(id=schema_id, whole=pb.Schema(series=series)).SerializeToString()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (_record([("__name__", "m")], schema_id=b"x" * 16), "claims the name"),
        (_record([("a", "b")]), "series without __name__"),
        (_record([("b", "1"), ("__name__", "m")]), "not sorted"),
        (_record([("__name__", "m"), ("__name__", "m")]), "not sorted"),
        (_record([("__name__", "m"), ("a", "")]), "without a value"),
        (_record([("\0part", "sum"), ("__name__", "m")]), "'.x00part' is reserved"),
        (_record([("__name__", "m")], [("__name__", "m")]), "names a series twice"),
        (_record([("__name__", "m" * 5000)]), "value of label '__name__' of 5000 bytes, limit 4096"),
        (_record([("__name__", "m"), *((f"l{i:03}", "v") for i in range(80))]), "81 labels, limit 64"),
        (_record(*([("__name__", f"m{i}")] for i in range(60))), "schema of 60 series, allowed are 1 to 50"),
        (b"", "neither a schema nor a delta"),
    ],
)
def test_bad_schemas_say_why(record: bytes, words: str) -> None:
    """Label bombs and false names are refused with the thing, the value and the limit."""
    with pytest.raises(DecodeError, match=words.replace("(", r"\(")):
        decode_schema(record, limits=WireLimits(max_series=50))


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    """No input raises anything but DecodeError."""
    with contextlib.suppress(DecodeError):
        decode_schema(data)

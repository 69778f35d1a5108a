"""Schema: an ordered list of series, named by its hash. It travels once; batches then carry the name only."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from peerwatch.errors import DecodeError
from peerwatch.model import METRIC_NAME, RESERVED, Labels, MetricType, Series
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.signed import parse_message

SCHEMA_ID_BYTES = 16
_SHORT = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Schema:
    """`id` is the first 16 bytes of `digest`, the SHA-256 of the canonical form in docs/formats/batch.md."""

    series: tuple[Series, ...]
    digest: bytes

    @classmethod
    def of(cls, series: Sequence[Series]) -> Schema:
        """The schema of these series; order matters."""
        hasher = sha256()
        for one in series:
            hasher.update(_canonical(one))
        return cls(tuple(series), hasher.digest())

    @property
    def id(self) -> bytes:
        return self.digest[:SCHEMA_ID_BYTES]

    @property
    def rows(self) -> int:
        return len(self.series)


def _canonical(series: Series) -> bytes:
    parts = [_SHORT.pack(len(series.labels))]
    for pair in series.labels:
        parts.extend(_text(word) for word in pair)
    parts.append(bytes((series.type,)))
    parts.append(_text(series.help))
    parts.append(_text(series.unit))
    return b"".join(parts)


def _text(word: str) -> bytes:
    raw = word.encode()
    return _SHORT.pack(len(raw)) + raw


def encode_schema(schema: Schema) -> bytes:
    """A serialised SchemaRecord that holds the whole schema."""
    whole = pb.Schema(series=[_descriptor(series) for series in schema.series])
    return pb.SchemaRecord(id=schema.id, whole=whole).SerializeToString()


def encode_delta(base: Schema, schema: Schema) -> bytes | None:
    """A SchemaRecord that tells `schema` as a change of `base`; None where the kept series changed their order."""
    wanted = set(schema.series)
    removed = [row for row, series in enumerate(base.series) if series not in wanted]
    had = set(base.series)
    added_at = [row for row, series in enumerate(schema.series) if series not in had]
    kept = [series for series in base.series if series in wanted]
    if kept != [series for series in schema.series if series in had]:
        return None
    added = [_descriptor(schema.series[row]) for row in added_at]
    delta = pb.SchemaDelta(base=base.id, removed=removed, added_at=added_at, added=added)
    return pb.SchemaRecord(id=schema.id, delta=delta).SerializeToString()


def _descriptor(series: Series) -> pb.SeriesDescriptor:
    labels = [pb.Label(name=name, value=value) for name, value in series.labels]
    return pb.SeriesDescriptor(labels=labels, type=int(series.type), help=series.help, unit=series.unit)


class MissingBaseError(DecodeError):
    """A delta names a base that the reader does not have: ask for the whole schema."""


def decode_schema(
    raw: bytes,
    known: Callable[[bytes], Schema | None] = lambda _: None,
    limits: WireLimits = DEFAULT_LIMITS,
) -> Schema:
    """The schema that a SchemaRecord tells, after its content has been checked against its name.

    `known` finds the base of a delta. Raises DecodeError (MissingBaseError for an unknown base) for anything else
    than a valid record within `limits`.
    """
    if len(raw) > limits.max_envelope_bytes:
        raise DecodeError(f"schema of {len(raw)} bytes, limit {limits.max_envelope_bytes}")
    record = parse_message(pb.SchemaRecord, raw)
    kind = record.WhichOneof("content")
    if kind == "whole":
        _check_count(len(record.whole.series), limits)
        series = [_series(one, limits) for one in record.whole.series]
    elif kind == "delta":
        series = _apply_delta(record.delta, known, limits)
    else:
        raise DecodeError("schema record holds neither a schema nor a delta")
    if len(set(series)) != len(series) or len({one.labels for one in series}) != len(series):
        raise DecodeError("schema names a series twice")
    schema = Schema.of(series)
    if schema.id != record.id:
        raise DecodeError(f"schema claims the name {record.id.hex()[:64]}, its content hashes to {schema.id.hex()}")
    return schema


def schema_id_of(raw: bytes) -> bytes:
    """The name that a SchemaRecord claims, unchecked; for finding one's way in a spool."""
    return parse_message(pb.SchemaRecord, raw).id


def _check_count(count: int, limits: WireLimits) -> None:
    if not 0 < count <= limits.max_series:
        raise DecodeError(f"schema of {count} series, allowed are 1 to {limits.max_series}")


def _apply_delta(delta: pb.SchemaDelta, known: Callable[[bytes], Schema | None], limits: WireLimits) -> list[Series]:
    base = known(delta.base)
    if base is None:
        raise MissingBaseError(f"schema delta on unknown base {delta.base.hex()[:64]}")
    if len(delta.added) != len(delta.added_at):
        raise DecodeError(f"schema delta adds {len(delta.added)} series at {len(delta.added_at)} places")
    removed = set(delta.removed)
    if any(row >= len(base.series) for row in removed):
        raise DecodeError(f"schema delta removes row {max(removed)} of {len(base.series)}")
    count = len(base.series) - len(removed) + len(delta.added)
    _check_count(count, limits)
    places = dict(zip(delta.added_at, delta.added, strict=True))
    if len(places) != len(delta.added) or any(place >= count for place in places):
        raise DecodeError("schema delta adds at a place twice or past the end")
    kept = iter([series for row, series in enumerate(base.series) if row not in removed])
    return [_series(places[row], limits) if row in places else next(kept) for row in range(count)]


def _series(one: pb.SeriesDescriptor, limits: WireLimits) -> Series:
    labels = Labels((label.name, label.value) for label in one.labels)
    _check_labels(labels, limits)
    _check_length("help", one.help, limits.max_help_bytes)
    _check_length("unit", one.unit, limits.max_unit_bytes)
    try:
        kind = MetricType(one.type)
    except ValueError as error:
        raise DecodeError(f"metric type {one.type} is unknown") from error
    return Series(labels, kind, one.help, one.unit)


def _check_labels(labels: Labels, limits: WireLimits) -> None:
    if len(labels) > limits.max_labels:
        raise DecodeError(f"series with {len(labels)} labels, limit {limits.max_labels}")
    for name, value in labels:
        _check_length("label name", name, limits.max_label_name_bytes)
        _check_length(f"value of label {name[:64]!r}", value, limits.max_label_value_bytes)
        if not name or not value:
            raise DecodeError("a label without a name or without a value")
        if name.startswith(RESERVED):
            raise DecodeError(f"label name {name[:64]!r} is reserved")
    names = [name for name, _ in labels]
    if not _strictly_rising(names):
        raise DecodeError("labels are not sorted, or one comes twice")
    if METRIC_NAME not in names:
        raise DecodeError(f"series without {METRIC_NAME}")


def _check_length(what: str, text: str, limit: int) -> None:
    if len(text) > limit or (len(text) * 4 > limit and len(text.encode()) > limit):
        raise DecodeError(f"{what} of {len(text.encode())} bytes, limit {limit}")


def _strictly_rising(words: Iterable[str]) -> bool:
    before = None
    for word in words:
        if before is not None and word <= before:
            return False
        before = word
    return True

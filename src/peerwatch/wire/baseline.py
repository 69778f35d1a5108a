"""Baseline: the values of one tick, which travel once; batches then tell what has changed since.

Named by its hash and asked for as a schema is, so a batch stays readable by itself and its baseline: in whatever order
batches come, after a restart, by somebody else. docs/decisions/0009 has the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from peerwatch.errors import DecodeError
from peerwatch.model import Float64Array
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.packing import Base, PackedMatrix, base_of, pack
from peerwatch.wire.signed import parse_message

BASELINE_ID_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """`id` is the first 16 bytes of the hash of its rows and columns; `record` is how it travels and is kept."""

    id: bytes
    base: Base
    record: bytes

    @classmethod
    def of(cls, values: Float64Array) -> Baseline:
        """The baseline of one tick's values [rows]; raises nothing."""
        return _made(len(values), pack(values[:, None]))

    @property
    def rows(self) -> int:
        """How many series."""
        return len(self.base.scales)


def decode_baseline(record: bytes, limits: WireLimits = DEFAULT_LIMITS) -> Baseline:
    """The baseline that a SchemaRecord holds, after its content has been checked against its name.

    Raises DecodeError for anything else.
    """
    if len(record) > limits.max_envelope_bytes:
        raise DecodeError(f"baseline of {len(record)} bytes, limit {limits.max_envelope_bytes}")
    message = parse_message(pb.SchemaRecord, record)
    if message.WhichOneof("content") != "baseline":
        raise DecodeError(f"record {message.id.hex()[:64]} is wanted as a baseline and holds none")
    rows = message.baseline.rows
    if not 0 < rows <= limits.max_series:
        raise DecodeError(f"baseline of {rows} rows, allowed are 1 to {limits.max_series}")
    made = _made(rows, message.baseline.columns)
    if made.id != message.id:
        raise DecodeError(f"baseline claims the name {message.id.hex()[:64]}, its content hashes to {made.id.hex()}")
    return made


def _made(rows: int, columns: bytes) -> Baseline:
    base = base_of(PackedMatrix.checked(columns, np.zeros(1, np.int64), None, rows))
    name = sha256(b"peerwatch/baseline/1\n" + rows.to_bytes(4, "little") + columns).digest()[:BASELINE_ID_BYTES]
    record = pb.SchemaRecord(id=name, baseline=pb.Baseline(rows=rows, columns=columns)).SerializeToString()
    return Baseline(name, base, record)

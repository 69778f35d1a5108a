"""Batch codec: matrices to bytes and back, every bound checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.errors import DecodeError
from peerwatch.model import Batch, BatchBlock, BoolArray, Float64Array, Int64Array, Series
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.baseline import BASELINE_ID_BYTES, Baseline
from peerwatch.wire.limits import DEFAULT_LIMITS, WireLimits
from peerwatch.wire.packing import PackedMatrix, pack
from peerwatch.wire.schema import SCHEMA_ID_BYTES, Schema
from peerwatch.wire.signed import parse_message

_TIMES = np.dtype("<i8")
MAX_TIME_MS = 1 << 53  # far beyond any calendar, and exact in float64


@dataclass(frozen=True, slots=True)
class WireBlock:
    """A block as it travels: the schema by name, the samples as a matrix."""

    schema_id: bytes
    matrix: PackedMatrix
    job: str
    target: str
    baseline: Baseline | None = None


class MissingBaselineError(DecodeError):
    """A block is relative to a baseline that the reader does not have: ask for it."""

    def __init__(self, name: bytes) -> None:
        super().__init__(f"block is relative to the unknown baseline {name.hex()}")
        self.name = name


BaselineOf = Callable[[bytes], Baseline | None]


def encode_batch(
    batch: Batch,
    schema_of: Callable[[tuple[Series, ...]], Schema],
    baselines: Sequence[Baseline | None] | None = None,
) -> bytes:
    """The serialised Batch; `schema_of` names each block's series, `baselines` what each block is relative to."""
    chosen = baselines or [None] * len(batch.blocks)
    return pb.Batch(
        blocks=[
            _encode_block(block, schema_of(block.series), baseline)
            for block, baseline in zip(batch.blocks, chosen, strict=True)
        ]
    ).SerializeToString()


def _encode_block(block: BatchBlock, schema: Schema, baseline: Baseline | None) -> pb.BatchBlock:
    matrix = block.matrix
    rows, ticks = matrix.values.shape
    values, presence = matrix.values, b""
    if matrix.presence is not None and not matrix.presence.all():
        values = _carry_forward(values, matrix.presence)
        presence = np.packbits(matrix.presence, bitorder="little").tobytes()
    return pb.BatchBlock(
        schema_id=schema.id,
        rows=rows,
        ticks=ticks,
        times=matrix.times_ms.astype("<i8", copy=False).tobytes(),
        columns=pack(values, baseline.base if baseline else None),
        presence=presence,
        job=block.job,
        target=block.target,
        baseline_id=baseline.id if baseline else b"",
    )


def _carry_forward(values: Float64Array, presence: BoolArray) -> Float64Array:
    """Absent cells take the value before them (0.0 at the start): a difference of nothing costs no byte."""
    ticks = values.shape[1]
    latest = np.maximum.accumulate(np.where(presence, np.arange(ticks), -1), axis=1)
    carried: Float64Array = np.where(latest >= 0, np.take_along_axis(values, np.maximum(latest, 0), axis=1), 0.0)
    return carried


def decode_batch(
    body: bytes, limits: WireLimits = DEFAULT_LIMITS, baseline_of: BaselineOf = lambda _: None
) -> list[WireBlock]:
    """The blocks of a serialised Batch. Raises DecodeError; time and memory are linear in what `limits` allow.

    `baseline_of` finds what blocks are relative to; MissingBaselineError names the first that it does not find.
    """
    message = parse_message(pb.Batch, body)
    if not 0 < len(message.blocks) <= limits.max_blocks:
        raise DecodeError(f"batch of {len(message.blocks)} blocks, allowed are 1 to {limits.max_blocks}")
    cells = sum(block.rows * block.ticks for block in message.blocks)
    if cells > limits.max_cells:
        raise DecodeError(f"batch of {cells} cells, limit {limits.max_cells}")
    return [_decode_block(block, limits, baseline_of) for block in message.blocks]


def _decode_block(block: pb.BatchBlock, limits: WireLimits, baseline_of: BaselineOf) -> WireBlock:
    rows, ticks = block.rows, block.ticks
    if not (0 < rows <= limits.max_series and 0 < ticks <= limits.max_ticks):
        raise DecodeError(
            f"block of {rows} series x {ticks} ticks, allowed are 1 to {limits.max_series} and 1 to {limits.max_ticks}"
        )
    schema_id = block.schema_id
    if len(schema_id) != SCHEMA_ID_BYTES:
        raise DecodeError(f"schema name of {len(schema_id)} bytes, expected {SCHEMA_ID_BYTES}")
    job, target = block.job, block.target
    for what, name in (("job", job), ("target", target)):
        if name and len(name.encode()) > limits.max_name_bytes:
            raise DecodeError(f"{what} of {len(name.encode())} bytes, limit {limits.max_name_bytes}")
    times = _decode_times(block.times, ticks)
    bits = block.presence
    presence = _decode_presence(bits, rows, ticks) if bits else None
    baseline = _baseline(block.baseline_id, baseline_of) if block.baseline_id else None
    matrix = PackedMatrix.checked(block.columns, times, presence, rows, baseline.base if baseline else None)
    return WireBlock(schema_id, matrix, job, target, baseline)


def _baseline(name: bytes, baseline_of: BaselineOf) -> Baseline:
    if len(name) != BASELINE_ID_BYTES:
        raise DecodeError(f"baseline name of {len(name)} bytes, expected {BASELINE_ID_BYTES}")
    found = baseline_of(name)
    if found is None:
        raise MissingBaselineError(name)
    return found


def _decode_times(raw: bytes, ticks: int) -> Int64Array:
    if len(raw) != 8 * ticks:
        raise DecodeError(f"times of {len(raw)} bytes for {ticks} ticks")
    times = np.frombuffer(raw, _TIMES).astype(np.int64, copy=False)
    first, last = times.item(0), times.item(-1)
    if first < -MAX_TIME_MS or last > MAX_TIME_MS:
        raise DecodeError(f"times from {first} to {last} ms, limit is +-{MAX_TIME_MS}")
    rises = first < last if ticks == 2 else ticks == 1 or bool((times[1:] > times[:-1]).all())
    if not rises:
        raise DecodeError("times of a block do not rise")
    return times


def _decode_presence(raw: bytes, rows: int, ticks: int) -> BoolArray:
    cells = rows * ticks
    if len(raw) != (cells + 7) // 8:
        raise DecodeError(f"presence of {len(raw)} bytes for {cells} cells")
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=cells, bitorder="little")
    return bits.reshape(rows, ticks).astype(np.bool_)

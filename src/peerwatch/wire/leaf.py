"""Leaf: the digest of a batch's content that its agent signs, made so that it can be made again from stored samples.

It is over labels, times, presence and values as numbers: not over bytes as sent, nor over the order of blocks, nor over
what the store does not keep (help texts, ticks without any sample). docs/formats/proof.md has the layout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from peerwatch.errors import DecodeError
from peerwatch.model import Batch, Float64Array, Int64Array, Labels, Matrix, Series
from peerwatch.wire.identity_labels import INSTANCE, JOB, TARGET, with_identity

LEAF_BYTES = 16
"""Half a SHA-256: to pass other samples for signed ones takes 2^128 tries; whole ones would double what is stored."""

_BATCH = b"peerwatch/leaf/2\n"
_BLOCK = b"peerwatch/leaf-block/2\n"
_LABELS = b"peerwatch/leaf-labels/2\n"
_ORIGIN = b"\x02"  # no schema hash of format 1 is shorter than 32 bytes
_LENGTH = struct.Struct("<H")
_COUNT = struct.Struct("<I")
_NOBODY = "?"  # stands for the member's name while its series are laid out as a hub will; it is taken out again

Bits = NDArray[np.uint8]


class BlockHead:
    """What all blocks of one series list share: hashed once. `rows` is how many series there are."""

    def __init__(self, labels_digest: bytes, rows: int, job: str, target: str) -> None:
        self.rows = rows
        self._start = sha256(_BLOCK + labels_digest + _text(job) + _text(target) + _COUNT.pack(rows))

    def digest(self, times_ms: Int64Array, bits: Bits, values: Float64Array) -> bytes:
        """The digest of one block. Arrays go tick by tick, C order: int64 [k], presence bits [k, ceil(n / 8)] (lowest
        bit first) and float64 [k, n], 0.0 where absent; no tick is without a sample."""
        hasher = self._start.copy()
        hasher.update(_COUNT.pack(len(times_ms)))
        for column in (times_ms.astype("<i8", copy=False), bits, values.astype("<f8", copy=False)):
            hasher.update(column.data)
        return hasher.digest()


def labels_digest(labels: Iterable[Labels]) -> bytes:
    """Over the labels of a block's series as a hub keeps them, but for `instance`, `job` and `target`."""
    hasher = sha256(_LABELS)
    for one in labels:
        hasher.update(_LENGTH.pack(len(one)) + b"".join([_text(word) for pair in one for word in pair]))
    return hasher.digest()


def head_of(series: tuple[Series, ...], job: str, target: str) -> BlockHead:
    """The head of a block that an agent sends: its labels as they will be kept."""
    kept = with_identity(series, _NOBODY, _NOBODY, target)
    return BlockHead(labels_digest(without_identity(one.labels, target) for one in kept), len(series), job, target)


def without_identity(labels: Labels, target: str) -> Labels:
    """Labels that a hub keeps, without what it added for a block with this target."""
    added = (INSTANCE, JOB, TARGET) if target else (INSTANCE, JOB)
    return Labels(pair for pair in labels if pair[0] not in added)


def origin_of(job: str, target: str) -> bytes:
    """What a hub keeps beside a layout so that it can make heads again: job and target as the agent signed them."""
    return _ORIGIN + _text(job) + _text(target)


def read_origin(origin: bytes) -> tuple[str, str]:
    """(job, target). Raises DecodeError for what `origin_of` did not write."""
    if not origin.startswith(_ORIGIN):
        raise DecodeError(f"layout origin of {len(origin)} bytes is none of a signed block")
    try:
        job, at = _word(origin, len(_ORIGIN))
        target, at = _word(origin, at)
    except (struct.error, UnicodeDecodeError) as error:
        raise DecodeError(f"layout origin of {len(origin)} bytes: {error}") from error
    if at != len(origin):
        raise DecodeError(f"layout origin of {len(origin)} bytes ends at {at}")
    return job, target


def leaf_of(digests: Sequence[bytes]) -> bytes:
    """The leaf of a batch, from the digests of those of its blocks that have samples, in any order."""
    return sha256(_BATCH + b"".join(sorted(digests))).digest()[:LEAF_BYTES]


def matrix_digest(head: BlockHead, matrix: Matrix) -> bytes | None:
    """The digest of a block as it is sent; None when it has no samples."""
    times, values = matrix.times_ms, matrix.values.T
    if matrix.presence is None:
        present = np.ones(values.shape, np.bool_)
    else:
        present = matrix.presence.T
        kept = present.any(axis=1)
        times, present, values = times[kept], present[kept], np.where(present[kept], values[kept], 0.0)
    if not len(times):
        return None
    return head.digest(np.ascontiguousarray(times), pack_presence(present), np.ascontiguousarray(values))


def pack_presence(present: NDArray[np.bool_]) -> Bits:
    """Presence [k, n] as bits [k, ceil(n / 8)]."""
    return np.packbits(present, axis=1, bitorder="little")


def batch_leaf(batch: Batch, heads: Sequence[BlockHead]) -> bytes:
    """The leaf of a batch that is about to be sent; `heads` has one entry per block."""
    digests = [matrix_digest(head, block.matrix) for head, block in zip(heads, batch.blocks, strict=True)]
    return leaf_of([one for one in digests if one is not None])


def _word(raw: bytes, at: int) -> tuple[str, int]:
    end = at + _LENGTH.size + _LENGTH.unpack_from(raw, at)[0]
    return raw[at + _LENGTH.size : end].decode(), end


def _text(word: str) -> bytes:
    raw = word.encode()
    return _LENGTH.pack(len(raw)) + raw

"""Merkle tree over SHA-256 (requirement B27), in the shape of RFC 6962: leaves and nodes are hashed apart."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from peerwatch.errors import DecodeError

HASH_BYTES = 32
_MAX_PATH = 32  # a tree of four thousand million leaves


def leaf_hash(content: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + content).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from its leaf hashes upwards; an odd last node rises unpaired. The last level holds the root."""
    if not leaves:
        raise ValueError("a Merkle tree needs a leaf")
    rows = [list(leaves)]
    while len(rows[-1]) > 1:
        row = rows[-1]
        paired = [_node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        rows.append(paired + row[len(paired) * 2 :])
    return rows


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return levels(leaves)[-1][0]


def path(rows: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """What must be hashed onto leaf `index` to reach the root of the tree `rows` (from `levels`).

    A level at which the node has no sibling contributes an empty string, so that the path needs no tree size.
    """
    steps = []
    for row in rows[:-1]:
        sibling = index ^ 1
        steps.append(row[sibling] if sibling < len(row) else b"")
        index //= 2
    return steps


def climb(leaf: bytes, index: int, steps: Sequence[bytes]) -> bytes:
    """The root that `leaf` at `index` leads to by `steps`. Raises DecodeError for a path that no tree has."""
    if len(steps) > _MAX_PATH:
        raise DecodeError(f"Merkle path of {len(steps)} steps, limit {_MAX_PATH}")
    node = leaf
    for step in steps:
        if step and len(step) != HASH_BYTES:
            raise DecodeError(f"Merkle path step of {len(step)} bytes, expected {HASH_BYTES}")
        if step:
            node = _node_hash(step, node) if index & 1 else _node_hash(node, step)
        index >>= 1
    if index:
        raise DecodeError("Merkle path is shorter than its index needs")
    return node

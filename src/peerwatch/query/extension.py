"""Which functions may be given anchored or smoothed ranges."""

from __future__ import annotations

from peerwatch.errors import QueryError
from peerwatch.query.ast import Call, MatrixSelector, unwrap
from peerwatch.query.functions.extended import ANCHORED_FUNCTIONS, SMOOTHED_FUNCTIONS


def check_extended(call: Call) -> None:
    """Raise QueryError for a function that would misread samples outside of its range."""
    for arg in call.args:
        node = unwrap(arg)
        if not isinstance(node, MatrixSelector):
            continue
        for modifier, is_set, allowed in (
            ("anchored", node.selector.anchored, ANCHORED_FUNCTIONS),
            ("smoothed", node.selector.smoothed, SMOOTHED_FUNCTIONS),
        ):
            if is_set and call.function not in allowed:
                names = ", ".join(sorted(allowed))
                raise QueryError(f"{modifier} modifier can only be used with: {names} - not with {call.function}")

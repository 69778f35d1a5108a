"""The order of an instant query's answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cmp_to_key

import numpy as np

from peerwatch.model import Labels
from peerwatch.query.functions.context import Argument, CallContext, Function, text_of, vector_of
from peerwatch.query.value import Value, compact

_CHUNKS = re.compile(r"[0-9]+|[^0-9]+")


def _is_in_vain(context: CallContext) -> bool:
    if context.grid.count == 1:
        return False
    message = "sort is ineffective for range queries since results are always ordered by labels"
    context.notes.warn(message, context.call.span)
    return True


def _by_value(descending: bool) -> Function:
    def run(context: CallContext, args: Sequence[Argument]) -> Value:
        vector = vector_of(args[0])
        if _is_in_vain(context):
            return vector
        vector = compact(vector.floats)
        keys = vector.values[:, 0]
        return vector.take(np.argsort(-keys if descending else keys, kind="stable"))  # numpy puts NaN last either way

    return run


def natural_compare(left: str, right: str) -> int:
    """Digits as numbers, the rest as text: "4m5" before "4m600"."""
    for one, other in zip(_CHUNKS.findall(left), _CHUNKS.findall(right), strict=False):
        if one == other:
            continue
        if one[0].isdigit() and other[0].isdigit() and int(one) != int(other):
            return -1 if int(one) < int(other) else 1
        if not (one[0].isdigit() and other[0].isdigit()):
            return -1 if one < other else 1
    return (left > right) - (left < right) if len(left) == len(right) else (len(left) > len(right)) * 2 - 1


def _by_label(descending: bool) -> Function:
    def run(context: CallContext, args: Sequence[Argument]) -> Value:
        vector = vector_of(args[0])
        if _is_in_vain(context):
            return vector
        names = [text_of(arg) for arg in args[1:]]

        def compare(left: Labels, right: Labels) -> int:
            for name in names:
                found = natural_compare(left.get(name), right.get(name))
                if found:
                    return found
            return (left > right) - (left < right)

        key = cmp_to_key(compare)
        order = sorted(range(len(vector.labels)), key=lambda row: key(vector.labels[row]), reverse=descending)
        return vector.take(order)

    return run


SORT: dict[str, Function] = {
    "sort": _by_value(False),
    "sort_desc": _by_value(True),
    "sort_by_label": _by_label(False),
    "sort_by_label_desc": _by_label(True),
}

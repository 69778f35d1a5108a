"""What stands between a binary operator and its right side: bool, on, ignoring, group_left, fill."""

from __future__ import annotations

import math
from dataclasses import replace

from peerwatch.query.ast import Cardinality, Matching
from peerwatch.query.cursor import Cursor
from peerwatch.query.duration_parser import number_of
from peerwatch.query.selector_parser import parse_grouping
from peerwatch.query.token import Kind

_GROUPS = {"group_left": Cardinality.MANY_TO_ONE, "group_right": Cardinality.ONE_TO_MANY}


def parse_matching(cursor: Cursor, is_set_operator: bool) -> tuple[bool, Matching]:
    """(bool was there, how to match). Set operators are many-to-many unless told otherwise."""
    return_bool = cursor.is_word("bool")
    if return_bool:
        cursor.take()
    matching = Matching(Cardinality.MANY_TO_MANY if is_set_operator else Cardinality.ONE_TO_ONE)
    if cursor.is_word("on", "ignoring"):
        on = cursor.take().word == "on"
        matching = replace(matching, on=on, labels=parse_grouping(cursor))
        if cursor.is_word(*_GROUPS):
            card = _GROUPS[cursor.take().word]
            include = parse_grouping(cursor) if cursor.is_symbol("(") else ()
            matching = replace(matching, card=card, include=include)
    return return_bool, _parse_fill(cursor, matching)


def _parse_fill(cursor: Cursor, matching: Matching) -> Matching:
    if cursor.is_word("fill"):
        cursor.take()
        value = _fill_value(cursor)
        return replace(matching, fill_left=value, fill_right=value)
    for _ in range(2):
        if cursor.is_word("fill_left") and matching.fill_left is None:
            cursor.take()
            matching = replace(matching, fill_left=_fill_value(cursor))
        elif cursor.is_word("fill_right") and matching.fill_right is None:
            cursor.take()
            matching = replace(matching, fill_right=_fill_value(cursor))
    return matching


def _fill_value(cursor: Cursor) -> float:
    cursor.expect("(")
    sign = -1.0 if cursor.is_symbol("-") else 1.0
    if cursor.is_symbol("+", "-"):
        cursor.take()
    if cursor.token.kind not in (Kind.NUMBER, Kind.DURATION):
        cursor.unexpected("fill", "number")
    value = number_of(cursor.take()).value
    cursor.expect(")")
    return value if math.isnan(value) else value * sign

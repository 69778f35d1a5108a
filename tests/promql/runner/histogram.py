"""Native histograms in scripts: `{{schema:1 count:3 sum:5 buckets:[1 2]}}`, one at a time, as plain values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from peerwatch.model import CUSTOM_SCHEMA, KEY_BIAS, STALE, Histograms
from peerwatch.model.histograms import COUNTER_RESET, GAUGE, NOT_COUNTER_RESET, UNKNOWN_RESET, offsets_of
from peerwatch.query.native.arithmetic import combined
from peerwatch.query.native.reset import was_reset

_ITEM = re.compile(r"(\w+)\s*:\s*(\[[^\]]*\]|\S+)")
_HINTS = {"unknown": UNKNOWN_RESET, "reset": COUNTER_RESET, "not_reset": NOT_COUNTER_RESET, "gauge": GAUGE}


@dataclass(frozen=True)
class Literal:
    """buckets: by key (see KEY_BIAS). hint None: none was written, so it is unknown, and any other one will do."""

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_count: float = 0.0
    zero_width: float = 0.0
    buckets: dict[int, float] = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    hint: int | None = None

    @property
    def populated(self) -> dict[int, float]:
        """The buckets that are not empty."""
        return {key: value for key, value in self.buckets.items() if value != 0}


STALE_LITERAL = Literal(sum=float(STALE))


def parse_literal(text: str) -> Literal:
    """What stands between the braces. Raises ValueError."""
    found = dict(_ITEM.findall(text))
    positive, negative = (_numbers(found.get(name, "[]")) for name in ("buckets", "n_buckets"))
    start, n_start = (int(found.get(name, 0)) for name in ("offset", "n_offset"))
    buckets = {-(n_start + at + KEY_BIAS): value for at, value in enumerate(negative)}
    buckets |= {start + at + KEY_BIAS: value for at, value in enumerate(positive)}
    return Literal(
        int(found.get("schema", 0)),
        *(float(found.get(name, 0)) for name in ("count", "sum", "z_bucket", "z_bucket_w")),
        dict(sorted(buckets.items())),
        tuple(_numbers(found.get("custom_values", "[]"))),
        _HINTS[found["counter_reset_hint"]] if "counter_reset_hint" in found else None,
    )


def _numbers(text: str) -> list[float]:
    return [float(one) for one in text.strip("[]").split()]


def column_of(literals: Sequence[Literal]) -> Histograms:
    """Many of them in columns."""
    known: dict[tuple[float, ...], int] = {}
    bounds_of = [known.setdefault(one.bounds, len(known)) if one.schema == CUSTOM_SCHEMA else -1 for one in literals]
    return Histograms(
        np.array([one.schema for one in literals], np.int64),
        np.array([one.hint or UNKNOWN_RESET for one in literals], np.int64),
        *(
            np.array([getattr(one, name) for one in literals], np.float64)
            for name in ("count", "sum", "zero_count", "zero_width")
        ),
        offsets_of(np.array([len(one.buckets) for one in literals], np.int64)),
        np.array([key for one in literals for key in one.buckets], np.int64),
        np.array([value for one in literals for value in one.buckets.values()], np.float64),
        np.array(bounds_of, np.int64),
        tuple(known),
    )


def literals_of(column: Histograms) -> list[Literal]:
    """Columns taken apart again."""
    return [
        Literal(
            int(column.schemas[at]),
            *(float(one[at]) for one in (column.counts, column.sums, column.zero_counts, column.zero_widths)),
            dict(zip(column.keys[part].tolist(), column.buckets[part].tolist(), strict=True)),
            column.bounds[int(column.bounds_of[at])] if column.bounds_of[at] >= 0 else (),
            int(column.hints[at]),
        )
        for at, part in enumerate(_slices(column))
    ]


def _slices(column: Histograms) -> Iterable[slice]:
    offsets = column.offsets.tolist()
    return (slice(start, end) for start, end in pairwise(offsets))


def repeated(base: Literal, change: Literal, sign: str, times: int) -> list[Literal]:
    """base, base + change, … as the script language's `{{…}}+{{…}}xN` has it."""
    found, current = [base], base
    for _ in range(times):
        total = combined(column_of([current]), column_of([change]), subtract=sign == "-").found
        [current] = literals_of(total)
        current = replace(current, hint=None if base.hint is None and change.hint is None else current.hint)
        found.append(current)
    return found


def with_stored_hints(literals: Sequence[Literal | None]) -> list[Literal | None]:
    """A series as Prometheus's store gives it back: a counter's sample says that it was not reset where that is so, and
    nothing where it may have been. None: a number."""
    found: list[Literal | None] = []
    before: Literal | None = None
    for one in literals:
        if one is None or one.hint == GAUGE or np.array(one.sum).view(np.uint64) == np.array(STALE).view(np.uint64):
            found.append(one)
            before = None
            continue
        goes_on = before is not None and one.hint != COUNTER_RESET and not _may_be_reset(one, before)
        before = replace(one, hint=NOT_COUNTER_RESET if goes_on else UNKNOWN_RESET)
        found.append(before)
    return found


def _may_be_reset(one: Literal, before: Literal) -> bool:
    if (one.schema, one.zero_width, one.bounds) != (before.schema, before.zero_width, before.bounds):
        return True
    unsaid = [column_of([replace(part, hint=None)]) for part in (one, before)]
    return bool(was_reset(*unsaid)[0])

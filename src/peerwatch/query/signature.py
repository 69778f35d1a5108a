"""Signatures: the types of every PromQL function, as data."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.query.ast import ValueType

_TYPES = {"v": ValueType.VECTOR, "m": ValueType.MATRIX, "s": ValueType.SCALAR, "t": ValueType.STRING}


@dataclass(frozen=True, slots=True)
class Signature:
    """`extra`: how many arguments may follow beyond `args` less one; -1 means any number; 0 means exactly `args`."""

    name: str
    args: tuple[ValueType, ...]
    returns: ValueType
    extra: int = 0
    experimental: bool = False


def _row(names: str, args: str, returns: str = "v", extra: int = 0, *, experimental: bool = False) -> list[Signature]:
    types = tuple(_TYPES[letter] for letter in args)
    return [Signature(name, types, _TYPES[returns], extra, experimental) for name in names.split()]


_ROWS = [
    _row("abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad sgn sin sinh", "v"),
    _row("sort sort_desc sqrt tan tanh timestamp", "v"),
    _row("histogram_avg histogram_count histogram_sum histogram_stddev histogram_stdvar", "v"),
    _row("scalar", "v", "s"),
    _row("vector", "s"),
    _row("time pi", "", "s"),
    _row("clamp", "vss"),
    _row("clamp_max clamp_min", "vs"),
    _row("round", "vs", extra=1),
    _row("days_in_month day_of_month day_of_week day_of_year hour minute month year", "v", extra=1),
    _row("histogram_fraction", "ssv"),
    _row("histogram_quantile", "sv"),
    _row("label_replace", "vtttt"),
    _row("label_join", "vttt", extra=-1),
    _row("absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase", "m"),
    _row("irate last_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time", "m"),
    _row("stdvar_over_time sum_over_time", "m"),
    _row("predict_linear", "ms"),
    _row("quantile_over_time", "sm"),
    _row("mad_over_time ts_of_first_over_time ts_of_last_over_time", "m", experimental=True),
    _row("ts_of_max_over_time ts_of_min_over_time", "m", experimental=True),
    _row("double_exponential_smoothing", "mss", experimental=True),
    _row("histogram_quantiles", "vtss", extra=9, experimental=True),
    _row("sort_by_label sort_by_label_desc", "vt", extra=-1, experimental=True),
    _row("info", "vv", extra=1, experimental=True),
    _row("start end step range", "", "s", experimental=True),
    _row("min_of max_of", "ss", "s", experimental=True),
    _row("start_timestamp", "v", experimental=True),
]

SIGNATURES: dict[str, Signature] = {signature.name: signature for row in _ROWS for signature in row}

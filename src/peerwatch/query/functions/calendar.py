"""Parts of a date, in UTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from peerwatch.model import Float64Array, Labels
from peerwatch.query.functions.context import Argument, CallContext, Function, floats_of
from peerwatch.query.value import Value, Vector

_Days = NDArray[np.datetime64]
_LIMIT_S = 1e14  # three million years; beyond, a date has no meaning


def _of_seconds(part: Callable[[Float64Array], Float64Array]) -> Function:
    """A function of seconds since the epoch; without an argument, of the step's time."""

    def run(context: CallContext, args: Sequence[Argument]) -> Value:
        if args:
            vector = floats_of(args[0])
        else:
            times = context.grid.times_ms[None, :] / 1000.0
            vector = Vector([Labels()], times, np.ones(times.shape, np.bool_))
        known = np.abs(vector.values) < _LIMIT_S  # not NaN either
        seconds = np.trunc(np.where(known, vector.values, 0.0))
        return context.drop_names(vector.with_values(np.where(known, part(seconds), np.nan)))

    return run


def _of_days(part: Callable[[_Days], NDArray[np.int64]]) -> Function:
    def of_seconds(seconds: Float64Array) -> Float64Array:
        days = np.floor(seconds / 86_400).astype(np.int64).astype("datetime64[D]")
        return part(days).astype(np.float64)

    return _of_seconds(of_seconds)


def _number(dates: NDArray[np.datetime64] | NDArray[np.timedelta64], ahead: int = 0) -> NDArray[np.int64]:
    """Units since the epoch (or between two dates), plus `ahead`."""
    numbers: NDArray[np.int64] = dates.astype(np.int64)
    numbers += ahead
    return numbers


def _year(days: _Days) -> NDArray[np.int64]:
    return _number(days.astype("datetime64[Y]"), 1970)


def _month(days: _Days) -> NDArray[np.int64]:
    return _number(days.astype("datetime64[M]")) % 12 + 1


def _day_of_month(days: _Days) -> NDArray[np.int64]:
    return _number(days - days.astype("datetime64[M]"), 1)


def _day_of_year(days: _Days) -> NDArray[np.int64]:
    return _number(days - days.astype("datetime64[Y]"), 1)


def _day_of_week(days: _Days) -> NDArray[np.int64]:
    return (_number(days) + 4) % 7  # the epoch was a Thursday


def _days_in_month(days: _Days) -> NDArray[np.int64]:
    month = days.astype("datetime64[M]")
    return _number((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]"))


CALENDAR: dict[str, Function] = {
    "year": _of_days(_year),
    "month": _of_days(_month),
    "day_of_month": _of_days(_day_of_month),
    "day_of_year": _of_days(_day_of_year),
    "day_of_week": _of_days(_day_of_week),
    "days_in_month": _of_days(_days_in_month),
    "hour": _of_seconds(lambda seconds: np.floor(np.mod(seconds, 86_400) / 3600)),
    "minute": _of_seconds(lambda seconds: np.floor(np.mod(seconds, 3600) / 60)),
}

"""The functions of PromQL, by name. To add one: a file or a line in its file's table, and a row in `signature.py`."""

from __future__ import annotations

from peerwatch.query.functions.absence import ABSENCE
from peerwatch.query.functions.calendar import CALENDAR
from peerwatch.query.functions.context import Argument, CallContext, Function
from peerwatch.query.functions.elementwise import ELEMENTWISE
from peerwatch.query.functions.histogram import HISTOGRAM
from peerwatch.query.functions.label import LABEL
from peerwatch.query.functions.over_time import OVER_TIME
from peerwatch.query.functions.rate import RATE
from peerwatch.query.functions.regression import REGRESSION
from peerwatch.query.functions.scalar import SCALAR
from peerwatch.query.functions.sort import SORT

FUNCTIONS: dict[str, Function] = {
    **ABSENCE,
    **CALENDAR,
    **ELEMENTWISE,
    **HISTOGRAM,
    **LABEL,
    **OVER_TIME,
    **RATE,
    **REGRESSION,
    **SCALAR,
    **SORT,
}

__all__ = ["FUNCTIONS", "Argument", "CallContext", "Function"]

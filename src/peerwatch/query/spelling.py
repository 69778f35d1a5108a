"""Spelling: many numbers at once as Go spells them."""

from __future__ import annotations

import msgspec
import numpy as np

from peerwatch.model import Float64Array
from peerwatch.query.gotext import format_sample

_PLAIN_LOW, _PLAIN_HIGH = 1e-5, 1e15
"""Between these (and for 0) the JSON encoder spells floats as Go does, but for a trailing ".0"."""


def spell_values(values: Float64Array) -> list[bytes]:
    """Each value as `format_sample` spells it. The fast way for ordinary numbers is the JSON encoder's."""
    if len(values) == 0:
        return []
    sizes = np.abs(values)
    plain = (sizes == 0) | ((sizes >= _PLAIN_LOW) & (sizes < _PLAIN_HIGH))  # not for NaN either
    encoded: bytes = msgspec.json.encode(np.where(plain, values, 0.0).tolist())[1:-1]
    spelled = (encoded + b",").replace(b".0,", b",")[:-1].split(b",")
    for at in np.flatnonzero(~plain).tolist():
        spelled[at] = format_sample(float(values[at])).encode()
    return spelled

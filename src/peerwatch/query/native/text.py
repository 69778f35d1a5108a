"""Text: native histograms as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterator

from peerwatch.model import Histograms
from peerwatch.query.gotext import format_general, format_sample
from peerwatch.query.native.table import table_of

_CLOSED = {(False, True): 0, (True, False): 1, (False, False): 2, (True, True): 3}
Bucket = tuple[float, float, bool, bool, float]
"""Lower and upper bound, whether each belongs to the bucket, and how many observations it has."""


def buckets_of(found: Histograms) -> Iterator[list[Bucket]]:
    """The populated buckets of each histogram, ascending."""
    if not len(found):
        return
    table = table_of(found)
    columns = (table.lower.tolist(), table.upper.tolist(), table.counts.tolist(), table.there.tolist())
    for row, custom in enumerate(found.custom.tolist()):
        edge = float(found.zero_widths[row])
        cells = zip(*(column[row] for column in columns), strict=True)
        yield [
            (lower, upper, *_ends(lower, upper, custom, edge), count)
            for lower, upper, count, there in cells
            if there and count != 0
        ]


def _ends(lower: float, upper: float, custom: bool, edge: float) -> tuple[bool, bool]:
    if custom:
        return lower == float("-inf"), True
    if lower == -edge and upper == edge:
        return True, True
    return lower < 0, upper > 0


def described(found: Histograms) -> list[str]:
    """Each as `count_values` names it."""
    texts = []
    for row, buckets in enumerate(buckets_of(found)):
        parts = [f"count:{format_general(float(found.counts[row]))}", f"sum:{format_general(float(found.sums[row]))}"]
        for lower, upper, with_lower, with_upper, count in buckets:
            ends = ("[" if with_lower else "(", "]" if with_upper else ")")
            bounds = f"{format_general(lower)},{format_general(upper)}"
            parts.append(f"{ends[0]}{bounds}{ends[1]}:{format_general(count)}")
        texts.append("{" + ", ".join(parts) + "}")
    return texts


def rendered(found: Histograms) -> list[bytes]:
    """Each as the JSON object of Prometheus's API."""
    texts = []
    for row, buckets in enumerate(buckets_of(found)):
        head = f'"count":"{format_sample(float(found.counts[row]))}","sum":"{format_sample(float(found.sums[row]))}"'
        cells = [
            '[{},"{}","{}","{}"]'.format(_CLOSED[ends[0], ends[1]], *map(format_sample, (lower, upper, count)))
            for lower, upper, *ends, count in buckets
        ]
        tail = f',"buckets":[{",".join(cells)}]' if cells else ""
        texts.append(f"{{{head}{tail}}}".encode())
    return texts

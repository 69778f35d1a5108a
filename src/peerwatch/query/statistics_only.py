"""Which selectors are asked for nothing but counts and sums of histograms: buckets need not be carried along."""

from __future__ import annotations

from peerwatch.query.ast import Binary, Call, Expr, Subquery, VectorSelector, children
from peerwatch.query.operator import TRIMS

_STATISTICS = frozenset(["histogram_count", "histogram_sum", "histogram_avg"])
_WHOLE = frozenset(
    ["histogram_quantile", "histogram_quantiles", "histogram_fraction", "histogram_stddev", "histogram_stdvar"]
)


def statistics_only(expr: Expr) -> frozenset[int]:
    """The `id`s of such selectors: below a function that looks at count or sum, and not below anything that needs
    buckets (a subquery does, to see resets)."""
    found: set[int] = set()
    waiting = [(expr, False, False)]
    while waiting:
        node, is_asked, needs_buckets = waiting.pop()
        match node:
            case VectorSelector():
                if is_asked and not needs_buckets:
                    found.add(id(node))
            case Subquery():
                needs_buckets = True
            case Call():
                is_asked = is_asked or node.function in _STATISTICS
                needs_buckets = needs_buckets or node.function in _WHOLE
            case Binary():
                needs_buckets = needs_buckets or node.op in TRIMS
            case _:
                pass
        waiting += [(child, is_asked, needs_buckets) for child in children(node)]
    return frozenset(found)

"""Layout: long queries over several lines, as Prometheus's format_query does it."""

from __future__ import annotations

from peerwatch.query.ast import Aggregate, Binary, Call, Expr, Paren, Subquery, Unary, left_spine
from peerwatch.query.printer import aggregate_header, binary_operator, format_expr, subquery_suffix

MAX_LINE = 100
"""What is shorter stays on one line."""

_INDENT = "  "


def prettify(expr: Expr, level: int = 0) -> str:
    """PromQL with the same tree as `expr`; what does not fit on a line is split at its operators and commas."""
    text = format_expr(expr)
    pad = _INDENT * level
    if len(text) <= MAX_LINE:
        return pad + text
    match expr:
        case Binary():
            return _chain(expr, level)
        case Aggregate():
            inner = [*([] if expr.param is None else [expr.param]), expr.expr]
            return f"{pad}{aggregate_header(expr)}{_list(inner, level)}"
        case Call() if expr.args:
            return f"{pad}{expr.function}{_list(expr.args, level)}"
        case Paren():
            return f"{pad}(\n{prettify(expr.expr, level + 1)}\n{pad})"
        case Unary():
            return f"{pad}{expr.op}{prettify(expr.expr, level).lstrip()}"
        case Subquery():
            return prettify(expr.expr, level) + subquery_suffix(expr)
        case _:
            return pad + text


def _chain(expr: Binary, level: int) -> str:
    links = left_spine(expr)
    text = prettify(links[0].lhs, level + 1)
    for link in links:
        text = f"{text}\n{_INDENT * level}{binary_operator(link)}\n{prettify(link.rhs, level + 1)}"
    return text


def _list(exprs: list[Expr] | tuple[Expr, ...], level: int) -> str:
    inside = ",\n".join(prettify(expr, level + 1) for expr in exprs)
    return f"(\n{inside}\n{_INDENT * level})"

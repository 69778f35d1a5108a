"""PromQL: parse, print and evaluate queries over anything that answers as a Queryable."""

from peerwatch.query.ast import Expr
from peerwatch.query.engine import Engine
from peerwatch.query.limits import Limits, QueryTimeoutError
from peerwatch.query.options import EngineOptions
from peerwatch.query.parser import parse, parse_selector
from peerwatch.query.pretty import prettify
from peerwatch.query.printer import format_expr
from peerwatch.query.queryable import Queryable
from peerwatch.query.result import MatrixResult, Result, ScalarResult, StringResult, VectorResult

__all__ = [
    "Engine",
    "EngineOptions",
    "Expr",
    "Limits",
    "MatrixResult",
    "QueryTimeoutError",
    "Queryable",
    "Result",
    "ScalarResult",
    "StringResult",
    "VectorResult",
    "format_expr",
    "parse",
    "parse_selector",
    "prettify",
]

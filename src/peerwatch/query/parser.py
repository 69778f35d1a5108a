"""Parser: PromQL text to a syntax tree. The grammar is Prometheus's, experimental syntax included."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from peerwatch.errors import ParseError
from peerwatch.model import METRIC_NAME, Matcher, MatchOp
from peerwatch.query.ast import (
    SET_OPERATORS,
    Aggregate,
    At,
    AtEdge,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    NumberLiteral,
    Paren,
    Span,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
    value_type,
)
from peerwatch.query.check import (
    check_aggregate,
    check_binary,
    check_call,
    check_selector,
    check_subquery,
    check_unary,
)
from peerwatch.query.cursor import Cursor
from peerwatch.query.duration_parser import number_of, parse_bracket_duration, parse_offset
from peerwatch.query.gotext import line_and_column, quote
from peerwatch.query.lexer import tokenize
from peerwatch.query.matching_parser import parse_matching
from peerwatch.query.selector_parser import parse_grouping, parse_matchers, string_of
from peerwatch.query.signature import SIGNATURES
from peerwatch.query.token import AGGREGATORS_WITH_PARAMETER, NOT_A_METRIC, Kind, Token

_PRECEDENCE = {"or": 1, "and": 2, "unless": 2}
_PRECEDENCE |= dict.fromkeys(["==", "!=", "<=", "<", ">=", ">", "</", ">/"], 3)
_PRECEDENCE |= {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6}
_UNARY = 6  # a sign binds like *, so only ^ goes into its operand: -1^2 is -(1^2)
_METRIC_KINDS = (
    Kind.IDENTIFIER,
    Kind.METRIC_IDENTIFIER,
    Kind.AGGREGATOR,
    Kind.KEYWORD,
    Kind.PREPROCESSOR,
    Kind.OPERATOR,
)
_MAX_AT_SECONDS = float(1 << 63) / 1000
_TOO_MANY_AT = "@ <timestamp> may not be set multiple times"


def parse(text: str) -> Expr:
    """The tree of a PromQL expression.

    Raises ParseError with its position in characters; the message starts with `line:column: parse error:`, columns
    counted in bytes as Prometheus counts them. Time is linear in the text; depth, tokens and length are limited.
    """
    try:
        return _Parser(Cursor(tokenize(text))).expression()
    except ParseError as error:
        raise _located(error, text) from error


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a bare series selector, as `match[]` holds it. Raises ParseError as `parse` does."""
    try:
        return _Parser(Cursor(tokenize(text))).lone_selector().matchers
    except ParseError as error:
        raise _located(error, text) from error


def _located(error: ParseError, text: str) -> ParseError:
    position = line_and_column(text, error.start) if text else "unknown position"
    return ParseError(f"{position}: parse error: {error}", error.start, error.end)


class _Parser:
    """Recursive descent with precedence climbing. Type problems are kept until the syntax is known to be right."""

    __slots__ = ("_cursor", "_problems")

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._problems: list[ParseError] = []

    def expression(self) -> Expr:
        if self._cursor.token.kind is Kind.EOF:
            raise ParseError("no expression found in input")
        return self._whole(self._binary(1))

    def lone_selector(self) -> VectorSelector:
        node = self._operand()
        if not isinstance(node, VectorSelector):
            raise ParseError("expected a series selector", node.span.start, node.span.end)
        self._whole(node)
        return node

    def _whole(self, expr: Expr) -> Expr:
        if self._cursor.token.kind is not Kind.EOF:
            self._cursor.unexpected()
        if self._problems:
            raise self._problems[0]
        return expr

    def _note(self, problems: Iterable[ParseError]) -> None:
        self._problems.extend(problems)

    # operators

    def _binary(self, minimum: int) -> Expr:
        with self._cursor.deeper():
            left = self._signed()
            while (operator := self._operator_ahead(minimum)) is not None:
                self._cursor.take()
                return_bool, matching = parse_matching(self._cursor, operator.word in SET_OPERATORS)
                modifiers_end = self._cursor.last_end
                level = _PRECEDENCE[operator.word]
                right = self._binary(level if operator.word == "^" else level + 1)
                op_span = Span(operator.start, modifiers_end)
                left = self._build_binary(operator.word, left, right, matching, return_bool, op_span)
        return left

    def _operator_ahead(self, minimum: int) -> Token | None:
        token = self._cursor.token
        if token.kind is not Kind.OPERATOR:
            return None
        return token if _PRECEDENCE.get(token.word, 0) >= minimum else None

    def _build_binary(
        self, op: str, left: Expr, right: Expr, matching: Matching, return_bool: bool, op_span: Span
    ) -> Binary:
        sides = (value_type(left), value_type(right))
        returns = ValueType.SCALAR if sides == (ValueType.SCALAR, ValueType.SCALAR) else ValueType.VECTOR
        kept = matching if sides == (ValueType.VECTOR, ValueType.VECTOR) else None
        span = Span(left.span.start, right.span.end)
        node = Binary(op, left, right, returns, kept, return_bool, op_span=op_span, span=span)
        self._note(check_binary(node, matching))
        return node

    def _signed(self) -> Expr:
        if not self._cursor.is_symbol("+", "-"):
            return self._postfix(self._operand())
        sign = self._cursor.take()
        operand = self._binary(_UNARY)
        span = Span(sign.start, operand.span.end)
        if isinstance(operand, NumberLiteral):
            value = -operand.value if sign.text == "-" else operand.value
            return replace(operand, value=math.nan if math.isnan(value) else value, span=span)
        node = Unary(sign.text, operand, span=span)
        self._note(check_unary(node))
        return node

    # what may follow an operand

    def _postfix(self, node: Expr) -> Expr:
        cursor = self._cursor
        while True:
            if cursor.is_symbol("["):
                node = self._range(node)
            elif cursor.is_word("offset"):
                cursor.take()
                node = self._with_offset(node)
            elif cursor.is_symbol("@"):
                cursor.take()
                node = self._with_at(node)
            elif cursor.is_word("anchored", "smoothed"):
                node = self._extended(node, cursor.take().word)
            else:
                return node

    def _range(self, node: Expr) -> Expr:
        cursor = self._cursor
        opening = cursor.expect("[")
        width = parse_bracket_duration(cursor)
        if cursor.accept(":"):
            step = None if cursor.is_symbol("]") else parse_bracket_duration(cursor)
            cursor.expect("]", "subquery selector", '"]"')
            subquery = Subquery(node, width, step, span=cursor.span_from(node.span.start))
            self._note(check_subquery(subquery))
            return subquery
        cursor.expect("]", "subquery or range", '":" or "]"')
        problem = ""
        if not isinstance(node, VectorSelector):
            problem = "ranges only allowed for vector selectors"
        elif node.offset != 0:
            problem = "no offset modifiers allowed before range"
        elif node.at is not None:
            problem = "no @ modifiers allowed before range"
        else:
            return MatrixSelector(node, width, span=cursor.span_from(node.span.start))
        raise ParseError(problem, opening.start, cursor.last_end)

    def _with_offset(self, node: Expr) -> Expr:
        offset = parse_offset(self._cursor)
        target = node.selector if isinstance(node, MatrixSelector) else node
        if not isinstance(target, VectorSelector | Subquery):
            message = "offset modifier must be preceded by an instant vector selector or range vector selector"
            raise ParseError(message + " or a subquery", node.span.start, node.span.end)
        if target.offset != 0:
            raise ParseError("offset may not be set multiple times", node.span.start, node.span.end)
        return self._modified(node, replace(target, offset=offset))

    def _with_at(self, node: Expr) -> Expr:
        at = self._at_time(node)
        target = node.selector if isinstance(node, MatrixSelector) else node
        if not isinstance(target, VectorSelector | Subquery):
            message = "@ modifier must be preceded by an instant vector selector or range vector selector"
            raise ParseError(message + " or a subquery", node.span.start, node.span.end)
        if target.at is not None:
            raise ParseError(_TOO_MANY_AT, node.span.start, node.span.end)
        return self._modified(node, replace(target, at=at))

    def _modified(self, node: Expr, target: VectorSelector | Subquery) -> Expr:
        span = self._cursor.span_from(node.span.start)
        if isinstance(node, MatrixSelector) and isinstance(target, VectorSelector):
            return replace(node, selector=target, span=span)
        return replace(target, span=span)

    def _at_time(self, node: Expr) -> At:
        cursor = self._cursor
        if cursor.is_word("start", "end"):
            edge = AtEdge(cursor.take().word)
            cursor.expect("(", "@", "timestamp")
            cursor.expect(")", "@", "timestamp")
            return edge
        sign = cursor.take().text if cursor.is_symbol("+", "-") else "+"
        if cursor.token.kind not in (Kind.NUMBER, Kind.DURATION):
            cursor.unexpected("@", "timestamp")
        seconds = number_of(cursor.take()).value * (-1 if sign == "-" else 1)
        if not abs(seconds) < _MAX_AT_SECONDS:
            message = f"timestamp out of bounds for @ modifier: {seconds:f}"
            raise ParseError(message, node.span.start, node.span.end)
        return _round_half_away(seconds * 1000)

    def _extended(self, node: Expr, word: str) -> Expr:
        target = node.selector if isinstance(node, MatrixSelector) else node
        if not isinstance(target, VectorSelector):
            what = "is not supported for subqueries" if isinstance(node, Subquery) else "not implemented"
            raise ParseError(f"{word} modifier {what}", node.span.start, node.span.end)
        anchored, smoothed = target.anchored or word == "anchored", target.smoothed or word == "smoothed"
        if anchored and smoothed:
            message = "anchored and smoothed modifiers cannot be used together"
            raise ParseError(message, node.span.start, node.span.end)
        return self._modified(node, replace(target, anchored=anchored, smoothed=smoothed))

    # operands

    def _operand(self) -> Expr:
        cursor = self._cursor
        token = cursor.token
        if token.kind in (Kind.NUMBER, Kind.DURATION):
            return number_of(cursor.take())
        if token.kind is Kind.STRING:
            cursor.take()
            return StringLiteral(string_of(token), span=Span(token.start, token.end))
        if cursor.is_symbol("("):
            cursor.take()
            inner = self._binary(1)
            cursor.expect(")")
            return Paren(inner, span=cursor.span_from(token.start))
        if cursor.is_symbol("{"):
            return self._selector(None)
        return self._named()

    def _named(self) -> Expr:
        """A word: an aggregation, a call, or the name of a metric."""
        cursor = self._cursor
        token, following = cursor.token, cursor.following
        is_called = following.kind is Kind.PUNCTUATION and following.text == "("
        if token.kind is Kind.AGGREGATOR and (
            is_called or (following.kind is Kind.KEYWORD and following.word in ("by", "without"))
        ):
            return self._aggregate(cursor.take())
        if token.kind in (Kind.IDENTIFIER, Kind.PREPROCESSOR) and is_called:
            return self._call(cursor.take())
        if token.kind in _METRIC_KINDS and token.text[0].isalpha() | (token.text[0] in "_:"):
            if token.word in NOT_A_METRIC:
                cursor.unexpected()
            return self._selector(cursor.take())
        return cursor.unexpected()

    def _selector(self, name: Token | None) -> VectorSelector:
        cursor = self._cursor
        start = name.start if name else cursor.token.start
        matchers = parse_matchers(cursor) if cursor.is_symbol("{") else []
        if name:
            matchers.append(Matcher(METRIC_NAME, MatchOp.EQUAL, name.text))
        ordered = tuple(sorted(matchers, key=str))
        node = VectorSelector(name.text if name else "", ordered, span=cursor.span_from(start))
        self._note(check_selector(node))
        return node

    def _call(self, name: Token) -> Call:
        signature = SIGNATURES.get(name.text)
        args = self._arguments()
        if signature is None:
            raise ParseError(f"unknown function with name {quote(name.text)}", name.start, name.end)
        span = self._cursor.span_from(name.start)
        if name.text == "info" and len(args) > 1 and isinstance(args[1], VectorSelector):
            filtered = args[1].span  # a label filter may be empty or match everything
            self._problems = [p for p in self._problems if (p.start, p.end) != (filtered.start, filtered.end)]
        self._note(check_call(signature, args, span))
        return Call(name.text, args, signature.returns, span=span)

    def _arguments(self) -> tuple[Expr, ...]:
        cursor = self._cursor
        cursor.expect("(")
        args: list[Expr] = []
        while not cursor.is_symbol(")"):
            args.append(self._binary(1))
            comma = cursor.accept(",")
            if comma and cursor.is_symbol(")"):
                message = "trailing commas not allowed in function call args"
                raise ParseError(message, comma.start, comma.end)
            if not comma and not cursor.is_symbol(")"):
                cursor.unexpected()
        cursor.expect(")")
        return tuple(args)

    def _aggregate(self, name: Token) -> Aggregate:
        cursor = self._cursor
        grouping: tuple[str, ...] = ()
        modifier = cursor.take().word if cursor.is_word("by", "without") else ""
        if modifier:
            grouping = parse_grouping(cursor)
        args = self._arguments()
        if not modifier and cursor.is_word("by", "without"):
            modifier = cursor.take().word
            grouping = parse_grouping(cursor)
        span = cursor.span_from(name.start)
        wanted = 2 if name.word in AGGREGATORS_WITH_PARAMETER else 1
        if not args:
            raise ParseError("no arguments for aggregate expression provided", span.start, span.end)
        if len(args) != wanted:
            message = f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(args)}"
            raise ParseError(message, span.start, span.end)
        param = args[0] if wanted == 2 else None
        node = Aggregate(name.word, args[-1], param, grouping, modifier == "without", span=span)
        self._note(check_aggregate(node))
        return node


def _round_half_away(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))

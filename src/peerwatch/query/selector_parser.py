"""Label matchers and grouping labels: the parts of the grammar that name labels."""

from __future__ import annotations

from peerwatch.errors import ParseError, QueryError
from peerwatch.model import METRIC_NAME, Matcher, MatchOp
from peerwatch.query.cursor import Cursor
from peerwatch.query.gotext import is_utf8, quote, unquote
from peerwatch.query.token import Kind, Token

_MATCH_OPS = {"=": MatchOp.EQUAL, "!=": MatchOp.NOT_EQUAL, "=~": MatchOp.REGEX, "!~": MatchOp.NOT_REGEX}
_LABEL_KINDS = (Kind.IDENTIFIER, Kind.METRIC_IDENTIFIER, Kind.AGGREGATOR, Kind.KEYWORD, Kind.PREPROCESSOR)


def string_of(token: Token) -> str:
    """The value of a STRING token. Raises ParseError at the bad escape."""
    try:
        return unquote(token.text)
    except ParseError as error:
        raise ParseError(str(error), token.start, token.end) from error


def parse_matchers(cursor: Cursor) -> list[Matcher]:
    """`{…}`, the brace ahead."""
    cursor.expect("{")
    matchers: list[Matcher] = []
    while not cursor.is_symbol("}"):
        matchers.append(_matcher(cursor))
        if not cursor.accept(",") and not cursor.is_symbol("}"):
            cursor.unexpected("label matching", '"," or "}"')
    cursor.expect("}")
    return matchers


def _matcher(cursor: Cursor) -> Matcher:
    name = cursor.token
    if name.kind not in (Kind.IDENTIFIER, Kind.STRING):
        cursor.unexpected("label matching", 'identifier or "}"')
    cursor.take()
    is_quoted = name.kind is Kind.STRING
    label = string_of(name) if is_quoted else name.text
    if is_quoted and cursor.is_symbol(",", "}"):
        return _build(METRIC_NAME, MatchOp.EQUAL, label, name, name)
    if not cursor.is_symbol(*_MATCH_OPS):
        cursor.unexpected("label matching", "label matching operator")
    op = _MATCH_OPS[cursor.take().text]
    value = cursor.token
    if value.kind is not Kind.STRING:
        cursor.unexpected("label matching", "string")
    cursor.take()
    return _build(label, op, string_of(value), name, value)


def _build(label: str, op: MatchOp, value: str, first: Token, last: Token) -> Matcher:
    if op in (MatchOp.REGEX, MatchOp.NOT_REGEX) and not is_utf8(value):
        raise ParseError("error parsing regexp: invalid UTF-8", first.start, last.end)
    try:
        return Matcher(label, op, value)
    except QueryError as error:
        raise ParseError(f"error parsing regexp: {error}", first.start, last.end) from error


def parse_grouping(cursor: Cursor) -> tuple[str, ...]:
    """`(a, b)`, as after by, without, on, ignoring and group_left."""
    cursor.expect("(", "grouping opts", '"("')
    names: list[str] = []
    while not cursor.is_symbol(")"):
        names.append(_grouping_label(cursor))
        if not cursor.accept(",") and not cursor.is_symbol(")"):
            cursor.unexpected("grouping opts", '"," or ")"')
    cursor.expect(")")
    return tuple(names)


def _grouping_label(cursor: Cursor) -> str:
    token = cursor.token
    is_word_operator = token.kind is Kind.OPERATOR and token.text.isalnum()
    if token.kind is not Kind.STRING and token.kind not in _LABEL_KINDS and not is_word_operator:
        cursor.unexpected("grouping opts", "label")
    cursor.take()
    name = string_of(token) if token.kind is Kind.STRING else token.text
    if not name or not is_utf8(name):
        raise ParseError(f"invalid label name for grouping: {quote(name)}", token.start, token.end)
    return name

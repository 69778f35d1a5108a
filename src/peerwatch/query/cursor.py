"""Cursor: a place in a list of tokens, with the errors that a parser raises there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from peerwatch.errors import ParseError
from peerwatch.query.ast import Span
from peerwatch.query.token import Kind, Token

MAX_DEPTH = 100
"""How deep parentheses, calls and signs may nest: far more than people write, far less than Python's stack."""


class Cursor:
    """Reads tokens one by one, one of look-ahead. Owned by one parser."""

    __slots__ = ("_at", "_depth", "_tokens")

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        """The token ahead. Raises ParseError when it is where the text stops being PromQL."""
        token = self._tokens[self._at]
        if token.kind is Kind.ERROR:
            raise ParseError(token.text, token.start, token.end)
        return token

    @property
    def following(self) -> Token:
        """The token after the one ahead (an ERROR is not raised yet)."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    @property
    def last_end(self) -> int:
        """Where the token before the one ahead ends."""
        return self._tokens[self._at - 1].end if self._at else 0

    def take(self) -> Token:
        """The token ahead, and step over it."""
        token = self.token
        self._at += 1
        return token

    def is_symbol(self, *symbols: str) -> bool:
        """Whether the token ahead is one of these symbols."""
        token = self.token
        return token.kind in (Kind.PUNCTUATION, Kind.OPERATOR) and token.text in symbols

    def is_word(self, *words: str) -> bool:
        """Whether the token ahead is one of these keywords or preprocessors."""
        token = self.token
        return token.kind in (Kind.KEYWORD, Kind.PREPROCESSOR) and token.word in words

    def accept(self, symbol: str) -> Token | None:
        """Step over the symbol if it is ahead."""
        return self.take() if self.is_symbol(symbol) else None

    def expect(self, symbol: str, context: str = "", expected: str = "") -> Token:
        """Step over the symbol, or raise ParseError."""
        if not self.is_symbol(symbol):
            self.unexpected(context, expected)
        return self.take()

    def unexpected(self, context: str = "", expected: str = "") -> NoReturn:
        """Raise ParseError about the token ahead."""
        token = self.token
        message = f"unexpected {token.describe()}"
        if context:
            message += f" in {context}"
        if expected:
            message += f", expected {expected}"
        raise ParseError(message, token.start, token.end)

    def span_from(self, start: int) -> Span:
        """From `start` to the end of what has been read."""
        return Span(start, self.last_end)

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """One level of nesting. Raises ParseError past `MAX_DEPTH`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            token = self._tokens[self._at]
            raise ParseError(f"expression nested deeper than {MAX_DEPTH} levels", token.start, token.end)
        try:
            yield
        finally:
            self._depth -= 1

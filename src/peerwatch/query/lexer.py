"""Lexer: PromQL text to tokens, in one pass."""

from __future__ import annotations

import re

from peerwatch.errors import ParseError
from peerwatch.query.gotext import quote
from peerwatch.query.token import WORD_KINDS, Kind, Token

MAX_QUERY_CHARS = 1 << 20  # a megabyte of query is a mistake or an attack
MAX_TOKENS = 100_000

_SKIP = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)+")
_NUMBER = re.compile(
    r"(?:0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
    r"|(?:[0-9]+(?:_[0-9]+)*(?:\.(?:[0-9]+(?:_[0-9]+)*)?)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+(?:_[0-9]+)*)?)"
    r"(?![0-9A-Za-z_.])"
)
_DURATION = re.compile(r"[0-9]+[smhdwy]s?(?:[0-9]+[smhdw]s?)*(?![0-9A-Za-z_])")
_NUMBER_RUN = re.compile(r"[0-9A-Za-z_.]+")
_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|' + r"'(?:[^'\\\n]|\\[^\n])*'|" + r"`[^`]*`")
_SYMBOL = re.compile(r"==|!=|<=|>=|</|>/|[-+*/%^=<>@,(){}\[\]:]")
_BRACE_SYMBOL = re.compile(r"=~|!~|!=|[=,}]")
_PUNCTUATION = frozenset("(){}[],:=")
_FOLLOWED_BY_PAREN = re.compile(r"[ \t\r\n]*\(")


def tokenize(text: str) -> list[Token]:
    """All tokens of `text`, the last one EOF or ERROR. Comments and spaces are dropped.

    An ERROR token stands where the text stops being PromQL, so that a syntax error before it is reported first.
    Raises ParseError for a text that is longer than the limits allow; time is linear in its length.
    """
    if len(text) > MAX_QUERY_CHARS:
        raise ParseError(f"query of {len(text)} characters, limit {MAX_QUERY_CHARS}")
    return _Lexer(text).run()


class _Lexer:
    """State of one pass: where we are and what is open."""

    __slots__ = ("_at", "_braces", "_brackets", "_colon", "_parens", "_text", "_tokens")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tokens: list[Token] = []
        self._parens = 0
        self._braces = False
        self._brackets = False
        self._colon = False

    def run(self) -> list[Token]:
        while not self._tokens or self._tokens[-1].kind not in (Kind.EOF, Kind.ERROR):
            skipped = _SKIP.match(self._text, self._at)
            if skipped:
                self._at = skipped.end()
            if self._at >= len(self._text):
                self._finish()
            elif self._braces:
                self._inside_braces()
            else:
                self._outside_braces()
            if len(self._tokens) > MAX_TOKENS:
                raise ParseError(f"query of more than {MAX_TOKENS} tokens", self._at, self._at)
        return self._tokens

    def _emit(self, kind: Kind, end: int) -> None:
        self._tokens.append(Token(kind, self._text[self._at : end], self._at, end))
        self._at = end

    def _fail(self, message: str, start: int | None = None) -> None:
        self._tokens.append(Token(Kind.ERROR, message, self._at if start is None else start, len(self._text)))

    def _finish(self) -> None:
        if self._braces:
            self._fail("unexpected end of input inside braces")
        elif self._parens:
            self._fail("unclosed left parenthesis")
        elif self._brackets:
            self._fail("unclosed left bracket")
        else:
            self._emit(Kind.EOF, self._at)

    def _inside_braces(self) -> None:
        char = self._text[self._at]
        if found := _NAME.match(self._text, self._at):
            self._emit(Kind.IDENTIFIER, found.end())
        elif char in "\"'`":
            self._string()
        elif found := _BRACE_SYMBOL.match(self._text, self._at):
            symbol = found.group()
            self._braces = symbol != "}"
            self._emit(Kind.PUNCTUATION if symbol in _PUNCTUATION else Kind.OPERATOR, found.end())
        elif char == "!":
            following = self._text[self._at + 1 : self._at + 2]
            self._fail(f"unexpected character after '!' inside braces: '{following}'")
        elif char == "{":
            self._fail("unexpected left brace '{'")
        else:
            self._fail(f"unexpected character inside braces: '{char}'")

    def _outside_braces(self) -> None:
        text, at = self._text, self._at
        char = text[at]
        if char.isascii() and (char.isalpha() or char == "_" or (char == ":" and not self._brackets)):
            self._word()
        elif char.isascii() and (char.isdigit() or (char == "." and text[at + 1 : at + 2].isdigit())):
            self._number()
        elif char in "\"'`":
            self._string()
        elif found := _SYMBOL.match(text, at):
            self._symbol(found.group())
        elif char == "!":
            self._fail(f"unexpected character after '!': '{text[at + 1 : at + 2]}'")
        else:
            self._fail(f"unexpected character: '{char}'")

    def _word(self) -> None:
        found = _WORD.match(self._text, self._at)
        assert found is not None
        word = found.group()
        if self._brackets and ":" in word:  # [step():step()] : the colon is punctuation here
            word = word[: word.index(":")]
        end = self._at + len(word)
        kind = WORD_KINDS.get(word.lower(), Kind.METRIC_IDENTIFIER if ":" in word else Kind.IDENTIFIER)
        if word.lower().startswith("fill") and not _FOLLOWED_BY_PAREN.match(self._text, end):
            kind = Kind.IDENTIFIER  # metrics named fill went before the modifier
        self._emit(kind, end)

    def _number(self) -> None:
        if found := _NUMBER.match(self._text, self._at):
            self._emit(Kind.NUMBER, found.end())
        elif found := _DURATION.match(self._text, self._at):
            self._emit(Kind.DURATION, found.end())
        else:
            run = _NUMBER_RUN.match(self._text, self._at)
            self._fail(f"bad number or duration syntax: {quote(run.group() if run else '')}")

    def _string(self) -> None:
        found = _STRING.match(self._text, self._at)
        if found is None:
            raw = self._text[self._at] == "`"
            self._fail("unterminated raw string" if raw else "unterminated quoted string")
            return
        self._emit(Kind.STRING, found.end())

    def _symbol(self, symbol: str) -> None:
        if problem := self._track(symbol):
            self._fail(problem)
            return
        kind = Kind.PUNCTUATION if symbol in _PUNCTUATION else Kind.OPERATOR
        self._emit(kind, self._at + len(symbol))

    def _track(self, symbol: str) -> str | None:
        """Note what opens and closes; the message when it must not do so here."""
        match symbol:
            case "(":
                self._parens += 1
            case ")":
                self._parens -= 1
                return "unexpected right parenthesis ')'" if self._parens < 0 else None
            case "{":
                self._braces = True
            case "[":
                if self._brackets:
                    return "unexpected left bracket '['"
                self._brackets, self._colon = True, False
            case "]":
                if not self._brackets:
                    return "unexpected right bracket ']'"
                self._brackets = False
            case ":":
                if self._colon:
                    return "unexpected colon ':'"
                self._colon = True
            case "}":
                return "unexpected character: '}'"
        return None

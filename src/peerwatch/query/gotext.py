"""Go's spelling of strings, numbers and durations: what PromQL texts are written in and answers are printed in."""

from __future__ import annotations

import math
import re

import numpy as np

from peerwatch.errors import ParseError

MS_PER_UNIT = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_MAX_DURATION_MS = (1 << 63) // 1_000_000  # Go counts nanoseconds in an int64

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
_PRINTED_WHEN_EXACT = ("y", "w")  # "90d" is easier to read than "12w6d"
_SIMPLE_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_QUOTED_ESCAPES = {7: "\\a", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v", 92: "\\\\", 34: '\\"'}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def unquote(text: str) -> str:
    """The string that a quoted PromQL literal means. Bytes that are not UTF-8 come back as surrogate escapes.

    Raises ParseError (positions within `text`) for an escape that Go does not know.
    """
    quote, body = text[0], text[1:-1]
    if quote == "`" or "\\" not in body:
        return body
    raw = bytearray()
    at = 0
    while at < len(body):
        if body[at] != "\\":
            end = body.find("\\", at)
            end = len(body) if end < 0 else end
            raw += body[at:end].encode("utf-8", "surrogateescape")
            at = end
            continue
        at = _unescape(body, at + 1, quote, raw)
    return raw.decode("utf-8", "surrogateescape")


def _unescape(body: str, at: int, quote: str, raw: bytearray) -> int:
    """Append what the escape after the backslash means; the position behind it."""
    if at >= len(body):
        raise ParseError("escape sequence not terminated", at, at)
    char = body[at]
    if char == quote:
        raw += char.encode()
        return at + 1
    if char in _SIMPLE_ESCAPES:
        raw.append(_SIMPLE_ESCAPES[char])
        return at + 1
    if char in "01234567":
        return _numeric_escape(body, at, 3, 8, raw)
    if char in _HEX_DIGITS:
        return _numeric_escape(body, at + 1, _HEX_DIGITS[char], 16, raw)
    raise ParseError(f"unknown escape sequence U+{ord(char):04X} '{char}'", at, at + 1)


def _numeric_escape(body: str, at: int, digits: int, base: int, raw: bytearray) -> int:
    text = body[at : at + digits]
    try:
        if len(text) < digits or not text.isalnum():
            raise ValueError(text)
        code = int(text, base)
    except ValueError as error:
        raise ParseError("illegal character in escape sequence", at, at + digits) from error
    if digits <= 3:  # \x41 and \101 are bytes, \u and \U are runes
        if code > 255:
            raise ParseError("escape sequence is an invalid Unicode code point", at, at + digits)
        raw.append(code)
    else:
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ParseError("escape sequence is an invalid Unicode code point", at, at + digits)
        raw += chr(code).encode()
    return at + digits


def quote(value: str) -> str:
    """`value` as Go's %q prints it."""
    return '"' + "".join(_quote_char(char) for char in value) + '"'


def _quote_char(char: str) -> str:
    code = ord(char)
    if code in _QUOTED_ESCAPES:
        return _QUOTED_ESCAPES[code]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable() and code != 0x7F:
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_number(text: str) -> float:
    """A number literal, read as Prometheus reads it: an integer of Go first (0x10, 017 is octal), else a float.

    Raises ValueError for what is neither, or too large for a float64.
    """
    lowered = text.lower()
    if lowered in ("inf", "nan"):
        return math.inf if lowered == "inf" else math.nan
    if lowered.startswith("0x"):
        return float(int(text.replace("_", ""), 16))
    if len(text) > 1 and text[0] == "0" and re.fullmatch(r"0_?[0-7]+(_[0-7]+)*", text):
        return float(int(text.replace("_", ""), 8))
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is out of range")
    return value


def parse_duration_ms(text: str) -> int:
    """Milliseconds of a duration such as 1h30m. Raises ValueError for anything else."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"not a valid duration string: {quote(text)}")
    total = sum(int(digits) * unit for digits, unit in zip(found.groups(), MS_PER_UNIT.values(), strict=True) if digits)
    if total > _MAX_DURATION_MS:
        raise ValueError("duration out of range")
    return total


def format_duration_ms(duration_ms: int) -> str:
    """A duration as Prometheus prints it; a negative one carries its sign in front."""
    if duration_ms == 0:
        return "0s"
    if duration_ms < 0:
        return "-" + format_duration_ms(-duration_ms)
    parts = []
    for unit, unit_ms in MS_PER_UNIT.items():
        if unit in _PRINTED_WHEN_EXACT and duration_ms % unit_ms:
            continue
        count, duration_ms = divmod(duration_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_plain(value: float) -> str:
    """Shortest digits that read back the same, never an exponent: Go's FormatFloat(v, 'f', -1, 64)."""
    if value != value or math.isinf(value):
        return "NaN" if value != value else ("+Inf" if value > 0 else "-Inf")
    text = repr(float(value))
    if "e" not in text:
        return text.removesuffix(".0")
    mantissa, exponent = text.split("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def format_sample(value: float) -> str:
    """A sample value as the HTTP API prints it: plain between 1e-6 and 1e21, else with an exponent."""
    size = abs(value)
    if size == 0 or 1e-6 <= size < 1e21 or value != value or math.isinf(value):
        return format_plain(value)
    return repr(float(value)).replace(".0e", "e")


def format_general(value: float) -> str:
    """Go's %g: an exponent below 1e-4 and from 1e6 on. Messages and bounds in labels use it."""
    if value != value or math.isinf(value) or value == 0 or 1e-4 <= abs(value) < 1e6:
        return format_plain(value)
    return np.format_float_scientific(value, trim="-", exp_digits=2)


def format_scientific(value: float) -> str:
    """Go's FormatFloat(v, 'g', -1, 64): an exponent below 1e-4 and from 1e6 on. Text expositions use it."""
    plain = format_plain(value)
    if value == 0 or value != value or math.isinf(value) or 1e-4 <= abs(value) < 1e6:
        return plain
    sign = "-" if value < 0 else ""
    whole, _, fraction = plain.removeprefix("-").partition(".")
    small = len(fraction) - len(fraction.lstrip("0")) + 1
    exponent = -small if whole == "0" else len(whole) - 1
    digits = (whole + fraction).strip("0")
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{sign}{mantissa}e{exponent:+03d}"


def format_open_metrics(value: float) -> str:
    """A bound or quantile as OpenMetrics wants it in a label: always with a point or an exponent ("1.0")."""
    text = format_general(value + 0.0)  # -0 becomes 0
    return text if any(mark in text for mark in ".eNI") else text + ".0"


def line_and_column(text: str, position: int) -> str:
    """`line:column` of a character position, both from 1; columns count bytes, as Prometheus's do."""
    before = text[:position]
    line_start = before.rfind("\n") + 1
    column = len(before[line_start:].encode("utf-8", "surrogateescape")) + 1
    return f"{before.count(chr(10)) + 1}:{column}"


def is_utf8(value: str) -> bool:
    """Whether the string could be written as UTF-8 (no byte was escaped into it)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

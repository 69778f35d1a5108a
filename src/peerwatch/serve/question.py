"""Question: a request of the read API with a head that is plain enough for the fast lane. It decides nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(rb"(GET|POST) (/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))? HTTP/1\.1")
"""Visible ASCII without a fragment: all else is left to a full parser of URLs."""

_JUDGED = frozenset({b"host", b"origin", b"authorization"})
_READ = frozenset({b"content-length", b"connection", b"accept-encoding"})
_HARMLESS = frozenset(
    {
        b"accept",
        b"accept-language",
        b"cache-control",
        b"content-type",
        b"dnt",
        b"pragma",
        b"priority",
        b"referer",
        b"traceparent",
        b"tracestate",
        b"user-agent",
    }
)
_HARMLESS_PREFIXES = (b"sec-", b"x-grafana-", b"x-datasource-", b"x-dashboard-", b"x-panel-", b"x-query-")
"""Of browsers and of Grafana: who asks, and from which panel."""


@dataclass(frozen=True, slots=True)
class Question:
    """`fields`: the headers that a gate judges, each once. `closes`: the client wants no second answer here."""

    method: str
    path: str
    query: bytes
    fields: dict[bytes, bytes]
    accept_encoding: bytes
    body_bytes: int
    closes: bool


def read_question(head: bytes) -> Question | None:
    """The question in a head (without its empty line), or None where anything in it is unusual.

    Only names that are known to change neither where the request ends nor who sent it may be there, and none that
    matters twice.
    """
    line, *lines = head.split(b"\r\n")
    matched = _LINE.fullmatch(line)
    if matched is None or not head.count(b"\n") == head.count(b"\r") == len(lines):
        return None
    fields = _fields(lines)
    if fields is None or not fields.get(b"host"):
        return None
    length = fields.pop(b"content-length", b"0")
    connection = fields.pop(b"connection", b"keep-alive").lower()
    if not length.isdigit() or len(length) > 5 or connection not in (b"keep-alive", b"close"):
        return None
    encoding = fields.pop(b"accept-encoding", b"")
    method, path, query = matched[1].decode(), matched[2].decode(), matched[3] or b""
    return Question(method, path, query, fields, encoding, int(length), connection == b"close")


def _fields(lines: list[bytes]) -> dict[bytes, bytes] | None:
    """The fields that matter, by lower-case name, or None when one is unknown or comes twice."""
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if name in _JUDGED or name in _READ:
            if name in found or not colon:
                return None
            found[name] = value.strip(b" \t")
        elif name not in _HARMLESS and not name.startswith(_HARMLESS_PREFIXES):
            return None
    return found

"""label_replace and label_join: new labels from old ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from peerwatch.errors import LimitError, QueryError
from peerwatch.model import METRIC_NAME, Labels
from peerwatch.model.matcher import compile_pattern
from peerwatch.query.functions.context import Argument, CallContext, Function, text_of, vector_of
from peerwatch.query.gotext import is_utf8, quote
from peerwatch.query.value import Value, Vector, merge_duplicates

MAX_LABEL_CHARS = 1 << 16
"""A label value may not become longer: nested calls could otherwise double it without end."""

_TEMPLATE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


def valid_label_name(name: str) -> bool:
    """Any UTF-8 text that is not empty."""
    return bool(name) and is_utf8(name)


def _label_replace(context: CallContext, args: Sequence[Argument]) -> Value:
    vector = vector_of(args[0])
    target, template, source, pattern = (text_of(arg) for arg in args[1:5])
    try:
        compiled = compile_pattern(pattern)
    except (QueryError, UnicodeEncodeError) as error:
        raise QueryError(f"invalid regular expression in label_replace(): {pattern}") from error
    if not valid_label_name(target):
        raise QueryError(f"invalid destination label name in label_replace(): {target}")

    def value_of(labels: Labels) -> str | None:
        found = compiled.fullmatch(labels.get(source))
        if found is None:
            return None
        return _expand(template, lambda name: _group(found, name))

    return _relabelled(vector, target, value_of)


def _expand(template: str, group: Callable[[str], str]) -> str:
    """Go's Regexp.Expand: $1, ${1}, $name, $$; what no group is called becomes empty."""

    def one(reference: re.Match[str]) -> str:
        name = reference.group(1) or reference.group(2)
        return group(name) if name else "$"

    return _TEMPLATE.sub(one, template)


def _group(found: re.Match[str], name: str) -> str:
    try:
        return found.group(int(name) if name.isdigit() else name) or ""
    except (IndexError, KeyError):
        return ""


def _label_join(context: CallContext, args: Sequence[Argument]) -> Value:
    vector = vector_of(args[0])
    target, separator, *sources = (text_of(arg) for arg in args[1:])
    for name in sources:
        if not valid_label_name(name):
            raise QueryError(f"invalid source label name in label_join(): {name}")
    if not valid_label_name(target):
        raise QueryError(f"invalid destination label name in label_join(): {target}")
    return _relabelled(vector, target, lambda labels: separator.join(labels.get(name) for name in sources))


def _relabelled(vector: Vector, target: str, value_of: Callable[[Labels], str | None]) -> Vector:
    labels, drops = [], vector.names_to_drop.copy()
    for row, old in enumerate(vector.labels):
        value = value_of(old)
        if value is None:
            labels.append(old)
            continue
        if len(value) > MAX_LABEL_CHARS:
            raise LimitError(f"label {quote(target)} of {len(value)} characters, limit {MAX_LABEL_CHARS}")
        if not is_utf8(value):
            raise QueryError(f"invalid label value {quote(value)}")
        labels.append(old.with_({target: value}))
        if target == METRIC_NAME:
            drops[row] = False  # a name given on purpose stays
    drop_name = drops if vector.drop_name is not None else None
    values, present = vector.values, vector.present
    if len(set(labels)) < len(labels):
        values, present = np.array(values), np.array(present)
    return merge_duplicates(replace(vector, labels=labels, drop_name=drop_name, values=values, present=present))


LABEL: dict[str, Function] = {"label_replace": _label_replace, "label_join": _label_join}

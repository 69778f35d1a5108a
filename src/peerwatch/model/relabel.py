"""RelabelRule: one step of rewriting or dropping label sets, as in Prometheus's relabel_config."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import re2

from peerwatch.errors import ConfigError, QueryError
from peerwatch.model.labels import RESERVED, Labels
from peerwatch.model.matcher import compile_pattern

DEFAULT_PATTERN = "(.*)"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


class RelabelAction(Enum):
    """What a rule does; the words are Prometheus's."""

    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    KEEP_EQUAL = "keepequal"
    DROP_EQUAL = "dropequal"
    HASHMOD = "hashmod"
    LABELMAP = "labelmap"
    LABELDROP = "labeldrop"
    LABELKEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"


_NEEDS_TARGET = frozenset(
    (
        *(RelabelAction.REPLACE, RelabelAction.HASHMOD, RelabelAction.LOWERCASE, RelabelAction.UPPERCASE),
        *(RelabelAction.KEEP_EQUAL, RelabelAction.DROP_EQUAL),
    )
)


@dataclass(frozen=True, slots=True)
class RelabelRule:
    """One rule; its fields are named as in relabel_config.

    Patterns are RE2, anchored at both ends; `$1`, `${name}` and `$$` work in replacement and target.

    Raises ConfigError for a rule that Prometheus would refuse.
    """

    action: RelabelAction = RelabelAction.REPLACE  # replace, keep, drop, labelmap and so on, as in Prometheus
    source_labels: tuple[str, ...] = ()  # their values, joined, are what the pattern sees
    separator: str = ";"  # between the joined values
    regex: str = DEFAULT_PATTERN  # RE2, anchored at both ends
    target_label: str = ""  # what replace, hashmod, lowercase and uppercase write
    replacement: str = "$1"  # may use $1 or ${name}
    modulus: int = 0  # for hashmod

    def __post_init__(self) -> None:
        try:
            compile_pattern(self.regex)
        except QueryError as error:
            raise ConfigError(f"relabel rule: {error}") from error
        if self.action in _NEEDS_TARGET and not self.target_label:
            raise ConfigError(f"relabel rule {self.action.value}: needs target_label")
        if self.action is RelabelAction.HASHMOD and self.modulus < 1:
            raise ConfigError(f"relabel rule hashmod: modulus {self.modulus}, must be at least 1")
        fixed_target = self.action in _NEEDS_TARGET and self.action is not RelabelAction.REPLACE
        if fixed_target and not _LABEL_NAME.match(self.target_label):
            raise ConfigError(f"relabel rule {self.action.value}: {self.target_label!r} is not a label name")
        if self.action is RelabelAction.LABELMAP and self.replacement.startswith(RESERVED):
            raise ConfigError(f"relabel rule labelmap: names that begin as {self.replacement!r} are reserved")


def relabel(labels: Labels, rules: Sequence[RelabelRule]) -> Labels | None:
    """`labels` after every rule, in order; None when a rule drops them."""
    pairs = dict(labels)
    for rule in rules:
        if not _STEPS[rule.action](rule, pairs):
            return None
    return Labels.of(pairs)


def _joined(rule: RelabelRule, pairs: dict[str, str]) -> str:
    return rule.separator.join(pairs.get(name, "") for name in rule.source_labels)


def _matches(rule: RelabelRule, text: str) -> bool:
    return compile_pattern(rule.regex).fullmatch(text) is not None


def _keep(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    return _matches(rule, _joined(rule, pairs))


def _drop(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    return not _matches(rule, _joined(rule, pairs))


def _keep_equal(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    return pairs.get(rule.target_label, "") == _joined(rule, pairs)


def _drop_equal(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    return not _keep_equal(rule, pairs)


def _replace(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    found = compile_pattern(rule.regex).fullmatch(_joined(rule, pairs))
    if found is None:
        return True
    target = _expand(rule.target_label, found)
    if _LABEL_NAME.match(target):
        pairs[target] = _expand(rule.replacement, found)  # empty: the label is gone
    return True


def _hashmod(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    digest = hashlib.md5(_joined(rule, pairs).encode(), usedforsecurity=False).digest()
    pairs[rule.target_label] = str(int.from_bytes(digest[8:], "big") % rule.modulus)
    return True


def _lowercase(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    pairs[rule.target_label] = _joined(rule, pairs).lower()
    return True


def _uppercase(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    pairs[rule.target_label] = _joined(rule, pairs).upper()
    return True


def _labelmap(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    for name, value in list(pairs.items()):
        found = compile_pattern(rule.regex).fullmatch(name)
        if found is not None and not (mapped := _expand(rule.replacement, found)).startswith(RESERVED):
            pairs[mapped] = value
    return True


def _labeldrop(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    for name in [name for name in pairs if _matches(rule, name)]:
        del pairs[name]
    return True


def _labelkeep(rule: RelabelRule, pairs: dict[str, str]) -> bool:
    for name in [name for name in pairs if not _matches(rule, name)]:
        del pairs[name]
    return True


_STEPS: dict[RelabelAction, Callable[[RelabelRule, dict[str, str]], bool]] = {
    RelabelAction.REPLACE: _replace,
    RelabelAction.KEEP: _keep,
    RelabelAction.DROP: _drop,
    RelabelAction.KEEP_EQUAL: _keep_equal,
    RelabelAction.DROP_EQUAL: _drop_equal,
    RelabelAction.HASHMOD: _hashmod,
    RelabelAction.LABELMAP: _labelmap,
    RelabelAction.LABELDROP: _labeldrop,
    RelabelAction.LABELKEEP: _labelkeep,
    RelabelAction.LOWERCASE: _lowercase,
    RelabelAction.UPPERCASE: _uppercase,
}


def _expand(template: str, found: re2._Match) -> str:
    """Go's Regexp.Expand: `$name` takes the longest run of word characters; an unknown group is empty."""
    if "$" not in template:
        return template

    def value(variable: re.Match[str]) -> str:
        if variable.group(1):
            return "$"
        name = variable.group(2) or variable.group(3)
        try:
            return found.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _VARIABLE.sub(value, template)

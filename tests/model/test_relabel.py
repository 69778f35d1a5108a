"""Relabelling does to a label set what Prometheus's relabel_config does."""

import hashlib

import pytest

from peerwatch.errors import ConfigError
from peerwatch.model import Labels
from peerwatch.model.relabel import RelabelAction as A
from peerwatch.model.relabel import RelabelRule, relabel

BASE = Labels.of(a="foo", b="bar", c="baz")


def rule(action: A = A.REPLACE, *sources: str, **settings: object) -> RelabelRule:
    return RelabelRule(action=action, source_labels=sources, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule(A.REPLACE, "a", regex="f(.*)", target_label="d", replacement="ch$1-ch$1")], {"d": "choo-choo"}),
        ([rule(A.REPLACE, "a", regex="foo", target_label="a", replacement="")], {"a": ""}),
        ([rule(A.REPLACE, "a", regex="oo", target_label="d", replacement="x")], {}),  # anchored: no match
        ([rule(A.REPLACE, "a", "b", target_label="d")], {"d": "foo;bar"}),
        ([rule(A.REPLACE, "a", "nope", separator="-", target_label="d")], {"d": "foo-"}),
        ([rule(A.REPLACE, target_label="d", replacement="const")], {"d": "const"}),
        (
            [rule(A.REPLACE, "a", regex="(?P<x>f)(.*)", target_label="d_${x}", replacement="$x$$${2}z$9")],
            {"d_f": "f$ooz"},
        ),
        ([rule(A.REPLACE, "a", regex="(.*)", target_label="$1-", replacement="x")], {}),  # not a label name
        ([rule(A.REPLACE, "a", regex="(f)oo", target_label="d", replacement="$1x")], {"d": ""}),  # a group named 1x
        ([rule(A.KEEP, "a", regex="foo")], {}),
        ([rule(A.KEEP, "a", regex="fo")], None),
        ([rule(A.DROP, "a", regex="fo")], {}),
        ([rule(A.DROP, "a", regex=".*o")], None),
        ([rule(A.KEEP, "nope", regex="")], {}),
        ([rule(A.KEEP_EQUAL, "a", target_label="a")], {}),
        ([rule(A.KEEP_EQUAL, "a", target_label="b")], None),
        ([rule(A.DROP_EQUAL, "a", target_label="a")], None),
        ([rule(A.DROP_EQUAL, "a", target_label="b")], {}),
        ([rule(A.LABELMAP, regex="(b.*|c)", replacement="new_$1")], {"new_b": "bar", "new_c": "baz"}),
        ([rule(A.LABELDROP, regex="a|b")], {"a": "", "b": ""}),
        ([rule(A.LABELKEEP, regex="a|b")], {"c": ""}),
        (
            [rule(A.UPPERCASE, "a", target_label="d"), rule(A.LOWERCASE, "d", target_label="e")],
            {"d": "FOO", "e": "foo"},
        ),
        ([rule(A.DROP, "a", regex="x"), rule(A.DROP, "c", regex="baz"), rule(target_label="d")], None),
    ],
)
def test_each_action(rules: list[RelabelRule], expected: dict[str, str] | None) -> None:
    """Rules run in order; an empty value removes a label; a dropped set is gone."""
    assert relabel(BASE, rules) == (None if expected is None else BASE.with_(expected))


def test_hashmod_is_prometheus_hash() -> None:
    """The last eight bytes of the MD5, big-endian: a fleet that shards with Prometheus can shard with us."""
    expected = int.from_bytes(hashlib.md5(b"foo;bar").digest()[8:], "big") % 1000
    assert relabel(BASE, [rule(A.HASHMOD, "a", "b", target_label="d", modulus=1000)]) == BASE.with_(
        {"d": str(expected)}
    )
    assert relabel(Labels.of(c="baz"), [rule(A.HASHMOD, "c", target_label="d", modulus=1000)]) == Labels.of(
        c="baz", d="976"
    )


def test_no_label_comes_to_be_called_what_is_the_store_s_own() -> None:
    """Names that begin with a NUL are reserved, however a rule makes one."""
    odd = Labels.of({"x\0part": "1"})
    assert relabel(odd, [RelabelRule(action=A.LABELMAP, regex="x(.*)")]) == odd


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"regex": "("}, "missing"),
        ({"action": A.HASHMOD, "target_label": "a"}, "modulus 0"),
        ({"action": A.REPLACE}, "needs target_label"),
        ({"action": A.KEEP_EQUAL}, "needs target_label"),
        ({"action": A.LOWERCASE, "target_label": "a-b"}, "not a label name"),
        ({"action": A.LABELMAP, "replacement": "\0part"}, "reserved"),
    ],
)
def test_a_rule_that_prometheus_refuses_is_refused(settings: dict[str, object], reason: str) -> None:
    """Bad patterns, missing targets and a zero modulus are found when the configuration is read."""
    with pytest.raises(ConfigError, match=reason):
        RelabelRule(**settings)  # type: ignore[arg-type]

"""Our syntax trees beside those of a recent Prometheus. Debian's has none to compare with."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from peerwatch.query.parser import parse
from peerwatch.query.tree import tree_of
from tests.e2e.processes import Processes
from tests.e2e.test_remote import NEWEST, READING, start_prometheus
from tests.promql.table import suite_folder

pytestmark = [pytest.mark.e2e, pytest.mark.servers]

SCRIPTS = suite_folder()
EVAL = re.compile(r"\s*eval(?:_\w+)? (?:instant|range)(?: at \S+| from \S+ to \S+ step \S+) +(.+)")
FEATURES = (
    "promql-duration-expr,promql-experimental-functions,promql-extended-range-selectors,promql-binop-fill-modifiers"
)
SIGN = "metric1_total offset +min_of(step(), 1s)^0"  # our tree leaves out a plus that changes nothing


def _trees_are_equal(processes: Processes) -> None:
    """Every query of Prometheus's own suite that this version knows."""
    _, url = start_prometheus(processes, str(NEWEST), READING, f"--enable-feature={FEATURES}", hub="http://127.0.0.1:1")
    lines = [line for file in SCRIPTS.glob("*.test") for line in file.read_text().splitlines()]
    texts = {match[1] for match in map(EVAL.match, lines) if match} - {SIGN}
    compared = 0
    with httpx.Client(base_url=url, trust_env=False) as client:
        for text in sorted(texts):
            answer = client.get("/api/v1/parse_query", params={"query": text})
            if answer.status_code == 200:
                assert _comparable(tree_of(parse(text))) == _comparable(answer.json()["data"]), text
                compared += 1
    assert compared > 1800


def _comparable(tree: Any) -> Any:
    """Matchers in one order, which our trees do not keep; without what only the newest versions know."""
    if isinstance(tree, list):
        return [_comparable(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    found = {key: _comparable(value) for key, value in tree.items() if key != "alignEvalTime"}
    if "matchers" in found:
        found["matchers"].sort(key=str)
    return found


if NEWEST and SCRIPTS.is_dir():  # a Prometheus with this endpoint, and its scripts, are not everywhere
    test_the_trees_are_those_of_a_recent_prometheus = _trees_are_equal

"""The table of panels holds together."""

from __future__ import annotations

import re

import pytest

from peerwatch.dashboard.panels import FLEET, PANELS, TILES, Query, legend
from peerwatch.dashboard.timespan import TIMESPANS
from peerwatch.model import Labels

OWN = [query for panel in (*PANELS, TILES) for query in panel.queries]
METRICS = re.compile(r"\b(?:node_[a-z0-9_A-Z]+|tcp_connections|up)\b(?=\{)")
KNOWN = {
    "node_cpu_seconds_total", "node_load1", "node_load5", "node_load15", "node_boot_time_seconds",
    "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_memory_MemFree_bytes",
    "node_memory_SwapTotal_bytes", "node_memory_SwapFree_bytes",
    "node_filesystem_avail_bytes", "node_filesystem_size_bytes",
    "node_disk_read_bytes_total", "node_disk_written_bytes_total",
    "node_network_receive_bytes_total", "node_network_transmit_bytes_total",
    "tcp_connections", "up",
}  # fmt: skip


@pytest.mark.parametrize("query", OWN, ids=lambda query: query.legend)
def test_every_selector_asks_for_one_instance(query: Query) -> None:
    """A panel never mixes machines: each selector carries instance and job."""
    selectors = METRICS.findall(query.expr)
    assert selectors
    assert query.expr.count('instance="$instance",job="$job"') == len(selectors)


@pytest.mark.parametrize("query", [*OWN, *FLEET], ids=lambda query: query.legend)
def test_metric_names_are_those_of_the_agent(query: Query) -> None:
    """Only node_exporter's names, `tcp_connections` and `up` are used."""
    assert set(METRICS.findall(query.expr)) <= KNOWN


@pytest.mark.parametrize("query", [*OWN, *FLEET], ids=lambda query: query.legend)
@pytest.mark.parametrize("span", TIMESPANS, ids=lambda span: span.id)
def test_nothing_is_left_to_fill_in(query: Query, span: object) -> None:
    """Each expression renders to PromQL without placeholders and with closed brackets, for every range."""
    expr = getattr(span, "render")(query.expr, instance="a", job="node")  # noqa: B009
    assert "$" not in expr
    assert all(expr.count(left) == expr.count(right) for left, right in ("()", "[]", "{}"))


@pytest.mark.parametrize("query", [query for query in OWN if "{" in query.legend], ids=lambda query: query.legend)
def test_a_legend_names_one_series(query: Query) -> None:
    """The labels of a legend are exactly those that the expression aggregates to."""
    by = re.search(r"by \((\w+)\)", query.expr)
    assert by is not None
    assert re.findall(r"\{(\w+)\}", query.legend) == [by.group(1)]


def test_panel_ids_are_distinct() -> None:
    """The page finds a panel by its id."""
    ids = [panel.id for panel in (*PANELS, TILES)]
    assert len(ids) == len(set(ids))


def test_a_legend_is_filled_from_labels() -> None:
    """An absent label shows as a dash, so that a series is never without a name."""
    assert legend("{device} rx", Labels.of(device="eth0")) == "eth0 rx"
    assert legend("{device} rx", Labels()) == "– rx"

"""What the sources say about a known /proc is what node_exporter says about it, name for name and value for value.

`golden/*.node_exporter.prom` is the output of node_exporter 1.5.0 on the same trees; `golden/*.prom` is ours.
"""

from __future__ import annotations

import math

import pytest

from peerwatch.agent.source import Reading
from peerwatch.model import Labels, Series
from peerwatch.wire.exposition import ExpositionParser, write_exposition
from tests.agent.trees import HERE, TREES, sources, tree

NOW_MS = 1_795_000_000_123

# What newer releases of node_exporter (1.8 to 1.11) added to the families that 1.5.0 has.
NEWER_FAMILIES = (
    "node_pressure_irq",
    "node_filesystem_mount_info",
    "node_netstat_TcpExt_TCPOFOQueue",
    "node_netstat_TcpExt_TCPRcvQDrop",
)
NEWER_LABELS = ("rotational", "adminstate")
OURS = ("tcp_connections", "node_time_seconds", "node_uname_info", "node_filesystem_")  # not from the golden run


def readings(name: str) -> list[Reading]:
    return [source.collect(NOW_MS) for source in sources(tree(name))]


def by_labels(pairs: list[tuple[Series, float]]) -> dict[Labels, tuple[Series, float]]:
    return {series.labels: (series, value) for series, value in pairs}


@pytest.mark.parametrize("name", TREES)
def test_names_labels_types_help_and_values_are_node_exporters(name: str) -> None:
    """Every series of node_exporter 1.5.0 is there, the same in everything; nothing is there that none of them has."""
    golden = ExpositionParser().parse((HERE / "golden" / f"{name}.node_exporter.prom").read_bytes())
    theirs = by_labels(list(zip(golden.series, golden.values.tolist(), strict=True)))
    ours = by_labels(
        [
            (Series(series.labels.without(NEWER_LABELS), series.type, series.help), float(value))
            for reading in readings(name)
            for series, value in zip(reading.series, reading.values, strict=True)
            if not series.labels.metric.startswith((*NEWER_FAMILIES, *OURS))
        ]
    )
    assert ours.keys() == theirs.keys()
    wrong = [
        (str(labels), ours[labels], theirs[labels])
        for labels in theirs
        if ours[labels][0] != theirs[labels][0] or not math.isclose(ours[labels][1], theirs[labels][1], rel_tol=1e-12)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", TREES)
def test_the_whole_exposition(name: str) -> None:
    """The text that a tree gives is known to the last byte."""
    text = write_exposition(
        (series, float(value))
        for reading in readings(name)
        for series, value in zip(reading.series, reading.values, strict=True)
    )
    path = HERE / "golden" / f"{name}.prom"
    assert text.decode().splitlines() == path.read_text().splitlines()


@pytest.mark.parametrize("name", TREES)
def test_a_tick_makes_no_new_series(name: str) -> None:
    """As long as the machine's shape stays, every source hands out the identical tuple."""
    for source in sources(tree(name)):
        assert source.collect(NOW_MS).series is source.collect(NOW_MS + 5000).series, type(source).__name__

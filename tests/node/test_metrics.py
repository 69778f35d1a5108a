"""The node's metrics have the names that dashboards and alerts know, a limit beside each, and few labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.node.config import NodeLimits
from peerwatch.node.gater import Direction, Reason
from peerwatch.node.metrics import DialFailure, NatMethod, NodeMetrics
from peerwatch.node.protocol_label import OTHER, PROTOCOLS, protocol_label
from peerwatch.node.reputation import Deed
from peerwatch.node.scheduler import Full
from peerwatch.telemetry import CollectorRegistry, generate_latest, process_registry

LIMITS = NodeLimits.hub()
IN, OUT = Direction


@pytest.fixture
def registry() -> CollectorRegistry:
    return process_registry()


def _lines(registry: CollectorRegistry) -> set[str]:
    return {line for line in generate_latest(registry).decode().splitlines() if "_created" not in line}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("libp2p_connections_opened_total", "counter"),
        ("libp2p_connections_active", "gauge"),
        ("libp2p_dht_query_duration_seconds", "histogram"),
        ("libp2p_gossipsub_messages_received_total", "counter"),
        ("libp2p_gossipsub_peers", "gauge"),
        ("libp2p_relay_connections_active", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("p2p_message_processing_seconds", "histogram"),
        ("p2p_peer_dial_failures_total", "counter"),
        ("p2p_blacklist_total", "counter"),
        ("p2p_messages_total", "counter"),
        ("libp2p_nat_traversal", "gauge"),
    ],
)
def test_the_names_of_the_requirements(registry: CollectorRegistry, name: str, kind: str) -> None:
    """From the first scrape on."""
    NodeMetrics(registry, LIMITS, 100)
    assert f"# TYPE {name} {kind}" in _lines(registry)


def test_every_limit_is_a_metric_beside_its_value(registry: CollectorRegistry) -> None:
    """So that a rule can say 80 %, whatever the preset."""
    NodeMetrics(registry, LIMITS, 100)
    lines = _lines(registry)
    assert {
        'libp2p_connections_active_limit{direction="inbound"} 1024.0',
        'libp2p_connections_active_limit{direction="outbound"} 512.0',
        "libp2p_connections_limit 1536.0",
        "libp2p_connections_pending_limit 128.0",  # each direction has its own
        "libp2p_connections_waiting_limit 512.0",
        "libp2p_connections_pending_per_subnet_limit 32.0",
        'libp2p_streams_active_limit{direction="inbound"} 6144.0',
        'libp2p_streams_active_limit{direction="outbound"} 2048.0',
        "libp2p_streams_limit 8192.0",
        "libp2p_streams_negotiating_limit 128.0",
        "libp2p_relay_connections_active_limit 256.0",
        f"process_resident_memory_bytes_limit {float(512 << 20)}",
        "process_open_fds_limit 2048.0",
        "p2p_bans_active_limit 100.0",
    } <= {re.sub(r"5\.36870912e\+08", str(float(512 << 20)), line) for line in lines}


def test_what_is_told_is_shown(registry: CollectorRegistry) -> None:
    """Each call moves what its name says."""
    metrics = NodeMetrics(registry, LIMITS, 100)
    for _ in range(3):
        metrics.connection_opened(IN)
    metrics.connection_closed(IN)
    metrics.show_pending(4, waiting=6)
    metrics.dial_failed(DialFailure.TIMEOUT)
    metrics.stream_opened(OUT)
    metrics.stream_opened(OUT)
    metrics.stream_closed(OUT)
    metrics.stream_refused(Full.PEER)
    metrics.show_negotiating(2)
    metrics.limit_requests(64, 32, 16)
    metrics.show_requests(7, 5, 3)
    metrics.message(IN, "/peerwatch/push/1")
    metrics.processed("/peerwatch/push/1", 0.003)
    metrics.queried(0.3)
    metrics.gossiped(6)
    metrics.show_mesh(gossip_peers=3, routing_table=7)
    metrics.show_relay(circuits=1, reservations=2)
    metrics.reached(NatMethod.RELAY)
    metrics.banned(permanent=True, active=2)
    metrics.banned(permanent=False, active=3)
    metrics.show_bans(1)
    metrics.denied(Reason.NOT_A_MEMBER)
    metrics.deed(Deed.FLOOD)
    assert {
        'libp2p_connections_opened_total{direction="inbound"} 3.0',
        'libp2p_connections_active{direction="inbound"} 2.0',
        "libp2p_connections_pending 4.0",
        "libp2p_connections_waiting 6.0",
        'p2p_peer_dial_failures_total{reason="timeout"} 1.0',
        'libp2p_streams_active{direction="outbound"} 1.0',
        'libp2p_streams_refused_total{reason="peer"} 1.0',
        "libp2p_streams_negotiating 2.0",
        "p2p_requests_held_bytes 7.0",
        "p2p_requests_waiting 5.0",
        "p2p_requests_waiting_limit 32.0",
        "p2p_requests_running 3.0",
        'p2p_messages_total{direction="inbound",protocol="push"} 1.0',
        'p2p_message_processing_seconds_bucket{le="0.005",protocol="push"} 1.0',
        'libp2p_dht_query_duration_seconds_bucket{le="0.5"} 1.0',
        "libp2p_gossipsub_messages_received_total 6.0",
        "libp2p_gossipsub_peers 3.0",
        "libp2p_dht_routing_table_size 7.0",
        "libp2p_relay_connections_active 1.0",
        "libp2p_relay_reservations_active 2.0",
        'libp2p_nat_traversal{method="relay"} 1.0',
        'libp2p_nat_traversal{method="direct"} 0.0',
        'p2p_blacklist_total{kind="permanent"} 1.0',
        'p2p_blacklist_total{kind="temporary"} 1.0',
        "p2p_bans_active 1.0",
        'p2p_denied_total{reason="not_a_member"} 1.0',
        'p2p_deeds_total{kind="flood"} 1.0',
    } <= _lines(registry)


def test_peers_make_no_series(registry: CollectorRegistry) -> None:
    """Whatever they call their protocols, and however many they are."""
    metrics = NodeMetrics(registry, LIMITS, 100)
    for name in PROTOCOLS:
        metrics.processed(f"/{name}", 0.1)
    before = len(_lines(registry))
    for n in range(1000):
        metrics.message(IN, f"/evil/{n}")
        metrics.processed(f"/evil/{n}", 0.1)
    after = _lines(registry)
    assert len(after) == before
    assert not any("peer_id" in line for line in after)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_every_protocol_has_one_of_a_few_labels(protocol: str) -> None:
    """Unknown ones share one."""
    assert protocol_label(protocol) in PROTOCOLS
    assert protocol_label(f"x{protocol}") == OTHER
    assert protocol_label(f"/ipfs/kad/{protocol}") == "kad"


def test_two_nodes_in_one_process_share_nothing() -> None:
    """As in tests, and in `up`."""
    NodeMetrics(CollectorRegistry(), LIMITS, 1).connection_opened(IN)
    other = CollectorRegistry()
    NodeMetrics(other, LIMITS, 1)
    assert 'libp2p_connections_opened_total{direction="inbound"} 0.0' in _lines(other)

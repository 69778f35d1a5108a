"""The presets hold the numbers of the requirements, and numbers that cannot work together are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peerwatch.errors import ConfigError
from peerwatch.node.config import NodeConfig, NodeLimits, RateConfig, ReputationConfig, SocketConfig
from tests.node.kit import PEERS


def test_an_agent_has_b13() -> None:
    """Streams 1024 (256 in, 768 out), connections 400 (200/200), 256 MB, 512 descriptors; 128/256 per connection."""
    limits = NodeConfig.agent().limits
    assert (limits.max_streams, limits.process_streams_in, limits.process_streams_out) == (1024, 256, 768)
    assert (limits.max_connections, limits.max_inbound, limits.max_outbound) == (400, 200, 200)
    assert (limits.memory_bytes, limits.descriptors) == (256 << 20, 512)
    assert (limits.max_streams_in, limits.max_streams_out, limits.max_negotiating) == (128, 256, 128)
    assert (limits.idle_connection_s, limits.idle_stream_s, limits.event_buffer) == (30.0, 60.0, 64)


def test_a_hub_has_b8() -> None:
    """1024 in, 512 out, and 8192 streams; per connection as the agent."""
    limits = NodeConfig.hub().limits
    assert (limits.max_inbound, limits.max_outbound, limits.max_streams) == (1024, 512, 8192)
    assert (limits.max_streams_in, limits.max_streams_out) == (128, 256)


def test_a_large_hub_has_room_for_5000_agents() -> None:
    """With three streams each, and what that costs fits its budgets."""
    limits = NodeConfig.hub_large().limits
    assert limits.max_inbound > 5000 and limits.process_streams_in > 3 * 5000
    assert limits.memory_bytes > (85 << 20) + limits.max_connections * 68_000
    assert limits.descriptors > limits.max_connections + limits.max_pending


def test_another_number_of_connections() -> None:
    """P2P_MAX_CONNECTIONS keeps the shares of the directions, and descriptors follow."""
    limits = NodeLimits.hub().with_connections(3000)
    assert (limits.max_connections, limits.max_inbound, limits.max_outbound) == (3000, 2000, 1000)
    assert limits.descriptors == 3000 + limits.max_pending + 64
    one = NodeLimits.agent().with_connections(1)
    assert (one.max_connections, one.max_inbound, one.max_outbound) == (1, 1, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NodeLimits(max_inbound=0), "node.limits.max_inbound is 0, must be above 0"),
        (lambda: NodeLimits(idle_stream_s=float("nan")), "node.limits.idle_stream_s is nan"),
        (lambda: NodeLimits(max_inbound=401), "max_inbound is 401, must be at most 400 (node.limits.max_connections)"),
        (
            lambda: NodeLimits(max_streams_out=257),
            "max_streams_out is 257, must be at most 256 (what the muxer allows)",
        ),
        (lambda: NodeLimits(descriptors=495), "node.limits.descriptors is 495, must be at least 496"),
        (lambda: NodeLimits().with_connections(0), "node.limits.max_connections is 0"),
        (lambda: RateConfig(burst_bytes=0), "node.rates.burst_bytes is 0"),
        (lambda: ReputationConfig(ban_below=-10), "ban_below -10, slow_below -20.0, best 20.0: must rise"),
        (lambda: ReputationConfig(slowest_factor=1.5), "must have 1 between them"),
        (lambda: ReputationConfig(half_life_s=0), "node.reputation.half_life_s is 0"),
        (lambda: SocketConfig(window_bytes=1), "node.socket.window_bytes is 1, must be at least 16777216"),
        (lambda: NodeConfig(listen=("0.0.0.0:4001",)), "node.listen: address '0.0.0.0:4001' is not a multiaddr"),
        (lambda: NodeConfig(bootstrap_peers=("/ip4/192.0.2.1/tcp/1",)), "must end in /p2p/<peer id>"),
        (lambda: NodeConfig(deny=("somebody",)), "node.deny: 'somebody' is neither a peer id nor a network"),
        (lambda: NodeConfig(allow=("192.0.2.0/24",) * 10_001), "node.allow has 10001 entries, must have at most 10000"),
        (lambda: NodeConfig(max_bans=0), "node.max_bans is 0"),
    ],
)
def test_what_cannot_work_is_refused(make: Callable[[], object], words: str) -> None:
    """The message names path, value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert words in str(caught.value)


def test_what_works_is_taken() -> None:
    """Addresses with peers, ids and networks."""
    config = NodeConfig(bootstrap_peers=(f"/dns4/hub.example/tcp/4001/p2p/{PEERS[0]}",), deny=(PEERS[1], "10.0.0.0/8"))
    assert config.limits == NodeLimits.agent()
    assert NodeConfig.test().limits == NodeLimits.test()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/ip4/0.0.0.0/udp/4001/quic-v1", "QUIC"),
        ("/ip4/0.0.0.0/udp/4001/quic-v1/webtransport", "QUIC"),
    ],
)
def test_a_transport_on_which_the_gate_does_not_hold_is_refused_by_name(address: str, name: str) -> None:
    """At the start, by the process that the operator sees, and with the place that says why."""
    with pytest.raises(ConfigError, match=f"node.listen: '{address}': {name} is not offered.*docs/libp2p.md"):
        NodeConfig(listen=(address,))
    with pytest.raises(ConfigError, match="must be of the form /ip4"):
        NodeConfig(listen=("/dns4/here/tcp/4001",))


def test_websocket_is_taken_and_with_tls_refused_with_what_to_do() -> None:
    """The node ends no TLS: a proxy in front does."""
    assert NodeConfig(listen=("/ip6/::/tcp/4001/ws",)).listen == ("/ip6/::/tcp/4001/ws",)
    for address in ("/ip6/::/tcp/4001/wss", "/ip4/0.0.0.0/tcp/4001/tls/ws"):
        with pytest.raises(ConfigError, match=f"node.listen: '{address}': the node does not speak TLS.*proxy.*TCP"):
            NodeConfig(listen=(address,))
    with pytest.raises(ConfigError, match="must be of the form /ip4"):
        NodeConfig(listen=("/ip4/0.0.0.0/tcp/4001/ws/ws",))

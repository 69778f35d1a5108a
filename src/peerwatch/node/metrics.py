"""NodeMetrics: what the node counts of itself, under the names of requirements B34-B37, with a limit beside each gauge.

In a registry of its own, not the library's global one; no label holds a peer id or anything else that peers choose.
"""

from __future__ import annotations

from enum import Enum

from peerwatch.node.config import NodeLimits
from peerwatch.node.gater import Direction, Reason
from peerwatch.node.protocol_label import PROTOCOLS, protocol_label
from peerwatch.node.reputation import Deed
from peerwatch.node.scheduler import Full
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, Histogram

_QUERY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # measured: 0.2 to 0.7 s; B35 asks about 5 s
_PROCESSING_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # B35 asks about 1 s


class DialFailure(Enum):
    """Why a peer could not be reached. The value is a label."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    HANDSHAKE = "handshake"
    DENIED = "denied"
    OTHER = "other"


class NatMethod(Enum):
    """How peers reach this node. The value is a label."""

    DIRECT = "direct"
    RELAY = "relay"
    HOLE_PUNCH = "hole_punch"


class NodeMetrics:
    """Counters and gauges of one node. Mutable; owned by it, fed by plain calls.

    `mesh`: whether this node is among the hubs, with DHT and gossip; their metrics are there only then.
    A registry from `telemetry.process_registry` adds process_resident_memory_bytes and process_open_fds, whose limits
    are here.
    """

    def __init__(
        self, registry: CollectorRegistry, limits: NodeLimits, max_bans: int, *, mesh: bool = True, relay: bool = True
    ) -> None:
        self._registry = registry
        self._make_connections(limits)
        self._make_streams(limits)
        self._make_protocols()
        self._make_relay(limits)
        if mesh:
            self._make_mesh()
        self._make_security(max_bans)
        self._tasks = self._gauge("peerwatch_node_tasks", "Tasks in the node's event loop; each connection has a few.")
        self._limit("process_resident_memory_bytes", limits.memory_bytes)
        self._limit("process_open_fds", limits.descriptors)

    def _make_connections(self, limits: NodeLimits) -> None:
        self._opened = self._counter("libp2p_connections_opened_total", "Connections opened.", ["direction"])
        self._active = self._gauge("libp2p_connections_active", "Connections open now.", ["direction"])
        self._limit_by_direction("libp2p_connections_active", limits.max_inbound, limits.max_outbound)
        self._limit("libp2p_connections", limits.max_connections)
        self._pending = self._gauge("libp2p_connections_pending", "Connections in the handshake.")
        self._limit("libp2p_connections_pending", 2 * limits.max_pending)  # so many in each direction
        self._per_subnet = self._gauge(
            "libp2p_connections_pending_per_subnet", "Of these and those that wait, from the /24 or /64 with the most."
        )
        self._limit("libp2p_connections_pending_per_subnet", limits.max_pending_per_subnet)
        self._queued = self._gauge("libp2p_connections_waiting", "Connections that wait for their handshake.")
        self._limit("libp2p_connections_waiting", 2 * limits.max_waiting)
        self._dial_failures = self._counter(
            "p2p_peer_dial_failures_total", "Dials that did not end in a connection.", ["reason"]
        )
        for direction in Direction:  # so that a rate() over them starts at the first one
            self._opened.labels(direction.value)
            self._active.labels(direction.value)
        for failure in DialFailure:
            self._dial_failures.labels(failure.value)

    def _make_streams(self, limits: NodeLimits) -> None:
        self._streams = self._gauge("libp2p_streams_active", "Streams open now.", ["direction"])
        self._limit_by_direction("libp2p_streams_active", limits.process_streams_in, limits.process_streams_out)
        self._limit("libp2p_streams", limits.max_streams)
        self._negotiating = self._gauge("libp2p_streams_negotiating", "Inbound streams without a protocol yet.")
        self._limit("libp2p_streams_negotiating", limits.max_negotiating)
        self._held = self._gauge("p2p_requests_held_bytes", "Memory that requests of members take.")
        self._waiting = self._gauge("p2p_requests_waiting", "Requests that wait for their turn.")
        self._running = self._gauge("p2p_requests_running", "Requests that are being answered.")
        self._refused = self._counter(
            "libp2p_streams_refused_total", "Streams and requests for which there was no room.", ["reason"]
        )
        for direction in Direction:
            self._streams.labels(direction.value)
        for why in Full:
            self._refused.labels(why.value)

    def _make_protocols(self) -> None:
        self._messages = self._counter("p2p_messages_total", "Messages.", ["direction", "protocol"])
        self._processing = Histogram(
            "p2p_message_processing_seconds",
            "From a message's last byte to its answer.",
            ["protocol"],
            buckets=_PROCESSING_BUCKETS,
            registry=self._registry,
        )
        for protocol in PROTOCOLS:
            for direction in Direction:
                self._messages.labels(direction.value, protocol)

    def _make_relay(self, limits: NodeLimits) -> None:
        self._relayed = self._gauge("libp2p_relay_connections_active", "Connections carried for others now.")
        self._limit("libp2p_relay_connections_active", limits.max_relayed)
        self._reserved = self._gauge(
            "libp2p_relay_reservations_active", "Members that can be reached through this node now."
        )
        self._limit("libp2p_relay_reservations_active", limits.max_reservations)
        self._nat = self._gauge(
            "libp2p_nat_traversal", "1 once a peer has reached this node by this method since its start.", ["method"]
        )
        for method in NatMethod:
            self._nat.labels(method.value)

    def _make_mesh(self) -> None:
        self._queries = Histogram(
            "libp2p_dht_query_duration_seconds", "DHT queries.", buckets=_QUERY_BUCKETS, registry=self._registry
        )
        self._gossip = self._counter("libp2p_gossipsub_messages_received_total", "Gossip messages that came in.")
        self._mesh = self._gauge("libp2p_gossipsub_peers", "Peers in the gossip mesh.")
        self._table = self._gauge("libp2p_dht_routing_table_size", "Peers in the routing table.")

    def _make_security(self, max_bans: int) -> None:
        self._bans = self._counter("p2p_blacklist_total", "Bans made or heard of.", ["kind"])
        self._bans_active = self._gauge("p2p_bans_active", "Peers and networks that are kept out now.")
        self._limit("p2p_bans_active", max_bans)
        self._denied = self._counter("p2p_denied_total", "Connections that were not let through.", ["reason"])
        self._deeds = self._counter("p2p_deeds_total", "What peers did, as reputation counts it.", ["kind"])
        for kind in ("permanent", "temporary"):
            self._bans.labels(kind)
        for reason in Reason:
            self._denied.labels(reason.value)
        for deed in Deed:
            self._deeds.labels(deed.value)

    # --- connections ------------------------------------------------------------------------------------------------

    def connection_opened(self, direction: Direction) -> None:
        """A handshake was finished."""
        self._opened.labels(direction.value).inc()
        self._active.labels(direction.value).inc()

    def connection_closed(self, direction: Direction) -> None:
        """One that had been opened is gone."""
        self._active.labels(direction.value).dec()

    def show_tasks(self, count: int) -> None:
        """How many there are."""
        self._tasks.set(count)

    def show_pending(self, handshakes: int, waiting: int, per_subnet: int = 0) -> None:
        """So many are in the handshake, so many wait for it; so many of either come from one neighbourhood."""
        self._pending.set(handshakes)
        self._per_subnet.set(per_subnet)
        self._queued.set(waiting)

    def dial_failed(self, failure: DialFailure) -> None:
        """A peer could not be reached."""
        self._dial_failures.labels(failure.value).inc()

    # --- streams and messages -----------------------------------------------------------------------------------------

    def stream_opened(self, direction: Direction) -> None:
        """A stream is there."""
        self._streams.labels(direction.value).inc()

    def stream_closed(self, direction: Direction) -> None:
        """A stream is gone."""
        self._streams.labels(direction.value).dec()

    def stream_refused(self, why: Full) -> None:
        """There was no room for it to wait, or it was pushed out."""
        self._refused.labels(why.value).inc()

    def stream_denied(self, reason: str) -> None:
        """The host reset it before it began. `reason` is one of few words."""
        self._refused.labels(reason).inc()

    def show_negotiating(self, streams: int) -> None:
        """So many have no protocol yet."""
        self._negotiating.set(streams)

    def limit_requests(self, held_bytes: int, waiting: int, running: int) -> None:
        """The limits of `show_requests`; once."""
        self._limit("p2p_requests_held_bytes", held_bytes)
        self._limit("p2p_requests_waiting", waiting)
        self._limit("p2p_requests_running", running)

    def show_requests(self, held_bytes: int, waiting: int, running: int) -> None:
        """What members' requests take now."""
        self._held.set(held_bytes)
        self._waiting.set(waiting)
        self._running.set(running)

    def message(self, direction: Direction, protocol: str) -> None:
        """One message of a protocol; protocols that are not ours count as "other"."""
        self._messages.labels(direction.value, protocol_label(protocol)).inc()

    def processed(self, protocol: str, duration_s: float) -> None:
        """A message was dealt with."""
        self._processing.labels(protocol_label(protocol)).observe(duration_s)

    # --- the mesh -----------------------------------------------------------------------------------------------------

    def queried(self, duration_s: float) -> None:
        """A DHT query came to its end."""
        self._queries.observe(duration_s)

    def gossiped(self, messages: int = 1) -> None:
        """Gossip came in."""
        self._gossip.inc(messages)

    def show_mesh(self, gossip_peers: int, routing_table: int) -> None:
        """How well this node is connected among the hubs."""
        self._mesh.set(gossip_peers)
        self._table.set(routing_table)

    # --- relays -------------------------------------------------------------------------------------------------------

    def show_relay(self, circuits: int, reservations: int) -> None:
        """What this node carries for others, and how many may be reached through it."""
        self._relayed.set(circuits)
        self._reserved.set(reservations)

    def reached(self, method: NatMethod) -> None:
        """A peer has reached this node in this way."""
        self._nat.labels(method.value).set(1)

    # --- security -----------------------------------------------------------------------------------------------------

    def banned(self, *, permanent: bool, active: int) -> None:
        """One more ban; so many are in force."""
        self._bans.labels("permanent" if permanent else "temporary").inc()
        self._bans_active.set(active)

    def show_bans(self, active: int) -> None:
        """So many are in force, after some expired or were lifted."""
        self._bans_active.set(active)

    def denied(self, reason: Reason) -> None:
        """The gater refused somebody."""
        self._denied.labels(reason.value).inc()

    def deed(self, deed: Deed) -> None:
        """Reputation counted something."""
        self._deeds.labels(deed.value).inc()

    # --- making -------------------------------------------------------------------------------------------------------

    def _counter(self, name: str, words: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, words, labels or [], registry=self._registry)

    def _gauge(self, name: str, words: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(name, words, labels or [], registry=self._registry)

    def _limit(self, name: str, value: int) -> None:
        """Rules say "more than 80 % of the limit" (B36)."""
        self._gauge(f"{name}_limit", f"Limit of {name}.").set(value)

    def _limit_by_direction(self, name: str, inbound: int, outbound: int) -> None:
        gauge = self._gauge(f"{name}_limit", f"Limit of {name}.", ["direction"])
        gauge.labels(Direction.IN.value).set(inbound)
        gauge.labels(Direction.OUT.value).set(outbound)

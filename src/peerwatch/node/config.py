"""NodeConfig: every number of the node, and why it is what it is (requirements B7-B13, B71-B76)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import inf, isfinite

from peerwatch.errors import ConfigError, DecodeError
from peerwatch.node.address import parse_address, parse_subject
from peerwatch.node.listening import check_listen

_MIB = 1 << 20
_SPARE_DESCRIPTORS = 64  # listeners, logs, the socket to the main process, the key file, DNS
_MAX_MUXER_STREAMS = 256  # what Yamux of py-libp2p 0.8.1 allows per connection and direction
_MAX_LISTED = 10_000
_WAITING_PER_HANDSHAKE = 4  # at 40 handshakes/s the queue of the default limits is gone in 3 s; each costs 20 KB


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """Three layers: connections, streams, time; and what they cost together. Defaults are the preset `agent`.

    Raises ConfigError for numbers that cannot work together.
    """

    max_inbound: int = 200
    """Connections that others opened (B13). An agent needs a few; the rest is room for mesh probes."""
    max_outbound: int = 200
    """Connections that this node opened (B13)."""
    max_connections: int = 400
    """Both together (B13, P2P_MAX_CONNECTIONS)."""
    max_pending: int = 32
    """Connections in the handshake. At 40 handshakes/s (measured, one core) these take less than a second."""
    max_pending_per_subnet: int = 16
    """Of these from one /24 or /64: half, so that Sybils of one neighbourhood leave the door open for others."""
    max_streams_in: int = 128
    """Per connection, opened by the other side (B9)."""
    max_streams_out: int = 256
    """Per connection, opened by us (B9); Yamux itself stops at 256."""
    max_streams: int = 1024
    """In the whole process (B13)."""
    process_streams_in: int = 256
    """Of these, opened by others (B13)."""
    process_streams_out: int = 768
    """Of these, opened by us (B13)."""
    max_negotiating: int = 128
    """Inbound streams whose protocol is not agreed yet (B11); more are reset."""
    max_relayed: int = 16
    """Connections carried for others at once (relay v2); each costs two streams. An agent is asked for hardly any."""
    max_relayed_each: int = 8
    """Of these, asked for by one member: one per peer that it cannot dial. A hub behind NAT is asked for by many."""
    max_reservations: int = 64
    """Members that can be reached through this node; an entry of 200 bytes each."""
    reservation_s: float = 3600.0
    """How long a reservation holds (the specification's hour); whoever made it renews it after half of that."""
    circuit_s: float = 3600.0
    """After this a circuit is ended and must be dialled anew, in which its ends are judged again. What was on its way
    is sent again, as after any broken connection."""
    circuit_bytes: int = 1 << 30
    """What a circuit carries, both ways together: forty times what a busy agent sends in an hour."""
    event_buffer: int = 64
    """Events between two parts of the node (B11); who fills it waits."""
    idle_connection_s: float = 30.0
    """Without a stream for this long, a health check decides (B10, B12: 30-60 s)."""
    idle_stream_s: float = 60.0
    """Without a byte for this long, a health check decides (B10)."""
    handshake_timeout_s: float = 10.0
    """For Noise and muxer together: 100 times what they take; shorter would lose peers behind bad links."""
    dial_timeout_s: float = 10.0
    """From the first packet to the handshake; the library alone puts 0.25 s in front of each dial."""
    memory_bytes: int = 256 * _MIB
    """Resident, of the node's process (B13): 85 MB are py-libp2p itself, 68 KB each connection."""
    descriptors: int = 512
    """Open files of the node's process (B13): one per connection and handshake, and some to spare."""

    def __post_init__(self) -> None:
        for one in fields(self):
            _positive(f"node.limits.{one.name}", getattr(self, one.name))
        for name, most in (
            ("max_inbound", "max_connections"),
            ("max_outbound", "max_connections"),
            ("max_pending_per_subnet", "max_pending"),
            ("process_streams_in", "max_streams"),
            ("process_streams_out", "max_streams"),
            ("max_negotiating", "max_streams"),
            ("max_relayed", "max_streams"),
            ("max_relayed_each", "max_relayed"),
        ):
            self._at_most(name, getattr(self, most), f"node.limits.{most}")
        for name in ("max_streams_in", "max_streams_out"):
            self._at_most(name, _MAX_MUXER_STREAMS, "what the muxer allows")
        needed = self.max_connections + self.max_pending + _SPARE_DESCRIPTORS
        if self.descriptors < needed:
            raise ConfigError(
                f"node.limits.descriptors is {self.descriptors}, must be at least {needed} "
                f"(max_connections + max_pending + {_SPARE_DESCRIPTORS})"
            )

    def _at_most(self, name: str, most: int, whose: str) -> None:
        value = getattr(self, name)
        if value > most:
            raise ConfigError(f"node.limits.{name} is {value}, must be at most {most} ({whose})")

    @property
    def max_waiting(self) -> int:
        """Connections of one direction that wait for their handshake; the next is closed at once."""
        return _WAITING_PER_HANDSHAKE * self.max_pending

    def with_connections(self, total: int) -> NodeLimits:
        """The same with another number of connections, shared as before between the directions; descriptors follow."""
        _positive("node.limits.max_connections", total)
        share = self.max_inbound / (self.max_inbound + self.max_outbound)
        inbound = min(total, max(1, round(total * share)))
        return replace(
            self,
            max_connections=total,
            max_inbound=inbound,
            max_outbound=max(1, total - inbound),
            descriptors=max(self.descriptors, total + self.max_pending + _SPARE_DESCRIPTORS),
        )

    @classmethod
    def agent(cls) -> NodeLimits:
        """A monitored machine: B13 with 400 connections."""
        return cls()

    @classmethod
    def hub(cls) -> NodeLimits:
        """Bootstrap, relay, collector (B8): 1024 in, 512 out; agents open the streams, so most are inbound."""
        return cls(
            max_inbound=1024,
            max_outbound=512,
            max_connections=1536,
            max_pending=64,  # under way at once they share one core: at 256 a busy one finishes none of them in time
            max_pending_per_subnet=32,
            max_streams=8192,
            process_streams_in=6144,
            process_streams_out=2048,
            max_relayed=256,  # a sixth of the connections: agents behind NAT are the exception
            max_reservations=1024,  # every agent may hold one
            memory_bytes=512 * _MIB,  # 85 MB + 1,536 x 68 KB = 190 MB, and as much again for what is in flight
            descriptors=2048,
        )

    @classmethod
    def hub_large(cls) -> NodeLimits:
        """A hub of 5,000 agents: one connection and three streams (deliveries, ping, identify) of each."""
        return replace(
            cls.hub(),
            max_inbound=6144,  # a fifth more: after a partition the old connections are not yet known to be dead
            max_outbound=512,
            max_connections=6656,
            max_streams=20_480,
            process_streams_in=18_432,
            process_streams_out=2048,
            max_relayed=512,  # 1,024 streams, half of those that the hub may open
            max_reservations=6144,
            memory_bytes=1024 * _MIB,  # 85 MB + 6,656 x 68 KB = 540 MB, and as much again for what is in flight
            descriptors=8192,
        )

    @classmethod
    def test(cls) -> NodeLimits:
        """Small enough for a test to go past every one, and quick to time out."""
        return cls(
            max_inbound=4,
            max_outbound=4,
            max_connections=6,
            max_pending=4,
            max_pending_per_subnet=2,
            max_streams_in=4,
            max_streams_out=4,
            max_streams=8,
            process_streams_in=6,
            process_streams_out=6,
            max_negotiating=2,
            max_relayed=2,
            max_relayed_each=1,
            max_reservations=2,
            event_buffer=4,
            idle_connection_s=0.5,
            idle_stream_s=0.5,
            handshake_timeout_s=2.0,
            dial_timeout_s=2.0,
            descriptors=256,
        )


@dataclass(frozen=True, slots=True)
class RateConfig:
    """The token buckets of one peer whose reputation is neutral (B30, B31)."""

    messages_per_s: float = 20.0
    """An agent sends one envelope per 10 s; back-fill is paced by acks and reaches some 10/s."""
    burst_messages: float = 200.0
    """A reconnect: what was in flight comes again, with schemas."""
    bytes_per_s: float = 2_000_000.0
    """What the collector allows a sender on average; more would only be refused there."""
    burst_bytes: float = 16.0 * _MIB
    """Two of the largest envelopes."""
    attempts_per_s: float = 20.0
    """Streams that a member opens, and requests of it that were refused: what is above is a flood. An agent keeps its
    streams, and waits as it is told."""
    burst_attempts: float = 200.0
    """What a member with a new connection and a bad link may need in a minute, many times over."""
    failures_per_s: float = 5.0
    """Handshakes from one /24 or /64 that come to nothing; past these its calls are refused before a handshake. Those
    that succeed are not counted, so a site of a thousand agents may come back at once."""
    burst_failures: float = 100.0
    """Half a second of what strangers can make a core do."""
    max_peers: int = 16_384
    """Buckets kept: twice the connections of the largest preset, 200 bytes each."""

    def __post_init__(self) -> None:
        for one in fields(self):
            _positive(f"node.rates.{one.name}", getattr(self, one.name))


@dataclass(frozen=True, slots=True)
class ReputationConfig:
    """How long misdeeds count, and what follows from them. Points are those of `reputation.WEIGHTS`."""

    half_life_s: float = 600.0
    """Ten minutes: a burst of trouble is forgotten within the hour, a steady one adds up."""
    slow_below: float = -20.0
    """From here on the peer's buckets shrink."""
    ban_below: float = -100.0
    """Two forged signatures, or five malformed messages within minutes."""
    best: float = 20.0
    """Most credit that good deeds earn: it forgives one malformed message, not a forged signature."""
    slowest_factor: float = 0.1
    """Of capacity and rate, just above a ban."""
    fastest_factor: float = 2.0
    """Of capacity and rate, at the best score."""
    ban_s: float = 600.0
    """One half-life: whoever comes back and goes on is banned again at the next misdeed or two."""
    ban_growth: float = 4.0
    """Each ban of a peer within a day of the one before lasts so many times longer: 10 min, 40 min, 2 h 40 min."""
    most_ban_s: float = 86_400.0
    """Longer than a day only a person bans."""
    subnet_tolerance: float = 4.0
    """A /24 or /64 is judged this many times more mildly than a peer: honest ones share it with the offender."""
    subnet_ban_s: float = 60.0
    """Short for the same reason."""
    probation_s: float = 20.0
    """A place is banned only after so long a trouble in which no member came from there: when a node starts anew, a
    site's agents all call at once, and within this time one of them gets in."""
    max_subjects: int = 32_768
    """Peers and subnets remembered, 150 bytes each."""

    def __post_init__(self) -> None:
        for name in ("half_life_s", "slowest_factor", "ban_s", "subnet_tolerance", "subnet_ban_s", "max_subjects"):
            _positive(f"node.reputation.{name}", getattr(self, name))
        if not (self.ban_growth >= 1.0 and self.ban_s <= self.most_ban_s < inf and self.probation_s >= 0.0):
            raise ConfigError(
                f"node.reputation: ban_growth {self.ban_growth} must be at least 1, most_ban_s {self.most_ban_s} at "
                f"least ban_s ({self.ban_s}), probation_s {self.probation_s} at least 0"
            )
        if not self.ban_below < self.slow_below < 0.0 <= self.best:
            raise ConfigError(
                f"node.reputation: ban_below {self.ban_below}, slow_below {self.slow_below}, best {self.best}: "
                "must rise, with 0 between the last two"
            )
        if not self.slowest_factor <= 1.0 <= self.fastest_factor or not isfinite(self.fastest_factor):
            raise ConfigError(
                f"node.reputation: slowest_factor {self.slowest_factor} and fastest_factor {self.fastest_factor} "
                "must have 1 between them"
            )


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """The socket between node and main process; both sides use the same numbers."""

    max_frame_bytes: int = 16 * _MIB
    """Two of the largest envelopes; a roster of 100,000 members has 10 MB."""
    window_requests: int = 64
    """Unanswered requests per direction: 64 / 3 ms = 20,000 per s, ten times what the node can do."""
    window_bytes: int = 32 * _MIB
    """Bytes of unanswered requests per direction; one request always fits."""
    max_notes: int = 1_024
    """Events, presence and probe results that wait to be sent; when full the oldest goes, and is counted."""
    answer_s: float = 30.0
    """Longest time from request to answer; a hub commits within milliseconds, a dial within 10 s."""
    write_s: float = 10.0
    """Longest time that the other side may not read; then it counts as frozen and the connection ends."""
    greet_s: float = 5.0
    """From connecting to the other side's greeting."""

    def __post_init__(self) -> None:
        for one in fields(self):
            _positive(f"node.socket.{one.name}", getattr(self, one.name))
        if self.window_bytes < self.max_frame_bytes:
            raise ConfigError(
                f"node.socket.window_bytes is {self.window_bytes}, must be at least {self.max_frame_bytes} "
                "(node.socket.max_frame_bytes)"
            )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """All of the node's settings. Raises ConfigError that names path, value and what is allowed."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4001",)
    """Where others connect (B71)."""
    external: tuple[str, ...] = ()
    """What others are told to connect to first; what it listens on comes after (B72)."""
    bootstrap_peers: tuple[str, ...] = ()
    """Whom to ask first; each with its /p2p/<peer id> (B73)."""
    bootstrap: bool = False
    """Whether this node serves as bootstrap and relay (B74)."""
    mesh: bool = False
    """Whether this node is among the hubs: it serves the DHT to them and gossips with them."""
    allow: tuple[str, ...] = ()
    """Peer ids and networks; not empty: nobody else, whatever the roster says (B14)."""
    deny: tuple[str, ...] = ()
    """Peer ids and networks that are never let in or dialled (B14)."""
    max_bans: int = 10_000
    """Bans kept, 300 bytes each. The file is rewritten at each change: 3 MB at most."""
    limits: NodeLimits = field(default_factory=NodeLimits)
    rates: RateConfig = field(default_factory=RateConfig)
    reputation: ReputationConfig = field(default_factory=ReputationConfig)
    socket: SocketConfig = field(default_factory=SocketConfig)

    def __post_init__(self) -> None:
        _positive("node.max_bans", self.max_bans)
        for name in ("listen", "external", "bootstrap_peers"):
            for text in getattr(self, name):
                _check_address(f"node.{name}", text, needs_peer=name == "bootstrap_peers")
        for text in self.listen:
            check_listen("node.listen", text)
        for name in ("allow", "deny"):
            listed = getattr(self, name)
            if len(listed) > _MAX_LISTED:
                raise ConfigError(f"node.{name} has {len(listed)} entries, must have at most {_MAX_LISTED}")
            for text in listed:
                _check_listed(f"node.{name}", text)

    @classmethod
    def agent(cls) -> NodeConfig:
        """A monitored machine."""
        return cls()

    @classmethod
    def hub(cls) -> NodeConfig:
        """Collector, bootstrap and relay of up to a thousand agents."""
        return cls(limits=NodeLimits.hub(), bootstrap=True, mesh=True)

    @classmethod
    def hub_large(cls) -> NodeConfig:
        """The same for 5,000 agents."""
        return cls(limits=NodeLimits.hub_large(), bootstrap=True, mesh=True)

    @classmethod
    def test(cls) -> NodeConfig:
        """On loopback, with limits that a test can pass."""
        return cls(listen=("/ip4/127.0.0.1/tcp/0",), limits=NodeLimits.test())


def _positive(path: str, value: float) -> None:
    if not (value > 0 and isfinite(value)):
        raise ConfigError(f"{path} is {value}, must be above 0 and finite")


def _check_address(path: str, text: str, *, needs_peer: bool) -> None:
    try:
        address = parse_address(text)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if needs_peer and not address.peer:
        raise ConfigError(f"{path}: {text!r} must end in /p2p/<peer id>, so that nobody else can answer there")


def _check_listed(path: str, text: str) -> None:
    try:
        parse_subject(text)
    except DecodeError as error:
        raise ConfigError(f"{path}: {text!r} is neither a peer id nor a network: {error}") from error

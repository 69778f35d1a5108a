"""WireLimits: how large anything from a peer may be. Every decoder takes one; passing a limit is a DecodeError."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds on decoding. The defaults hold a host of 100,000 series, or a day of one host's back-fill."""

    max_request_bytes: int = 16 * MIB  # one push: several envelopes and the schemas they need
    max_envelope_bytes: int = 8 * MIB  # what one batch may cost before its signature is checked
    max_body_bytes: int = 32 * MIB  # after decompression; four times an envelope, real batches shrink to a third
    max_envelopes: int = 256  # per request: bounds one request's share of a group commit
    max_schemas: int = 256  # per request
    max_blocks: int = 1_000  # targets of one agent
    max_series: int = 100_000  # per schema
    max_ticks: int = 20_000  # per block: more than a day at 5 s
    max_cells: int = 2_000_000  # per batch: 16 MB of values
    max_buckets: int = 4_096  # per native histogram: clients keep 160; each costs a series of the store
    max_labels: int = 64  # per series
    max_label_name_bytes: int = 256  # a name of more is refused
    max_label_value_bytes: int = 4_096  # a value of more is refused
    max_help_bytes: int = 2_048  # a help text of more is refused
    max_unit_bytes: int = 64  # a unit of more is refused
    max_name_bytes: int = 256  # job, target


DEFAULT_LIMITS = WireLimits()


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Bounds on what peers tell each other beside batches: Block and PeerInfo."""

    max_block_bytes: int = MIB  # a Block's data: what gossipsub carries at most by default
    max_block_ttl_s: int = 30 * 86_400  # nobody keeps another's content for longer than a month
    max_multiaddrs: int = 32  # of one peer: every interface, both IP versions, a few relays
    max_multiaddr_bytes: int = 512  # a relayed address with two peer ids has some 100
    max_metadata: int = 32  # entries about one peer
    max_metadata_bytes: int = 4_096  # names and values of these, together


DEFAULT_PEER_LIMITS = PeerLimits()

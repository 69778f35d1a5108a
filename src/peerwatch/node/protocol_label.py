"""Protocol labels: the few names under which metrics and logs speak of protocols, whatever a peer calls its own."""

from __future__ import annotations

OTHER = "other"
_BY_PREFIX = (
    ("/peerwatch/push/", "push"),
    ("/peerwatch/enrol/", "enrol"),
    ("/peerwatch/", "peerwatch"),
    ("/ipfs/ping/", "ping"),
    ("/ipfs/id/", "identify"),
    ("/ipfs/kad/", "kad"),
    ("/meshsub/", "gossipsub"),
    ("/floodsub/", "gossipsub"),
    ("/libp2p/circuit/relay/", "relay"),
    ("/libp2p/dcutr", "dcutr"),
    ("/libp2p/autonat/", "autonat"),
    ("/rendezvous/", "rendezvous"),
)
PROTOCOLS = (*dict.fromkeys(label for _, label in _BY_PREFIX), OTHER)
"""Every label there is: a peer cannot make another."""


def protocol_label(protocol: str) -> str:
    """The label of a protocol id such as /ipfs/kad/1.0.0."""
    for prefix, label in _BY_PREFIX:
        if protocol.startswith(prefix):
            return label
    return OTHER

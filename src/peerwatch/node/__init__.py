"""The hardened libp2p peer, a process of its own: what it decides, and the socket by which others speak to it."""

"""The hardened peer, a process of its own: whatever libp2p does wrong ends here, not in a hub or an agent."""

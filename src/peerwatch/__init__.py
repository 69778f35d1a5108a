"""peerwatch: monitoring for fleets of servers and for peer-to-peer networks."""

__version__ = "0.1.0"

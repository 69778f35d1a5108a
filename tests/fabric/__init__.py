"""Hubs and agents on addresses of their own, and what happens to networks."""

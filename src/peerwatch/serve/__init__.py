"""The hub's HTTP listener: where it binds, who may ask what, and TLS. What it serves is handed in."""

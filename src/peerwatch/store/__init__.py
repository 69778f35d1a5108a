"""The embedded time-series store: WAL, head, blocks. No acknowledged sample is lost, none is stored twice.

Import from its modules: settings need `store.config` alone, and a lean agent must not load the rest.
"""

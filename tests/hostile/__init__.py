"""Attacks on a real hub over the network, each a script; `test_hostile.py` runs each beside honest agents."""

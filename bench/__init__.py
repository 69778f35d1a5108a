"""Measurements that decisions rest on; each prints its numbers and what they were taken on."""

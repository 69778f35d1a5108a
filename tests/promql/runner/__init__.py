"""Runs PromQL test scripts: the language that Prometheus's own conformance suite is written in."""

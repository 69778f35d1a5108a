"""Fakes that ship: whoever builds on peerwatch tests with the same ones as we do."""

"""`python -m peerwatch`."""

from peerwatch.cli.main import run

run()

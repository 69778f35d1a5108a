"""Tests of the node's libp2p door: each module here is skipped, with these words, where libp2p is not installed."""

import pytest

pytest.importorskip("libp2p", reason="libp2p is not installed: make p2p")

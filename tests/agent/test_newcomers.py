"""What is kept for hubs that are still to come is not kept for those that are here."""

from __future__ import annotations

from peerwatch.agent.newcomers import RECEIVER, by_hubs
from peerwatch.model import Dropped


def test_a_drop_that_no_hub_lacks_is_told_apart() -> None:
    """Only what some hub, or nobody, had is worth a signed word."""
    hub, both = Dropped(1, 0, 4, ("hub",)), Dropped(1, 5, 9, ("hub", RECEIVER))
    nobody, spare = Dropped(2, 0, 4, ()), Dropped(2, 5, 9, (RECEIVER,))
    assert by_hubs((hub, spare, both, nobody)) == ([hub, both, nobody], [spare])

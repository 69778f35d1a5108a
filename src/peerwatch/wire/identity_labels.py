"""What the hub adds to a member's series: `instance` and `job`. No member can speak for another."""

from __future__ import annotations

from peerwatch.model import METRIC_NAME, Labels, Series

INSTANCE, JOB, TARGET = "instance", "job", "target"
UP = "up"
"""Written by the hub for each member; a member's own series of that name is moved aside."""
_EXPORTED = "exported_"
_Pair = tuple[str, str]


def with_identity(series: tuple[Series, ...], name: str, job: str, target: str) -> tuple[Series, ...]:
    """The series as the store keeps them: `instance` is the member's name in the roster, whatever the member claims.

    A label that the member itself put there becomes `exported_instance`, `exported_job` or `exported_target`, as a
    Prometheus does with the labels of a target. `target` is added where something else than the host was sampled.
    """
    ours = [(INSTANCE, name), (JOB, job)] + ([(TARGET, target)] if target else [])
    reserved = {pair[0] for pair in ours}
    up = UP if target else _moved(UP, {one.labels.metric for one in series})
    return tuple(Series(_labels(one.labels, ours, reserved, up), one.type, one.help, one.unit) for one in series)


def _labels(labels: Labels, ours: list[_Pair], reserved: set[str], up: str) -> Labels:
    """Pairs that stay are not made anew: members with equal schemas share them, which is most of a hub's memory."""
    names = {name for name, _ in labels}
    pairs = list(labels)
    for at, (name, value) in enumerate(labels):
        if name in reserved:
            moved = _moved(name, names | reserved)
            names.add(moved)
            pairs[at] = (moved, value)
        elif name == METRIC_NAME and value == UP:
            pairs[at] = (name, up)
    return Labels(sorted(pairs + ours))


def _moved(name: str, taken: set[str]) -> str:
    moved = _EXPORTED + name
    while moved in taken:
        moved = _EXPORTED + moved
    return moved

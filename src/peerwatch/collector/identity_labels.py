"""What the hub adds to a member's series: `instance` and `job`. No member can speak for another."""

from __future__ import annotations

from peerwatch.model import METRIC_NAME, Labels, Series

INSTANCE, JOB, TARGET = "instance", "job", "target"
_EXPORTED = "exported_"
_HUB_MADE = "up"  # written by the hub for each member; a member's own series of that name is moved aside


def with_identity(series: tuple[Series, ...], name: str, job: str, target: str) -> tuple[Series, ...]:
    """The series as the store keeps them: `instance` is the member's name in the roster, whatever the member claims.

    A label that the member itself put there becomes `exported_instance`, `exported_job` or `exported_target`, as a
    Prometheus does with the labels of a target. `target` is added where something else than the host was sampled.
    """
    ours = {INSTANCE: name, JOB: job} | ({TARGET: target} if target else {})
    return tuple(Series(_labels(one.labels, ours, not target), one.type, one.help, one.unit) for one in series)


def _labels(labels: Labels, ours: dict[str, str], is_host: bool) -> Labels:
    merged: dict[str, str] = {}
    taken = {name for name, _ in labels} | set(ours)
    for name, value in labels:
        if name not in ours:
            merged[name] = value
            continue
        moved = _EXPORTED + name
        while moved in taken:
            moved = _EXPORTED + moved
        taken.add(moved)
        merged[moved] = value
    merged.update(ours)
    if is_host and merged.get(METRIC_NAME) == _HUB_MADE:
        merged[METRIC_NAME] = _EXPORTED + _HUB_MADE
    return Labels.of(merged)

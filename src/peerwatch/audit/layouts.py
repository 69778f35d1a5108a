"""Layouts: which series a stored batch had, and whether they bear the name of who signed it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from peerwatch.audit.report import Reason
from peerwatch.errors import DecodeError
from peerwatch.model import BoolArray, Int64Array, Labels
from peerwatch.store.dictionary import Dictionary
from peerwatch.wire.identity_labels import INSTANCE, JOB, TARGET
from peerwatch.wire.leaf import BlockHead, labels_digest, read_origin, without_identity


@dataclass(frozen=True, slots=True)
class AuditedLayout:
    """A layout as the store has it now. `head` is None where `problem` says why its batches cannot be compared.

    `name` is the `instance` of its series. `chosen` tells which rows count.
    """

    ids: Int64Array
    name: str
    head: BlockHead | None
    problem: Reason | None
    chosen: BoolArray


class Layouts:
    """Made from the dictionary, each once; bounded by it."""

    def __init__(self, dictionary: Dictionary, chosen_ids: Int64Array | None) -> None:
        """`chosen_ids` ascend; None: all series count."""
        self._dictionary = dictionary
        self._chosen_ids = chosen_ids
        self._known: dict[int, AuditedLayout] = {}

    def get(self, layout_id: int) -> AuditedLayout:
        """The layout of that number."""
        found = self._known.get(layout_id)
        if found is None:
            found = self._known[layout_id] = self._make(layout_id)
        return found

    def chosen(self, ids: Int64Array) -> BoolArray:
        """Which of these series count."""
        if self._chosen_ids is None:
            return np.ones(len(ids), np.bool_)
        return np.isin(ids, self._chosen_ids)

    def _make(self, layout_id: int) -> AuditedLayout:
        none: Int64Array = np.empty(0, np.int64)
        ids, origin = self._dictionary.series_ids_of(layout_id), self._dictionary.origin_of(layout_id)
        if ids is None or origin is None:
            return AuditedLayout(none, "", None, Reason.LAYOUT, np.empty(0, np.bool_))
        known = self._dictionary.labels_of(ids)
        labels = [one for one in known if one is not None]
        chosen = self.chosen(ids)
        names = {one.get(INSTANCE) for one in labels}
        name = min(names, default="")
        try:
            job, target = read_origin(origin)
        except DecodeError:
            return AuditedLayout(ids, name, None, Reason.LAYOUT, chosen)
        if len(labels) < len(ids):
            return AuditedLayout(ids, name, None, Reason.LAYOUT, chosen)
        if len(names) > 1 or not _fits(labels, job, target):
            return AuditedLayout(ids, name, None, Reason.CHANGED, chosen)
        digest = labels_digest(without_identity(one, target) for one in labels)
        return AuditedLayout(ids, name, BlockHead(digest, len(ids), job, target), None, chosen)


def _fits(labels: list[Labels], job: str, target: str) -> bool:
    """Whether job and target are what was signed; a hub gives its own job to blocks without one."""
    jobs = {one.get(JOB) for one in labels}
    targets = {one.get(TARGET) for one in labels}
    return (jobs == {job} if job else len(jobs) == 1) and (not target or targets == {target})

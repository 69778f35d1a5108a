"""SeqIntervals behaves like a set of integers, whatever the order of arrival."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from peerwatch.model import Marks, SeqIntervals

runs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda r: (r[0], r[0] + r[1])), max_size=30)


@given(runs)
def test_runs_are_a_set(added: list[tuple[int, int]]) -> None:
    """Any sequence of runs gives the same members as a plain set, in sorted runs that never touch."""
    intervals = SeqIntervals()
    model: set[int] = set()
    for first, last in added:
        if first == last:
            intervals.add(first)
        else:
            intervals.add_run(first, last)
        model |= set(range(first, last + 1))
    assert {n for n in range(80) if n in intervals} == model
    assert intervals.count == len(model)
    listed = list(intervals)
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(listed))
    assert SeqIntervals(reversed(added)) == intervals


@given(runs, runs)
def test_merging_marks_is_union(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    """Marks add up in any order and any number of times."""
    one, two = Marks(), Marks()
    one.intervals(b"a", 1).update(SeqIntervals(left))
    two.intervals(b"a", 1).update(SeqIntervals(right))
    ab, ba = one.copy(), two.copy()
    ab.update(two)
    ba.update(one)
    ba.update(one)
    assert ab == ba
    assert ab.intervals(b"a", 1) == SeqIntervals([*left, *right])


def test_closed_epochs_are_kept_as_one_run() -> None:
    """Their own numbers go, other senders and later epochs stay, and the highest floor holds after any merge."""
    marks = Marks()
    for sender, epoch in ((b"a", 3), (b"a", 7), (b"b", 3)):
        marks.add(sender, epoch, 0)
    later = marks.copy()
    marks.close_below(b"a", 5)
    later.close_below(b"a", 9)
    assert [(sender, epoch) for sender, epoch, _ in marks] == [(b"a", 7), (b"b", 3), (b"a", 0)]
    assert marks.floors() == {b"a": 5}
    later.update(marks)
    assert later.floors() == {b"a": 9}

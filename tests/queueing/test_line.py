"""Who is next."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.queueing.line import OLDEST_EVERY, Line
from rearank_agent.queueing.work import Work


def taken(line):
    order = []
    while line:
        order.append(line.take())
    return order


def filled(*sizes):
    """A line with one request of each size, as many items as it has passages."""
    line, works = Line(), [Work(size) for size in sizes]
    for work in works:
        for number in range(work.left):
            line.add(work, number)
    return line, works


def test_the_request_with_the_least_left_is_next_and_its_items_keep_their_order():
    line, (large, small) = filled(4, 2)
    assert taken(line) == [(small, 0), (small, 1), (large, 0), (large, 1), (large, 2), (large, 3)]


def test_among_equals_the_first_to_come_ends_first():
    line, (first, second) = filled(3, 3)
    assert [work for work, _ in taken(line)] == [first] * 3 + [second] * 3


def test_a_flood_of_small_requests_does_not_stop_a_large_one():
    line, (large,) = filled(5)
    turns = 0
    while large in line._items:
        line.add(Work(1), "small")
        line.take()
        turns += 1
    assert turns == 5 * OLDEST_EVERY


def test_what_a_request_says_of_itself():
    line, (one, other) = filled(1, 1)
    assert (one.starved, other.starved, Work(1).starved) == (True, True, False)
    line.take()
    assert (one.starved, other.starved) == (False, True)


def test_only_what_waits_can_be_removed():
    line, (one, other) = filled(2, 1)
    assert line.remove(one, 1)
    assert not line.remove(one, 1)
    assert not line.remove(Work(1), 0)
    assert taken(line) == [(other, 0), (one, 0)]
    assert not line.remove(one, 0)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.randoms())
def test_everything_is_taken_once_and_nothing_waits_for_ever(sizes, random):
    line, works = Line(), [Work(size) for size in sizes]
    items = [(work, number) for work in works for number in range(work.left)]
    random.shuffle(items)
    for work, item in items:
        line.add(work, item)
    order = taken(line)
    assert Counter(order) == Counter(items)
    assert not line
    oldest_ends = max(at for at, (work, _) in enumerate(order) if work is works[0])
    assert oldest_ends < sizes[0] * OLDEST_EVERY

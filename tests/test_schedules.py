import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent import Fault, InputError, Reply, schedules
from rearank_agent.schedules import cost, dry_run, schedule, tournament

EVERY = ["whole", "sliding", "sliding:10:5", "sliding:7:7", "tournament", "tournament:5",
         "topdown", "topdown:4", "topdown:7", "groups", "groups:7", "batches", "batches:30"]  # fmt: skip


def play(name, n, key):
    """Run a schedule with a policy that sorts by key; its windows, and its final order."""
    running = (schedule(name) if isinstance(name, str) else name).start(n)
    shown = []
    try:
        turn = next(running)
        while True:
            shown.append(turn)
            replies = []
            for window in turn.windows:
                scores = tuple(float(-key[position]) for position in window)
                order = sorted(range(len(window)), key=lambda i: key[window[i]])
                replies.append(Reply(tuple(order), scores))
            turn = running.send(replies)
    except StopIteration as done:
        return shown, done.value


@pytest.mark.parametrize("name", EVERY)
def test_always_a_permutation_of_everything(name):
    for n in [*range(121), 1000]:
        key = [(position * 7919) % (n or 1) for position in range(n)]
        shown, order = play(name, n, key)
        assert sorted(order) == list(range(n))
        for turn in shown:
            assert sorted(turn.order) == list(range(n))
            for window in turn.windows:
                assert len(set(window)) == len(window)
        seen = {position for turn in shown for window in turn.windows for position in window}
        assert seen == set(range(n)), "every passage is shown at least once"


@pytest.mark.parametrize(
    ("name", "sure"),
    [("whole", 10**9), ("groups", 10**9), ("batches:30", 10**9), ("sliding", 10),
     ("sliding:10:5", 5), ("tournament", 10), ("tournament:5", 2), ("topdown", 10),
     ("topdown:4", 2)],
)  # fmt: skip
@given(st.data())
def test_a_perfect_policy_gives_the_perfect_head(name, sure, data):
    n = data.draw(st.integers(1, 130))
    key = data.draw(st.permutations(range(n)))
    _, order = play(name, n, key)
    best = sorted(range(n), key=lambda position: key[position])
    assert list(order[:sure]) == best[:sure]


def test_windows_stay_within_their_size():
    for name, most in [("sliding", 20), ("tournament", 20), ("topdown", 20), ("groups", 20),
                       ("batches", 100)]:  # fmt: skip
        shown, _ = play(name, 333, list(range(333))[::-1])
        assert max(len(w) for turn in shown for w in turn.windows) <= most


def test_sliding_goes_from_the_tail_to_the_head():
    shown, _ = play("sliding", 35, list(range(35)))
    assert [turn.windows for turn in shown] == [
        (tuple(range(15, 35)),), (tuple(range(5, 25)),), (tuple(range(15)),)
    ]  # fmt: skip


def test_the_cost_of_a_hundred():
    costs = {name: cost(schedule(name), 100) for name in schedules.SCHEDULES}
    assert {name: (c.calls, c.turns) for name, c in costs.items()} == {
        "whole": (1, 1), "sliding": (9, 9), "tournament": (11, 4), "topdown": (6, 2),
        "groups": (5, 1), "batches": (1, 1),
    }  # fmt: skip


def test_batches_put_ranked_passages_before_the_others():
    shown, order = play("batches:2", 5, [3, 1, 4, 0, 2])
    assert [turn.order for turn in shown] == [(0, 1, 2, 3, 4), (1, 0, 2, 3, 4), (3, 1, 0, 2, 4)]
    assert order == (3, 1, 4, 0, 2)


def test_a_window_without_scores_goes_last_in_groups():
    running = schedule("groups:2").start(4)
    next(running)
    with pytest.raises(StopIteration) as done:
        running.send([Reply((0, 1)), Reply((1, 0), (0.1, 0.7))])
    assert done.value.value == (3, 2, 0, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [("slide", "no schedule is called 'slide'"), ("sliding:a", "cannot take"),
     ("sliding:1:2:3", "cannot take"), ("whole:3", "cannot take"),
     ("sliding:10:11", "leaves gaps"), ("tournament:1", "2 passages or more"),
     ("topdown:3", "4 passages or more"), ("sliding:5:0", "stride must be 1"),
     ("groups:0", "1 passages or more")],
)  # fmt: skip
def test_wrong_names_and_numbers(name, message):
    with pytest.raises(InputError, match=message):
        schedule(name)


def test_a_name_makes_the_schedule_it_names():
    for name in EVERY:
        assert schedule(schedule(name).name).name == schedule(name).name
    assert schedule("sliding").name == "sliding:20:10"


def in_time(turns, n, key):
    """A tournament of windows of 20 with time for these turns: its windows, and its order."""
    shown = []

    def left():
        return turns - len(shown)

    running = tournament(20, left).start(n)
    try:
        turn = next(running)
        while True:
            shown.append(turn)
            orders = (sorted(range(len(w)), key=lambda i: key[w[i]]) for w in turn.windows)
            turn = running.send([Reply(tuple(order)) for order in orders])
    except StopIteration as done:
        return shown, done.value


def narrowed(kept):
    detail = f"{kept} of each group went on instead of 10, to keep within the time"
    return Fault("narrowed", (), detail)


@pytest.mark.parametrize(
    ("turns", "windows", "faults"),
    [
        (9, [5, 3, 2, 1], []),
        (4, [5, 3, 2, 1], []),
        (3, [5, 2, 1], [narrowed(8)]),
        (2, [5, 1], [narrowed(4)]),
        (1, [1], [Fault("depth", (), "there was time for the first 20 of 100 passages only")]),
        (0, [1], [Fault("depth", (), "there was time for the first 20 of 100 passages only")]),
    ],
)
def test_a_tournament_takes_the_turns_there_is_time_for(turns, windows, faults):
    key = [(position * 37) % 100 for position in range(100)]
    shown, order = in_time(turns, 100, key)
    assert [len(turn.windows) for turn in shown] == windows
    assert [fault for turn in shown for fault in turn.faults] == faults
    assert sorted(order) == list(range(100))
    best = sorted(range(100) if turns > 1 else range(20), key=lambda position: key[position])
    assert list(order[:4]) == best[:4]


@given(st.integers(1, 6), st.integers(1, 1500))
def test_a_tournament_never_takes_more_turns_than_there_are(turns, n):
    shown, order = in_time(turns, n, list(range(n)))
    assert len(shown) <= turns
    assert sorted(order) == list(range(n))
    assert order[0] == 0


def test_a_dry_run_has_every_window():
    turns = dry_run(schedule("sliding:20:10"), 30)
    assert [turn.windows for turn in turns] == [(tuple(range(10, 30)),), (tuple(range(20)),)]
    assert cost(schedule("tournament"), 100) == cost(tournament(20), 100)

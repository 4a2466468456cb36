import random
from statistics import fmean

import pytest

from benchmarks import schedules as study
from benchmarks.schedules import Grades, NoisyPolicy, blended, simulate, twice
from rearank_agent.metrics import ndcg
from rearank_agent.schedules import groups, schedule, sliding, tournament

LIST = Grades([0, 1, 0, 3, 2] * 20, [1, 3, 2] * 20)


def judged(policy, window, query=LIST, seed=0):
    return policy.judge_with(query, random.Random(seed))(window)


def variant(made):
    return made.name, 1000, lambda _: made


def test_a_policy_without_error_gives_the_grades_and_keeps_ties():
    reply = judged(NoisyPolicy(), (3, 0, 1, 2, 4))
    assert reply.scores == (1, 0, 1 / 3, 0, 2 / 3)
    assert reply.order == (0, 4, 2, 1, 3)


def test_bias_is_half_the_best_grade_from_the_first_place_to_the_last():
    equal = Grades([3] * 5, [3])
    biased = NoisyPolicy(bias=1)
    assert judged(biased, (0, 1, 2, 3, 4), equal).scores == (1, 0.875, 0.75, 0.625, 0.5)
    assert judged(biased, (2,), equal).scores == (1,)


def noise(policy, windows):
    """What a policy adds to a passage of grade 0, in each of the windows."""
    irrelevant = Grades([0] * 400, [3])
    judge = policy.judge_with(irrelevant, random.Random(0))
    return [judge(window).scores for window in windows]


def spread(values):
    return fmean(value * value for value in values) ** 0.5


def test_error_is_half_the_best_grade_and_lasts_in_part():
    window = tuple(range(20))
    anew, again = noise(NoisyPolicy(1.0), [window] * 2)
    assert anew != again
    kept, same = noise(NoisyPolicy(1.0, lasting=1.0), [window] * 2)
    assert kept == same
    for lasting in (0.0, 0.5, 1.0):
        windows = [tuple(range(i, i + 20)) for i in range(0, 400, 20)]
        drawn = [x for row in noise(NoisyPolicy(1.0, lasting=lasting), windows) for x in row]
        assert spread(drawn) == pytest.approx(0.5, rel=0.1)


def test_error_grows_in_windows_of_more_than_twenty():
    for size, times in [(10, 1), (20, 1), (80, 2)]:
        window = tuple(range(size))
        (short,) = noise(NoisyPolicy(1.0), [window])
        (long,) = noise(NoisyPolicy(1.0, long=0.5), [window])
        assert long == pytest.approx([times * x for x in short])


def final(made, grades):
    """The final order of a schedule with a policy that knows the grades."""
    judge = NoisyPolicy().judge_with(Grades(grades, grades), random.Random(0))
    running, replies = made.start(len(grades)), None
    try:
        while True:
            replies = [judge(window) for window in running.send(replies).windows]
    except StopIteration as done:
        return done.value


def test_a_second_pass_starts_from_the_order_of_the_first():
    assert final(sliding(2, 1), [0, 1, 2, 3]) == (3, 0, 1, 2)
    assert final(twice(sliding(2, 1)), [0, 1, 2, 3]) == (3, 2, 0, 1)


def test_a_blend_mixes_in_the_first_stage_as_a_reranker_does():
    assert final(blended(groups(2), 0.3), [0, 0, 0, 3]) == (3, 0, 1, 2)
    assert final(blended(groups(2), 100), [0, 0, 0, 3]) == (0, 1, 2, 3)
    assert final(tournament(20), [0, 1, 2, 3]) == (3, 2, 1, 0)
    assert final(blended(tournament(20), 1.5), [0, 1, 2, 3]) == (0, 1, 2, 3)


def test_a_simulation_counts_calls_turns_and_passages_read():
    judge = NoisyPolicy().judge_with(LIST, random.Random(0))
    made = [schedule(name) for name in ("sliding", "tournament")]
    costs = [simulate(LIST, variant(one), judge)[1:] for one in made]
    assert costs == [(9, 9, 180), (11, 4, 200)]
    unranked = (ndcg(LIST.grades, LIST.judged, 10), 0, 0, 0)
    assert simulate(LIST, variant(study.FIRST_STAGE), judge) == unranked


def test_the_simulated_first_stage_is_about_as_good_as_bm25(monkeypatch):
    monkeypatch.setattr(study, "SIMULATED", 60)
    lists = study.simulated.__wrapped__()
    assert {len(made.grades) for made in lists} == {1000}
    means = [fmean(ndcg(made.grades, made.judged, 10) for made in lists)]
    for n in (20, 100):
        best = (sorted(made.grades[:n], reverse=True) for made in lists)
        means.append(fmean(ndcg(g, made.judged, 10) for g, made in zip(best, lists, strict=True)))
    assert means == pytest.approx([0.48, 0.65, 0.80], abs=0.06)

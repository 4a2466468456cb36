import random
from statistics import fmean

import pytest

from benchmarks import schedules as study
from benchmarks.schedules import Judge, Listed, blended, play, twice
from rearank_agent.metrics import ndcg
from rearank_agent.schedules import groups, schedule, sliding, tournament

LIST = Listed([0, 1, 0, 3, 2] * 20, [1, 3, 2] * 20)


def asked(judge, window, listed=LIST, seed=0):
    return judge.of(listed, random.Random(seed))(window)


def way(made):
    return made.name, 1000, lambda _: made


def test_a_judge_without_error_gives_the_grades_and_keeps_ties():
    reply = asked(Judge(), (3, 0, 1, 2, 4))
    assert reply.scores == (1, 0, 1 / 3, 0, 2 / 3)
    assert reply.order == (0, 4, 2, 1, 3)


def test_bias_is_half_the_best_grade_from_the_first_place_to_the_last():
    alike = Listed([3] * 5, [3])
    assert asked(Judge(bias=1), (0, 1, 2, 3, 4), alike).scores == (1, 0.875, 0.75, 0.625, 0.5)
    assert asked(Judge(bias=1), (2,), alike).scores == (1,)


def noise(judge, windows):
    """What a judge adds to a passage without a grade, in each of the windows."""
    plain = Listed([0] * 400, [3])
    ask = judge.of(plain, random.Random(0))
    return [ask(window).scores for window in windows]


def spread(values):
    return fmean(value * value for value in values) ** 0.5


def test_error_is_half_the_best_grade_and_lasts_in_part():
    window = tuple(range(20))
    anew, again = noise(Judge(1.0), [window] * 2)
    assert anew != again
    kept, same = noise(Judge(1.0, lasting=1.0), [window] * 2)
    assert kept == same
    for lasting in (0.0, 0.5, 1.0):
        windows = [tuple(range(i, i + 20)) for i in range(0, 400, 20)]
        drawn = [x for row in noise(Judge(1.0, lasting=lasting), windows) for x in row]
        assert spread(drawn) == pytest.approx(0.5, rel=0.1)


def test_error_grows_in_windows_of_more_than_twenty():
    for size, times in [(10, 1), (20, 1), (80, 2)]:
        window = tuple(range(size))
        (short,), (long,) = noise(Judge(1.0), [window]), noise(Judge(1.0, long=0.5), [window])
        assert long == pytest.approx([times * x for x in short])


def final(made, grades):
    """The order a schedule comes to when the judge knows the grades."""
    ask = Judge().of(Listed(grades, grades), random.Random(0))
    running, replies = made.start(len(grades)), None
    try:
        while True:
            replies = [ask(window) for window in running.send(replies).windows]
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


def test_a_play_counts_calls_turns_and_passages_read():
    ask = Judge().of(LIST, random.Random(0))
    costs = {name: play(LIST, way(schedule(name)), ask)[1:] for name in ("sliding", "tournament")}
    assert costs == {"sliding": (9, 9, 180), "tournament": (11, 4, 200)}
    assert play(LIST, way(study.AS_GIVEN), ask) == (ndcg(LIST.grades, LIST.judged, 10), 0, 0, 0)


def test_the_simulated_first_stage_is_about_as_good_as_bm25(monkeypatch):
    monkeypatch.setattr(study, "SIMULATED", 60)
    lists = study.simulated.__wrapped__()
    assert {len(made.grades) for made in lists} == {1000}
    means = [fmean(ndcg(made.grades, made.judged, 10) for made in lists)]
    for n in (20, 100):
        best = (sorted(made.grades[:n], reverse=True) for made in lists)
        means.append(fmean(ndcg(g, made.judged, 10) for g, made in zip(best, lists, strict=True)))
    assert means == pytest.approx([0.48, 0.65, 0.80], abs=0.06)

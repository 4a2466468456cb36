"""Cascades and ensembles: what is asked of whom, and what is lost when a part fails."""

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent import InputError, Reranker, policy, schedules
from rearank_agent.policies.composed import Cascade, Ensemble, leaves
from rearank_agent.present.explanation import explain_text
from rearank_agent.present.replay import replay
from rearank_agent.schedules.composed import fused
from rearank_agent.types import Ranking, Reply, Usage


class Judge:
    """Ranks by a key of the passage's number; it writes down what it was asked."""

    fingerprint = "judge"
    scale = 100.0
    blend = 0.0

    def __init__(self, key, name="judge", window=None, scores=True, fails=False, seconds=0.0):
        self.key, self.name, self.window, self.scores = key, name, window, scores
        self.fails, self.seconds = fails, seconds
        self.fingerprint = name
        self.asked = []

    async def judge(self, task, window):
        self.asked.append(task.ids(window))
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("down")
        keys = [float(self.key(int(i))) for i in task.ids(window)]
        order = tuple(sorted(range(len(window)), key=lambda i: -keys[i]))
        return Reply(
            order, tuple(keys) if self.scores else None, usage=Usage(calls=1, answer_tokens=5)
        )


TEXTS = [f"text {i}" for i in range(1, 11)]


def even_first(i):
    return 100 - i if i % 2 == 0 else -i


def test_the_dear_one_ranks_the_best_of_the_cheap_one():
    cheap, dear = Judge(even_first, "cheap"), Judge(lambda i: i, "dear")
    ranking = Reranker(Cascade([cheap, dear], [3])).rerank_sync("q", TEXTS)
    assert dear.asked == [("2", "4", "6")]
    assert ranking.ids == ("6", "4", "2", "8", "10", "1", "3", "5", "7", "9")
    assert [one.scored for one in ranking.passages] == [True] * 3 + [False] * 7
    assert [one.score for one in ranking.passages] == [6.0, 4.0, 2.0] + [2.0] * 7
    assert (ranking.policy, ranking.judges) == ("cheap,3,dear", ("cheap", "dear"))
    assert ranking.schedule == "whole,3,whole"
    assert ranking.usage.calls == 2
    assert Ranking.from_json(ranking.to_json()) == ranking
    assert [stage.order[:3] for stage in replay(ranking).stages] == [
        (0, 1, 2), (1, 3, 5), (5, 3, 1),
    ]  # fmt: skip


def test_explain_says_who_decided_and_what_each_cost():
    cheap, dear = Judge(even_first, "cheap"), Judge(lambda i: i, "dear", window=2, scores=False)
    ranking = Reranker(Cascade([cheap, dear], [3])).rerank_sync("q", TEXTS)
    text = explain_text(ranking, "")
    assert "policy 1, cheap: ranked 10 passages; calls 1, from the cache 0, tokens 5" in text
    assert "policy 2, dear: ranked 3 passages; calls " in text
    assert "window 1 by cheap (turn 1, 10 passages" in text
    assert "window 2 by dear (turn 2, 2 passages" in text
    assert not any(one.scored for one in ranking.passages)


def test_three_stages_with_an_ensemble_in_the_middle():
    first, a, b = Judge(even_first, "a"), Judge(lambda i: i, "b"), Judge(lambda i: -i, "c")
    last = Judge(lambda i: -abs(i - 8), "d", window=2, scores=False)
    made = Cascade([first, Ensemble([a, b]), last], [5, 2])
    assert made.name == "a,5,b+c,2,d"
    assert [one.name for one in leaves(made)] == ["a", "b", "c", "d"]
    ranking = Reranker(made).rerank_sync("q", TEXTS)
    assert a.asked == b.asked == [("2", "4", "6", "8", "10")]
    assert len(last.asked) == 1
    assert sorted(ranking.ids, key=int) == [str(i) for i in range(1, 11)]
    assert ranking.schedule == "whole,5,whole+whole,2,tournament:2"
    assert [step.judge for step in ranking.steps] == [0, 1, 2, 3]
    assert schedules.schedule(ranking.schedule).name == ranking.schedule


@pytest.mark.parametrize("scores", [True, False])
def test_when_the_dear_one_fails_the_cheap_order_stands(scores):
    dear = Judge(lambda i: i, "dear", window=2, scores=scores, fails=True)
    ranking = Reranker(Cascade([Judge(even_first), dear], [4])).rerank_sync("q", TEXTS)
    assert ranking.ids[:5] == ("2", "4", "6", "8", "10")
    assert ranking.partial
    assert {fault.kind for fault in ranking.faults} == {"failed"}


def test_at_the_deadline_the_order_of_the_last_finished_turn_stands():
    dear = Judge(lambda i: i, "dear", seconds=5)
    ranking = Reranker(Cascade([Judge(even_first), dear], [4]), deadline=0.3).rerank_sync(
        "q", TEXTS
    )
    assert ranking.ids[:5] == ("2", "4", "6", "8", "10")
    assert [fault.kind for fault in ranking.faults] == ["deadline"]
    assert not any(one.scored for one in ranking.passages)


def test_an_ensemble_asks_all_at_once_and_fuses_their_ranks():
    up, down = (
        Judge(lambda i: i, "up"),
        Judge(lambda i: -abs(i - 9), "nine", window=4, scores=False),
    )
    ranking = Reranker(Ensemble([up, down])).rerank_sync("q", TEXTS)
    assert [step.judge for step in ranking.steps if step.turn == 1].count(0) == 1
    assert 1 in [step.judge for step in ranking.steps if step.turn == 1]
    assert set(ranking.ids[:2]) == {"9", "10"}
    assert not any(one.scored for one in ranking.passages)


def test_a_part_of_an_ensemble_that_fails_leaves_the_others():
    made = Ensemble([Judge(lambda i: i, "up"), Judge(lambda i: i, "down", fails=True)])
    ranking = Reranker(made).rerank_sync("q", TEXTS)
    assert ranking.partial
    assert ranking.judged
    assert sorted(ranking.ids) == sorted(str(i) for i in range(1, 11))


def _mixed(factor):
    return lambda i: (i * factor * 7919) % 13


@settings(max_examples=60)
@given(
    n=st.integers(1, 30),
    keep=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    seed=st.randoms(),
)
def test_every_cascade_gives_a_permutation(n, keep, seed):
    windows = [None, *(seed.choice([None, 2, 5]) for _ in keep)]
    stages = [Judge(_mixed(seed.random()), window=w, scores=w is None) for w in windows]
    ranking = Reranker(Cascade(stages, keep)).rerank_sync("q", [f"t {i}" for i in range(n)])
    assert sorted(map(int, ranking.ids)) == list(range(1, n + 1))
    scores = [one.score for one in ranking.passages]
    assert scores == sorted(scores, reverse=True)


def test_reciprocal_ranks_are_added_up():
    assert fused([(0, 1, 2), (2, 0, 1), (2, 0, 1)]) == (2, 0, 1)
    assert fused([(0, 1), (1, 0)]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        ("embedded,5,lexical", Cascade, "embedded,5,lexical"),
        ("lexical+embedded", Ensemble, "lexical+embedded"),
        ("lexical , 7 , embedded+lexical", Cascade, "lexical,7,embedded+lexical"),
    ],
)
def test_names(name, kind, shown):
    made = policy(name)
    assert (type(made), made.name) == (kind, shown)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("embedded,5", "must end with a policy, as in embedded,20,vllm:NAME"),
        ("embedded,0,lexical", "needs a number of passages, 1 or more: 0"),
        ("embedded,lexical", "'embedded,lexical' is no cascade: there is a number before each"),
        ("embedded,²,lexical", "is no cascade"),
        ("embedded,20,,lexical", "is no cascade"),
        ("embedded+nothing", "no policy is called 'nothing'"),
        ("cros-encoder:x", "no policy is called 'cros-encoder:x'; is it cross-encoder:x?"),
        ("lexical+re-rank:x", "is it rerank:x?"),
        ("embedded+", "'embedded+' lacks a policy beside a plus"),
        ("embedded,5,lexical+", "'lexical+' lacks a policy beside a plus"),
    ],
)
def test_names_that_are_none(name, line):
    with pytest.raises(InputError, match=re.escape(line)):
        policy(name)


def test_options_go_to_the_models_alone():
    with pytest.raises(InputError, match="is no language model and takes no options: think"):
        policy("embedded,5,lexical", think=False)
    with pytest.raises(InputError, match="cannot be part of an ensemble"):
        Ensemble([policy("embedded,5,lexical"), policy("lexical")])
    with pytest.raises(InputError, match="two policies or more"):
        Ensemble([policy("lexical")])

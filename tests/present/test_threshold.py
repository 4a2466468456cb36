"""A minimum score: what is below is counted and not shown, and nothing is lost."""

import json

import pytest
from typer.testing import CliRunner

from helpers.policies import Down, Judge
from helpers.terminal import in_terminal, plain
from rearank_agent import InputError, Reply, Reranker
from rearank_agent.cli import app
from rearank_agent.policies.composed import Cascade
from rearank_agent.policies.registry import policy
from rearank_agent.present.answer import as_text
from rearank_agent.present.page import html_page
from rearank_agent.present.threshold import check_min_score, from_score
from rearank_agent.present.truncate import rerank_answer

TEXTS = ["a", "bbb", "bb"]


class Lengths(Judge):
    """Scores by length, out of four."""

    scores, scale, window = True, 4.0, None

    async def judge(self, task, window):
        lengths = [float(len(task.candidates[p].text)) for p in window]
        return Reply(tuple(sorted(range(len(lengths)), key=lambda i: -lengths[i])), tuple(lengths))


def ids(passages):
    return [ranked.id for ranked in passages]


@pytest.mark.parametrize("blend", [0.0, 0.3])
def test_relevance_is_the_policys_own_score_on_one_scale(blend):
    ranking = Reranker(Lengths()).rerank_sync("q", TEXTS, blend=blend)
    assert {one.id: one.relevance for one in ranking.passages} == {"1": 0.25, "2": 0.75, "3": 0.5}
    assert ids(ranking.above(0.5)) == ["2", "3"]
    assert ids(ranking.above(0)) == ids(ranking.passages)
    assert ranking.above(0.76) == ()


def test_what_is_below_is_counted():
    ranking = Reranker(Lengths()).rerank_sync("q", TEXTS)
    shown, note = from_score(ranking, 0.5)
    assert (ids(shown), note) == (["2", "3"], "1 of 3 are below 0.5")
    assert from_score(ranking, None) == (ranking.passages, "")
    assert from_score(ranking, 0.1) == (ranking.passages, "")
    text = as_text(rerank_answer(ranking, 9, False, 4000, 0.9))
    assert text.splitlines() == [f"run {ranking.run}: 0 of 3", "note: 3 of 3 are below 0.9"]


def test_an_order_has_no_minimum():
    with pytest.raises(InputError, match="needs a policy whose scores compare, and judge gives"):
        check_min_score(Judge(), 0.5)
    with pytest.raises(InputError, match="this ranking has an order only"):
        Reranker(Judge()).rerank_sync("q", TEXTS).above(0.5)
    with pytest.raises(InputError, match="a number from 0 to 1: 2"):
        check_min_score(Lengths(), 2)
    check_min_score(Judge(), None)


def test_a_policy_that_failed_has_its_ranking_shown_whole():
    class Failing(Down):
        scores, scale, window = True, 1.0, None

    ranking = Reranker(Failing()).rerank_sync("q", TEXTS)
    shown, note = from_score(ranking, 0.5)
    assert (ids(shown), note) == (
        ["1", "2", "3"], "the minimum score was not used: there are no scores",
    )  # fmt: skip


def test_what_the_last_stage_did_not_rank_is_below():
    ranking = Reranker(Cascade([policy("lexical"), Lengths()], [2])).rerank_sync("q", TEXTS)
    assert [one.relevance for one in ranking.passages][2] is None
    assert from_score(ranking, 0.0)[1] == "1 of 3 have no score of their own"
    assert from_score(ranking, 0.9)[1] == "2 of 3 are below 0.9; 1 of 3 have no score of their own"


def test_a_score_that_is_not_a_passages_own_is_marked(run, tmp_path):
    ranking = Reranker(Cascade([policy("lexical"), Lengths()], [2])).rerank_sync("q", TEXTS)
    answer = rerank_answer(ranking, 9, False, 4000)
    assert [one.score for one in answer.ranking] == [*(r.relevance for r in ranking.above(0)), None]
    assert "those without have none" in html_page(ranking)
    (tmp_path / "p.txt").write_text("Fleas jump far.\nThe moon barks.\n")
    asked = ("rerank", "fleas jump", str(tmp_path / "p.txt"), "--policy", "lexical,1,embedded")
    rows = [json.loads(line) for line in run(*asked)[1].splitlines()]
    assert [row["score"] is None for row in rows] == [False, True]
    code, shown = in_terminal(asked)
    assert code == 0
    assert ["2", "=", "–"] in [line.split()[:3] for line in plain(shown).splitlines()]


def test_on_the_command_line(tmp_path):
    (tmp_path / "p.txt").write_text("Fleas jump far.\nThe moon barks.\n")
    base = ["rerank", "how far do fleas jump", str(tmp_path / "p.txt"), "--policy", "embedded"]
    done = CliRunner().invoke(app, [*base, "--min-score", "0.4"])
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["1"]
    assert "note: 1 of 2 are below 0.4" in done.stderr
    whole = CliRunner().invoke(app, [*base, "--min-score", "0.4", "--json"])
    assert len(json.loads(whole.stdout)["passages"]) == 2
    refused = CliRunner().invoke(app, [*base[:-1], "lexical+first-stage", "--min-score", "0.4"])
    assert isinstance(refused.exception, InputError)

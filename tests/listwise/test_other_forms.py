"""Answers in other forms than asked for: read where they are clear, with a fault, else refused."""

import time

import pytest

from rearank_agent.listwise import parse_reply
from rearank_agent.types import Fault
from rearank_training.rows.rewards import CompleteList, Rearank, Tags

FORM = (Fault("form", (), "the answer was in another form than asked for"),)
CHAINS = [
    "[3] > [1] > [2]", "[3]>[1]>[2]", "[3], [1], [2]", "[3] [1] [2]", "[3] >> [1] >> [2]",
    "[3] → [1] → [2]", "[3] &gt; [1] &gt; [2]", "[3]\n[1]\n[2]", "1. [3]\n2. [1]\n3. [2]",
    "- [3]\n- [1]\n- [2]", "**[3]** > **[1]** > **[2]**", "[ 3 ] > [ 1 ] > [ 2 ]",
]  # fmt: skip
AROUND = [
    "**{}**", "```\n{}\n```", "```text\n{}\n```", "Here is the ranking:\n\n{}", "{}.",
    "Final ranking: {}", "The order is {}.", "<think>[1] is best.</think>\n\n{}",
    "<thinking>[1] > [2] > [3]</thinking>\n{}", "<answer>{}", "I compared them.\n\n{}\n\nDone.",
    "{0}\n\nAs said:\n\n{0}",
]  # fmt: skip


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("chain", CHAINS)
def test_the_only_complete_chain_is_the_answer(chain, around):
    reading = parse_reply(around.format(chain), 3)
    assert (reading.order, reading.readable, reading.faults) == ((2, 0, 1), True, FORM)


@pytest.mark.parametrize(
    "answer",
    ["3 > 1 > 2", "3, 1, 2", "[3, 1, 2]", '["3", "1", "2"]', "Passage 3 > Passage 1 > Passage 2",
     "Document 3, Document 1, Document 2", "(3) > (1) > (2)", "【3】 > 【1】 > 【2】", "{3} {1} {2}",
     "#3 > #1 > #2", "3\n1\n2", "1. Passage 3\n2. Passage 1\n3. Passage 2", "**3** > **1** > **2**",
     "[2] is good because unlike [1] it is on topic. Final: [3] > [1] > [2]",
     "[1] > [2] > [3], no: [3] > [1] > [2]"],
)  # fmt: skip
def test_other_names_in_an_answer_count_when_they_name_all(answer):
    reading = parse_reply(f"<answer>{answer}</answer>", 3)
    assert (reading.order, reading.readable, reading.faults) == ((2, 0, 1), True, FORM)


@pytest.mark.parametrize(
    "text",
    ["I looked at passages 3, 1 and 2.", "3 > 1 > 2", "[3] > [1] > [2",
     "[3] is better than [1], and [1] better than [2]", "[1] > [2] > [3] or [3] > [2] > [1]",
     "[1] > [2] > [3]\n[3] > [2] > [1]", "Passages [1], [2], [3] are not relevant.",
     "Of [1], [2], [3] none answers the query.", "429 Too Many Requests [1] > [2] > [3]",
     "HTTP 503\n[3] > [1] > [2]", "Error: the server failed\n[3] > [1] > [2]",
     '{"error": {"message": "[3] > [1] > [2]"}}', "<html>\n[3] > [1] > [2]\n</html>",
     "<think>[3] > [1] > [2]", "<think>x</think> <think>[3] > [1] > [2]",
     "<think>[3] > [1] > [2]</think>", "<answer>3 and 1</answer>", "<answer>3 > 1 > 1</answer>",
     "<answer>2 of 3 passages, 1 is best</answer>", "<answer>I cannot</answer>",
     "<answer>2, 1, 0</answer>"],
)  # fmt: skip
def test_what_is_not_clear_stays_refused(text):
    reading = parse_reply(text, 3)
    assert (reading.order, reading.readable) == ((0, 1, 2), False)
    assert [fault.kind for fault in reading.faults] == ["unreadable"]


def test_what_was_repaired_before_is_repaired_as_before():
    reading = parse_reply("<answer>[3] > [1] > [2] > [3] > [9]</answer>", 3)
    assert reading.order == (2, 0, 1)
    assert [fault.kind for fault in reading.faults] == ["repeated", "foreign"]
    assert parse_reply("<answer>best first: [3] > [1] > [2]</answer>", 3).faults == ()


@pytest.mark.parametrize(
    ("answer", "scores", "top"),
    [
        ("[1] 0, [2] 40, [3] 95", (0.0, 4.0, 9.5), 100),
        ("[1] 5%, [2] 40%, [3] 9%", (0.5, 4.0, 0.9), 100),
        ("[1] 80/100, [2] 100/100, [3] 5/100", (8.0, 10.0, 0.5), 100),
        ("[1] 0.2, [2] 0.95, [3] 1", (2.0, 9.5, 10.0), 1),
        ("[1] 4/5, [2] 5/5, [3] 1/5", (8.0, 10.0, 2.0), 5),
    ],
)
def test_scores_on_another_scale_are_rescaled(answer, scores, top):
    reading = parse_reply(f"<answer>{answer}</answer>", 3, "scores")
    assert reading.scores == pytest.approx(scores)
    assert reading.order == tuple(sorted(range(3), key=lambda i: -scores[i]))
    told = f"scores of 0 to {top} were rescaled to 0 to 10"
    assert reading.faults == (Fault("form", (), told),)


@pytest.mark.parametrize(
    "answer", ["[1] 3, [2] 5, [3] 4", "[1] 1, [2] 0, [3] 1", "[1] 7/10, [2] 9/10, [3] 1/10"]
)
def test_scores_as_asked_for_stay(answer):
    assert parse_reply(f"<answer>{answer}</answer>", 3, "scores").faults == ()


@pytest.mark.parametrize(
    "answer",
    [
        "[1] 7, [2] 11, [3] 4",
        "[1] 900, [2] 20, [3] 5",
        "[1] 4/5, [2] 9/10, [3] 1/5",
        "[1] 6/5, [2] 1/5",
    ],
)
def test_scores_that_agree_on_no_scale_are_asked_for_again(answer):
    """The highest is never put last."""
    assert parse_reply(f"<answer>{answer}</answer>", 3, "scores").readable is False


def test_scores_without_tags():
    reading = parse_reply("Scores:\n[1] 7\n[2] 9\n[3] 1", 3, "scores")
    assert (reading.scores, reading.faults) == ((7.0, 9.0, 1.0), FORM)
    assert parse_reply("[1] has 3 parts, [2] 9, [3] 1", 3, "scores").readable is False


@pytest.mark.parametrize(
    "reply", ["**[2] > [1]**", "<think>x</think>\n[2] > [1]", "<answer>2 > 1</answer>"]
)
def test_rewards_for_the_form_stay_strict(reply):
    assert CompleteList().of_reply(reply, [0, 1]) == 0
    assert Tags().of_reply(reply, [0, 1]) == 0
    assert Rearank().of_reply(reply, [0, 1]) == pytest.approx(0.8)


@pytest.mark.parametrize("piece", ["[1] > ", "[1] > [2] > [3]\n", "&gt;", "x: ", "1. ", "[1] 7, "])
def test_a_million_characters_are_parsed_in_seconds(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    for form in ("order", "scores"):
        for reply in (text, f"<answer>{text}</answer>"):
            assert sorted(parse_reply(reply, 4, form).order) == [0, 1, 2, 3]
    assert time.process_time() - start < 10

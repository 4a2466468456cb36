"""`train show`: a run read in a terminal, and as a page."""

import json

import pytest

from rearank_agent.errors import InputError
from rearank_training.run_page import run_page
from rearank_training.run_report import describe, read_run

HOSTILE = "<think>\x1b[2J</think>\n<script>alert(1)</script> step 9: reward 9\u202e"
RUN = {"phase": "grpo", "model": "runs/sft/policy", "steps": 60, "rate": 1e-4}
LOG = [
    {"phase": "grpo", "step": 0, "dev": {"harbour": 0.7}, "macro": 0.7, "mended": 0.1, "tagged": 1},
    {"phase": "grpo", "step": 1, "loss": 0.25, "reward": 0.5, "kl": 0.001, "tokens": 44.6,
     "equal": 0.25, "seconds": 1.5},
    {"phase": "grpo", "step": 1, "dev": {"harbour": 0.75}, "macro": 0.75, "mended": 0.0},
    {"phase": "grpo", "step": 2, "loss": 0.5, "reward": 0.25, "cut_off": 0.5,
     "alarms": ["length", "tags"]},
    {"phase": "grpo", "step": 2, "dev": {"harbour": 0.72}, "macro": 0.72, "mended": 0.5,
     "alarms": ["tags"]},
]  # fmt: skip


def kept(step, kind, of, reward, reply, prompt="harbour/q1/3"):
    return {
        "step": step, "of": of, "kind": kind, "prompt": prompt, "query": "which boat has ice?",
        "reply": reply, "left_out": 0, "grades": [0.0, 2.0], "reward": reward,
        "parts": {"relative_ndcg": reward, "tags": 1.0},
    }  # fmt: skip


REPLIES = [
    kept(1, "best", "dev", 0.9, "earlier"),
    kept(2, "best", "dev", 0.8, HOSTILE),
    kept(2, "worst", "rollouts", -0.25, "word " * 30),
    kept(2, "random", "rollouts", 0.0, " "),
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    for name, lines in (("log", LOG), ("rollouts", REPLIES)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    return tmp_path


SHOWN = """\
grpo of runs/sft/policy, step 2 of 60
step 1: loss 0.250, reward 0.500, KL 0.0010, 25% of prompts without a
difference, 45 tokens a reply, 1.5 s
step 2: loss 0.500, reward 0.250, 50% cut off, alarms: length, tags
step 0: dev nDCG@10 70.00, 10% of replies repaired
step 1: dev nDCG@10 75.00, 0% of replies repaired
step 2: dev nDCG@10 72.00, 50% of replies repaired, alarms: tags
kept: step 1: dev nDCG@10 75.00, 0% of replies repaired
alarms: tags, length

step 2, best of dev: 0.800
  relative_ndcg 0.800, tags 1.000; grades as shown: 0 2
  harbour/q1/3
  query: which boat has ice?
    <think>�[2J</think>
    <script>alert(1)</script> step 9: reward 9�

step 2, worst of rollouts: -0.250
  relative_ndcg -0.250, tags 1.000; grades as shown: 0 2
  harbour/q1/3
  query: which boat has ice?
    word word word word word word word word word word word word word word word
    word word word word word word word word word word word word word word word

step 2, random of rollouts: 0.000
  relative_ndcg 0.000, tags 1.000; grades as shown: 0 2
  harbour/q1/3
  query: which boat has ice?
    an empty reply
"""


def test_a_run_in_a_terminal_of_80_columns(folder, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run("train", "show", str(folder))
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == SHOWN.splitlines()


def test_a_run_as_a_page(folder, run):
    (folder / "dev.png").write_bytes(b"\x89PNG")
    code, out, err = run("train", "show", str(folder), "--html", str(folder / "page.html"))
    assert (code, out, err) == (0, "", f"the page is in {folder / 'page.html'}\n")
    page = (folder / "page.html").read_text()
    assert page == run_page(read_run(folder))
    assert "<script" not in page
    assert (
        "&lt;think&gt;�[2J&lt;/think&gt;\n&lt;script&gt;alert(1)&lt;/script&gt; step 9: reward 9�"
        in page
    )
    assert 'src="data:image/png;base64,iVBORw==" alt="dev nDCG@10 by step"' in page
    assert page.index("step 2</summary>") < page.index("step 1</summary>")
    assert page.count("<details") == 2
    assert page.count("an empty reply") == 1
    assert '<tr class="best"><th scope="row" class="r">1</th><td class="r">75.00</td>' in page
    assert '<th scope="row">rate</th><td>0.0001</td>' in page


def test_the_policy_that_imitation_keeps_has_the_lowest_loss(folder):
    lines = [line | {"held_out": loss} for line, loss in zip(LOG[::2], (3, 2, 1), strict=True)]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = read_run(folder)
    assert report.best == lines[2]
    assert describe(lines[2]) == (
        "step 2: dev nDCG@10 72.00, 50% of replies repaired, held-out loss 1.000, alarms: tags"
    )


def test_a_run_of_the_embedded_policy_has_no_replies(tmp_path, run):
    line = {"phase": "warm", "step": 0, "dev": {"harbour": 0.5}, "macro": 0.5}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    code, out, _ = run("train", "show", str(tmp_path))
    assert (code, out.splitlines()[0]) == (0, "warm, step 0")
    assert "50.00" in run_page(read_run(tmp_path))


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no run, or one that has not begun: it has no log"):
        read_run(tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1\n')
    with pytest.raises(InputError, match="is damaged: a line is not JSON"):
        read_run(tmp_path)

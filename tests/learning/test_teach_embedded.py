"""Training the embedded policy on a teacher's scores and orders."""

import json
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
import torch

from helpers.small import QUERIES, beir
from helpers.tiny_rerankers import cross_encoder
from rearank_agent import Reranker
from rearank_agent.cli import main
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.errors import InputError
from rearank_agent.policies.embedded.encoder import Encoder
from rearank_agent.policies.embedded.policy import WEIGHTS
from rearank_agent.policies.registry import policy
from rearank_training.embedded.dev import Dev
from rearank_training.embedded.export import FROZEN
from rearank_training.embedded.lessons import Candidates, Lesson, LessonSampler
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.teacher import TEACHER, ask
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trainer import Trainer
from rearank_training.embedded.trunk import Trunk
from rearank_training.log import LOG
from rearank_training.rows.augment import Augmentation, augment
from rearank_training.rows.rows import write_rows

HARBOUR = Path(__file__).parents[2] / "examples" / "harbour"
QUICK = EmbeddedSettings(
    warm_steps=3, steps=0, windows=2, passages=6, tokens=32, every=3, warm_rate=3e-4, moved=1.0,
    threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def trunk():
    return Trunk(Encoder(WEIGHTS, WEIGHTS / "untrained"), threads=1)


@pytest.fixture(scope="module")
def harbour():
    (one,) = load_collections([str(HARBOUR)])
    return one


@pytest.fixture(scope="module")
def wanted(harbour):
    lists = first_stage(harbour, 12).lists
    return [
        Candidates("harbour", text, "", tuple(harbour.corpus[name] for name in lists[query]))
        for query, text in harbour.queries.items()
    ]


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    lists = {"q1": ["host", "jump", "bees"], "q2": ["jump", "eggs"], "q3": ["rats", "host"]}
    (one,) = load_collections([str(beir(tmp_path_factory.mktemp("dev") / "fleas", lists=lists))])
    return Dev([one], 3)


@pytest.fixture
def trainer(base, trunk, dev, tmp_path):
    def make(lessons, recipe=QUICK, out=tmp_path / "run", teacher="teacher"):
        towers = Towers(base, FROZEN, recipe.share)
        return Trainer(recipe, LessonSampler(lessons, 0, teacher), None, dev, trunk, towers, out)

    return make


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def agreement(towers, trunk, lessons):
    """The share of pairs, of those the teacher tells apart, that the student puts in its order."""
    shares = []
    for lesson in lessons:
        texts = (lesson.candidates.query, *lesson.candidates.texts)
        with torch.inference_mode():
            hidden = towers.encode(trunk.states(texts, QUICK.tokens))
            scores = towers.scores(towers.pool(hidden[:1]), towers.pool(hidden[1:]))[0].tolist()
        pairs = list(combinations(zip(scores, lesson.scores, strict=True), 2))
        told = [(s - other) * (t - b) > 0 for (s, t), (other, b) in pairs if t != b]
        shares.append(fmean(told))
    return fmean(shares)


def taught_by(name, wanted, tmp_path, kind):
    """The lessons of a tiny random cross-encoder, or of BM25; or their orders alone."""
    if name == "cross-encoder":
        cross_encoder(tmp_path / "model")
        name = f"cross-encoder:{tmp_path / 'model'}"
    lessons, failures = ask(policy(name), wanted, tmp_path / TEACHER)
    assert not failures
    assert not any(lesson.ordered for lesson in lessons)
    if kind == "scores":
        return lessons
    orders = [sorted(range(len(one.scores)), key=lambda i: -one.scores[i]) for one in lessons]
    return [
        Lesson(one.candidates, tuple(-float(order.index(i)) for i in range(len(order))), True)
        for one, order in zip(lessons, orders, strict=True)
    ]


@pytest.mark.parametrize(
    ("teacher", "kind"),
    [("cross-encoder", "scores"), ("cross-encoder", "orders"), ("lexical", "scores")],
)
def test_the_student_comes_to_order_as_the_teacher(teacher, kind, wanted, trainer, trunk, tmp_path):
    lessons = taught_by(teacher, wanted, tmp_path, kind)
    recipe = EmbeddedSettings(
        warm_steps=20, steps=0, windows=4, passages=12, tokens=32, every=20, warm_rate=5e-4,
        moved=1.0, threads=1,
    )  # fmt: skip
    run = trainer(lessons, recipe)
    before = agreement(run.towers, trunk, lessons)
    run.run()
    losses = [line["loss"] for line in read(run.out / LOG) if "loss" in line]
    after = agreement(run.towers, trunk, lessons)
    assert fmean(losses[-5:]) < fmean(losses[:5])
    assert after > before + 0.15


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_is_the_same_to_the_bit(wanted, trainer, tmp_path, stop, monkeypatch):
    monkeypatch.setattr("rearank_training.embedded.trainer._SAVE_EVERY", 1)
    lessons = taught_by("lexical", wanted, tmp_path, "scores")
    whole = trainer(lessons, out=tmp_path / "whole")
    whole.run()
    seen = []

    def interrupt(line):
        seen.append("loss" in line)
        if sum(seen) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(lessons, out=tmp_path / "broken").run(interrupt)
    again = trainer(taught_by("lexical", wanted, tmp_path, "scores"), out=tmp_path / "broken")
    again.resume()
    assert again.step == stop
    assert again.run() == whole.best
    for ours, theirs in zip(again.towers.parameters(), whole.towers.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_of_another_teacher_is_refused(wanted, trainer, tmp_path):
    lessons = taught_by("lexical", wanted, tmp_path, "scores")
    run = trainer(lessons)
    run.run()
    with pytest.raises(InputError, match=r"another recipe: teacher was teacher \w+, is other \w+"):
        trainer(lessons, teacher="other").resume()
    with pytest.raises(InputError, match=r"another recipe: teacher was teacher \w+, is teacher"):
        trainer(lessons[1:]).resume()


@pytest.fixture
def command(base, tmp_path, monkeypatch, capsys):
    """Train with the command line; exit code, what was printed, and the notes."""
    dev = beir(tmp_path / "dev")

    def run(*more, out="run"):
        args = ["train", "embedded", "--dev", dev, "--out", tmp_path / out, "--base", base]
        args += ["--warm-steps", 1, "--windows", 1, "--passages", 4, "--tokens", 16, *more]
        monkeypatch.setattr(sys, "argv", ["rearank-agent", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def own(tmp_path):
    """A corpus of one's own: queries without judgements, one of them a dev query too."""
    queries = {"a": "do fleas live on dogs", "b": "rats with fleas", "c": QUERIES["q1"].upper()}
    folder = beir(tmp_path / "own", queries=queries)
    (folder / "qrels.tsv").unlink()
    return folder


def test_unjudged_queries_are_enough(command, own, tmp_path):
    code, out, notes = command("--teacher", "lexical", "--unjudged", own)
    assert code == 0, notes
    assert json.loads(out).keys() == {"dev", "macro"}
    for note in ("there are no rows, so there is no reinforcement",
                 "1 queries are in a dev collection too, and not learned from",
                 "warm 1/1: dev nDCG@10"):  # fmt: skip
        assert note in notes
    facts = json.loads((tmp_path / "run/top/policy.json").read_bytes())
    assert facts["teacher"]["queries"] == {"own": 2}
    assert facts["teacher"]["name"].startswith("lexical")
    assert "rows" not in facts
    assert len(read(tmp_path / "run" / TEACHER)) == 2
    code, _, notes = command("--teacher", "lexical", "--unjudged", own)
    assert (code, "holds a run: go on with --resume" in notes) == (2, True)
    assert command("--teacher", "lexical", "--unjudged", own, "--resume")[0] == 0


def test_a_teacher_before_reinforcement(command, own, harbour, tmp_path):
    write_rows(tmp_path / "rows", _rows(harbour))
    arguments = (tmp_path / "rows", "--teacher", "lexical", "--unjudged", own, "--steps", 1)
    assert command(*arguments)[0] == 0
    phases = {line["phase"] for line in read(tmp_path / "run" / LOG) if "loss" in line}
    assert phases == {"warm", "reward"}
    facts = json.loads((tmp_path / "run/top/policy.json").read_bytes())
    assert facts["teacher"]["queries"] == {"harbour": 12, "own": 2}
    assert facts["rows"]["rows"].keys() == {"harbour"}


def _rows(harbour):
    listed = replace(harbour, lists=first_stage(harbour, 30).lists, listed="bm25")
    return augment([listed], Augmentation(sets=4, size=10, depth=30))


def test_records_as_the_teacher(command, wanted, tmp_path):
    rankings = [Reranker("lexical").rerank_sync(one.query, one.passages) for one in wanted[:3]]
    held = Reranker("lexical").rerank_sync(QUERIES["q2"], wanted[0].passages)
    lone = Reranker("lexical").rerank_sync("alone", wanted[0].passages[:1])
    path = tmp_path / "records.jsonl"
    path.write_text("".join(one.to_json() + "\n" for one in [*rankings, held, lone]))
    code, _, notes = command("--teacher", path)
    assert code == 0
    assert "1 queries are in a dev collection too" in notes
    assert "1 queries have fewer than two candidates" in notes
    facts = json.loads((tmp_path / "run/top/policy.json").read_bytes())
    assert list(facts["teacher"]["queries"].values()) == [3]
    assert facts["teacher"]["name"].startswith("records ")


def test_a_run_that_ended_while_the_teacher_was_asked_goes_on(command, own, tmp_path):
    arguments = ("--teacher", "lexical", "--unjudged", own)
    assert command(*arguments, out="whole")[0] == 0
    (tmp_path / "run").mkdir()
    lines = (tmp_path / "whole" / TEACHER).read_text().splitlines(keepends=True)
    (tmp_path / "run" / TEACHER).write_text(lines[0])
    code, _, notes = command(*arguments)
    assert (code, "holds a run" in notes) == (2, True)
    code, _, notes = command(*arguments, "--resume")
    assert (code, "resuming at step 0 (warm)" in notes) == (0, True)
    assert (tmp_path / "run" / TEACHER).read_text() == "".join(lines)
    top = "top/top.onnx"
    assert (tmp_path / "run" / top).read_bytes() == (tmp_path / "whole" / top).read_bytes()


def test_a_failing_teacher_is_told(command, own, tmp_path, monkeypatch):
    from rearank_agent.policies.lexical import Lexical

    judge = Lexical.judge

    async def failing(self, task, window):
        if "dogs" in task.query:
            raise ConnectionError("connection refused")
        return await judge(self, task, window)

    monkeypatch.setattr(Lexical, "judge", failing)
    code, _, notes = command("--teacher", "lexical", "--unjudged", own)
    assert code == 0
    assert "gave no order for 1 queries, left out: ConnectionError: connection refused" in notes
    facts = json.loads((tmp_path / "run/top/policy.json").read_bytes())
    assert facts["teacher"]["queries"] == {"own": 1}


def test_what_does_not_go_together(command, own, tmp_path):
    rows, records = tmp_path / "rows", tmp_path / "some.jsonl"
    for arguments, message in (
        ((), "nothing to learn from: give the rows of train rows, or --teacher"),
        (("--unjudged", own), "--unjudged needs a --teacher"),
        (("--teacher", "lexical"), "lexical has nothing to rank: give rows, or --unjudged FOLDER"),
        ((rows, "--teacher", "lexical", "--teacher", "embedded"), "give one policy"),
        (("--teacher", records, "--unjudged", own), "records have queries of their own"),
        (("--teacher", records), "some.jsonl cannot be read"),
        (("--teacher", "nix", "--unjudged", own), "no policy is called 'nix'"),
        (("--teacher", "lexical", "--unjudged", own, "--warm-steps", 0, "--steps", 1),
         "give --warm-steps above 0"),
    ):  # fmt: skip
        code, _, notes = command(*arguments)
        assert (code, message in notes) == (2, True), notes

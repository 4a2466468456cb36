"""What is rewarded is what is served and what is measured: on 500 replies of a nano model.

They were sampled at temperatures 1.0 and 1.6, from a model in the middle of its imitation: one in
three lacks something, or cannot be read.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from helpers.stub import completion
from rearank_agent.cli import main
from rearank_agent.data.load import load_collections
from rearank_agent.listwise import parse_reply
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.types import Passage
from rearank_training.lm.prompts import Example, example_of, example_prompt
from rearank_training.rows.augment import Augmentation, augment
from rearank_training.rows.rewards import Ndcg, RelativeNdcg
from rearank_training.rows.rows import read_rows, write_rows

SAMPLE = [
    json.loads(line)
    for line in Path(__file__).with_name("nano_replies.jsonl").read_text().splitlines()
]


def measure(folder, out, monkeypatch, *more, code=0):
    command = ["rearank-agent", "eval", str(folder), "--policy", "vllm:nano", "--depth", "5"]
    monkeypatch.setattr("sys.argv", [*command, "--out", str(out), *more])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code


def key(body):
    return tuple(m["content"] for m in body["messages"] if m["role"] == "user")


@pytest.fixture
def folder(tmp_path):
    """The sample as a collection in BEIR's form: the candidates of a query are its window."""
    lines = {"queries.jsonl": [], "corpus.jsonl": [], "candidates.jsonl": []}
    qrels = ["query-id\tcorpus-id\tscore"]
    for number, one in enumerate(SAMPLE):
        ids = [f"q{number}-{place}" for place in range(len(one["passages"]))]
        lines["queries.jsonl"].append({"_id": f"q{number}", "text": one["query"]})
        lines["corpus.jsonl"] += [
            {"_id": name, "text": text} for name, text in zip(ids, one["passages"], strict=True)
        ]
        lines["candidates.jsonl"].append({"query-id": f"q{number}", "corpus-ids": ids})
        qrels += [f"q{number}\t{n}\t{g}" for n, g in zip(ids, one["grades"], strict=True)]
    for name, rows in lines.items():
        (tmp_path / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "qrels.tsv").write_text("\n".join(qrels) + "\n")
    return tmp_path


@pytest.fixture(scope="module")
def words():
    """The nano model's prompt config."""
    from rearank_training.lm.nano import (
        nano_config,
    )  # brings transformers, which no other test needs

    return nano_config()


@pytest.fixture
def served(stub, tmp_path, monkeypatch, words):
    """A server that says the sample's replies, and nothing that can be read when asked again."""
    words.save(tmp_path / "model")
    stub.models = [{"id": "nano", "root": str(tmp_path / "model"), "max_model_len": 1024}]
    replies = {}
    for one in SAMPLE:
        passages = tuple(Passage(str(n), text) for n, text in enumerate(one["passages"]))
        messages = example_prompt(words, Example("", one["query"], "", passages)).messages
        replies[key({"messages": messages})] = one["reply"]
    assert len(replies) == len(SAMPLE)
    first = {}

    def script(body):
        again = body["messages"][-1]["role"] == "assistant"
        first.setdefault(key(body), body["messages"])
        return completion("nothing" if again else replies[key(body)])

    stub.script = script
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    return first


def test_reward_ranking_and_score_are_one(folder, served, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    measure(folder, out, monkeypatch, code=3)  # queries without a readable reply are partial
    assert "vllm:nano is asked as it was trained" in capsys.readouterr().err
    details = json.loads((out / "details.json").read_text())
    (collection,) = details["collections"].values()
    systems = collection["systems"]
    scores = systems["vllm:nano"]["per_query"]["nDCG@10"]
    initial = systems["first-stage"]["per_query"]["nDCG@10"]
    (records,) = out.glob("*/vllm*nano/records.jsonl")
    ranked = {
        ranking["run"]: [int(p["passage"]["id"].partition("-")[2]) for p in ranking["passages"]]
        for ranking in map(json.loads, records.read_text().splitlines())
    }
    kinds = Counter()
    for number, one in enumerate(SAMPLE):
        name, grades = f"q{number}", one["grades"]
        reading = parse_reply(one["reply"], len(grades))
        kinds.update({fault.kind for fault in reading.faults} or {"whole"})
        assert ranked[name] == list(reading.order), one
        assert scores[name] == Ndcg().of_reply(one["reply"], grades), one
        best = Ndcg().of_order(sorted(range(len(grades)), key=lambda p: -grades[p]), grades)
        gained = (scores[name] - initial[name]) / (best - initial[name])
        assert gained == RelativeNdcg().of_reply(one["reply"], grades), one
    assert kinds["whole"] > 300
    assert min(kinds[kind] for kind in ("missing", "repeated", "unreadable")) > 50


def test_a_training_row_s_prompt_is_the_served_one(folder, served, tmp_path, monkeypatch):
    """Byte for byte, of rows as `train rows` writes and reads them."""
    measure(folder, tmp_path / "out", monkeypatch, "--limit", "60")
    collection = load_collections([str(folder)])
    write_rows(tmp_path / "rows", augment(collection, Augmentation(size=5, depth=5)))
    rows, passages = read_rows(tmp_path / "rows")
    trained = {}
    for row in rows:
        messages = example_prompt(
            PromptConfig.load(tmp_path / "model"), example_of(row, passages)
        ).messages
        trained[key({"messages": messages})] = list(messages)
    both = trained.keys() & served.keys()
    assert len(both) > 40
    assert [json.dumps(served[one]).encode() for one in both] == [
        json.dumps(trained[one]).encode() for one in both
    ]

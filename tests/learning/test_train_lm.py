import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trl.trainer.grpo_config import GRPOConfig

from benchmarks.registry import registry
from rearank_agent import Passage, Reranker
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.errors import InputError, SetupError
from rearank_agent.listwise import build_prompt, parse_reply, write_reply
from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.policies.registry import policy
from rearank_agent.schedules import sliding
from rearank_agent.types import Fault, Ranked, Ranking, Rationale, Reply, Step, Task
from rearank_training.cli import lm_setup
from rearank_training.cli.lm_checks import check_model
from rearank_training.cli.lm_progress import progress_watch
from rearank_training.lm import grpo as grpo_module
from rearank_training.lm import sft as sft_module
from rearank_training.lm.demonstrations import policy_demonstrations, record_demonstrations
from rearank_training.lm.dev import Dev
from rearank_training.lm.grpo import TRLReward, grpo, vllm_settings
from rearank_training.lm.model import (
    Loaded,
    device,
    has_plain_chat,
    load,
    load_tokenizer,
    quiet,
    write_model,
)
from rearank_training.lm.nano import make, nano_config
from rearank_training.lm.prompts import (
    Example,
    check_sizes,
    example_of,
    example_prompt,
    fitting_examples,
)
from rearank_training.lm.recipes import recipe_by_name
from rearank_training.lm.rollout import Rollout, roll_out
from rearank_training.lm.runs import find_checkpoint, write_run_file
from rearank_training.lm.sampler import Sampler, asked_thought
from rearank_training.lm.settings import GRPOSettings, PromptOptions, SFTSettings
from rearank_training.lm.sft import sft
from rearank_training.lm.vllm_sampler import VLLMSampler
from rearank_training.lm.whole_list import WholeList
from rearank_training.log import LOG, ROLLOUTS
from rearank_training.rows.augment import Augmentation, augment
from rearank_training.rows.heldout import held_out
from rearank_training.rows.rewards import REWARDS, Rearank, relative_ndcg
from rearank_training.rows.rows import read_rows, with_signal, write_rows

CONFIG = nano_config()
QUICK = {"steps": 4, "every": 2, "at_once": 4, "dev_queries": 4, "dev_depth": 8, "threads": 1}
SFT = SFTSettings(batch=8, rate=1e-3, patience=0, **QUICK)
GRPO = GRPOSettings(prompts=2, rollouts=4, updates=2, rate=1e-3, **QUICK)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    quiet(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two made collections in BEIR's form, and rows of the first: windows, and lists."""
    root = tmp_path_factory.mktemp("lm")
    registry(root / "train", slice(0, 12))
    registry(root / "dev", slice(12, 14))
    (one,) = load_collections([str(root / "train")])
    one = replace(one, lists=first_stage(one, 12).lists)
    write_rows(root / "rows", augment([one], Augmentation(sets=4, size=5, depth=12)))
    write_rows(root / "lists", augment([one], Augmentation(sets=1, size=12, depth=12)))
    return root


@pytest.fixture(scope="module")
def windows(folder):
    rows, passages = read_rows(folder / "rows")
    return [example_of(row, passages) for row in rows]


@pytest.fixture(scope="module")
def lists(folder):
    rows, passages = read_rows(folder / "lists")
    return [example_of(row, passages) for row in rows]


@pytest.fixture(scope="module")
def demonstrations(windows):
    return list(policy_demonstrations(windows[:120], policy("lexical"), quotes=False))


@pytest.fixture(scope="module")
def nano(folder, demonstrations):
    """A model of random weights that has never learned anything."""
    make(folder / "nano", demonstrations, size=32, layers=1, vocabulary=1024, seed=0)
    return folder / "nano"


@pytest.fixture(scope="module")
def speaking(folder, nano, demonstrations):
    """The same after some steps: some of its replies can be parsed."""
    out = folder / "speaking"
    if not out.exists():
        dev = the_dev(folder)
        recipe = SFTSettings(steps=150, batch=16, at_once=16, rate=1e-2, every=150, threads=1)
        sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, recipe, out)
    return out / "policy"


def the_dev(folder):
    (one,) = load_collections([str(folder / "dev")])
    one = replace(one, lists=first_stage(one, 8).lists)
    judged, _ = held_out([one], 4, 8)
    return Dev(judged, CONFIG)


@pytest.fixture
def dev(folder):
    return the_dev(folder)


def log(out, name=LOG):
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def weights(folder):
    return load(str(folder), CONFIG, "cpu").model.state_dict()


# Prompts


async def test_a_row_s_prompt_is_the_served_one(windows, stub, monkeypatch):
    one = windows[0]
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    model = policy("vllm:nano", **CONFIG.options())
    await model.judge(Task("r", one.query, one.instruction, one.passages), tuple(range(5)))
    await model.chat.close()
    assert stub.bodies[0]["messages"] == list(example_prompt(CONFIG, one).messages)
    assert stub.bodies[0]["max_tokens"] == CONFIG.budget


def test_prompts_that_do_not_fit_are_left_out_and_counted(windows):
    def length(messages):
        return sum(len(m["content"].split()) for m in messages)

    sizes = sorted(length(example_prompt(CONFIG, one).messages) for one in windows)
    middle = sizes[len(sizes) // 2]

    def tokens(prompts):
        return [[0] * length(prompt) for prompt in prompts]

    kept, counts = fitting_examples(windows, CONFIG, tokens, middle)
    assert [one.name for one in kept] == [
        one.name for one in windows if length(example_prompt(CONFIG, one).messages) <= middle
    ]
    assert counts == {"long": len(windows) - len(kept), "cut": 0}
    _, counts = fitting_examples(windows, replace(CONFIG, cut=40), tokens, 999)
    assert counts["cut"] > 0
    with pytest.raises(InputError, match="have more than 3 tokens: raise --prompt-tokens"):
        fitting_examples(windows, CONFIG, tokens, 3)


def test_sizes_of_rows_and_goals_must_go_together(windows, lists):
    check_sizes(windows, CONFIG, lists=False)
    check_sizes(lists, CONFIG, lists=True)
    with pytest.raises(InputError, match="rows of 12 passages, and the model is shown 5 at once"):
        check_sizes(lists, CONFIG, lists=False)
    with pytest.raises(InputError, match="--goal list needs more than a window of 5"):
        check_sizes(windows, CONFIG, lists=True)
    check_sizes([*windows, *lists], CONFIG, lists=True)


def test_rows_no_longer_than_a_window_are_left_out_of_whole_lists(
    windows, lists, monkeypatch, capsys
):
    monkeypatch.setattr(lm_setup, "read_examples", lambda _rows: [*windows, *lists])
    recipe = GRPOSettings(goal="list", prompts=2, rollouts=2, at_once=4)
    setup = lm_setup.Setup(Loaded(None, None, CONFIG, "cpu"), recipe, Path(), None, {})
    assert lm_setup.examples_with_signal(setup, Path()) == with_signal(lists)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{len(windows)} rows are no longer than a window, and left out" in said


def test_rows_without_a_better_order_are_left_out(windows):
    for one in windows:
        initial = Rearank().of_reply(write_reply(range(5), "x"), one.grades)
        best = sorted(range(5), key=lambda place: -one.grades[place])
        gained = Rearank().of_reply(write_reply(best, "x"), one.grades)
        assert (gained > initial) == (one in with_signal(windows))


# Demonstrations


def test_the_reasoning_names_the_words_of_every_passage_and_the_order_is_the_teacher_s(windows):
    (demonstration,) = policy_demonstrations(windows[:1], policy("lexical"), quotes=False)
    again = parse_reply(demonstration.reply, 5)
    assert not again.faults
    assert sorted(p.id for p in demonstration.example.passages) == sorted(
        p.id for p in windows[0].passages
    )
    assert demonstration.example.passages != windows[0].passages, "they are shuffled"
    words = set(demonstration.example.query.rstrip("?").replace(",", "").split())
    for passage, why in zip(demonstration.example.passages, again.rationales, strict=True):
        named = set(why.text.split("has ")[1].rstrip(".").split())
        assert named == words & set(passage.text.replace(",", "").replace(":", "").split()) - {
            "of", "the",
        }, passage  # fmt: skip
    assert [demonstration.example.grades[p] for p in range(5)] == [
        windows[0].grades[windows[0].passages.index(p)] for p in demonstration.example.passages
    ]
    (quoted,) = policy_demonstrations(windows[:1], policy("embedded"), quotes=True)
    assert f'"{parse_reply(quoted.reply, 5).rationales[0].text[5:20]}' in quoted.reply


def test_judgements_teach_the_order_of_grades(windows):
    lessons = policy_demonstrations(windows[:9], policy("lexical"), quotes=False, by_grade=True)
    plain = policy_demonstrations(windows[:9], policy("lexical"), quotes=False)
    for graded, lexical in zip(lessons, plain, strict=True):
        grades = graded.example.grades
        taught, ranked = (parse_reply(one.reply, 5).order for one in (graded, lexical))
        assert [grades[p] for p in taught] == sorted(grades, reverse=True)
        assert taught == tuple(sorted(ranked, key=lambda p: -grades[p])), "equal ones as ranked"


def test_lessons_of_an_answer_alone_have_no_thought(windows, tmp_path):
    (lesson,) = policy_demonstrations(windows[:1], policy("lexical"), quotes=True, think=False)
    assert re.fullmatch(r"<answer>\[\d\]( > \[\d\]){4}</answer>", lesson.reply)
    own = Step(1, (2, 3, 4), Reply((2, 0, 1), reasoning="[3] is right."), 0.1)
    (record,) = record_demonstrations(kept(tmp_path, own), window=3, quotes=True, think=False)
    assert re.fullmatch(r"<answer>\[\d\]( > \[\d\]){2}</answer>", record.reply)
    assert taught_order(record) == ["p4", "p2", "p3"]


def taught_order(demonstration):
    passages = demonstration.example.passages
    return [passages[p].id for p in parse_reply(demonstration.reply, len(passages)).order]


def test_lessons_quote_what_the_prompt_shows():
    texts = ["Nothing here. " * 4 + "The flea jumps far.", "A flea jumps.", "Dogs bark at fleas."]
    passages = tuple(Passage(str(i), text, title="On fleas") for i, text in enumerate(texts))
    row = Example("a/b/0", "how far does a flea jump", "", passages, (1, 0, 0))
    for cut, shown in ((400, True), (50, False)):
        (lesson,) = policy_demonstrations([row], policy("lexical"), quotes=True, cut=cut)
        assert ("The flea jumps far." in lesson.reply) is shown
        assert sorted(one.text for one in lesson.example.passages) == sorted(texts)


def test_lessons_quote_what_the_prompt_of_a_template_shows():
    template = Template.load("rearank-7b")
    texts = ["The flea jumps far. " + "Nothing here. " * 4, "A flea  jumps. Then dogs bark at it."]
    passages = tuple(Passage(str(i), text, title="On fleas") for i, text in enumerate(texts))
    row = Example("a/b/0", "how far does a flea jump", "", passages, (1, 0))
    for cut in (400, 45, 40):
        how = {"cut": cut, "template": template}
        (lesson,) = policy_demonstrations([row], policy("lexical"), quotes=True, **how)
        prompt = build_prompt(row.query, lesson.example.passages, **how).messages
        quotes = re.findall(r'\[(\d)\] "(.*)" has', lesson.reply)
        assert [number for number, _ in quotes] == ["1", "2"]
        assert all(quote in prompt[1 + 2 * int(at)]["content"] for at, quote in quotes)


def kept(tmp_path, *steps, n=7):
    passages = tuple(
        Ranked(Passage(f"p{i}", f"text {i}"), rank=n - i, was=i + 1, score=0.0, scored=False)
        for i in reversed(range(n))
    )
    ranking = Ranking("q1", "query", "", "policy", "schedule", passages, steps)
    path = tmp_path / "records.jsonl"
    path.write_text(ranking.to_json() + "\n")
    return path


def test_records_of_eval_are_learned_where_nothing_was_repaired(tmp_path):
    own = Step(1, (2, 3, 4), Reply((2, 0, 1), reasoning="[3] is right."), 0.1)
    repaired = Step(2, (0, 1), Reply((0, 1), faults=(Fault("missing"),)), 0.1)
    path = kept(tmp_path, own, repaired)
    (demonstration,) = record_demonstrations(path, window=3, quotes=False)
    assert [p.id for p in demonstration.example.passages] == ["p2", "p3", "p4"]
    assert (demonstration.example.query, demonstration.example.name) == ("query", "q1/1/0")
    assert demonstration.reply == write_reply((2, 0, 1), "[3] is right.")


def test_a_larger_window_is_several_each_in_the_order_of_the_whole(tmp_path):
    why = tuple(Rationale(has=(f"w{i}",)) for i in range(7))
    whole = Step(1, tuple(range(7)), Reply((6, 5, 4, 3, 2, 1, 0), rationales=why), 0.1)
    found = list(record_demonstrations(kept(tmp_path, whole), window=5, quotes=False))
    assert [taught_order(one) for one in found] == [["p6", "p4", "p2", "p0"], ["p5", "p3", "p1"]]
    lines = found[1].reply.splitlines()
    words = [f"[{n}] has w{p.id[1]}." for n, p in enumerate(found[1].example.passages, 1)]
    assert lines[1:4] == words, "the evidence of each passage goes with it"


def test_records_without_reasoning_are_shuffled_so_that_the_first_stages_order_is_not_taught(
    tmp_path,
):
    whole = Step(1, tuple(range(7)), Reply(tuple(range(7))), 0.1)
    path = kept(tmp_path, whole)
    shown = {
        tuple(p.id for p in one.example.passages)
        for seed in range(4)
        for one in record_demonstrations(path, window=7, quotes=False, seed=seed)
    }
    assert len(shown) > 1
    assert {tuple(sorted(order)) for order in shown} == {tuple(f"p{i}" for i in range(7))}


def test_records_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"records\.jsonl, line 1: not the JSON of a ranking"):
        list(record_demonstrations(path, 5, quotes=False))
    with pytest.raises(InputError, match="cannot be read"):
        list(record_demonstrations(tmp_path / "none", 5, quotes=False))


# The model


def test_a_nano_model_is_loaded_with_its_prompt_config(nano):
    assert PromptConfig.load(nano) == CONFIG
    loaded = load(str(nano), CONFIG, "cpu")
    assert sum(p.numel() for p in loaded.model.parameters()) < 60_000
    prompt = [{"role": "user", "content": "[1] Amber"}, {"role": "assistant", "content": "yes"},
              {"role": "user", "content": "b"}]  # fmt: skip
    text = loaded.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>[1] Amber<|user|>b<|self|>"
    begun = [*prompt, {"role": "assistant", "content": "<answer>"}]
    text = loaded.tokenizer.apply_chat_template(
        begun, tokenize=False, continue_final_message=True, add_generation_prompt=False
    )
    assert text == "<|user|>[1] Amber<|user|>b<|self|><answer>"
    reply = write_reply((1, 0, 2, 4, 3), "[1] has ice.\n[2] has nothing of the query.")
    ids = loaded.tokenizer(reply)["input_ids"]
    assert loaded.tokenizer.decode(ids) == reply
    assert [len(loaded.tokenizer(piece)["input_ids"]) for piece in ("[1]", " > ", " cargo")] == [
        1
    ] * 3


def test_a_base_model_gets_a_plain_chat_template_and_keeps_it(nano, tmp_path, capsys):
    loaded = load(str(nano), CONFIG, "cpu")
    loaded.tokenizer.chat_template = None
    base = tmp_path / "base"
    write_model(base, lambda to: (
        loaded.model.save_pretrained(to), loaded.tokenizer.save_pretrained(to)), CONFIG)  # fmt: skip
    tokenizer = load_tokenizer(str(base))
    turns = [
        {"role": "system", "content": "Rank."}, {"role": "user", "content": "[1] a"},
        {"role": "assistant", "content": "yes"}, {"role": "user", "content": "order"},
    ]  # fmt: skip
    asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert asked == "Rank.\n\n[1] a\n\norder\n\n"
    reply = [*turns, {"role": "assistant", "content": "<answer>"}]
    whole = tokenizer.apply_chat_template(reply, tokenize=False)
    assert whole == f"{asked}<answer>{tokenizer.eos_token}"
    tokenizer.save_pretrained(tmp_path / "saved")
    assert has_plain_chat(load_tokenizer(str(tmp_path / "saved")))
    assert not has_plain_chat(load_tokenizer(str(nano)))
    check_model(str(base), PromptOptions(), SFT, "cpu")
    assert "base has the chat template of base models: plain turns" in capsys.readouterr().err


def test_a_model_that_is_not_there_or_a_gpu_that_is_not(tmp_path):
    with pytest.raises(SetupError, match="nothing cannot be loaded"):
        load(str(tmp_path / "nothing"), CONFIG, "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(SetupError, match="there is no GPU that torch can use"):
            device("cuda")
    with pytest.raises(InputError, match="auto, cpu or cuda, not 'tpu'"):
        device("tpu")


def test_a_prompt_config_a_model_carries_wins_and_others_are_refused(nano, tmp_path):
    assert (
        PromptOptions().config_of(str(nano))
        == PromptOptions(window=5, cut=120).config_of(str(nano))
        == CONFIG
    )
    with pytest.raises(InputError, match="trained with another prompt config: leave out --cut"):
        PromptOptions(window=5, cut=80).config_of(str(nano))
    assert PromptOptions(cut=80, think=False).config_of(str(tmp_path)) == PromptConfig(
        cut=80, think=False
    )


def test_the_sizes_of_a_template_are_for_what_is_not_given(tmp_path):
    template = Template.load("rearank-7b")
    options = PromptOptions(template="rearank-7b", window=5)
    assert options.config_of(str(tmp_path)) == PromptConfig(template, "order", True, 5, 400, 2048)


def test_replies_do_not_depend_on_the_other_prompts_of_a_batch(speaking, windows):
    loaded = load(str(speaking), CONFIG, "cpu")
    sampler = Sampler(loaded.model, loaded.tokenizer, CONFIG, batch_size=3)
    prompts = [example_prompt(CONFIG, one).messages for one in windows[:5]]
    alone = [
        Sampler(loaded.model, loaded.tokenizer, CONFIG).reply([prompt])[0] for prompt in prompts
    ]
    assert sampler.reply(prompts) == alone
    ids = sampler.generate(sampler.tokens([prompts[0]] * 4), temperature=1.0)
    assert len({tuple(one) for one in ids}) > 1
    assert all(len(one) <= CONFIG.budget for one in ids)


def test_a_model_s_own_penalties_do_not_count(speaking, windows):
    """Qwen2.5-7B-Instruct comes with a repetition penalty of 1.05, which training does not have."""
    plain, odd = (load(str(speaking), CONFIG, "cpu") for _ in range(2))
    odd.model.generation_config.update(repetition_penalty=9.0, top_k=1, temperature=0.1)
    prompts = [example_prompt(CONFIG, one).messages for one in windows[:3]]
    replies = [Sampler(one.model, one.tokenizer, CONFIG).reply(prompts) for one in (plain, odd)]
    assert replies[0] == replies[1]
    assert odd.model.generation_config.repetition_penalty == 9.0, "it is put back"


def test_the_vllm_of_a_trainer_gets_the_same_prompts(speaking):
    """It needs a GPU; this stub records its calls."""
    loaded = load(str(speaking), CONFIG, "cpu")
    calls = []

    class Sampler:
        temperature = 1.0

        def sync_weights(self):
            calls.append("synced")

        def generate(self, prompts, images, num_generations):
            calls.append((prompts, images, num_generations, self.temperature))
            return prompts, [[7, loaded.tokenizer.eos_token_id, 9]], None, None

    class Trainer:
        model, vllm_generation, _last_loaded_step = loaded.model, Sampler(), -1

        class state:  # noqa: N801
            global_step = 3

    sampler = VLLMSampler(Trainer(), loaded.tokenizer, CONFIG)
    assert sampler.generate([[1, 2]], temperature=0.0) == [[7, loaded.tokenizer.eos_token_id]]
    sampler.generate([[1, 2]], temperature=1.3)
    assert calls == ["synced", ([[1, 2]], None, 1, 0.0), ([[1, 2]], None, 1, 1.3)]
    assert Trainer.vllm_generation.temperature == 1.0


# Rollouts


def test_rollouts_follow_a_schedule_as_the_reranker_does(lists):
    """The same orders and windows as from `Reranker`, of a policy that reverses every window."""
    backwards = write_reply(range(4, -1, -1))
    rollouts = [Rollout(sliding(5, 2), one) for one in lists[:3]]
    batches = []

    def reverse(prompts):
        batches.append(len(prompts))
        return [backwards] * len(prompts)

    roll_out(rollouts, CONFIG, reverse)

    class Backwards:
        name = fingerprint = "backwards"
        scores, blend, window = False, 0.0, 5

        async def judge(self, task, window):
            return Reply(tuple(range(len(window) - 1, -1, -1)))

    for rollout, one in zip(rollouts, lists, strict=False):
        ranking = Reranker(Backwards(), schedule="sliding:5:2").rerank_sync("q", one.passages)
        assert tuple(one.passages[place].id for place in rollout.order) == ranking.ids
    assert batches == [3] * len(rollouts[0].replies)


def test_a_fork_goes_its_own_way(lists):
    rollout = Rollout(sliding(5, 2), lists[0])
    rollout.advance([Reply((4, 3, 2, 1, 0))])
    other = rollout.fork()
    assert other.windows == rollout.windows
    other.advance([Reply((1, 0, 2, 3, 4))])
    rollout.advance([Reply((0, 1, 2, 3, 4))])
    assert other.windows != rollout.windows


# Imitation and reinforcement


def test_imitation_learns_and_writes_a_policy_with_its_prompt_config(
    nano, demonstrations, dev, tmp_path
):
    best = sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, SFT, tmp_path)
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [0, 1, 2, 2, 3, 4, 4]
    evaluations = [line for line in lines if "macro" in line]
    assert best == min(evaluations, key=lambda line: line["held_out"])
    assert evaluations[-1]["held_out"] < evaluations[0]["held_out"]
    assert PromptConfig.load(tmp_path / "policy") == CONFIG
    assert not any(
        torch.equal(a, b)
        for a, b in zip(weights(nano).values(), weights(tmp_path / "policy").values(), strict=True)
        if a.ndim == 2
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-2", "checkpoint-4", "log.jsonl", "policy", "rollouts.jsonl",
    ]  # fmt: skip
    replies = log(tmp_path, ROLLOUTS)
    assert {(one["step"], one["of"]) for one in replies} == {(0, "dev"), (2, "dev"), (4, "dev")}
    assert all(re.fullmatch(r"dev/dev-[1-4]/turn-\d", one["prompt"]) for one in replies)
    assert set(evaluations[0]) == {
        "phase", "step", "dev", "macro", "mended", "tagged", "repeats", "copied", "held_out",
        "cut_off",
    }  # fmt: skip


def test_a_run_that_is_out_of_time_ends_with_an_evaluation_and_goes_on(
    nano, demonstrations, dev, tmp_path
):
    short = replace(SFT, minutes=1e-9, evaluate_first=False)
    sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, short, tmp_path)
    assert [line["step"] for line in log(tmp_path) if "macro" in line] == [1]
    assert PromptConfig.load(tmp_path / "policy") == CONFIG
    checkpoint = tmp_path / "checkpoint-1"
    sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, SFT, tmp_path, checkpoint)
    assert [line["step"] for line in log(tmp_path) if "macro" in line] == [1, 2, 4]


def test_evaluations_can_be_made_cheap(nano, demonstrations, dev, tmp_path, monkeypatch):
    recipe = replace(SFT, evaluate_first=False, held_out=3)
    tables = []
    monkeypatch.setattr(
        sft_module,
        "_table",
        lambda *args, made=sft_module._table: tables.append(made(*args)) or tables[-1],
    )
    sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, recipe, tmp_path)
    assert [line["step"] for line in log(tmp_path) if "macro" in line] == [2, 4]
    assert tables[1].num_rows == 3


def test_the_loss_is_on_the_reply_alone(nano, demonstrations):
    """The labels are the reply's tokens and the end token."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from rearank_training.lm.sft import _table
    from rearank_training.lm.trl_settings import common_settings

    loaded = load(str(nano), CONFIG, "cpu")
    config = SFTConfig(
        **common_settings(nano, SFT, "cpu"), max_length=None, completion_only_loss=True
    )
    trainer = SFTTrainer(
        model=loaded.model, args=config, train_dataset=_table(demonstrations[:2], loaded),
        processing_class=loaded.tokenizer,
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    replies = {demonstration.reply + "<|end|>" for demonstration in demonstrations[:2]}
    learned = [loaded.tokenizer.decode(row[row >= 0]) for row in batch["labels"]]
    assert set(learned) == replies
    sampler = Sampler(loaded.model, loaded.tokenizer, CONFIG)
    prompts = [
        sampler.tokens([example_prompt(CONFIG, demonstration.example).messages])[0]
        for demonstration in demonstrations[:2]
    ]
    for row, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        first = next(place for place, label in enumerate(labels) if label >= 0)
        assert row[:first] in prompts


def test_reinforcement_logs_what_it_is_for(speaking, windows, dev, tmp_path):
    best = grpo(load(str(speaking), CONFIG, "cpu"), with_signal(windows), dev, GRPO, tmp_path)
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [0, 1, 2, 2, 3, 4, 4]
    steps = [line for line in lines if "loss" in line]
    assert set(steps[0]) - {"alarms"} == {
        "phase", "step", "loss", "rate", "reward", "deviation", "kl", "entropy", "tokens",
        "cut_off", "equal", "seconds", "part/relative_ndcg", "part/tags", "part/complete_list",
        "fault/unreadable", "fault/missing", "fault/repeated", "fault/foreign", "grad_norm",
        "clip_ratio/low_mean", "clip_ratio/low_min", "clip_ratio/high_mean",
        "clip_ratio/high_max", "clip_ratio/region_mean", "repeats", "copied",
    }  # fmt: skip
    assert all(step["rate"] == 1e-3 for step in steps), "constant, as in the paper"
    assert best["macro"] == max(line["macro"] for line in lines if "macro" in line)
    one = steps[0]
    assert one["reward"] == pytest.approx(
        0.8 * one["part/relative_ndcg"] + 0.1 * (one["part/tags"] + one["part/complete_list"]),
        abs=1e-5,
    )


def test_replies_are_kept_to_read_at_every_evaluation(speaking, windows, dev, tmp_path):
    grpo(load(str(speaking), CONFIG, "cpu"), with_signal(windows), dev, GRPO, tmp_path)
    replies = log(tmp_path, ROLLOUTS)
    assert {(one["step"], one["of"]) for one in replies} == {
        (0, "dev"), (2, "dev"), (2, "rollouts"), (4, "dev"), (4, "rollouts"),
    }  # fmt: skip
    rows = {one.name: one for one in windows}
    rollouts = [one for one in replies if one["of"] == "rollouts"]
    for one in rollouts:
        row = rows[one["prompt"]]
        assert (one["query"], one["grades"]) == (row.query, list(row.grades))
        assert one["reward"] == pytest.approx(
            Rearank().of_reply(one["reply"], row.grades), abs=1e-4
        )
    of = {(one["step"], one["kind"]): one["reward"] for one in rollouts}
    assert all(of[step, "best"] >= of.get((step, "worst"), of[step, "best"]) for step in (2, 4))


def test_a_whole_list_is_rewarded_for_its_final_order(speaking, lists, dev, tmp_path):
    """The gain of a rollout is that of playing the list with the sampled reply in its window."""
    loaded = load(str(speaking), CONFIG, "cpu")
    whole_list = WholeList(lists, CONFIG, sliding(5, 2), temperature=1.0, seed=3)
    whole_list.sampler = Sampler(loaded.model, loaded.tokenizer, CONFIG)
    prompts = [list(whole_list.prompt(one)) for one in lists[:2] for _ in range(3)]

    class Trainer:
        class state:  # noqa: N801
            global_step = 5

    torch.manual_seed(0)
    made = whole_list(prompts, Trainer)
    assert made["logprobs"] is None
    texts = whole_list.sampler.text(made["completion_ids"])
    for number, (text, gained) in enumerate(zip(texts, made["gained"], strict=True)):
        one = lists[number // 3]
        rollout, sampled = Rollout(sliding(5, 2), one), 0
        while rollout.windows:
            messages = example_prompt(CONFIG, one, rollout.windows[0]).messages
            (ids,) = whole_list.sampler.tokens([messages])
            here = ids == made["prompt_ids"][number] and not sampled
            sampled += here
            reply = text if here else whole_list.sampler.reply([messages])[0]
            rollout.advance([Reply(parse_reply(reply, len(rollout.windows[0])).order)])
        assert sampled == 1
        final = [one.grades[place] for place in rollout.order]
        assert gained == relative_ndcg(final, one.grades)
    recipe = replace(GRPO, goal="list", steps=2)
    grpo(loaded, with_signal(lists), dev, recipe, tmp_path)
    step = log(tmp_path)[1]
    assert step["reward"] == pytest.approx(
        0.8 * step["part/list_gain"] + 0.1 * (step["part/tags"] + step["part/complete_list"]),
        abs=1e-5,
    )


def test_adapters_are_merged_into_what_is_served(nano, demonstrations, dev, tmp_path):
    sft(
        load(str(nano), CONFIG, "cpu"), demonstrations, dev, replace(SFT, lora=4, steps=2), tmp_path
    )
    merged, before = weights(tmp_path / "policy"), weights(nano)
    assert merged.keys() == before.keys()
    assert any(not torch.equal(merged[name], before[name]) for name in merged)


# Resuming


class StopError(Exception):
    """A kill."""


def test_a_resumed_run_ends_as_if_it_had_not_stopped(nano, demonstrations, dev, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, SFT, whole)

    def stop(line):
        if line["step"] == 3:
            raise StopError

    with pytest.raises(StopError):
        sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, SFT, halves, watch=stop)
    (halves / "checkpoint-3").mkdir()  # what a kill in the middle of saving leaves
    (halves / "run.json").write_text("{}")
    checkpoint = find_checkpoint(halves, {}, resume=True)
    assert checkpoint == halves / "checkpoint-2"
    sft(load(str(nano), CONFIG, "cpu"), demonstrations, dev, SFT, halves, checkpoint)
    assert log(halves) == log(whole)
    assert (halves / ROLLOUTS).read_bytes() == (whole / ROLLOUTS).read_bytes()
    ours, theirs = weights(halves / "policy"), weights(whole / "policy")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("goal", ["window", "list"])
def test_resumed_reinforcement_draws_what_it_would_have(
    speaking, windows, lists, dev, tmp_path, goal
):
    """Into the third epoch: the order of prompts, the samples and the weights are the same."""
    rows = with_signal(windows if goal == "window" else lists)[:4]
    recipe = replace(GRPO, steps=6, goal=goal, rollouts=2, at_once=2)
    grpo(load(str(speaking), CONFIG, "cpu"), rows, dev, recipe, tmp_path / "whole")

    def stop(line):
        if line["step"] == 5:
            raise StopError

    with pytest.raises(StopError):
        grpo(load(str(speaking), CONFIG, "cpu"), rows, dev, recipe, tmp_path / "halves", watch=stop)
    checkpoint = tmp_path / "halves" / "checkpoint-8"
    grpo(load(str(speaking), CONFIG, "cpu"), rows, dev, recipe, tmp_path / "halves", checkpoint)
    lines, again = (
        [line | {"seconds": 0} for line in log(tmp_path / name)] for name in ("whole", "halves")
    )
    assert again == lines
    ours, theirs = ((tmp_path / name / ROLLOUTS).read_bytes() for name in ("halves", "whole"))
    assert ours == theirs
    done = grpo(load(str(speaking), CONFIG, "cpu"), rows, dev, recipe, tmp_path / "halves",
                tmp_path / "halves" / "checkpoint-12")  # fmt: skip
    evaluations = [line for line in log(tmp_path / "whole") if "macro" in line]
    assert done == max(evaluations, key=lambda line: line["macro"]), "it is over, and left as it is"


def test_trl_is_given_the_paper_s_settings(nano, tmp_path):
    recipe = GRPOSettings(**{
        name: value for name, value in recipe_by_name("rearank-7b", "grpo").items()
        if name not in ("window", "cut", "budget", "think", "vllm")
    })  # fmt: skip
    config = grpo_module._config(recipe, load(str(nano), CONFIG, "cpu"), tmp_path, 8950)
    told = {name: getattr(config, name) for name in (
        "loss_type", "beta", "epsilon", "num_generations", "temperature", "learning_rate",
        "scale_rewards", "per_device_train_batch_size", "gradient_accumulation_steps",
        "steps_per_generation", "generation_batch_size", "max_steps", "top_p", "top_k",
        "delta", "use_bias_correction_kl", "weight_decay",
    )}  # fmt: skip
    assert told == {
        "loss_type": "grpo", "beta": 0.01, "epsilon": 0.2, "num_generations": 32,
        "temperature": 1.0, "learning_rate": 1e-6, "scale_rewards": "group",
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 64,
        "steps_per_generation": 1024, "generation_batch_size": 4096, "max_steps": 2560,
        "top_p": 1.0, "top_k": 0, "delta": 3.0, "use_bias_correction_kl": False,
        "weight_decay": 0.01,
    }  # fmt: skip
    assert config.lr_scheduler_type == "constant"


def test_a_folder_with_a_run_is_not_used_for_another(tmp_path):
    told = {"rate": 0.1, "rows": "a"}
    assert find_checkpoint(tmp_path, told, resume=False) is None
    with pytest.raises(InputError, match="holds no run to go on with"):
        find_checkpoint(tmp_path, told, resume=True)
    write_run_file(tmp_path, told)
    assert find_checkpoint(tmp_path, told, resume=False) is None, "it has no checkpoint"
    with pytest.raises(InputError, match=r"other settings: rate was 0\.1, is 0\.2"):
        find_checkpoint(tmp_path, told | {"rate": 0.2}, resume=True)
    with pytest.raises(InputError, match="no complete checkpoint yet: leave out --resume"):
        find_checkpoint(tmp_path, told, resume=True)
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text('{"global_step": 2}')
    assert find_checkpoint(tmp_path, told, resume=True) == tmp_path / "checkpoint-2"
    with pytest.raises(InputError, match="holds a run: go on with --resume"):
        find_checkpoint(tmp_path, told, resume=False)


# Errors


def test_a_reward_that_fails_stops_the_run_and_names_the_row(speaking, windows, dev, tmp_path):
    class Odd(Rearank):
        name = "odd"

        def of_reply(self, reply, gains):
            raise ZeroDivisionError("nothing there")

    rewarding = TRLReward(Odd(), {})
    with pytest.raises(InputError, match=r"odd failed on the row train/x/3: .*nothing there"):
        rewarding([[{"content": "said"}]], row=["train/x/3"], grades=[[1, 0]])
    assert grpo_module.reward_by_name("rearank") == REWARDS["rearank"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpo_module, "reward_by_name", lambda *_: Odd())
        with pytest.raises(InputError, match="the reward odd failed on the row dev/dev-1/turn-1"):
            grpo(load(str(speaking), CONFIG, "cpu"), with_signal(windows), dev, GRPO, tmp_path)


def test_a_loss_that_is_no_number_ends_the_run(nano, demonstrations, dev, tmp_path):
    loaded = load(str(nano), CONFIG, "cpu")
    with torch.no_grad():
        loaded.model.model.embed_tokens.weight[:] = math.nan
    with pytest.raises(InputError, match="the loss of step 1 is not a number: lower the learning"):
        sft(loaded, demonstrations, dev, SFT, tmp_path)


def test_equal_rewards_are_reported(nano, windows, dev, tmp_path, capsys):
    """No reply of a model with random weights can be parsed: all have the same reward."""
    grpo(
        load(str(nano), CONFIG, "cpu"), with_signal(windows), dev, replace(GRPO, steps=1), tmp_path
    )
    step = log(tmp_path)[1]
    assert (step["equal"], step["fault/unreadable"]) == (1.0, 1.0)
    told = []
    rewarding, kept = TRLReward(Rearank(), {}), [{"content": write_reply(range(5), "as it was")}]
    rewards = rewarding(
        [kept] * 6, row=["a"] * 3 + ["b"] * 3, grades=[[0, 1, 0, 0, 2]] * 6,
        log_metric=lambda name, value: told.append(value) if name == "equal" else None,
    )  # fmt: skip
    assert rewards == [pytest.approx(0.2)] * 6
    assert told == [1.0, 1.0]
    watch = progress_watch(1, tmp_path)
    for line in (step, step | {"step": 2}, step | {"step": 3, "equal": 0.5}, step):
        watch(line)
    notes = [line for line in capsys.readouterr().err.splitlines() if "no signal" in line]
    equal = "note: step 1: all replies to each prompt have the same reward; no signal"
    assert notes == [equal, equal], "again once it has cleared"
    assert step["alarms"] == ["length", "equal", "tags"]


def test_rollouts_of_vllm_are_weighted_as_asked_for():
    def asked(**more):
        settings = vllm_settings(replace(GRPO, vllm=True, **more), CONFIG)
        return settings["vllm_importance_sampling_correction"], settings.get(
            "vllm_importance_sampling_mode"
        )

    assert asked() == (True, "token_truncate")
    assert asked(correction="sequence") == (True, "sequence_mask")
    assert asked(correction="none") == (False, None)
    assert asked(goal="list") == (False, None)
    assert set(vllm_settings(GRPO, CONFIG)) <= set(GRPOConfig.__dataclass_fields__)
    with pytest.raises(InputError, match="token, sequence or none, not 'x'"):
        replace(GRPO, correction="x")


def test_a_model_that_is_asked_for_scores_is_not_trained(speaking, windows, dev, tmp_path):
    loaded = load(str(speaking), CONFIG, "cpu")
    scores = replace(loaded, prompt_config=replace(CONFIG, form="scores"))
    with pytest.raises(InputError, match="asked for scores, and only orders are trained"):
        grpo(scores, windows, dev, GRPO, tmp_path)


def test_what_is_asked_of_a_reply_is_read_from_prompt_config_and_chat_template():
    class Template:
        def __init__(self, end):
            self.end = end

        def apply_chat_template(self, *_, **options):
            assert options["add_generation_prompt"]
            return f"<|user|>-<|end|><|assistant|>{self.end}"

    direct = replace(CONFIG, think=False)
    assert asked_thought(CONFIG, Template("")) == "written"
    assert asked_thought(CONFIG, Template("<think>\n")) == "opened"
    assert asked_thought(direct, Template("<think>\n\n</think>\n\n")) == "none"


def test_a_step_must_divide_and_vllm_needs_a_gpu(speaking, windows, dev, tmp_path):
    loaded = load(str(speaking), CONFIG, "cpu")
    with pytest.raises(InputError, match="learns from 4 replies, which 1 processes cannot take 3"):
        grpo(loaded, windows, dev, replace(GRPO, at_once=3), tmp_path)
    with pytest.raises(SetupError, match="vLLM can only sample for training on a GPU"):
        grpo(loaded, windows, dev, replace(GRPO, vllm=True), tmp_path)
    with pytest.raises(InputError, match="2 rows are fewer than the 4 prompts of a step"):
        grpo(loaded, windows[:2], dev, replace(GRPO, prompts=4), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        sharded = replace(loaded, device="cuda")
        for more in ({}, {"vllm": True, "lora": 4}, {"vllm": True, "goal": "list"}):
            with pytest.raises(InputError, match="on several GPUs the weights are sharded"):
                grpo(sharded, windows, dev, replace(GRPO, **more), tmp_path)
        with pytest.raises(InputError, match="adapters are trained on one GPU"):
            sft(sharded, [], dev, replace(SFT, lora=4), tmp_path)
    with pytest.raises(InputError, match="do not divide into 3 updates"):
        replace(GRPO, updates=3)
    with pytest.raises(InputError, match="window or list, not 'x'"):
        replace(GRPO, goal="x")


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from rearank_agent.cli import main
sys.argv[0] = "rearank-agent"
main()
"""


def test_a_full_disk_is_reported_and_the_last_checkpoint_resumes(folder, nano, tmp_path):
    out = tmp_path / "run"
    words = ["train", "sft", str(nano), str(folder / "rows"), "--dev", str(folder / "dev"),
             "--out", str(out), "--teacher", "lexical", "--steps", "2", "--every", "1",
             "--at-once", "4", "--batch", "4", "--dev-queries", "2", "--dev-depth", "6",
             "--threads", "1", "--device", "cpu"]  # fmt: skip

    def run(limit, *more):
        command = [sys.executable, "-c", FULL, str(limit), *words, *more]
        return subprocess.run(command, capture_output=True, text=True)

    weights = (nano / "model.safetensors").stat().st_size
    full = run(int(1.5 * weights))  # bytes of a file: the optimizer has two moments of each
    assert full.returncode == 1, full.stderr
    assert "cannot be written" in full.stderr.splitlines()[-1]
    assert "with more disk space, --resume goes on from the last complete checkpoint" in full.stderr
    assert "Traceback" not in full.stderr
    assert PromptConfig.load(out / "policy") == CONFIG
    assert "has no complete checkpoint yet" in run(2**40, "--resume").stderr
    assert run(2**40, "--every", "1").returncode == 0
    (out / "checkpoint-2" / "trainer_state.json").unlink()
    again = run(2**40, "--resume")
    assert again.returncode == 0, again.stderr
    assert [line["step"] for line in log(out)] == [0, 1, 1, 2, 2]

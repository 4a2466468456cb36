import asyncio
import json
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.small import beir
from rearank_agent import Passage, Reranker
from rearank_agent.cli import main
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.policies.blend import blended_order
from rearank_agent.policies.embedded.encoder import Encoder
from rearank_agent.policies.embedded.policy import WEIGHTS, Embedded
from rearank_agent.policies.embedded.similarity import PooledText, similarity
from rearank_training.embedded.checkpoints import load, save
from rearank_training.embedded.dev import Dev
from rearank_training.embedded.export import FROZEN, export_top, packaged
from rearank_training.embedded.finish import BLENDS, finish
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trainer import LAST, Trainer
from rearank_training.embedded.trunk import Trunk
from rearank_training.embedded.windows import WindowSampler, in_first_stage_order
from rearank_training.log import LOG
from rearank_training.rows.augment import Augmentation, augment
from rearank_training.rows.heldout import macro
from rearank_training.rows.rewards import RelativeNdcg
from rearank_training.rows.rows import write_rows

HARBOUR = Path(__file__).parents[2] / "examples" / "harbour"
QUICK = EmbeddedSettings(
    warm_steps=2, warm_queries=3, steps=6, windows=2, passages=8, samples=16, tokens=32, every=4,
    rate=1e-4, threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def trunk():
    return Trunk(Encoder(WEIGHTS, WEIGHTS / "untrained"), threads=1)


@pytest.fixture(scope="module")
def harbour():
    (one,) = load_collections([str(HARBOUR)])
    return replace(one, lists=first_stage(one, 30).lists, listed="bm25")


@pytest.fixture(scope="module")
def rows(harbour):
    return augment([harbour], Augmentation(sets=8, size=10, depth=30))


@pytest.fixture
def trainer(base, trunk, harbour, rows, tmp_path):
    def make(recipe=QUICK, out=tmp_path / "run", some=rows.rows):
        draws = WindowSampler(some, rows.passages, 0), WindowSampler(some, rows.passages, 0)
        dev = Dev([harbour], 2, depth=8)
        return Trainer(recipe, *draws, dev, trunk, Towers(base, FROZEN, recipe.share), out)

    return make


def weights_of(run):
    return torch.cat([p.flatten() for p in run.towers.parameters()])


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_trained_is_what_is_served(base, trunk, tmp_path):
    """The scores of torch, of its export and of the policy, as near as int8 allows."""
    towers = Towers(base, FROZEN, share=0.5)
    texts = ["how far do fleas jump", "A flea leaps far. " * 20, "Dogs bark.", "x", "1648 " * 40]
    with torch.inference_mode():
        hidden = towers.encode(trunk.states(texts, 256))
        exact = towers.scores(towers.pool(hidden[:1]), towers.pool(hidden[1:]))[0]
    pooled = [PooledText(one.numpy()) for one in hidden]
    ours = [similarity(pooled[0], one, 0.5) for one in pooled[1:]]
    assert ours == pytest.approx(exact.tolist(), abs=1e-5)
    export_top(list(towers.layers), WEIGHTS, tmp_path, {"blend": 0.1, "spans": 0.5})
    policy = Embedded(str(tmp_path))
    assert policy.blend == 0.1
    ranking = Reranker(policy).rerank_sync(texts[0], texts[1:])
    served = {p.passage.text: p.score for p in ranking.passages}
    assert [served[text] for text in texts[1:]] == pytest.approx(ours, abs=0.06)


def test_layers_in_bf16_are_near_and_learn(trainer, trunk, base):
    """As on a GPU, but on the CPU: what is near, and that a run goes through."""
    towers = Towers(base, FROZEN, share=0.5)
    states = trunk.states(["how far do fleas jump", "A flea leaps far. " * 20], 256)
    with torch.inference_mode():
        exact = towers.encode(states)
        towers.mixed = True
        near = towers.encode(states)
    for one, other in zip(exact, near, strict=True):
        assert other.dtype == torch.float32
        assert not torch.equal(one, other)
        assert torch.cosine_similarity(one, other).min() > 0.999
    run = trainer(replace(QUICK, steps=2))
    run.towers.mixed = True
    before = weights_of(run).clone()
    assert run.run()["macro"] > 0
    assert not torch.equal(weights_of(run), before)


def test_an_export_is_the_same_twice(tmp_path, base):
    layers = list(Towers(base, FROZEN, 0).layers)
    for name in "ab":
        export_top(layers, WEIGHTS, tmp_path / name, {"blend": 0, "spans": 0})
    for file in ("top.onnx", "policy.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_reinforcement_raises_the_reward(trainer):
    recipe = replace(QUICK, warm_steps=0, steps=40, every=40, rate=2e-4)
    run = trainer(recipe)
    run.run()
    rewards = [line["reward"] for line in read(run.out / LOG) if "reward" in line]
    assert len(rewards) == 40
    assert np.mean(rewards[-10:]) > np.mean(rewards[:10]) + 0.05


def test_the_logged_reward_is_of_the_order_that_is_served(trainer, rows, trunk):
    """The first step's `greedy`, by the similarity and the blend of serving."""
    run = trainer(replace(QUICK, warm_steps=0, steps=1, windows=4))
    start = deepcopy(run.towers)
    run.run()
    (line,) = (line for line in read(run.out / LOG) if "greedy" in line)
    rewards = []
    for window in WindowSampler(rows.rows, rows.passages, 0).any_collection(0, 4, 8):
        with torch.inference_mode():
            hidden = start.encode(trunk.states((window.query, *window.texts), QUICK.tokens))
        query, *passages = (PooledText(one.numpy()) for one in hidden)
        scores = [similarity(query, one, QUICK.share) for one in passages]
        order, _ = blended_order(tuple(range(len(scores))), scores, QUICK.blend)
        rewards.append(RelativeNdcg().of_order(order, window.gains))
    assert line["greedy"] == pytest.approx(np.mean(rewards), abs=1e-6)
    assert line["greedy"] != line["reward"]


def test_reinforcement_leaves_the_temperature_of_supervision_alone(trainer):
    run = trainer(replace(QUICK, warm_steps=0, steps=2))
    before = run.towers.log_temperature.item()
    run.run()
    assert run.towers.log_temperature.item() == before


def test_the_supervised_start_lowers_its_loss(trainer):
    for loss in ("listwise", "listmle"):
        recipe = replace(QUICK, warm_steps=16, steps=0, warm_rate=2e-4, loss=loss, every=16)
        run = trainer(recipe)
        before = supervised_loss(run)
        run.run()
        assert supervised_loss(run) < before - 0.05


@torch.no_grad()
def supervised_loss(run):
    """The mean over the windows of some steps, which are learned from."""
    return np.mean([run._losses.supervised(run.towers, step)[0].item() for step in range(6)])


@pytest.mark.parametrize("stop", [1, 5])
def test_a_resumed_run_is_the_same_to_the_bit(trainer, tmp_path, stop, monkeypatch):
    monkeypatch.setattr("rearank_training.embedded.trainer._SAVE_EVERY", 1)
    whole = trainer(out=tmp_path / "whole")
    whole.run()
    seen = []

    def interrupt(line):
        seen.append("loss" in line)
        if sum(seen) == stop:
            raise KeyboardInterrupt

    broken = trainer(out=tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        broken.run(interrupt)
    again = trainer(out=tmp_path / "broken")
    again.resume()
    assert again.run() == whole.best
    assert torch.equal(weights_of(again), weights_of(whole))

    def timeless(run):
        return [{k: v for k, v in line.items() if k != "seconds"} for line in read(run.out / LOG)]

    assert timeless(again) == timeless(whole)


def test_what_is_served_is_the_mean_half_way_back(trainer):
    run = trainer(replace(QUICK, warm_steps=3, steps=0))
    seen = [weights_of(run).clone()]

    def watch(line):
        if "loss" in line:
            seen.append(weights_of(run).clone())

    run.run(watch)
    start, *steps = seen
    mean = torch.stack(steps).mean(0)
    served = torch.cat([p.flatten() for p in run.served().parameters()])
    assert len(steps) == 3
    assert torch.allclose(served, (start + mean) / 2, atol=1e-6)
    assert not torch.allclose(served, mean, atol=1e-6)


def test_a_loss_that_is_no_number_stops_with_the_last_good_checkpoint(trainer, monkeypatch):
    monkeypatch.setattr("rearank_training.embedded.trainer._SAVE_EVERY", 1)
    run = trainer()
    with monkeypatch.context() as patched:
        worth = iter([0.5] * 1)

        def of_orders(self, orders, gains):
            value = next(worth, float("nan"))
            return [value * (i % 2) for i in range(len(orders))]

        patched.setattr("rearank_training.rows.rewards.RelativeNdcg.of_orders", of_orders)
        with pytest.raises(
            InputError, match=r"step 1 \(reward\) is not a number.*last.pt is unchanged"
        ):
            run.run()
    kept = load(run.out / LAST)
    assert (kept["phase"], kept["step"]) == ("warm", 2)
    assert all(torch.isfinite(value).all() for value in kept["towers"].values())


def test_a_phase_ends_when_dev_stops_rising(trainer, monkeypatch):
    monkeypatch.setattr(Dev, "values", lambda *_: [{"harbour": [0.5]}])
    run = trainer(replace(QUICK, warm_steps=50, steps=0, every=1, patience=3))
    run.run()
    assert [line["step"] for line in read(run.out / LOG) if "loss" in line] == [1, 2, 3]
    assert run.best["step"] == 0


def test_a_checkpoint_of_another_kind_is_refused(trainer, tmp_path, base):
    run = trainer(replace(QUICK, steps=0))
    with pytest.raises(InputError, match="nothing to resume from"):
        run.resume()
    run.run()
    with pytest.raises(InputError, match=r"another recipe: rate was 0.0001, is 0.5"):
        trainer(replace(QUICK, steps=0, rate=0.5)).resume()
    state = load(run.out / LAST)
    state["start"]["prior"] = torch.tensor(0.6)  # of an older version
    save(run.out / LAST, state)
    with pytest.raises(InputError, match=r"another shape, or of another version: .*prior"):
        trainer(replace(QUICK, steps=0)).resume()
    (run.out / LAST).write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="damaged"):
        trainer(replace(QUICK, steps=0)).resume()


def test_a_full_disk_is_reported_and_the_old_checkpoint_stays(tmp_path):
    save(tmp_path / "a.pt", {"step": 1})
    with pytest.raises(SetupError, match=r"a\.pt cannot be written: No space left on device"):
        _save_on_a_full_disk(tmp_path / "a.pt")
    assert load(tmp_path / "a.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def _save_on_a_full_disk(path):
    import rearank_training.embedded.checkpoints as module

    def full(state, file):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module.torch, "save", full)
        save(path, {"step": 2})


def test_unknown_names(trainer):
    with pytest.raises(InputError, match="there is no loss 'nix'"):
        trainer(replace(QUICK, loss="nix"))
    with pytest.raises(InputError, match="of text replies"):
        trainer(replace(QUICK, reward="tags"))
    with pytest.raises(InputError, match="above 0"):
        replace(QUICK, rate=0)
    with pytest.raises(InputError, match="must be steps"):
        replace(QUICK, steps=0, warm_steps=0)


def test_dev_is_what_eval_measures(harbour, trunk, base):
    """The same queries, lists and blend; scores of float32 layers instead of int8."""
    dev = Dev([harbour], 100, depth=30)
    towers = Towers(packaged(), FROZEN, 0.0)
    (values,) = dev.values(towers, trunk, [0.3])
    assert len(dev) == 12
    assert list(values) == ["harbour"]
    assert macro(values) == pytest.approx(0.753, abs=0.03), "embedded:untrained, docs/figures.md"


def test_dev_equal_to_train_is_refused(harbour):
    with pytest.raises(InputError, match="12 of 12 queries of harbour are in the rows"):
        Dev([harbour], 5, trained_on=harbour.queries.values())
    assert Dev([harbour], 5, trained_on=["something else"]).dropped == 0


def test_the_exported_policy_ranks(trainer, rows, tmp_path):
    manifest = tmp_path / "rows"
    write_rows(manifest, rows)
    run = trainer(replace(QUICK, warm_steps=1, steps=0))
    run.run()
    facts = finish(run, manifest, WEIGHTS)
    assert facts["dev"]["macro"] == facts["dev"]["harbour"]
    assert facts["rows"]["rows"] == {"harbour": len(rows.rows)}
    assert facts["blend"] in BLENDS
    policy = Embedded(str(run.out / "top"))
    task_passages = [Passage("a", "A tug pulls a ship."), Passage("b", "Bees make honey.")]
    ranking = asyncio.run(Reranker(policy).rerank("what pulls ships", task_passages))
    assert ranking.ids == ("a", "b")
    assert ranking.policy.endswith(policy.fingerprint)


def test_what_was_reinforced_is_served_with_its_blend(trainer, rows, tmp_path, monkeypatch):
    write_rows(tmp_path / "rows", rows)
    run = trainer(replace(QUICK, warm_steps=0, steps=1, blend=0.45))
    rising = iter((0.4, 0.5, 0.6))
    monkeypatch.setattr(Dev, "values", lambda *args: [{"harbour": [next(rising)]}] * len(args[3]))
    run.run()
    assert finish(run, tmp_path / "rows", WEIGHTS)["blend"] == 0.45


@pytest.fixture
def command(base, tmp_path, monkeypatch, rows):
    write_rows(tmp_path / "rows", rows)

    def run(dev, *more):
        args = ["train", "embedded", tmp_path / "rows", "--dev", dev, "--out", tmp_path / "run"]
        args += ["--base", base, "--warm-steps", 1, "--warm-queries", 2, "--steps", 1]
        args += ["--windows", 1, "--tokens", 32, *more]
        monkeypatch.setattr(sys, "argv", ["rearank-agent", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    return run


def test_the_command(command, tmp_path, capsys):
    dev = beir(tmp_path / "dev")
    assert command(dev) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out).keys() == {"dev", "macro"}
    for text in ("evaluating on dev, 3 queries", "warm 0/1: dev nDCG@10", "reward 1/1: dev nDCG@10",
                 "--policy embedded:"):  # fmt: skip
        assert text in printed.err
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert made == {"best.pt", "last.pt", "log.jsonl", "dev.png", "learning.png", "top"}
    assert command(dev) == 2
    assert "holds a run: go on with --resume" in capsys.readouterr().err
    assert command(dev, "--resume") == 0
    assert "resuming at step 1 (reward)" in capsys.readouterr().err


def test_a_run_starts_from_the_best_of_another(command, tmp_path, capsys):
    dev, best = beir(tmp_path / "dev"), tmp_path / "run/best.pt"
    assert command(dev) == 0
    state = load(best)
    state["towers"]["log_temperature"] += 1
    save(best, state)
    assert command(dev, "--out", tmp_path / "two", "--start", best, "--steps", 0) == 0
    name = "log_temperature"
    assert load(tmp_path / "two/last.pt")["start"][name] == state["towers"][name]
    assert command(dev, "--out", tmp_path / "three", "--start", tmp_path / "nix.pt") == 2
    assert "nix.pt does not exist" in capsys.readouterr().err
    save(tmp_path / "odd.pt", {"step": 1})
    assert command(dev, "--out", tmp_path / "three", "--start", tmp_path / "odd.pt") == 2
    assert "odd.pt is of a network of another shape" in capsys.readouterr().err


def test_the_command_refuses_to_choose_by_what_it_learns(command, capsys):
    assert command(HARBOUR) == 2
    assert "12 of 12 queries of harbour are in the rows" in capsys.readouterr().err


def test_the_command_without_torch(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rearank_agent.extras.find_spec", lambda name: None)
    assert command(beir(tmp_path / "dev")) == 1
    assert install_line("train") in capsys.readouterr().err


def test_sets_in_random_order_are_trained_on_in_the_first_stages(harbour, rows):
    settings = Augmentation(sets=8, size=10, depth=30, filtered=False)
    shuffled = augment([harbour], replace(settings, shuffled=True)).rows
    ordered = augment([harbour], settings).rows
    assert shuffled != ordered
    assert in_first_stage_order(shuffled) == list(ordered)
    assert in_first_stage_order(rows.rows) == list(rows.rows)


def test_rows_without_signal_are_refused(base, tmp_path, rows, command, capsys):
    best = tuple(row for row in rows.rows if row.initial == 1)
    assert best
    write_rows(tmp_path / "rows", replace(rows, rows=best))
    assert command(beir(tmp_path / "dev")) == 2
    assert "has no signal: every set is in its best order already" in capsys.readouterr().err

"""The packaged nano model: complete, with its prompt config, and better than the first stage."""

from dataclasses import replace
from pathlib import Path

from benchmarks.registry import registry
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import load_collections
from rearank_agent.files import digest
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.dev import Dev
from rearank_training.lm.model import load, quiet
from rearank_training.lm.nano import nano_config
from rearank_training.lm.sampler import Sampler
from rearank_training.rows.heldout import held_out

NANO = Path(__file__).parents[2] / "examples" / "nano"


def test_it_is_the_one_of_its_card():
    assert f"`{digest(NANO / 'model.safetensors')}`" in (NANO / "README.md").read_text()
    assert PromptConfig.load(NANO) == nano_config()
    assert sum(path.stat().st_size for path in NANO.iterdir()) < 2_000_000


def test_it_ranks_better_than_the_first_stage(tmp_path):
    """On boats it never saw; the first stage alone has 72 on them."""
    quiet(1)
    registry(tmp_path / "boats", slice(400, 404))
    (boats,) = load_collections([str(tmp_path / "boats")])
    boats = replace(boats, lists=first_stage(boats, 20).lists)
    queries, _ = held_out([boats], 40, 20)
    loaded = load(str(NANO), nano_config(), "cpu")
    sampler = Sampler(loaded.model, loaded.tokenizer, loaded.prompt_config)
    found = Dev(queries, nano_config()).evaluate(sampler.reply)
    initial = sum(one.ndcg(range(len(one.passages))) for one in queries) / len(queries)
    assert found["macro"] > initial + 0.03

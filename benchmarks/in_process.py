"""A policy measured in this process by transformers, as `eval` measures it where it is served.

For machines that train and have no vLLM: the same queries, first stage, windows, prompts and
parser, at temperature 0, with all queries in one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean

from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import first_stage
from rearank_agent.data.load import select_queries
from rearank_agent.errors import InputError
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.metrics import ndcg
from rearank_agent.schedules import half_sliding
from rearank_agent.types import Window
from rearank_training.lm.model import device, load, quiet
from rearank_training.lm.prompts import Example
from rearank_training.lm.rollout import Rollout, roll_out
from rearank_training.lm.sampler import Sampler

__all__ = ["candidates", "values_in_process"]


def candidates(found: Sequence[Collection], depth: int, limit: int) -> Iterator[Example]:
    """The queries that `eval` takes with these limits, named collection/query."""
    for one in (select_queries(each, limit, None) for each in found):
        lists = one.lists or first_stage(one, depth).lists
        for query, text in one.queries.items():
            listed = [passage for passage in lists.get(query, ()) if passage in one.corpus][:depth]
            grades = tuple(one.qrels[query].get(passage, 0) for passage in listed)
            passages = tuple(one.corpus[passage] for passage in listed)
            yield Example(f"{one.name}/{query}", text, one.instruction, passages, grades)


def values_in_process(
    policy: Path, found: Sequence[Example], ideals: dict[str, list[int]], replies: int = 10
) -> dict[str, object]:
    """nDCG@10 by query, the share of repaired replies, and some first replies to read.

    Args:
        policy: a folder with weights, tokenizer and prompt config.
        found: queries with candidates.
        ideals: all grades of a query, by its name.
        replies: of how many queries are kept.

    Raises:
        InputError: the policy has no prompt config.
    """
    quiet(2)
    config = PromptConfig.load(str(policy))
    if config is None:
        raise InputError(f"{policy} has no prompt config: it was not written by the study")
    loaded = load(str(policy), config, where := device("auto"), "bfloat16")
    loaded.model.to(where)
    rollouts = [Rollout(half_sliding(config.window), one) for one in found if one.passages]
    texts: list[str] = []

    def keep(one: Rollout, _window: Window, text: str) -> None:
        if not one.replies:
            texts.append(f"## {one.example.query}\n\n{text}\n")

    roll_out(rollouts, config, Sampler(loaded.model, loaded.tokenizer, config).reply, seen=keep)
    faults = [bool(reply.faults) for one in rollouts for turn in one.replies for reply in turn]
    values = dict.fromkeys((one.name for one in found), 0.0)
    values |= {one.example.name: _ndcg(one, ideals[one.example.name]) for one in rollouts}
    apart = max(1, len(texts) // replies)
    return {
        "values": values,
        "repaired": fmean(faults),
        "replies": [*islice(texts[::apart], replies)],
    }


def _ndcg(rollout: Rollout, ideal: list[int]) -> float:
    order = rollout.order or ()
    return ndcg([rollout.example.grades[position] for position in order], ideal, 10)

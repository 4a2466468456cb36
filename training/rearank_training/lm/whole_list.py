"""Rollouts over complete lists: one window's reply is sampled, the others are decoded greedily.

A window's own nDCG@10 is the wrong goal where windows slide: what counts is which passages reach
the next one. So a rollout ranks a list as in serving, greedily, except for one window, drawn by
seed, step and list, whose reply is sampled; the reward is the relative nDCG@10 of the list's final
order. All rollouts of a group share the windows before; equal orders share those after.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from random import Random
from typing import Any

from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.schedules import Schedule, cost
from rearank_training.lm.prompts import Example, example_prompt
from rearank_training.lm.rollout import Rollout, roll_out, to_reply
from rearank_training.lm.sampler import Sampler
from rearank_training.rows.rewards import relative_ndcg

__all__ = ["WholeList"]


class WholeList:
    """Rollouts over complete lists, as TRL's `rollout_func`.

    Args:
        lists: longer than a window each.
        config: of the model.
        schedule: one window per turn, and as many turns whatever the replies: sliding.
        temperature: of the sampled replies.
        seed: of the sampled windows.

    Attributes:
        sampler: of the model; set once there is a trainer.
    """

    sampler: Sampler

    def __init__(
        self,
        lists: Sequence[Example],
        config: PromptConfig,
        schedule: Schedule,
        temperature: float,
        seed: int,
    ) -> None:
        self.config, self.schedule = config, schedule
        self.temperature, self.seed = temperature, seed
        self._lists = {one.name: one for one in lists}

    @staticmethod
    def prompt(one: Example) -> list[Message]:
        """The prompt of TRL's dataset: the list's name, as its windows are made in the rollout."""
        return [{"role": "user", "content": one.name}]

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """One sampled window for every prompt, and the gain of the complete list.

        Returns:
            prompt_ids, completion_ids and logprobs (None), as TRL expects them; `gained`, the
            relative nDCG@10 of the final list; `grades`, of the passages of the sampled window.
        """
        names = (str(prompt[-1]["content"]) for prompt in prompts)
        groups = [(self._lists[name], len(list(same))) for name, same in groupby(names)]
        rollouts = self._until_sampled([one for one, _ in groups], trainer.state.global_step)
        shown = [example_prompt(self.config, one.example, one.windows[0]) for one in rollouts]
        ids = self.sampler.tokens([prompt.messages for prompt in shown])
        counts = [count for _, count in groups]
        prompt_ids = [one for one, count in zip(ids, counts, strict=True) for _ in range(count)]
        completion_ids = self.sampler.generate(prompt_ids, self.temperature)
        sampled = [one for one, count in zip(rollouts, counts, strict=True) for _ in range(count)]
        gained = self._final_gains(sampled, self.sampler.text(completion_ids))
        grades = [[one.example.grades[p] for p in one.windows[0]] for one in sampled]
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": completion_ids,
            "logprobs": None,
            "gained": gained,
            "grades": grades,
        }

    def _until_sampled(self, lists: Sequence[Example], step: int) -> list[Rollout]:
        """Every list, ranked up to the window that is sampled."""
        rollouts = [Rollout(self.schedule, one) for one in lists]
        until = {
            id(rollout): Random(f"{self.seed} {step} {one.name}").randrange(self._turns(one))  # noqa: S311
            for rollout, one in zip(rollouts, lists, strict=True)
        }
        roll_out(
            rollouts, self.config, self.sampler.reply, lambda one: len(one.replies) < until[id(one)]
        )
        return rollouts

    def _turns(self, one: Example) -> int:
        return cost(self.schedule, len(one.passages)).turns

    def _final_gains(self, rollouts: Sequence[Rollout], texts: Sequence[str]) -> list[float]:
        """The relative nDCG@10 of each list, with this reply about its next window."""
        forks: dict[tuple[str, tuple[int, ...]], Rollout] = {}
        keys = []
        for rollout, text in zip(rollouts, texts, strict=True):
            reply = to_reply(text, len(rollout.windows[0]), self.config)
            keys.append((rollout.example.name, reply.order))
            if keys[-1] not in forks:
                forks[keys[-1]] = fork = rollout.fork()
                fork.advance([reply])
        roll_out(list(forks.values()), self.config, self.sampler.reply)
        gained = {key: _gain(fork) for key, fork in forks.items()}
        return [gained[key] for key in keys]


def _gain(rollout: Rollout) -> float:
    grades = rollout.example.grades
    return relative_ndcg([grades[position] for position in rollout.order or ()], grades)

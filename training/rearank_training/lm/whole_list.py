"""A reward for whole lists: one window's reply is sampled, the rest of the schedule is played.

A window's own nDCG@10 is the wrong goal where windows slide: what counts is which passages go on
to the next one. So a rollout ranks a list as it will be ranked when served, greedily, but for one
window, drawn by seed, step and list, whose reply is sampled; the reward is what the final order of
the list gains. All rollouts of a group share the windows before; equal orders share those after.
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
    """Rollouts over whole lists, as TRL's `rollout_func`.

    Args:
        lists: longer than a window each.
        words: of the model.
        schedule: one window a turn, and as many whatever is answered: sliding.
        temperature: of the sampled replies.
        seed: of the sampled windows.
    """

    voice: Sampler

    def __init__(
        self,
        lists: Sequence[Example],
        words: PromptConfig,
        schedule: Schedule,
        temperature: float,
        seed: int,
    ) -> None:
        self.words, self.schedule = words, schedule
        self.temperature, self.seed = temperature, seed
        self._lists = {one.name: one for one in lists}

    @staticmethod
    def prompt(one: Example) -> list[Message]:
        """What TRL's dataset has for a prompt: the list's name, since its windows are yet to be."""
        return [{"role": "user", "content": one.name}]

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """One sampled window for every prompt, and what the whole list gained by it.

        Returns:
            prompt_ids, completion_ids and logprobs (None), as TRL wants them; `gained`, the
            relative nDCG@10 of the final list; `grades`, of the passages of the sampled window.
        """
        names = (str(prompt[-1]["content"]) for prompt in prompts)
        groups = [(self._lists[name], len(list(same))) for name, same in groupby(names)]
        games = self._until_sampled([one for one, _ in groups], trainer.state.global_step)
        shown = [example_prompt(self.words, game.list, game.windows[0]).messages for game in games]
        ids = [self.voice.tokens(messages) for messages in shown]
        counts = [count for _, count in groups]
        prompt_ids = [one for one, count in zip(ids, counts, strict=True) for _ in range(count)]
        completion_ids = self.voice.generate(prompt_ids, self.temperature)
        sampled = [game for game, count in zip(games, counts, strict=True) for _ in range(count)]
        gained = self._finished(sampled, self.voice.text(completion_ids))
        grades = [[game.list.grades[p] for p in game.windows[0]] for game in sampled]
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": completion_ids,
            "logprobs": None,
            "gained": gained,
            "grades": grades,
        }

    def _until_sampled(self, lists: Sequence[Example], step: int) -> list[Rollout]:
        """Every list with the window that is sampled before it."""
        games = [Rollout(self.schedule, one) for one in lists]
        until = {
            id(game): Random(f"{self.seed} {step} {one.name}").randrange(self._turns(one))  # noqa: S311
            for game, one in zip(games, lists, strict=True)
        }
        roll_out(games, self.words, self.voice.say, lambda game: len(game.played) < until[id(game)])
        return games

    def _turns(self, one: Example) -> int:
        return cost(self.schedule, len(one.passages)).turns

    def _finished(self, games: Sequence[Rollout], replies: Sequence[str]) -> list[float]:
        """What each list gains in the end, when this reply is given to its next window."""
        ends: dict[tuple[str, tuple[int, ...]], Rollout] = {}
        names = []
        for game, text in zip(games, replies, strict=True):
            reply = to_reply(text, len(game.windows[0]), self.words)
            names.append((game.list.name, reply.order))
            if names[-1] not in ends:
                ends[names[-1]] = other = game.fork()
                other.go_on([reply])
        roll_out(list(ends.values()), self.words, self.voice.say)
        gained = {name: _gain(game) for name, game in ends.items()}
        return [gained[name] for name in names]


def _gain(game: Rollout) -> float:
    grades = game.list.grades
    return relative_ndcg([grades[position] for position in game.order or ()], grades)

"""Rollouts: many lists ranked by a schedule at once, with the prompts of a turn in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rearank_agent.listwise import parse_reply
from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.schedules import Schedule
from rearank_agent.types import Reply, Window
from rearank_training.lm.prompts import Example, example_prompt

__all__ = ["Generate", "Rollout", "roll_out"]

Generate = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
"""The replies to prompts, each on its own."""


class Rollout:
    """A list that is being ranked.

    Attributes:
        windows: of the next turn; empty at the end.
        order: the final permutation of positions; None until the end.
        replies: of all turns so far, one sequence per turn.
    """

    def __init__(
        self, schedule: Schedule, example: Example, replies: Sequence[Sequence[Reply]] = ()
    ) -> None:
        self.schedule, self.example = schedule, example
        self._turns = schedule.start(len(example.passages))
        self.windows: tuple[Window, ...] = next(self._turns).windows
        self.order: Window | None = None
        self.replies: list[Sequence[Reply]] = []
        for turn in replies:
            self.advance(turn)

    def advance(self, replies: Sequence[Reply]) -> None:
        """Finish a turn with one reply for each of `windows`."""
        self.replies.append(replies)
        try:
            self.windows = self._turns.send(replies).windows
        except StopIteration as end:
            self.windows, self.order = (), end.value

    def fork(self) -> Rollout:
        """A copy that advances on its own from here."""
        return Rollout(self.schedule, self.example, self.replies)


def roll_out(
    rollouts: Sequence[Rollout],
    config: PromptConfig,
    generate: Generate,
    keep_going: Callable[[Rollout], bool] = lambda _rollout: True,
    seen: Callable[[Rollout, Window, str], None] = lambda _rollout, _window, _text: None,
) -> None:
    """Advance all rollouts a turn at a time, each to its end or while `keep_going` holds.

    Args:
        seen: gets every reply's text, with its rollout before that turn and its window.
    """
    while active := [one for one in rollouts if one.windows and keep_going(one)]:
        prompts = [
            example_prompt(config, one.example, window).messages
            for one in active
            for window in one.windows
        ]
        texts = iter(generate(prompts))
        for one in active:
            replies = []
            for window in one.windows:
                seen(one, window, text := next(texts))
                replies.append(to_reply(text, len(window), config))
            one.advance(replies)


def to_reply(text: str, n: int, config: PromptConfig) -> Reply:
    """A reply as a policy gives it, by the parser of serving and of rewards."""
    parsed = parse_reply(text, n, config.form)
    return Reply(parsed.order, parsed.scores, faults=parsed.faults)

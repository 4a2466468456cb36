"""Lists on their way through a schedule, many at a time: their windows are asked together."""

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
        windows: those to be judged next; empty at the end.
        order: the final order of positions, once there is one.
        played: the replies of all turns so far.
    """

    def __init__(
        self, schedule: Schedule, list_: Example, played: Sequence[Sequence[Reply]] = ()
    ) -> None:
        self.schedule, self.list = schedule, list_
        self._turns = schedule.start(len(list_.passages))
        self.windows: tuple[Window, ...] = next(self._turns).windows
        self.order: Window | None = None
        self.played: list[Sequence[Reply]] = []
        for replies in played:
            self.go_on(replies)

    def go_on(self, replies: Sequence[Reply]) -> None:
        """Take the replies about `windows`."""
        self.played.append(replies)
        try:
            self.windows = self._turns.send(replies).windows
        except StopIteration as end:
            self.windows, self.order = (), end.value

    def fork(self) -> Rollout:
        """The same again, to go on otherwise from here."""
        return Rollout(self.schedule, self.list, self.played)


def roll_out(
    games: Sequence[Rollout],
    words: PromptConfig,
    say: Generate,
    turns: Callable[[Rollout], bool] = lambda _game: True,
) -> None:
    """Let the games go on, a turn of all at a time, each as long as `turns` wants it to."""
    while open_ := [game for game in games if game.windows and turns(game)]:
        prompts = [
            example_prompt(words, g.list, window).messages for g in open_ for window in g.windows
        ]
        said = iter(say(prompts))
        for game in open_:
            game.go_on([to_reply(next(said), len(window), words) for window in game.windows])


def to_reply(text: str, n: int, words: PromptConfig) -> Reply:
    """A reply as a policy gives it, by the reader of serving and of rewards."""
    reading = parse_reply(text, n, words.form)
    return Reply(reading.order, reading.scores, faults=reading.faults)

"""Lists on their way through a schedule, many at a time: their windows are asked together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rearank_agent.listwise import read
from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.checkpoint import Trained
from rearank_agent.schedules import Schedule
from rearank_agent.types import Reply, Window
from rearank_training.lm.prompts import Shown, asked

__all__ = ["Game", "Say", "play"]

Say = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
"""The replies to prompts, each on its own."""


class Game:
    """A list that is being ranked.

    Attributes:
        windows: those to be judged next; empty at the end.
        order: the final order of positions, once there is one.
        played: the replies of all turns so far.
    """

    def __init__(
        self, schedule: Schedule, list_: Shown, played: Sequence[Sequence[Reply]] = ()
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

    def fork(self) -> Game:
        """The same again, to go on otherwise from here."""
        return Game(self.schedule, self.list, self.played)


def play(
    games: Sequence[Game],
    words: Trained,
    say: Say,
    turns: Callable[[Game], bool] = lambda _game: True,
) -> None:
    """Let the games go on, a turn of all at a time, each as long as `turns` wants it to."""
    while open_ := [game for game in games if game.windows and turns(game)]:
        prompts = [asked(words, g.list, window).messages for g in open_ for window in g.windows]
        said = iter(say(prompts))
        for game in open_:
            game.go_on([reply_of(next(said), len(window), words) for window in game.windows])


def reply_of(text: str, n: int, words: Trained) -> Reply:
    """A reply as a policy gives it, by the reader of serving and of rewards."""
    reading = read(text, n, words.form)
    return Reply(reading.order, reading.scores, faults=reading.faults)

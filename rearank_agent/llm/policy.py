"""A language model as a judge: it thinks about every passage, then answers with an order.

What it is asked with is set here; how a window's conversation goes is in `ladder.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from typing import Literal

from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.listwise.reply import BEST_SCORE, FORMAT_VERSION, Format
from rearank_agent.listwise.template import Template
from rearank_agent.llm.chat import Chat
from rearank_agent.llm.checkpoint import Trained
from rearank_agent.llm.conversation import Conversation
from rearank_agent.llm.provider import model_of
from rearank_agent.redact import discreet
from rearank_agent.types import Reply, Task, Window

__all__ = ["LLM", "Effort"]

Effort = Literal["minimal", "low", "medium", "high"]


class LLM:
    """A policy over any pydantic-ai model.

    Safe to share between requests; and between threads and event loops when the model is given
    by its name, or as a function that makes it. A model that was made already is used as it is.

    Attributes:
        name: as `policy()` knows it: "vllm:NAME", "anthropic:NAME", ...
        form: whether it is asked for an order or for scores from 0 to 10. Only scores compare
            across windows.
        think: whether a thought is asked for, and thinking is on where the model can switch it.
        effort: how hard a model thinks that has such a setting.
        template: the words.
        budget: the most tokens of a reply, thought included; 2,048 as in the paper.
        cut: the most characters of a passage that are shown.
        window: the most passages shown at once.
        timeout: seconds a call may take.

    Raises:
        SetupError: the model's provider is not known, not installed or lacks its key or address.
        InputError: a setting is out of its range, or effort is asked of a model not to think.
    """

    scale = BEST_SCORE

    def __init__(
        self,
        model: Model | Callable[[], Model] | str,
        *,
        name: str = "",
        form: Format = "order",
        think: bool = True,
        effort: Effort | None = None,
        template: Template | None = None,
        budget: int = 2048,
        cut: int = 1200,
        window: int = 20,
        timeout: float = 120.0,
    ) -> None:
        self.template = template or Template.default()
        Trained(self.template, form, think, window, cut, budget)  # the ranges stand there
        if not timeout > 0:
            raise InputError(f"a call must have more than 0 s: {timeout}")
        if effort and not think:
            raise InputError("effort is for a model that thinks; give one or the other")
        self.form, self.think, self.effort = form, think, effort
        self.budget, self.cut, self.window, self.timeout = budget, cut, window, timeout
        settings = ModelSettings(
            temperature=0.0, seed=0, max_retries=0, timeout=timeout, request_timeout=timeout
        )
        if not think:
            settings["thinking"] = False
        elif effort:
            settings["thinking"] = effort
        self.chat = Chat(model_of(model) if isinstance(model, str) else model, settings)
        self._agreed: set[str] = set()
        sample = self.chat.sample
        self.name = name or (model if isinstance(model, str) else sample.model_id)

    @property
    def scores(self) -> bool:
        """Scores on one scale compare across windows; orders do not."""
        return self.form == "scores"

    @property
    def blend(self) -> float:
        """0.3 for scores, as simulated in docs/schedules.md; orders lose by being mixed."""
        return 0.3 if self.scores else 0.0

    @cached_property
    def fingerprint(self) -> str:
        """The name, then all that the replies depend on."""
        taken = [s for s in ("temperature=0", "seed=0") if s[:-2] not in self.chat.dropped]
        how = ["think" if self.think else "direct", *([self.effort] if self.effort else [])]
        at = discreet(self.chat.sample.base_url or "")
        own = json.dumps(self.chat.sample.settings or {}, sort_keys=True, default=str)
        settings = sha256(own.encode()).hexdigest()[:8] if self.chat.sample.settings else ""
        return " ".join(
            [
                self.name, self.form, *how, f"words={self.template.fingerprint}",
                f"format={FORMAT_VERSION}", f"tokens={self.budget}", f"cut={self.cut}", *taken,
                *([f"settings={settings}"] if settings else []), *([f"at={at}"] if at else []),
            ]
        )  # fmt: skip

    async def judge(self, task: Task, window: Window) -> Reply:
        """Ask the model for the order of the window.

        Raises:
            PolicyError: the model could not be asked, refused, or was trained with other words;
                the message has what it said.
        """
        return await Conversation(self, task, window).reply()

    def agree(self, root: str) -> None:
        """Refuse a model trained with other words, where its folder can be read here.

        A folder that agrees is read once.

        Args:
            root: where the model's server loaded it from.

        Raises:
            PolicyError: the words or the form are others, or what says so is damaged.
        """
        if root in self._agreed:
            return
        try:
            trained = Trained.load(root)
        except SetupError as error:
            raise PolicyError(str(error)) from error
        if trained and (wrong := trained.mismatch(self.template, self.form)):
            raise PolicyError(
                f"{wrong}; start this program again while the model is served, or in Python: "
                f"policy({self.name!r}, **Trained.load({root!r}).asking())"
            )
        self._agreed.add(root)

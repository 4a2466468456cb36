"""A language model as a judge: it thinks about every passage, then answers with an order.

What it is asked with is set here; how a window's conversation goes is in `ladder.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from typing import Literal

from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.listwise.answer_format import BEST_SCORE, FORMAT_VERSION, Format
from rearank_agent.listwise.template import Template
from rearank_agent.llm.chat import Chat, policy_error
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.llm.conversation import Conversation
from rearank_agent.llm.provider import model_factory
from rearank_agent.redact import redact
from rearank_agent.types import Reply, Task, Window

__all__ = ["LLM", "Effort"]

Effort = Literal["minimal", "low", "medium", "high"]

_HIDDEN_THOUGHT = 16_384  # tokens on top, where effort buys a thought that counts as reply


class LLM:
    """A policy over any pydantic-ai model.

    Safe to share between requests; and between threads and event loops when the model is given
    by its name, or as a function that makes it. A model that was made already is used as it is.

    Attributes:
        name: as `policy()` knows it: "vllm:NAME", "anthropic:NAME", ...
        config: how it is asked. Its scores compare across windows, its orders do not. `think` also
            switches thinking on or off where the model can.
        effort: how hard a model thinks that has such a setting.
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
        words = template or Template.default()
        self.config = PromptConfig(words, form, think, window, cut, budget)
        if not timeout > 0:
            raise InputError(f"a call must have more than 0 s: {timeout}")
        if effort and not think:
            raise InputError("effort is for a model that thinks; give one or the other")
        self.effort, self.timeout = effort, timeout
        settings = ModelSettings(
            temperature=0.0, seed=0, max_retries=0, timeout=timeout, request_timeout=timeout
        )
        if not think:
            settings["thinking"] = False
        elif effort:
            settings["thinking"] = effort
        self.chat = Chat(model_factory(model) if isinstance(model, str) else model, settings)
        self._agreed: set[str] = set()
        sample = self.chat.sample
        self.name = name or (model if isinstance(model, str) else sample.model_id)

    @property
    def scores(self) -> bool:
        """Scores on one scale compare across windows; orders do not."""
        return self.config.form == "scores"

    @property
    def window(self) -> int:
        """The most passages shown at once."""
        return self.config.window

    @property
    def blend(self) -> float:
        """0.3 for scores, as simulated in docs/schedules.md; orders lose by being mixed."""
        return 0.3 if self.scores else 0.0

    @cached_property
    def fingerprint(self) -> str:
        """The name, then all that the replies depend on."""
        taken = [s for s in ("temperature=0", "seed=0") if s[:-2] not in self.chat.dropped]
        asked = self.config
        how = ["think" if asked.think else "direct", *([self.effort] if self.effort else [])]
        at = redact(self.chat.sample.base_url or "")
        own = json.dumps(self.chat.sample.settings or {}, sort_keys=True, default=str)
        settings = sha256(own.encode()).hexdigest()[:8] if self.chat.sample.settings else ""
        return " ".join(
            [
                self.name, asked.form, *how, f"words={asked.template.fingerprint}",
                f"format={FORMAT_VERSION}", f"tokens={asked.budget}", f"cut={asked.cut}", *taken,
                *([f"settings={settings}"] if settings else []), *([f"at={at}"] if at else []),
            ]
        )  # fmt: skip

    async def judge(self, task: Task, window: Window) -> Reply:
        """Ask the model for the order of the window.

        Raises:
            PolicyError: the model could not be asked, refused, or was trained with other words;
                the message has what it said.
        """
        try:
            served = await self.chat.served()
        except AgentRunError as error:
            raise policy_error(error) from error
        self.agree(served.root)
        hidden = self.effort and served.length is None and not await self.chat.endpoint()
        conversation = Conversation(
            self.chat,
            self.config,
            task,
            window,
            length=served.length,
            hidden=_HIDDEN_THOUGHT if hidden else 0,
        )
        return await conversation.reply()

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
            trained = PromptConfig.load(root)
        except SetupError as error:
            raise PolicyError(str(error)) from error
        if trained and (wrong := trained.mismatch(self.config.template, self.config.form)):
            raise PolicyError(
                f"{wrong}; start this program again while the model is served, or in Python: "
                f"policy({self.name!r}, **Trained.load({root!r}).asking())"
            )
        self._agreed.add(root)

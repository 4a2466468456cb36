"""A language model as a policy: it reasons about every passage, then answers with an order.

The options are set here; the conversation about a window is in `conversation.py`.
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
from rearank_agent.llm.chat import Chat
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.llm.conversation import Conversation
from rearank_agent.llm.model_errors import policy_error
from rearank_agent.llm.provider import model_factory
from rearank_agent.redact import redact
from rearank_agent.types import Reply, Task, Window

__all__ = ["LLM", "Effort"]

Effort = Literal["minimal", "low", "medium", "high"]

_HIDDEN_TOKENS = 16_384  # tokens on top, where effort adds reasoning that counts as reply


class LLM:
    """A policy over any pydantic-ai model.

    Safe to share between requests; and between threads and event loops when the model is given
    by its name, or as a function that makes it. A model object is used as it is.

    Attributes:
        name: as `policy()` knows it: "vllm:NAME", "anthropic:NAME", ...
        config: how it is prompted. Its scores compare across windows, its orders do not. `think`
            also switches thinking on or off where the model can.
        effort: the reasoning effort, for a model that has such a setting.
        timeout: seconds a call may take.

    Raises:
        SetupError: the model's provider is not known, not installed or lacks its key or address.
        InputError: a setting is out of its range, or effort is given together with think=False.
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
        budget: int | None = None,
        cut: int | None = None,
        window: int | None = None,
        timeout: float = 120.0,
    ) -> None:
        self.config = PromptConfig.of(
            template, form=form, think=think, window=window, cut=cut, budget=budget
        )
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
        self._checked: set[str] = set()
        first = self.chat.first_model
        self.name = name or (model if isinstance(model, str) else first.model_id)

    @property
    def scores(self) -> bool:
        """Scores on one scale compare across windows; orders do not."""
        return self.config.form == "scores"

    @property
    def window(self) -> int:
        """The maximum passages shown at once."""
        return self.config.window

    @property
    def blend(self) -> float:
        """0.3 for scores, as simulated in docs/schedules.md; blending makes orders worse."""
        return 0.3 if self.scores else 0.0

    @cached_property
    def fingerprint(self) -> str:
        """The name, then all that the replies depend on."""
        config, model = self.config, self.chat.first_model
        taken = [s for s in ("temperature=0", "seed=0") if s[:-2] not in self.chat.dropped]
        how = ["think" if config.think else "direct", *([self.effort] if self.effort else [])]
        at = redact(model.base_url or "")
        own = json.dumps(model.settings or {}, sort_keys=True, default=str)
        settings = sha256(redact(own).encode()).hexdigest()[:8] if model.settings else ""
        return " ".join(
            [
                self.name, config.form, *how, f"words={config.template.fingerprint}",
                f"format={FORMAT_VERSION}", f"tokens={config.budget}", f"cut={config.cut}", *taken,
                *([f"settings={settings}"] if settings else []), *([f"at={at}"] if at else []),
            ]
        )  # fmt: skip

    async def judge(self, task: Task, window: Window) -> Reply:
        """Ask the model for the order of the window.

        Raises:
            PolicyError: the model could not be called, refused, or was trained with another
                template; the message has its error.
        """
        try:
            info = await self.chat.model_info()
        except AgentRunError as error:
            raise policy_error(error) from error
        self.check_checkpoint(info.root)
        hidden = self.effort and info.length is None and not await self.chat.endpoint()
        conversation = Conversation(
            self.chat,
            self.config,
            task,
            window,
            length=info.length,
            hidden=_HIDDEN_TOKENS if hidden else 0,
        )
        return await conversation.reply()

    def check_checkpoint(self, root: str) -> None:
        """Refuse a model trained with another template, where its folder can be read here.

        A folder that matches is read once.

        Args:
            root: where the model's server loaded it from.

        Raises:
            PolicyError: the template or the format differs, or the file is damaged.
        """
        if root in self._checked:
            return
        try:
            trained = PromptConfig.load(root)
        except SetupError as error:
            raise PolicyError(str(error)) from error
        if trained and (mismatch := trained.mismatch(self.config.template, self.config.form)):
            raise PolicyError(
                f"{mismatch}; start this program again while the model is served, or in Python: "
                f"policy({self.name!r}, **PromptConfig.load({root!r}).options())"
            )
        self._checked.add(root)

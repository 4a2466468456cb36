"""The prompt of a query likelihood: a passage, then the query whose probability is measured."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from rearank_agent.errors import InputError
from rearank_agent.listwise.prompt import prompt_faults, truncate
from rearank_agent.listwise.sanitize import neutralise
from rearank_agent.types import Fault, Passage

__all__ = ["LikelihoodPrompt", "Prompts", "read_likelihood_prompt"]

_DEFAULT = "Passage: {passage}\n\nA web search that this passage answers: {query}"
_PASSAGE, _QUERY = "{passage}", "{query}"


@dataclass(frozen=True, slots=True)
class Prompts:
    """One prompt for each passage, the query as it ends them, and what was cut or neutralised."""

    texts: tuple[str, ...]
    query: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class LikelihoodPrompt:
    """The words around passage and query: `before` the passage, and `between` the two.

    Nothing comes after the query, so that the last tokens of the prompt are the query's.
    """

    before: str
    between: str

    @classmethod
    def parse(cls, text: str = "") -> Self:
        """The prompt of a text with {passage}, then {query} at its end; "" for our own words.

        Raises:
            InputError: a slot is missing or repeated, or nothing stands between them.
        """
        before, _, rest = (text or _DEFAULT).partition(_PASSAGE)
        between, found, after = rest.partition(_QUERY)
        once = found and _QUERY not in before and _PASSAGE not in between
        if not once or not between.strip() or after.strip():
            raise InputError(
                "the prompt of a likelihood holds {passage} once, then words, and ends with "
                "{query}, as in: Text: {passage} Question: {query}"
            )
        return cls(before, between)

    @property
    def fingerprint(self) -> str:
        """The first eight hexadecimal digits of the words' SHA-256."""
        return sha256(f"{self.before}\x00{self.between}".encode()).hexdigest()[:8]

    @property
    def ending(self) -> str:
        """The words between the last line break and the query.

        Tokenizers split text at line breaks, so that with the query behind it this has the same
        tokens alone as at the end of a prompt.
        """
        return self.between[self.between.rfind("\n") + 1 :]

    def build(self, query: str, passages: Sequence[Passage], cut: int) -> Prompts:
        """The prompts of some passages.

        Args:
            query: never cut.
            passages: each has a prompt of its own.
            cut: the characters of a passage's content that are shown at most.
        """
        contents = [passage.content.strip() for passage in passages]
        shown = [truncate(text, cut) for text in contents]
        safe = [neutralise(text) for text in shown]
        asked = " ".join(neutralise(query).split())
        return Prompts(
            tuple(f"{self.before}{text}{self.between}{asked}" for text in safe),
            asked,
            prompt_faults([one.id for one in passages], contents, shown, safe, cut, query),
        )


def read_likelihood_prompt(path: Path) -> str | None:
    """The prompt in a TOML file that holds `prompt` alone; None if it is another kind of file."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    prompt = data.get("prompt")
    return prompt if set(data) == {"prompt"} and isinstance(prompt, str) else None

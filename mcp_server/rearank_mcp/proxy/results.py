"""The result of another server's tool, with its items in order of relevance."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rearank_agent.errors import InputError, PolicyError, RearankError
from rearank_agent.present.answer import RerankAnswer, estimate_tokens
from rearank_agent.present.faults import why_unranked
from rearank_agent.present.truncate import MIN_TOKENS, rerank_answer
from rearank_agent.redact import redact
from rearank_agent.search.find import Progress
from rearank_agent.text import shorten
from rearank_agent.tool_results.lists import FoundList, find_list, too_few
from rearank_agent.types import Passage, Ranking
from rearank_mcp.service import Service

__all__ = ["META", "ResultReranker"]

_log = logging.getLogger(__name__)

META = "rearank-agent/ranking"
"""Where a result's `_meta` holds the `RerankAnswer` that it was put in order by."""

Result = dict[str, Any]
_QUERY, _NAME = 120, 80  # characters shown
_QUERIES = ("query", "q", "question", "search_query", "search", "keywords")


@dataclass(frozen=True)
class ResultReranker:
    """Puts the items of results in order, and says why.

    Attributes:
        desk: who ranks, within its limits and deadline.
        top_k: the most items to keep.
        query_arg: the argument of a call that holds the query; "": the one named like a query, or
            the only text.
        instruction: one sentence on what relevant means here.
    """

    desk: Service
    top_k: int = 10
    query_arg: str = ""
    instruction: str = ""

    async def sorted(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        result: Result,
        spent: float = 0.0,
        progress: Progress | None = None,
    ) -> Result:
        """The result with its best items alone, best first, and the reasons as a text behind them.

        The form of the result and its items stay as they are. What is an error or holds fewer than
        two items comes back untouched; what could not be put in order, with a note.

        Args:
            tool, arguments: of the call, as it was made.
            result: of the call, as the tool gave it.
            spent: seconds that the tool took.
            progress: called with what is done, how far it is, and of how much.
        """
        lists = _lists(result)
        if result.get("isError") or (not lists and _nothing_to_sort(result)):
            return result
        try:
            return await self._sorted(arguments, result, lists, spent, progress)
        except RearankError as error:
            why = redact(str(error))
            _log.warning("a result of %s is handed on as it came, not reranked: %s", tool, why)
            return _with_text(result, f"note: {tool}'s result as it came, not reranked: {why}")

    async def _sorted(
        self,
        arguments: Mapping[str, Any],
        result: Result,
        lists: Mapping[str, FoundList],
        spent: float,
        progress: Progress | None,
    ) -> Result:
        if not lists:
            raise InputError("it holds no list, or not just one")
        items = next(iter(lists.values()))
        ranking = await self.desk.rank(
            self._query(arguments),
            items.passages,
            self.instruction,
            progress,
            blend=self.desk.reranker.policy.blend,
            spent=spent,
        )
        if why := why_unranked(ranking):
            raise PolicyError(why)
        best = ranking.passages[: self.top_k]
        order = [one.was - 1 for one in best]
        names = [shorten(_name(one.passage), _NAME) for one in best]
        room = max(MIN_TOKENS, self.desk.max_tokens - estimate_tokens("".join(names)))
        answer = rerank_answer(ranking, self.top_k, True, room)
        said = _reasons(ranking, answer, names)
        forms = {"content": "the text above", "structuredContent": "the structured content"}
        as_it_came = [form for key, form in forms.items() if result.get(key) and key not in lists]
        if as_it_came:
            said = f"{as_it_came[0]} is as it came, and not reranked\n{said}"
        arranged = {key: found.arranged(order) for key, found in lists.items()}
        meta = {**(result.get("_meta") or {}), META: asdict(answer)}
        return _with_text({**result, **arranged, "_meta": meta}, said)

    def _query(self, arguments: Mapping[str, Any]) -> str:
        texts = {name: said for name, said in arguments.items() if isinstance(said, str)}
        if self.query_arg:
            if self.query_arg not in texts:
                raise InputError(f"the call has no text as {self.query_arg!r}")
            return texts[self.query_arg]
        named = [name for name in _QUERIES if name in texts]
        if not named and len(texts) != 1:
            raise InputError("it is not clear which argument is the query: see --query-arg")
        return texts[named[0]] if named else next(iter(texts.values()))


def _name(passage: Passage) -> str:
    return passage.title or passage.place or passage.text.strip().partition("\n")[0]


def _reasons(ranking: Ranking, answer: RerankAnswer, names: Sequence[str]) -> str:
    """What a model should know of the order: it sees the items above, but not those left out."""
    n, kept = answer.total, len(names)
    rest = f"; {n - kept} weaker left out" if n > kept else ""
    partial = "; partial: the best order so far" if answer.partial else ""
    head = f"reranked for “{shorten(ranking.query, _QUERY)}”: the best {kept} of {n}"
    lines = (
        f"{line.rank}. [{line.number}] {': '.join(filter(None, (name, line.reason)))}".rstrip()
        for line, name in zip(answer.ranking, names, strict=False)
    )
    end = f"in brackets: the place before; run {answer.run}"
    notes = (f"note: {note}" for note in answer.notes)
    return "\n".join([f"{head}{rest}{partial}", *lines, end, *notes])


def _lists(result: Result) -> dict[str, FoundList]:
    """The list in the structured content and the same in the text, as far as they are there."""
    found = {key: find_list(result.get(key)) for key in ("structuredContent", "content")}
    lists = {key: one for key, one in found.items() if one}
    if len(lists) > 1 and len({json.dumps([*map(_said, o.items)]) for o in lists.values()}) > 1:
        del lists["content"]
    return lists


def _said(item: Any) -> Any:
    """An item itself, or what a text block says, as JSON if it is that."""
    text = item.get("text") if isinstance(item, dict) and item.get("type") == "text" else None
    try:
        return json.loads(text) if isinstance(text, str) else item
    except (ValueError, RecursionError):
        return text


def _nothing_to_sort(result: Result) -> bool:
    """Whether the tool found one thing or none, or this is no answer of a tool yet."""
    content = result.get("content", [])
    if not isinstance(content, list):
        return True
    if (structured := result.get("structuredContent")) is not None:
        return too_few(structured)
    if len(content) > 1:
        return False
    try:
        return not content or too_few(json.loads(content[0]["text"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _with_text(result: Result, text: str) -> Result:
    return {**result, "content": [*(result.get("content") or ()), {"type": "text", "text": text}]}

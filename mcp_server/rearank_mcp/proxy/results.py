"""The result of another server's tool, with its items in order of relevance."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rearank_agent.errors import InputError, PolicyError, RearankError
from rearank_agent.present.answer import RerankAnswer, estimate_tokens
from rearank_agent.present.faults import why_unranked
from rearank_agent.present.truncate import MIN_TOKENS, rerank_answer
from rearank_agent.redact import redact
from rearank_agent.search.find import Progress
from rearank_agent.text import one_line, shorten
from rearank_agent.tool_results.lists import ResultList, find_list
from rearank_agent.tool_results.nothing import too_few
from rearank_agent.types import Passage, Ranking
from rearank_mcp.service import Service

__all__ = ["META", "ResultReranker"]

_log = logging.getLogger(__name__)

META = "rearank-agent/ranking"
"""The key in a result's `_meta` of its `RerankAnswer`."""

Result = dict[str, Any]
_QUERY_LENGTH, _NAME_LENGTH = 120, 80  # characters shown
_UNCLEAR = "it is not clear which argument is the query: see --query-arg"
_QUERY_ARGUMENTS = ("query", "q", "question", "search_query", "search", "keywords")


@dataclass(frozen=True)
class ResultReranker:
    """Reranks the items of tool results, with reasons.

    Attributes:
        service: ranks, within its limits and deadline.
        top_k: maximum number of items to keep.
        query_arg: the argument of a call that holds the query; "": the one named like a query, or
            the only text.
        instruction: one sentence on what relevant means here.
    """

    service: Service
    top_k: int = 10
    query_arg: str = ""
    instruction: str = ""

    async def rerank(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        result: Result,
        spent: float = 0.0,
        progress: Progress | None = None,
    ) -> Result:
        """The result with only its best items, best first, and the reasons in a text block behind.

        The form of the result and its items stay as they are. An error, or a result of fewer than
        two items, comes back unchanged; one that could not be reranked, with a note.

        Args:
            tool, arguments: of the call.
            result: of the call, as the tool gave it.
            spent: seconds that the tool took.
            progress: called with the phase, the steps done, and their number.
        """
        query = self._query(arguments)
        if result.get("isError") or not _is_sound(result):
            return result
        lists = _lists(result, query or "")
        if not lists and _nothing_to_rank(result, query or ""):
            return result
        try:
            return await self._rerank(query, result, lists, spent, progress)
        except RearankError as error:
            why = redact(str(error))
            _log.warning("a result of %s is passed on as it came, not reranked: %s", tool, why)
            note = f"note: {tool}'s result as it came, not reranked: {why}"
            return _with_text(result, one_line(note))

    async def _rerank(
        self,
        query: str | None,
        result: Result,
        lists: Mapping[str, ResultList],
        spent: float,
        progress: Progress | None,
    ) -> Result:
        if not lists:
            raise InputError("it holds no list, or not just one")
        if query is None:
            no_text = f"the call has no text argument {self.query_arg!r}"
            raise InputError(no_text if self.query_arg else _UNCLEAR)
        items = next(iter(lists.values()))
        ranking = await self.service.rank(
            query,
            items.passages,
            self.instruction,
            progress,
            blend=self.service.reranker.policy.blend,
            spent=spent,
        )
        ranking = replace(ranking, faults=(*items.faults, *ranking.faults))
        if why := why_unranked(ranking):
            raise PolicyError(why)
        best = ranking.passages[: self.top_k]
        order = [one.was - 1 for one in best]
        names = [shorten(_name(one.passage), _NAME_LENGTH) for one in best]
        budget = max(MIN_TOKENS, self.service.max_tokens - estimate_tokens("".join(names)))
        answer = rerank_answer(ranking, self.top_k, True, budget)
        reasons = _reasons(ranking, answer, names)
        forms = {"content": "the text above", "structuredContent": "the structured content"}
        as_it_came = [form for key, form in forms.items() if result.get(key) and key not in lists]
        if as_it_came:
            reasons = f"{as_it_came[0]} is as it came, and not reranked\n{reasons}"
        arranged = {key: found.reordered(order) for key, found in lists.items()}
        meta = {**(result.get("_meta") or {}), META: asdict(answer)}
        return _with_text({**result, **arranged, "_meta": meta}, reasons)

    def _query(self, arguments: Mapping[str, Any]) -> str | None:
        """The query in a call's arguments; None if it is not clear which one it is."""
        texts = {name: value for name, value in arguments.items() if isinstance(value, str)}
        if self.query_arg:
            return texts.get(self.query_arg)
        named = [name for name in _QUERY_ARGUMENTS if name in texts]
        if not named and len(texts) != 1:
            return None
        return texts[named[0]] if named else next(iter(texts.values()))


def _name(passage: Passage) -> str:
    return passage.title or passage.place or passage.text.strip().partition("\n")[0]


def _reasons(ranking: Ranking, answer: RerankAnswer, names: Sequence[str]) -> str:
    """The ranking as text for a model, which sees the items above, but not those left out."""
    n, kept = answer.total, len(names)
    rest = f"; {n - kept} weaker left out" if n > kept else ""
    partial = "; partial: the best order so far" if answer.partial else ""
    head = f"reranked for “{shorten(ranking.query, _QUERY_LENGTH)}”: the best {kept} of {n}"
    lines = (
        f"{line.rank}. [{line.number}] {': '.join(filter(None, (name, line.reason)))}".rstrip()
        for line, name in zip(answer.ranking, names, strict=False)
    )
    end = f"in brackets: the place before; run {answer.run}"
    notes = (f"note: {note}" for note in answer.notes)
    return "\n".join(map(one_line, [f"{head}{rest}{partial}", *lines, end, *notes]))


def _is_sound(result: Result) -> bool:
    """Whether the parts that get an addition have the type that the protocol says."""
    content, meta = result.get("content") or [], result.get("_meta") or {}
    return isinstance(content, list) and isinstance(meta, dict)


def _lists(result: Result, query: str) -> dict[str, ResultList]:
    """The list in the structured content, and the same list in the text, if they are there."""
    parts = {key: result.get(key) for key in ("structuredContent", "content")}
    found = {key: find_list(part, query) for key, part in parts.items()}
    lists = {key: one for key, one in found.items() if one}
    if (
        len(lists) > 1
        and len({json.dumps([*map(_item_value, o.items)]) for o in lists.values()}) > 1
    ):
        del lists["content"]
    return lists


def _item_value(item: Any) -> Any:
    """An item itself, or a text block's text, decoded if it is JSON."""
    text = item.get("text") if isinstance(item, dict) and item.get("type") == "text" else None
    try:
        return json.loads(text) if isinstance(text, str) else item
    except (ValueError, RecursionError):
        return text


def _nothing_to_rank(result: Result, query: str) -> bool:
    """Whether the tool found one item or none, or has not answered yet."""
    content = result.get("content", [])
    if content is None:
        return True
    structured = result.get("structuredContent")
    if structured is None:
        return too_few(content, query)
    holders = structured.values() if isinstance(structured, dict) else [structured]
    decisive = any(isinstance(one, list | dict) for one in holders)
    return too_few(structured, query) and (decisive or too_few(content, query))


def _with_text(result: Result, text: str) -> Result:
    return {**result, "content": [*(result.get("content") or ()), {"type": "text", "text": text}]}

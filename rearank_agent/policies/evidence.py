"""Evidence: the sentence of a passage that is quoted for a query, by terms and by vectors.

For every sentence four things are added up, and the highest sum is quoted:

- the identifiers of the query (numbers, versions, dates, codes, file and function names), whole;
- its other terms, names above the rest;
- whether the sentence is negated, as the query is;
- how near its vector lies to the query's, where the policy has vectors.

A term counts by how few sentences of the passage hold it: one that all hold decides nothing.
A sentence also has part of the terms of what it continues: of its heading, of the sentence that its
"it" or "she" stands for, of the question that it answers, and the plain words of the first,
which gives the topic. No line of one word and none that only repeats the query is quoted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from rearank_agent.text import QueryTerms, Tokenizer, content_tokens, identifiers, sentences, words
from rearank_agent.types import Quote

__all__ = ["MAX_CHARACTERS", "EvidenceQuery", "Nearness"]

MAX_CHARACTERS = 32_768
"""Of a passage, searched for evidence."""
MAX_TERMS = 64
"""Of a query, and as many identifiers: a pasted document would be looked up in every sentence."""
MIN_WORDS = 3
"""Of a sentence that is quoted; two are enough with a term of the query: `timeout: 30`."""

Nearness = Callable[[Quote], float]
"""How near a sentence lies to the query, -1 to 1; 0 where that is not known."""

# Weights, chosen on the design half of benchmarks/data/evidence.jsonl. An identifier outweighs any
# difference of nearness there is between sentences of one passage; a plain word does not.
_IDENTIFIER, _NAME, _WORD = 36.0, 4.0, 1.0
_NEGATED, _PLAIN = 4.0, 1.0
_NEARNESS = 24.0
_QUESTION = 8.0
_PART = 0.5
"""Of an identifier's weight, where a longer one begins or ends with it."""
_REFERRED = 0.95
"""Of a term's weight, where the heading or sentence that this one continues holds it."""
_TOPIC = 0.9
"""Of a plain word's weight, where the first sentence holds it; a row of a list has no topic."""

_NEGATION = re.compile(
    r"\b(?:not?|never|none|nor|neither|without|cannot|nothing|nobody|lacks?)\b|n['’]t\b",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(r"\s*(?:is|are|was|were|does?|did|can|may|has|have|will)\b", re.IGNORECASE)
_REFERS_BACK = re.compile(r"(?:it|its|he|his|she|her|they|their|this|these)\b", re.IGNORECASE)
_HEADING = re.compile(r"#+\s|.*:$", re.DOTALL)
_ROW = re.compile(r"[-*+•]\s|.*[|\t]|[^\s:=,;]+(?: [^\s:=,;]+){0,2} ?[:=,;]")
_CAPITAL_WITHIN = re.compile(r"(?<=[\w,;] )[^\W\d_]+")


@dataclass(frozen=True)
class _Sentence:
    quote: Quote
    text: str
    tokens: frozenset[str]
    identifiers: frozenset[tuple[str, ...]]
    words: int
    repeats: bool
    is_row: bool

    @property
    def is_heading(self) -> bool:
        return self.repeats or bool(_HEADING.match(self.text))

    @property
    def is_question(self) -> bool:
        return self.text[-1] in "?？"


@dataclass(frozen=True)
class EvidenceQuery:
    """A query, prepared to pick its evidence from passages; it depends on nothing else.

    Attributes:
        identifiers: its numbers, versions, dates, codes, file and function names.
        terms: its other terms, as tokens.
        names: those of them that are written as names.
        negation: what a negation adds to a sentence: above 0 if the query has one, below if it
            has none, 0 if it asks whether there is one.
    """

    identifiers: tuple[tuple[str, ...], ...]
    terms: tuple[str, ...]
    names: frozenset[str]
    negation: float
    tokenizer: Tokenizer

    @classmethod
    def of(cls, query: str, tokenizer: Tokenizer = words) -> EvidenceQuery:
        """Prepare a query."""
        tokens = QueryTerms.of(query, tokenizer).tokens
        negated = bool(_NEGATION.search(query))
        return cls(
            identifiers=tuple(dict.fromkeys(identifiers(query)))[:MAX_TERMS],
            terms=tuple(token for token in tokens if not _has_digit(token))[:MAX_TERMS],
            names=_names(query, tokenizer),
            negation=_NEGATED if negated else 0.0 if _YES_OR_NO.match(query) else -_PLAIN,
            tokenizer=tokenizer,
        )

    def quotes(self, text: str, nearness: Nearness | None = None) -> tuple[Quote, ...]:
        """The sentence to quote; none if no sentence has enough words.

        Without `nearness` there is none either if the passage holds no term of the query.
        """
        head = text[:MAX_CHARACTERS]
        cut = [self._sentence(quote, text) for quote in sentences(head)]
        rows = list(self._rows(cut, self.names | _names(head, self.tokenizer)))
        best, highest = None, -math.inf
        for number, one in enumerate(cut):
            score = sum(row.weight * row.shown[number] for row in rows)
            score += self.negation if _NEGATION.search(one.text) else 0.0
            score -= _QUESTION if one.is_question else 0.0
            score += _NEARNESS * nearness(one.quote) if nearness else 0.0
            if score > highest and self._may_stand(one, number, rows, bool(nearness)):
                best, highest = one.quote, score
        return (best,) if best else ()

    def _may_stand(
        self, one: _Sentence, number: int, rows: Sequence[_Row], has_vectors: bool
    ) -> bool:
        """Whether a sentence says enough to be quoted."""
        holds = any(row.held[number] for row in rows)
        concerned = has_vectors or any(row.shown[number] for row in rows)
        enough = one.words >= MIN_WORDS - holds and (holds or not one.is_heading)
        return enough and concerned and not one.repeats

    def _sentence(self, quote: Quote, whole: str) -> _Sentence:
        text = whole[quote.start : quote.end]
        named = identifiers(text)
        plain = [word for word in self.tokenizer(text) if not _has_digit(word)]
        tokens = frozenset(content_tokens(text, self.tokenizer))
        more = {token for token in tokens if not _has_digit(token)}.difference(self.terms)
        return _Sentence(
            quote,
            text,
            tokens=tokens,
            identifiers=frozenset(named),
            words=len(plain) + len(named),
            repeats=text[-1] not in ".!?" and not more and set(named) <= set(self.identifiers),
            is_row=bool(_ROW.match(text)) and whole[: quote.start].rstrip(" ")[-1:] in ("", "\n"),
        )

    def _rows(self, cut: Sequence[_Sentence], names: frozenset[str]) -> Iterator[_Row]:
        continued = _continued(cut)
        nothing = [0.0] * len(cut)
        for name in self.identifiers:
            yield _Row.of(_IDENTIFIER, [_match(name, one) for one in cut], continued, nothing)
        for term in self.terms:
            held = [float(term in one.tokens) for one in cut]
            if term in names:
                yield _Row.of(_NAME, held, continued, nothing)
            else:
                topic = [0.0 if one.is_row else _TOPIC for one in cut]
                yield _Row.of(_WORD, held, continued, topic)


@dataclass(frozen=True)
class _Row:
    """A term of the query in the sentences of a passage.

    Attributes:
        weight: of the term here.
        held: for each sentence how far it holds the term, 0 to 1.
        shown: the same, with what it has of the sentences that it continues.
    """

    weight: float
    held: list[float]
    shown: list[float]

    @classmethod
    def of(
        cls,
        weight: float,
        held: list[float],
        continued: list[tuple[int, ...]],
        topic: list[float],
    ) -> _Row:
        shown = []
        for number, (own, others) in enumerate(zip(held, continued, strict=True)):
            referred = max((held[other] for other in others), default=0.0)
            of_itself = own if number not in others else 0.0
            shown.append(max(of_itself, _REFERRED * referred, topic[number] * held[0]))
        rarity = math.log(len(held) / max(1.0, sum(held))) if any(held) else 0.0
        return cls(weight * rarity, held, shown)


def _match(name: tuple[str, ...], sentence: _Sentence) -> float:
    """1 if the sentence holds the identifier, a part if a longer one begins or ends with it."""
    if name in sentence.identifiers:
        return 1.0
    n, worded = len(name), not all(map(str.isdigit, name))
    part = any(
        other[:n] == name or (worded and other[-n:] == name) or _numbers(other) == name
        for other in sentence.identifiers
    )
    return _PART if part else 0.0


def _numbers(code: tuple[str, ...]) -> tuple[str, ...]:
    """The number that a code with letters ends with: 4471 of A-4471, INV4471 and SO/2024/4471."""
    number = code[-1].lstrip(ascii_lowercase)
    lettered = number != code[-1] or any(map(str.isalpha, code[:-1]))
    return (number,) if lettered and number.isdigit() else ()


def _continued(cut: Sequence[_Sentence]) -> list[tuple[int, ...]]:
    """For each sentence those it continues: its heading, and the one it refers to or answers.

    A heading continues itself, so that it has no more of its terms than what it stands above.
    """
    found: list[tuple[int, ...]] = []
    heading: tuple[int, ...] = ()
    for number, one in enumerate(cut):
        before = cut[number - 1] if number else None
        back = before and (before.words <= 1 or before.is_question or _REFERS_BACK.match(one.text))
        heading = (number,) if one.is_heading else heading
        found.append((*heading, number - 1) if back else heading)
    return found


def _names(text: str, tokenizer: Tokenizer) -> frozenset[str]:
    """The tokens of words that have a capital although no sentence begins there."""
    capital = [word for word in _CAPITAL_WITHIN.findall(text) if word[0].isupper()]
    return frozenset(content_tokens(" ".join(capital), tokenizer))


def _has_digit(word: str) -> bool:
    return not word.isalpha() and any(map(str.isdigit, word))

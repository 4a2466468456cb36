"""The values all parts exchange: frozen, with one versioned JSON form.

Positions are counted from 0 and ranks from 1. A *window* is a tuple of positions in
`Task.candidates`; everything in a `Reply` is aligned with its window.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from rearank_agent.errors import InputError, shown
from rearank_agent.json_text import check_text, parse_json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "NO_ANSWER", "VERSION", "Fault", "Passage", "Quote", "Ranked", "Ranking", "Rationale", "Reply",
    "Step", "Task", "Usage", "Window", "check_text", "id_text",
]  # fmt: skip

VERSION = 1
"""Version of the JSON form. It rises when a reader of the old form would misread the new one."""

Window = tuple[int, ...]


class Value:
    """A value with a versioned JSON form: `{"kind": ..., "version": 1, ...fields}`."""

    __slots__ = ()

    def to_json(self, indent: int | None = None) -> str:
        """The value as JSON; `from_json` gives back an equal one.

        Raises:
            InputError: the `meta` of a passage is no JSON, or holds half a character.
        """
        kind = type(self).__name__.lower()
        try:
            data = {"kind": kind, "version": VERSION} | _adapter(type(self)).dump_python(
                self, warnings="none"
            )
            text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
            text.encode()  # not of half a character
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"this {kind} cannot be written as JSON: {error}") from None
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: not JSON, another kind or version, or a field of the wrong type.
        """
        kind = cls.__name__.lower()
        try:
            fields = _fields(text if isinstance(text, str) else text.decode(), kind)
            value: Self = _adapter(cls).validate_json(fields, strict=True)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"not the JSON of a {kind}: {error}") from None
        return value


def _fields(text: str, kind: str) -> str:
    """The JSON of a value's fields, without kind and version."""
    head = f'{{"kind": "{kind}", "version": {VERSION}, '
    if text.startswith(head):  # our own output need not be parsed twice
        return "{" + text[len(head) :]
    data = parse_json(text)
    if not isinstance(data, dict) or data.pop("kind", None) != kind:
        raise InputError(f'not the JSON of a {kind}: it must hold "kind": "{kind}"')
    if (version := data.pop("version", None)) != VERSION:
        raise InputError(f"a {kind} of version {version}; this program reads {VERSION}")
    return json.dumps(data)


_adapters: dict[type[Value], TypeAdapter[Any]] = {}


def _adapter(kind: type[Value]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        from pydantic import TypeAdapter  # only JSON needs it, and it is slow to import

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def id_text(value: object, what: str) -> str:
    """An id as text: a string as it is, an integer (numpy's too) in decimal digits.

    Raises:
        InputError: it is neither; True and 1.0 are no integers.
    """
    plain = _python_value(value)
    if isinstance(plain, int) and not isinstance(plain, bool):
        with suppress(ValueError):  # Python writes no more than 4,300 digits
            return str(plain)
    if not isinstance(plain, str):
        kind = type(value).__name__
        raise InputError(f"{what} must be a string or an integer, not {kind}: {shown(value)}")
    check_text(plain, what)
    return plain


def _finite(value: object, what: str) -> float:
    """A number of Python, numpy or a one-element tensor as Python's, if it is finite."""
    plain: Any = _python_value(value)
    with suppress(Exception):  # `__float__` of a foreign object may raise anything
        if not isinstance(plain, int | float) and hasattr(plain, "__float__"):
            plain = float(plain)  # of Decimal, Fraction, and numpy's longdouble
        if isinstance(plain, int | float) and not isinstance(plain, bool) and math.isfinite(plain):
            return float(plain)
    raise InputError(f"{what} must be a finite number: {shown(value)}")


def _python_value(value: Any) -> Any:
    """What `item()` of a scalar of numpy or torch gives; anything else as it is."""
    if type(value) in (str, int, float) or not callable(getattr(value, "item", None)):
        return value
    with suppress(Exception):  # an array of several elements, a foreign object
        return value.item()
    return value


@dataclass(frozen=True, slots=True)
class Passage(Value):
    """A piece of text that may answer a query.

    Attributes:
        id: names the passage; unique in a request. An integer becomes its decimal digits.
        text: what is ranked. Equal texts are allowed, and stay separate passages.
        title: put in front of the text; None is no title.
        score: the first stage's score, if there is one; any finite number, also of numpy.
        place: where it comes from, for a person: a path and lines, a URL.
        meta: the caller's own; passed through untouched. JSON values.
    """

    id: str
    text: str
    title: str = ""
    score: float | None = None
    place: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        put("id", id_text(self.id, "a passage's id"))
        for name in ("title", "place"):
            if getattr(self, name) is None:
                put(name, "")
        for name in ("text", "title", "place"):
            check_text(getattr(self, name), f"the {name} of passage {self.id!r}")
        if self.score is not None:
            put("score", _finite(self.score, f"the score of passage {self.id!r}"))

    @property
    def content(self) -> str:
        """Title and text, as a policy reads them."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Task(Value):
    """One request, as every policy sees it.

    Attributes:
        run: names the request; unique.
        query: what is asked; never empty.
        instruction: one sentence on what relevant means here; may be empty.
        candidates: in first-stage order.
        deadline: seconds the request may take, from its start; None for no limit.
    """

    run: str
    query: str
    instruction: str = field(default="", hash=False)
    candidates: tuple[Passage, ...] = field(default=(), hash=False)
    deadline: float | None = field(default=None, hash=False)

    def ids(self, window: Iterable[int]) -> tuple[str, ...]:
        """The ids of the passages at these positions."""
        return tuple(self.candidates[position].id for position in window)


@dataclass(frozen=True, slots=True)
class Fault(Value):
    """Something that was repaired, left out or done otherwise than asked.

    Attributes:
        kind: a word to count by; docs/faults.md lists them.
        ids: the passages it concerns; empty when it concerns the request.
        detail: one sentence for a person.
    """

    kind: str
    ids: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Quote(Value):
    """The characters `start` to `end` (exclusive) of a passage's text, verbatim."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Rationale(Value):
    """Why a passage has its rank.

    Attributes:
        text: the model's own reasons; empty if it gave none.
        quotes: the evidence, best first.
        has: the query's terms found in the passage.
        lacks: the query's terms not found in it.
    """

    text: str = ""
    quotes: tuple[Quote, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage(Value):
    """The cost of a call, a window or a request.

    Attributes:
        calls: requests to a model, retries included.
        turns: rounds of windows, one after the other.
        hits: windows answered from cached replies.
        prompt_tokens: of all prompts.
        cached_tokens: those of them the server had in its cache, where it reports that.
        thought_tokens, answer_tokens: of the replies. Where the server reports only their
            sum, it is divided in proportion to the characters.
        seconds: wall-clock time.
    """

    calls: int = 0
    turns: int = 0
    hits: int = 0
    prompt_tokens: int = 0
    thought_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, n) + getattr(other, n) for n in Usage.__slots__))


NO_ANSWER = frozenset({"failed", "unreadable"})
"""The faults after which a window keeps its order."""


@dataclass(frozen=True, slots=True)
class Reply(Value):
    """A policy's result for one window of n passages.

    Attributes:
        order: a permutation of `range(n)`, best first.
        scores: n numbers, higher is better, or None from a policy that only orders.
        rationales: n, or none at all.
        confidence: n numbers from 0 to 1, or none at all, from policies that ask more than once.
        reasoning: the model's reasoning; secrets are shown as ***.
        faults: what was repaired to complete this reply.
        usage: its cost.
        raw: the model's own n numbers, where `scores` maps them to 0 to 1; else none.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...] | None = None
    rationales: tuple[Rationale, ...] = ()
    confidence: tuple[float, ...] = ()
    reasoning: str = ""
    faults: tuple[Fault, ...] = ()
    usage: Usage = Usage()
    raw: tuple[float, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the policy gave an order; else the window keeps its own."""
        return NO_ANSWER.isdisjoint(fault.kind for fault in self.faults)


@dataclass(frozen=True, slots=True)
class Step(Value):
    """One ranked window: its reply, its turn (from 1), and how long it took.

    `judge` is the number of the policy that ranked it, from 0, where there are several.
    """

    turn: int
    window: Window
    reply: Reply
    seconds: float
    judge: int = 0


@dataclass(frozen=True, slots=True)
class Ranked(Value):
    """A passage in its new place.

    Attributes:
        passage: as it was given.
        rank: from 1.
        was: its rank in the list that was given, from 1.
        score: falls with rank; what it measures depends on the policy (and the blend).
        scored: whether the policy gave the score (or a blend); otherwise it is 1 - (rank - 1) / n.
        rationale: why; None when the policy gave none.
        confidence: 0 to 1, from policies that ask more than once; None from others.
        relevance: the policy's own score from 0 to 1 by a fixed map, without the blend; None
            where it gave none that compares.
    """

    passage: Passage
    rank: int
    was: int
    score: float
    scored: bool
    rationale: Rationale | None = None
    confidence: float | None = None
    relevance: float | None = None

    @property
    def id(self) -> str:
        """The passage's id."""
        return self.passage.id

    @property
    def text(self) -> str:
        """The passage's text."""
        return self.passage.text

    @property
    def evidence(self) -> str:
        """The best quote from the passage; without one, the rationale's text; else ''."""
        if self.rationale is None:
            return ""
        quoted = [self.text[quote.start : quote.end] for quote in self.rationale.quotes[:1]]
        return quoted[0] if quoted else self.rationale.text


@dataclass(frozen=True, slots=True)
class Ranking(Value):
    """The complete answer to a request; every passage is in it exactly once.

    Attributes:
        policy: the policy's fingerprint.
        schedule: the schedule's name.
        passages: best first.
        steps: every window that was ranked, in time order.
        faults: everything that was repaired or left out, in the whole request.
        partial: whether the deadline or a failure ended it early, or no window has an answer.
        blend: the weight of the first stage's `blend_by`, rank or score, in the scores; 0 for none.
        judges: the names of the policies it is made of, where there are several.
    """

    run: str
    query: str
    instruction: str
    policy: str
    schedule: str
    passages: tuple[Ranked, ...]
    steps: tuple[Step, ...] = ()
    faults: tuple[Fault, ...] = ()
    partial: bool = False
    usage: Usage = Usage()
    blend: float = 0.0
    blend_by: str = "rank"
    judges: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The passages' ids, best first."""
        return tuple(ranked.id for ranked in self.passages)

    def above(self, min_score: float) -> tuple[Ranked, ...]:
        """The passages whose relevance is at least `min_score`, 0 to 1, best first.

        A passage that the last stage of a cascade did not rank is not among them.

        Raises:
            InputError: the number is out of range, or no passage has a relevance, since the
                policy gives orders only or failed.
        """
        if not 0 <= min_score <= 1:
            raise InputError(f"a minimum score is a number from 0 to 1: {min_score}")
        if all(ranked.relevance is None for ranked in self.passages):
            raise InputError(
                "a minimum score needs scores that compare, and this ranking has an order only"
            )
        return tuple(
            r for r in self.passages if r.relevance is not None and r.relevance >= min_score
        )

    @property
    def judged(self) -> bool:
        """Whether the policy gave an order for any window; else the order is the one given."""
        return any(step.reply.answered for step in self.steps)

"""The words of listwise reranking: what we ask, how an order is said, what we accept as one.

Training, serving and evaluation all use these three functions, so that what is rewarded is
what is served and what is measured (REARANK, arXiv 2505.20046, section 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from rearank_agent.listwise.sanitize import neutral, without_controls
from rearank_agent.listwise.template import Template, fill
from rearank_agent.text import sentences
from rearank_agent.types import Fault, Passage, Rationale

__all__ = [
    "BEST_SCORE",
    "FORMAT_VERSION",
    "Asked",
    "Format",
    "Message",
    "Reading",
    "ask",
    "ask_again",
    "begin_answer",
    "glue",
    "identifiers",
    "read",
    "say",
]

FORMAT_VERSION = 1
"""Of the form of messages and answers; part of a policy's fingerprint."""

BEST_SCORE = 10.0
"""Where scores are asked for; the worst is 0."""

Format = Literal["order", "scores"]

_TAG = re.compile(r"<(/?)(think|answer)\s*>", re.IGNORECASE)
_IDENTIFIER = re.compile(r"\[\s*([0-9]+)\s*\]")
_SCORED = re.compile(r"\[\s*([0-9]+)\s*\]\s*[:=]?\s*([0-9]+(?:\.[0-9]+)?)")
_CHAIN: dict[Format, re.Pattern[str]] = {
    "order": re.compile(r"\s*(?:\[\s*[0-9]+\s*\]\s*+[>,]?\s*+)+"),
    "scores": re.compile(
        r"\s*(?:\[\s*[0-9]+\s*\]\s*+[:=]?\s*+[0-9]++(?:\.[0-9]++)?\s*+[,;]?\s*+)+"
    ),
}
_MENTION = re.compile(r"\[\s*([0-9]{1,6})\s*\]|\b[Pp]assages? ([0-9]{1,6})\b")
_SILENT = Rationale()
_OTHERWISE = "tags, control tokens or bracketed numbers were shown in other brackets"


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The messages of one window, and what was cut or neutralised to write them."""

    messages: tuple[Message, ...]
    faults: tuple[Fault, ...]


def ask(
    query: str,
    passages: Sequence[Passage],
    *,
    instruction: str = "",
    form: Format = "order",
    think: bool = True,
    template: Template | None = None,
    cut: int = 1200,
) -> Asked:
    """The messages that ask for the order, or the scores, of one window.

    Args:
        query: never cut.
        passages: the window; the model knows them as [1] to [n].
        instruction: one sentence on what relevant means here.
        form: of the answer.
        think: whether to ask for a thought before the answer.
        template: other words than the package's own.
        cut: the most characters of a passage's content that are shown.
    """
    words = template or Template.default()
    told = fill(words.instruction, instruction=neutral(instruction)) if instruction else ""
    common = {"query": neutral(query), "n": len(passages)}
    closing = f"{words.think if think else words.direct}\n{getattr(words, form)}"

    turns: list[Message] = []
    if words.system:
        turns.append({"role": "system", "content": fill(words.system, **common)})
    turns += _exchange(fill(words.opening, **common, instruction=told), words.opening_reply)
    contents = [passage.content.strip() for passage in passages]
    shown = [_shortened(content, cut) for content in contents]
    safe = [neutral(text) for text in shown]
    for number, text in enumerate(safe, 1):
        turn = fill(words.passage, **common, number=number, text=text)
        turns += _exchange(turn, fill(words.passage_reply, number=number))
    turns.append({"role": "user", "content": fill(closing, **common)})
    short = _where(passages, contents, shown)
    faults = []
    if short:
        faults.append(Fault("cut", short, f"only the first {cut} characters were shown"))
    if (steering := _where(passages, shown, safe)) or neutral(
        asked := query + instruction
    ) != asked:
        faults.append(Fault("neutralised", steering, _OTHERWISE))
    return Asked(tuple(turns), tuple(faults))


def _exchange(said: str, answered: str) -> list[Message]:
    return [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]


def _shortened(content: str, cut: int) -> str:
    if len(content) <= cut:
        return content
    head = content[:cut]
    return head.rsplit(maxsplit=1)[0] if re.search(r"\s", head) else head


def _where(
    passages: Sequence[Passage], before: Sequence[str], after: Sequence[str]
) -> tuple[str, ...]:
    changes = zip(passages, before, after, strict=True)
    return tuple(passage.id for passage, old, new in changes if old != new)


def ask_again(
    asked: Sequence[Message], reply: str, form: Format = "order", template: Template | None = None
) -> tuple[Message, ...]:
    """The messages that ask once more, for the answer alone, after a reply that held none."""
    words = template or Template.default()
    told: Message = {"role": "assistant", "content": _plain(reply) or "..."}
    last: Message = {"role": "user", "content": f"{words.again}\n{getattr(words, form)}"}
    return (*asked, told, last)


def begin_answer(reply: str) -> str:
    """The reply as a closed thought with an answer begun: what a server is to go on from.

    Two line ends follow the thought, as the chat templates of thinking models write it.
    """
    thought = _plain(reply)
    return f"<think>\n{thought}\n</think>\n\n<answer>" if thought else "<answer>"


def glue(thought: str, answer: str, *, ended: bool = True) -> str:
    """A reply as one text, when its thought came apart from it.

    Args:
        thought: without a thought the answer is the reply.
        answer: what came beside it.
        ended: whether the thought came to its end; one that did not is no answer.
    """
    if not thought:
        return answer
    end = "\n</think>\n" if ended else ""
    return f"<think>\n{_plain(thought)}{end}{answer}"


def _plain(said: str) -> str:
    """What a model said, without tags and control tokens: it goes into a prompt again."""
    return without_controls(_TAG.sub("", said)).strip()


def identifiers(n: int, form: Format = "order") -> str:
    """A regular expression of the rest of an answer: n identifiers of the window, and its end."""
    one = rf"\[({'|'.join(str(number) for number in range(1, n + 1))})\]"
    one, between = (one, " > ") if form == "order" else (f"{one} (10|[0-9])", ", ")
    return f"{one}({between}{one}){{{n - 1}}}</answer>"


def say(order: Iterable[int], thought: str = "", scores: Sequence[float] | None = None) -> str:
    """A whole reply in the form we ask for; `read` takes it back.

    Args:
        order: positions from 0, best first.
        thought: put in front inside its tags; none gives a direct answer.
        scores: one per position, 0 to 10; given, the answer says them instead of the order.
    """
    if scores is None:
        answer = " > ".join(f"[{position + 1}]" for position in order)
    else:
        answer = ", ".join(f"[{position + 1}] {scores[position]:g}" for position in order)
    head = f"<think>\n{thought}\n</think>\n" if thought else ""
    return f"{head}<answer>{answer}</answer>"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says of a window of n passages.

    Attributes:
        order: always a permutation of `range(n)`; as it was if the reply is not readable.
        scores: n numbers from 0 to 10 when scores were asked for and read; else None.
        readable: whether there was an answer at all.
        thought: the reasoning in front of the answer, without its tags.
        rationales: n; the thought's sentences about each passage.
        faults: what was mended.
    """

    order: tuple[int, ...]
    scores: tuple[float, ...] | None
    readable: bool
    thought: str
    rationales: tuple[Rationale, ...]
    faults: tuple[Fault, ...]


def read(text: str, n: int, form: Format = "order", ids: Sequence[str] = ()) -> Reading:
    """Read a reply; any string whatever gives a permutation.

    The answer is the last complete `<answer>` outside the thought or, where no tag stands at
    all, a bare chain of identifiers that is the whole reply. A thought without an end is no
    answer. Only bracketed identifiers count.

    Args:
        text: the reply as it came.
        n: the number of passages in the window.
        form: what was asked for.
        ids: the passages' own ids, to name them in faults.
    """
    thought, answer = _split(text, form)
    rationales = _rationales(thought, n)
    said = _SCORED.findall(answer) if form == "scores" else _IDENTIFIER.findall(answer)
    found: dict[int, float] = {}
    foreign: list[str] = []
    repeated: list[int] = []
    for item in said:
        number, score = item if isinstance(item, tuple) else (item, "0")
        position = int(number) - 1 if len(number) <= 6 else -1
        if not 0 <= position < n or float(score[:9]) > BEST_SCORE:
            foreign.append(f"[{number:.9}]")
        elif position in found:
            repeated.append(position)
        else:
            found[position] = float(score)
    missing = [position for position in range(n) if position not in found]
    if not found and n:
        detail = "no answer could be read; the window keeps its order"
        unreadable = Fault("unreadable", tuple(ids), detail)
        return Reading(tuple(range(n)), None, False, thought, rationales, (unreadable,))

    faults = tuple(_repairs(missing, repeated, foreign, ids))
    if form == "order":
        return Reading((*found, *missing), None, True, thought, rationales, faults)
    scores = tuple(found.get(position, 0.0) for position in range(n))
    order = sorted(range(n), key=lambda position: (position not in found, -scores[position]))
    return Reading(tuple(order), scores, True, thought, rationales, faults)


def _split(text: str, form: Format) -> tuple[str, str]:
    """Thought and answer; an empty answer where none can be trusted."""
    tags = [(t[1] + t[2].lower(), t.start(), t.end()) for t in _TAG.finditer(text)]
    if not tags:
        return "", text if _CHAIN[form].fullmatch(text) else ""
    closed = next((tag for tag in reversed(tags) if tag[0] == "/think"), None)
    thought, start = (text[: closed[1]], closed[2]) if closed else ("", 0)
    endless = next((tag for tag in tags if tag[0] == "think" and tag[1] >= start), None)
    end = endless[1] if endless else len(text)
    if endless:
        thought += text[endless[2] :]
    opened, answer = -1, ""
    for name, at, after in tags:
        if start <= at < end:
            if name == "answer":
                opened = after
            elif name == "/answer" and opened >= 0:
                opened, answer = -1, text[opened:at]
    return _TAG.sub("", thought).strip(), answer


def _repairs(
    missing: list[int], repeated: list[int], foreign: list[str], ids: Sequence[str]
) -> Iterable[Fault]:
    def named(positions: Iterable[int]) -> tuple[str, ...]:
        return tuple(ids[position] for position in dict.fromkeys(positions)) if ids else ()

    if missing:
        yield Fault("missing", named(missing), f"{len(missing)} left out; put last as they stood")
    if repeated:
        yield Fault("repeated", named(repeated), f"{len(repeated)} repeats; the first one counts")
    if foreign:
        listed = ", ".join(foreign[:9])
        yield Fault("foreign", (), f"{len(foreign)} not of this window or scale: {listed}")


def _rationales(thought: str, n: int) -> tuple[Rationale, ...]:
    """The sentences that name at most three passages, each with those that follow on its line."""
    about: dict[int, list[str]] = {}
    speaking_of: list[int] = []
    last_end = 0
    for span in sentences(thought):
        sentence = thought[span.start : span.end]
        numbers = {int(a or b) - 1 for a, b in _MENTION.findall(sentence)}
        same_line = "\n" not in thought[last_end : span.start]
        last_end = span.end
        if numbers:
            speaking_of = sorted(numbers) if len(numbers) <= 3 else []
        elif not same_line or len(speaking_of) != 1:
            speaking_of = []
        for position in speaking_of:
            about.setdefault(position, []).append(sentence)
    said = {position: Rationale(" ".join(texts)) for position, texts in about.items()}
    return tuple(said.get(position, _SILENT) for position in range(n))

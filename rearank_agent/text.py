"""Tokens, query terms and sentences: what policies without a language model give as evidence.

The whole package tokenizes with these functions, so that a term shown as found is a term the
first stage could have found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from unicodedata import category

from rearank_agent.types import Quote, Rationale

__all__ = [
    "UNSPACED_SCRIPTS", "QueryTerms", "Tokenizer", "bigrams", "content_tokens", "identifiers",
    "json_line", "one_line", "printable", "sentences", "shorten", "text_hash", "text_line",
    "visible", "whole_characters", "words",
]  # fmt: skip

Tokenizer = Callable[[str], list[str]]

_STOP = frozenset(
    """a about an and are as at be been but by can could did do does for from had has have he her
    his how i if in into is it its me my no not of on or our out she should so some such than that
    the their them then there these they this those to up us was we were what when where which who
    whom whose why will with would you your""".split()  # noqa: SIM905 - a list of quotes would fill a page
)
UNSPACED_SCRIPTS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_OBEYED = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
_WORD = re.compile(rf"[{UNSPACED_SCRIPTS}]+|[^\W_{UNSPACED_SCRIPTS}]+(?:'[a-z]\b)?")
_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
# A sentence begins in lower case where that is a name of code, or where the word before is too
# long for an abbreviation.
_SENTENCE_END = re.compile(
    r"(?=\s)(?:(?<=[.!?…])|(?<=[.!?…][\"'”’)\]]))"
    r"(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|Ms|St|vs|No)\.)(?<!\b(?:Mrs|etc|e\.g|i\.e)\.)\s+(?=[^\sa-z]|\w+(?:[._]\w|\(|[A-Z])|(?<=[a-z0-9]{5}\.\s)(?<!approx\.\s)[a-z])"
    r"|(?<=[。！？])|(?=\s)(?<!\s)\s*\n\s*"
)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?,?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = tuple(
    re.compile(rf"\b{form},? (?P<year>\d{{4}})\b", re.IGNORECASE)
    for form in (rf"{_DAY}\.? (?:of )?{_MONTH}", rf"{_MONTH} {_DAY}", _MONTH)
)
_YEAR = re.compile(r"\d{4}")
_THOUSANDS = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")
_IDENTIFIER = re.compile(r"[a-zA-Z0-9_]+(?:(?:[.\-/@+]|(?<=\d):(?=\d))[a-zA-Z0-9_]+)*")
_LOOKS_CHOSEN = re.compile(r"\d|[a-zA-Z0-9][._/@][a-zA-Z0-9]|[a-z][A-Z]")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)*)([a-z]{1,3})")
_JOINT = re.compile(r"[._\-/@+:]+")


def whole_characters(text: str) -> str:
    """The text with lone surrogates, halves of a character, as U+FFFD: UTF-8 cannot hold them."""
    return text if text.isascii() else _LONE_SURROGATE.sub(_REPLACEMENT, text)


def text_hash(text: str) -> int:
    """A text as a number of 64 bits, below 0 for half of them: what it is known by in a store."""
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def words(text: str) -> list[str]:
    """The words of a text in order, lower case; scripts without spaces give pairs of letters."""
    all_words: list[str] = _WORD.findall(text.lower())
    if not _UNSPACED.search(text):  # nearly always, and looking at every word takes longer
        return all_words
    found: list[str] = []
    for word in all_words:
        if _UNSPACED.match(word):
            found.extend(_pairs(word))
        else:
            found.append(word)
    return found


def bigrams(text: str) -> list[str]:
    """The pairs of neighbouring letters of every word, in order: fit for any script."""
    return [pair for word in _WORD.findall(text.lower()) for pair in _pairs(word)]


def _pairs(word: str) -> list[str]:
    return [word[i : i + 2] for i in range(max(1, len(word) - 1))]


def stems(words: Sequence[str]) -> list[str]:
    """Each word without its English ending."""
    return [_stem(word) for word in words]


@cache
def _stemmer() -> Callable[[str], str]:
    from Stemmer import Stemmer

    stemmer = Stemmer("english", 0)
    return lambda word: stemmer.stemWord(word)


_stems: dict[str, str] = {}


def _stem(word: str) -> str:
    if (stem := _stems.get(word)) is None:
        if len(_stems) > 500_000:
            _stems.clear()
        stem = _stems[word] = _stemmer()(word)
    return stem


def content_tokens(text: str, tokenizer: Tokenizer = words) -> list[str]:
    """The tokens that BM25 counts: words without function words, stemmed."""
    return stems([word for word in tokenizer(text) if word not in _STOP])


def identifiers(text: str) -> list[tuple[str, ...]]:
    """The numbers, versions, dates, codes, file and function names of a text, each in its parts.

    `words` cuts "v2.0.1" into three words that other versions hold too; here it is
    ("2", "0", "1"). Dates are (year, month, day) in whichever form they are written, a
    quantity is without its unit, and 1,200 is 1200.
    """
    if _YEAR.search(text):  # most texts have none, and dates take longest
        for form in _DATES:
            text = form.sub(_iso_date, text)
    text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    found = []
    for name in _IDENTIFIER.findall(text):
        if _LOOKS_CHOSEN.search(name):
            lower = name.lower().strip("_")
            if quantity := _QUANTITY.fullmatch(lower):
                lower = quantity[1]
            elif lower[0] == "v" and lower[1:2].isdigit():
                lower = lower[1:]
            found.append(tuple(_JOINT.split(lower)))
    return found


def _iso_date(date: re.Match[str]) -> str:
    named = date.groupdict()
    month = _MONTHS.index(named["month"][:3].lower()) + 1
    day = f"-{int(named['day']):02}" if named.get("day") else ""
    return f"{named['year']}-{month:02}{day}"


@dataclass(frozen=True)
class QueryTerms:
    """The content words of a query: as written, and as BM25 counts them."""

    written: tuple[str, ...]
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, query: str, tokenizer: Tokenizer = words) -> QueryTerms:
        """The query's terms, each once; of a query of function words alone, all its words."""
        written = tokenizer(query)
        chosen = [word for word in written if word not in _STOP] or written
        by_token = dict(zip(reversed(stems(chosen)), reversed(chosen), strict=True))
        ordered = list(dict.fromkeys(stems(chosen)))
        return cls(tuple(by_token[token] for token in ordered), tuple(ordered))

    def rationale(self, tokens: Sequence[str], quotes: tuple[Quote, ...] = ()) -> Rationale:
        """The query's terms found in a passage's tokens and those not, with the quotes."""
        present = set(tokens)
        pairs = list(zip(self.written, self.tokens, strict=True))
        return Rationale(
            quotes=quotes,
            has=tuple(written for written, token in pairs if token in present),
            lacks=tuple(written for written, token in pairs if token not in present),
        )


def sentences(text: str) -> tuple[Quote, ...]:
    """The sentences and lines of a text that hold a letter or digit, without outer space."""
    spans: list[Quote] = []
    start = 0
    ends = [(m.start(), m.end()) for m in _SENTENCE_END.finditer(text)] + [(len(text), len(text))]
    for end, after in ends:
        piece = text[start:end]
        if any(map(str.isalnum, piece)):
            spans.append(
                Quote(start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip()))
            )
        start = after
    return tuple(spans)


def one_line(text: str, shown: Callable[[str], str] = lambda _: _REPLACEMENT) -> str:
    """The text with U+FFFD for what ends a line, hides text, or changes the writing direction.

    Every line of our output goes through it, so that a file's name or a title cannot forge another
    one. Spaces of any kind stay, and so do joiners, which scripts and emoji need: a path with
    them remains the path.

    Args:
        shown: what stands for such a character.
    """
    if text.isprintable():  # quick, and so are most lines
        return text
    return "".join(c if c.isprintable() or _is_shown(c) else shown(c) for c in text)


def _is_shown(character: str) -> bool:
    return category(character) == "Zs" or character in _JOINERS


def text_line(text: str) -> str:
    """A line of a text as `one_line` shows it, where tabs stay: they indent code."""
    return "\t".join(map(one_line, text.split("\t")))


def printable(text: str) -> str:
    """The text on one line, without what `one_line` replaces: for prose, not for names."""
    return one_line(" ".join(text.split()), lambda _: "")


def visible(text: str) -> str:
    """The text of several lines, with U+FFFD for what a terminal or a browser would obey.

    That is what `one_line` replaces, but for line ends and tabs, and for what is invisible
    without effect on other text, which prose has.
    """
    return _OBEYED.sub(_REPLACEMENT, text)


def json_line(text: str) -> str:
    r"""JSON text as one line, with \u escapes for what `one_line` replaces: the same values."""
    return one_line(text, lambda character: json.dumps(character)[1:-1])


def shorten(text: str, max_length: int) -> str:
    """The text on one line of at most `max_length` characters."""
    line = printable(text)
    return line if len(line) <= max_length else line[: max_length - 1].rstrip() + "…"

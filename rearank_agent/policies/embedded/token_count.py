"""How many tokens the shipped encoder makes of a text: quick, without the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import punctuation

from tokenizers import Tokenizer

from rearank_agent.errors import SetupError
from rearank_agent.text import UNSPACED_SCRIPTS

__all__ = ["READ_TOKENS", "count_tokens", "token_steps"]

READ_TOKENS = 250
"""Of a passage that the encoder reads to its end, title included: 256 less two special tokens, and
four spare, since pieces that are counted one by one may give fewer tokens than the whole."""

_SIGNS = re.escape(punctuation)
# As BERT's pre-tokenizer cuts. A longer word is cut as well, since it would be one unknown token
# however long; so is blank space, which would be none.
_PIECE = re.compile(
    rf"[{UNSPACED_SCRIPTS}]|[{_SIGNS}]|[^\s{_SIGNS}{UNSPACED_SCRIPTS}]{{1,100}}|\s{{20}}"
)
_KEPT = 200_000  # pieces whose count is kept
_TOKENIZER = Path(__file__).parents[2] / "weights" / "tokenizer.json"


class _Counts(dict[str, int]):
    """The tokens of a piece, at least 1; kept, since most pieces of a text come again."""

    def __missing__(self, piece: str) -> int:
        if len(self) >= _KEPT:
            self.clear()
        found = _tokenizer().encode(piece, add_special_tokens=False)
        count = self[piece] = max(1, len(found.ids))
        return count


_counts = _Counts()


@cache
def _tokenizer() -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(_TOKENIZER))
    except Exception as error:  # the library raises nothing narrower
        raise SetupError(
            f"{_TOKENIZER} cannot be read: {error}; install rearank-agent again"
        ) from None
    tokenizer.encode_special_tokens = True
    return tokenizer


def count_tokens(text: str, start: int = 0, end: int | None = None) -> int:
    """The tokens from `start` to `end`, without special ones.

    Blank space counts one every 20 characters, and a word of more than 100 letters as if it were
    several, so that a count bounds the length of a text too.
    """
    pieces = _PIECE.findall(text, start, len(text) if end is None else end)
    return sum(map(_counts.__getitem__, pieces))


def token_steps(text: str, start: int, end: int, most: int) -> Iterator[int]:
    """Where to cut so that no part has more than `most` tokens; `most` is at least 100."""
    held = 0
    for piece in _PIECE.finditer(text, start, end):
        count = _counts[piece[0]]
        if held + count > most:
            yield piece.start()
            held = 0
        held += count

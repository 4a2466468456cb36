"""Texts as tokens: what a model reads at once, in windows where a passage is longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rearank_agent.errors import SetupError
from rearank_agent.types import Fault

__all__ = ["Piece", "TextTokenizer", "Tokens", "padded"]

MAX_WINDOWS = 8
"""Of one passage; the rest is not read."""
_OVERLAP = 0.25
"""Of a window, shared with the one before it."""
_CHARACTERS = 64
"""Characters of a token at most: what is beyond is not tokenized."""
_QUERY_SHARE = 0.5
"""Of what a cross-encoder reads, at most, for the query."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text's tokens, without special ones.

    Attributes:
        encoding: as the tokenizer gives it.
        complete: whether they are of the whole text.
    """

    encoding: Any
    complete: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """What a model reads at once: a window of a passage, for cross-encoders behind the query.

    Attributes:
        ids: of the tokens, special ones included.
        types: 0 for the query's and 1 for the passage's, where the model tells them apart.
        first, after: which of the tokens are the passage's.
        starts: where each of them begins in the passage, in characters.
        start, end: the window in the passage, in characters.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...]
    first: int
    after: int
    starts: tuple[int, ...]
    start: int
    end: int


class TextTokenizer:
    """A repository's tokenizer; safe to share between threads.

    Special tokens written in a text are text.

    Args:
        path: of `tokenizer.json`.
        name: of the repository, for messages.
        max_tokens: what the model reads at once.

    Raises:
        SetupError: the file cannot be read.
    """

    def __init__(self, path: Path, name: str, max_tokens: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises Exception itself
            raise SetupError(f"tokenizer.json of {name} cannot be read: {error}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self.max_tokens = max_tokens

    def query(self, text: str) -> Tokens:
        """A query for pairs: at most half of what the model reads."""
        tokens = self._tokens(text, 1)
        most = int(self.max_tokens * _QUERY_SHARE)
        if len(tokens.encoding) > most:
            tokens.encoding.truncate(most)
            return Tokens(tokens.encoding, False)
        return tokens

    def pairs(self, query: Tokens, text: str) -> tuple[list[Piece], bool]:
        """The windows of a passage, each behind the query, and whether they are all of it."""
        special = self._tokenizer.num_special_tokens_to_add(True)
        room = self.max_tokens - special - len(query.encoding)
        windows, complete = self._windows(text, room)
        joined = (self._tokenizer.post_process(query.encoding, window) for window in windows)
        return [_piece(pair, 1) for pair in joined], complete

    def singles(self, text: str, max_windows: int = MAX_WINDOWS) -> tuple[list[Piece], bool]:
        """The windows of a text on its own, and whether they are all of it."""
        room = self.max_tokens - self._tokenizer.num_special_tokens_to_add(False)
        windows, complete = self._windows(text, room, max_windows)
        return [_piece(self._tokenizer.post_process(window), 0) for window in windows], complete

    def faults(
        self, query_complete: bool, ids: Sequence[str], complete: Sequence[bool]
    ) -> list[Fault]:
        """The faults of a query and of passages that were not read to their end.

        Args:
            query_complete: whether the query was.
            ids: of the passages.
            complete: for each passage whether it was.
        """
        faults = []
        if not query_complete:
            detail = f"of the query only a part of {self.max_tokens} tokens was read"
            faults.append(Fault("cut", (), detail))
        if cut := tuple(i for i, read in zip(ids, complete, strict=True) if not read):
            detail = f"only the first {MAX_WINDOWS} windows of {self.max_tokens} tokens were read"
            advice = "split longer passages to have all of them read"
            faults.append(Fault("cut", cut, f"{detail}; {advice}"))
        return faults

    def _windows(
        self, text: str, room: int, max_windows: int = MAX_WINDOWS
    ) -> tuple[list[Any], bool]:
        tokens = self._tokens(text, max_windows)
        tokens.encoding.truncate(room, stride=int(room * _OVERLAP))
        windows = [tokens.encoding, *tokens.encoding.overflowing]
        return windows[:max_windows], tokens.complete and len(windows) <= max_windows

    def _tokens(self, text: str, windows: int) -> Tokens:
        most = self.max_tokens * _CHARACTERS * windows
        encoding = self._tokenizer.encode(text[:most], add_special_tokens=False)
        return Tokens(encoding, len(text) <= most)


def _piece(encoding: Any, sequence: int) -> Piece:
    places = [i for i, s in enumerate(encoding.sequence_ids) if s == sequence]
    offsets = encoding.offsets
    first, after = (places[0], places[-1] + 1) if places else (0, 0)
    return Piece(
        ids=tuple(encoding.ids),
        types=tuple(encoding.type_ids),
        first=first,
        after=after,
        starts=tuple(start for start, _ in offsets[first:after]),
        start=offsets[first][0] if places else 0,
        end=offsets[after - 1][1] if places else 0,
    )


def padded(pieces: Sequence[Piece], pad: int) -> dict[str, NDArray[np.int64]]:
    """The inputs of a model for these pieces, each array [pieces, tokens of the longest]."""
    longest = max(len(piece.ids) for piece in pieces)
    columns = {
        "input_ids": (pad, [piece.ids for piece in pieces]),
        "attention_mask": (0, [(1,) * len(piece.ids) for piece in pieces]),
        "token_type_ids": (0, [piece.types for piece in pieces]),
    }
    return {name: np.array([*_filled(rows, longest, by)]) for name, (by, rows) in columns.items()}


def _filled(rows: Sequence[Sequence[int]], length: int, by: int) -> Iterator[Sequence[int]]:
    for row in rows:
        yield [*row, *[by] * (length - len(row))]

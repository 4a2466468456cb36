"""A small sentence encoder: text in, one vector a token out; onnxruntime, no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rearank_agent.errors import SetupError

__all__ = ["Encoded", "Encoder", "Vector", "unit"]

Vector = NDArray[np.float32]

_HEAD = 4096
MOST_CHARACTERS = 16 * _HEAD
"""Of a text that are looked at, however few tokens they give: blanks, or a word without end."""
_UNKNOWN = "[UNK]"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text as the encoder reads it.

    Attributes:
        hidden: [tokens, width], with the two special tokens at the ends.
        starts: where each token begins in the text, in characters; 0 for the special ones.
        end: where the last token read ends.
        whole: whether the text was read to its end.
    """

    hidden: Vector
    starts: NDArray[np.int64]
    end: int
    whole: bool


class Encoder:
    """The network and its tokenizer, from one folder; safe to share between threads.

    Dynamic int8 takes one scale from everything in a run, so every text runs alone and without
    padding: its vectors then depend on nothing else (onnxruntime issue 10111).

    Raises:
        SetupError: a file is missing, or is not the one its checksum names.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.facts: dict[str, Any] = json.loads((folder / "embedded.json").read_text("utf-8"))
            weights = (folder / "encoder.onnx").read_bytes()
            words = (folder / "tokenizer.json").read_bytes()
            for name, data in (("encoder.onnx", weights), ("tokenizer.json", words)):
                if sha256(data).hexdigest() != self.facts["sha256"][name]:
                    raise SetupError(f"{folder / name} is damaged: install rearank-agent again")
        except (OSError, ValueError, KeyError) as error:
            raise SetupError(f"the embedded weights in {folder} cannot be used: {error}") from None
        self.max_tokens = int(self.facts["max_tokens"])
        self._tokenizer = Tokenizer.from_str(words.decode())
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a passage is only text
        options = onnxruntime.SessionOptions()
        # One thread a run and several runs at once: faster for short texts than several
        # threads in one run, and the sums do not depend on how work was split.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            weights, options, providers=["CPUExecutionProvider"]
        )

    @property
    def checksum(self) -> str:
        """The first twelve hexadecimal digits of the weights' SHA-256."""
        return str(self.facts["sha256"]["encoder.onnx"])[:12]

    def encode(self, text: str) -> Encoded:
        """Read a text, at most the first `max_tokens` tokens of it."""
        tokens, whole = self._tokens(text)
        ids = tokens.ids
        if len(ids) > self.max_tokens:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        inner = tokens.offsets[1 : len(ids) - 1]
        (hidden,) = self._session.run(None, {"ids": np.array([ids], dtype=np.int64)})
        return Encoded(
            hidden=hidden[0],
            starts=np.array([0, *(start for start, _ in inner), 0], dtype=np.int64),
            end=inner[-1][1] if inner else 0,
            whole=whole and len(tokens.ids) == len(ids),
        )

    def unknown(self, text: str) -> float:
        """The share of the text's first letters that the encoder cannot read, 0 to 1.

        That is letters beyond ASCII in the unknown token, or in tokens of one letter beside
        another such: what an English vocabulary makes of Arabic, Cyrillic, Hangul and their
        like. A Greek letter in a formula stands alone, and is known.
        """
        head = text[: _HEAD // 4]
        if head.isascii():
            return 0.0
        letters = sum(map(str.isalpha, head))
        strange = 0
        encoded = self._tokenizer.encode(head, add_special_tokens=False)
        for token, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True):
            beside = head[max(0, start - 1) : start] + head[end : end + 1]
            alone = len(token.removeprefix("##")) == 1
            if token == _UNKNOWN or (alone and any(map(_beyond_ascii, beside))):
                strange += sum(map(_beyond_ascii, head[start:end]))
        return strange / letters if letters else 0.0

    def _tokens(self, text: str) -> tuple[Any, bool]:
        """Enough tokens of the text to fill the encoder, and whether that is all of it."""
        head = _HEAD
        while len(text) > head:
            cut = text[:head].rpartition(" ")[0] or text[:head]
            tokens = self._tokenizer.encode(cut)
            if len(tokens.ids) > self.max_tokens or head == MOST_CHARACTERS:
                return tokens, False
            head *= 4
        return self._tokenizer.encode(text), True


def _beyond_ascii(letter: str) -> bool:
    return letter.isalpha() and not letter.isascii()


def unit(vector: Vector) -> Vector:
    """The vector at length 1."""
    scaled: Vector = vector / max(float(np.sqrt(np.dot(vector, vector))), 1e-12)
    return scaled

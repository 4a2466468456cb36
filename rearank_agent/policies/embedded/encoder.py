"""A small sentence encoder: text in, one vector per token out; onnxruntime, no torch."""

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

__all__ = ["Encoder", "Encoding", "TrunkOutput", "Vector", "normalized"]

Vector = NDArray[np.float32]

_HEAD = 4096
MAX_CHARACTERS = 16 * _HEAD
"""Of a text that are tokenized, however few tokens they give: blanks, or one endless word."""
MAX_UNSUPPORTED = 0.2
"""The share of a text's letters in unsupported scripts, up to which the encoder reads it."""
_UNKNOWN = "[UNK]"


@dataclass(frozen=True, slots=True)
class TrunkOutput:
    """One text, encoded by the lower layers.

    Attributes:
        states: [tokens, width], with the two special tokens at the ends.
        starts: where each token begins in the text, in characters; 0 for the special ones.
        end: where the last token read ends.
        complete: whether the text was encoded to its end.
    """

    states: Vector
    starts: NDArray[np.int64]
    end: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Encoding(TrunkOutput):
    """One text, encoded.

    Attributes:
        hidden: [tokens, width], of the same tokens as the states.
    """

    hidden: Vector


class Encoder:
    """A network of two parts and its tokenizer; safe to share between threads.

        encoder.json, trunk.onnx, tokenizer.json    the lower layers, and what all policies share
        NAME/policy.json, NAME/top.onnx             the upper layers, trained or not

    Dynamic int8 takes one scale from all of a run, so every text runs alone and without
    padding: its vectors then depend on nothing else (onnxruntime issue 10111).

    Args:
        folder: of the lower layers.
        top: the folder of the upper ones.

    Attributes:
        manifest: the contents of `policy.json`.

    Raises:
        SetupError: a file is missing, fails its checksum, or the top was trained on another
            trunk.
    """

    def __init__(self, folder: Path, top: Path) -> None:
        shared = _manifest(folder / "encoder.json", ("trunk.onnx", "tokenizer.json"), "max_tokens")
        self.manifest = _manifest(top / "policy.json", ("top.onnx",), "trunk", "blend", "spans")
        self.max_tokens = int(shared["max_tokens"])
        self.checksum: str = self.manifest["sha256"]["top.onnx"][:12]
        if self.manifest["trunk"] != shared["sha256"]["trunk.onnx"]:
            raise SetupError(f"{top} was trained on other lower layers than those of {folder}")
        self._tokenizer = Tokenizer.from_str(_verified(folder / "tokenizer.json", shared).decode())
        self._tokenizer.encode_special_tokens = True  # "[SEP]" in a passage is text
        self._trunk = _session(_verified(folder / "trunk.onnx", shared))
        self._top = _session(_verified(top / "top.onnx", self.manifest))

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self._top.get_outputs()[0].shape[-1])

    def encode(self, text: str) -> Encoding:
        """Encode a text, at most its first `max_tokens` tokens."""
        low = self.trunk(text, self.max_tokens)
        (hidden,) = self._top.run(None, {"states": low.states[None]})
        return Encoding(low.states, low.starts, low.end, low.complete, hidden[0])

    def trunk(self, text: str, max_tokens: int) -> TrunkOutput:
        """Encode a text with the lower layers alone, at most its first `max_tokens` tokens."""
        tokens, complete = self._tokens(text)
        ids = _first(tokens.ids, max_tokens)
        inner = tokens.offsets[1 : len(ids) - 1]
        (states,) = self._trunk.run(None, {"ids": np.array([ids], dtype=np.int64)})
        return TrunkOutput(
            states=states[0],
            starts=np.array([0, *(start for start, _ in inner), 0], dtype=np.int64),
            end=inner[-1][1] if inner else 0,
            complete=complete and len(tokens.ids) == len(ids),
        )

    def unsupported_share(self, text: str) -> float:
        """The share of the text's first letters in unsupported scripts, 0 to 1.

        That is letters beyond ASCII in the unknown token, or in tokens of one letter beside
        another such: what an English vocabulary makes of Arabic, Cyrillic, Hangul and similar
        scripts. A single Greek letter in a formula is supported.
        """
        head = text[: _HEAD // 4]
        if head.isascii():
            return 0.0
        letters = sum(map(str.isalpha, head))
        unsupported = 0
        encoded = self._tokenizer.encode(head, add_special_tokens=False)
        for token, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True):
            beside = head[max(0, start - 1) : start] + head[end : end + 1]
            alone = len(token.removeprefix("##")) == 1
            if token == _UNKNOWN or (alone and any(map(_beyond_ascii, beside))):
                unsupported += sum(map(_beyond_ascii, head[start:end]))
        return unsupported / letters if letters else 0.0

    def supports(self, text: str) -> bool:
        """Whether the text holds something, at most `MAX_UNSUPPORTED` in unsupported scripts."""
        head = text[: _HEAD // 4]
        beyond = 0 if head.isascii() else sum(map(_beyond_ascii, head))
        if beyond > MAX_UNSUPPORTED * sum(map(str.isalpha, head)):  # else the share is lower still
            return self.unsupported_share(text) <= MAX_UNSUPPORTED
        return bool(text.strip())

    def _tokens(self, text: str) -> tuple[Any, bool]:
        """Enough tokens of the text to fill the encoder, and whether that is all of it."""
        head = _HEAD
        while len(text) > head:
            cut = text[:head].rpartition(" ")[0] or text[:head]
            tokens = self._tokenizer.encode(cut)
            if len(tokens.ids) > self.max_tokens or head == MAX_CHARACTERS:
                return tokens, False
            head *= 4
        return self._tokenizer.encode(text), True


def _first(ids: list[int], n: int) -> list[int]:
    return ids if len(ids) <= n else [*ids[: n - 1], ids[-1]]


def _manifest(path: Path, files: tuple[str, ...], *names: str) -> dict[str, Any]:
    """The JSON description of the files beside it, checked for the names and files needed."""
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for name in names:
            manifest[name]
        for file in files:
            manifest["sha256"][file]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SetupError(f"the weights described by {path} cannot be used: {error}") from None
    return manifest


def _verified(path: Path, manifest: dict[str, Any]) -> bytes:
    """The file's bytes, checked against the manifest's checksum."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error}") from None
    if sha256(data).hexdigest() != manifest["sha256"][path.name]:
        raise SetupError(f"{path} is damaged: install rearank-agent again, or export it again")
    return data


def _session(weights: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread a run and several runs at once: faster for short texts than several threads in
    # one run, and the sums do not depend on how work was split.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _beyond_ascii(letter: str) -> bool:
    return letter.isalpha() and not letter.isascii()


def normalized(vectors: Vector) -> Vector:
    """The vectors at length 1, along the last axis."""
    squares = np.einsum("...i,...i->...", vectors, vectors)[..., None]
    scaled: Vector = vectors / np.maximum(np.sqrt(squares), 1e-12)
    return scaled

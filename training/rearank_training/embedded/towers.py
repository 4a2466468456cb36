"""The embedded policy as torch sees it: upper layers that learn, on a trunk that does not.

states    [tokens, width], from the lower layers, in int8 and just as they are served
hidden    [tokens, width], from the upper layers, in float32
score     `rearank_agent.policies.embedded.similarity`, of query and passage alone
logits    temperature * score - prior * log(1 + first-stage rank)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel

from rearank_agent.policies.embedded.similarity import SPAN

__all__ = ["PooledTexts", "Towers"]

_PADDED = {"cpu": 4096, "cuda": 65536}
"""Tokens, padding included, that go through the layers together: a processor's cache holds them."""


class PooledTexts(NamedTuple):
    """Texts as they are compared: `likeness.Look`, many at once.

    Attributes:
        wholes: [texts, width].
        parts: [texts, parts, width], padded.
        counts: [texts], of their parts.
    """

    wholes: Tensor
    parts: Tensor
    counts: Tensor

    @property
    def real(self) -> Tensor:
        """[texts, parts], which are no padding."""
        return torch.arange(self.parts.shape[1], device=self.counts.device) < self.counts[:, None]

    def some(self, texts: slice) -> PooledTexts:
        """Those of some of the texts."""
        return PooledTexts(self.wholes[texts], self.parts[texts], self.counts[texts])


class Towers(nn.Module):
    """The upper layers, and the two numbers that make logits of scores.

    Dropout is off throughout: the policy that is sampled is the one that is served. States may
    come from the CPU; on a GPU the layers compute in bf16, everything else in float32.

    Args:
        base: the folder of the checkpoint that the trunk was made of.
        frozen: layers of the trunk.
        share: the weight of the likeness of parts.

    Attributes:
        layers: the upper ones.
        mixed: whether the layers compute in bf16.
        log_temperature: of the logits.
        prior: the weight of the first stage's rank.
    """

    def __init__(self, base: Path, frozen: int, share: float) -> None:
        super().__init__()
        self.share, self.mixed = share, torch.cuda.is_available()
        attention = "eager" if self.mixed else "sdpa"  # as seen working on a GPU
        model = AutoModel.from_pretrained(str(base), attn_implementation=attention)
        self.layers = nn.ModuleList(model.encoder.layer[frozen:])
        self.log_temperature = nn.Parameter(torch.tensor(20.0).log())
        self.prior = nn.Parameter(torch.tensor(0.6))
        self.eval()
        self.to("cuda" if self.mixed else "cpu")

    @property
    def device(self) -> torch.device:
        """Where the layers are."""
        return self.prior.device

    def encode(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Token vectors [tokens, width] of texts, from their states, in the order given."""
        found: dict[int, Tensor] = {}
        for places in _batches([len(state) for state in states], _PADDED[self.device.type]):
            some = [states[place] for place in places]
            hidden = pad_sequence(some, batch_first=True).to(self.device).float()
            lengths = torch.tensor([len(state) for state in some], device=hidden.device)
            real = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
            mask = 1e4 * (real.float() - 1)[:, None, None]
            with torch.autocast(self.device.type, torch.bfloat16, self.mixed):
                for layer in self.layers:
                    hidden = layer(hidden, mask)
            texts = zip(places, hidden.float(), strict=True)
            found |= {place: text[: len(states[place])] for place, text in texts}
        return [found[place] for place in range(len(states))]

    def looks(self, hidden: Sequence[Tensor]) -> PooledTexts:
        """Texts as they are compared, from their token vectors."""
        lengths = torch.tensor([len(text) for text in hidden], device=hidden[0].device)
        padded = pad_sequence(list(hidden), batch_first=True)
        parts, counts = _parts(padded, lengths)
        return PooledTexts(normalize(padded.sum(1) / lengths[:, None], dim=1), parts, counts)

    def scores(self, queries: PooledTexts, passages: PooledTexts) -> Tensor:
        """[queries, passages], -1 to 1: their `likeness`."""
        wholes = queries.wholes @ passages.wholes.T
        if not self.share:
            return wholes
        alike = torch.einsum("qsd,ptd->qpst", queries.parts, passages.parts)
        nearest = alike.masked_fill(~passages.real[None, :, None], -2.0).amax(3)
        nearest = nearest.masked_fill(~queries.real[:, None], 0.0).sum(2)
        return (1 - self.share) * wholes + self.share * nearest / queries.counts[:, None]

    def logits(self, scores: Tensor, ranks: Tensor) -> Tensor:
        """[passages], of a Plackett-Luce policy; `ranks` are the first stage's, from 1."""
        return self.log_temperature.exp() * scores - self.prior * torch.log1p(ranks.to(self.device))


def _parts(padded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The means of spans at length 1, as in `likeness.Look`, and how many each text has."""
    special = (lengths > 2).long()
    tokens = lengths - 2 * special
    width = tokens.clamp(max=SPAN)
    half = SPAN // 2
    counts = torch.where(tokens > SPAN, (tokens - 1) // half, 1)
    first = torch.arange(int(counts.max()), device=lengths.device) * half
    first = torch.minimum(first[None], (tokens - width)[:, None]) + special[:, None]
    sums = pad(padded.cumsum(1), (0, 0, 1, 0))
    until, before = (
        sums.gather(1, at[..., None].expand(-1, -1, sums.shape[2]))
        for at in (first + width[:, None], first)
    )
    return normalize(until - before, dim=2), counts


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of texts of about one length, as many as fill a batch."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch

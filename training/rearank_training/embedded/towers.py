"""The embedded policy in torch: trained upper layers on a frozen trunk.

states    [tokens, width], from the lower layers, in int8 as in serving
hidden    [tokens, width], from the upper layers, in float32
score     of query and passage, by `rearank_agent.policies.embedded.similarity`
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

from rearank_agent.policies.embedded.similarity import PIECE, SPAN

__all__ = ["PooledTexts", "Towers"]

_PADDED = {"cpu": 4096, "cuda": 65536}
"""Tokens of a batch, padding included: as many as a processor's cache holds."""


class PooledTexts(NamedTuple):
    """A batch of texts, pooled for comparison: `similarity.PooledText` of many.

    Attributes:
        means: [texts, width], of all tokens, at length 1.
        spans: [texts, spans, width], the means of spans, at length 1; padded.
        counts: [texts], spans of each text.
    """

    means: Tensor
    spans: Tensor
    counts: Tensor

    @property
    def mask(self) -> Tensor:
        """[texts, spans], true where a span is no padding."""
        return torch.arange(self.spans.shape[1], device=self.counts.device) < self.counts[:, None]

    def subset(self, texts: slice) -> PooledTexts:
        """Some of the texts."""
        return PooledTexts(self.means[texts], self.spans[texts], self.counts[texts])


class Towers(nn.Module):
    """The upper layers, and the temperature that supervision has for their scores.

    Dropout is off throughout: the policy that is sampled is the one that is served. States may
    come from the CPU; on a GPU the layers compute in bf16, everything else in float32.

    Args:
        base: the folder of the checkpoint that the trunk was exported from.
        frozen: layers of the trunk.
        share: the weight of the similarity of spans, 0 to 1.

    Attributes:
        layers: the upper ones.
        mixed: whether the layers compute in bf16.
        log_temperature: of the similarities under a supervised loss; of no meaning in serving.
    """

    def __init__(self, base: Path, frozen: int, share: float) -> None:
        super().__init__()
        self.share, self.mixed = share, torch.cuda.is_available()
        attention = "eager" if self.mixed else "sdpa"  # the one tested on a GPU
        model = AutoModel.from_pretrained(str(base), attn_implementation=attention)
        self.layers = nn.ModuleList(model.encoder.layer[frozen:])
        self.log_temperature = nn.Parameter(torch.tensor(20.0).log())
        self.eval()
        self.to("cuda" if self.mixed else "cpu")

    @property
    def device(self) -> torch.device:
        """Where the layers are."""
        return self.log_temperature.device

    def encode(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Token vectors [tokens, width] of texts from their states, in the same order."""
        found: dict[int, Tensor] = {}
        for positions in _batches([len(state) for state in states], _PADDED[self.device.type]):
            batch = [states[position] for position in positions]
            hidden = pad_sequence(batch, batch_first=True).to(self.device).float()
            lengths = torch.tensor([len(state) for state in batch], device=hidden.device)
            real = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
            mask = 1e4 * (real.float() - 1)[:, None, None]
            with torch.autocast(self.device.type, torch.bfloat16, self.mixed):
                for layer in self.layers:
                    hidden = layer(hidden, mask)
            texts = zip(positions, hidden.float(), strict=True)
            found |= {position: text[: len(states[position])] for position, text in texts}
        return [found[position] for position in range(len(states))]

    def pool(self, hidden: Sequence[Tensor]) -> PooledTexts:
        """Pool texts for comparison, from their token vectors [tokens, width]."""
        lengths = torch.tensor([len(text) for text in hidden], device=hidden[0].device)
        padded = pad_sequence(list(hidden), batch_first=True)
        spans, counts = _spans(padded, lengths)
        return PooledTexts(normalize(padded.sum(1) / lengths[:, None], dim=1), spans, counts)

    def scores(self, queries: PooledTexts, passages: PooledTexts) -> Tensor:
        """[queries, passages], -1 to 1: their `similarity`."""
        cosines = queries.means @ passages.means.T
        if not self.share:
            return cosines
        pairs = torch.einsum("qsd,ptd->qpst", queries.spans, passages.spans)
        nearest = pairs.masked_fill(~passages.mask[None, :, None], -2.0).amax(3)
        nearest = nearest.masked_fill(~queries.mask[:, None], 0.0).sum(2)
        return (1 - self.share) * cosines + self.share * nearest / queries.counts[:, None]


def _spans(padded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The means of spans at length 1, as in `similarity.PooledText`, and how many each text has."""
    special = (lengths > 2).long()
    tokens = lengths - 2 * special
    counts = ((tokens - 1) // PIECE).clamp(min=1)
    first = (torch.arange(int(counts.max()), device=lengths.device) * PIECE)[None]
    first, until = (
        torch.minimum(at, tokens[:, None]) + special[:, None] for at in (first, first + SPAN)
    )
    sums = pad(padded.cumsum(1), (0, 0, 1, 0))
    until, before = (
        sums.gather(1, at[..., None].expand(-1, -1, sums.shape[2])) for at in (until, first)
    )
    return normalize(until - before, dim=2), counts


def _batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Positions of texts of similar length, in batches of at most `max_tokens` with padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > max_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch

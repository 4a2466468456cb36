"""Scores of labelled positions alone: what TRL leaves out where there is no Triton.

TRL's fused head projects each position of a batch onto the vocabulary. With Triton it takes those
that have a label, the replies; without, as on a CPU, all, so that shapes stay the same for devices
that compile (trl/trainer/utils.py, `compact`). A prompt is several times as long as a reply, and
with 262,144 words in the vocabulary that was most of a step: 80 to 91 s for 11 to 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

__all__ = ["labelled_positions_only"]


@contextmanager
def labelled_positions_only() -> Iterator[None]:
    """Score labelled positions alone on every device; loss and gradients stay the same."""
    with patch("trl.trainer.utils._use_triton", lambda _device: True):
        yield

"""Tiny random models in folders, each written once."""

import pytest
from transformers.utils import logging

from helpers import tiny_rerankers

logging.disable_progress_bar()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Writes a cross-encoder of a kind; its folder, model and tokenizer."""
    made = {}

    def write(kind, onnx=True, **settings):
        key = (kind, onnx, *settings.items())
        if key not in made:
            folder = tmp_path_factory.mktemp("models") / kind
            folder.mkdir()
            made[key] = (folder, *tiny_rerankers.cross_encoder(folder, kind, onnx, **settings))
        return made[key]

    return write


@pytest.fixture(scope="session")
def bert(tiny):
    """The folder of a BERT cross-encoder with an ONNX file."""
    return tiny("bert")[0]

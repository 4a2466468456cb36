"""Speed and memory of a cross-encoder: as a policy, in sentence-transformers and in FlashRank.

    python -m benchmarks.rerankers                  # as a policy, and its scores alone
    python -m benchmarks.rerankers --peer PYTHON    # and the others

PYTHON is an interpreter that has sentence-transformers[onnx] and flashrank. All run the same ONNX
file in float32: random weights in the shape of cross-encoder/ms-marco-MiniLM-L6-v2, with the shipped
tokenizer, which has the same vocabulary; their scores must agree. Quality is measured by
`rearank-agent eval`.
"""

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from multiprocessing import get_context
from pathlib import Path

from benchmarks.embedded import ROOT, compare, make

FLASHRANK = ("ms-marco-MiniLM-L-12-v2", "flashrank-MiniLM-L-12-v2_Q.onnx")
"""A model that FlashRank knows by name, and the file that it loads for it."""
AGREE = 1e-4
PROCESSES, RUNS = 3, 2
TEXTS = make("LICENSE")
"""Plain sentences: tables and addresses in Markdown are of more tokens a word, and more unlike in length."""

RUN = """
rank(texts[:1])
ready = time.perf_counter() - start
times, used = [], time.process_time()
for _ in range(runs):
    start = time.perf_counter()
    scores = rank(texts)
    times.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
used = (time.process_time() - used) / runs
print(json.dumps([ready, times, peak, [float(score) for score in scores], used]))
"""
POLICY = """
start = time.perf_counter()
from rearank_agent import Reranker
reranker = Reranker(f"cross-encoder:{FOLDER}")
def rank(texts):
    found = {one.id: one.score for one in reranker.rerank_sync(query, texts).passages}
    return [found[str(i + 1)] for i in range(len(texts))]
"""
SCORES = """
start = time.perf_counter()
import asyncio
from rearank_agent.policies.protocol import sigmoid
from rearank_agent.policies.registry import policy
from rearank_agent.types import Passage, Task
made = policy(f"cross-encoder:{FOLDER}")
def rank(texts):
    passages = tuple(Passage(str(i), text) for i, text in enumerate(texts))
    task = Task(run=str(time.perf_counter()), query=query, candidates=passages)
    found = asyncio.run(made._scorer.passages(task, tuple(range(len(texts)))))
    return [sigmoid(one.raw) for one in found]
"""
SENTENCE_TRANSFORMERS = """
start = time.perf_counter()
from sentence_transformers import CrossEncoder
model = CrossEncoder(FOLDER, backend="onnx", device="cpu")
def rank(texts):
    return model.predict([(query, text) for text in texts], show_progress_bar=False)
"""
FLASH = """
start = time.perf_counter()
from flashrank import Ranker, RerankRequest
ranker = Ranker(NAME, cache_dir=str(pathlib.Path(FOLDER).parent))
def rank(texts):
    passages = [{"id": i, "text": text} for i, text in enumerate(texts)]
    found = {one["id"]: one["score"] for one in ranker.rerank(RerankRequest(query, passages))}
    return [found[i] for i in range(len(texts))]
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peer", help="an interpreter with sentence-transformers[onnx], flashrank")
    peer = parser.parse_args().peer
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / FLASHRANK[0]
        # In a process of its own: a child's peak begins with what its parent had.
        writing = get_context("spawn").Process(target=write_model, args=(folder,))
        writing.start()
        writing.join()
        head = f"FOLDER, NAME = {str(folder)!r}, {FLASHRANK[0]!r}\n{TEXTS}\nruns = {RUNS}"
        programs = {
            "cross-encoder: policy": (sys.executable, head + POLICY + RUN),
            "its scores alone": (sys.executable, head + SCORES + RUN),
        }
        if peer:
            programs |= {
                "sentence-transformers, onnx": (peer, head + SENTENCE_TRANSFORMERS + RUN),
                "FlashRank": (peer, head + FLASH + RUN),
            }
        print(
            "100 passages of 40 to 80 words, one query; "
            f"medians of {PROCESSES} processes x {RUNS} runs, in turn"
        )
        found = compare(programs, PROCESSES)
        for name, (_, used) in found.items():
            print(f"{used:6.2f} s of processors a run, in the last process: {name}")
        ours, *others = (scores for scores, _ in found.values())
        far = [max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) for theirs in others]
        assert max(far) < AGREE, f"the scores differ: {far}"


def write_model(folder: Path) -> None:
    """Write the model as hubs lay one out, with the files that FlashRank looks for beside."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    shape = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12}
    config = BertConfig(**shape, intermediate_size=1536, num_labels=1, initializer_range=0.05)
    model = BertForSequenceClassification(config).eval()
    model.config.architectures = ["BertForSequenceClassification"]
    model.config.save_pretrained(folder)
    shutil.copy(ROOT / "rearank_agent/weights/tokenizer.json", folder)
    special = {
        f"{name.lower()}_token": f"[{name}]" for name in ("CLS", "SEP", "PAD", "UNK", "MASK")
    }
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 512, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "onnx").mkdir()
    export(model, folder / "onnx/model.onnx")
    shutil.copy(folder / "onnx/model.onnx", folder / FLASHRANK[1])


def export(model, path: Path) -> None:
    """Write the ONNX file of a model that gives logits."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids, mask, types):
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits

    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}}
    example = (torch.ones(2, 8, dtype=torch.long),) * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(), example, path, input_names=names, output_names=["logits"],
            dynamic_axes=axes, dynamo=False, opset_version=17,
        )  # fmt: skip


if __name__ == "__main__":
    main()

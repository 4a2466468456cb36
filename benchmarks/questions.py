"""Retrieval quality on this project itself: ten questions, asked of `search` over its checkout.

They were written before the documents were. The files that hold the answer are known; the table
shows the rank of the first passage from one of them.

    python -m benchmarks.questions
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rearank_agent import Reranker
from rearank_agent.search.fill import fill
from rearank_agent.search.library import Library

ROOT = Path(__file__).parent.parent
QUESTIONS = {
    "Which licence do the weights of the encoder have?": ("rearank_agent/weights/MODEL_CARD.md", "rearank_agent/weights/NOTICE"),
    "How do I install what is needed to search PDF files?": ("README.md", "rearank_agent/search/extract.py", "rearank_agent/search/library.py"),
    "What happens when the time limit is over before all passages are judged?": ("docs/faults.md", "docs/models.md", "docs/architecture.md", "rearank_agent/reranker.py", "rearank_agent/request.py"),
    "Which exit code does the command line give for a partial result?": ("docs/faults.md", "rearank_agent/cli/__init__.py", "README.md"),
    "Why is each passage run through the network alone instead of in a batch?": ("docs/decisions.md", "rearank_agent/policies/embedded/policy.py", "docs/LOG.md"),
    "How is a model's reply turned into a permutation when identifiers are missing?": ("rearank_agent/listwise/reply.py", "docs/faults.md"),
    "How many calls and turns does a tournament take for a hundred passages?": ("docs/schedules.md", "docs/figures.md", "docs/models.md"),
    "Which files does a folder search leave out?": ("README.md", "docs/agents.md", "docs/faults.md", "rearank_agent/search/folder.py", "rearank_agent/search/extract.py"),
    "How is the first stage's rank mixed into the score?": ("docs/architecture.md", "rearank_agent/reranker.py", "rearank_agent/policies/blend.py"),
    "What must hold before a change is committed?": ("CONTRIBUTING.md",),
}  # fmt: skip
# The same kind of questions, in the words of somebody who does not know the project.
IN_OTHER_WORDS = {
    "Am I allowed to sell a product that contains the model you ship?": ("rearank_agent/weights/MODEL_CARD.md", "rearank_agent/weights/NOTICE", "LICENSE", "README.md"),
    "It ignores my manuals that are in Acrobat format": ("README.md", "rearank_agent/search/extract.py"),
    "My results came back incomplete, what cut them off?": ("docs/faults.md", "docs/models.md", "README.md", "rearank_agent/request.py"),
    "How does a shell script notice that the ordering is not finished?": ("docs/faults.md", "rearank_agent/cli/__init__.py", "README.md"),
    "Why not push several texts through together to go faster?": ("docs/decisions.md", "rearank_agent/policies/embedded/policy.py", "docs/LOG.md", "docs/figures.md"),
    "The LLM forgot half of the numbers in what it wrote back": ("rearank_agent/listwise/reply.py", "rearank_agent/llm/conversation.py", "docs/faults.md", "docs/models.md"),
    "How expensive is one request with a paid provider?": ("docs/models.md", "README.md", "rearank_agent/cli/plan.py"),
    "Somebody put a trap into a document that gives orders to the judge": ("rearank_agent/listwise/sanitize.py", "docs/faults.md", "docs/models.md"),
    "Can two programs use the same stored answers at the same time?": ("rearank_agent/store.py", "docs/models.md"),
    "The machine with the graphics card went away in the middle of the work": ("docs/models.md", "docs/architecture.md", "rearank_agent/llm/limits.py", "rearank_agent/llm/vllm.py"),
}  # fmt: skip


def main() -> None:
    """Print the rank of a file with the answer for every question, by BM25 and by search."""
    with tempfile.TemporaryDirectory() as folder:
        root = checkout(Path(folder) / "checkout")
        libraries = [Library([root], Path(folder) / "cache", by_meaning) for by_meaning in (0, 1)]
        index, missing, _ = libraries[1].without_vectors()
        fill(libraries[1].vectors.passages, index, missing)
        reranker = Reranker(sys.argv[1] if len(sys.argv) > 1 else "embedded")
        ranks = {q: ask(libraries, reranker, root, q, files) for q, files in QUESTIONS.items()}
    print(f"{'BM25':>6}{'search':>8}  question")
    for question, (before, after) in ranks.items():
        print(f"{before or '-':>6}{after or '-':>8}  {question}")
    for k in (1, 3):
        hits = [sum(0 < rank[i] <= k for rank in ranks.values()) for i in (0, 1)]
        print(f"recall@{k}: BM25 {hits[0]} of {len(ranks)}, search {hits[1]} of {len(ranks)}")


def checkout(folder: Path) -> Path:
    """A copy of this project's files in a new folder, without the questions themselves."""
    for name in subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines():
        if name != "benchmarks/questions.py" and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def ask(libraries, reranker, root, question, files):
    """The rank of the first passage from a file with the answer: by BM25, and by search."""
    by_words, found = (library.search(question, 50) for library in libraries)
    ranking = reranker.rerank_sync(
        question,
        found.passages,
        blend=reranker.policy.blend * found.words_weight,
        blend_by="score",
    )
    answers = tuple(f"{root / name}:" for name in files)
    listed = (by_words.passages, [ranked.passage for ranked in ranking.passages])
    return tuple(rank_of(passages, answers) for passages in listed)


def rank_of(passages, answers):
    """The rank, from 1, of the first passage whose place begins with an answer; 0 for none."""
    ranks = (rank for rank, p in enumerate(passages, 1) if p.place.startswith(answers))
    return next(ranks, 0)


if __name__ == "__main__":
    main()

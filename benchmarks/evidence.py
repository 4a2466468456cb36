"""Evidence: the share of quotes that are the right sentence, by kind of question.

    python -m benchmarks.evidence [design|check]

Questions over passages of several sentences or rows (`data/evidence.jsonl`): ten of each kind, half of which, `check`, were
left alone while the rule was made, and `more` that were not. Then a made table: 120 error codes in 12 chunks, 30 questions.
"""

import json
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from rearank_agent import Passage, Reranker
from rearank_agent.policies.embedded.encoder import normalized
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.policies.embedded.similarity import PooledText
from rearank_agent.text import QueryTerms, content_tokens, sentences

DATA = Path(__file__).parent / "data" / "evidence.jsonl"
DONE = ("could not be reached", "ran out of space", "was asked twice", "gave no answer in time",
        "sent half a message", "refused the key", "lost its clock", "was switched off")  # fmt: skip
PARTS = (
    "the printer",
    "the disk",
    "the mail server",
    "the scale",
    "the gate",
    "the till",
    "the camera",
)


def main() -> None:
    """Print a line per kind, and two for the made table."""
    embedded = Embedded()
    pickers = {
        "terms counted": by_terms,
        "vector alone": partial(by_vector, embedded.encoder),
        "lexical": partial(by_policy, Reranker("lexical")),
        "embedded": partial(by_policy, Reranker(embedded)),
    }
    rows = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    wanted = sys.argv[1:] or ["design", "check"]
    asked = [
        (row["kind"], one["query"], row["text"], one["right"])
        for row in rows if row["part"] in wanted for one in row["questions"]
    ]  # fmt: skip
    chunks, questions = error_codes()
    codes = [("error codes", query, chunks[number], row) for query, number, row in questions]
    print(f"{'':16}{'n':>4}" + "".join(f"{name:>16}" for name in pickers))
    for kind, line in shares([*asked, *codes], pickers).items():
        print(
            f"{kind:16}{len(line):>4}"
            + "".join(f"{sum(r) / len(r):>16.0%}" for r in zip(*line, strict=True))
        )
    first = [best_names(embedded, chunks, query, row) for query, _, row in questions]
    print(f"the first of all 12 chunks quotes the code asked for: {sum(first)} of {len(first)}")


def shares(asked, pickers):
    """By kind: for every question, which pickers are right."""
    found = defaultdict(list)
    for kind, query, text, right in asked:
        picked = {name: pick(query, text) for name, pick in pickers.items()}
        found[kind].append([quote == right for quote in picked.values()])
    return found


def best_names(embedded, chunks, query, row):
    """Whether the quote from the passage ranked first is the row asked for."""
    return Reranker(embedded).rerank_sync(query, chunks).passages[0].evidence == row


def by_policy(reranker, query, text):
    """The quote of a policy as it is."""
    return reranker.rerank_sync(query, [Passage("a", text)]).passages[0].evidence


def by_terms(query, text):
    """The sentence with the most terms of the query, each counted once."""
    terms = set(QueryTerms.of(query).tokens)
    spans = [text[span.start : span.end] for span in sentences(text)]
    return max(spans, key=lambda one: len(terms.intersection(content_tokens(one))))


def by_vector(encoder, query, text):
    """The sentence whose tokens' mean lies nearest to the query's."""
    asked, encoded = PooledText(encoder.encode(query).hidden).mean, encoder.encode(text)
    nearest = {}
    for span in sentences(text[: encoded.end]):
        first, after = np.searchsorted(encoded.starts[1:-1], (span.start, span.end))
        if after > first:
            mean = normalized(encoded.hidden[1 + first : 1 + after].mean(axis=0))
            nearest[text[span.start : span.end]] = float(np.dot(asked, mean))
    return max(nearest, key=nearest.__getitem__)


def error_codes():
    """A table in chunks, and questions: the query, the number of the chunk, the row."""
    random = Random(0)
    codes = random.sample(range(1000, 10_000), 120)
    rows = [
        f"E{code} | {random.choice(PARTS)} {random.choice(DONE)} | level {random.randint(1, 5)}"
        for code in codes
    ]
    chunks = ["\n".join(rows[start : start + 10]) for start in range(0, 120, 10)]
    asked = random.sample(range(120), 30)
    return chunks, [(f"what does error E{codes[n]} mean", n // 10, rows[n]) for n in asked]


if __name__ == "__main__":
    main()

"""A BEIR-like folder, as the benchmarks read it."""

import json
from pathlib import Path


def rows(file: Path) -> list[dict]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in file.read_text().split("\n") if line]


def judgements(folder: Path) -> dict[str, dict[str, int]]:
    """Query to passage to grade: of `qrels_full.tsv` where it is, else of `qrels.tsv`."""
    full = folder / "qrels_full.tsv"
    lines = (full if full.exists() else folder / "qrels.tsv").read_text().splitlines()[1:]
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in (line.split("\t") for line in lines):
        qrels.setdefault(query, {})[document] = int(grade)
    return qrels


def first_stage(folder: Path) -> dict[str, list[str]]:
    """Query to passages in first-stage order; empty where the folder has no lists."""
    for name in ("candidates.jsonl", "bm25_top100.jsonl"):
        if (folder / name).exists():
            return {row["query-id"]: row["corpus-ids"] for row in rows(folder / name)}
    return {}

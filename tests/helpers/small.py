"""A small collection in BEIR's format."""

import json

CORPUS = {
    "jump": "A flea jumps thirty centimetres from a standing start.",
    "host": "Adult fleas live on cats and dogs and feed on their blood.",
    "eggs": "Eggs of the flea fall into carpets, where larvae hatch within days.",
    "bees": "Bees build combs of wax and store honey for the winter.",
    "rats": "The plague came with rats, and with the fleas that lived on them.",
    "cats": "A cat sleeps for sixteen hours a day.",
}
QUERIES = {
    "q1": "how far does a flea jump",
    "q2": "where do flea eggs fall",
    "q3": "which animals do fleas live on",
}
QRELS = {
    "q1": {"jump": 2, "host": 0},
    "q2": {"eggs": 3, "host": 1, "bees": 0},
    "q3": {"host": 2, "rats": 1, "gone": 1},
}


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def beir(folder, corpus=CORPUS, queries=QUERIES, qrels=QRELS, lists=None, instruction=""):
    """Write a collection in BEIR's format; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"_id": name, "title": "", "text": text} for name, text in corpus.items()]
    (folder / "corpus.jsonl").write_text(lines(rows))
    rows = [{"_id": name, "text": text} for name, text in queries.items()]
    (folder / "queries.jsonl").write_text(lines(rows))
    rows = [f"{q}\t{p}\t{g}\n" for q, grades in qrels.items() for p, g in grades.items()]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    if lists is not None:
        rows = [{"query-id": q, "corpus-ids": ids} for q, ids in lists.items()]
        (folder / "candidates.jsonl").write_text(lines(rows))
    if instruction:
        (folder / "instruction.txt").write_text(instruction)
    return folder

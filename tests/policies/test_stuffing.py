"""What benchmarks/stuffing.py counts: places that a copy climbs, and nDCG@10 with it."""

from benchmarks.stuffing import measure, stuffed
from rearank_agent import Passage, Reranker
from rearank_agent.data.collection import make_collection

GRADES = {"flea": 1}
CORPUS = {
    "flea": Passage("flea", "A flea jumps far. A flea lives long."),
    "dog": Passage("dog", "A flea is on the dog."),
    "cat": Passage("cat", "Cats sleep."),
}


def test_a_copy_is_placed_without_its_original_and_without_other_copies():
    copies = {one: Passage(f"s{one}", f"flea jumps long\n{CORPUS[one].text}")
              for one in ("cat", "dog")}  # fmt: skip
    seen = [*stuffed(Reranker("lexical"), "flea jumps long", GRADES, [*CORPUS.values()], copies)]
    assert [(climbed, before, round(after, 1)) for climbed, before, after in seen] == [
        (1, 100.0, 100.0),
        (1, 100.0, 63.1),
    ]


def test_copies_are_made_of_passages_that_are_not_relevant():
    collection = make_collection(
        {"q": "flea jumps long", "r": "cats"}, {"q": GRADES, "r": dict.fromkeys(CORPUS, 1)}, CORPUS,
        name="made", source="made", hash="", lists={q: dict.fromkeys(CORPUS, 1.0) for q in "qr"},
    )  # fmt: skip
    found = measure(collection, Reranker("lexical"), 3)
    assert len(found) == 2, "two of the first query, none of the second"
    assert all(before == 100 for _, before, _ in found)


FAQ = {
    "how do I cancel my subscription": "Open Settings, choose Billing, and press End plan.",
    "how do I change my subscription": "Open Settings, choose Billing, and pick another plan.",
    "what does error 512 mean": "The disk is full. Delete old logs, or attach a larger volume.",
    "what does error 521 mean": "The origin refused to talk. Look at the firewall first.",
}


def test_an_entry_whose_title_is_the_question_is_first():
    """What a rule against stuffed passages must not take away; docs/LOG.md has one that did."""
    entries = [Passage(title, answer, title=title) for title, answer in FAQ.items()]
    reranker = Reranker("embedded")
    assert [reranker.rerank_sync(one, entries).passages[0].id for one in FAQ] == list(FAQ)

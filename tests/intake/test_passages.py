"""Every form of a passage stands for the same `Passage`, and ranks as it does."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent import InputError, Passage, Reranker
from rearank_agent.intake.passages import as_passages


@dataclass
class LangChain:
    """As langchain_core.documents.Document."""

    page_content: str
    metadata: dict = field(default_factory=dict)
    id: str | None = None


@dataclass
class Haystack:
    """As haystack.Document."""

    id: str
    content: str | None
    blob: object = None
    meta: dict = field(default_factory=dict)
    score: float | None = None


@dataclass
class TextNode:
    """As llama_index.core.schema.TextNode."""

    id_: str
    text: str
    metadata: dict = field(default_factory=dict)

    @property
    def node_id(self):
        return self.id_

    def get_content(self, metadata_mode="none"):
        return self.text if metadata_mode == "none" else f"{self.metadata}\n{self.text}"


@dataclass
class NodeWithScore:
    """As llama_index.core.schema.NodeWithScore."""

    node: TextNode
    score: float | None = None

    def get_score(self):
        return self.score


FORMS = {
    "Passage": lambda p: p,
    "text": lambda p: {"id": p.id, "text": p.text, "score": p.score, **p.meta},
    "content": lambda p: {"_id": p.id, "content": p.text, "meta": p.meta, "score": p.score},
    "page_content": lambda p: {"id": p.id, "page_content": p.text, "score": p.score, **p.meta},
    "Haystack": lambda p: Haystack(p.id, p.text, meta=p.meta, score=p.score),
    "LlamaIndex": lambda p: NodeWithScore(TextNode(p.id, p.text, p.meta), p.score),
}
WORDS = st.sampled_from(["flea", "fleas", "jump", "host", "cat", "far", ""])
TEXTS = st.lists(WORDS, max_size=6).map(" ".join)


@settings(deadline=None)  # the first example imports bm25s
@given(st.lists(st.tuples(TEXTS, st.none() | st.floats(-5, 5), st.sampled_from(list(FORMS))),
                min_size=1, max_size=8))  # fmt: skip
def test_every_form_ranks_as_the_passage_it_stands_for(rows):
    passages = [
        Passage(f"p{at}", text, score=score, meta={"source": str(at)})
        for at, (text, score, _) in enumerate(rows)
    ]
    given_forms = [FORMS[form](p) for p, (_, _, form) in zip(passages, rows, strict=True)]
    assert as_passages(given_forms) == tuple(passages)
    reranker = Reranker("lexical")
    query = "how far do fleas jump"
    assert (
        reranker.rerank_sync(query, given_forms).passages
        == reranker.rerank_sync(query, passages).passages
    )


def test_what_has_no_id_gets_its_position():
    given_forms = [
        "x",
        Passage("b", "y"),
        {"text": "z", "title": None, "id": None},
        LangChain("w", {"source": "a.md"}),
        LangChain("v", id="own"),
        TextNode("node", "u"),
    ]
    assert as_passages(given_forms) == (
        Passage("1", "x"),
        Passage("b", "y"),
        Passage("3", "z"),
        Passage("4", "w", meta={"source": "a.md"}),
        Passage("own", "v"),
        Passage("node", "u"),
    )


def test_the_fields_of_a_dict():
    full = {"id": 7, "_id": "other", "text": "x", "content": "kept", "page_content": None,
            "title": "T", "score": 1, "place": "a.md:1", "url": "u", "none": None,
            "metadata": {"a": 1}, "meta": {"year": 1999}}  # fmt: skip
    meta = {"year": 1999, "content": "kept", "url": "u", "none": None, "metadata": {"a": 1}}
    assert as_passages([full]) == (Passage("7", "x", "T", 1, "a.md:1", meta),)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "there are no passages"),
        ("text", "passages must be a list of passages, not one str: 'text'"),
        (b"text", "passages must be a list of passages, not one bytes"),
        ({"a": "x"}, "passages must be a list of passages, not one dict: {'a': 'x'}"),
        (Passage("a", "x"), "passages must be a list of passages, not one Passage"),
        (None, "passages must be a list of passages, not one NoneType"),
        ([Passage("a", "x"), Passage("a", "y")], "two passages have the id 'a': 1 and 2, with dif"),
        (
            ["x", {"id": 1, "text": "x"}],
            "two passages have the id '1': 1 and 2, with the same text",
        ),
        ([Passage("2", "x"), "y"], "two passages have the id '2': 1 and 2, with different texts"),
        ([3], "passage 1: it must be a Passage, a string, a dict with a text, or a document of "),
        (["x", b"y"], "passage 2: it must be a Passage, .* Haystack, not bytes"),
        ([None], "passage 1: it must be a Passage"),
        ([Passage], "passage 1: it must be a Passage"),
        ([Haystack("a", None)], "passage 1: it must be a Passage"),
        ([{"title": "x"}], 'passage 1: it has no "text" .nor content or page_content'),
        ([{"text": 3}], "passage 1: the text of passage '1' must be a string, not int"),
        ([{"text": "x", "meta": []}], "passage 1: meta must be an object"),
        ([{"text": "x", "id": 1.5}], "passage 1: a passage's id must be a string or an integer"),
        ([SimpleNamespace(text="x", metadata=3)], "passage 1: metadata must be a mapping, not int"),
    ],
)
def test_lists_that_cannot_be_ranked(items, message):
    with pytest.raises(InputError, match=message):
        as_passages(items)


def test_equal_texts_stay_separate_passages():
    assert Reranker("lexical").rerank_sync("x", ["x", "x"]).ids == ("1", "2")


class Hostile:
    def __repr__(self):
        raise RuntimeError

    __float__ = item = __repr__


@pytest.mark.parametrize("value", [10**5_000, Hostile()], ids=["digits", "hostile"])
@pytest.mark.parametrize(
    "form",
    [lambda one: one, lambda one: [one], lambda one: [{"text": one}],
     lambda one: [{"id": one, "text": "a"}], lambda one: [{"text": "a", "score": one}]],
)  # fmt: skip
def test_a_value_that_cannot_be_shown_is_an_input_error_too(form, value):
    with pytest.raises(InputError):
        as_passages(form(value))

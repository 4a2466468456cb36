import json
from collections import OrderedDict, namedtuple
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mcp.types import CallToolResult, ImageContent, TextContent
from pydantic import BaseModel, RootModel

from rearank_agent.tool_results.headings import begins_with_heading
from rearank_agent.tool_results.lists import find_list
from rearank_agent.types import Passage

A = {"title": "Fleas", "text": "Fleas bite.", "url": "https://a.org"}
B = {"title": "Ticks", "text": "Ticks hold on.", "url": "https://b.org"}
C = {"title": "Lice", "text": "Lice cling.", "url": "https://c.org"}
ABC = (
    Passage("1", "Fleas bite.", "Fleas", place="https://a.org"),
    Passage("2", "Ticks hold on.", "Ticks", place="https://b.org"),
    Passage("3", "Lice cling.", "Lice", place="https://c.org"),
)
WORDS = (Passage("1", "a"), Passage("2", "b"), Passage("3", "c"))


class Hit(BaseModel):
    text: str
    title: str = ""


class Hits(BaseModel):
    query: str
    hits: list[Hit]


class Frozen(BaseModel, frozen=True):
    found: tuple[Hit, ...]
    total: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    body: str
    heading: str = ""
    path: str = ""


@dataclass
class Pages:
    pages: list[Page]
    seconds: float = 0.5


class Plain:
    def __init__(self, content):
        self.content = content


class Slots:
    __slots__ = ("link", "name", "snippet")

    def __init__(self, snippet, name, link):
        self.snippet, self.name, self.link = snippet, name, link


@dataclass
class Stubborn:
    pages: list[Page] = field(init=False)


class Prickly:
    @property
    def text(self):
        raise RuntimeError("not connected")

    def __init__(self):
        self.id = 1


Triple = namedtuple("Triple", "text title url")
H1, H2, H3 = Hit(text="a"), Hit(text="b"), Hit(text="c")
P1, P2, P3 = Page("a"), Page("b"), Page("c")


def block(text):
    return {"type": "text", "text": text}


def content(text):
    return TextContent(type="text", text=text)


def dumped(value, **style):
    return json.dumps(value, ensure_ascii=False, **style)


# what came, its passages, and what the third and the first item look like in the same form
FORMS = {
    "list of strings": (["a", "b", "c"], WORDS, ["c", "a"]),
    "list of mappings": ([A, B, C], ABC, [C, A]),
    "tuple": ((A, B, C), ABC, (C, A)),
    "list of models": ([H1, H2, H3], WORDS, [H3, H1]),
    "items and scores": ([(H1, 0.5), (H2, 1), (H3, 0)], WORDS, [(H3, 0), (H1, 0.5)]),
    "items and scores of JSON": (
        '[["a", 0.5], ["b", 1], ["c", 0]]', WORDS, '[["c", 0], ["a", 0.5]]',
    ),
    "mapping": (
        {"results": [A, B, C], "total": 3, "images": []}, ABC,
        {"results": [C, A], "total": 3, "images": []},
    ),
    "mapping with a name unknown": ({"Treffer": [A, B, C]}, ABC, {"Treffer": [C, A]}),
    "mapping of strings": ({"documents": ["a", "b", "c"]}, WORDS, {"documents": ["c", "a"]}),
    "mapping of a tuple": ({"docs": (A, B, C)}, ABC, {"docs": (C, A)}),
    "mapping with the best name": (
        {"videos": [B, A], "items": [B, C], "results": [A, B, C], "pictures": ["u", "v", "w"]},
        ABC,
        {"videos": [B, A], "items": [B, C], "results": [C, A], "pictures": ["u", "v", "w"]},
    ),
    "ordered mapping": (
        OrderedDict(n=3, hits=[A, B, C]), ABC, OrderedDict(n=3, hits=[C, A]),
    ),
    "mapping in a mapping": (
        {"took": 1, "hits": {"total": 3, "hits": [A, B, C]}}, ABC,
        {"took": 1, "hits": {"total": 3, "hits": [C, A]}},
    ),
    "a document that has lists": (
        {"results": [A | {"tags": ["x", "y"]}, B, C]}, ABC,
        {"results": [C, A | {"tags": ["x", "y"]}]},
    ),
    "model": (
        Hits(query="q", hits=[H1, H2, H3]), WORDS, Hits(query="q", hits=[H3, H1]),
    ),
    "frozen model": (Frozen(found=(H1, H2, H3)), WORDS, Frozen(found=(H3, H1))),
    "root model": (
        RootModel[list[str]](["a", "b", "c"]), WORDS, RootModel[list[str]](["c", "a"]),
    ),
    "dataclass": (Pages([P1, P2, P3], 0.1), WORDS, Pages([P3, P1], 0.1)),
    "model in a mapping": (
        {"data": Hits(query="q", hits=[H1, H2, H3])}, WORDS,
        {"data": Hits(query="q", hits=[H3, H1])},
    ),
    "JSON": (dumped([A, B, C]), ABC, dumped([C, A])),
    "JSON without spaces": (
        dumped({"results": [A, B, C]}, separators=(",", ":")), ABC,
        dumped({"results": [C, A]}, separators=(",", ":")),
    ),
    "JSON indented by 2": (
        dumped({"results": [A, B, C]}, indent=2), ABC, dumped({"results": [C, A]}, indent=2),
    ),
    "JSON indented by 4": (dumped([A, B, C], indent=4), ABC, dumped([C, A], indent=4)),
    "JSON of strings": ('["a","b","c"]', WORDS, '["c","a"]'),
    "JSON with escapes": (
        '{"hits": ["\\u00e4", "b", "c"]}',
        (Passage("1", "ä"), *WORDS[1:]), '{"hits": ["c", "ä"]}',
    ),
    "JSON Lines": (
        '{"text":"a", "n":1.0}\n\n{"text": "b"}\n{ "text": "c" }\n', WORDS,
        '{ "text": "c" }\n{"text":"a", "n":1.0}\n',
    ),
    "JSON Lines without an end": (
        '{"text":"a"}\n{"text":"b"}\n{"text":"c"}', WORDS, '{"text":"c"}\n{"text":"a"}',
    ),
    "blocks": (
        [block("a"), block("b"), block("c")], WORDS, [block("c"), block("a")],
    ),
    "MCP's blocks": (
        [content("a"), content("b"), content("c")], WORDS, [content("c"), content("a")],
    ),
    "MCP's whole result": (
        CallToolResult(content=[content("a"), content("b"), content("c")]), WORDS,
        CallToolResult(content=[content("c"), content("a")]),
    ),
    "a block of JSON": (
        [block(dumped({"results": [A, B, C]})) | {"annotations": 1}], ABC,
        [block(dumped({"results": [C, A]})) | {"annotations": 1}],
    ),
    "MCP's block of JSON": ((content(dumped([A, B, C])),), ABC, (content(dumped([C, A])),)),
    "MCP's whole result with a block of JSON Lines": (
        CallToolResult(content=[content('{"text":"a"}\n{"text":"b"}\n{"text":"c"}')]), WORDS,
        CallToolResult(content=[content('{"text":"c"}\n{"text":"a"}')]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("result", "passages", "reordered"), FORMS.values(), ids=FORMS)
def test_forms(result, passages, reordered):
    before = deepcopy(result)
    found = find_list(result)
    assert found.passages == passages
    assert found.reordered([2, 0]) == reordered
    assert type(found.reordered([2, 0])) is type(result)
    assert result == before


CYCLE = {}
CYCLE |= {"results": [CYCLE, CYCLE], "data": CYCLE}
LOOP = []
LOOP += [LOOP, LOOP]
DEEP = "[" * 100_000 + "]" * 100_000

NOTHING = {
    "none": None,
    "number": 3,
    "prose": "Fleas bite.\n\nTicks hold on.",
    "prose with a bracket": "[as above] Fleas bite.\n[and below] Ticks hold on.",
    "bytes": b'["a", "b"]',
    "set": {"a", "b"},
    "iterator": iter(["a", "b"]),
    "range": range(3),
    "named tuple": Triple("a", "b", "c"),
    "empty list": [],
    "one item": ["a"],
    "one item in a mapping": {"results": [A], "total": 1},
    "numbers": [1, 2, 3],
    "nothings": [None, None],
    "empty texts": ["", "a"],
    "empty mappings": [{}, {}],
    "rows of a table": [["name", "legs"], ["flea", "6"]],
    "strings and records": ["a caption", A],
    "text and an object": ("done", [A, B]),
    "pictures": [SimpleNamespace(data=b"1"), SimpleNamespace(data=b"2")],
    "texts and a picture": [
        content("a"), content("b"), ImageContent(type="image", data="", mime_type="image/png"),
    ],
    "a block of prose": [content("Fleas bite.\n\nTicks hold on.")],
    "a block and a picture": [
        content(dumped([A, B])), ImageContent(type="image", data="", mime_type="image/png"),
    ],
    "one document": {"title": "Fleas", "text": "Fleas bite.", "authors": ["x", "y"]},
    "one document by people": {"text": "Fleas bite.", "authors": [{"name": "x"}, {"name": "y"}]},
    "two lists with names unknown": {"web": {"results": [A, B]}, "news": {"results": [C, A]}},
    "said twice": CallToolResult(
        content=[content(dumped([A, B]))], structured_content={"result": [A, B]}
    ),
    "columns of Chroma": {"ids": [["1", "2"]], "documents": [["a", "b"]]},
    "columns of Chroma for two queries": {"ids": [["1"], ["2"]], "documents": [["a"], ["b"]]},
    "columns": {"ids": ["1", "2"], "documents": ["a", "b"], "metadatas": [{"n": 1}, {"n": 2}]},
    "a column of scores": {"results": [A, B], "scores": [0.2, 0.1]},
    "too deep": {"a": {"b": {"results": [A, B]}}},
    "JSON of a string": '"[1, 2]"',
    "JSON of numbers": "[1, 2]",
    "JSON Lines of lists": '["a"]\n["b"]',
    "JSON Lines and prose": '{"text": "a"}\nb',
    "deep JSON": DEEP,
    "cycle": CYCLE,
    "cycle of lists": LOOP,
    "cycle in items": [{"n": CYCLE}, {"n": CYCLE}],
    "cannot be read": [Prickly(), Prickly()],
    "cannot be put together": MappingProxyType({"results": [A, B]}),
    "object that is no dataclass": SimpleNamespace(results=[A, B]),
}  # fmt: skip
STUBBORN = Stubborn()
STUBBORN.pages = [P1, P2]
NOTHING["dataclass that cannot be copied"] = STUBBORN


@pytest.mark.parametrize("result", NOTHING.values(), ids=NOTHING)
def test_no_list(result):
    assert find_list(result) is None


def test_iterators_are_not_consumed():
    lines = iter("ab")
    assert find_list(lines) is None
    assert find_list({"results": lines}) is None
    assert list(lines) == ["a", "b"]


ITEMS = [
    (Plain("x"), Passage("1", "x")),
    (Plain(Plain("x")), Passage("1", "x")),
    (Slots("x", "t", "p"), Passage("1", "x", "t", place="p")),
    (Page("x", "t", "p"), Passage("1", "x", "t", place="p")),
    (Triple("x", "t", "p"), Passage("1", "x", "t", place="p")),
    (Passage("i", "x", "t"), Passage("1", "x", "t", place="i")),
    ({"text": " ", "content": None, "snippet": "x", "summary": "y"}, Passage("1", "x")),
    ({"content": [block("x"), block("y")]}, Passage("1", "x\ny")),
    ({"body": ["x", "", "y"], "id": 7}, Passage("1", "x\ny", place="7")),
    ({"document": {"text": "x", "title": "t"}, "name": "n"}, Passage("1", "x", "t")),
    ({"page_content": "x", "metadata": {"source": "p", "title": "t"}, "id": "i"},
     Passage("1", "x", "t", place="p")),
    ({"_id": "i", "_source": {"body": "x", "url": "p"}}, Passage("1", "x", place="p")),
    ({"id": 1, "score": 0.5, "payload": {"text": "x"}}, Passage("1", "x", place="1")),
    (SimpleNamespace(node=SimpleNamespace(text="x"), score=1), Passage("1", "x")),
    ({"legs": 6, "näme": ["flöh"]}, Passage("1", 'legs: 6\nnäme: ["flöh"]')),
    ({"day": Slots, "title": "t"}, Passage("1", f'day: "{Slots}"\ntitle: t', "t")),
    ({"n": "x" * 5_000}, Passage("1", ("n: " + "x" * 5_000)[:4_000])),
    ({"name": "Ada", "observations": ["x", "y"]}, Passage("1", "x\ny", "Ada")),
    ({"resource": {"uri": "p", "text": "x"}}, Passage("1", "x", place="p")),
    ((Plain("x"), 0.5), Passage("1", "x")),
]  # fmt: skip


@pytest.mark.parametrize(("item", "passage"), ITEMS)
def test_the_passage_of_an_item(item, passage):
    found = find_list([item, A])
    assert found.passages == (passage, Passage("2", A["text"], A["title"], place=A["url"]))
    assert [one is item for one in found.reordered([1, 0])] == [False, True]


ANY_TEXT = st.text(max_size=5)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=5)
KEYS = st.sampled_from(["text", "content", "title", "type", "metadata", "data", "results"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.just("text"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS | ANY_TEXT, inner, max_size=3)
    ),
    max_leaves=12,
)
RECORDS = st.lists(
    st.fixed_dictionaries({"text": TEXT}, optional={"id": st.integers(), "title": TEXT}),
    min_size=2,
)
LISTS = RECORDS | st.lists(TEXT, min_size=2) | st.lists(st.builds(Hit, text=TEXT), min_size=2)


def items_of(result, path):
    for key in path:
        result = getattr(result, key) if isinstance(result, BaseModel) else result[key]
    return result


@given(LISTS, st.data())
def test_the_same_order_gives_the_same_result(items, data):
    assume(not begins_with_heading(items))
    forms = [
        ((), items), ((), tuple(items)), (("hits", "docs"), {"hits": {"docs": items}, "n": 1}),
        (("data", "hits"), {"data": Hits.model_construct(query="q", hits=items)}),
    ]  # fmt: skip
    path, result = data.draw(st.sampled_from(forms))
    found = find_list(result)
    assert found.reordered(range(len(items))) == result
    order = data.draw(st.permutations(range(len(items))))
    reordered = items_of(found.reordered(order), path)
    assert [id(one) for one in reordered] == [id(items[i]) for i in order]


@given(RECORDS, st.sampled_from([None, 1, 2, "\t"]), st.booleans())
def test_the_same_order_gives_the_same_json(items, indent, ascii_only):
    result = json.dumps({"results": items, "n": 1}, indent=indent, ensure_ascii=ascii_only)
    reordered = find_list(result).reordered(range(len(items)))
    assert json.loads(reordered) == json.loads(result)
    if not ascii_only:
        assert reordered == result
    lines = "".join(json.dumps(item, ensure_ascii=ascii_only) + "\n" for item in items)
    assert find_list(lines).reordered(range(len(items))) == lines


@given(VALUES)
def test_any_value_is_handled_and_stays_unchanged(value):
    before = repr(value)  # nan is not equal to nan, but looks the same
    for result in (value, json.dumps(value), [block(json.dumps(value))]):
        found = find_list(result)
        if found:
            same = found.reordered(range(len(found.items)))
            assert type(same) is type(result)
            assert [p.id for p in found.passages] == [str(n + 1) for n in range(len(found.items))]
    found = find_list(value)
    assert found is None or repr(found.reordered(range(len(found.items)))) == before
    assert repr(value) == before


@pytest.mark.parametrize(
    ("result", "better"),
    [
        (["a\ud800", "b"], ["b", "a\ud800"]),
        ('["a\\ud800", "b\u00e9"]', '["b\\u00e9", "a\\ud800"]'),
        ("1. a\ud800\n2. b", "2. b\n1. a\ud800"),
    ],
    ids=["a list", "JSON", "text"],
)
def test_half_characters_are_ranked_as_shown_and_stay_in_the_items(result, better):
    found = find_list(result)
    assert found.passages[0].text.endswith("a\ufffd")
    assert [fault.kind for fault in found.faults] == ["surrogate"]
    assert found.reordered([1, 0]) == better


def test_whole_characters_are_no_fault():
    assert find_list(["\U0001f511", "\u00e9"]).faults == ()

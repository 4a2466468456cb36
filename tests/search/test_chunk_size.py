"""No chunk is longer than what the encoder that ships reads, whatever it is made of."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent.policies.embedded.encoder import Encoder
from rearank_agent.policies.embedded.policy import DEFAULT, WEIGHTS
from rearank_agent.policies.embedded.token_count import count_tokens
from rearank_agent.search.chunk import Document, chunk_document
from rearank_agent.search.titles import MAX_TITLE, headings, short_title
from rearank_agent.types import Passage

RANDOM = random.Random(3)
HEX = "".join(RANDOM.choices("0123456789abcdef", k=6_000))
BASE64 = "".join(
    RANDOM.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", k=6_000)
)
KINDS = {
    "prose": "Immunohistochemistry of the cellar's pump, by S. Őrsi et al., wasn't conclusive. " * 80,
    "code": "    if (a[i] != b->c_d[j++]) { throw new IllegalArgumentException(f(\"%s\\n\")); }\n" * 60,
    "table": "| 0.183 | −12,345.6 | <2e-16 | ✓ |\n" * 90,
    "urls": "https://example.org/a%20b/c?q=zx81&utm_source=x-y_z#frag-9f8e7d\n" * 60,
    "hexadecimal": HEX,
    "base64": BASE64,
    "minified": "!function(e,t){\"use strict\";for(var n=0;n<e.length;n++)t[n]=e[n]^0x5f}" * 60,
    "Chinese": "水泵在下雨九个小时之后坏了。" * 90,
    "Japanese": "ポンプは九時間の雨のあとで壊れました。" * 80,
    "Korean": "펌프는 아홉 시간 동안 비가 온 뒤 고장났습니다. " * 80,
    "Russian": "Насос в подвале отказал после девяти часов дождя. " * 80,
    "Arabic": "تعطلت المضخة في القبو بعد تسع ساعات من المطر. " * 80,
    "Hindi": "नौ घंटे की बारिश के बाद तहखाने का पंप खराब हो गया। " * 80,
    "Thai": "ปั๊มน้ำในห้องใต้ดินเสียหลังจากฝนตกเก้าชั่วโมง" * 80,
    "emoji": "👩‍👩‍👧🏽 ok →→ ½ ² " * 200,
}  # fmt: skip


@cache
def encoder():
    return Encoder(WEIGHTS, WEIGHTS / DEFAULT)


def is_read_to_its_end(chunk):
    return encoder().trunk(Passage("1", chunk.text, chunk.title).content, 256).complete


def chunks(text, prose):
    numbers = range(1, text.count("\n") + 2)
    return chunk_document(Document(text, numbers, headings(text) if prose else {}, prose))


@pytest.mark.parametrize("prose", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_with_its_title_is_read_to_its_end(kind, prose):
    title = f"# {KINDS[kind][:300].splitlines()[0]}\n\n## Two\n\n"
    found = chunks(title + KINDS[kind], prose)
    assert len(found) > 3
    assert [chunk for chunk in found if not is_read_to_its_end(chunk)] == []


@settings(max_examples=30)
@given(st.lists(st.sampled_from([kind[:400] for kind in KINDS.values()]), max_size=5), st.data())
def test_a_mixture_is_read_to_its_end(parts, data):
    joints = st.sampled_from(["", " ", "\n", "\n\n", "\n\n# One\n\n", "\n\n### Three\n"])
    text = "".join(part + data.draw(joints) for part in parts)
    found = chunks(text, prose=data.draw(st.booleans()))
    assert [chunk for chunk in found if not is_read_to_its_end(chunk)] == []


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=80))
def test_a_count_is_never_below_that_of_the_encoder(text):
    read = encoder().trunk(text, 256)
    assert len(read.starts) - 2 <= count_tokens(text)


@pytest.mark.parametrize(
    ("parts", "title"),
    [
        ([], ""),
        (["Cellar", "Pumps"], "Cellar > Pumps"),
        (["word " * 50, "Cellar", "Pumps"], "Cellar > Pumps"),
        (["Cellar", "word " * 60], f"{'word ' * 49}".rstrip() + "…"),
        (["x" * 3_000], "x" * 49 + "…"),
    ],
)
def test_a_title_keeps_its_innermost_headings(parts, title):
    assert short_title(parts) == title
    assert count_tokens(title) <= MAX_TITLE

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rearank_agent.policies.evidence import MAX_CHARACTERS, EvidenceQuery
from rearank_agent.text import bigrams, identifiers, sentences, words

ORDERS = (
    "The order 4471 was shipped on Monday. The order 4472 was shipped on Friday. "
    "The order 4473 is waiting for payment. The order 4474 was cancelled."
)
CHANGES = (
    "## 3.0.0 (2024-05-01)\n- Added tabs\n- Removed the old parser\n## 2.3.0\n- Removed the bar"
)
PLANS = "The basic plan includes backups. The free plan does not include backups."
HARBOUR = (
    "Ines Roth runs the yard. She was born in Vigo. Otto Lund is the mate. He was born in Riga."
)
STEPS = "4. Press the lever. 5. Pull the cord twice. 6. Let the engine run."
QUESTIONS = (
    "Q: How do I reset my password?\nA: Use the link on the sign-in page.\n"
    "Q: How do I delete my account?\nA: Write to the office, with your number."
)
FILES = (
    "main.rs starts the loop. parser_test.rs holds the cases. parser.rs turns lines into commands."
)


def quoted(query, text, nearness=None):
    return [text[q.start : q.end] for q in EvidenceQuery.of(query).quotes(text, nearness)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("v2.0.1, release 2.0", [("2", "0", "1"), ("2", "0")]),
        ("on 3 March 2021, March 13th, 2021 or 2021-05-03", [("2021", "03", "03"), ("2021", "03", "13"), ("2021", "05", "03")]),
        ("the market of 2021 in May 2022", [("2021",), ("2022", "05")]),
        ("12kg, 12.5 kg and 1,200 m", [("12",), ("12", "5"), ("1200",)]),
        ("ABC-123 at 0x1F: read_block() of src/main.rs.", [("abc", "123"), ("0x1f",), ("read", "block"), ("src", "main", "rs")]),
        ("parseLine fails well-known plans, 订单4471", [("parseline",), ("4471",)]),
        ("no such thing here", []),
    ],
)  # fmt: skip
def test_identifiers(text, found):
    assert identifiers(text) == found


@pytest.mark.parametrize(
    ("query", "text", "sentence"),
    [
        *((f"what is the status of order {4471 + n}", ORDERS, re.split(r"(?<=\.) ", ORDERS)[n]) for n in range(4)),
        ("what was removed in v3.0.0", CHANGES, "- Removed the old parser"),
        ("what was removed in version 2.3.0", CHANGES, "- Removed the bar"),
        ("which plan does not include backups", PLANS, "The free plan does not include backups."),
        ("which plan includes backups", PLANS, "The basic plan includes backups."),
        ("where was Otto Lund born", HARBOUR, "He was born in Riga."),
        ("where was ines roth born", HARBOUR, "She was born in Vigo."),
        ("what is step 5", STEPS, "Pull the cord twice."),
        ("what is in parser.rs", FILES, "parser.rs turns lines into commands."),
        ("what does parser_test.rs hold", FILES, "parser_test.rs holds the cases."),
        ("how to reset the password", QUESTIONS, "A: Use the link on the sign-in page."),
        ("delete an account", QUESTIONS, "A: Write to the office, with your number."),
        ("what is the timeout", "retries = 5\ntimeout = 30", "timeout = 30"),
    ],
)  # fmt: skip
def test_terms_decide_where_they_occur(query, text, sentence):
    assert quoted(query, text) == [sentence]


@pytest.mark.parametrize("form", ["A-{}", "SO/2024/{}", "INV{}", "#{}", "Order {}"])
@pytest.mark.parametrize("query", ["status of order {}", "when was {} shipped", "what about {}?"])
def test_a_number_names_the_code_that_ends_with_it(form, query):
    rows = [
        f"{form.format(n)}: shipped, {n - 4469} items, {n - 4469} March" for n in range(4470, 4480)
    ]
    for number, row in enumerate(rows, 4470):
        assert quoted(query.format(number), "\n".join(rows)) == [row]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("status of 4473", ORDERS),
        ("parser.rs", FILES),
        ("4474", ORDERS),
    ],
)
def test_identifiers_and_names_outweigh_nearness(query, text):
    (sentence,) = quoted(query, text)
    for preferred in sentences(text):
        assert quoted(query, text, lambda q, best=preferred: 0.2 * (q == best)) == [sentence]


def test_where_no_term_decides_the_nearest_is_quoted():
    text = "Ice bends under its weight. Water makes it slide. Stones are dropped at the end."
    assert quoted("what lubricates a glacier", text) == []
    assert quoted("what lubricates a glacier", text, lambda quote: quote.start == 28) == [
        "Water makes it slide."
    ]


@pytest.mark.parametrize(
    "text", ["else:", "4.", "}\n4.\nelse:\n---", "try:\n", "", "Step 4", "你好。"]
)
@pytest.mark.parametrize("query", ["what else is there", "step 4", "how far do fleas jump"])
def test_lines_that_say_nothing_are_no_evidence(query, text):
    assert quoted(query, text) == quoted(query, text, lambda _: 1.0) == []


def test_beyond_the_limit_nothing_is_searched():
    text = "x " * (MAX_CHARACTERS // 2) + "\nThe order 4471 was shipped."
    assert quoted("order 4471", text) == []


def test_scripts_without_spaces_are_cut_into_pairs():
    text = "狗在晚上叫。跳蚤能活一百天。猫有跳蚤。"
    (quote,) = EvidenceQuery.of("跳蚤能活多久", bigrams).quotes(text)
    assert text[quote.start : quote.end] == "跳蚤能活一百天。"


@given(st.lists(st.integers(0, 99_999), min_size=2, max_size=20, unique=True), st.data())
def test_the_row_of_a_code_is_quoted_wherever_it_stands(codes, data):
    code = data.draw(st.sampled_from(codes))
    rows = {n: f"E{n} | the pump is late | call {n % 7}" for n in codes}
    nearness = data.draw(st.lists(st.floats(-0.3, 0.3), min_size=len(rows), max_size=len(rows)))
    text = "\n".join(rows.values())
    by_start = dict(zip((quote.start for quote in sentences(text)), nearness, strict=True))
    assert quoted(f"what does E{code} mean", text) == [rows[code]]
    assert quoted(f"e{code}?", text, lambda quote: by_start[quote.start]) == [rows[code]]


@given(st.text(max_size=40), st.text(max_size=200), st.booleans())
def test_a_quote_is_a_sentence_with_words(query, text, near):
    found = EvidenceQuery.of(query).quotes(
        text, (lambda quote: quote.start % 3 / 3) if near else None
    )
    assert set(found) <= set(sentences(text))
    assert all(len(words(text[quote.start : quote.end])) > 1 for quote in found)

import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from statistics import fmean

import matplotlib as mpl
import pytest

from rearank_evals.report.markdown import markdown_report
from rearank_evals.report.numbers import (
    format_amount,
    format_difference,
    format_interval,
    format_measure,
    format_p,
)
from rearank_evals.report.page import html_report
from rearank_evals.report.plots import AXES, bars, tradeoff

MEASURES = ["nDCG@10", "RR@10", "R@100", "Judged@10"]
SYSTEMS = {"first-stage": 0.50, "embedded": 0.655, "vllm:qwen2.5-7b": 0.70}
QUERIES = [
    "how long is the life cycle of a flea",
    "why do whales strand on beaches in groups",
    "what makes a tidal mill stop",
    "which metals float on mercury",
    "do plants grow faster with music",
    "when is a bridge closed for wind",
]
WORDS = (
    "A mill on a tidal creek turns for about ten hours a day, since the pond must fill before it can "
    "run and the sea must fall below the wheel. At neap tides the head is small and the miller waits."
)


def case(rng, at, sign, reasoning):
    passages = [
        {
            "rank": rank,
            "was": rng.randint(1, 100),
            "grade": rng.choice([0, 1, 2, 3, None]),
            "id": f"d{rng.randint(1000, 9999)}",
            "text": WORDS,
            "why": rng.choice(
                ["", "the pond must fill before it can run", "Names the cause and when it holds."]
            ),
        }
        for rank in (1, 2, 3)
    ]
    low, high = 0.1 + 0.05 * (at % 4), 0.9 - 0.03 * at
    value, baseline = (high, low) if sign > 0 else (low, high)
    thought = "[1] speaks of the pond that fills.\n[2] only names a mill.\nSo [1] comes first. " * 6
    return {
        "query_id": str(264014 + at),
        "query": QUERIES[at % len(QUERIES)],
        "value": value,
        "baseline": baseline,
        "rationale": thought if reasoning else "",
        "passages": passages,
    }


def system(rng, name, value, baseline, others):
    model = name.startswith("vllm")
    first = name == baseline
    ends = [value - 0.05 - rng.random() / 50, value + 0.05 + rng.random() / 50]
    test = {
        "n": 43,
        "difference": value - others[baseline],
        "interval": [value - others[baseline] - 0.04, value - others[baseline] + 0.04],
        "p": 0.0004,
        "p_holm": 0.0121,
        "wins": 31,
        "ties": 4,
        "losses": 8,
        "small": False,
    }
    return {
        "policy": f"{name}@abc123",
        "schedule": "sliding:20:10" if model else "whole",
        "blend": 0.3 if name == "embedded" else 0.0,
        "intervals": dict.fromkeys(MEASURES, ends),
        "alone": dict.fromkeys(MEASURES, value - 0.0125) if name == "embedded" else None,
        "against": None if first else dict.fromkeys(MEASURES, test),
        "per_query": {m: {} for m in MEASURES},
        "cost": {
            "calls": 9.4 if model else 0.0 if first else 1.0,
            "turns": 9.0 if model else 0.0 if first else 1.0,
            "hits": 0,
            "prompt_tokens": 31250.4 * rng.random() if model else 0,
            "thought_tokens": 7400.0 if model else 0,
            "answer_tokens": 530.0 if model else 0,
            "seconds": 11.3 * (1 + rng.random()) if model else 0.0 if first else 0.48,
        },
        "faults": [
            {
                "kind": "failed",
                "queries": 3,
                "times": 9,
                "detail": "the server closed the connection",
            },
            {"kind": "repeated", "queries": 5, "times": 6, "detail": "passage 4 was named twice"},
        ]
        if model
        else [],
        "partial": 3 if model else 0,
        "rationale": {
            "coverage": None if first else 0.94,
            "groundedness": None if first else 1.0 if name == "embedded" else 0.713,
            "agreement": 0.88 if model else None,
        },
        "shuffled": {"k": 3, "means": [0.701, 0.693, 0.688], "spread": 0.0054, "correlation": 0.83}
        if model
        else None,
        "wins": [] if first else [case(rng, i, 1, model) for i in range(10)],
        "losses": [] if first else [case(rng, i, -1, model) for i in range(6)],
    }


def made(names=("trec_dl19", "nfcorpus"), systems=SYSTEMS, seed=5):
    """A report and its details as a run of `eval` would write them."""
    rng, baseline = random.Random(seed), "first-stage"
    report, collections = {}, {}
    for at, name in enumerate(names):
        values = {s: base - 0.19 * (at % 3) + rng.random() / 50 for s, base in systems.items()}
        report[name] = {s: dict.fromkeys(MEASURES, value) for s, value in values.items()}
        collections[name] = {
            "source": f"data/{name}",
            "queries": 43 + at,
            "passages": 14581,
            "judgements": 9260,
            "first_stage": "candidates.jsonl",
            "depth": 100,
            "instruction": "",
            "notes": ["4,923 judged passages are not in the corpus; they count in the ideal"][at:],
            "published": [
                {
                    "system": s,
                    "measure": "nDCG@10",
                    "value": v - 0.3 * (at % 3),
                    "source": "arXiv 2505.20046, table 1",
                    "candidates": "not stated",
                }
                for s, v in (("BM25", 0.5058), ("RankQwen2.5-7B", 0.6825), ("REARANK-7B", 0.7416))
            ],
            "systems": {s: system(rng, s, value, baseline, values) for s, value in values.items()},
        }
    means = {s: fmean(report[c][s]["nDCG@10"] for c in report) for s in systems}
    macro = {
        s: {
            "value": mean,
            "interval": [mean - 0.03, mean + 0.03],
            "difference": None if s == baseline else mean - means[baseline],
            "difference_interval": None if s == baseline else [0.09, 0.21],
        }
        for s, mean in means.items()
    }
    details = {
        "kind": "eval",
        "version": 1,
        "date": "2026-11-25",
        "command": "rearank-agent eval data/trec_dl19 data/nfcorpus --policy embedded --policy vllm:qwen2.5-7b --out runs/both",
        "measures": MEASURES,
        "baseline": baseline,
        "collections": collections,
        "macro": macro if len(names) > 1 else {},
        "files": {
            f"{c}/qrels.txt": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
            for c in names
        },
        "manifests": {
            f"{c}/{s}": {
                "collection": {"hash": "9f86d0"},
                "sampling": None,
                "versions": {"rearank-agent": "0.1.0", "onnxruntime": "1.20.1"},
            }
            for c in names
            for s in systems
        },
    }
    return report, details


def tiny():
    """One system that was measured on three queries, beside the baseline."""
    against = {
        "n": 3,
        "difference": 0.1,
        "interval": [-0.02, 0.21],
        "p": 0.0321,
        "p_holm": None,
        "wins": 2,
        "ties": 0,
        "losses": 1,
        "small": True,
    }
    said = {
        "first-stage": {"schedule": "whole", "blend": 0, "cost": {"seconds": 0.0}},
        "lexical": {
            "schedule": "whole",
            "blend": 0.3,
            "intervals": {"nDCG@10": [0.5, 0.7]},
            "alone": {"nDCG@10": 0.55},
            "against": {"nDCG@10": against},
            "cost": {
                "calls": 1.0,
                "turns": 1.0,
                "hits": 0,
                "prompt_tokens": 1234.5,
                "thought_tokens": 0,
                "answer_tokens": 7,
                "seconds": 0.0041,
            },
            "faults": [{"kind": "cut", "queries": 1, "times": 2, "detail": "a | b"}],
            "partial": 1,
            "rationale": {"coverage": 1.0, "groundedness": 0.8, "agreement": None},
            "shuffled": {"k": 2, "means": [0.6, 0.59], "spread": 0.005, "correlation": 0.9},
            "wins": [
                {"query_id": "7", "query": "what *is* a\nmill", "value": 0.9, "baseline": 0.4}
                | {"rationale": "", "passages": []}
            ],
            "losses": [],
        },
    }
    collection = {
        "source": "small",
        "queries": 3,
        "passages": 12,
        "judgements": 36,
        "first_stage": "bm25",
        "depth": 100,
        "instruction": "",
        "notes": ["1 query has no judgement"],
        "perfect": {"nDCG@10": 0.8},
        "published": [
            {
                "system": "BM25",
                "measure": "nDCG@10",
                "value": 0.51,
                "source": "a paper, table 1",
                "candidates": "BM25's first 100",
            }
        ],
        "systems": said,
    }
    details = {
        "date": "2026-11-25",
        "command": "rearank-agent eval small --policy lexical",
        "measures": ["nDCG@10"],
        "baseline": "first-stage",
        "collections": {"small": collection},
        "macro": {},
        "files": {"small/qrels.txt": "0123456789abcdef"},
        "manifests": {"small/lexical": {"versions": {"bm25s": "0.3.0"}}},
    }
    return {"small": {"first-stage": {"nDCG@10": 0.5}, "lexical": {"nDCG@10": 0.6}}}, details


MARKDOWN = """\
# nDCG@10 of 2 systems on 1 collection

2026-11-25. Measures are shown x100; in brackets the 95% bootstrap interval of the mean over the queries. Bold is the highest in its column; “alone” is the policy without the first stage's ranks blended in, “perfect order” the best possible order of the candidates. Queries that failed are in every mean.

| system         |        small (3 queries) |
| -------------- | -----------------------: |
| first-stage    |                    50.00 |
| lexical        | **60.00** (50.0 to 70.0) |
| lexical, alone |                    55.00 |
| perfect order  |                    80.00 |

## Differences against first-stage

nDCG@10, query by query: the mean difference with its interval, a paired t-test, and its p after Holm's correction over the systems. “few” marks too few queries to rely on the test.

| collection | system  | queries | difference |  95% interval |    p | p (Holm) | wins/ties/losses |
| ---------- | ------- | ------: | ---------: | ------------: | ---: | -------: | ---------------: |
| small      | lexical | 3 (few) |     +10.00 | −2.0 to +21.0 | .032 |        – |            2/0/1 |

## nDCG@10, beside published figures

Published figures are of the official test set and were not measured here; beside each is who published it, and which candidates were reranked. Systems compare only where these are the same. A folder is recognised by its name only: if it has other queries, judgements or candidates, the figures are not comparable.

| system      | small | origin                                                    |
| ----------- | ----: | --------------------------------------------------------- |
| first-stage | 50.00 | measured here                                             |
| lexical     | 60.00 | measured here                                             |
| BM25        | 51.00 | published: a paper, table 1; candidates: BM25's first 100 |

## Costs

Means per query; seconds are the median.

| collection | system      | schedule | blend | calls | turns | cached (replies) | prompt (tokens) | thought (tokens) | answer (tokens) | seconds (median) | queries (at once) |
| ---------- | ----------- | -------- | ----: | ----: | ----: | ---------------: | --------------: | ---------------: | --------------: | ---------------: | ----------------: |
| small      | first-stage | whole    |     0 |     – |     – |                – |               – |                – |               – |                0 |                 – |
| small      | lexical     | whole    |   0.3 |   1.0 |   1.0 |              0.0 |           1,234 |                0 |               7 |           0.0041 |                 – |

## Faults, beside quality

What was repaired, left out or failed. No query was dropped from the means.

| collection | system  | nDCG@10 | ended early | fault | queries | times | example |
| ---------- | ------- | ------: | ----------: | ----- | ------: | ----: | ------- |
| small      | lexical |   60.00 |           1 | cut   |       1 |     2 | a \\| b  |

## Rationales

Coverage: the share of passages that the reasoning mentions. Groundedness: the share of quoted spans that are in the passage. Agreement: how far the order follows the relevance levels stated.

| collection | system  | coverage | groundedness | agreement |
| ---------- | ------- | -------: | -----------: | --------: |
| small      | lexical |    100.0 |         80.0 |         – |

## Order of candidates

nDCG@10 when the candidates are shuffled first; the spread is the standard deviation of the repetitions, tau-b the correlation of their orders.

| collection | system  | as given |     shuffled | spread | Kendall tau-b |
| ---------- | ------- | -------: | -----------: | -----: | ------------: |
| small      | lexical |    60.00 | 60.00, 59.00 |   0.50 |         0.900 |

## Largest wins and losses

Passages and rationales of these and more queries are in `report.html`.

- lexical on small, wins: +50.0 “what \\*is\\* a mill” (7)

## Collections

| collection | queries | passages | judgements | depth | first stage | source |
| ---------- | ------: | -------: | ---------: | ----: | ----------- | ------ |
| small      |       3 |       12 |         36 |   100 | bm25        | small  |

- small: 1 query has no judgement

## How it was made

    rearank-agent eval small --policy lexical

Checksums (first digits of SHA-256) and versions; `details.json` has them in full.

- small/qrels.txt: 0123456789ab
- versions: bm25s 0.3.0
"""


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (format_measure(0.65547), "65.55"),
        (format_measure(-0.0213, 1), "−2.1"),
        (format_measure(None), "–"),
        (format_difference(0.1497), "+14.97"),
        (format_difference(-0.021), "−2.10"),
        (format_difference(-0.0000001), "0.00"),
        (format_interval((0.612, 0.694)), "61.2 to 69.4"),
        (format_interval((-0.02, 0.21), sign=True), "−2.0 to +21.0"),
        (format_interval(None), "–"),
        (format_p(0.00099), "<.001"),
        (format_p(0.0321), ".032"),
        (format_p(1.0), "1.000"),
        (format_p(None), "–"),
        (format_amount(14581), "14,581"),
        (format_amount(21.34), "21.3"),
        (format_amount(0.48), "0.48"),
        (format_amount(0.0041), "0.0041"),
        (format_amount(0), "0"),
        (format_amount(9, 1), "9.0"),
        (format_amount(None), "–"),
    ],
)
def test_figures(written, said):
    assert written == said


def test_markdown_of_a_tiny_report():
    assert markdown_report(*tiny()) == MARKDOWN


class Reader(HTMLParser):
    """What a browser would see: elements, their attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], set(), [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def values(reader, *names):
    return [value for name, value in reader.attributes if name in names]


@pytest.fixture(scope="module")
def html():
    return html_report(*made())


def test_the_page_needs_nothing_else(html):
    reader = Reader(html)
    assert reader.tags.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form"})
    links = values(reader, "href", "src", "xlink:href", "srcset", "action")
    assert links
    assert all(link.startswith("#") for link in links)
    assert "url(http" not in html
    assert "@import" not in html
    assert [v for v in values(reader, "content") if v.startswith("default-src 'none'")]


def test_ids_are_unique_and_every_reference_has_one(html):
    reader = Reader(html)
    ids = values(reader, "id")
    assert len(ids) == len(set(ids))
    clips = [re.fullmatch(r"url\(#(.+)\)", clip)[1] for clip in values(reader, "clip-path")]
    assert {*clips, *(link[1:] for link in values(reader, "href"))} == set(ids)


def test_the_page_says_all(html):
    report, details = made()
    text = " ".join(Reader(html).text.split())
    for said in (
        "3 systems on 2 collections",
        "trec_dl19 43 queries",
        "macro average 2 collections",
        "published: arXiv 2505.20046, table 1; candidates: not stated",
        "the server closed the connection",
        "4,923 judged passages are not in the corpus",
        "31 wins, 4 ties, 8 losses",
        "why do whales strand on beaches in groups",
        "[2] only names a mill.",
        "not judged",
        details["command"],
        '"onnxruntime": "1.20.1"',
        "70.10, 69.30, 68.80",
    ):
        assert said in text, said
    assert html.count('<tr class="published">') == 3
    assert f"{100 * report['trec_dl19']['embedded']['nDCG@10']:.2f}" in text


HOSTILE = "<script>alert(1)</script>\"'|`*[x](http://e.example)$\\frac{$ \u202e\x00鏡&lt;\n# head"


def everywhere(value):
    """The same report where whatever is text, and every name of ours, is hostile."""
    kept = {"measures", "baseline", "date", "kind", "measure"}
    if isinstance(value, dict):
        return {k: v if k in kept else everywhere(v) for k, v in value.items()}
    if isinstance(value, list):
        return [everywhere(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def hostile():
    names = {"first-stage": 0.5, f"vllm{HOSTILE}": 0.6}
    report, details = made((HOSTILE, "b"), names)
    return report, everywhere(details)


def test_hostile_text_is_only_text(html):
    tags, html = Reader(html).tags, html_report(*hostile())
    reader = Reader(html)
    assert reader.tags == tags
    assert all(link.startswith("#") for link in values(reader, "href", "src"))
    assert "<script" not in html
    assert "<script>alert(1)</script>" in reader.text
    assert not re.search(r"[\x00\u202e]", html)


def test_hostile_text_breaks_no_line_of_markdown():
    lines = markdown_report(*hostile()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    cells = [re.findall(r"(?<!\\)\|", row) for row in rows]
    sizes = [len(one) for one in cells]
    heads = [i for i, row in enumerate(rows) if set(row) <= set("|-: ")]
    assert len(heads) == 10
    for start, end in pairwise([*(i - 1 for i in heads), len(rows)]):
        assert set(sizes[start:end]) == {sizes[start]}
    assert not [
        line
        for line in lines
        if re.search(r"(?<!\\)(<script|`\*|\[x\]\()", line) and line[:4] != "    "
    ]
    assert [line for line in lines if line.startswith("# ")] == [lines[0]]


def test_the_same_report_gives_the_same_bytes(html):
    before = dict(mpl.rcParams)
    assert html_report(*made()) == html
    assert markdown_report(*made()) == markdown_report(*made())
    assert dict(mpl.rcParams) == before


def bare():
    said = {"systems": {"lexical": {}}}
    details = {"date": "", "command": "", "measures": ["nDCG@10"], "baseline": "first-stage"}
    return {"c": {"lexical": {"nDCG@10": 0.5}}}, details | {"collections": {"c": said}}


def nothing(value):
    """The same details, with null or nothing wherever that is allowed."""
    system = {"alone": None, "against": None, "faults": [], "partial": 0, "shuffled": None}
    system |= {"rationale": dict.fromkeys(("coverage", "groundedness", "agreement"))}
    system |= {"wins": [], "losses": []}
    for collection in value["collections"].values():
        collection |= {"notes": [], "published": []}
        for one in collection["systems"].values():
            one |= system | {"cost": dict.fromkeys(one["cost"], 0)}
    return value | {"macro": {}, "files": {}, "manifests": {}}


def test_a_report_without_what_is_optional():
    report, details = made()
    for given in (bare(), (report, nothing(details))):
        text = " ".join(Reader(html_report(*given)).text.split())
        for said in (
            "None are known",
            "None: every query",
            "No system gave rationales",
            "No query differs",
        ):
            assert said in text
        assert "None: every query was answered completely." in markdown_report(*given)
        assert [tradeoff(*given, axis) for axis in AXES] == [None, None, None]


def test_pictures_hold_every_system_in_its_own_look():
    names = [f"vllm:a-name-that-is-rather-long-{i}" for i in range(9)]
    report, details = made(("c",), {"first-stage": 0.4} | dict.fromkeys(names, 0.5))
    svg = tradeoff(report, details, "seconds")
    assert svg.startswith("<svg ")
    for picture in (svg, bars(report, details, "c")):
        texts = re.findall(r"<text [^>]*>([^<]*)</text>", picture)
        for i in range(9):
            assert f"vllm:a-name-…rather-long-{i}" in texts


def test_a_system_has_one_colour_in_every_picture():
    names = ["a", "$\\frac{$", "c", "d", "e", "f", "g"]  # a dollar begins no formula
    report, details = made(("c",), {"first-stage": 0.4} | dict.fromkeys(names, 0.5))
    colours = re.findall(r"fill: (#\w+)", bars(report, details, "c"))
    assert len(colours) == len(set(colours)) == 8
    svg = tradeoff(report, details, "seconds")
    assert set(re.findall(r"fill: (#\w+)", svg)) == set(colours)
    assert "$\\frac{$" in re.findall(r"<text [^>]*>([^<]*)</text>", svg)

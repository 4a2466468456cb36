"""A ranking as an HTML page, parsed like a browser does, also with hostile texts."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.policies import Judge
from helpers.stub import completion, shown
from rearank_agent import Fault, Passage, Quote, Ranked, Ranking, Rationale, Reply, Reranker
from rearank_agent.present.bump_chart import bump_chart
from rearank_agent.present.excerpt import Segment, excerpt, fair_share, html_bytes
from rearank_agent.present.explanation import explain_text
from rearank_agent.present.page import html_page
from rearank_agent.present.replay import Replay, Stage, replay
from rearank_agent.schedules import Schedule, schedule, tournament
from rearank_agent.store import run_store
from rearank_agent.types import Step

ROOT = Path(__file__).parents[2]
FLEAS = str(ROOT / "examples/fleas.jsonl")
HOSTILE = (
    "</style><script>alert(1)</script><img src=x onerror=y>\"'` {{ 7*7 }} &lt; &amp; 🦗 \u202egpj"
    "\x00\x1b[2J مرحبا 跳蚤\u2066 </title><!-- ]]> javascript:alert(1) \x9b2J"
)
EMPTY = {"meta", "link", "br", "img", "input", "rect", "path"}


class Read(HTMLParser):
    """A parsed page: every element with its attributes and its text."""

    def __init__(self, html):
        super().__init__()
        self.found, self._open = [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        assert len(attributes) == len(dict(attributes)), "an attribute twice"
        self.found.append({"tag": tag, "text": "", **dict(attributes)})
        if tag not in EMPTY:
            self._open.append((self.found[-1], []))

    def handle_startendtag(self, tag, attributes):
        self.found.append({"tag": tag, "text": "", **dict(attributes)})

    def handle_endtag(self, tag):
        element, texts = self._open.pop()
        assert element["tag"] == tag
        element["text"] = "".join(texts)
        if self._open:
            self._open[-1][1].append(element["text"])

    def handle_data(self, data):
        if self._open:
            self._open[-1][1].append(data)

    def all(self, **wanted):
        """The elements with these attributes; `class_` for class."""
        wanted = {name.rstrip("_"): value for name, value in wanted.items()}
        return [e for e in self.found if all(e.get(k) == v for k, v in wanted.items())]

    def texts(self, **wanted):
        return [" ".join(element["text"].split()) for element in self.all(**wanted)]


class Noisy(Judge):
    """A random order, the same for the same window."""

    def __init__(self, seed=0):
        self.seed = seed

    async def judge(self, task, window):
        order = list(range(len(window)))
        random.Random(f"{self.seed} {window}").shuffle(order)
        return Reply(tuple(order))


def ranked(*texts, judge=None, how="auto", query="how far", **more):
    return Reranker(judge or Judge(), schedule=how).rerank_sync(query, texts, **more)


def watched(plan):
    """A schedule that records the orders it goes through."""
    orders = []

    def start(n):
        running = plan.start(n)
        turn = next(running)
        while True:
            orders.append(turn.order)
            replies = yield turn
            try:
                turn = running.send(replies)
            except StopIteration as done:
                orders.append(done.value)
                return done.value

    return Schedule(plan.name, start, plan.comparable), orders


NAMES = ("whole", "sliding", "sliding:6:3", "tournament:6", "tournament", "topdown:5", "topdown")


@given(st.sampled_from(NAMES), st.integers(1, 130), st.integers(0, 9))
@settings(max_examples=60)
def test_a_replay_goes_through_the_orders_of_the_request(name, n, seed):
    plan, orders = watched(schedule(name))
    history = replay(ranked(*map(str, range(n)), judge=Noisy(seed), how=plan))
    assert [stage.order for stage in history.stages] == orders
    assert [stage.turn for stage in history.stages] == list(range(len(orders)))
    assert (history.not_replayed, history.mixed) == (0, False)


@pytest.mark.parametrize("name", ["groups:7", "batches:9"])
def test_a_replay_of_scores(name):
    plan, orders = watched(schedule(name))
    texts = [f"flea {'flea ' * (i % 5)}" for i in range(30)]
    history = replay(Reranker("lexical", schedule=plan).rerank_sync("flea", texts))
    assert [stage.order for stage in history.stages] == orders


def test_a_blend_with_the_first_stage_is_a_stage_of_its_own():
    ranking = ranked("a", "bbb", "bb", how="whole", blend=9.0)
    assert replay(ranking) == Replay(
        (
            Stage((0, 1, 2), turn=0),
            Stage((1, 2, 0), frozenset({0, 1, 2}), 1),
            Stage((0, 1, 2)),
        ),
        not_replayed=0,
    )
    assert replay(ranking).mixed
    assert "the ranks as given were mixed in" in Read(html_page(ranking)).texts(class_="note")[0]


def test_a_narrowed_tournament_is_replayed_until_it_was_narrowed():
    ranking = ranked(*map(str, range(100)), judge=Noisy(), how=tournament(20, lambda: 2))
    history = replay(ranking)
    assert [stage.turn for stage in history.stages] == [0, 1, None]
    assert (history.not_replayed, history.mixed) == (2, False)
    assert "could be replayed for 1 of 3 turns" in Read(html_page(ranking)).texts(class_="note")[0]


@pytest.mark.parametrize("name", ["", "mine:3", "sliding:4:9"])
def test_an_unknown_schedule_is_not_replayed(name):
    ranking = replace(ranked("a", "bb"), schedule=name)
    assert [s.order for s in replay(ranking).stages] == [(0, 1), (1, 0)]
    assert replay(ranking).not_replayed == 1


def test_a_ranking_without_windows_is_two_equal_orders():
    ranking = replace(ranked("bb", "a"), steps=())
    history = replay(ranking)
    assert [stage.order for stage in history.stages] == [(0, 1), (0, 1)]
    assert (history.not_replayed, history.mixed) == (0, False)


def test_quotes_are_marked_where_they_stand():
    text = "0123456789"
    quotes = (Quote(6, 8), Quote(1, 4), Quote(3, 5), Quote(9, 99))
    assert excerpt(text, quotes) == [
        Segment("0"), Segment("1234", True), Segment("5"), Segment("67", True), Segment("8"), Segment("9", True)
    ]  # fmt: skip
    assert excerpt("") == []


def test_of_a_long_text_the_quote_stays_and_the_gaps_are_counted():
    text = "a" * 500 + "QUOTE" + "b" * 500
    pieces = excerpt(text, (Quote(500, 505),), max_bytes=300)
    assert pieces == [
        Segment("a" * 55), Segment(left_out=325), Segment("a" * 120), Segment("QUOTE", True),
        Segment("b" * 120), Segment(left_out=380),
    ]  # fmt: skip


@given(
    st.text(max_size=400),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=5),
    st.integers(0, 500),
)
def test_an_excerpt_keeps_its_budget_and_counts_every_character(text, spans, max_bytes):
    quotes = [Quote(*sorted(span)) for span in spans]
    pieces = excerpt(text, quotes, max_bytes)
    assert sum(len(piece.text) + piece.left_out for piece in pieces) == len(text)
    assert sum(html_bytes(piece.text) for piece in pieces) <= max_bytes
    at = 0
    for piece in pieces:
        assert text.startswith(piece.text, at)
        within = range(at, at + len(piece.text))
        at += len(piece.text) + piece.left_out
        assert {any(q.start <= i < q.end for q in quotes) for i in within} <= {piece.quoted}


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(0, 5000))
def test_a_share_fits_and_wastes_nothing(weights, budget):
    share = fair_share(weights, budget)
    got = sum(min(share, one) for one in weights)
    assert got <= budget
    assert got == sum(weights) or budget - got < len(weights)


def test_the_chart_of_two():
    chart = bump_chart(replay(ranked("a", "bb", how="whole")))
    assert [(line.rank, line.was, line.path) for line in chart.lines] == [
        (1, 2, "M0,36C500,36 500,12 1000,12"),
        (2, 1, "M0,12C500,12 500,36 1000,36"),
    ]
    assert (chart.height, chart.columns, chart.bands) == (48.0, (0.0, 1000.0), ())
    assert (chart.starts, chart.rows) == ((36.0, 12.0), (12.0, 36.0))
    assert [(label.text, label.at) for label in (*chart.ranks, *chart.turns)] == [
        ("1", 12.0), ("2", 36.0), ("1", 500.0)
    ]  # fmt: skip


def test_the_chart_shades_the_windows():
    chart = bump_chart(replay(ranked(*map(str, range(30)), judge=Noisy(), how="sliding:20:10")))
    assert [(b.x, b.width) for b in chart.bands] == [(0.0, 500.0), (500.0, 500.0)]
    step = 260 / 20
    tail, head = chart.bands
    assert (tail.y, tail.y + tail.height) == (228 + step / 2, 228 + 20.5 * step)
    assert (head.y, head.y + head.height) == (0.0, 228 + 10.5 * step)


def test_turns_that_do_not_change_the_top_are_narrower():
    texts = ["a" * (100 - i) for i in (1, 0, *range(2, 40))]
    chart = bump_chart(replay(ranked(*texts, how="sliding:20:10")))
    assert chart.columns == (0.0, 166.7, 333.3, 1000.0)
    assert chart.uneven
    assert [(label.text, label.at) for label in chart.turns] == [
        ("1", 83.3), ("2", 250.0), ("3", 666.6)
    ]  # fmt: skip
    assert not bump_chart(replay(ranked("a", "b", how="sliding:2:1"))).uneven


def test_turns_are_numbered_where_there_is_room():
    chart = bump_chart(replay(ranked(*map(str, range(1000)), judge=Noisy(), how="sliding")))
    marks = [label.at for label in chart.turns]
    assert len(chart.columns) == 100
    assert all(after - at >= 50 for at, after in pairwise(marks))
    assert chart.turns[-1].text == "99"


@pytest.mark.parametrize("n", [1, 2, 11, 100, 1000])
def test_every_line_ends_at_its_rank(n):
    chart = bump_chart(replay(ranked(*map(str, range(n)), judge=Noisy(), how="tournament")))
    ends = [float(re.search(r"M0,([\d.]+)", line.path)[1]) for line in chart.lines]
    assert [line.rank for line in chart.lines] == list(range(1, n + 1))
    assert sorted(ends) == [ends[[line.was for line in chart.lines].index(i + 1)] for i in range(n)]
    assert chart.height < 550
    marks = [label.at for label in chart.ranks]
    assert all(after - at >= 17 for at, after in pairwise(marks))
    assert chart.ranks[-1].text == f"{n:,}"


def hostile(place="javascript:alert(1)"):
    passage = Passage(HOSTILE, HOSTILE, title=HOSTILE, place=place)
    why = Rationale(f"[1] {HOSTILE}", (Quote(8, 16), Quote(0, 12)), (HOSTILE,), (HOSTILE,))
    fault = Fault(HOSTILE, (HOSTILE, "nobody"), HOSTILE)
    reply = Reply((0,), rationales=(why,), reasoning=f"{HOSTILE} [1] [2] [1]", faults=(fault,))
    return Ranking(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE,
        (Ranked(passage, 1, 1, 0.5, True, why, 0.25),),
        (Step(1, (0,), reply, 0.1),), (fault,), partial=True,
    )  # fmt: skip


def check(html):
    """What holds for every page."""
    read = Read(html)
    ids = [element["id"] for element in read.found if "id" in element]
    assert [id_ for id_, times in Counter(ids).items() if times > 1] == []
    targets = [element["href"] for element in read.found if "href" in element]
    assert [t for t in targets if t[0] == "#" and t[1:] not in ids] == []
    assert [t for t in targets if not re.match(r"#|https?://", t)] == []
    named = {name for element in read.found for name in element}
    assert not {n for n in named if n in ("src", "srcset", "data", "action") or n.startswith("on")}
    tags = {element["tag"] for element in read.found}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert (
        re.search(r"@import|url\(|[\x00-\x08\x0b\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
        is None
    )
    levels = [int(tag[1]) for e in read.found if re.fullmatch(r"h[1-6]", tag := e["tag"])]
    assert levels[0] == 1
    assert all(after <= level + 1 for level, after in pairwise(levels))
    (policy,) = [e["content"] for e in read.all(tag="meta") if "http-equiv" in e]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert read.all(tag="html")[0]["lang"] == "en"
    return read


def test_foreign_text_stays_text():
    seen = re.sub(r"[\u202e\x00\x1b\x9b\u2066]", "\N{REPLACEMENT CHARACTER}", HOSTILE)
    read = check(html_page(hostile()))
    assert read.texts(tag="h1") == [seen]
    assert read.texts(class_="lead") == [seen]
    assert read.texts(class_="name") == [seen]
    assert read.texts(class_="text") == [seen]
    assert read.texts(tag="mark") == [seen[:16]]
    assert read.texts(class_="place") == [
        f"javascript:alert(1) · {seen[:100]}… {len(HOSTILE) - 100} characters left out … · confidence 0.25"
    ]
    assert read.texts(class_="reasoning") == [f"{seen} [1] [2] [1]"]
    links = [e for e in read.all(tag="a") if e["text"] == "[1]"]
    assert [e["href"] for e in links] == ["#p1", "#p1"], (
        "in the rationale and in the reasoning, once each"
    )
    assert read.texts(class_="partial")[0].startswith("Partial.")


@pytest.mark.parametrize(
    ("place", "link"),
    [
        ("https://example.org/a?b=1&c=\"x\"", True),
        ("http://example.org", True),
        ("HTTPS://example.org", True),
        ("https:///nobody", False),
        ("java\nscript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://example.org/\u202egpj", False),
        ("//example.org", False),
        ("http://[", False),
        ("docs/a.md:1-3", False),
    ],
)  # fmt: skip
def test_only_a_web_address_is_a_link(place, link):
    read = Read(html_page(hostile(place)))
    links = [e for e in read.all(tag="a") if not e["href"].startswith("#")]
    assert [(e["href"], e["rel"]) for e in links] == [(place, "noreferrer noopener")] * link


def test_a_page_shows_the_ranking():
    given = [Passage(**json.loads(line)) for line in Path(FLEAS).read_text().splitlines()]
    ranking = Reranker("embedded").rerank_sync("why do fleas come back", given, instruction="Why?")
    read = check(html_page(ranking))
    assert read.texts(tag="h1") == ["why do fleas come back"]
    assert read.texts(class_="text") == [one.text for one in ranking.passages]
    assert read.texts(class_="name") == [one.passage.title for one in ranking.passages]
    assert read.texts(tag="mark") == [one.evidence for one in ranking.passages]
    assert read.texts(class_="score") == [f"{one.score:.3f}" for one in ranking.passages]
    moved = {1: "▲", 0: "=", -1: "▼"}
    by = [one.was - one.rank for one in ranking.passages]
    assert read.texts(class_="moved") == [
        f"{moved[(m > 0) - (m < 0)]}{f' {abs(m)}' if m else ''} was {one.was}"
        for one, m in zip(ranking.passages, by, strict=True)
    ]
    facts = dict(zip(read.texts(tag="dt"), read.texts(tag="dd"), strict=True))
    assert facts == {
        "Policy": ranking.policy,
        "Schedule": "whole – all passages in one window",
        "Work": f"12 passages in 1 window, 1 turn, {ranking.usage.seconds:.2f} s",
    }
    (fault,) = ranking.faults
    assert read.texts(class_="faults") == [f"instruction {fault.detail}"] * 2, "and in its window"
    lines = read.texts(tag="title")[1:]
    assert sorted(lines) == sorted(
        f"{one.rank}, was {one.was}: {one.passage.title}" for one in ranking.passages
    )


def test_terms_are_a_dozen_at_most():
    query = " ".join(f"word{i}" for i in range(20))
    ranking = Reranker("lexical").rerank_sync(query, ["word1 word3", "word5"])
    read = check(html_page(ranking))
    assert read.texts(class_="has") == ["has word1, word3", "has word5"]
    assert [text[-20:] for text in read.texts(class_="lacks")] == [
        "word12, word13 and 6 more"[-20:], "word11, word12 and 7 more"[-20:]
    ]  # fmt: skip


def test_a_page_says_when_there_is_only_an_order():
    read = check(html_page(ranked("a", "bbb", "bb")))
    assert read.texts(class_="score") == ["–"] * 3
    assert read.texts(class_="note")[1] == "The policy gave an order, no scores."


def test_a_ranking_of_nothing_and_of_one():
    nothing = Ranking("r", "q", "", "p", "", (), faults=(Fault("nothing", (), "no file"),))
    read = check(html_page(nothing))
    assert "There were none to rank." in read.texts(class_="note")
    assert read.all(tag="svg") == []
    assert check(html_page(ranked("a"))).all(tag="svg") == []


def many(n, size, mentions=0):
    """A sliding ranking of long passages with evidence, and long reasoning."""

    class Wordy(Noisy):
        async def judge(self, task, window):
            reply = await super().judge(task, window)
            why = [
                Rationale(f"[{i}] is fine. " * 60, (Quote(size - 90, size - 60),))
                for i in range(20)
            ]
            reasoning = "".join(f"[{i % 20 + 1}] & <so> on. " for i in range(mentions))
            return replace(reply, rationales=tuple(why[: len(window)]), reasoning=reasoning)

    texts = [Passage(f"{i:04}", f"<{i:09}>" * (size // 11), f"Title {i}") for i in range(n)]
    return ranked(*texts, judge=Wordy(), how="sliding")


def test_a_hundred_long_passages_are_under_500_kb_and_keep_their_evidence():
    ranking = many(100, 11_000, mentions=3_000)
    html = html_page(ranking)
    assert len(html.encode()) < 500_000
    read = check(html)
    quoted = [one.evidence for one in ranking.passages]
    assert [element["text"] for element in read.all(tag="mark")] == quoted
    size = sum(len(one.text) for one in ranking.passages)
    gaps = [int(n.replace(",", "")) for n in re.findall(r"… ([\d,]+) characters left out …", html)]
    cuts = read.texts(tag="li")[-3:]
    assert len(gaps) > 200
    assert [re.sub(r"^[\d,]+", "N", cut) for cut in cuts] == [
        "N characters in 100 of the passages' texts",
        "N characters in 100 of the rationales",
        "N characters in 9 of the reasoning texts",
    ]
    assert sum(gaps) == sum(int(cut.split()[0].replace(",", "")) for cut in cuts)
    kept = sum(
        len(re.sub(r"… [\d,]+ characters left out …", "", e["text"]))
        for e in read.all(class_="text")
    )
    assert kept == size - int(cuts[0].split()[0].replace(",", ""))


def test_a_thousand_passages_of_usual_length_are_under_2_mb():
    ranking = many(1000, 440, mentions=20)
    html = html_page(ranking)
    assert len(html.encode()) < 2_000_000
    assert len(check(html).all(class_="way")) == 1000


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_both_schemes_can_be_read(scheme):
    rules = re.findall(r":root \{(.*?)\}", html_page(ranked("a", "b")), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", rules))
    for paper in ("paper", "tint"):
        for ink in ("ink", "soft", "accent", "up", "down"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["mark-ink"], colours["mark"]) >= 4.5
    for number in range(1, 11):
        for ground in ("paper", "band"):
            assert contrast(colours[f"c{number}"], colours[ground]) >= 3, (number, ground)
    assert contrast(colours["quiet"], colours["paper"]) >= 3


ASK = ("rerank", "how long do fleas live", FLEAS)


def test_a_page_beside_what_stdout_gets(run, tmp_path):
    path = tmp_path / "new" / "why.html"
    _, plain, _ = run(*ASK, "--policy", "lexical")
    code, out, err = run(*ASK, "--policy", "lexical", "--html", str(path))
    assert (code, out, err) == (0, plain, f"the page is in {path}\n")
    assert check(path.read_text()).texts(tag="h1") == ["how long do fleas live"]
    code, out, err = run("search", "flea", str(ROOT / "examples"), "--html", str(path))
    assert (code, err.splitlines()[0]) == (0, f"the page is in {path}")
    assert [line["place"] for line in map(json.loads, out.splitlines())] == [
        line.split(" · ")[0] for line in check(path.read_text()).texts(class_="place")
    ]


def test_a_page_that_cannot_be_written_loses_no_ranking(run, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "why.html"
    code, out, err = run(*ASK, "--policy", "lexical", "--html", str(path))
    assert (code, len(out.splitlines())) == (1, 12)
    assert err == f"rearank-agent: {path} cannot be written: File exists\n"


def test_a_partial_ranking_has_a_page_and_exits_with_3(run, tmp_path):
    many = b"\n".join(b"a passage about fleas number %d" % i for i in range(3000))
    path = tmp_path / "why.html"
    code, _, err = run("rerank", "fleas", "--deadline", "0.001", "--html", str(path), stdin=many)
    assert code == 3
    assert "note: deadline: " in err
    assert check(path.read_text()).texts(class_="partial")[0].startswith("Partial.")


@pytest.fixture
def stored(run, tmp_path):
    """A ranking in a file, and stored under its run."""
    _, out, _ = run(*ASK, "--json")
    (tmp_path / "ranking.json").write_text(out)
    ranking = Ranking.from_json(out)
    run_store().put(ranking.run, ranking.to_json())
    return ranking


def test_explain_prints_all_of_a_run_or_of_a_passage(run, tmp_path, stored):
    code, out, err = run("explain", stored.run)
    assert (code, out, err) == (0, explain_text(stored, "") + "\n", "")
    assert run("explain", str(tmp_path / "ranking.json")) == (code, out, err)
    assert run("explain", stored.run, "ticks")[1] == explain_text(stored, "ticks") + "\n"


def test_explain_writes_the_page(run, tmp_path, stored):
    path = tmp_path / "why.html"
    assert run("explain", stored.run, "--html", str(path)) == (0, "", f"the page is in {path}\n")
    assert path.read_text() == html_page(stored)


def test_explain_prints_no_control_characters(run, tmp_path):
    (tmp_path / "r.json").write_text(hostile().to_json())
    _, out, _ = run("explain", str(tmp_path / "r.json"))
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", out) is None
    assert "مرحبا 跳蚤" in out


def changed(ranking, **more):
    return json.dumps(json.loads(ranking.to_json()) | more)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", 'not the JSON of a ranking: it must hold "kind": "ranking"'),
        ("\udcff", "not the JSON of a ranking: 'utf-8' codec can't decode byte 0xff"),
        ('{"kind": "ranking", "version": 1}', "not the JSON of a ranking: 6 validation errors"),
        ("[" * 100_000, "not the JSON of a ranking: it is nested too deep"),
        (
            changed(hostile(), passages=[]),
            "not a complete ranking: its ranks or windows do not fit",
        ),
    ],
)
def test_explain_names_a_file_that_is_no_ranking(run, tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text, errors="surrogateescape")
    code, out, err = run("explain", str(path))
    assert (code, out) == (2, "")
    assert err.startswith(f"rearank-agent: {path}: {message}")
    assert err.count("\n") == 1


def test_what_explain_cannot_do(run, tmp_path, stored):
    assert run("explain", "nobody") == (
        2, "", "rearank-agent: no run 'nobody' is stored (any more), and there is no such file; "
        "keep your own runs with --json\n"
    )  # fmt: skip
    assert run("explain", stored.run, "ticks", "--html", str(tmp_path / "x")) == (
        2, "", "rearank-agent: the page shows the whole run: leave out PASSAGE, or --html\n"
    )  # fmt: skip
    code, _, err = run("explain", stored.run, "nobody")
    assert (code, err.split(":")[1][:50]) == (
        2,
        " no passage 'nobody' in this run; there are host, ",
    )
    code, _, err = run("explain", stored.run, "--html", str(tmp_path))
    assert (code, err.startswith(f"rearank-agent: {tmp_path} cannot be written: ")) == (1, True)


def thinking(body):
    """A model that thinks about the first and the last of its window, and reverses it."""
    n = shown(body)
    order = " > ".join(f"[{i}]" for i in range(n, 0, -1))
    thought = f"[1] is about </think-not> circuses.\n[{n}] tells how long they live."
    return completion(f"<think>\n{thought}\n</think>\n<answer>{order}</answer>")


def test_reasoning_links_to_the_passages_it_mentions(run, stub, monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    stub.script = thinking
    path = tmp_path / "why.html"
    code, out, _ = run(*ASK, "--policy", "vllm:m", "--schedule", "sliding:8:4", "--html", str(path))
    ids = [json.loads(line)["id"] for line in out.splitlines()]
    read = check(path.read_text())
    assert code == 0
    reasoning = "[1] is about </think-not> circuses. [8] tells how long they live."
    assert read.texts(class_="reasoning") == [reasoning] * 2
    # Given 1 to 12: the tail 5..12 is reversed, then the head 1..4 with 12..9.
    given = [json.loads(line) for line in Path(FLEAS).read_text().splitlines()]
    order = [9, 10, 11, 12, 4, 3, 2, 1, 8, 7, 6, 5]
    assert ids == [given[i - 1]["id"] for i in order]
    names = [given[i - 1]["title"] for i in (*range(12, 4, -1), *order[:8])]
    listed = [li for li in read.texts(tag="li") if re.match(r"\d+\[\d\]", li)]
    assert listed == [f"{i % 8 + 1}[{8 - i % 8}]{name}" for i, name in enumerate(names)]
    links = [e["href"] for e in read.all(tag="a") if e["text"] in ("[1]", "[8]")]
    assert links[-4:] == ["#p12", "#p4", "#p8", "#p1"]


def test_numbers_in_votes_are_not_linked(run, stub, monkeypatch, tmp_path):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    stub.script = thinking
    path = tmp_path / "why.html"
    asked = (*ASK, "--policy", "vllm:m", "--votes", "2", "--json", "--html", str(path))
    _, ranking, _ = run(*asked)
    read = check(path.read_text())
    assert [e["href"] for e in read.all(tag="a") if e["text"] in ("[1]", "[12]")] == []
    assert len([line for line in read.texts(class_="place") if "confidence" in line]) == 12
    (tmp_path / "run.json").write_text(ranking)
    _, explained, _ = run("explain", str(tmp_path / "run.json"))
    assert (
        "in the reasoning below, each vote has its own order, and so its own numbers" in explained
    )


def explained_host(run, tmp_path, blend):
    """A ranking of fleas as JSON, the explanation of its passage `host`, and that one's score."""
    path = tmp_path / "r.json"
    _, out, _ = run("rerank", "how long do fleas live", FLEAS, "--blend", blend, "--json")
    path.write_text(out)
    _, explained, _ = run("explain", str(path), "host")
    return out, explained, Ranking.from_json(out).steps[0].reply.scores[4]


def test_a_blend_is_explained(run, tmp_path):
    out, explained, own = explained_host(run, tmp_path, "0.5")
    score = (
        rf"score {own:.4f} of 1; in the order -?\d\.\d{{4}}, of the policy's score {own:.4f} and, "
        r"with weight 0\.5, the rank"
    )
    assert re.search(score, explained)
    read = check(html_page(Ranking.from_json(out)))
    assert read.texts(class_="score") == [
        f"{one.relevance:.3f}" for one in Ranking.from_json(out).passages
    ]
    notes = " ".join(read.texts(class_="note"))
    assert "The ranks as given count in the order, with weight 0.500." in notes


def test_a_score_that_is_not_blended_is_said_once(run, tmp_path):
    _, explained, own = explained_host(run, tmp_path, "0")
    assert explained.split("\n")[1] == f"score {own:.4f} of 1, from the policy"


def test_a_passage_shows_its_faults(run, tmp_path):
    path = tmp_path / "why.html"
    texts = tmp_path / "texts.txt"
    texts.write_text("A flea jumps.\n" + "and so on " * 400 + "\n")
    assert run("rerank", "flea", str(texts), "--html", str(path))[0] == 0
    terms = check(path.read_text()).texts(class_="terms")
    detail = "only the first 256 tokens were read; split longer passages to have all of them read"
    assert f"cut {detail}" in terms

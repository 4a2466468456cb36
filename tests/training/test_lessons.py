import json

import pytest

from helpers.policies import Judge
from helpers.stub import completion
from rearank_agent import Fault, InputError, Passage, Reply, Reranker
from rearank_agent.errors import PolicyError
from rearank_agent.policies.composed import compose
from rearank_agent.policies.registry import policy
from rearank_training.embedded.lessons import Candidates, Lesson, LessonSampler, teacher_scores
from rearank_training.embedded.teacher import ask, read_records

TEXTS = ("fleas", "fleas jump far", "dogs", "fleas jump")
PASSAGES = tuple(Passage(f"p{number}", text) for number, text in enumerate(TEXTS))


class Scorer(Judge):
    """The length of each passage as its score, with the model's own number, twice that."""

    name = fingerprint = "scorer"
    scores, scale, window = True, 100.0, None

    async def judge(self, task, window):
        scores = tuple(float(len(task.candidates[position].text)) for position in window)
        order = (await super().judge(task, window)).order
        return Reply(order, scores=scores, raw=tuple(2 * score for score in scores))


class Asked(Scorer):
    """Counts the queries it is asked, and fails on those that hold a word."""

    def __init__(self, bad="never"):
        self.bad, self.asked = bad, []

    async def judge(self, task, window):
        self.asked.append(task.query)
        if self.bad in task.query:
            raise ConnectionError(f"no {task.query}")
        return await super().judge(task, window)


def wanted(*queries, source="one"):
    return [Candidates(source, query, "", PASSAGES) for query in queries]


def test_scores_are_the_models_own_numbers_and_orders_are_ranks():
    scored = Reranker(Scorer()).rerank_sync("q", PASSAGES, blend=0.9)
    assert teacher_scores(scored) == ((10.0, 28.0, 8.0, 20.0), False)
    ordered = Reranker(Judge()).rerank_sync("q", PASSAGES)
    assert teacher_scores(ordered) == ((-3.0, -1.0, -4.0, -2.0), True)
    plain = Reranker("lexical").rerank_sync("fleas jump", PASSAGES)
    own = plain.steps[0].reply.scores
    assert teacher_scores(plain) == (own, False)


def test_a_cascade_whose_last_stage_saw_some_gives_an_order():
    made = {"scorer": Scorer(), "judge": Judge()}
    two = compose("judge,2,scorer", made.__getitem__, made)
    ranking = Reranker(two).rerank_sync("q", PASSAGES)
    assert teacher_scores(ranking) == ((-3.0, -1.0, -4.0, -2.0), True)


def test_a_window_without_an_answer_is_a_failure():
    ranking = Reranker(Asked("q")).rerank_sync("q", PASSAGES)
    with pytest.raises(PolicyError, match="ConnectionError: no q"):
        teacher_scores(ranking)

    class Unreadable(Judge):
        async def judge(self, task, window):
            fault = Fault("unreadable", task.ids(window), "no identifier in the reply")
            return Reply(tuple(range(len(window))), faults=(fault,))

    with pytest.raises(PolicyError, match="no identifier in the reply"):
        teacher_scores(Reranker(Unreadable()).rerank_sync("q", PASSAGES))


def test_a_teacher_is_asked_once(tmp_path):
    path, seen = tmp_path / "teacher.jsonl", []
    first = ask(Asked(), wanted("a", "b"), path, lambda *counts: seen.append(counts))
    assert [lesson.candidates.query for lesson in first.lessons] == ["a", "b"]
    assert {lesson.scores for lesson in first.lessons} == {(10.0, 28.0, 8.0, 20.0)}
    assert seen == [(0, 2), (1, 2), (2, 2)]
    again, teacher = [], Asked()
    second = ask(teacher, wanted("b", "c", "a"), path, lambda *counts: again.append(counts))
    assert teacher.asked == ["c"]
    assert again == [(2, 3), (3, 3)]
    assert [lesson.candidates.query for lesson in second.lessons] == ["b", "c", "a"]
    other = Asked()
    other.fingerprint = "another"
    ask(other, wanted("a"), path)
    assert other.asked == ["a"], "what another teacher said is not its own"


def test_a_language_model_teaches_orders(tmp_path, stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    path = tmp_path / "teacher.jsonl"
    taught = ask(policy("vllm:stub"), wanted("a", "b"), path)
    assert taught.failures == []
    assert [(one.scores, one.ordered) for one in taught.lessons] == 2 * [((-4, -3, -2, -1), True)]
    stub.script = lambda _body: completion("I cannot help with that.")
    failed = ask(policy("vllm:stub"), wanted("a", "c"), path)
    assert [one.candidates.query for one in failed.lessons] == ["a"]
    assert len(failed.failures) == 1


def test_an_instruction_reaches_the_teacher(tmp_path):
    told = []

    class Listening(Scorer):
        async def judge(self, task, window):
            told.append((task.query, task.instruction))
            return await super().judge(task, window)

    both = [Candidates("s", "a", "one", PASSAGES), Candidates("s", "b", "two", PASSAGES)]
    ask(Listening(), both, tmp_path / "teacher.jsonl")
    assert told == [("a", "one"), ("b", "two")]


def test_queries_it_fails_on_are_left_out_and_not_asked_again(tmp_path):
    path = tmp_path / "teacher.jsonl"
    taught = ask(Asked("bad"), wanted("a", "bad b", "c"), path)
    assert [lesson.candidates.query for lesson in taught.lessons] == ["a", "c"]
    assert taught.failures == ["ConnectionError: no bad b"]
    teacher = Asked()
    assert ask(teacher, wanted("a", "bad b", "c"), path) == taught
    assert teacher.asked == []


def test_a_teacher_that_is_down_ends_it_and_is_asked_again(tmp_path):
    path = tmp_path / "teacher.jsonl"
    queries = ["a", *(f"bad {number}" for number in range(12))]
    with pytest.raises(
        PolicyError,
        match=r"10 queries in a row: ConnectionError: no bad 9; what it said before is kept.* --resume",
    ):
        ask(Asked("bad"), wanted(*queries), path)
    teacher = Asked()
    assert len(ask(teacher, wanted(*queries), path).lessons) == 13
    assert teacher.asked == queries[1:]


def test_a_file_that_was_cut_off_goes_on_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "teacher.jsonl"
    taught = ask(Asked(), wanted("a", "b"), path)
    path.write_text(path.read_text()[:-9])
    teacher = Asked()
    assert ask(teacher, wanted("a", "b"), path) == taught
    assert teacher.asked == ["b"]
    for damaged in ("[]\n", '{"key": "x"}\n', "no JSON\n"):
        path.write_text(damaged)
        with pytest.raises(InputError, match="damaged: delete it, and the teacher is asked again"):
            ask(Asked(), wanted("a"), path)


def test_records_are_lessons(tmp_path):
    rankings = [
        Reranker(Judge()).rerank_sync("ordered", PASSAGES, instruction="short ones"),
        Reranker(Asked("x")).rerank_sync("x failed", PASSAGES),
        Reranker(Scorer()).rerank_sync("scored\u2028twice", PASSAGES),
    ]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(ranking.to_json() + "\n" for ranking in rankings), encoding="utf-8")
    lessons, failures = read_records([path])
    source = lessons[0].candidates.source
    assert lessons == [
        Lesson(Candidates(source, "ordered", "short ones", PASSAGES), (-3, -1, -4, -2), True),
        Lesson(Candidates(source, "scored\u2028twice", "", PASSAGES), (10, 28, 8, 20), False),
    ]
    assert failures == ["ConnectionError: no x failed"]
    path.write_text(json.dumps({"kind": "passage"}) + "\n")
    with pytest.raises(InputError, match=r"records.jsonl, line 1: not the JSON of a ranking"):
        read_records([path])
    with pytest.raises(InputError, match=r"nix.jsonl cannot be read"):
        read_records([tmp_path / "nix.jsonl"])


def lesson(query, *scores, source="one", ordered=False):
    return Lesson(Candidates(source, query, "", PASSAGES[: len(scores)]), scores, ordered)


def test_windows_depend_on_seed_and_step_alone():
    lessons = [lesson(f"q{number}", 3.0, 1.0, 2.0, 0.0) for number in range(9)]
    one, again = (LessonSampler(lessons, 0, "t").windows(5, 4, 3) for _ in range(2))
    assert one == again
    assert [len(window.scores) for window in one] == [3, 3, 3, 3]
    assert LessonSampler(lessons, 1, "t").windows(5, 4, 3) != one
    assert LessonSampler(lessons, 0, "t").windows(6, 4, 3) != one


def test_a_window_keeps_each_passages_score_in_one_unit_for_all():
    many = [
        lesson("a", 3.0, 1.0),
        lesson("b", 30.0, 10.0, 20.0, 0.0),
        lesson("c", -1, -2, ordered=True),
    ]
    drawn = {}
    for step in range(20):
        for window in LessonSampler(many, 0, "t").windows(step, 4, 2):
            drawn.setdefault(window.candidates.query, set()).update(
                zip(window.candidates.texts, window.scores, strict=True)
            )
    unit = ((1 + 125) / 2) ** 0.5
    assert drawn == {
        "a": {(TEXTS[0], 3 / unit), (TEXTS[1], 1 / unit)},
        "b": {(text, score / unit) for text, score in zip(TEXTS, (30, 10, 20, 0), strict=True)},
        "c": {(TEXTS[0], -1), (TEXTS[1], -2)},
    }


def test_a_teacher_that_says_nothing_is_refused():
    with pytest.raises(InputError, match="the teacher ranked no query"):
        LessonSampler([], 0, "t")
    with pytest.raises(InputError, match="the same score"):
        LessonSampler([lesson("a", 2.0, 2.0)], 0, "t")


def test_what_was_said_is_part_of_the_teachers_name():
    first = LessonSampler([lesson("a", 2.0, 1.0)], 0, "t")
    assert first.teacher.startswith("t ")
    assert LessonSampler([lesson("a", 2.0, 1.0)], 3, "t").teacher == first.teacher
    assert LessonSampler([lesson("a", 2.0, 1.5)], 0, "t").teacher != first.teacher
    assert first.provenance == {"name": first.teacher, "queries": {"one": 1}}

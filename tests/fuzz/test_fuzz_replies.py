"""What models, servers and tools answer: an order comes out, or an error of ours."""

import contextlib
import json

from hypothesis import example
from hypothesis import strategies as st
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.models.test import TestModel

from helpers.mutations import fuzz, json_blobs, texts, values
from rearank_agent.listwise import parse_reply
from rearank_agent.listwise.prompt import build_prompt, reask_prompt
from rearank_agent.llm.chat_completions import to_error, to_response
from rearank_agent.llm.chat_reply import to_reply
from rearank_agent.tool_results.lists import find_list
from rearank_agent.tool_results.nothing import too_few
from rearank_agent.types import Passage, Reply

ORDER = "<think>\nPassage 2 is best. [1] is not.\n</think>\n<answer>[2] > [3] > [1]</answer>"
SCORES = "<think>\nhm\n</think>\n<answer>[2] 9.5, [1] 7, [3] 0</answer>"
OTHERS = (
    ORDER,
    SCORES,
    "**[2] > [3] > [1]**",
    "Final ranking:\n1. [2]\n2. [1]\n3. [3]",
    "<answer>Passage 2, Passage 3, Passage 1</answer>",
    "<answer>[1]: 70%, [2] 9/10</answer>",
)
COMPLETION = {
    "id": "a", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
    "message": {"role": "assistant", "content": ORDER, "reasoning": "r", "error": None},
    "finish_reason": "stop", "error": None}], "error": None, "usage": {"prompt_tokens": 3,
    "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2}},
}  # fmt: skip
PARTS = {"choices": [{"message": {"content": [
    {"thinking": [{"text": "r"}]}, {"type": "text", "text": ORDER}]}}]}  # fmt: skip
ERROR = {"error": {"message": "too long", "code": "context_length_exceeded", "type": 400}}
RECORDS = {"results": [{"title": "a", "text": "A flea."}, {"title": "b", "text": "Dogs."}], "n": 2}
RESULTS = (
    RECORDS, RECORDS["results"], ["a", "b"], {"hits": {"hits": [{"_source": {"text": "a"}}] * 3}},
    [{"type": "text", "text": json.dumps(RECORDS)}], [{"type": "text", "text": "1. a\n2. b\n"}],
    {"ids": [["1", "2"]], "documents": [["a", "b"]]}, [["a", 0.5], ["b", 0.1]],
)  # fmt: skip
LISTS = (json.dumps(RECORDS, indent=2), "Results for 'far':\n1. a\n\n2. b\n---\n3. c\n",
         "Title: a\nURL: x\n\nTitle: b\nURL: y\n", "- a\n- b\n", "a/b.py\nc.py\n",
         '{"text": "a"}\n{"text": "b"}\n')  # fmt: skip


@fuzz(texts(*OTHERS), st.integers(0, 5), st.sampled_from(("order", "scores")))
def test_a_reply(text, n, form):
    parsed = parse_reply(text, n, form, [str(one) for one in range(n)])
    assert sorted(parsed.order) == list(range(n))
    assert len(parsed.rationales) == n
    if parsed.scores is not None:
        assert len(parsed.scores) == n
        assert all(0 <= one <= 10 for one in parsed.scores)
    if text.isascii():
        reply = Reply(parsed.order, parsed.scores, parsed.rationales, faults=parsed.faults)
        assert Reply.from_json(reply.to_json()) == reply
    asked = build_prompt(text or "q", [Passage("a", "b")], form=form)
    reask_prompt(asked.messages, text, form)


@fuzz(values(COMPLETION, PARTS, ERROR, {"choices": []}))
def test_an_endpoints_answer(value):
    with contextlib.suppress(ModelHTTPError, UnexpectedModelBehavior):
        reply = to_reply(to_response("m", value), TestModel())
        reply.text.encode()
        assert min(reply.usage.prompt_tokens, reply.usage.answer_tokens) >= 0


@fuzz(st.integers(200, 599), st.one_of(json_blobs(ERROR, ["a"], {"error": "a"}), st.binary()))
def test_an_endpoints_error(status, body):
    assert isinstance(to_error("m", status, body, {"retry-after": "1"}), ModelHTTPError)


@fuzz(st.one_of(values(*RESULTS), texts(*LISTS)), texts("far"))
@example(json.dumps(RECORDS).replace("2", "9" * 5_000), "far")
def test_a_tools_result(result, query):
    before = repr(result)
    assert too_few(result, query) in (True, False)
    if found := find_list(result, query):
        n = len(found.items)
        assert n == len(found.passages) >= 2
        again = find_list(found.reordered(range(n)[::-1]), query)
        assert again is None or len(again.items) <= n + 1
    assert repr(result) == before

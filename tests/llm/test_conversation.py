"""A language-model policy on scripted models: every step of the conversation."""

import asyncio

import pytest
from pydantic_ai.exceptions import (
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.usage import RequestUsage

from rearank_agent import Fault, InputError, Passage, PolicyError, Reranker, SetupError, policy
from rearank_agent.listwise import build_prompt
from rearank_agent.listwise.prompt import reask_prompt
from rearank_agent.listwise.template import Template
from rearank_agent.llm.policy import LLM
from rearank_agent.types import Rationale, Task, Usage

PASSAGES = (Passage("a", "Dogs bark."), Passage("b", "Fleas live long."), Passage("c", "Cats."))
TASK = Task("run", "how long do fleas live", candidates=PASSAGES)
GOOD = "<think>\n[2] answers it. [1] does not.\n</think>\n<answer>[2] > [1] > [3]</answer>"
UNREADABLE = Fault(
    "unreadable", ("a", "b", "c"), "no answer could be read; the window keeps its order"
)


class Scripted:
    """A model with scripted replies, in order; an error among them is raised."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []
        self.settings = []
        self.thinking = []
        self.model = FunctionModel(self._reply, profile=ModelProfile(supports_thinking=True))

    def _reply(self, messages, info):
        self.asked.append(
            [
                (type(part).__name__.removesuffix("Part"), part.content)
                for message in messages
                for part in message.parts
            ]
        )
        self.settings.append(info.model_settings)
        self.thinking.append(info.model_request_parameters.thinking)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, str):
            reply = ModelResponse([TextPart(reply)], finish_reason="stop")
        reply.usage = RequestUsage(input_tokens=100, output_tokens=20)
        return reply


def cut_off(*parts):
    return ModelResponse(list(parts), finish_reason="length")


async def reply_from(*replies, window=(0, 1, 2), **how):
    scripted = Scripted(*replies)
    return await LLM(scripted.model, **how).judge(TASK, window), scripted


async def test_a_readable_answer_has_no_fault():
    reply, scripted = await reply_from(GOOD)
    assert reply.order == (1, 0, 2)
    assert reply.scores is None
    assert reply.rationales == (
        Rationale("[1] does not."),
        Rationale("[2] answers it."),
        Rationale(),
    )
    assert reply.reasoning == "[2] answers it. [1] does not."
    assert reply.faults == ()
    assert reply.usage == Usage(
        calls=1, prompt_tokens=100, thought_tokens=7, answer_tokens=13, cached_tokens=0
    )
    roles = {"SystemPrompt": "system", "UserPrompt": "user", "Text": "assistant"}
    assert [{"role": roles[kind], "content": text} for kind, text in scripted.asked[0]] == list(
        build_prompt(TASK.query, PASSAGES).messages
    )
    assert scripted.settings[0] == {
        "temperature": 0.0, "seed": 0, "max_retries": 0, "timeout": 120.0,
        "request_timeout": 120.0, "max_tokens": 2048,
    }  # fmt: skip


async def test_a_repaired_answer_says_what_was_repaired():
    reply, _ = await reply_from("<answer>[3] > [3] > [9]</answer>")
    assert reply.order == (2, 0, 1)
    assert reply.faults == (
        Fault("missing", ("a", "b"), "2 left out; put last in their order"),
        Fault("repeated", ("c",), "1 repeats; the first one counts"),
        Fault("foreign", (), "1 not of this window: [9]"),
    )


async def test_after_truncated_reasoning_the_answer_alone_is_asked_for():
    thought = "<think>\n[3] is best, [1] > [2] > [3] is not what I"
    reply, scripted = await reply_from(
        cut_off(TextPart(thought)), "<answer>[3] > [1] > [2]</answer>"
    )
    assert reply.order == (2, 0, 1)
    assert reply.reasoning == "[3] is best, [1] > [2] > [3] is not what I"
    assert reply.faults == (
        Fault("reasked", ("a", "b", "c"), "the reply was cut off; the answer alone was asked for"),
    )
    assert (reply.usage.calls, reply.usage.prompt_tokens) == (2, 200)
    first = build_prompt(TASK.query, PASSAGES).messages
    assert [text for _, text in scripted.asked[1]] == [
        message["content"] for message in reask_prompt(first, thought)
    ]
    assert scripted.asked[1][-2] == ("Text", "[3] is best, [1] > [2] > [3] is not what I")


@pytest.mark.parametrize(
    "answer", ["<answer>[2] > [3] > [1]</answer>", "[2] > [3] > [1]", "  [2]>[3]>[1]\n"]
)
async def test_prose_without_an_answer_is_asked_again(answer):
    reply, _ = await reply_from("I would take the second one, then 3 and 1.", answer)
    assert reply.order == (1, 2, 0)
    assert [fault.kind for fault in reply.faults] == ["reasked"]
    assert reply.faults[0].detail == "no answer in the reply; the answer alone was asked for"


async def test_a_second_answer_is_repaired_too():
    reply, _ = await reply_from("prose", "<answer>[2] > [2]</answer>")
    assert reply.order == (1, 0, 2)
    assert [fault.kind for fault in reply.faults] == ["reasked", "missing", "repeated"]


async def test_no_answer_twice_keeps_the_order():
    reply, _ = await reply_from("<think>\n[2] is good.\n</think>\nSorry.", "I cannot 2 1 3.")
    assert reply.order == (0, 1, 2)
    assert [fault.kind for fault in reply.faults] == ["reasked", "unreadable"]
    assert reply.faults[1] == UNREADABLE
    assert reply.rationales[1] == Rationale("[2] is good.")


async def test_an_error_while_asking_again_keeps_the_order_and_says_so():
    error = ModelHTTPError(400, "m", {"message": "no more [3] > [2] > [1]"})
    reply, _ = await reply_from("prose", error)
    assert reply.order == (0, 1, 2)
    assert reply.faults[1:] == (
        UNREADABLE,
        Fault(
            "failed", ("a", "b", "c"),
            "asking again: the server answered 400: no more [3] > [2] > [1]",
        ),
    )  # fmt: skip
    assert reply.usage.calls == 2


async def test_reasoning_sent_separately_is_put_in_front():
    parts = [ThinkingPart("[2] wins. </think><answer>[3]</answer>"), TextPart("[2] > [1] > [3]")]
    reply, scripted = await reply_from(ModelResponse(parts))
    assert (reply.order, [fault.kind for fault in reply.faults]) == ((1, 0, 2), ["form"])
    assert len(scripted.asked) == 1
    assert reply.reasoning.startswith("[2] wins. [3]")
    parts = [ThinkingPart("[2] wins."), TextPart("<answer>[2] > [1] > [3]</answer>")]
    reply, _ = await reply_from(ModelResponse(parts))
    assert (reply.order, reply.reasoning, reply.faults) == ((1, 0, 2), "[2] wins.", ())


async def test_truncated_hidden_reasoning_is_no_answer():
    reply, scripted = await reply_from(
        cut_off(ThinkingPart("[3] > [2] > [1] and")), "[1] > [3] > [2]"
    )
    assert reply.order == (0, 2, 1)
    assert reply.reasoning == "[3] > [2] > [1] and"
    assert len(scripted.asked) == 2


async def test_without_thinking():
    reply, scripted = await reply_from("<answer>[3] > [2] > [1]</answer>", think=False)
    assert reply.order == (2, 1, 0)
    assert (
        scripted.asked[0][-1][1]
        == build_prompt("how long do fleas live", PASSAGES, think=False).messages[-1]["content"]
    )
    assert scripted.thinking == [False]


async def test_effort_budget_and_timeout_are_passed_on():
    _, scripted = await reply_from(GOOD, effort="low", budget=99, timeout=5)
    sent = scripted.settings[0]
    assert (sent["timeout"], scripted.thinking) == (5, ["low"])
    assert sent["max_tokens"] == 99 + 16_384, "hidden reasoning counts as reply"
    _, scripted = await reply_from(GOOD, budget=99)
    assert scripted.settings[0]["max_tokens"] == 99
    with pytest.raises(InputError, match="effort is for a model that thinks"):
        LLM(scripted.model, think=False, effort="low")


async def test_scores():
    reply, scripted = await reply_from("<answer>[1] 2, [2] 9.5, [3] 2</answer>", form="scores")
    assert (reply.order, reply.scores) == ((1, 0, 2), (2.0, 9.5, 2.0))
    assert "from 0" in scripted.asked[0][-1][1]
    reply, _ = await reply_from("[2] is a 9", "[1] 2, [2] 9, [3] 1", form="scores")
    assert reply.scores == (2.0, 9.0, 1.0)


def test_scores_are_asked_for_in_one_turn_of_groups_and_can_be_blended():
    def reply(messages, info):
        shown = [m.parts[0].content for m in messages if isinstance(m, ModelRequest)]
        numbers = [int(text.split("] p")[1]) for text in shown if text.startswith("[")]
        scores = ", ".join(f"[{i}] {n % 11}" for i, n in enumerate(numbers, 1))
        return ModelResponse([TextPart(f"<answer>{scores}</answer>")])

    reranker = Reranker(LLM(FunctionModel(reply), form="scores", think=False))
    passages = [f"p{i}" for i in range(45)]
    ranking = reranker.rerank_sync("q", passages)
    assert (ranking.schedule, ranking.usage.calls, ranking.usage.turns) == ("groups:20", 3, 1)
    assert [int(p.text[1:]) for p in ranking.passages[:5]] == [10, 21, 32, 43, 9]
    assert (ranking.passages[0].score, reranker.policy.scale) == (10.0, 10.0)
    assert ranking.passages[0].scored is True
    blended = reranker.rerank_sync("q", passages, blend=1.0)
    assert blended.ids[0] == "11"
    assert blended.ids != ranking.ids


def test_orders_do_not_compare_and_go_through_a_tournament():
    scripted = Scripted(*["<answer>[2] > [1]</answer>"] * 9)
    reranker = Reranker(LLM(scripted.model, window=2))
    assert reranker.rerank_sync("q", ["x"] * 3).schedule == "tournament:2"
    with pytest.raises(InputError, match="needs scores that compare"):
        Reranker(LLM(scripted.model), schedule="groups")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModelHTTPError(401, "m", {"message": "bad key"}), "the server answered 401: bad key"),
        (ModelHTTPError(404, "m", "no model m"), "the server answered 404: no model m"),
        (UnexpectedModelBehavior("not JSON: [1] > [2]"), "not JSON: [1] > [2]"),
    ],
)
async def test_an_error_is_never_an_answer(error, said):
    with pytest.raises(PolicyError) as raised:
        await reply_from(error)
    assert str(raised.value) == said


async def test_a_server_s_error_is_redacted(monkeypatch):
    monkeypatch.setenv("ANY_API_KEY", "sk-very-secret")
    with pytest.raises(PolicyError) as raised:
        await reply_from(ModelHTTPError(401, "m", {"message": "wrong key sk-very-secret"}))
    assert str(raised.value) == "the server answered 401: wrong key ***"


async def test_busy_and_unreachable_servers_are_retried(monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    busy = ModelHTTPError(429, "m", "slow down", headers={"Retry-After": "7"})
    reply, _ = await reply_from(
        busy, ModelHTTPError(503, "m"), ModelConnectionError("m", "reset"), GOOD
    )
    assert reply.order == (1, 0, 2)
    assert reply.usage.calls == 4
    assert pauses[0] == 7
    assert 0.3 < pauses[1] < 0.7 < pauses[2] < 1.3
    with pytest.raises(PolicyError, match="503"):
        await reply_from(*[ModelHTTPError(503, "m", "still loading")] * 4)
    assert len(pauses) == 6


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_permanent_errors_are_not_retried(status):
    with pytest.raises(PolicyError, match=str(status)):
        await reply_from(ModelHTTPError(status, "m", "no"), GOOD)


async def test_a_wait_that_is_too_long_fails_at_once():
    with pytest.raises(PolicyError, match="429"):
        await reply_from(ModelHTTPError(429, "m", "wait", headers={"Retry-After": "3600"}), GOOD)


def test_a_wait_beyond_the_deadline_fails_with_what_the_server_said():
    scripted = Scripted(ModelHTTPError(429, "m", "wait", headers={"Retry-After": "20"}), GOOD)
    ranking = Reranker(LLM(scripted.model), deadline=5).rerank_sync("q", PASSAGES)
    assert ranking.ids == ("a", "b", "c")
    assert ranking.partial is True
    (fault,) = ranking.faults
    assert (fault.kind, fault.detail) == ("failed", "PolicyError: the server answered 429: wait")
    assert ranking.usage.seconds < 3


async def test_a_window_too_long_for_the_model_is_shown_in_shorter_passages():
    too_long = ModelHTTPError.for_category(
        ModelContextWindowExceededError, status_code=400, model_name="m", body="too long"
    )
    task = Task("run", "q", candidates=(Passage("x", "word " * 100), Passage("y", "short")))
    scripted = Scripted(too_long, too_long, "<answer>[2] > [1]</answer>")
    reply = await LLM(scripted.model).judge(task, (0, 1))
    assert reply.order == (1, 0)
    assert reply.faults == (
        Fault(
            "cut",
            ("x",),
            "only the first 125 characters were shown; split longer passages to show all",
        ),
    )
    never = Scripted(*[too_long] * 9)
    with pytest.raises(PolicyError, match="a window of 2 passages is too long for the model"):
        await LLM(never.model).judge(task, (0, 1))
    assert len(never.asked) == 4


async def test_a_setting_the_model_does_not_take_is_recorded():
    class Picky(FunctionModel):
        unsupported_settings = frozenset({"seed", "temperature"})

    scripted = Scripted(GOOD)
    picky = LLM(Picky(scripted._reply))
    reply = await picky.judge(TASK, (0, 1, 2))
    assert reply.faults == (
        Fault("setting", (), "the model takes no seed and no temperature; not sent"),
    )
    assert {"seed", "temperature"} & set(scripted.settings[0]) == set()
    assert "temperature" not in picky.fingerprint


def test_the_fingerprint_names_all_that_replies_depend_on():
    words = Template.default().fingerprint
    scripted = Scripted()
    assert LLM(scripted.model, name="mine").fingerprint == (
        f"mine order think words={words} format=1 tokens=2048 cut=1200 temperature=0 seed=0"
    )
    other = [
        LLM(scripted.model, name="mine", **how).fingerprint
        for how in (
            {"form": "scores"}, {"think": False}, {"effort": "low"}, {"budget": 9}, {"cut": 99},
        )
    ]  # fmt: skip
    assert len(set(other)) == 5


@pytest.mark.parametrize(
    "how",
    [{"form": "x"}, {"window": 1}, {"budget": 0}, {"cut": 3}, {"timeout": 0}],
)
def test_settings_out_of_range(how):
    with pytest.raises(InputError, match="must"):
        LLM(Scripted().model, **how)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        (
            "vllm:tiny",
            SetupError,
            "set VLLM_BASE_URL, as in http://127.0.0.1:8000/v1, or start one",
        ),
        ("openai:gpt-5", SetupError, "openai:gpt-5: .*OPENAI_API_KEY"),
        ("anthropic:claude", SetupError, r"pip install .pydantic-ai-slim\[anthropic\]"),
        ("nobody:model", SetupError, "nobody:model: Unknown"),
        ("best", InputError, "no policy is called 'best'; there are: embedded, .* vllm:NAME"),
        (":x", InputError, "no policy is called ':x'"),
    ],
)
def test_names_of_models(name, error, said, monkeypatch):
    for key in ("VLLM_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(error, match=said):
        policy(name)


def test_only_language_models_take_options():
    message = r"^the policy lexical is no language model and takes no options: think$"
    with pytest.raises(InputError, match=message):
        policy("lexical", think=False)


def test_a_reasoning_model_takes_no_temperature(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert policy("openai-chat:o3").chat.dropped == ("temperature",)
    assert policy("openai-chat:gpt-4o").chat.dropped == ()

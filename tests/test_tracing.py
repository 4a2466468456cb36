import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel

from rearank_agent import Reranker
from rearank_agent.llm.policy import LLM

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.fixture(scope="module")
def exporter():
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept


@pytest.fixture
def spans(exporter):
    def rank():
        exporter.clear()
        said = "<answer>[2] > [1]</answer>"
        judge = LLM(FunctionModel(lambda *_: ModelResponse([TextPart(said)])), name="played")
        Reranker(judge, schedule="sliding:2:1").rerank_sync("secret question", ["one", "two", "x"])
        return exporter.get_finished_spans()

    return rank


def test_a_span_per_rerank_window_and_call(spans):
    seen = spans()
    names = [span.name.split(":")[0] for span in seen]
    assert names == ["chat function", "rerank window", "chat function", "rerank window", "rerank"]
    parents = {span.context.span_id: span for span in seen}
    assert parents[seen[0].parent.span_id].name == "rerank window"
    assert parents[seen[1].parent.span_id].name == "rerank"
    whole = dict(seen[-1].attributes)
    assert whole["rearank.policy"] == "played"
    assert (whole["rearank.passages"], whole["rearank.calls"]) == (3, 2)
    assert (whole["rearank.schedule"], whole["rearank.partial"]) == ("sliding:2:1", False)
    assert dict(seen[1].attributes) == {
        "rearank.turn": 1, "rearank.passages": 2, "rearank.faults": (),
    }  # fmt: skip


def test_text_stays_out_of_the_spans_unless_requested(spans, monkeypatch):
    monkeypatch.delenv(CONTENT, raising=False)
    assert "secret question" not in str([dict(span.attributes) for span in spans()])
    monkeypatch.setenv(CONTENT, "true")
    shown = [dict(span.attributes) for span in spans()]
    assert shown[-1]["rearank.query"] == "secret question"
    assert "secret question" in str(shown[0])
